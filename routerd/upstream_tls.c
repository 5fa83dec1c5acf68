/*
 * upstream_tls: the part of a connection's beginning that needs TLS. The handshake is made by
 * another process (tlsasker); here are its keys taken over, or its reason. When that process dies
 * meanwhile, nobody knows what the server has heard: another connection takes its place.
 */
#include <unistd.h>

#include "libcommon/log.h"
#include "routerd/snapshot.h"
#include "routerd/upstream.h"
#include "routerd/worker_state.h"

/* What makes handshakes may be killed by what a server says: not more often for one request. */
#define REDIALS_MAX 3

static struct upstream *
of(struct tls_call *c)
{
	return (struct upstream *)(void *)((char *)c - offsetof(struct upstream, call));
}

static void
log_failed(struct upstream *u, const char *detail, const char *text)
{
	uint32_t dropped = 0;

	if (log_allow(&u->w->log_tls, &dropped))
		LOG_WARN("upstream_tls_failed", L_STR("pool", u->server->pool_name),
			L_STR("server", u->server->name), L_STR("reason", u->why),
			L_STR("detail", detail), L_STR("text", text), L_STR("policy", u->policy),
			L_INT("suppressed", dropped));
}

/* Tell the user; u may be gone when this returns. */
static void
fail(struct upstream *u, const char *why, bool is_unmade, const char *detail, const char *text)
{
	u->why = why;
	u->is_unmade = is_unmade;
	if (!is_unmade)
		log_failed(u, detail, text);
	u->fn(u);
}

static void
close_socket(struct upstream *u)
{
	close(u->call.fd);
	u->call.fd = -1;
}

/* What was said before we said anything is no answer to what we will say. In HTTP/2 a server may
 * introduce itself meanwhile; who speaks it hears that out before it asks. */
static bool
is_early(struct upstream *u, const struct handoff *h)
{
	char bytes[64];

	return !u->is_h2 && h->in.n > 0 && stream_read(&u->s, bytes, sizeof(bytes)) != STREAM_AGAIN;
}

static void
take_over(struct upstream *u, const struct handoff *h)
{
	struct stream_tls_env *env = worker_tls(u->w);
	int fd = u->call.fd;

	u->call.fd = -1;
	if (env == NULL ||
		!stream_tls_init(&u->s, loop_base(u->w->loop), fd, env, &h->keys, h->in, h->out,
			upstream_on_stream)) {
		close(fd);
		fail(u, "tls_unavailable", true, "", "");
		return;
	}
	worker_count(u->w, STAT_UPSTREAM_TLS);
	if (is_early(u, h)) {
		fail(u, "tls_early_bytes", false, "", "bytes that nobody had asked for");
		return;
	}
	u->state = UPSTREAM_BUSY;
	u->policy[0] = '\0';
	u->fn(u);
}

static void
take_refusal(struct upstream *u, const struct tlsask_refusal *r)
{
	enum tlsask_class class = tlsask_class(r->why);
	char text[TLSASK_TEXT_MAX + 1];

	/* Its configuration is not ours, for a moment: it is asked again, with the same socket,
	 * which nobody has touched. Until the answer is another one nothing has come about, so no
	 * deadline begins anew. */
	if (r->why == TLSASK_UNKNOWN_POLICY) {
		u->is_unknown = true;
		tlsasker_ask_later(u->w->asker, &u->call);
		return;
	}
	close_socket(u);
	memcpy(text, r->detail.p, r->detail.n);
	text[r->detail.n] = '\0';
	if (class == TLSASK_NOT_MADE)
		fail(u, "tls_unavailable", true, "", "");
	else
		fail(u,
			class == TLSASK_VERIFY                 ? "tls_verify_failed"
				: r->why == TLSASK_NO_PROTOCOL ? "tls_no_protocol"
							       : "tls_handshake_failed",
			false, tlsask_word(r->why), text);
}

/* The deadline goes on; the user is told, because what is waited for has changed. */
static void
redial(struct upstream *u)
{
	close_socket(u);
	if (++u->redials > REDIALS_MAX || upstream_dial(u) < 0) {
		fail(u, "tls_unavailable", true, "", "");
		return;
	}
	u->fn(u);
}

static void
on_answer(struct tls_call *c, const struct tls_answer *a)
{
	struct upstream *u = of(c);

	switch (a->result) {
	case TLS_DONE: take_over(u, a->done); break;
	case TLS_REFUSED: take_refusal(u, a->refusal); break;
	case TLS_LOST: redial(u); break;
	}
}

void
upstream_tls_begin(struct upstream *u)
{
	struct worker *w = u->w;

	if (w->asker == NULL)
		w->asker = tlsasker_new(w->loop, w->snap->s->dc->common.run_dir);
	w->log_tls.burst = 5;
	u->state = UPSTREAM_SHAKING;
	u->call = (struct tls_call){
		.fn = on_answer,
		.fd = stream_detach(&u->s),
		.protocols = u->is_h2 ? TLSASK_HTTP2 : TLSASK_HTTP1,
		.policy = u->policy,
		.host = u->server->host,
	};
	tlsasker_ask(w->asker, &u->call);
}

void
upstream_tls_cancel(struct upstream *u)
{
	if (u->state != UPSTREAM_SHAKING || u->call.fd < 0)
		return;
	tlsasker_cancel(u->w->asker, &u->call);
	close_socket(u);
}

bool
upstream_is_shaking(const struct upstream *u)
{
	return u->state == UPSTREAM_SHAKING && !u->is_unknown && tls_call_is_taken(&u->call);
}

bool
upstream_waits_for_tlsd(const struct upstream *u)
{
	return u->state == UPSTREAM_SHAKING && !upstream_is_shaking(u);
}

uint64_t
upstream_steps(const struct upstream *u)
{
	return 4u * u->redials + (u->state == UPSTREAM_SHAKING) + upstream_is_shaking(u);
}

const char *
upstream_tls_reason(const struct upstream *u)
{
	return u->why;
}
