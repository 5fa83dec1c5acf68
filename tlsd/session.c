/*
 * session: the life of a client connection as a table. Events only note what a socket can do and
 * run the driver; a step returns the next state or WAIT. Closing detaches at once; the memory is
 * used again after the loop's turn.
 */
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/addr.h"
#include "libcommon/mem.h"
#include "libcommon/proxyproto.h"
#include "libcommon/sock.h"
#include "tlsd/challenge.h"
#include "tlsd/handover.h"
#include "tlsd/header.h"
#include "tlsd/pass.h"
#include "tlsd/peek.h"
#include "tlsd/relay.h"
#include "tlsd/session.h"

#define MAGIC       0x53455353u
#define WAIT        SESSION_WAIT
#define FIRST_MS    LOOP_TICK_MS /* how long the header waits for bytes to ride with */
#define LINGER_MS   3000
#define LINGER_MAX  (1u << 20)
#define QUOTA_FIRST (64u << 10)
#define HEAR_MAX    (64u << 10) /* read from a client that waits, to find its end */

static int do_handshake(struct session *s);
static int do_first(struct session *s);
static int do_connect(struct session *s);
static int do_linger(struct session *s);
static int late_handshake(struct session *s);
static int late_first(struct session *s);
static int late_connect(struct session *s);
static int late_linger(struct session *s);

static const struct state {
	const char *name;
	int (*step)(struct session *s);
	int (*late)(struct session *s); /* the deadline passed: the next state */
} states[] = {
	[SESSION_HELLO] = { "hello", peek_step, peek_late },
	[SESSION_HANDSHAKE] = { "handshake", do_handshake, late_handshake },
	[SESSION_FIRST] = { "first", do_first, late_first },
	[SESSION_CONNECT] = { "connect", do_connect, late_connect },
	[SESSION_HANDOVER] = { "handover", handover_step, handover_late },
	[SESSION_RELAY] = { "relay", relay_step, relay_late },
	[SESSION_PASS_CONNECT] = { "pass_connect", pass_connect, pass_connect_late },
	[SESSION_PASS] = { "pass", pass_step, relay_late },
	[SESSION_LINGER] = { "linger", do_linger, late_linger },
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
session_watch_client_write(struct session *s)
{
	if (s->c_watches_write)
		return;
	s->c_watches_write = true;
	event_del(&s->cev);
	watch(s, &s->cev, s->wire.fd, true, on_client);
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

void
session_drop_backend(struct session *s)
{
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
	session_drop_backend(s);
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

/* ---- handshake ---- */

static void
log_failed(struct session *s, enum reason why, const char *detail)
{
	uint32_t dropped = 0;
	char peer[ADDR_TEXT];

	if (!log_allow(&s->w->log_failed, &dropped))
		return;
	addr_format((struct sockaddr *)&s->hello->peer, s->hello->peer_len, peer);
	LOG_INFO("handshake_failed", L_STR("reason", reason_word(why)), L_STR("client", peer),
		L_STR("listen", s->listener->cfg->address_text),
		L_SLICE("sni", slice_make(s->hello->tls.sni, s->hello->tls.sni_n)),
		L_STR("detail", detail != NULL ? detail : ""), L_INT("not_logged", dropped));
}

/* An alert is worth telling: the client shall read it before the reset that unread bytes cause. */
int
session_handshake_failed(struct session *s, enum reason why, const char *detail)
{
	bool has_alert = s->wire.bufs->out_n > 0;

	stats_add(&s->w->stats.handshake_failed, 1);
	stats_add(&s->w->stats.failed[why], 1);
	log_failed(s, why, detail);
	if (has_alert && wire_flush(&s->wire) == SPILL_DONE)
		return SESSION_LINGER;
	return SESSION_CLOSED;
}

static int
tls_failed(struct session *s)
{
	const char *detail;
	enum reason why = wire_reason(&s->wire, &detail);

	if (s->hello->tls.is_sni_refused) {
		why = REASON_UNKNOWN_NAME;
		detail = NULL;
	}
	return session_handshake_failed(s, why, detail);
}

static void
handshake_done(struct session *s)
{
	struct stats *st = &s->w->stats;

	stats_add(&st->handshakes, 1);
	if (SSL_session_reused(s->wire.ssl))
		stats_add(&st->resumed, 1);
	if (SSL_version(s->wire.ssl) == TLS1_3_VERSION)
		stats_add(&st->tls13, 1);
	if (s->listener->auth != NULL && SSL_get0_peer_certificate(s->wire.ssl) != NULL &&
		SSL_get_verify_result(s->wire.ssl) == X509_V_OK)
		stats_add(&st->client_certs, 1);
}

int
session_start_tls(struct session *s, SSL_CTX *ctx)
{
	if (wire_start(&s->wire, ctx, &s->hello->tls) < 0)
		return session_handshake_failed(s, REASON_INTERNAL, "no memory");
	handover_watch(s);
	return SESSION_HANDSHAKE;
}

/* Put what the handshake has to say on the wire; false: the client has gone. */
static bool
send_output(struct session *s)
{
	enum spill_result sent = wire_flush(&s->wire);

	if (sent == SPILL_BLOCKED)
		session_watch_client_write(s);
	return sent != SPILL_FAILED;
}

/* Nothing is exchanged on it (RFC 8737 §3). */
static int
challenge_done(struct session *s)
{
	stats_add(&s->w->stats.acme_answered, 1);
	s->wire.in_n = 0;
	wire_close_notify(&s->wire);
	return wire_flush(&s->wire) == SPILL_DONE ? SESSION_LINGER : SESSION_CLOSED;
}

static int
do_handshake(struct session *s)
{
	if (s->wire.in_n == 0) { /* else it was heard before */
		if (!s->wire.is_readable)
			return WAIT;

		ssize_t n = wire_recv(&s->wire, WIRE_HELLO_IN);

		if (n == -1)
			return WAIT;
		if (n == -2)
			return session_handshake_failed(s, REASON_RESET, NULL);
		if (n == 0)
			return session_handshake_failed(s, REASON_EOF, NULL);
	}

	enum wire_result r = wire_handshake(&s->wire);

	if (r == WIRE_FAILED)
		return tls_failed(s);
	if (wire_has_output(&s->wire)) {
		handover_saw_output(s);
		if ((r == WIRE_MORE || !handover_carries_output(s)) && !send_output(s))
			return session_handshake_failed(s, REASON_RESET, NULL);
	}
	if (r == WIRE_MORE) {
		s->wire.is_readable = true; /* a reset may have come with these bytes, see look() */
		return SESSION_HANDSHAKE;
	}
	handshake_done(s);
	if (s->hello->is_challenge)
		return challenge_done(s);
	if (handover_prepare(s))
		return SESSION_HANDOVER;
	return wire_has_output(&s->wire) && !send_output(s) ? SESSION_CLOSED : SESSION_FIRST;
}

static int
late_handshake(struct session *s)
{
	return session_handshake_failed(s, REASON_TIMEOUT, NULL);
}

/* ---- first bytes ---- */

/* Decrypts behind the room that the header will take. */
static int
take_first(struct session *s)
{
	size_t n;
	enum wire_result r = wire_read(&s->wire, s->wire.bufs->plain + WIRE_ROOM, &n);

	s->first_n = (uint32_t)n;
	s->up_ended = r == WIRE_CLOSED;
	if (s->wire.bufs->out_n > 0 && wire_flush(&s->wire) == SPILL_BLOCKED)
		session_watch_client_write(s);
	return r == WIRE_FAILED ? -1 : 0;
}

int
session_closed_for(_Atomic uint64_t *counter)
{
	stats_add(counter, 1);
	return SESSION_CLOSED;
}

/*
 * To routerd the first bytes travel with the header, in one send: they come with the handshake's
 * last flight or right after it. Nobody else can be expected to wait for the client to speak.
 */
static int
do_first(struct session *s)
{
	struct stats *st = &s->w->stats;

	if (s->wire.in_n == 0 && s->wire.is_readable) {
		ssize_t n = wire_recv(&s->wire, WIRE_HELLO_IN);

		if (n == 0)
			return session_closed_for(&st->client_cut);
		if (n == -2)
			return session_closed_for(&st->client_error);
	}
	if (take_first(s) < 0) {
		wire_drop(&s->wire);
		ERR_clear_error();
		return session_closed_for(&st->client_error);
	}
	if (s->first_n > 0 || s->up_ended || s->listener->cfg->is_foreign)
		return SESSION_CONNECT;
	if (s->deadline.due_ms == 0)
		deadline_set(s->w->loop, &s->deadline, FIRST_MS);
	return WAIT;
}

static int
late_first(struct session *s)
{
	(void)s;
	return SESSION_CONNECT;
}

/* ---- connect ---- */

static struct target *
target_of(const struct session *s)
{
	return s->site->targets[s->listener - s->site->site->listeners];
}

/* The header in front of what take_first left in the worker's buffer. */
static char *
put_header(struct session *s)
{
	char head[PROXY_MAX];
	char *at = s->wire.bufs->plain + WIRE_ROOM;

	_Static_assert(WIRE_ROOM >= PROXY_MAX, "room for a header");
	if (s->listener->cfg->relay != RELAY_PROXY_V2)
		return at;

	size_t n = header_write(s, head, sizeof(head));

	assert(n > 0);
	memcpy(at - n, head, n);
	s->first_n += (uint32_t)n;
	return at - n;
}

static int
connected(struct session *s)
{
	s->b_is_unix =
		s->listener->folder != NULL || s->listener->cfg->to_addr.sa.sa_family == AF_UNIX;
	s->quota = QUOTA_FIRST;
	s->idle_ms = (uint64_t)s->site->site->cfg->idle_timeout_ms;
	s->active_ms = loop_now_ms(s->w->loop);
	stats_add(&s->w->stats.relayed, 1);
	worker_unwait(s->w, s);
	session_forget_hello(s);
	return SESSION_RELAY;
}

static int
client_left(struct session *s, _Atomic uint64_t *how)
{
	wire_drop(&s->wire);
	ERR_clear_error();
	stats_add(&s->w->stats.wait_left, 1);
	return session_closed_for(how);
}

/* The client's next bytes go behind those that are held for the server. */
static int
hear_more(struct session *s)
{
	struct stats *st = &s->w->stats;
	char *at = s->wire.bufs->plain + WIRE_ROOM;
	ssize_t got = wire_recv(&s->wire, WIRE_RECORD);
	size_t n;

	if (got == -1)
		return WAIT;
	if (got == -2 || (got == 0 && !s->up_ended))
		return client_left(s, got == 0 ? &st->client_cut : &st->client_error);

	enum wire_result r = wire_read(&s->wire, at, &n);

	s->up_ended |= r == WIRE_CLOSED;
	if (r == WIRE_FAILED || !spill_add(&s->up, at, n))
		return client_left(s, &st->client_error);
	if (s->wire.bufs->out_n > 0 && wire_flush(&s->wire) == SPILL_BLOCKED)
		session_watch_client_write(s);
	return WAIT;
}

/*
 * A client that waits for a server and leaves is not waited with. A reset shows as an error; of a
 * FIN only what was sent before it tells whether it came with close_notify (then the client still
 * wants its answer) or is a cut.
 */
static int
hear_client(struct session *s)
{
	struct pollfd p = { .fd = s->wire.fd };

	while (s->wire.is_hup && s->wire.is_readable && s->up.n < HEAR_MAX) {
		int next = hear_more(s);

		if (next != WAIT)
			return next;
	}
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0)
		return client_left(s, &s->w->stats.client_error);
	return WAIT;
}

static int
wait_for_server(struct session *s)
{
	stats_add(&s->w->stats.connect_failed, 1);
	worker_wait(s->w, s);
	return hear_client(s);
}

static int
finish_connect(struct session *s)
{
	if (!s->b_writable)
		return hear_client(s);
	if (sock_error(s->bfd) == 0) {
		atomic_fetch_add_explicit(&s->backend->connected, 1, memory_order_relaxed);
		return connected(s);
	}
	target_failed(target_of(s), loop_now_ms(s->w->loop), s->backend);
	s->backend = NULL;
	session_forget_socket(s);
	return wait_for_server(s);
}

/* Header and first bytes leave the worker's buffer: to the server, or to be held. */
static void
send_first(struct session *s, char *at, bool is_connected)
{
	size_t n = s->first_n;

	s->first_n = 0;
	if (n == 0)
		return;
	if (!is_connected)
		(void)spill_add(&s->up, at, n);
	else if (spill_send_new(&s->up, s->bfd, at, n) == SPILL_BLOCKED)
		s->b_writable = false;
	/* A failure shows again when the relay reads or writes. */
}

static int
do_connect(struct session *s)
{
	struct worker *w = s->w;

	if (s->bfd >= 0)
		return finish_connect(s);
	if (s->is_waiting && !s->is_retry)
		return hear_client(s);
	if (s->deadline.due_ms == 0)
		deadline_set(
			w->loop, &s->deadline, (uint64_t)s->site->site->cfg->handoff_timeout_ms);

	enum target_result r =
		target_connect(target_of(s), loop_now_ms(w->loop), &s->bfd, &s->backend);
	char *first = s->has_header ? NULL : put_header(s);

	if (!s->has_header)
		send_first(s, first, r == TARGET_CONNECTED);
	s->has_header = true;
	if (r == TARGET_NONE)
		return wait_for_server(s);
	s->b_writable = r == TARGET_CONNECTED && s->b_writable;
	session_watch_backend(s, r == TARGET_PROGRESS || s->up.n > 0);
	return r == TARGET_PROGRESS ? hear_client(s) : connected(s);
}

static int
late_connect(struct session *s)
{
	uint32_t dropped = 0;

	worker_unwait(s->w, s); /* or those behind it would wait for its turn */
	stats_add(&s->w->stats.wait_timeout, 1);
	if (log_allow(&s->w->log_other, &dropped))
		LOG_WARN("handoff_timeout", L_STR("to", s->listener->cfg->to),
			L_INT("waited_ms", s->site->site->cfg->handoff_timeout_ms),
			L_INT("not_logged", dropped));
	if (s->backend != NULL) {
		target_failed(target_of(s), loop_now_ms(s->w->loop), s->backend);
		s->backend = NULL;
	}
	return SESSION_LINGER; /* unread bytes would make a reset of it */
}

void
session_retry(struct session *s)
{
	s->is_retry = true;
	session_run(s);
	s->is_retry = false;
}

/* ---- linger ---- */

static int
do_linger(struct session *s)
{
	if (s->deadline.due_ms == 0) {
		session_drop_backend(s);
		shutdown(s->wire.fd, SHUT_WR);
		deadline_set(s->w->loop, &s->deadline, LINGER_MS);
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
