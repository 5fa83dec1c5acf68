/*
 * relay_connect: see the header. What the client has said so far waits decrypted in the worker's
 * buffer, behind the room for the header; while there is no server, it is held.
 */
#include "tlsd/relay_connect.h"

#include <assert.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>

#include "libcommon/proxyproto.h"
#include "libcommon/sock.h"
#include "tlsd/header.h"
#include "tlsd/pump.h"
#include "tlsd/session.h"

#define FIRST_MS LOOP_TICK_MS /* how long the header waits for bytes to ride with */
#define HEAR_MAX (64u << 10)  /* read from a client that waits, to find its end */

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

/*
 * To routerd the first bytes travel with the header, in one send: they come with the handshake's
 * last flight or right after it. Nobody else can be expected to wait for the client to speak.
 */
int
relay_first(struct session *s)
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
	return SESSION_WAIT;
}

int
relay_first_late(struct session *s)
{
	(void)s;
	return SESSION_CONNECT;
}

/* ---- connect ---- */

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
	s->quota = PUMP_QUOTA_MIN;
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
		return SESSION_WAIT;
	if (got == -2 || (got == 0 && !s->up_ended))
		return client_left(s, got == 0 ? &st->client_cut : &st->client_error);

	enum wire_result r = wire_read(&s->wire, at, &n);

	s->up_ended |= r == WIRE_CLOSED;
	if (r == WIRE_FAILED || !spill_add(&s->up, at, n))
		return client_left(s, &st->client_error);
	if (s->wire.bufs->out_n > 0 && wire_flush(&s->wire) == SPILL_BLOCKED)
		session_watch_client_write(s);
	return SESSION_WAIT;
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

		if (next != SESSION_WAIT)
			return next;
	}
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0)
		return client_left(s, &s->w->stats.client_error);
	return SESSION_WAIT;
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
	target_failed(session_target(s), loop_now_ms(s->w->loop), s->backend);
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

int
relay_connect(struct session *s)
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
		target_connect(session_target(s), loop_now_ms(w->loop), &s->bfd, &s->backend);
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

/* Nothing was answered. */
static int
say_goodbye(struct session *s)
{
	if (s->wire.ssl != NULL)
		wire_close_notify(&s->wire);
	(void)wire_flush(&s->wire);
	return SESSION_LINGER; /* unread bytes would make a reset of it */
}

int
relay_connect_late(struct session *s)
{
	uint32_t dropped = 0;

	worker_unwait(s->w, s); /* or those behind it would wait for its turn */
	stats_add(&s->w->stats.wait_timeout, 1);
	if (log_allow(&s->w->log_other, &dropped))
		LOG_WARN("handoff_timeout", L_STR("to", s->listener->cfg->to),
			L_INT("waited_ms", s->site->site->cfg->handoff_timeout_ms),
			L_INT("not_logged", dropped));
	if (s->backend != NULL) {
		target_failed(session_target(s), loop_now_ms(s->w->loop), s->backend);
		s->backend = NULL;
	}
	return say_goodbye(s);
}

int
relay_connect_cut(struct session *s)
{
	worker_unwait(s->w, s);
	return say_goodbye(s);
}
