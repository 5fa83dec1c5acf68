/*
 * session: the life of a client connection as a table. Events only note what a socket can do and
 * run the driver; a step returns the next state or WAIT. Closing detaches at once; the memory is
 * used again after the loop's turn.
 */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/mem.h"
#include "tlsd/challenge.h"
#include "tlsd/handover.h"
#include "tlsd/handshake.h"
#include "tlsd/pass.h"
#include "tlsd/peek.h"
#include "tlsd/relay.h"
#include "tlsd/relay_connect.h"
#include "tlsd/session.h"

#define MAGIC             0x53455353u
#define WAIT              SESSION_WAIT
#define LINGER_MS         3000
#define LINGER_CROWDED_MS 200
#define LINGER_MAX        (1u << 20)

static int do_linger(struct session *s);
static int late_linger(struct session *s);
static int cut_silent(struct session *s);
static int cut_flow(struct session *s);
static int cut_linger(struct session *s);

static const struct state {
	const char *name;
	int (*step)(struct session *s);
	int (*late)(struct session *s); /* the deadline passed: the next state */
	int (*cut)(struct session *s);  /* the process ends: the next state */
} states[] = {
	[SESSION_HELLO] = { "hello", peek_step, handshake_late, cut_silent },
	[SESSION_HANDSHAKE] = { "handshake", handshake_step, handshake_late, cut_silent },
	[SESSION_FIRST] = { "first", relay_first, relay_first_late, relay_connect_cut },
	[SESSION_CONNECT] = { "connect", relay_connect, relay_connect_late, relay_connect_cut },
	[SESSION_HANDOVER] = { "handover", handover_step, handover_late, handover_cut },
	[SESSION_RELAY] = { "relay", relay_step, relay_late, cut_flow },
	[SESSION_PASS_CONNECT] = { "pass_connect", pass_connect, pass_connect_late, cut_flow },
	[SESSION_PASS] = { "pass", pass_step, relay_late, cut_flow },
	[SESSION_LINGER] = { "linger", do_linger, late_linger, cut_linger },
};

/* ---- events ---- */

static void session_run(struct session *s);

static struct session *
check(void *p)
{
	struct session *s = p;

	assert(s->magic == MAGIC);
	return s;
}

static void
on_client(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = check(arg);

	(void)fd;
	s->active_ms = loop_now_ms(s->w->loop);
	s->is_looked_at = false;
	s->wire.is_readable |= (what & (EV_READ | EV_CLOSED)) != 0;
	s->wire.is_writable |= (what & EV_WRITE) != 0;
	s->wire.is_hup |= (what & EV_CLOSED) != 0;
	session_run(s);
}

static void
on_backend(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = check(arg);

	(void)fd;
	s->active_ms = loop_now_ms(s->w->loop);
	s->is_looked_at = false;
	s->b_readable |= (what & (EV_READ | EV_CLOSED)) != 0;
	s->b_writable |= (what & EV_WRITE) != 0;
	s->b_hup |= (what & EV_CLOSED) != 0;
	session_run(s);
}

static void
watch(struct session *s, struct event *ev, int fd, bool is_write, event_callback_fn fn)
{
	short what = EV_READ | EV_CLOSED | EV_ET | EV_PERSIST | (is_write ? EV_WRITE : 0);

	event_assign(ev, loop_base(s->w->loop), fd, what, fn, s);
	event_add(ev, NULL);
}

/* Registering anew makes epoll report at once what is ready, so no edge is lost. */
void
session_watch_client(struct session *s)
{
	watch(s, &s->cev, s->wire.fd, s->c_watches_write, on_client);
}

void
session_watch_client_write(struct session *s)
{
	if (s->c_watches_write)
		return;
	s->c_watches_write = true;
	event_del(&s->cev);
	session_watch_client(s);
}

void
session_watch_backend_write(struct session *s)
{
	if (s->b_watches_write)
		return;
	s->b_watches_write = true;
	event_del(&s->bev);
	watch(s, &s->bev, s->bfd, true, on_backend);
}

void
session_watch_backend(struct session *s, bool is_write)
{
	s->b_watches_write = is_write;
	watch(s, &s->bev, s->bfd, is_write, on_backend);
}

static void
on_again(struct run_item *item)
{
	session_run((struct session *)(void *)((char *)item - offsetof(struct session, again)));
}

/* ---- the end ---- */

void
session_forget_hello(struct session *s)
{
	if (s->hello != NULL) {
		if (s->hello->ask != NULL)
			challenge_forget(s->hello->ask);
		keys_wipe(&s->hello->keys);
		if (s->wire.ssl != NULL) {
			SSL_set_app_data(s->wire.ssl, NULL);
			handover_unwatch(s);
		}
		s->hello->next_free = s->w->hello_free;
		s->w->hello_free = s->hello;
		s->hello = NULL;
	}
	if (s->site != NULL) {
		worker_site_put(s->w, s->site);
		s->site = NULL;
		s->listener = NULL;
	}
}

/* No server any more, and nothing for it. */
static void
drop_backend(struct session *s)
{
	pipe_give(&s->w->pipes, &s->up_pipe);
	pipe_give(&s->w->pipes, &s->down_pipe);
	if (s->bfd >= 0) {
		event_del(&s->bev);
		close(s->bfd);
		s->bfd = -1;
	}
	if (s->backend != NULL) {
		target_release(s->backend);
		s->backend = NULL;
	}
	spill_fini(&s->up);
}

void
session_forget_socket(struct session *s)
{
	event_del(&s->bev);
	close(s->bfd);
	s->bfd = -1;
	s->b_writable = s->b_readable = s->b_hup = s->b_watches_write = false;
}

static void
gauge(struct session *s, int delta)
{
	struct stats *st = &s->w->stats;

	if (s->state == SESSION_HELLO || s->state == SESSION_HANDSHAKE)
		stats_add(&st->handshaking, (uint64_t)delta);
	else if (s->state == SESSION_RELAY)
		stats_add(&st->relaying, (uint64_t)delta);
	else if (s->state == SESSION_PASS_CONNECT || s->state == SESSION_PASS)
		stats_add(&st->passing, (uint64_t)delta);
}

static void
recycle(void *p)
{
	struct session *s = p;

	s->next = s->w->free_list;
	s->w->free_list = s;
}

/* An end in the middle must not look like one that a peer has asked for. */
static void
cut(struct session *s)
{
	struct linger hard = { .l_onoff = 1 };

	setsockopt(s->wire.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	if (s->bfd >= 0)
		setsockopt(s->bfd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
}

static void
session_close(struct session *s)
{
	struct worker *w = s->w;

	s->state = SESSION_CLOSED;
	if (s->is_cut)
		cut(s);
	worker_unwait(w, s);
	handover_fini(&s->over);
	drop_backend(s);
	session_forget_hello(s);
	event_del(&s->cev);
	close(s->wire.fd);
	wire_fini(&s->wire);
	deadline_fini(&s->deadline);
	loop_run_cancel(w->loop, &s->again);
	listen_stat_ended(s->counted);
	worker_session_ended(w, s);
	s->magic = 0;
	loop_defer(w->loop, recycle, s);
}

void
session_kill(struct session *s)
{
	gauge(s, -1);
	session_close(s);
}

void
session_free_list(struct worker *w)
{
	while (w->free_list != NULL) {
		struct session *s = w->free_list;

		w->free_list = s->next;
		free(s);
	}
	while (w->hello_free != NULL) {
		struct session_hello *h = w->hello_free;

		w->hello_free = h->next_free;
		free(h);
	}
}

/* ---- driver ---- */

static void
enter(struct session *s, int next)
{
	gauge(s, -1);
	LOG_DEBUG("session_state", L_INT("fd", s->wire.fd), L_STR("from", states[s->state].name),
		L_STR("to", next == SESSION_CLOSED ? "closed" : states[next].name));
	/* The time for a handshake runs from the first byte of its first message. */
	if (s->state != SESSION_HELLO || next != SESSION_HANDSHAKE)
		deadline_clear(&s->deadline);
	s->state = (uint8_t)next;
	gauge(s, 1);
}

static void
drive(struct session *s, int next)
{
	while (next != WAIT) {
		if (next != s->state)
			enter(s, next);
		if (next == SESSION_CLOSED) {
			session_close(s);
			return;
		}
		next = states[s->state].step(s);
	}
}

void
session_drive(struct session *s, int next)
{
	drive(check(s), next);
}

static void
session_run(struct session *s)
{
	drive(s, s->state);
}

static void
on_deadline(struct deadline *d)
{
	struct session *s = check((void *)((char *)d - offsetof(struct session, deadline)));

	drive(s, states[s->state].late(s));
}

void
session_retry(struct session *s)
{
	s->is_retry = true;
	session_run(s);
	s->is_retry = false;
}

void
session_cut(struct session *s)
{
	drive(s, states[s->state].cut(s));
}

int
session_closed_for(_Atomic uint64_t *counter)
{
	stats_add(counter, 1);
	return SESSION_CLOSED;
}

/* ---- linger ---- */

static int
do_linger(struct session *s)
{
	if (s->deadline.due_ms == 0) {
		drop_backend(s);
		shutdown(s->wire.fd, SHUT_WR);
		/* A client that got the end closes in its turn; one that does not shall not keep a
		 * place that others could have. */
		deadline_set(s->w->loop, &s->deadline,
			worker_is_crowded(s->w) ? LINGER_CROWDED_MS : LINGER_MS);
		s->wire.is_readable = true;
	}
	while (s->wire.is_readable && s->linger_n < LINGER_MAX) {
		ssize_t n = wire_recv(&s->wire, WIRE_RECORD);

		s->wire.in_n = 0;
		if (n == -1)
			break;
		if (n <= 0)
			return SESSION_CLOSED;
		s->linger_n += (uint32_t)n;
	}
	return s->linger_n < LINGER_MAX ? WAIT : SESSION_CLOSED;
}

static int
late_linger(struct session *s)
{
	(void)s;
	return SESSION_CLOSED;
}

static int
cut_linger(struct session *s)
{
	(void)s;
	return WAIT;
}

/* ---- cut ---- */

/* The client knows by itself that a handshake has not ended. */
static int
cut_silent(struct session *s)
{
	(void)s;
	return SESSION_CLOSED;
}

/* Nobody here knows whether the bytes that went by are whole, so there is no close_notify: the end
 * is a cut for whoever asks TLS. A reset would say the same, and take away what is not read yet. */
static int
cut_flow(struct session *s)
{
	s->is_cut = false;
	return SESSION_LINGER;
}

/* ---- the beginning ---- */

static struct session *
take_session(struct worker *w)
{
	struct session *s = w->free_list;

	if (s == NULL)
		return xcalloc(1, sizeof(*s));
	w->free_list = s->next;
	memset(s, 0, sizeof(*s));
	return s;
}

static struct session_hello *
take_hello(struct worker *w)
{
	struct session_hello *h = w->hello_free;

	if (h == NULL)
		h = xmalloc(sizeof(*h));
	else
		w->hello_free = h->next_free;
	h->tls = (struct tls_hello){ .sni_n = 0 };
	h->scan = (struct hello_scan){ .record = 0 };
	h->pass = NULL;
	h->tries = 0;
	h->ask = NULL;
	h->is_challenge = false;
	return h;
}

void
session_new(struct worker *w, struct site_listener *l, int fd, const struct sockaddr *peer,
	socklen_t len)
{
	struct session *s = take_session(w);

	s->magic = MAGIC;
	s->w = w;
	s->bfd = -1;
	s->b_writable = true;
	s->listener = l;
	s->counted = l->listen->stat;
	listen_stat_began(s->counted);
	s->site = w->site;
	s->site->uses++;
	s->hello = take_hello(w);
	memset(&s->hello->peer, 0, sizeof(s->hello->peer));
	memcpy(&s->hello->peer, peer, len);
	s->hello->peer_len = len;
	deadline_init(&s->deadline, on_deadline);
	s->again.fn = on_again;
	s->state = l->has_to_peek ? SESSION_HELLO : SESSION_HANDSHAKE;
	worker_session_began(w, s);
	gauge(s, 1);
	wire_init(&s->wire, fd, &w->bufs);
	s->wire.is_writable = true;
	watch(s, &s->cev, fd, false, on_client);
	deadline_set(w->loop, &s->deadline, (uint64_t)w->site->site->cfg->handshake_timeout_ms);
	if (s->state == SESSION_HANDSHAKE &&
		session_start_tls(s, tlsctx_default(l->ctx)) == SESSION_CLOSED)
		session_kill(s);
}
