/*
 * daemon_notify: telling whoever started us, in the words of sd_notify(3): READY=1 and the like,
 * and FDSTORE=1 with our listening sockets, which are then there for the process that comes after
 * us. It goes to $NOTIFY_SOCKET, and to the descriptor of -r when that is a packet socket. The
 * protocol is one datagram, so no library is needed for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcommon/daemon_parts.h"
#include "libcommon/sock.h"

/* One process has one starter; listeners know no daemon. Main thread only. */
static int starter_fd = -1; /* a packet socket of whoever started us; -1: none */

/* ---- $NOTIFY_SOCKET ---- */

/* A socket connected to it; -1: there is none. */
static int
open_notify_socket(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;

	if (n < 2 || n >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return -1;
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = '\0'; /* the abstract namespace */

	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 &&
		connect(fd, (const struct sockaddr *)&to,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* ---- what is told ---- */

/* Nobody to tell is nobody's failure. */
void
daemon_notify(const char *state)
{
	int fd = open_notify_socket();

	if (fd >= 0) {
		(void)sock_send_fds(fd, state, strlen(state), NULL, 0);
		close(fd);
	}
	if (starter_fd >= 0)
		(void)sock_send_fds(starter_fd, state, strlen(state), NULL, 0);
}

void
daemon_notify_by(struct daemon_args *a)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (a->ready_fd < 0 || getsockopt(a->ready_fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
		type != SOCK_SEQPACKET)
		return;
	fcntl(a->ready_fd, F_SETFL, fcntl(a->ready_fd, F_GETFL) | O_NONBLOCK);
	starter_fd = a->ready_fd;
	a->ready_fd = -1;
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

void
daemon_say_config(const struct daemon *d)
{
	char text[32 + CFG_HASH];
	int n = snprintf(text, sizeof(text), "X_CONFIG_HASH=%s", d->cfg->cfg->hash);

	if (starter_fd >= 0)
		(void)sock_send_fds(starter_fd, text, (size_t)n, NULL, 0);
}

/* ---- sockets that are kept for us ---- */

/* Addresses of which sockets are kept. */
static struct {
	char (*v)[ADDR_TEXT];
	size_t n;
} kept;

static bool
is_kept(const char *address)
{
	for (size_t i = 0; i < kept.n; i++)
		if (strcmp(kept.v[i], address) == 0)
			return true;
	return false;
}

static void
note_kept(const char *address)
{
	if (is_kept(address))
		return;
	kept.v = xreallocarray(kept.v, kept.n + 1, sizeof(*kept.v));
	strcpy(kept.v[kept.n++], address);
}

static void
note_gone(const char *address)
{
	for (size_t i = 0; i < kept.n; i++)
		if (strcmp(kept.v[i], address) == 0)
			memmove(kept.v[i], kept.v[--kept.n], ADDR_TEXT);
}

/* Colons part names from one another in $LISTEN_FDNAMES. */
static void
add_name(struct sbuf *out, const char *address)
{
	sbuf_adds(out, "\nFDNAME=");
	for (; *address != '\0'; address++)
		sbuf_addc(out, *address == ':' ? '_' : *address);
}

/* systemd that keeps nothing logs every socket that it is given: it has to say that it does. */
static int
open_store(void)
{
	const char *room = getenv("FDSTORE");

	return room != NULL && strcmp(room, "0") != 0 ? open_notify_socket() : -1;
}

/* Of one address; false when something is not kept. */
static bool
send_all(int to, const char *address, const int *fds, size_t n)
{
	struct sbuf text = { 0 };
	bool is_sent = true;

	/* What was kept of this address before is what we have, or what nobody reads any more. */
	sbuf_adds(&text, "FDSTOREREMOVE=1");
	add_name(&text, address);
	is_sent &= sock_send_fds(to, text.p, text.n, NULL, 0) >= 0;
	sbuf_clear(&text);
	sbuf_adds(&text, "FDSTORE=1");
	add_name(&text, address);
	for (size_t i = 0; i < n; i += SOCK_FDS_MAX)
		is_sent &= sock_send_fds(to, text.p, text.n, fds + i,
				   n - i < SOCK_FDS_MAX ? n - i : SOCK_FDS_MAX) >= 0;
	sbuf_fini(&text);
	return is_sent;
}

/* Workers may have the same socket under several numbers. */
static size_t
without_doubles(const int *fds, size_t n, int *out)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		struct stat st;
		bool is_double = fstat(fds[i], &st) < 0;

		for (size_t k = 0; k < count && !is_double; k++) {
			struct stat other;

			is_double = fstat(out[k], &other) == 0 && other.st_ino == st.st_ino;
		}
		if (!is_double)
			out[count++] = fds[i];
	}
	return count;
}

/* TCP alone: a Unix socket's path is taken over by whoever comes next. */
static bool
address_of(int fd, char text[static ADDR_TEXT])
{
	struct addr bound = { .len = sizeof(bound.ss) };

	if (getsockname(fd, &bound.sa, &bound.len) < 0 || bound.sa.sa_family == AF_UNIX)
		return false;
	addr_format(&bound.sa, bound.len, text);
	return true;
}

void
daemon_keep_listeners(const int *fds, size_t n)
{
	int store = open_store();
	char address[ADDR_TEXT];

	if ((store >= 0 || starter_fd >= 0) && n > 0 && address_of(fds[0], address)) {
		int *single = xcalloc(n, sizeof(*single));
		size_t count = without_doubles(fds, n, single);
		bool is_sent = (store < 0 || send_all(store, address, single, count)) &&
			(starter_fd < 0 || send_all(starter_fd, address, single, count));

		note_kept(address);
		if (!is_sent)
			LOG_WARN("listener_not_kept", L_STR("address", address),
				L_STR("reason", strerror(errno)));
		free(single);
	}
	if (store >= 0)
		close(store);
}

static void
send_gone(const char *address)
{
	int store = open_store();
	struct sbuf text = { 0 };

	sbuf_adds(&text, "FDSTOREREMOVE=1");
	add_name(&text, address);
	if (store >= 0) {
		(void)sock_send_fds(store, text.p, text.n, NULL, 0);
		close(store);
	}
	if (starter_fd >= 0)
		(void)sock_send_fds(starter_fd, text.p, text.n, NULL, 0);
	sbuf_fini(&text);
}

void
daemon_forget_unused(const char *address)
{
	/* One that is over, of an address whose sockets were kept anew, is not kept any more. */
	if (!is_kept(address))
		send_gone(address);
}

void
daemon_forget_listener(const struct addr *bound)
{
	char address[ADDR_TEXT];

	if (bound->sa.sa_family == AF_UNIX)
		return;
	addr_format(&bound->sa, bound->len, address);
	note_gone(address);
	send_gone(address);
}
