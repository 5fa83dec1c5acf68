/*
 * fdstore: see the header. Whoever sends may have been taken over by a stranger: what is kept is
 * bounded, and is nothing but listening TCP sockets.
 */
#include "proxyctl/fdstore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/mem.h"
#include "libcommon/sbuf.h"
#include "libcommon/slice.h"
#include "libcommon/sock.h"

enum {
	STORED_MAX = 1024, /* as many as sock_inherited takes */
	NAME_MAX_LEN = 100,
	FIRST_FD = 3,
};

struct stored {
	char name[NAME_MAX_LEN + 1];
	ino_t inode; /* what tells the same socket from another */
	int fd;
};

/* ---- one message ---- */

struct message {
	bool is_store;
	bool is_remove;
	enum fdstore_word word;
	char name[NAME_MAX_LEN + 1];
	struct slice hash;
};

/* What may stand between colons in an environment; anything else is no name. */
static void
take_name(struct slice text, char out[static NAME_MAX_LEN + 1])
{
	if (text.n == 0 || text.n > NAME_MAX_LEN)
		return;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] >= 0x7f || text.p[i] == ':')
			return;
	memcpy(out, text.p, text.n);
	out[text.n] = '\0';
}

/* What is no hash is no word. */
static void
take_hash(struct message *m, struct slice text)
{
	if (text.n != CFG_HASH - 1)
		return;
	for (size_t i = 0; i < text.n; i++)
		if (strchr("0123456789abcdef", text.p[i]) == NULL || text.p[i] == '\0')
			return;
	m->word = FDSTORE_CONFIG;
	m->hash = text;
}

static void
take_line(struct message *m, struct slice line)
{
	const struct slice name = SLICE("FDNAME=");
	const struct slice hash = SLICE("X_CONFIG_HASH=");

	if (slice_eq(line, SLICE("READY=1")))
		m->word = FDSTORE_READY;
	else if (slice_eq(line, SLICE("STOPPING=1")))
		m->word = FDSTORE_STOPPING;
	else if (slice_eq(line, SLICE("FDSTORE=1")))
		m->is_store = true;
	else if (slice_eq(line, SLICE("FDSTOREREMOVE=1")))
		m->is_remove = true;
	else if (slice_starts(line, name))
		take_name(slice_skip(line, name.n), m->name);
	else if (slice_starts(line, hash))
		take_hash(m, slice_skip(line, hash.n));
}

static struct message
parse(const char *p, size_t n)
{
	struct message m = { .word = FDSTORE_NOTHING };
	const char *end = p + n;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((nl != NULL ? nl : end) - p);

		take_line(&m, slice_make(p, len));
		p += len + 1;
	}
	return m;
}

/* ---- what is kept ---- */

static bool
is_listening_tcp(int fd)
{
	int domain = 0;
	int type = 0;
	int accepts = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
		(domain == AF_INET || domain == AF_INET6) &&
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) == 0 && accepts;
}

static bool
has_inode(const struct fdstore *s, ino_t inode)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].inode == inode)
			return true;
	return false;
}

static void
add(struct fdstore *s, const char *name, int fd)
{
	struct stat st;

	if (s->n == STORED_MAX || name[0] == '\0' || !is_listening_tcp(fd) || fstat(fd, &st) < 0 ||
		has_inode(s, st.st_ino)) {
		close(fd);
		return;
	}
	s->v = xreallocarray(s->v, s->n + 1, sizeof(*s->v));

	struct stored *new = &s->v[s->n++];

	*new = (struct stored){ .inode = st.st_ino, .fd = fd };
	strcpy(new->name, name);
}

static void
remove_named(struct fdstore *s, const char *name)
{
	size_t left = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->v[i].name, name) == 0)
			close(s->v[i].fd);
		else
			s->v[left++] = s->v[i];
	}
	s->n = left;
}

enum fdstore_word
fdstore_read(struct fdstore *s, int sock, char hash[static CFG_HASH])
{
	char text[512];
	int fds[SOCK_FDS_MAX];
	size_t nfds = SOCK_FDS_MAX;
	ssize_t n = sock_recv_fds(sock, text, sizeof(text), fds, &nfds);

	if (n < 0)
		return errno == EAGAIN      ? FDSTORE_WAIT
			: errno == EMSGSIZE ? FDSTORE_NOTHING
					    : FDSTORE_GONE;
	if (n == 0 && nfds == 0)
		return FDSTORE_GONE;

	struct message m = parse(text, (size_t)n);

	if (m.word == FDSTORE_CONFIG)
		snprintf(hash, CFG_HASH, "%.*s", SLICE_ARG(m.hash));
	if (m.is_remove)
		remove_named(s, m.name);
	for (size_t i = 0; i < nfds; i++) {
		if (m.is_store)
			add(s, m.name, fds[i]);
		else
			close(fds[i]);
	}
	return m.word;
}

void
fdstore_clear(struct fdstore *s)
{
	for (size_t i = 0; i < s->n; i++)
		close(s->v[i].fd);
	free(s->v);
	*s = (struct fdstore){ 0 };
}

void
fdstore_move(struct fdstore *to, struct fdstore *from)
{
	*to = *from;
	*from = (struct fdstore){ 0 };
}

/* ---- giving on ---- */

void
fdstore_pass_init(struct fdstore_pass *p, const struct fdstore *s)
{
	struct sbuf names = { 0 };

	for (size_t i = 0; i < s->n; i++)
		sbuf_addf(&names, "%s%s", i > 0 ? ":" : "", s->v[i].name);
	p->names = sbuf_take(&names);
	snprintf(p->count, sizeof(p->count), "%zu", s->n);
}

void
fdstore_pass_fini(struct fdstore_pass *p)
{
	free(p->names);
}

int
fdstore_own_number(const struct fdstore *s)
{
	return FIRST_FD + (int)s->n;
}

bool
fdstore_pass_child(const struct fdstore_pass *p, const struct fdstore *s, int own[FDSTORE_OWN])
{
	int first = fdstore_own_number(s);
	int above = first + FDSTORE_OWN;
	char pid[16];

	/* First out of the way of what will stand there. All above are close-on-exec. */
	for (int i = 0; i < FDSTORE_OWN; i++)
		own[i] = fcntl(own[i], F_DUPFD_CLOEXEC, above);
	for (size_t i = 0; i < s->n; i++)
		s->v[i].fd = fcntl(s->v[i].fd, F_DUPFD_CLOEXEC, above);
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].fd < 0 || dup2(s->v[i].fd, FIRST_FD + (int)i) < 0)
			return false;
	for (int i = 0; i < FDSTORE_OWN; i++)
		if (own[i] < 0 || dup2(own[i], first + i) < 0)
			return false;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (s->n == 0)
		return true;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	return setenv("LISTEN_PID", pid, 1) == 0 && setenv("LISTEN_FDS", p->count, 1) == 0 &&
		setenv("LISTEN_FDNAMES", p->names, 1) == 0;
}
