/*
 * handshake: see the header. What the client says goes to OpenSSL, what that has to say back to the
 * client; how it ended is counted and, rarely, logged.
 */
#include "tlsd/handshake.h"

#include "libcommon/addr.h"
#include "tlsd/handover.h"
#include "tlsd/session.h"

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

int
handshake_step(struct session *s)
{
	/* Of a flight that did not fit into the socket; without the rest the client has no answer.
	 */
	if (s->wire.held.n > 0 && s->wire.is_writable && !send_output(s))
		return session_handshake_failed(s, REASON_RESET, NULL);
	if (s->wire.in_n == 0) { /* else it was heard before */
		if (!s->wire.is_readable)
			return SESSION_WAIT;

		ssize_t n = wire_recv(&s->wire, WIRE_HELLO_IN);

		if (n == -1)
			return SESSION_WAIT;
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

int
handshake_late(struct session *s)
{
	return session_handshake_failed(s, REASON_TIMEOUT, NULL);
}
