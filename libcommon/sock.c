/*
 * sock: listening, connecting, passing descriptors. Whoever asks for a Unix path takes it only when
 * nobody answers there; a lock on its folder keeps two starters from replacing each other.
 */
#include "libcommon/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/mem.h"

#define LOCK_WAIT_MS 1000
#define LOCK_STEP_MS 10

static void
close_keep_errno(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
}

static int
set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

/* --- listening on an IP address --------------------------------------------------------------- */

static int
open_inet(const struct addr *at, bool is_any, const struct sock_listen_opts *opts)
{
	int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
		(opts->reuseport && set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0) ||
		(opts->nodelay && set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0) ||
		(at->sa.sa_family == AF_INET6 &&
			set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !is_any) < 0) ||
		bind(fd, &at->sa, at->len) < 0 ||
		listen(fd, opts->backlog ? opts->backlog : SOMAXCONN) < 0) {
		close_keep_errno(fd);
		return -1;
	}
	return fd;
}

static struct addr
any_ipv4(uint16_t port)
{
	struct addr a = { .len = sizeof(a.in) };

	a.in.sin_family = AF_INET;
	a.in.sin_port = htons(port);
	return a;
}

static int
listen_inet(const struct addr_spec *at, const struct sock_listen_opts *opts, struct err *err)
{
	struct addr addr = at->addr;
	int fd = open_inet(&addr, at->is_any, opts);
	char text[ADDR_TEXT];

	if (fd < 0 && at->is_any && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
		addr = any_ipv4(at->port);
		fd = open_inet(&addr, true, opts);
	}
	if (fd >= 0)
		return fd;
	addr_format(&addr.sa, addr.len, text);
	if (errno == EACCES && at->port < 1024)
		return err_set(err,
			"cannot listen on %s: ports below 1024 need root or CAP_NET_BIND_SERVICE",
			text);
	if (errno == EADDRNOTAVAIL)
		return err_set(err, "cannot listen on %s: this machine has no such address", text);
	return err_set(err, "cannot listen on %s: %s", text, strerror(errno));
}

/* --- listening on a Unix path ----------------------------------------------------------------- */

/* "pid 123 (routerd)" of whoever listens at the other end of fd. */
static void
name_holder(int fd, char *out, size_t room)
{
	char path[64];
	char comm[32] = "";
	pid_t pid;

	if (!sock_peer(fd, NULL, NULL, &pid) || pid <= 0) {
		snprintf(out, room, "another process");
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);

	FILE *f = fopen(path, "re");

	if (f != NULL) {
		if (fgets(comm, sizeof(comm), f) != NULL)
			comm[strcspn(comm, "\n")] = '\0';
		fclose(f);
	}
	if (comm[0] != '\0')
		snprintf(out, room, "pid %d (%s)", (int)pid, comm);
	else
		snprintf(out, room, "pid %d", (int)pid);
}

/* Connect in one way; returns errno, 0 with the holder's name. */
static int
try_unix(const struct addr *at, int type, char *holder, size_t room)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int code;

	if (fd < 0)
		return errno;
	code = connect(fd, &at->sa, at->len) == 0 ? 0 : errno;
	if (code == 0)
		name_holder(fd, holder, room);
	close(fd);
	return code;
}

/* 0 when nobody accepts there; -1 with err. */
static int
probe_unix(const struct addr *at, struct err *err)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	const char *path = at->un.sun_path;
	char holder[64] = "another process";
	int code = EPROTOTYPE;

	/* EPROTOTYPE: alive, but of another type; asked in its own way it says who it is. */
	for (size_t i = 0; i < 3 && code == EPROTOTYPE; i++)
		code = try_unix(at, types[i], holder, sizeof(holder));
	if (code == ECONNREFUSED || code == ENOENT)
		return 0;
	if (code == 0 || code == EAGAIN)
		return err_set(err, "cannot listen on unix:%s: it is in use by %s", path, holder);
	return err_set(err,
		"cannot listen on unix:%s: it exists, and whether somebody uses it cannot be found "
		"out: %s",
		path, strerror(code));
}

/* Make the path free, or say who has it. */
static int
clear_path(const struct addr *at, struct err *err)
{
	const char *path = at->un.sun_path;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT
			? 0
			: err_set(err, "cannot listen on unix:%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(
			err, "cannot listen on unix:%s: it exists and is not a socket", path);
	if (probe_unix(at, err) != 0)
		return -1;
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(
			err, "cannot replace the stale socket %s: %s", path, strerror(errno));
	return 0;
}

/*
 * Best effort: a folder that cannot be read cannot be locked, but may still be written. Whoever may
 * look into it can lock it as well, for ever: starters hold it for an instant, so more is not
 * waited.
 */
static int
lock_folder(const char *path)
{
	const struct timespec step = { .tv_nsec = LOCK_STEP_MS * 1000000L };
	char *copy = xstrdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	free(copy);
	for (int waited = 0; fd >= 0 && waited < LOCK_WAIT_MS; waited += LOCK_STEP_MS) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 || (errno != EWOULDBLOCK && errno != EINTR))
			break;
		nanosleep(&step, NULL);
	}
	return fd;
}

/* The socket's own mode: where others may write in its folder, a link of theirs may stand there by
 * now. Without /proc that cannot be had, and what umask took stays away. */
static int
set_socket_mode(const char *path, mode_t mode)
{
	int rc = fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW);

	return rc < 0 && errno != EOPNOTSUPP ? -1 : 0;
}

static int
bind_unix(const struct addr *at, int type, const struct sock_listen_opts *opts, struct err *err)
{
	const char *path = at->un.sun_path;
	mode_t mode = opts->unix_mode ? opts->unix_mode : 0660;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* The mode that fd has now is the one that bind gives the file, umask taken off: never more
	 * than asked for, not even for a moment. chmod then gives back what umask took. */
	if (fd < 0 || fchmod(fd, mode) < 0 || bind(fd, &at->sa, at->len) < 0)
		goto failed;
	if (set_socket_mode(path, mode) < 0 ||
		listen(fd, opts->backlog ? opts->backlog : SOMAXCONN) < 0) {
		int saved = errno;

		unlink(path);
		errno = saved;
		goto failed;
	}
	return fd;

failed:
	err_set(err, "cannot listen on unix:%s: %s", path, strerror(errno));
	close_keep_errno(fd);
	return -1;
}

static int
listen_unix(const struct addr *at, int type, const struct sock_listen_opts *opts, struct err *err)
{
	int lock = lock_folder(at->un.sun_path);
	int fd = clear_path(at, err) < 0 ? -1 : bind_unix(at, type, opts, err);

	close_keep_errno(lock);
	return fd;
}

int
sock_listen(const struct addr_spec *at, const struct sock_listen_opts *opts, struct err *err)
{
	switch (at->kind) {
	case ADDR_IP: return listen_inet(at, opts, err);
	case ADDR_UNIX: return listen_unix(&at->addr, SOCK_STREAM, opts, err);
	default: break;
	}
	return err_set(err, "cannot listen on the name %s, expected an address", at->name);
}

int
sock_listen_seqpacket(const char *path, const struct sock_listen_opts *opts, struct err *err)
{
	struct addr at = { .len = sizeof(at.un) };

	if (strlen(path) >= sizeof(at.un.sun_path))
		return err_set(err,
			"the path has %zu bytes, but a Unix socket's has room for %zu: %s",
			strlen(path), sizeof(at.un.sun_path) - 1, path);
	at.un.sun_family = AF_UNIX;
	strcpy(at.un.sun_path, path);
	return listen_unix(&at, SOCK_SEQPACKET, opts, err);
}

/* --- inherited listeners ---------------------------------------------------------------------- */

#define LISTEN_FDS_START 3
#define LISTEN_FDS_MAX   1024

static struct {
	bool is_read;
	int fds[LISTEN_FDS_MAX]; /* -1: taken */
	size_t n;
} inherited;

static bool
is_listening_stream(int fd)
{
	int type = 0;
	int accepts = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) == 0 && accepts;
}

/* All of them become close-on-exec, also those that nobody will take; the variables go, so that
 * children do not take them for theirs. */
static void
read_environment(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *count = getenv("LISTEN_FDS");
	uint64_t v;
	uint64_t n;

	inherited.is_read = true;
	if (pid != NULL && count != NULL && slice_to_u64(slice_str(pid), &v) &&
		v == (uint64_t)getpid() && slice_to_u64(slice_str(count), &n)) {
		for (int fd = LISTEN_FDS_START;
			(uint64_t)(fd - LISTEN_FDS_START) < n && inherited.n < LISTEN_FDS_MAX;
			fd++) {
			if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || !is_listening_stream(fd))
				continue;
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
			inherited.fds[inherited.n++] = fd;
		}
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static bool
is_bound_to(int fd, const struct addr_spec *at)
{
	struct addr bound = { .len = sizeof(bound.ss) };

	if (getsockname(fd, &bound.sa, &bound.len) < 0)
		return false;
	if (addr_eq(&bound, &at->addr))
		return true;
	if (!at->is_any)
		return false;

	struct addr any = any_ipv4(at->port);

	return addr_eq(&bound, &any);
}

int
sock_inherited(const struct addr_spec *at)
{
	if (!inherited.is_read)
		read_environment();
	for (size_t i = 0; i < inherited.n && at->kind != ADDR_NAME; i++) {
		int fd = inherited.fds[i];

		if (fd >= 0 && is_bound_to(fd, at)) {
			inherited.fds[i] = -1;
			return fd;
		}
	}
	return -1;
}

void
sock_inherited_close(void (*fn)(void *arg, const char *address), void *arg)
{
	if (!inherited.is_read)
		read_environment();
	for (size_t i = 0; i < inherited.n; i++) {
		struct addr at = { .len = sizeof(at.ss) };
		char text[ADDR_TEXT];

		if (inherited.fds[i] < 0)
			continue;
		if (getsockname(inherited.fds[i], &at.sa, &at.len) == 0)
			fn(arg, addr_format(&at.sa, at.len, text));
		close(inherited.fds[i]);
		inherited.fds[i] = -1;
	}
}

/* --- connecting ------------------------------------------------------------------------------- */

/*
 * Where nobody listens on a port of our own range, the system may give that very port to the one
 * who connects, and TCP lets a socket meet itself: a server that is down would look up, and could
 * not start again as long as we hold its port.
 */
static bool
is_itself(int fd, const struct addr *to)
{
	struct addr own = { .len = sizeof(own.ss) };

	return to->sa.sa_family != AF_UNIX && getsockname(fd, &own.sa, &own.len) == 0 &&
		addr_port(&own.sa) == addr_port(&to->sa) && addr_eq(&own, to);
}

int
sock_connect(const struct addr *to)
{
	int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (to->sa.sa_family != AF_UNIX)
		set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (connect(fd, &to->sa, to->len) == 0)
		errno = 0;
	if ((errno == 0 || errno == EINPROGRESS) && is_itself(fd, to)) {
		/* with no time of waiting, which would keep the port from the server, too */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 },
			sizeof(struct linger));
		errno = ECONNREFUSED;
	}
	if (errno == 0 || errno == EINPROGRESS)
		return fd;
	close_keep_errno(fd);
	return -1;
}

int
sock_error(int fd)
{
	int code = 0;
	socklen_t len = sizeof(code);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 ? errno : code;
}

bool
sock_peer(int fd, uid_t *uid, gid_t *gid, pid_t *pid)
{
	struct ucred cred;
	int domain = 0;
	socklen_t len = sizeof(domain);

	/* TCP sockets answer SO_PEERCRED too, with nonsense. */
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain != AF_UNIX)
		return false;
	len = sizeof(cred);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	if (uid != NULL)
		*uid = cred.uid;
	if (gid != NULL)
		*gid = cred.gid;
	if (pid != NULL)
		*pid = cred.pid;
	return true;
}

uint64_t
sock_raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit raised = { limit.rlim_max, limit.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	return limit.rlim_cur;
}

/* --- descriptors over a Unix socket ----------------------------------------------------------- */

union fd_room {
	struct cmsghdr header; /* for its alignment */
	char bytes[CMSG_SPACE(SOCK_FDS_MAX * sizeof(int))];
};

ssize_t
sock_send_fds(int fd, const void *p, size_t len, const int *fds, size_t nfds)
{
	union fd_room room = { .bytes = { 0 } };
	union {
		const void *in;
		void *out;
	} bytes = { .in = p }; /* struct iovec knows no const */
	struct iovec iov = { bytes.out, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (nfds > SOCK_FDS_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (nfds > 0) {
		msg.msg_control = room.bytes;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));

		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Every descriptor that came; what is over the room is closed. */
static size_t
take_fds(struct msghdr *msg, int *fds, size_t room, bool *is_over)
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (count < room) {
				fds[count++] = fd;
			} else {
				close(fd);
				*is_over = true;
			}
		}
	}
	return count;
}

ssize_t
sock_recv_fds(int fd, void *p, size_t len, int *fds, size_t *nfds)
{
	union fd_room room;
	struct iovec iov = { p, len };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = room.bytes,
		.msg_controllen = sizeof(room.bytes) };
	size_t capacity = *nfds;
	bool is_over = false;
	ssize_t n;

	*nfds = 0;
	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;

	size_t count = take_fds(&msg, fds, capacity, &is_over);

	if (is_over || (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
		while (count > 0)
			close(fds[--count]);
		errno = EMSGSIZE;
		return -1;
	}
	*nfds = count;
	return n;
}
