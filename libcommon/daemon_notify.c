/*
 * daemon_notify: telling whoever started us. sd_notify(3)'s protocol is one datagram, so no library
 * is needed for it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcommon/daemon_parts.h"

void
daemon_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;

	if (n < 2 || n >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = '\0'; /* the abstract namespace */

	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;

	/* Nobody to tell is nobody's failure. */
	ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
		(const struct sockaddr *)&to,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));

	(void)sent;
	close(fd);
}

void
daemon_say_ready(struct daemon *d)
{
	if (d->args.ready_fd >= 0) {
		ssize_t n = write(d->args.ready_fd, "ready\n", 6);

		(void)n; /* who asked and left does not want to know */
		close(d->args.ready_fd);
		d->args.ready_fd = -1;
	}
	daemon_notify("READY=1");
}
