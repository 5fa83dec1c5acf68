/*
 * peek: see the header. A message that comes whole, as nearly all do, is looked at in the worker's
 * buffer and goes on from there; of one that comes in pieces the pieces are kept in `up`.
 */
#include "tlsd/peek.h"

#include "tlsd/challenge.h"
#include "tlsd/hello.h"
#include "tlsd/pass.h"
#include "tlsd/session.h"

/* A server's name may stand there; whatever does not make sense is for TLS to refuse. */
static const struct passcfg *
pass_of(const struct session *s, const struct hello *h)
{
	const struct sni_entry *e = sni_find(s->listener->passes, h->name);

	return e != NULL ? CFG_AT(struct passcfg, s->listener->cfg->passthrough, e->certs[0])
			 : NULL;
}

static void
note_name(struct tls_hello *to, struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		to->sni[i] = ascii_lower(name.p[i]);
	to->sni_n = (uint8_t)name.n;
}

/* Everything that was heard goes to TLS. */
static int
start_tls(struct session *s, SSL_CTX *ctx)
{
	if (s->up.n > 0) {
		s->wire.in_n = 0;
		wire_again(&s->wire, s->up.p + s->up.off, s->up.n);
		spill_fini(&s->up);
	}
	return session_start_tls(s, ctx);
}

static int
go_on(struct session *s)
{
	return start_tls(s, tlsctx_default(s->listener->ctx));
}

static int
no_challenge(struct session *s)
{
	s->wire.in_n = 0;
	wire_alert(&s->wire, SSL_AD_NO_APPLICATION_PROTOCOL);
	return session_handshake_failed(s, REASON_ACME_CHALLENGE, NULL);
}

/* ---- challenges ---- */

/* The answer: go on with that certificate, or not at all. */
static void
on_challenge(void *arg, SSL_CTX *ctx)
{
	struct session *s = arg;
	int next;

	s->hello->ask = NULL;
	if (ctx == NULL) {
		next = no_challenge(s);
	} else {
		s->hello->is_challenge = true;
		next = start_tls(s, ctx);
		SSL_CTX_free(ctx); /* the connection has it */
	}
	session_drive(s, next);
}

/* A CA that wants to see whether the name is ours (RFC 8737). A client that offers other protocols,
 * too, is no CA. */
static bool
is_challenge(const struct session *s, const struct hello *h)
{
	return s->site->site->cfg->acme_challenges != NULL && h->name.n > 0 &&
		hello_offers_only(h, CHALLENGE_ALPN);
}

static int
ask_for_challenge(struct session *s)
{
	struct tls_hello *h = &s->hello->tls;
	size_t n = h->sni_n;

	if (s->up.n == 0)
		(void)spill_add(&s->up, s->wire.in, s->wire.in_n);
	s->wire.in_n = 0;
	if (n > 0 && h->sni[n - 1] == '.')
		n--;
	s->hello->ask = challenge_ask(s->w->pool->challenges, s->w->loop,
		s->site->site->cfg->acme_challenges, slice_make(h->sni, n), on_challenge, s);
	return s->hello->ask != NULL ? SESSION_WAIT : no_challenge(s);
}

static int
decide(struct session *s, const uint8_t *p)
{
	struct session_hello *own = s->hello;
	struct hello h;

	_Static_assert(WIRE_IN >= HELLO_MAX, "room for a message");
	if (!hello_read(&own->scan, p, (uint8_t *)s->wire.bufs->plain, &h))
		return go_on(s);
	own->pass = pass_of(s, &h);
	if (own->pass == NULL && !is_challenge(s, &h))
		return go_on(s);
	note_name(&own->tls, h.name);
	return own->pass != NULL ? pass_begin(s) : ask_for_challenge(s);
}

/* What wire_recv has brought, behind what came before. */
static int
heard(struct session *s)
{
	bool is_first = s->up.n == 0;

	if (!is_first && !spill_add(&s->up, s->wire.in, s->wire.in_n))
		return session_handshake_failed(s, REASON_TOO_LONG, NULL);

	const char *p = is_first ? s->wire.in : s->up.p + s->up.off;
	size_t n = is_first ? s->wire.in_n : s->up.n;

	switch (hello_scan(&s->hello->scan, (const uint8_t *)p, n)) {
	case HELLO_WHOLE: return decide(s, (const uint8_t *)p);
	case HELLO_NONE: return go_on(s);
	case HELLO_MORE: break;
	}
	if (n >= WIRE_HELLO_MAX)
		return session_handshake_failed(s, REASON_TOO_LONG, NULL);
	if (is_first)
		(void)spill_add(&s->up, p, n);
	s->wire.in_n = 0;
	return SESSION_WAIT;
}

int
peek_step(struct session *s)
{
	int next = SESSION_WAIT;

	if (s->hello->ask != NULL)
		return SESSION_WAIT; /* for its answer */
	while (s->wire.is_readable && next == SESSION_WAIT && s->hello->ask == NULL) {
		ssize_t n = wire_recv(&s->wire, WIRE_HELLO_IN);

		if (n == -1)
			break;
		if (n <= 0)
			return session_handshake_failed(
				s, n == 0 ? REASON_EOF : REASON_RESET, NULL);
		next = heard(s);
		/* an end or a reset may have come with these bytes, see look() in relay.c */
		s->wire.is_readable = true;
	}
	return next;
}
