/*
 * ctl_ask: a line to a control socket and the whole answer to it, or why there is none in time.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/ctlclient.h"
#include "libcommon/sbuf.h"

static int
read_answer(int fd, int64_t deadline_ms, struct sbuf *out, struct err *err)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline_ms - clock_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return err_set(err, "no answer in time");
		n = recv(fd, sbuf_reserve(out, 16384), 16384, 0);
		if (n == 0)
			return 0;
		if (n > 0) {
			out->n += (size_t)n;
			out->p[out->n] = '\0';
		} else if (errno != EINTR && errno != EAGAIN) {
			return err_set(err, "%s", strerror(errno));
		}
	}
}

static int
ctl_ask(const char *path, const char *line, const int *fds, size_t nfds, int timeout_ms,
	struct sbuf *out, struct err *err)
{
	int64_t deadline_ms = clock_ms() + timeout_ms;
	int fd = ctl_open(path, line, fds, nfds, timeout_ms, err);

	if (fd < 0)
		return -1;

	int rc = read_answer(fd, deadline_ms, out, err);

	close(fd);
	return rc;
}
