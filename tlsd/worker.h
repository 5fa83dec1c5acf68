/*
 * worker: one thread with its loop, its listening sockets, its sessions and its buffers. It shares
 * with others only the site (immutable), the ticket keys, the count of open connections and the
 * table of servers. The main thread talks to it by loop_post.
 */
#ifndef TLSD_WORKER_H
#define TLSD_WORKER_H

#include <pthread.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "libcommon/pipe.h"
#include "tlsd/channel.h"
#include "tlsd/site.h"
#include "tlsd/stats.h"
#include "tlsd/target.h"
#include "tlsd/wire.h"

struct challenges;
struct session;
struct session_hello;
struct tlsrec_worker;
struct worker;
struct worker_listener;

/* What all workers share. */
struct pool {
	unsigned pipes;        /* of each worker, at most */
	_Atomic uint64_t open; /* connections of all workers */
	_Atomic uint64_t max;
	struct backends *backends;
	struct challenges *challenges;
	struct loop *main_loop;
};

/* A site as one worker holds it: its handshakes count here without atomics. */
struct worker_site {
	struct site *site;
	struct target **targets;    /* by listener; shared by equal `to` */
	struct channels **channels; /* by listener: the worker's; NULL where it relays */
	struct target ***passes;    /* by listener, by passthrough */
	unsigned uses;
	bool is_current;
};

struct worker {
	unsigned index;
	pthread_t thread;
	struct loop *loop;
	struct pool *pool;
	struct wire_bufs bufs;
	struct pipes pipes; /* for what passes through untouched */
	struct worker_site *site;
	struct worker_listener *listeners;
	struct session *sessions;  /* all of them */
	struct session *free_list; /* memory for the next ones */
	struct session_hello *hello_free;
	struct channels *channels;     /* to all names that anything was handed over to */
	struct tlsrec_worker *records; /* for those that nobody took; NULL: none yet */
	struct session *wait_first;    /* finished handshakes that nobody takes yet, oldest first */
	struct session *wait_last;
	struct deadline retry;  /* looks at those that wait */
	struct deadline resume; /* looks whether accepting may go on */
	bool is_paused;
	bool is_draining;
	uint64_t id_prefix; /* of unique ids */
	uint64_t id_next;
	struct log_limit log_failed;
	struct log_limit log_other;
	struct stats stats;
	void (*on_adopted)(void *arg); /* main thread's, posted to it */
	void (*on_drained)(void *arg);
	void *arg;
};

/* -1 with err. The thread runs at once; it has no site yet. */
int worker_start(struct worker *w, unsigned index, struct pool *pool, unsigned nworkers, void *arg,
	struct err *err);
/* From the main thread: serve this site from now on; on_adopted(arg) then runs on the main loop. */
void worker_adopt(struct worker *w, struct site *site, void (*on_adopted)(void *arg));
/* From the main thread: stop accepting; on_drained(arg) runs on the main loop when the last
 * session has ended. */
void worker_drain(struct worker *w, void (*on_drained)(void *arg));
/* From the main thread: draining takes too long; end what is left, and wait for goodbyes only. */
void worker_cut(struct worker *w);
/* From the main thread: end every session and the thread; releases everything. */
void worker_stop(struct worker *w);

/* ---- by sessions, on the worker's thread ---- */

void worker_session_began(struct worker *w, struct session *s);
void worker_session_ended(struct worker *w, struct session *s);
/* A site's use by a handshake. */
void worker_site_put(struct worker *w, struct worker_site *ws);
/* Near the limit of connections: those that are as good as over are not kept for long. */
bool worker_is_crowded(const struct worker *w);
void worker_wait(struct worker *w, struct session *s);
void worker_unwait(struct worker *w, struct session *s);

#endif
