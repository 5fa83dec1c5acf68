/*
 * ctlclient: see the header.
 */
#include "libcommon/ctlclient.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/ctl.h"
#include "libcommon/sock.h"

/* 0 when there is room to send, -1 with errno (ETIMEDOUT) when not until the deadline. */
static int
wait_for_room(int fd, int64_t deadline_ms)
{
	for (;;) {
		int64_t left = deadline_ms - clock_ms();
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		int n = left > 0 ? poll(&p, 1, (int)left) : 0;

		if (n > 0)
			return 0;
		if (n == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (errno != EINTR)
			return -1;
	}
}

/* A listener whose queue is full answers EAGAIN on a Unix socket: ask again until the deadline. */
static int
connect_until(int fd, const struct sockaddr_un *to, int64_t deadline_ms)
{
	while (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0) {
		struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };

		if (errno != EAGAIN && errno != EINTR)
			return -1;
		if (clock_ms() >= deadline_ms) {
			errno = ETIMEDOUT;
			return -1;
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int
send_all(int fd, const char *p, size_t n, const int *fds, size_t nfds, int64_t deadline_ms)
{
	while (n > 0) {
		ssize_t sent = sock_send_fds(fd, p, n, fds, nfds);

		if (sent < 0 && errno == EAGAIN) {
			if (wait_for_room(fd, deadline_ms) < 0)
				return -1;
			continue;
		}
		if (sent < 0 && errno == EPIPE)
			return 0; /* it refused us before it read: its answer says why */
		if (sent < 0 && errno != EINTR)
			return -1;
		if (sent > 0) {
			p += sent;
			n -= (size_t)sent;
			nfds = 0; /* they travel with the first bytes */
		}
	}
	return 0;
}

int
ctl_open(const char *path, const char *line, const int *fds, size_t nfds, int timeout_ms,
	struct err *err)
{
	int64_t deadline_ms = clock_ms() + timeout_ms;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct sbuf text = { 0 };

	if (strlen(path) >= sizeof(to.sun_path))
		return err_set(err, "%s: the path is too long for a socket", path);
	memcpy(to.sun_path, path, strlen(path));

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_set(err, "%s: %s", path, strerror(errno));
	sbuf_addf(&text, "%s\n", line);
	if (connect_until(fd, &to, deadline_ms) < 0 ||
		send_all(fd, text.p, text.n, fds, nfds, deadline_ms) < 0) {
		int saved = errno;

		err_set(err, "%s: %s", path, strerror(saved));
		close(fd);
		fd = -1;
		errno = saved;
	}
	sbuf_fini(&text);
	return fd;
}
