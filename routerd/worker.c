/*
 * worker: threads, their loops, accepting, and how a new generation reaches them. Everything
 * between threads goes through loop_post; what is counted per request stays on the worker's own
 * memory.
 */
#include "routerd/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/sched.h"
#include "routerd/codec_h1.h"
#include "routerd/codec_h2.h"
#include "routerd/conn.h"
#include "routerd/exchange_h2.h"
#include "routerd/listen.h"
#include "routerd/request_state.h"
#include "routerd/worker_state.h"

/* How many connections one wake-up may take before others get their turn. */
#define ACCEPT_BATCH 64
/* How long accepting pauses at a limit before it looks again. */
#define PAUSE_MS 100
/* Requests are short, and somebody waits for each: in front of handshakes and other bulk work. */
#define SLICE_US 100
/* What no request needed for so long is given back, but for a few of each. */
#define TRIM_MS      200
#define OBJECTS_BASE 8

/* --- what workers and connections ask
 * ------------------------------------------------------------------------------------ */

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

struct stream_tls_env *
worker_tls(struct worker *w)
{
	if (!w->has_tls)
		w->has_tls = stream_tls_env_init(&w->tls);
	return w->has_tls ? &w->tls : NULL;
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

/* --- accepting
 * ------------------------------------------------------------------------------------------------------------
 */

static void
watch(struct worker *w, bool on)
{
	for (unsigned i = 0; i < w->listener_count; i++) {
		struct wlistener *l = w->listeners[i];

		if (l == NULL || l->fd < 0 || l->is_watched == on)
			continue;
		if (on)
			event_add(&l->ev, NULL);
		else
			event_del(&l->ev);
		l->is_watched = on;
		worker_watch_handoff(l, on);
	}
}

/* At the limit nothing is accepted: clients wait in the backlog, and nothing spins. */
void
worker_pause(struct worker *w)
{
	static _Thread_local struct log_limit limit = { .burst = 1 };
	uint32_t held;

	if (w->is_paused)
		return;
	w->is_paused = true;
	worker_count(w, STAT_ACCEPT_PAUSED);
	if (log_allow(&limit, &held))
		LOG_WARN("accept_paused", L_INT("connections", atomic_load(&w->all->connections)),
			L_INT("limit", atomic_load(&w->all->limit)), L_INT("suppressed", held));
	watch(w, false);
	deadline_set(w->loop, &w->resume, PAUSE_MS);
}

static void
resume_accepting(struct worker *w)
{
	if (!w->is_paused || w->is_draining)
		return;
	w->is_paused = false;
	watch(w, true);
}

static void
on_resume(struct deadline *d)
{
	resume_accepting((struct worker *)((char *)d - offsetof(struct worker, resume)));
}

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
static void
look_drained(void *arg)
{
	struct worker *w = arg;

	if (!w->is_draining || w->is_drained || w->conn_list != NULL)
		return;
	if (atomic_load(&w->promised) > 0) {
		loop_post(w->loop, look_drained, w);
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
		resume_accepting(w);
	look_drained(w);
}

static bool
has_place(struct worker *w)
{
	uint64_t before = atomic_fetch_add_explicit(&w->all->connections, 1, memory_order_relaxed);

	if (before < atomic_load_explicit(&w->all->limit, memory_order_relaxed))
		return true;
	atomic_fetch_sub_explicit(&w->all->connections, 1, memory_order_relaxed);
	return false;
}

void
worker_count_new(struct wlistener *l)
{
	worker_count(l->w, STAT_ACCEPTED);
	worker_add(l->w, STAT_CONNECTIONS, 1);
	atomic_fetch_add_explicit(&l->count->accepted, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&l->count->open, 1, memory_order_relaxed);
}

/* true: there may be more. */
static bool
accept_some(struct wlistener *l)
{
	struct worker *w = l->w;

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t len = sizeof(peer);
		int fd;

		if (!has_place(w)) {
			worker_pause(w);
			return false;
		}
		fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			atomic_fetch_sub_explicit(&w->all->connections, 1, memory_order_relaxed);
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
				errno == ENOMEM)
				worker_pause(w);
			if (errno != EINTR && errno != ECONNABORTED)
				return false;
			continue;
		}
		if (len == 0)
			peer.ss_family = AF_UNIX;
		worker_count_new(l);
		conn_new(w, l, fd, (struct sockaddr *)&peer);
	}
	return true;
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)accept_some(arg);
}

/* Clients that wait between two requests on a listener that goes are told by the end. */
static void
close_idle_clients(const struct wlistener *l)
{
	struct conn *next;

	for (struct conn *c = l->w->conn_list; c != NULL; c = next) {
		next = c->next;
		if (c->l == l)
			conn_drain(c);
	}
}

/* Clients that are queued already are served; then the socket goes. */
static void
close_listener(struct wlistener *l)
{
	if (l->fd < 0)
		return;
	while (accept_some(l))
		;
	worker_close_handoff(l);
	close_idle_clients(l);
	if (l->is_watched)
		event_del(&l->ev);
	l->is_watched = false;
	l->fd = -1;
}

/* --- generations
 * -----------------------------------------------------------------------------------------------------------
 */

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
add_listener(struct worker *w, struct listen_slot *slot)
{
	struct wlistener *l = xcalloc(1, sizeof(*l));

	l->w = w;
	l->slot = slot;
	l->count = &slot->counts[w->id];
	l->fd = slot->fds[w->id];
	event_assign(&l->ev, loop_base(w->loop), l->fd, EV_READ | EV_PERSIST, on_accept, l);
	if (!w->is_paused && !w->is_draining)
		l->is_watched = event_add(&l->ev, NULL) == 0;
	w->listeners[slot->index] = l;
	if (!w->is_draining)
		worker_open_handoff(l);
}

static void
take_listeners(struct worker *w, const struct adoption *a)
{
	w->listeners = xreallocarray(w->listeners, a->slot_count, sizeof(*w->listeners));
	for (unsigned i = w->listener_count; i < a->slot_count; i++)
		w->listeners[i] = NULL;
	__atomic_store_n(&w->listener_count, a->slot_count, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < a->slot_count; i++) {
		if (a->listeners[i] != NULL && w->listeners[i] == NULL)
			add_listener(w, a->slots[i]);
		else if (a->listeners[i] == NULL && w->listeners[i] != NULL)
			close_listener(w->listeners[i]);
	}
}

static void
adoption_done(void *arg)
{
	struct adoption *a = arg;

	for (unsigned i = 0; i < a->slot_count; i++) {
		struct listen_slot *slot = a->slots[i];

		if (a->listeners[i] != NULL || !slot->is_open)
			continue;
		for (unsigned k = 0; k < slot->count; k++) {
			close(slot->fds[k]);
			slot->fds[k] = -1;
		}
		if (slot->handoff_fd >= 0)
			close(slot->handoff_fd);
		slot->handoff_fd = -1;
		slot->is_open = false;
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
			listen_stop_handoff(set->slots[i]);
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

/* --- the set
 * ------------------------------------------------------------------------------------------------------------------
 */

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
	bufs_init(&w->bufs, pipes);
	freelist_init(&w->conns, sizeof(struct conn), 4096);
	freelist_init(&w->clients, codec_h1_client_size(), 256);
	freelist_init(&w->requests, sizeof(struct request), 1024);
	freelist_init(&w->upstreams, sizeof(struct upstream), 512);
	w->up_h2 = exchange_h2_env_new(w);
	deadline_init(&w->resume, on_resume);
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
			close_listener(w->listeners[i]);
	if (atomic_fetch_sub(&w->all->accepting, 1) == 1 && w->all->set != NULL)
		loop_post(w->all->main_loop, close_sockets, w->all);
	for (struct conn *c = w->conn_list; c != NULL; c = next) {
		next = c->next;
		conn_drain(c);
	}
	upstream_close_all(w);
	w->is_draining = true;
	look_drained(w);
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

/* On the main thread, after the worker's own has ended. */
static void
worker_free(struct worker *w)
{
	struct conn *next;

	w->is_draining = false;
	for (struct conn *c = w->conn_list; c != NULL; c = next) {
		next = c->next;
		conn_abort(c);
	}
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
	if (w->has_tls)
		stream_tls_env_fini(&w->tls);
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

/* --- barriers and questions of the main thread
 * ------------------------------------------------------------------------------- */

struct barrier {
	_Atomic unsigned left;
	struct workers *ws;
	uint32_t server_id;
	void (*done)(void *arg);
	void *arg;
};

struct barrier_one {
	struct worker *w;
	struct barrier *all;
};

static void
barrier_done(void *arg)
{
	struct barrier *b = arg;

	if (b->done != NULL)
		b->done(b->arg);
	free(b);
}

static void
pass_barrier(void *arg)
{
	struct barrier_one *one = arg;
	struct barrier *b = one->all;

	if (b->server_id != UINT32_MAX)
		upstream_close_idle(one->w, b->server_id);
	free(one);
	if (atomic_fetch_sub(&b->left, 1) == 1)
		loop_post(b->ws->main_loop, barrier_done, b);
}

static void
post_barrier(struct workers *ws, uint32_t server_id, void (*done)(void *arg), void *arg)
{
	struct barrier *b = xcalloc(1, sizeof(*b));

	*b = (struct barrier){
		.left = ws->count, .ws = ws, .server_id = server_id, .done = done, .arg = arg
	};
	for (unsigned i = 0; i < ws->count; i++) {
		struct barrier_one *one = xmalloc(sizeof(*one));

		*one = (struct barrier_one){ ws->v[i], b };
		loop_post(ws->v[i]->loop, pass_barrier, one);
	}
}

void
workers_barrier(struct workers *ws, void (*done)(void *arg), void *arg)
{
	post_barrier(ws, UINT32_MAX, done, arg);
}

void
workers_forget_server(struct workers *ws, uint32_t server_id, void (*done)(void *arg), void *arg)
{
	post_barrier(ws, server_id, done, arg);
}

void
workers_close_idle(struct workers *ws, uint32_t server_id)
{
	post_barrier(ws, server_id, NULL, NULL);
}

uint64_t
workers_stat(const struct workers *ws, enum stat_id id)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ws->count; i++)
		sum += __atomic_load_n(&ws->v[i]->stats[id], __ATOMIC_RELAXED);
	return sum;
}

uint64_t
workers_stat_of(const struct workers *ws, unsigned worker, enum stat_id id)
{
	return __atomic_load_n(&ws->v[worker]->stats[id], __ATOMIC_RELAXED);
}

unsigned
workers_count(const struct workers *ws)
{
	return ws->count;
}

unsigned
workers_listeners(const struct workers *ws, struct listener_stats *out, unsigned cap)
{
	unsigned n = 0;

	for (unsigned i = 0; ws->set != NULL && i < ws->set->count && n < cap; i++) {
		const struct listen_slot *slot = ws->set->slots[i];

		if (!slot->is_open)
			continue;
		out[n] = (struct listener_stats){ .name = slot->name };
		memcpy(out[n].address, slot->bound, sizeof(out[n].address));
		for (unsigned k = 0; k < slot->count; k++) {
			out[n].accepted += atomic_load_explicit(
				&slot->counts[k].accepted, memory_order_relaxed);
			out[n].connections +=
				atomic_load_explicit(&slot->counts[k].open, memory_order_relaxed);
		}
		n++;
	}
	return n;
}

uint64_t
workers_oldest_generation(const struct workers *ws)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned i = 0; i < ws->count; i++) {
		uint64_t one =
			atomic_load_explicit(&ws->v[i]->oldest_generation, memory_order_relaxed);

		if (one < oldest)
			oldest = one;
	}
	return oldest;
}
