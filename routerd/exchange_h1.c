/*
 * exchange_h1: the request through an h1_out, the answer's heads parsed here, its body through an
 * h1_in.
 */
#include "routerd/exchange_h1.h"

#include <errno.h>
#include <string.h>

#include "routerd/upstream.h"
#include "routerd/worker_state.h"

/* A request that may not be sent twice takes an idle connection only if it was used this short a
 * time ago. */
#define JUST_USED_MS 1000

enum phase { PHASE_CONNECT, PHASE_OPENED, PHASE_HEAD, PHASE_BODY };

static struct exchange_h1 *
of(struct exchange *x)
{
	return (struct exchange_h1 *)((char *)x - offsetof(struct exchange_h1, x));
}

static const struct exchange_h1 *
of_const(const struct exchange *x)
{
	return (const struct exchange_h1 *)(const void *)((const char *)x -
		offsetof(struct exchange_h1, x));
}

/* --- the answer's heads --- */

/* A head that does not fit yet: a larger buffer, up to the limit that the parser keeps. */
static void
grow(struct exchange_h1 *h)
{
	struct buf *b = h->u->in;
	struct buf *bigger = buf_get(&h->w->bufs, buf_class_above(b->class));
	size_t n = buf_len(b);

	memcpy(bigger->data, b->data + b->r, n);
	bigger->w = (uint32_t)n;
	buf_unref(b);
	h->u->in = bigger;
}

/* An alert that comes behind the handshake is the server's last word on it. */
static const char *
broken_reason(const struct exchange_h1 *h)
{
	uint8_t alert;
	const char *tls = stream_tls_reason(&h->u->s, &alert);

	if (tls == NULL)
		return "reset_by_server";
	return strcmp(tls, "peer_alert") == 0   ? "tls_alert"
		: strcmp(tls, "truncated") == 0 ? "closed_early"
						: "tls_broken";
}

/* One read of a head; false when there is nothing more now, or the exchange is over. */
static bool
fill(struct exchange_h1 *h)
{
	struct upstream *u = h->u;
	ssize_t n;

	if (!u->s.readable && !h->out.is_gone)
		return false;
	if (u->in == NULL)
		u->in = buf_get(&h->w->bufs, BUF_16K);
	else if (buf_room(u->in) == 0)
		grow(h);
	n = stream_read(&u->s, u->in->data + u->in->w, buf_room(u->in));
	if (n > 0) {
		u->in->w += (uint32_t)n;
		h->x.heard = true;
		return true;
	}
	if (n != STREAM_AGAIN || h->out.is_gone) {
		h->x.events->failed(&h->x, EXCHANGE_BROKEN, 502,
			n == STREAM_ERROR ? broken_reason(h) : "closed_early");
		return false;
	}
	if (buf_len(u->in) == 0) {
		buf_unref(u->in);
		u->in = NULL;
	}
	return false;
}

static void
read_heads(struct exchange_h1 *h)
{
	struct exchange *x = &h->x;
	struct upstream *u = h->u;

	while (u->user == h && h->phase == PHASE_HEAD &&
		((u->in != NULL && buf_len(u->in) > 0) || fill(h))) {
		struct buf *b = u->in;
		struct http1_error err;
		enum http1_result result;

		msg_init(x->resp, x->resp_fields, x->resp_field_cap);
		result = http1_response(&h->scan, b->data + b->r, buf_len(b), x->limits,
			x->m->method, x->resp, &err);
		if (result == HTTP1_BAD) {
			x->events->failed(x, EXCHANGE_BAD, 502, err.reason);
			return;
		}
		if (result == HTTP1_MORE) {
			if (!fill(h))
				return;
			continue;
		}
		b->r += (uint32_t)x->resp->head_len;
		h->scan = (struct http1_scan){ 0 };
		if (x->resp->status >= 200) {
			h->phase = PHASE_BODY;
			x->is_spent = !x->resp->keep_alive || x->resp->body == BODY_UNTIL_CLOSE;
		}
		x->events->head(x);
	}
}

/* --- events --- */

static void
connected(struct exchange_h1 *h)
{
	switch (upstream_connected(h->u)) {
	case UPSTREAM_NOT_YET: h->x.events->moved(&h->x); break;
	case UPSTREAM_READY:
		h->phase = PHASE_OPENED;
		h->x.events->opened(&h->x);
		break;
	case UPSTREAM_TLS_FAILED:
		h->x.events->failed(&h->x, EXCHANGE_TLS, 502, upstream_tls_reason(h->u));
		break;
	case UPSTREAM_NO_TLSD:
		h->x.events->failed(&h->x, EXCHANGE_NO_TLSD, 502, upstream_tls_reason(h->u));
		break;
	case UPSTREAM_FAILED:
		h->x.events->failed(&h->x, EXCHANGE_CONNECT, errno == ETIMEDOUT ? 504 : 502,
			upstream_reason(errno));
		break;
	}
}

static void
on_upstream(struct upstream *u)
{
	struct exchange_h1 *h = u->user;

	if (h->phase == PHASE_CONNECT) {
		connected(h);
		return;
	}
	if (u->s.writable && h->out.queued > 0)
		h1_out_writable(&h->out, h->w->loop);
	if (h->phase == PHASE_HEAD)
		read_heads(h);
	else if (h->phase == PHASE_BODY && u->s.readable)
		h1_in_pump(&h->in);
	if (u->user == h)
		h->x.events->moved(&h->x);
}

static void
on_expired(struct upstream *u)
{
	struct exchange_h1 *h = u->user;

	h->x.events->expired(&h->x);
}

static void
on_body_end(struct h1_in *in)
{
	struct exchange_h1 *h =
		(struct exchange_h1 *)((char *)in - offsetof(struct exchange_h1, in));
	struct exchange *x = &h->x;

	switch (in->why) {
	case H1_IN_OK: x->events->ended(x); break;
	case H1_IN_SINK_GONE: x->events->refused(x); break;
	case H1_IN_BAD: x->events->failed(x, EXCHANGE_BAD, 502, in->err.reason); break;
	case H1_IN_EARLY_END:
	case H1_IN_BROKEN:
	case H1_IN_TOO_LARGE: x->events->failed(x, EXCHANGE_BROKEN, 502, "closed_early"); break;
	}
}

/* --- what an attempt asks for --- */

static void
h1_send(struct exchange *x)
{
	struct exchange_h1 *h = of(x);
	struct h1_out *o = &h->out;
	const struct field *te = msg_field(x->m, FIELD_TE);

	h->u->served++;
	h->phase = PHASE_HEAD;
	h1_in_init(&h->in, h->w->loop, &h->u->s, &h->w->bufs, &h->u->in);
	h1_out_init(o, h->w->loop, &h->u->s, &h->w->bufs, false);
	o->authority = x->authority;
	o->path = x->path;
	o->query = x->m->query;
	o->has_query = x->m->has_query;
	o->sends_te = te != NULL && !(te->flags & MSG_FIELD_DROP);
	if (x->is_upgrade)
		o->upgrade = x->m->upgrade;
	o->sink.ops->head(&o->sink, x->m);
}

static void
h1_read(struct exchange *x)
{
	struct exchange_h1 *h = of(x);

	if (h->out.is_gone || h->u->s.readable)
		read_heads(h);
}

static void
h1_body_to(struct exchange *x, struct sink *to)
{
	struct exchange_h1 *h = of(x);
	const struct upstream *u = h->u;

	h->in.to = to;
	h->in.fn = on_body_end;
	h1_in_body(&h->in, x->resp->body, x->resp->content_length, UINT64_MAX);
	h1_in_pump(&h->in);
	if (u->user == h && h->in.state != H1_IN_ENDED && to->ops->flush(to) == SINK_GONE)
		x->events->refused(x);
}

static void
h1_tunnel(struct exchange *x, struct sink *to)
{
	struct exchange_h1 *h = of(x);

	h->phase = PHASE_BODY;
	h->in.to = to;
	h->in.fn = on_body_end;
	h1_in_raw(&h->in);
	h1_out_raw(&h->out);
	loop_run_soon(h->w->loop, &h->in.again);
}

static struct exchange_state
h1_state(const struct exchange *x)
{
	const struct exchange_h1 *h = of_const(x);
	struct exchange_state s = {
		.progress = h->in.bytes + h->out.body_bytes - h->out.queued,
		.wait = EXCHANGE_QUIET,
	};

	if (h->phase == PHASE_CONNECT) {
		s.progress = upstream_steps(h->u);
		s.wait = upstream_is_shaking(h->u)      ? EXCHANGE_SHAKING
			: upstream_waits_for_tlsd(h->u) ? EXCHANGE_TLSD
							: EXCHANGE_QUIET;
	} else if (h->out.queued > 0)
		s.wait = EXCHANGE_SENDING;
	else if (h->phase == PHASE_BODY && h->in.state == H1_IN_OPEN)
		s.wait = EXCHANGE_READING;
	return s;
}

static uint64_t
h1_given(const struct exchange *x)
{
	return of_const(x)->out.body_bytes;
}

static size_t
h1_held(const struct exchange *x)
{
	const struct exchange_h1 *h = of_const(x);
	const struct buf *in = h->u->in;

	return (in != NULL && buf_len(in) > 0 ? in->cap : 0) + h1_out_held(&h->out);
}

/* As long as it keeps the connection and has not closed it (RFC 9112 §9.5). */
static bool
h1_wants_rest(const struct exchange *x)
{
	const struct exchange_h1 *h = of_const(x);

	return !x->is_spent && !h->out.is_gone && (!h->u->s.readable || upstream_is_quiet(h->u));
}

static void
h1_look(struct exchange *x)
{
	struct exchange_h1 *h = of(x);

	if (h->phase == PHASE_CONNECT || !stream_is_dead(&h->u->s))
		return;
	h->u->s.readable = true;
	on_upstream(h->u);
}

static bool
is_worn(const struct exchange_h1 *h)
{
	return h->pool->keepalive_requests > 0 && h->u->served >= h->pool->keepalive_requests;
}

static bool
may_keep(const struct exchange_h1 *h)
{
	const struct upstream *u = h->u;

	return h->phase == PHASE_BODY && !h->x.is_spent && !h->in.is_raw &&
		h->in.state == H1_IN_ENDED && h1_out_done(&h->out) &&
		(u->in == NULL || buf_len(u->in) == 0) && !is_worn(h);
}

static void
h1_done(struct exchange *x, enum exchange_end how)
{
	struct exchange_h1 *h = of(x);
	struct upstream *u = h->u;
	bool keep = how == EXCHANGE_KEEP && may_keep(h);

	if (h->phase >= PHASE_HEAD) {
		h1_in_fini(&h->in);
		h1_out_fini(&h->out);
	}
	u->user = NULL;
	u->is_suspect = keep && x->resp->body == BODY_NONE;
	if (keep) {
		upstream_keep(u, (unsigned)h->pool->keepalive, h->pool->idle_timeout_ms);
		return;
	}
	if (how == EXCHANGE_RESET)
		stream_reset(&u->s);
	upstream_close(u);
}

static const struct exchange_ops ops = {
	.send = h1_send,
	.read = h1_read,
	.body_to = h1_body_to,
	.tunnel = h1_tunnel,
	.state = h1_state,
	.given = h1_given,
	.held = h1_held,
	.wants_rest = h1_wants_rest,
	.look = h1_look,
	.done = h1_done,
};

int
exchange_h1_open(struct exchange_h1 *h, const struct exchange_open *how)
{
	uint64_t max_idle_ms = how->is_repeatable ? UINT64_MAX : JUST_USED_MS;
	struct upstream *u = how->wants_fresh
		? NULL
		: upstream_reuse(how->w, how->server, how->pool, max_idle_ms);
	bool is_reused = u != NULL;

	if (u == NULL)
		u = upstream_connect(how->w, how->server, how->pool);
	if (u == NULL)
		return -1;
	memset(h, 0, offsetof(struct exchange_h1, in));
	h->x.ops = &ops;
	h->x.events = how->events;
	h->x.user = how->user;
	h->x.sink = &h->out.sink;
	h->x.dl = &u->dl;
	h->x.is_reused = is_reused;
	h->w = how->w;
	h->u = u;
	h->pool = how->pool;
	/* What `state` looks at before send has begun. */
	h->in.bytes = 0;
	h->out.body_bytes = 0;
	h->out.queued = 0;
	u->user = h;
	u->fn = on_upstream;
	u->expired = on_expired;
	if (upstream_connected(u) <= 0)
		return 0;
	h->phase = PHASE_OPENED;
	return 1;
}
