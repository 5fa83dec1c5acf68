/*
 * worker_handoff: connections whose TLS handshake tlsd has made, on their way to the worker that
 * serves them, and what all of these share. Driven by the channels of a listener, which any worker
 * may hold.
 *
 * Invariant: a connection that was acknowledged is counted from then on, and served, also by a
 * process that drains; one that is promised to a worker keeps that worker from being done.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "routerd/conn.h"
#include "routerd/listen.h"
#include "routerd/worker_state.h"

/* One on its way to another worker: the message's bytes live behind it. */
struct gift {
	struct worker *to;
	unsigned slot;
	int fd;
	struct handoff h;
	size_t n;
	char bytes[];
};

static void
on_kernel_tls(void *arg, enum stream_ktls_event what)
{
	struct worker *w = arg;

	switch (what) {
	case STREAM_KTLS_TAKEN: worker_count(w, STAT_KERNEL_TLS); break;
	case STREAM_KTLS_CUT: worker_count(w, STAT_KERNEL_TLS_CUT); break;
	case STREAM_KTLS_NO_TAILS: worker_look_drained(w); break;
	}
}

struct stream_tls_env *
worker_tls(struct worker *w)
{
	if (!w->has_tls) {
		w->has_tls = stream_tls_env_init(&w->tls);
		w->tls.held = &w->stats[STAT_BUFFERED];
		w->tls.tight = &w->bufs.tight;
		w->tls.kernel = &w->all->kernel_tls;
		w->tls.on_kernel = on_kernel_tls;
		w->tls.arg = w;
	}
	return w->has_tls ? &w->tls : NULL;
}

void
workers_set_kernel_tls(struct workers *ws, unsigned suites)
{
	atomic_store(&ws->kernel_tls, suites);
}

unsigned
workers_kernel_tls(const struct workers *ws)
{
	return atomic_load(&ws->kernel_tls);
}

static void
begin_handed(struct wlistener *l, int fd, const struct handoff *h)
{
	worker_count_new(l);
	worker_count(l->w, STAT_HANDED_OVER);
	conn_new_tls(l->w, l, fd, h);
}

static void
take_gift(void *arg)
{
	struct gift *g = arg;
	struct worker *w = g->to;

	/* Its giver may have heard of a new listener before us. */
	if (g->slot >= w->listener_count || w->listeners[g->slot] == NULL) {
		loop_post(w->loop, take_gift, g);
		return;
	}
	begin_handed(w->listeners[g->slot], g->fd, &g->h);
	atomic_fetch_sub(&w->promised, 1);
	explicit_bzero(g, sizeof(*g) + g->n);
	free(g);
}

static struct slice
keep(struct gift *g, struct slice s)
{
	char *at = g->bytes + g->n;

	if (s.n > 0)
		memcpy(at, s.p, s.n);
	g->n += s.n;
	return slice_make(at, s.n);
}

static void
give(struct worker *to, unsigned slot, int fd, const struct handoff *h)
{
	size_t n = h->in.n + h->out.n + proxy_text_len(&h->info);
	struct gift *g = xmalloc(sizeof(*g) + n);

	*g = (struct gift){ .to = to, .slot = slot, .fd = fd, .h = *h };
	g->h.in = keep(g, h->in);
	g->h.out = keep(g, h->out);
	proxy_text_move(&g->h.info, g->bytes + g->n);
	g->n = n;
	loop_post(to->loop, take_gift, g);
}

static uint64_t
load_of(const struct worker *w)
{
	return __atomic_load_n(&w->stats[STAT_CONNECTIONS], __ATOMIC_RELAXED) +
		atomic_load_explicit(&w->promised, memory_order_relaxed);
}

/* Moving a connection costs something: only where it makes a difference. */
static struct worker *
least_loaded(struct worker *w)
{
	struct worker *best = w;
	uint64_t least = load_of(w);

	for (unsigned i = 0; i < w->all->count; i++) {
		uint64_t load = load_of(w->all->v[i]);

		if (load + 1 < least || (best != w && load < least)) {
			best = w->all->v[i];
			least = load;
		}
	}
	return best;
}

/* The promise is made before draining is looked at: a worker that drains sees one or the other. */
static bool
promise(struct worker *w, struct worker *to)
{
	if (to == w)
		return false;
	atomic_fetch_add(&to->promised, 1);
	if (!atomic_load(&w->all->is_draining))
		return true;
	atomic_fetch_sub(&to->promised, 1);
	return false;
}

static void
on_handed(void *arg, int fd, const struct handoff *h)
{
	struct wlistener *l = arg;
	struct worker *w = l->w;
	struct worker *to = least_loaded(w);

	atomic_fetch_add_explicit(&w->all->connections, 1, memory_order_relaxed);
	if (promise(w, to))
		give(to, l->slot->index, fd, h);
	else
		begin_handed(l, fd, h);
}

static bool
may_take(void *arg)
{
	struct wlistener *l = arg;
	struct worker *w = l->w;

	if (atomic_load_explicit(&w->all->connections, memory_order_relaxed) <
		atomic_load_explicit(&w->all->limit, memory_order_relaxed))
		return true;
	worker_pause(w);
	return false;
}

static bool
accept_channel(struct wlistener *l)
{
	int fd = accept4(l->slot->handoff_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			worker_pause(l->w);
		return errno == EINTR || errno == ECONNABORTED;
	}
	handin_set_user(l->in, atomic_load(&l->w->all->tlsd_user));
	(void)handin_add(l->in, fd);
	return true;
}

/* One at a time: others are there for the next. */
static void
on_channel(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)accept_channel(arg);
}

/* Channels that wait to be accepted would wake us again and again where there is no descriptor. */
void
worker_watch_handoff(struct wlistener *l, bool on)
{
	if (l->in == NULL)
		return;
	handin_pause(l->in, !on);
	if (on)
		event_add(&l->handoff_ev, NULL);
	else
		event_del(&l->handoff_ev);
}

void
worker_open_handoff(struct wlistener *l)
{
	struct worker *w = l->w;

	if (l->slot->handoff_fd < 0)
		return;
	if (worker_tls(w) == NULL) {
		LOG_ERROR("handoff_off", L_STR("reason", "OpenSSL does not offer the ciphers"));
		return;
	}
	l->in = handin_new(w->loop, atomic_load(&w->all->tlsd_user), on_handed, l);
	handin_set_gate(l->in, may_take);
	event_assign(&l->handoff_ev, loop_base(w->loop), l->slot->handoff_fd, EV_READ | EV_PERSIST,
		on_channel, l);
	worker_watch_handoff(l, !w->is_paused);
}

/* Those that have connected are heard, and what they have sent is ours. */
void
worker_close_handoff(struct wlistener *l)
{
	if (l->in == NULL)
		return;
	event_del(&l->handoff_ev);
	while (accept_channel(l))
		;
	handin_drain(l->in);
	handin_free(l->in);
	l->in = NULL;
}
