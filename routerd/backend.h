/*
 * backend: pools and their servers while they run. A `struct server` outlives
 * reloads, keyed by pool, name and address; a `struct pool` belongs to one
 * snapshot and points to servers. What workers share is in here: per server one
 * cache line of atomics, per pool the pick state. The main thread alone
 * creates, judges (verdict.h) and frees; workers pick, count, and report how
 * requests went.
 */
#ifndef ROUTERD_BACKEND_H
#define ROUTERD_BACKEND_H

#include <stdatomic.h>

#include "libcommon/addr.h"
#include "libcommon/poolcfg.h"

struct pool;
struct lb_table;

struct server {
	/* What workers write, on a line of its own. */
	_Alignas(64) _Atomic uint32_t inflight;
	_Atomic uint32_t fails;            /* passive failures within the window */
	_Atomic uint64_t blocked_until_ms; /* passive: skipped until then; then one
					      trial request; 0: not blocked */
	_Atomic uint64_t last_success_ms;
	_Atomic uint64_t requests;
	_Atomic uint64_t errors;
	_Atomic uint64_t retried; /* requests that went elsewhere after failing here */
	_Atomic uint32_t trial;   /* 1 while a trial request is under way */
	/* What the main thread writes rarely and workers read. */
	_Alignas(64) uint32_t id;  /* dense: index of per-worker idle lists; given
				      again only after all workers forgot it */
	_Atomic uint32_t addr_seq; /* seqlock of addr: odd while it is being changed */
	struct addr addr;          /* len 0: no address known */
	const char *name;
	const char *pool_name;
	/* main thread only */
	struct server_state *state;
};

/* How an attempt ended, for passive marking. */
enum server_outcome {
	SERVER_OK,        /* an answer that came whole (any status) */
	SERVER_CONNECT,   /* refused, unreachable, connect timeout */
	SERVER_TIMEOUT,   /* no answer in time */
	SERVER_BROKEN,    /* closed or reset early, or an answer that is no HTTP */
	SERVER_ABANDONED, /* our side gave up (client left): says nothing of the
			     server */
};

/* A copy of the current address; false when none is known. Any thread. */
bool server_addr(const struct server *s, struct addr *out);
/* Around each attempt: begin counts it in flight; end takes it off and judges.
 * now_ms is monotonic. */
void server_begin(struct server *s);
void server_end(struct server *s, const struct pool *p, enum server_outcome how, uint64_t now_ms);

const char *pool_name(const struct pool *p);
const struct poolcfg *pool_cfg(const struct pool *p);
/*
 * Retry budget (design §5: a share of the active requests, at least a few):
 * active counts around each request; take says whether one more retry may run
 * now, put gives it back when that attempt has ended.
 */
void pool_active(struct pool *p, int delta);
bool pool_retry_take(struct pool *p);
void pool_retry_put(struct pool *p);

#endif
