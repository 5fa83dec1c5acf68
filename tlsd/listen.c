/*
 * listen: see the header. Port 0 is bound once and the rest of the workers join the port that the
 * kernel gave.
 */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/daemon.h"
#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"
#include "tlsd/listen.h"

struct listens {
	struct listen *first;
	struct listen_stat *stats;
	unsigned nworkers;
};

struct listens *
listens_new(unsigned nworkers)
{
	struct listens *l = xcalloc(1, sizeof(*l));

	l->nworkers = nworkers;
	return l;
}

static void
free_one(struct listen *one)
{
	for (size_t i = 0; i < one->nsocks; i++)
		if (one->socks[i].fd >= 0)
			close(one->socks[i].fd);
	free(one->socks);
	free(one->key);
	free(one);
}

void
listens_free(struct listens *l)
{
	while (l != NULL && l->first != NULL) {
		struct listen *gone = l->first;

		l->first = gone->next;
		free_one(gone);
	}
	while (l != NULL && l->stats != NULL) {
		struct listen_stat *gone = l->stats;

		l->stats = gone->next;
		free(gone->key);
		free(gone);
	}
	free(l);
}

static struct listen_stat *
stat_of(struct listens *l, const char *key)
{
	struct listen_stat *s;

	for (s = l->stats; s != NULL && strcmp(s->key, key) != 0; s = s->next)
		;
	if (s == NULL) {
		s = xcalloc(1, sizeof(*s));
		s->key = xstrdup(key);
		s->next = l->stats;
		l->stats = s;
	}
	return s;
}

static void
add_sock(struct listen *one, int fd, unsigned worker)
{
	one->socks = xreallocarray(one->socks, one->nsocks + 1, sizeof(*one->socks));
	one->socks[one->nsocks++] = (struct listen_sock){ .fd = fd, .worker = worker };
}

/* Clients that vanish without a word are noticed; accepted sockets inherit it. */
static void
set_keepalive(int fd)
{
	int on = 1;
	int idle_s = 300;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
}

static int
bind_one(const struct addr_spec *at, int backlog, bool shared, struct err *err)
{
	struct sock_listen_opts opts = { .backlog = backlog, .reuseport = shared, .nodelay = true };

	return sock_listen(at, &opts, err);
}

/* Each worker has a socket; a Unix path has one, which all workers accept from. */
static int
bind_all(struct listen *one, const struct addr_spec *at, unsigned nworkers, int backlog,
	struct err *err)
{
	bool is_unix = at->kind == ADDR_UNIX;
	struct addr_spec spec = *at;

	for (unsigned i = 0; i < nworkers; i++) {
		int fd = is_unix && i > 0 ? dup(one->socks[0].fd)
					  : bind_one(&spec, backlog, !is_unix, err);

		if (fd < 0)
			return -1;
		set_keepalive(fd);
		add_sock(one, fd, i);
		if (i > 0)
			continue;
		one->bound.len = sizeof(one->bound.ss);
		getsockname(fd, &one->bound.sa, &one->bound.len);
		if (!is_unix && spec.port == 0) {
			spec.port = addr_port(&one->bound.sa);
			if (spec.addr.sa.sa_family == AF_INET6)
				spec.addr.in6.sin6_port = htons(spec.port);
			else
				spec.addr.in.sin_port = htons(spec.port);
		}
	}
	return 0;
}

/* All that we were started with for this address: at least one per worker watches it. */
static bool
inherit(struct listen *one, const struct addr_spec *at, unsigned nworkers, int backlog)
{
	int fd;

	while ((fd = sock_inherited(at)) >= 0) {
		set_keepalive(fd);
		listen(fd, backlog);
		add_sock(one, fd, (unsigned)one->nsocks % nworkers);
	}
	if (one->nsocks == 0)
		return false;
	one->bound.len = sizeof(one->bound.ss);
	getsockname(one->socks[0].fd, &one->bound.sa, &one->bound.len);
	for (size_t i = one->nsocks, had = i; i < nworkers; i++) {
		struct err err = { 0 };

		/* Its own where that can be: where those that came are ours, with SO_REUSEPORT. */
		fd = at->kind == ADDR_IP ? bind_one(at, backlog, true, &err) : -1;
		if (fd >= 0)
			set_keepalive(fd);
		else
			fd = dup(one->socks[i % had].fd);
		if (fd >= 0)
			add_sock(one, fd, (unsigned)i);
	}
	return true;
}

static void
keep(const struct listen *one)
{
	int *fds = xcalloc(one->nsocks, sizeof(*fds));

	for (size_t i = 0; i < one->nsocks; i++)
		fds[i] = one->socks[i].fd;
	daemon_keep_listeners(fds, one->nsocks);
	free(fds);
}

static void
log_listening(const struct listen *one)
{
	char text[ADDR_TEXT];

	addr_format(&one->bound.sa, one->bound.len, text);
	LOG_INFO("listening", L_STR("address", text), L_INT("sockets", one->nsocks));
}

struct listen *
listens_get(struct listens *l, const struct addr_spec *at, const char *text, unsigned k,
	int backlog, struct err *err)
{
	char *key = xasprintf("%s#%u", text, k);
	struct listen *one;

	for (one = l->first; one != NULL && strcmp(one->key, key) != 0; one = one->next)
		;
	if (one != NULL && one->uses > 0) {
		free(key);
		one->uses++;
		for (size_t i = 0; i < one->nsocks; i++)
			listen(one->socks[i].fd, backlog); /* may have changed */
		return one;
	}
	one = xcalloc(1, sizeof(*one));
	one->key = key;
	one->stat = stat_of(l, key);
	if (!inherit(one, at, l->nworkers, backlog) &&
		bind_all(one, at, l->nworkers, backlog, err) < 0) {
		free_one(one);
		return NULL;
	}
	one->uses = 1;
	one->next = l->first;
	l->first = one;
	keep(one);
	log_listening(one);
	return one;
}

void
listen_put(struct listen *one)
{
	one->uses--;
}

/* Its workers may have closed its sockets, and another name may stand for the same address. */
static void
forget(const struct listens *l, const struct listen *gone)
{
	for (const struct listen *o = l->first; o != NULL; o = o->next)
		if (o->uses > 0 && addr_eq(&o->bound, &gone->bound))
			return;
	daemon_forget_listener(&gone->bound);
}

void
listens_sweep(struct listens *l)
{
	struct listen **at = &l->first;

	while (*at != NULL) {
		struct listen *one = *at;

		if (one->uses > 0) {
			at = &one->next;
			continue;
		}
		*at = one->next;
		forget(l, one);
		free_one(one);
	}
}
