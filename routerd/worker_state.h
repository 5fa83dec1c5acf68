/*
 * worker_state: what one worker owns, for the stages that run on it. Other threads see worker.h
 * only.
 */
#ifndef ROUTERD_WORKER_STATE_H
#define ROUTERD_WORKER_STATE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "routerd/accesslog.h"
#include "routerd/backend.h"
#include "routerd/buf.h"
#include "routerd/handin.h"
#include "routerd/idlepool.h"
#include "routerd/reasons.h"
#include "libcommon/stream_tls.h"
#include "routerd/worker.h"

struct acme;
struct conn;
struct exchange_h2_env;
struct h2_env;
struct listen_set;
struct listen_slot;

struct workers {
	struct loop *main_loop;
	struct acme *acme; /* set before any worker sees a snapshot that wants it */
	struct worker **v;
	unsigned count;
	unsigned threads; /* that run: the first ones of v */
	bool is_running;
	const struct listen_set *set;
	_Alignas(64) _Atomic uint64_t connections;
	_Atomic uint64_t limit;
	_Atomic unsigned draining;
	_Atomic unsigned accepting; /* workers that have not stopped, once draining */
	_Atomic bool is_draining;   /* connections stay with the worker that takes them */
	_Atomic uid_t tlsd_user;
	_Atomic unsigned kernel_tls; /* suites (ktls_bit) that the kernel may seal */
	void (*drained)(void *arg);
	void *drained_arg;
};

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
	struct handin *in;          /* where tlsd hands connections over; NULL: nowhere */
	struct event handoff_ev;    /* new channels */
};

struct worker {
	struct loop *loop;
	struct workers *all;
	unsigned id;
	pthread_t thread;
	bool is_draining;
	bool is_ending;     /* connections are told goodbye, whatever they do */
	bool is_paused;     /* accepting paused at a limit */
	bool is_drained;    /* and it was told */
	bool has_tls;       /* tls is set up */
	struct wsnap *snap; /* the current one; older ones behind it */
	struct bufs bufs;
	struct freelist conns;
	struct freelist clients;
	struct freelist requests;
	struct freelist upstreams;
	struct idlepool idle;
	struct exchange_h2_env *up_h2; /* connections to servers that carry many */
	struct stream_tls_env tls;
	struct h2_env *h2;      /* codec_h2.h; NULL until the first connection that speaks it */
	struct tlsasker *asker; /* for TLS to servers; NULL: none was needed yet */
	struct log_limit log_tls;
	struct conn *conn_list;
	struct wlistener **listeners; /* by slot; NULL: none */
	unsigned listener_count;
	struct deadline resume; /* looks again after a pause */
	struct deadline trim;   /* gives back what a burst needed; armed by requests */
	struct run_item shed;   /* more is held than limits.buffered: shed.c */
	uint64_t shed_again_ms;
	struct accesslog_ring *log;
	_Atomic uint64_t oldest_generation; /* that a request still runs on */
	uint64_t id_seed;
	uint64_t id_count;
	int64_t date_s;
	char date[32];                          /* IMF-fixdate of date_s */
	_Alignas(64) _Atomic uint32_t promised; /* connections on their way from other workers */
	_Alignas(64) uint64_t stats[STAT_COUNT];
	struct reasons reasons;
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
/* The listener in a generation, or NULL when it is gone there. */
const struct listener *worker_listener(const struct wsnap *snap, const struct wlistener *l);
const char *worker_listener_name(const struct wlistener *l);
/* One more on this listener. */
void worker_count_new(struct wlistener *l);
/* At the limit: nothing is accepted for a while. */
void worker_pause(struct worker *w);
/* worker_accept.c, besides: a listening socket comes, and goes once those who are queued on it are
 * served; after a pause, if there was one. */
void worker_init_accepting(struct worker *w);
void worker_add_listener(struct worker *w, struct listen_slot *slot);
void worker_close_listener(struct wlistener *l);
void worker_resume_accepting(struct worker *w);
/* A connection has ended: the process-wide count, and accepting again after a pause. */
void worker_conn_closed(struct worker *w, struct wlistener *l);

/* Nothing may be left of a worker that drains: looks, and tells (arg is the worker). */
void worker_look_drained(void *arg);

/* worker_handoff.c: the record layer's, set up when it is needed first; NULL: OpenSSL does not
 * offer the ciphers. */
struct stream_tls_env *worker_tls(struct worker *w);

/* worker_handoff.c: take connections from tlsd, where the listener has a socket for it; and no
 * more, when nobody can connect there any longer. */
void worker_open_handoff(struct wlistener *l);
void worker_watch_handoff(struct wlistener *l, bool on);
void worker_close_handoff(struct wlistener *l);

#endif
