/*
 * pass: see the header. Ends are passed on as what they are: a FIN as a FIN, and whatever else ends
 * it (a reset, a timeout) as a reset of both sides, so that nobody takes half of something for the
 * whole. When it is we who end, session.c's cut is a FIN: the TLS inside tells that it was one.
 */
#include "tlsd/pass.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "libcommon/sock.h"
#include "tlsd/header.h"
#include "tlsd/passpump.h"
#include "tlsd/relay.h"
#include "tlsd/session.h"

static struct target *
target_of(const struct session *s)
{
	const struct site_listener *l = s->listener;

	return s->site->passes[l - s->site->site->listeners]
			      [s->hello->pass - CFG_AT(struct passcfg, l->cfg->passthrough, 0)];
}

int
pass_begin(struct session *s)
{
	struct spill heard = s->up;
	char head[PROXY_MAX];
	size_t n = s->hello->pass->proxy == PASS_PROXY_V2 ? header_write_pass(s, head, sizeof(head))
							  : 0;

	s->up = (struct spill){ .n = 0 };
	(void)spill_add(&s->up, head, n);
	if (heard.n > 0)
		(void)spill_add(&s->up, heard.p + heard.off, heard.n);
	else
		(void)spill_add(&s->up, s->wire.in, s->wire.in_n);
	s->wire.in_n = 0;
	spill_fini(&heard);
	s->is_cut = true;
	return SESSION_PASS_CONNECT;
}

/* ---- connect ---- */

static const char *
reason_of(int no)
{
	switch (no) {
	case ECONNREFUSED: return "refused";
	case ETIMEDOUT: return "timeout";
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case EHOSTDOWN: return "unreachable";
	case ENOENT:
	case ENOTDIR: return "no_socket";
	case EACCES:
	case EPERM: return "not_permitted";
	case EAGAIN: return "queue_full"; /* a Unix socket's */
	case EMFILE:
	case ENFILE: return "no_descriptors";
	default: return "error";
	}
}

static int
unreachable(struct session *s, int no)
{
	uint32_t dropped = 0;
	char peer[ADDR_TEXT];

	stats_add(&s->w->stats.pass_failed, 1);
	if (log_allow(&s->w->log_other, &dropped)) {
		addr_format((struct sockaddr *)&s->hello->peer, s->hello->peer_len, peer);
		LOG_WARN("passthrough_failed", L_STR("reason", reason_of(no)),
			L_STR("to", s->hello->pass->to_text),
			L_SLICE("sni", slice_make(s->hello->tls.sni, s->hello->tls.sni_n)),
			L_STR("listen", s->listener->cfg->address_text), L_STR("client", peer),
			L_INT("tried", s->hello->tries), L_INT("not_logged", dropped));
	}
	wire_alert(&s->wire, SSL_AD_INTERNAL_ERROR);
	(void)wire_flush(&s->wire);
	s->is_cut = false;
	return SESSION_LINGER;
}

static int
connected(struct session *s)
{
	struct addr to = { .len = sizeof(to.ss) };

	if (getpeername(s->bfd, &to.sa, &to.len) == 0)
		s->b_is_unix = to.sa.sa_family == AF_UNIX;
	s->quota = PUMP_QUOTA_MIN;
	s->idle_ms = (uint64_t)s->hello->pass->idle_timeout_ms;
	s->active_ms = loop_now_ms(s->w->loop);
	s->b_writable = true;
	s->wire.is_readable = true; /* nobody has looked since the first message */
	stats_add(&s->w->stats.passed, 1);
	session_forget_hello(s);
	return SESSION_PASS;
}

/* One attempt has failed; may another one be made? */
static bool
has_more(const struct session *s)
{
	return s->hello->tries < s->hello->pass->to.n;
}

static int
try_next(struct session *s)
{
	s->hello->tries++;

	enum target_result r =
		target_connect(target_of(s), loop_now_ms(s->w->loop), &s->bfd, &s->backend);

	if (r == TARGET_NONE) { /* all of them, at once */
		int no = errno;

		stats_add(&s->w->stats.connect_failed, 1);
		return unreachable(s, no);
	}
	s->b_writable = r == TARGET_CONNECTED;
	session_watch_backend(s, true);
	if (r == TARGET_CONNECTED)
		return connected(s);
	deadline_set(s->w->loop, &s->deadline, (uint64_t)s->hello->pass->connect_timeout_ms);
	return SESSION_WAIT;
}

/* The attempt under way is over. */
static int
attempt_failed(struct session *s, int no)
{
	stats_add(&s->w->stats.connect_failed, 1);
	target_failed(target_of(s), loop_now_ms(s->w->loop), s->backend);
	s->backend = NULL;
	session_forget_socket(s);
	return has_more(s) ? try_next(s) : unreachable(s, no);
}

/* A reset while nobody is connected; a FIN is passed on later like everything else. */
static bool
client_has_reset(const struct session *s)
{
	struct pollfd p = { .fd = s->wire.fd };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0;
}

int
pass_connect(struct session *s)
{
	if (s->bfd < 0)
		return try_next(s);
	if (s->b_writable) {
		int no = sock_error(s->bfd);

		if (no != 0)
			return attempt_failed(s, no);
		atomic_fetch_add_explicit(&s->backend->connected, 1, memory_order_relaxed);
		return connected(s);
	}
	return client_has_reset(s) ? session_closed_for(&s->w->stats.client_error) : SESSION_WAIT;
}

int
pass_connect_late(struct session *s)
{
	return attempt_failed(s, ETIMEDOUT);
}

/* ---- relay ---- */

int
pass_step(struct session *s)
{
	struct stats *st = &s->w->stats;

	switch (passpump_run(s)) {
	case PUMP_AGAIN: loop_run_soon(s->w->loop, &s->again); /* fallthrough */
	case PUMP_WAIT: relay_arm(s); return SESSION_WAIT;
	case PUMP_DONE: s->is_cut = false; return SESSION_CLOSED;
	case PUMP_LINGER: s->is_cut = false; return SESSION_LINGER;
	case PUMP_CUT:
	case PUMP_CLIENT_ERROR: return session_closed_for(&st->client_error);
	case PUMP_BACKEND_ERROR: return session_closed_for(&st->backend_error);
	}
	return SESSION_CLOSED;
}
