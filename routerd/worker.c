/*
 * worker: threads, their loops, and how a new generation reaches them. Everything between threads
 * goes through loop_post; what is counted per request stays on the worker's own memory.
 */
#include "routerd/h1_client.h"
#include "routerd/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/sched.h"
#include "routerd/codec_h2.h"
#include "routerd/conn.h"
#include "routerd/exchange_h2.h"
#include "routerd/listen.h"
#include "routerd/request_state.h"
#include "routerd/shed.h"
#include "routerd/worker_state.h"

/* Requests are short, and somebody waits for each: in front of handshakes and other bulk work. */
#define SLICE_US 100
/* What no request needed for so long is given back, but for a few of each. */
#define TRIM_MS      200
#define OBJECTS_BASE 8

/* --- what workers and connections ask --- */

struct slice
worker_date(struct worker *w)
{
	int64_t now = loop_wall_s(w->loop);

	if (now != w->date_s) {
		time_t t = (time_t)now;
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(w->date, sizeof(w->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		w->date_s = now;
	}
	return slice_make(w->date, 29);
}

struct wsnap *
worker_pin(struct worker *w)
{
	w->snap->active++;
	if (w->trim.due_ms == 0)
		deadline_set(w->loop, &w->trim, TRIM_MS);
	return w->snap;
}

static void
wsnap_free(struct wsnap *snap)
{
	snapshot_unref(snap->s);
	free(snap->listeners);
	free(snap);
}

/* Old generations go when their last request has ended. */
static void
sweep(struct worker *w)
{
	struct wsnap **at = &w->snap->older;

	while (*at != NULL) {
		struct wsnap *snap = *at;

		if (snap->active > 0) {
			at = &snap->older;
			continue;
		}
		*at = snap->older;
		wsnap_free(snap);
	}

	const struct wsnap *last = w->snap;

	while (last->older != NULL)
		last = last->older;
	atomic_store_explicit(&w->oldest_generation, last->s->generation, memory_order_relaxed);
}

void
worker_unpin(struct worker *w, struct wsnap *pin)
{
	pin->active--;
	if (pin->active == 0 && pin != w->snap)
		sweep(w);
}

const struct listener *
worker_listener(const struct wsnap *snap, const struct wlistener *l)
{
	const struct listener *on =
		l->slot->index < snap->listener_count ? snap->listeners[l->slot->index] : NULL;

	/* Its address may have changed: those who came by the old one stay. */
	return on != NULL ? on : snapshot_listener(snap->s, l->slot->name);
}

const char *
worker_listener_name(const struct wlistener *l)
{
	return l->slot->name;
}

/* --- what is left of bursts, and of draining --- */

static void
on_trim(struct deadline *d)
{
	struct worker *w = (struct worker *)((char *)d - offsetof(struct worker, trim));
	bool more = bufs_trim(&w->bufs);

	more |= freelist_trim(&w->clients, OBJECTS_BASE);
	more |= freelist_trim(&w->requests, OBJECTS_BASE);
	more |= codec_h2_env_trim(w->h2);
	more |= exchange_h2_env_trim(w->up_h2);
	if (more || w->snap->active > 0)
		deadline_set(w->loop, &w->trim, TRIM_MS);
}

/* A connection that another worker promises us is one of ours already. */
void
worker_look_drained(void *arg)
{
	struct worker *w = arg;

	if (!w->is_draining || w->is_drained || w->conn_list != NULL || w->tls.tail_count > 0)
		return;
	if (atomic_load(&w->promised) > 0) {
		loop_post(w->loop, worker_look_drained, w);
		return;
	}
	w->is_drained = true;
	if (atomic_fetch_sub(&w->all->draining, 1) == 1)
		loop_post(w->all->main_loop, w->all->drained, w->all->drained_arg);
}

void
worker_conn_closed(struct worker *w, struct wlistener *l)
{
	atomic_fetch_sub_explicit(&w->all->connections, 1, memory_order_relaxed);
	worker_add(w, STAT_CONNECTIONS, (uint64_t)-1);
	atomic_fetch_sub_explicit(&l->count->open, 1, memory_order_relaxed);
	if (w->is_paused)
		worker_resume_accepting(w);
	worker_look_drained(w);
}

/* --- generations --- */

/* What one worker is told of a new generation; `left` and `done` are shared by all of them. */
struct adoption {
	_Atomic unsigned left;
	struct workers *ws;
	struct snapshot *s;
	unsigned slot_count;
	struct listen_slot **slots;
	const struct listener **listeners; /* by slot; NULL: given up */
	struct accesslog *log;
	void (*done)(void *arg);
	void *arg;
};

struct adopt_one {
	struct worker *w;
	struct adoption *all;
};

static void
take_listeners(struct worker *w, const struct adoption *a)
{
	w->listeners = xreallocarray(w->listeners, a->slot_count, sizeof(*w->listeners));
	for (unsigned i = w->listener_count; i < a->slot_count; i++)
		w->listeners[i] = NULL;
	__atomic_store_n(&w->listener_count, a->slot_count, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < a->slot_count; i++) {
		if (a->listeners[i] != NULL && w->listeners[i] == NULL)
			worker_add_listener(w, a->slots[i]);
		else if (a->listeners[i] == NULL && w->listeners[i] != NULL)
			worker_close_listener(w->listeners[i]);
	}
}

static void
adoption_done(void *arg)
{
	struct adoption *a = arg;

	for (unsigned i = 0; i < a->slot_count; i++) {
		struct listen_slot *slot = a->slots[i];

		if (a->listeners[i] == NULL && slot->is_open)
			listen_give_up(a->ws->set, slot);
	}
	if (a->done != NULL)
		a->done(a->arg);
	snapshot_unref(a->s);
	free(a->slots);
	free(a->listeners);
	free(a);
}

static void
adopt(void *arg)
{
	struct adopt_one *one = arg;
	struct worker *w = one->w;
	struct adoption *a = one->all;
	struct wsnap *snap = xcalloc(1, sizeof(*snap));

	snap->s = a->s;
	snapshot_ref(a->s);
	snap->listener_count = a->slot_count;
	snap->listeners = xcalloc(a->slot_count, sizeof(*snap->listeners));
	memcpy(snap->listeners, a->listeners, a->slot_count * sizeof(*snap->listeners));
	snap->older = w->snap;
	w->snap = snap;
	bufs_set_limit(&w->bufs, a->s->http->limits.buffered);
	w->log = a->log ? accesslog_ring(a->log, w->id) : NULL;
	take_listeners(w, a);
	sweep(w);
	free(one);
	if (atomic_fetch_sub(&a->left, 1) == 1) {
		if (a->ws->is_running)
			loop_post(a->ws->main_loop, adoption_done, a);
		else
			adoption_done(a);
	}
}

void
workers_adopt(struct workers *ws, struct snapshot *s, const struct listen_set *set,
	const struct listen_plan *plan, struct accesslog *log, void (*done)(void *arg), void *arg)
{
	struct adoption *a = xcalloc(1, sizeof(*a));

	ws->set = set;
	a->ws = ws;
	a->left = ws->count;
	a->s = s;
	snapshot_ref(s);
	a->slot_count = set->count;
	a->slots = xcalloc(set->count, sizeof(*a->slots));
	a->listeners = xcalloc(set->count, sizeof(*a->listeners));
	memcpy(a->slots, set->slots, set->count * sizeof(*a->slots));
	for (unsigned i = 0; i < plan->count; i++)
		a->listeners[plan->slots[i]->index] = &s->listeners[i];
	for (unsigned i = 0; i < set->count; i++)
		if (a->listeners[i] == NULL)
			listen_stop(set->slots[i]);
	a->log = log;
	a->done = done;
	a->arg = arg;
	for (unsigned i = 0; i < ws->count; i++) {
		struct adopt_one *one = xmalloc(sizeof(*one));

		*one = (struct adopt_one){ ws->v[i], a };
		if (ws->is_running)
			loop_post(ws->v[i]->loop, adopt, one);
		else
			adopt(one);
	}
}

/* --- the set --- */

static struct worker *
worker_new(struct workers *ws, unsigned id, unsigned pipes)
{
	struct worker *w = xaligned(64, sizeof(*w));

	memset(w, 0, sizeof(*w));
	w->all = ws;
	w->id = id;
	w->loop = loop_new();
	if (w->loop == NULL) {
		free(w);
		return NULL;
	}
	bufs_init(&w->bufs, pipes, &w->stats[STAT_BUFFERED]);
	shed_init(w);
	freelist_init(&w->conns, sizeof(struct conn), 4096);
	freelist_init(&w->clients, h1_client_size(), 256);
	freelist_init(&w->requests, sizeof(struct request), 1024);
	freelist_init(&w->upstreams, sizeof(struct upstream), 512);
	w->up_h2 = exchange_h2_env_new(w);
	worker_init_accepting(w);
	deadline_init(&w->trim, on_trim);
	if (getrandom(&w->id_seed, sizeof(w->id_seed), 0) != (ssize_t)sizeof(w->id_seed))
		w->id_seed = (uint64_t)time(NULL) << 32 ^ (uint64_t)getpid() << 8 ^ id;
	return w;
}

struct workers *
workers_new(struct loop *main_loop, unsigned count, unsigned pipes, struct err *err)
{
	struct workers *ws = xaligned(64, sizeof(*ws));

	memset(ws, 0, sizeof(*ws));
	ws->main_loop = main_loop;
	ws->limit = UINT64_MAX;
	ws->v = xcalloc(count, sizeof(*ws->v));
	for (; ws->count < count; ws->count++) {
		ws->v[ws->count] = worker_new(ws, ws->count, pipes);
		if (ws->v[ws->count] == NULL) {
			err_set(err, "a worker's event loop cannot be made: %s", strerror(errno));
			workers_free(ws);
			return NULL;
		}
	}
	return ws;
}

static void *
thread_main(void *arg)
{
	struct worker *w = arg;

	sched_ask_slice(SLICE_US);
	loop_run(w->loop);
	return NULL;
}

int
workers_start(struct workers *ws, struct err *err)
{
	sigset_t all;
	sigset_t before;

	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < ws->count; i++) {
		int error = pthread_create(&ws->v[i]->thread, NULL, thread_main, ws->v[i]);

		if (error != 0) {
			pthread_sigmask(SIG_SETMASK, &before, NULL);
			return err_set(
				err, "a worker's thread cannot be started: %s", strerror(error));
		}
		ws->threads++;
		ws->is_running = true;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return 0;
}

void
workers_set_acme(struct workers *ws, struct acme *acme)
{
	ws->acme = acme;
}

void
workers_set_tlsd_user(struct workers *ws, uid_t uid)
{
	atomic_store(&ws->tlsd_user, uid);
}

void
workers_set_limit(struct workers *ws, uint64_t connections)
{
	atomic_store(&ws->limit, connections);
}

uint64_t
workers_limit(const struct workers *ws)
{
	return atomic_load(&ws->limit);
}

/* Nobody accepts any more: who comes now is refused, and does not wait for the end. */
static void
close_sockets(void *arg)
{
	struct workers *ws = arg;

	for (unsigned i = 0; i < ws->set->count; i++)
		listen_close(ws->set->slots[i]);
}

static void
drain_one(void *arg)
{
	struct worker *w = arg;
	struct conn *next;

	for (unsigned i = 0; i < w->listener_count; i++)
		if (w->listeners[i] != NULL)
			worker_close_listener(w->listeners[i]);
	if (atomic_fetch_sub(&w->all->accepting, 1) == 1 && w->all->set != NULL)
		loop_post(w->all->main_loop, close_sockets, w->all);
	for (struct conn *c = w->conn_list; c != NULL; c = next) {
		next = c->next;
		conn_drain(c);
	}
	upstream_close_all(w);
	w->is_draining = true;
	worker_look_drained(w);
}

void
workers_drain(struct workers *ws, void (*done)(void *arg), void *arg)
{
	ws->drained = done;
	ws->drained_arg = arg;
	ws->draining = ws->count;
	ws->accepting = ws->count;
	atomic_store(&ws->is_draining, true);
	for (unsigned i = 0; ws->set != NULL && i < ws->set->count; i++)
		listen_stop(ws->set->slots[i]);
	for (unsigned i = 0; i < ws->count; i++)
		loop_post(ws->v[i]->loop, drain_one, ws->v[i]);
}

static void
cut_all(struct worker *w, void (*cut)(struct conn *c))
{
	struct conn *next;

	w->is_ending = true;
	for (struct conn *c = w->conn_list; c != NULL; c = next) {
		next = c->next;
		cut(c);
	}
}

static void
cut_one(void *arg)
{
	cut_all(arg, conn_cut);
}

void
workers_cut(struct workers *ws)
{
	for (unsigned i = 0; i < ws->count; i++)
		loop_post(ws->v[i]->loop, cut_one, ws->v[i]);
}

/* On the main thread, after the worker's own has ended. */
static void
worker_free(struct worker *w)
{
	w->is_draining = false;
	cut_all(w, conn_abort);
	upstream_close_all(w);
	for (unsigned i = 0; i < w->listener_count; i++) {
		if (w->listeners[i] != NULL && w->listeners[i]->is_watched)
			event_del(&w->listeners[i]->ev);
		if (w->listeners[i] != NULL && w->listeners[i]->in != NULL) {
			event_del(&w->listeners[i]->handoff_ev);
			handin_free(w->listeners[i]->in);
		}
	}
	tlsasker_free(w->asker);
	if (w->has_tls)
		stream_tls_env_fini(&w->tls);
	deadline_fini(&w->resume);
	deadline_fini(&w->trim);
	loop_free(w->loop);
	for (unsigned i = 0; i < w->listener_count; i++)
		free(w->listeners[i]);
	free(w->listeners);
	while (w->snap != NULL) {
		struct wsnap *snap = w->snap;

		w->snap = snap->older;
		wsnap_free(snap);
	}
	idlepool_fini(&w->idle);
	codec_h2_env_free(w->h2);
	freelist_fini(&w->conns);
	freelist_fini(&w->clients);
	freelist_fini(&w->requests);
	freelist_fini(&w->upstreams);
	exchange_h2_env_free(w->up_h2);
	bufs_fini(&w->bufs);
	free(w);
}

void
workers_free(struct workers *ws)
{
	if (ws == NULL)
		return;
	for (unsigned i = 0; i < ws->threads; i++)
		loop_stop(ws->v[i]->loop);
	for (unsigned i = 0; i < ws->threads; i++)
		pthread_join(ws->v[i]->thread, NULL);
	for (unsigned i = 0; i < ws->count; i++)
		worker_free(ws->v[i]);
	free(ws->v);
	free(ws);
}
