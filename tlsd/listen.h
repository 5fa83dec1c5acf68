/*
 * listen: listening sockets, which belong to the process and not to a generation: a reload that
 * keeps an address keeps its sockets. One SO_REUSEPORT socket per worker, or those that we
 * inherited. Main thread only, except that workers close what they were told to give up.
 */
#ifndef TLSD_LISTEN_H
#define TLSD_LISTEN_H

#include <stdatomic.h>

#include "libcommon/addr.h"

struct listen_sock {
	int fd; /* -1: closed by its worker */
	unsigned worker;
};

/* Of one address, over all workers. It lives as long as the process: connections that were accepted
 * there outlive the listener. */
struct listen_stat {
	_Atomic uint64_t accepted;
	_Atomic uint32_t open;
	char *key;
	struct listen_stat *next;
};

struct listen {
	char *key; /* as the configuration spells it; the k-th of the same text is another */
	struct addr bound;
	struct listen_sock *socks;
	size_t nsocks;
	struct listen_stat *stat;
	unsigned uses; /* sites that have it */
	struct listen *next;
};

struct listens;

struct listens *listens_new(unsigned nworkers);
void listens_free(struct listens *l);
/* The k-th listener on that address: found, inherited or bound. Counts one use. NULL with err. */
struct listen *listens_get(struct listens *l, const struct addr_spec *at, const char *text,
	unsigned k, int backlog, struct err *err);
static inline void
listen_stat_began(struct listen_stat *s)
{
	atomic_fetch_add_explicit(&s->accepted, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->open, 1, memory_order_relaxed);
}

static inline void
listen_stat_ended(struct listen_stat *s)
{
	atomic_fetch_sub_explicit(&s->open, 1, memory_order_relaxed);
}

/* One use less. What nobody uses is closed by listens_sweep. */
void listen_put(struct listen *one);
/* Forget listeners without use: after their workers have closed them, or none ever had them. */
void listens_sweep(struct listens *l);

#endif
