/*
 * worker_accept: a worker's listening sockets: accepting, pausing at a limit, and how one comes and
 * goes.
 */
#include <errno.h>
#include <sys/socket.h>

#include "routerd/conn.h"
#include "routerd/listen.h"
#include "routerd/worker_state.h"

/* How many connections one wake-up may take before others get their turn. */
#define ACCEPT_BATCH 64
/* How long accepting pauses at a limit before it looks again. */
#define PAUSE_MS 100

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

void
worker_resume_accepting(struct worker *w)
{
	if (!w->is_paused || w->is_draining)
		return;
	w->is_paused = false;
	watch(w, true);
}

static void
on_resume(struct deadline *d)
{
	worker_resume_accepting((struct worker *)((char *)d - offsetof(struct worker, resume)));
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
void
worker_close_listener(struct wlistener *l)
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

void
worker_add_listener(struct worker *w, struct listen_slot *slot)
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

void
worker_init_accepting(struct worker *w)
{
	deadline_init(&w->resume, on_resume);
}
