/*
 * worker_state: what one worker owns, for the stages that run on it. Other threads see worker.h
 * only.
 */
#ifndef ROUTERD_WORKER_STATE_H
#define ROUTERD_WORKER_STATE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>

#include "libcommon/loop.h"
#include "routerd/accesslog.h"
#include "routerd/backend.h"
#include "routerd/buf.h"
#include "routerd/idlepool.h"
#include "routerd/worker.h"

struct conn;
struct workers;

/* The worker's pin of one snapshot: requests are counted here, on memory that no other thread
 * touches. */
struct wsnap {
	struct wsnap *older;
	struct snapshot *s;
	uint64_t active;
	unsigned listener_count;
	const struct listener *
		*listeners; /* by slot of worker->listeners; NULL: gone in this generation */
};

/* A listening socket as one worker sees it. */
struct wlistener {
	struct worker *w;
	struct listen_slot *slot;
	struct event ev;
	int fd;
	bool is_watched;
	struct listen_count *count; /* this worker's, in the slot */
};

struct worker {
	struct loop *loop;
	struct workers *all;
	unsigned id;
	pthread_t thread;
	bool is_draining;
	bool is_paused;     /* accepting paused at a limit */
	struct wsnap *snap; /* the current one; older ones behind it */
	struct bufs bufs;
	struct freelist conns;
	struct freelist clients;
	struct freelist requests;
	struct freelist upstreams;
	struct idlepool idle;
	struct conn *conn_list;
	struct wlistener **listeners; /* by slot; NULL: none */
	unsigned listener_count;
	struct deadline resume; /* looks again after a pause */
	struct deadline trim;   /* gives back what a burst needed; armed by requests */
	struct accesslog_ring *log;
	_Atomic uint64_t oldest_generation; /* that a request still runs on */
	uint64_t id_seed;
	uint64_t id_count;
	int64_t date_s;
	char date[32]; /* IMF-fixdate of date_s */
	_Alignas(64) uint64_t stats[STAT_COUNT];
};

static inline void
worker_count(struct worker *w, enum stat_id id)
{
	__atomic_store_n(&w->stats[id], w->stats[id] + 1, __ATOMIC_RELAXED);
}

static inline void
worker_add(struct worker *w, enum stat_id id, uint64_t n)
{
	__atomic_store_n(&w->stats[id], w->stats[id] + n, __ATOMIC_RELAXED);
}

/* IMF-fixdate of now, made once per second. */
struct slice worker_date(struct worker *w);
/* Pin the current snapshot for a request; and let go. */
struct wsnap *worker_pin(struct worker *w);
void worker_unpin(struct worker *w, struct wsnap *pin);
/* A connection has ended: the process-wide count, and accepting again after a pause. */
/* The listener in a generation, or NULL when it is gone there. */
const struct listener *worker_listener(const struct wsnap *snap, const struct wlistener *l);
const char *worker_listener_name(const struct wlistener *l);
void worker_conn_closed(struct worker *w, struct wlistener *l);

#endif
