/*
 * sock: sockets as this project wants them: non-blocking, close-on-exec, with clear messages.
 */
#ifndef LIBCOMMON_SOCK_H
#define LIBCOMMON_SOCK_H

#include <sys/stat.h>

#include "libcommon/addr.h"

struct sock_listen_opts {
	int backlog;      /* 0: SOMAXCONN */
	bool reuseport;   /* one of several sockets on the same address */
	bool nodelay;     /* TCP_NODELAY, inherited by what is accepted */
	mode_t unix_mode; /* permissions of a Unix socket; 0: 0660 */
};

/*
 * A listening stream socket, or -1 with err. For Unix paths: a stale socket file (nobody accepts)
 * is replaced; a live one is an error that names the holder (pid and program by SO_PEERCRED);
 * anything that is not a socket is an error. `*:80` listens on [::] for both families, or on
 * 0.0.0.0 where the system has no IPv6; `[::]:80` is for IPv6 alone.
 */
int sock_listen(const struct addr_spec *at, const struct sock_listen_opts *opts, struct err *err);
/* The same for SOCK_SEQPACKET over a Unix path. */
int sock_listen_seqpacket(const char *path, const struct sock_listen_opts *opts, struct err *err);

/*
 * Sockets inherited by LISTEN_PID/LISTEN_FDS/LISTEN_FDNAMES: take the next not yet taken one that
 * is bound to `at`, or -1. The environment is read once; descriptors are made close-on-exec and
 * non-blocking.
 */
int sock_inherited(const struct addr_spec *at);
/* Close those that nobody took, and tell the address of each: clients would wait there for ever. */
void sock_inherited_close(void (*fn)(void *arg, const char *address), void *arg);

/* Begin a connection. Returns the fd (errno 0 when connected at once, EINPROGRESS when not), or -1
 * with errno. TCP_NODELAY is set. */
int sock_connect(const struct addr *to);
/* SO_ERROR of a connecting socket, 0 when it is connected. */
int sock_error(int fd);
/* SO_PEERCRED: false for other than Unix sockets. */
bool sock_peer(int fd, uid_t *uid, gid_t *gid, pid_t *pid);

/* Raise RLIMIT_NOFILE to its hard limit; returns the limit in force. */
uint64_t sock_raise_nofile(void);

/* sun_path's room, NUL included: longer paths are configuration errors. */
#define SOCK_PATH_MAX 108

/* Send `len` bytes with up to SOCK_FDS_MAX descriptors; receive them close-on-exec. Both may return
 * short like sendmsg(2). *nfds is the room in fds on the way in, what arrived on the way out (0
 * after an error). A message or descriptors that did not fit are dropped whole: -1, EMSGSIZE. */
#define SOCK_FDS_MAX 16
ssize_t sock_send_fds(int fd, const void *p, size_t len, const int *fds, size_t nfds);
ssize_t sock_recv_fds(int fd, void *p, size_t len, int *fds, size_t *nfds);

#endif
