/*
 * backend: pools and their servers while they run. A `struct server` outlives
 * reloads, keyed by pool, name and address; a `struct pool` belongs to one
 * snapshot and points to servers. What workers share is in here: per server one
 * cache line of atomics, per pool the pick state. The main thread alone
 * creates, judges (verdict.h) and frees; workers pick, count, and report how
 * requests went.
 *
 * Which thread calls what:
 *   main     backends_*: new, run, pool (while a snapshot is prepared), commit,
 *            free
 *   any      pool_unref (a snapshot may die on a worker), server_addr, pool_name
 *   workers  lb_pick, server_begin, server_end, server_retried, pool_active,
 *            pool_retry_take, pool_retry_put: atomics only, no lock, no heap
 *
 * Passive marking, as nginx has it but counted exactly: `max_fails` failures
 * within `fail_timeout` of the first of them block a server for `fail_timeout`;
 * all workers skip it at once. Then one request is let through as a trial: its
 * success unblocks, its failure blocks again, one that was abandoned leaves the
 * slot to the next. A failure later than `fail_timeout` after the first begins a
 * new count, as does a success then. `max_fails: 0` switches it off. The only
 * member of a pool is never blocked: a request that may succeed is worth more
 * than a certain 503.
 */
#ifndef ROUTERD_BACKEND_H
#define ROUTERD_BACKEND_H

#include <stdatomic.h>

#include "libcommon/addr.h"
#include "libcommon/poolcfg.h"

struct backends;
struct loop;
struct pool;
struct server_state;
struct workers;

struct server {
	/* What workers write, on a line of its own. */
	_Alignas(64) _Atomic uint32_t inflight;
	_Atomic uint64_t trial_ms;         /* when the trial request that is under way was
					      picked; 0: none. No other attempt begins then, so
					      this tells it apart */
	_Atomic uint64_t fails;            /* passive: first failure's time and the count
					      within the window; see server_fails */
	_Atomic uint64_t blocked_until_ms; /* passive: skipped until then; then one
					      trial request; 0: not blocked */
	_Atomic uint64_t last_success_ms;  /* when the youngest request that
					      succeeded was begun */
	_Atomic uint64_t requests;
	_Atomic uint64_t errors;
	_Atomic uint64_t retried; /* requests that went elsewhere after failing here */
	/* What the main thread writes rarely and workers read. */
	_Alignas(64) uint32_t id;  /* dense: index of per-worker idle lists; given
				      again only after all workers forgot it */
	_Atomic uint32_t addr_seq; /* seqlock of addr: odd while it is being changed */
	struct addr addr;          /* len 0: no address known; read with server_addr */
	const char *name;
	const char *pool_name;
	char *host; /* whom its certificate must name; "": nobody, it has no host */
	/* main thread only, but for its evidence mailbox */
	struct server_state *state;
};

/* How an attempt ended, for passive marking. */
enum server_outcome {
	SERVER_OK,        /* an answer that came whole (any status) */
	SERVER_CONNECT,   /* refused, unreachable, connect timeout */
	SERVER_TLS,       /* connected, but the TLS handshake failed */
	SERVER_NO_TLSD,   /* connected, and nobody made the handshake: says
			     nothing of the server */
	SERVER_TIMEOUT,   /* no answer in time */
	SERVER_BROKEN,    /* closed or reset early, or an answer that is no HTTP */
	SERVER_ABANDONED, /* our side gave up (client left): says nothing of the
			     server */
};

/* A copy of the current address; false when none is known. Any thread. */
bool server_addr(const struct server *s, struct addr *out);
/*
 * Around each attempt: begin counts it in flight; end takes it off and judges.
 * began_ms is the now_ms of the lb_pick that chose the server, now_ms is now;
 * both monotonic, of the worker's loop. p is NULL after server_opened: nothing is
 * judged then.
 */
void server_begin(struct server *s);
void server_end(struct server *s, struct pool *p, enum server_outcome how, uint64_t began_ms,
	uint64_t now_ms);
/* Its answer has begun, and goes on, maybe for days: when it is the trial of a blocked server, that
 * has succeeded. server_end follows as ever. */
void server_answers(struct server *s, struct pool *p, uint64_t began_ms, uint64_t now_ms);
/*
 * What was begun has become a tunnel: a success, told now, since its end says nothing and may be
 * far away. It stays in flight, and server_end is called with NULL for the pool, which the tunnel
 * may outlive; the server lives at least until then.
 */
void server_opened(struct server *s, struct pool *p, uint64_t began_ms, uint64_t now_ms);
/* The attempt that failed here goes elsewhere: for status. */
void server_retried(struct server *s);
/* Passive failures within the window that is open now. */
unsigned server_fails(const struct server *s);

const char *pool_name(const struct pool *p);
/* Good for as long as the snapshot that the pool was made for. */
const struct poolcfg *pool_cfg(const struct pool *p);
/*
 * Retry budget (design §5: a share of the active requests, at least a few):
 * active counts around each request; take says whether one more retry may run
 * now, put gives it back when that attempt has ended. Exact over all workers.
 */
void pool_active(struct pool *p, int delta);
bool pool_retry_take(struct pool *p);
void pool_retry_put(struct pool *p);

/* How the workers are reached; the names are worker.h's. */
struct backends_ops {
	void (*barrier)(struct workers *ws, void (*done)(void *arg), void *arg);
	void (*forget_server)(
		struct workers *ws, uint32_t server_id, void (*done)(void *arg), void *arg);
	void (*close_idle)(struct workers *ws, uint32_t server_id);
};

/* NULL with err when the resolver cannot start. */
struct backends *backends_new(struct loop *main_loop, struct err *err);
/*
 * Once workers run: from then on what they may read is replaced behind a
 * barrier. Before, it is replaced at once. The fields of ops are the functions
 * of worker.h.
 */
void backends_run(struct backends *b, const struct backends_ops *ops, struct workers *ws);
/*
 * A pool for a snapshot that is being prepared, with one reference. Servers that
 * run already are shared, new ones start out unknown. Nothing that is live
 * changes; pool_unref undoes it.
 */
struct pool *backends_pool(struct backends *b, const struct poolcfg *cfg);
/*
 * Look up the names of servers that are new, and wait for the answers, for at
 * most BACKENDS_LOOKUP_MS: so that a start or a reload need not begin with
 * servers that have no address yet. Only the main thread waits. What is not
 * answered in time is no error.
 */
#define BACKENDS_LOOKUP_MS 1500
void backends_lookup(struct backends *b);
/*
 * The snapshot with these pools is the current one now: it is what is judged,
 * resolved, subscribed to and shown. Pools of older snapshots go on being
 * served for those requests that still run on them. Cannot fail.
 */
void backends_commit(struct backends *b, struct pool *const *pools, unsigned count);
/*
 * Read the operators' decisions (again): what they say holds when this returns;
 * for every worker, after a barrier. -1 with err when the file is not right: the
 * last good copy stays in force. Before the first commit, so that no request
 * goes where it should not.
 */
int backends_overrides(struct backends *b, const char *state_dir, struct err *err);
/* Once workers have ended: everything goes, also pools that were not given back. */
void backends_free(struct backends *b);

/* Thread-safe; the pool goes on the main thread, after this. */
void pool_unref(struct pool *p);

#endif
