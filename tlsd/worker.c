/*
 * worker: accepts, adopts sites, retries those that wait, drains. The thread runs until
 * worker_stop; whatever comes from the main thread comes by loop_post, in order.
 */
#include <errno.h>
#include <event2/event_struct.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/mem.h"
#include "libcommon/sched.h"
#include "libcommon/tlsrec.h"
#include "tlsd/kdf.h"
#include "tlsd/session.h"
#include "tlsd/worker.h"

#define ACCEPT_TURN 32   /* handshakes are dear: others have their turn in between */
#define SLICE_US    5000 /* in a storm of them, those that are connected come first */
#define RETRY_MS    LOOP_TICK_MS
#define RESUME_MS   100
#define LOG_BURST   10 /* a second, all workers together */

struct worker_listener {
	struct worker *w;
	struct listen *listen;
	struct listen_sock *sock;
	struct site_listener *site; /* of the current site */
	bool is_watched;
	bool is_kept; /* while a site is adopted */
	struct event ev;
	struct worker_listener *next;
};

/* A message of the main thread's. */
struct order {
	struct worker *w;
	struct site *site;
	void (*on_done)(void *arg);
};

/* ---- accepting ---- */

static void on_accept(evutil_socket_t fd, short what, void *arg);

static void
listener_watch(struct worker_listener *l, bool on)
{
	if (on == l->is_watched)
		return;
	l->is_watched = on;
	if (!on) {
		event_del(&l->ev);
		return;
	}
	event_assign(
		&l->ev, loop_base(l->w->loop), l->sock->fd, EV_READ | EV_PERSIST, on_accept, l);
	event_add(&l->ev, NULL);
}

static void
watch_all(struct worker *w, bool on)
{
	for (struct worker_listener *l = w->listeners; l != NULL; l = l->next)
		listener_watch(l, on);
}

static void
pause_accepting(struct worker *w, _Atomic uint64_t *counter, const char *event, int no)
{
	uint32_t dropped = 0;

	stats_add(counter, 1);
	w->is_paused = true;
	watch_all(w, false);
	deadline_set(w->loop, &w->resume, RESUME_MS);
	if (log_allow(&w->log_other, &dropped))
		LOG_WARN(event, L_INT("worker", w->index), L_INT("open", stats_get(&w->pool->open)),
			L_STR("text", no != 0 ? strerror(no) : ""), L_INT("not_logged", dropped));
}

static bool
has_room(const struct worker *w)
{
	return atomic_load_explicit(&w->pool->open, memory_order_relaxed) <
		atomic_load_explicit(&w->pool->max, memory_order_relaxed);
}

bool
worker_is_crowded(const struct worker *w)
{
	uint64_t max = atomic_load_explicit(&w->pool->max, memory_order_relaxed);

	return atomic_load_explicit(&w->pool->open, memory_order_relaxed) > max - max / 4;
}

static void
resume_accepting(struct worker *w)
{
	if (!w->is_paused || w->is_draining)
		return;
	if (!has_room(w)) {
		deadline_set(w->loop, &w->resume, RESUME_MS);
		return;
	}
	w->is_paused = false;
	deadline_clear(&w->resume);
	watch_all(w, true);
}

static void
on_resume(struct deadline *d)
{
	resume_accepting((struct worker *)(void *)((char *)d - offsetof(struct worker, resume)));
}

/* Whether to go on accepting. */
static bool
accept_error(struct worker *w, int no)
{
	switch (no) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENONET:
	case EPERM: return true; /* that one client's misfortune (accept(2)) */
	case EAGAIN: return false;
	default:
		pause_accepting(w, &w->stats.pause_fd, "accept_paused_resources", no);
		return false;
	}
}

/* One client; false when there is none, or none may come. */
static bool
accept_one(struct worker_listener *l)
{
	struct worker *w = l->w;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (!has_room(w)) {
		pause_accepting(w, &w->stats.pause_limit, "accept_paused_limit", 0);
		return false;
	}

	int fd = accept4(l->sock->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return accept_error(w, errno);
	stats_add(&w->stats.accepted, 1);
	session_new(w, l->site, fd, (struct sockaddr *)&peer, len);
	return true;
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct worker_listener *l = arg;

	(void)fd;
	(void)what;
	for (int i = 0; i < ACCEPT_TURN && accept_one(l); i++)
		;
}

/* ---- sessions ---- */

static void
post_drained(struct worker *w)
{
	if (w->is_draining && w->sessions == NULL && w->on_drained != NULL) {
		loop_post(w->pool->main_loop, w->on_drained, w->arg);
		w->on_drained = NULL;
	}
}

void
worker_session_began(struct worker *w, struct session *s)
{
	s->prev = NULL;
	s->next = w->sessions;
	if (s->next != NULL)
		s->next->prev = s;
	w->sessions = s;
	stats_add(&w->stats.open, 1);
	atomic_fetch_add_explicit(&w->pool->open, 1, memory_order_relaxed);
}

void
worker_session_ended(struct worker *w, struct session *s)
{
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		w->sessions = s->next;
	if (s->next != NULL)
		s->next->prev = s->prev;
	stats_add(&w->stats.open, (uint64_t)-1);

	uint64_t open = atomic_fetch_sub_explicit(&w->pool->open, 1, memory_order_relaxed) - 1;
	uint64_t max = atomic_load_explicit(&w->pool->max, memory_order_relaxed);

	/* A little below the limit, so that pausing and resuming do not alternate per client. */
	if (w->is_paused && open < max - max / 32)
		resume_accepting(w);
	post_drained(w);
}

void
worker_site_put(struct worker *w, struct worker_site *ws)
{
	(void)w;
	if (--ws->uses > 0 || ws->is_current)
		return;
	for (size_t i = 0; i < ws->site->nlisteners; i++) {
		bool is_first = true;

		for (size_t j = 0; j < i; j++)
			is_first &= ws->targets[j] != ws->targets[i];
		if (is_first)
			target_free(ws->targets[i]);
		for (size_t j = 0; j < ws->site->listeners[i].npass; j++)
			target_free(ws->passes[i][j]);
		free(ws->passes[i]);
	}
	free(ws->passes);
	free(ws->targets);
	free(ws->channels);
	site_unref(ws->site);
	free(ws);
}

/* ---- waiting for a server ---- */

void
worker_wait(struct worker *w, struct session *s)
{
	if (s->is_waiting)
		return;
	s->is_waiting = true;
	s->wait_next = NULL;
	s->wait_prev = w->wait_last;
	if (w->wait_last != NULL)
		w->wait_last->wait_next = s;
	else
		w->wait_first = s;
	w->wait_last = s;
	stats_add(&w->stats.waiting, 1);
	if (!s->has_waited)
		stats_add(&w->stats.waited, 1);
	s->has_waited = true;
	if (w->retry.due_ms == 0)
		deadline_set(w->loop, &w->retry, RETRY_MS);
}

void
worker_unwait(struct worker *w, struct session *s)
{
	if (!s->is_waiting)
		return;
	s->is_waiting = false;
	if (s->wait_prev != NULL)
		s->wait_prev->wait_next = s->wait_next;
	else
		w->wait_first = s->wait_next;
	if (s->wait_next != NULL)
		s->wait_next->wait_prev = s->wait_prev;
	else
		w->wait_last = s->wait_prev;
	stats_add(&w->stats.waiting, (uint64_t)-1);
}

/* The oldest first; where one finds nobody, the others of that target need not ask. */
static void
on_retry(struct deadline *d)
{
	struct worker *w = (struct worker *)(void *)((char *)d - offsetof(struct worker, retry));
	const struct target *deaf = NULL;
	struct session *next;

	for (struct session *s = w->wait_first; s != NULL; s = next) {
		const struct target *t = session_target(s);

		next = s->wait_next;
		if (t == deaf)
			continue;
		session_retry(s);
		if (s->is_waiting)
			deaf = t;
	}
	if (w->wait_first != NULL)
		deadline_set(w->loop, &w->retry, RETRY_MS);
}

/* ---- adopting a site ---- */

static struct target **
make_passes(struct worker *w, const struct site_listener *l)
{
	struct target **all = xcalloc(l->npass, sizeof(struct target *));

	for (size_t i = 0; i < l->npass; i++) {
		const struct passcfg *p = CFG_AT(struct passcfg, l->cfg->passthrough, i);

		all[i] = target_new_list(w->pool->backends, p->to_addrs, p->to.n);
	}
	return all;
}

static struct worker_site *
make_site(struct worker *w, struct site *site)
{
	struct worker_site *ws = xcalloc(1, sizeof(*ws));

	ws->site = site;
	ws->is_current = true;
	ws->targets = xcalloc(site->nlisteners, sizeof(struct target *));
	ws->channels = xcalloc(site->nlisteners, sizeof(struct channels *));
	ws->passes = xcalloc(site->nlisteners, sizeof(struct target **));
	for (size_t i = 0; i < site->nlisteners; i++) {
		const struct site_listener *l = &site->listeners[i];

		for (size_t j = 0; j < i && ws->targets[i] == NULL; j++)
			if (strcmp(site->listeners[j].cfg->to, l->cfg->to) == 0)
				ws->targets[i] = ws->targets[j];
		if (ws->targets[i] == NULL)
			ws->targets[i] = target_new(w->pool->backends, l->folder, &l->cfg->to_addr);
		ws->passes[i] = make_passes(w, l);
		if (l->cfg->seam == SEAM_HANDOFF)
			ws->channels[i] =
				channels_get(&w->channels, w->loop, w->pool->backends, l->folder);
	}
	return ws;
}

static void
adopt_sock(struct worker *w, struct site_listener *l, struct listen_sock *sock)
{
	struct worker_listener *at;

	for (at = w->listeners; at != NULL && at->sock != sock; at = at->next)
		;
	if (at == NULL) {
		at = xcalloc(1, sizeof(*at));
		*at = (struct worker_listener){ .w = w, .listen = l->listen, .sock = sock };
		at->next = w->listeners;
		w->listeners = at;
	}
	at->site = l;
	at->is_kept = true;
	if (!w->is_paused && !w->is_draining)
		listener_watch(at, true);
}

/* Whoever is queued is served before the socket goes. */
static void
listener_close(struct worker_listener *l)
{
	listener_watch(l, false);
	while (accept_one(l))
		;
	close(l->sock->fd);
	l->sock->fd = -1;
	free(l);
}

static void
drop_unkept(struct worker *w)
{
	struct worker_listener **at = &w->listeners;

	while (*at != NULL) {
		struct worker_listener *l = *at;

		if (l->is_kept) {
			l->is_kept = false;
			at = &l->next;
			continue;
		}
		*at = l->next;
		listener_close(l);
	}
}

static void
adopt(void *arg)
{
	struct order *o = arg;
	struct worker *w = o->w;
	struct worker_site *old = w->site;
	struct worker_site *fresh = make_site(w, o->site);

	for (size_t i = 0; i < o->site->nlisteners; i++) {
		struct site_listener *l = &o->site->listeners[i];

		for (size_t j = 0; j < l->listen->nsocks; j++)
			if (l->listen->socks[j].worker == w->index)
				adopt_sock(w, l, &l->listen->socks[j]);
	}
	drop_unkept(w); /* its last clients still begin with the old site */
	w->site = fresh;
	if (old != NULL) {
		old->is_current = false;
		old->uses++;
		worker_site_put(w, old);
	}
	loop_post(w->pool->main_loop, o->on_done, w->arg);
	free(o);
}

static void
post_order(struct worker *w, struct site *site, void (*fn)(void *), void (*on_done)(void *))
{
	struct order *o = xmalloc(sizeof(*o));

	*o = (struct order){ .w = w, .site = site, .on_done = on_done };
	loop_post(w->loop, fn, o);
}

void
worker_adopt(struct worker *w, struct site *site, void (*on_adopted)(void *arg))
{
	post_order(w, site_ref(site), adopt, on_adopted);
}

/* ---- draining and the end ---- */

static void
drain(void *arg)
{
	struct order *o = arg;
	struct worker *w = o->w;

	w->is_draining = true;
	w->on_drained = o->on_done;
	free(o);
	drop_unkept(w);
	post_drained(w);
}

void
worker_drain(struct worker *w, void (*on_drained)(void *arg))
{
	post_order(w, NULL, drain, on_drained);
}

static void
cut_all(void *arg)
{
	struct worker *w = arg;
	struct session *next;

	for (struct session *s = w->sessions; s != NULL; s = next) {
		next = s->next;
		session_cut(s);
	}
}

void
worker_cut(struct worker *w)
{
	loop_post(w->loop, cut_all, w);
}

static void
end_all(void *arg)
{
	struct worker *w = arg;
	struct worker_listener *l;

	w->is_draining = true;
	w->on_drained = NULL;
	while ((l = w->listeners) != NULL) {
		w->listeners = l->next;
		listener_watch(l, false);
		free(l);
	}
	cut_all(w);
	while (w->sessions != NULL)
		session_kill(w->sessions);
	channels_free_all(&w->channels);
	if (w->site != NULL) {
		w->site->is_current = false;
		w->site->uses++;
		worker_site_put(w, w->site);
		w->site = NULL;
	}
	deadline_fini(&w->retry);
	deadline_fini(&w->resume);
	loop_stop(w->loop);
}

static void *
thread_main(void *arg)
{
	struct worker *w = arg;

	sched_ask_slice(SLICE_US);
	loop_run(w->loop);
	loop_free(w->loop);
	session_free_list(w);
	tlsrec_worker_free(w->records);
	pipes_fini(&w->pipes);
	wire_bufs_fini(&w->bufs);
	kdf_thread_stop();
	OPENSSL_thread_stop();
	return NULL;
}

int
worker_start(struct worker *w, unsigned index, struct pool *pool, unsigned nworkers, void *arg,
	struct err *err)
{
	sigset_t all;
	sigset_t before;

	*w = (struct worker){ .index = index, .pool = pool, .arg = arg };
	w->log_failed.burst = nworkers >= LOG_BURST ? 1 : LOG_BURST / nworkers;
	w->log_other.burst = 1;
	if (RAND_bytes((unsigned char *)&w->id_prefix, sizeof(w->id_prefix)) != 1)
		return err_set(err, "no randomness");
	w->loop = loop_new();
	if (w->loop == NULL)
		return err_set(err, "a worker's loop: %s", strerror(errno));
	wire_bufs_init(&w->bufs);
	pipes_init(&w->pipes, pool->pipes);
	deadline_init(&w->retry, on_retry);
	deadline_init(&w->resume, on_resume);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);

	int no = pthread_create(&w->thread, NULL, thread_main, w);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (no == 0)
		return 0;
	loop_free(w->loop);
	pipes_fini(&w->pipes);
	wire_bufs_fini(&w->bufs);
	return err_set(err, "a worker's thread: %s", strerror(no));
}

void
worker_stop(struct worker *w)
{
	loop_post(w->loop, end_all, w);
	pthread_join(w->thread, NULL);
}
