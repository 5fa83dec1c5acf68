/*
 * worker: a thread with everything it needs of its own: loop, listeners,
 * connections, idle upstream connections, buffers, counters. What workers share
 * is reached through the snapshot and backend.h.
 */
#ifndef ROUTERD_WORKER_H
#define ROUTERD_WORKER_H

#include "routerd/snapshot.h"

struct workers;

/* Counters; each worker adds to its own, the main thread sums. */
enum stat_id {
#define STAT(id, name, help) STAT_##id,
#include "routerd/stats.def"
#undef STAT
	STAT_COUNT
};

/* For status: counters of one listener over all workers. */
struct listener_stats {
	const char *name;
	char address[ADDR_TEXT]; /* as bound, with the kernel's port */
	uint64_t accepted;
	uint64_t connections;
};

uint64_t workers_stat(const struct workers *ws, enum stat_id id);
uint64_t workers_stat_of(const struct workers *ws, unsigned worker, enum stat_id id);
/* Why requests ended early: each word, once for every worker that has met it. */
void workers_reasons(const struct workers *ws,
	void (*each)(void *arg, const char *word, uint64_t count), void *arg);
unsigned workers_count(const struct workers *ws);
unsigned workers_listeners(const struct workers *ws, struct listener_stats *out, unsigned cap);
/* Oldest generation that some request still runs on. */
uint64_t workers_oldest_generation(const struct workers *ws);
/*
 * Main thread: done(arg) runs on the main loop after every worker has passed a
 * point where it holds no pointer that it read from shared state before this
 * call: what makes it safe to free a replaced table.
 */
void workers_barrier(struct workers *ws, void (*done)(void *arg), void *arg);
/* Main thread, before a server's id is used again: every worker closes its idle
 * connections to it, then done runs. */
void workers_forget_server(
	struct workers *ws, uint32_t server_id, void (*done)(void *arg), void *arg);
/* Main thread: close the idle connections to a server (address changed,
 * drained). */
void workers_close_idle(struct workers *ws, uint32_t server_id);

/*
 * The workers' life, all on the main thread.
 */
struct accesslog;
struct listen_plan;
struct listen_set;
struct loop;

/* count threads' worth of workers, not running yet; each may open so many pipes for large bodies.
 * NULL with err. */
struct workers *workers_new(
	struct loop *main_loop, unsigned count, unsigned pipes, struct err *err);
/*
 * A new generation: every worker takes up the snapshot (a reference each), the listeners of the
 * plan that it has not got, and gives up those that are not in it any more; done(arg) runs on the
 * main loop when all have. log may be NULL: no access log.
 */
void workers_adopt(struct workers *ws, struct snapshot *s, const struct listen_set *set,
	const struct listen_plan *plan, struct accesslog *log, void (*done)(void *arg), void *arg);
/* Start the threads. -1 with err. */
int workers_start(struct workers *ws, struct err *err);
/* Client connections in all, at most. May change with a generation. */
void workers_set_limit(struct workers *ws, uint64_t connections);
uint64_t workers_limit(const struct workers *ws);
/* Who looks for ACME tokens; before the snapshot that says where is adopted. */
struct acme;
void workers_set_acme(struct workers *ws, struct acme *acme);
/* Who may hand connections over, besides our own user. */
void workers_set_tlsd_user(struct workers *ws, uid_t uid);
/* What the kernel may seal for clients' connections: a set of ktls_bit. */
void workers_set_kernel_tls(struct workers *ws, unsigned suites);
unsigned workers_kernel_tls(const struct workers *ws);
/* Stop accepting, close what is idle; done(arg) once every connection has ended. */
void workers_drain(struct workers *ws, void (*done)(void *arg), void *arg);
/* Draining takes too long: cut what is left, and wait no longer than for goodbyes. */
void workers_cut(struct workers *ws);
/* End the threads, cut what is left, free everything. */
void workers_free(struct workers *ws);

#endif
