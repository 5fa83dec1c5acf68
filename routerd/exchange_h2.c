/*
 * exchange_h2: one exchange on a connection that carries many: its life, and its request, a sink.
 */
#include "routerd/exchange_h2.h"

#include <stdlib.h>
#include <string.h>

#include "routerd/exchange_h2_int.h"
#include "routerd/h2_nv.h"
#include "routerd/kept.h"

static struct h2s *
of(struct exchange *x)
{
	return (struct h2s *)((char *)x - offsetof(struct h2s, x));
}

static const struct h2s *
of_const(const struct exchange *x)
{
	return (const struct h2s *)(const void *)((const char *)x - offsetof(struct h2s, x));
}

static struct h2s *
of_sink(struct sink *k)
{
	return (struct h2s *)((char *)k - offsetof(struct h2s, out));
}

/* --- life --- */

void
h2s_link(struct h2s *s, struct h2up *c)
{
	s->c = c;
	s->heard = c->heard;
	s->next = c->streams;
	s->link = &c->streams;
	if (s->next != NULL)
		s->next->link = &s->next;
	c->streams = s;
}

void
h2s_unlink(struct h2s *s)
{
	struct h2up *c = s->c;

	*s->link = s->next;
	if (s->next != NULL)
		s->next->link = s->link;
	if (c->fed == s)
		c->fed = NULL;
	if (c->heard != s->heard)
		s->x.heard = true;
	s->c = NULL;
}

static void
release(void *p)
{
	struct h2s *s = p;

	freelist_give(&s->env->streams, s);
}

/* Nothing points to it any more but callers on the stack. */
void
h2s_free(struct h2s *s)
{
	loop_defer(s->env->w->loop, release, s);
}

static void
drop_out(struct h2s *s)
{
	for (unsigned i = 0; i < s->seg_count; i++)
		buf_unref(s->seg[s->seg_first + i].b);
	s->seg_count = 0;
	s->queued = 0;
	free(s->out_trailers);
	s->out_trailers = NULL;
}

/* --- ends --- */

static void
let_go(struct h2s *s)
{
	drop_out(s);
	h2s_drop_in(s);
	deadline_fini(&s->dl);
}

void
h2s_lost(struct h2s *s, enum exchange_failure why, uint16_t status, const char *reason)
{
	if (s->is_waiting && s->c != NULL) {
		s->c->waiting--;
		s->is_waiting = false;
	}
	s->is_closed = true;
	/* The answer is whole: only its client is slow. */
	if (s->in_ended) {
		if (s->is_told)
			s->x.events->moved(&s->x);
		return;
	}
	s->x.heard = s->x.heard || s->is_beside;
	s->x.events->failed(&s->x, why, status, reason);
}

/* Whether it was asked again elsewhere or not: that a server does so is worth knowing. */
static void
tell_reset(const struct h2s *s, uint32_t error)
{
	static _Thread_local struct log_limit limit = { .burst = 5 };
	const struct server *server = s->c->u->server;
	uint32_t held;

	worker_count(s->c->w, STAT_H2_UPSTREAM_RESETS);
	if (log_allow(&limit, &held))
		LOG_WARN("upstream_h2_reset", L_STR("pool", server->pool_name),
			L_STR("server", server->name), L_STR("code", nghttp2_http2_strerror(error)),
			L_INT("requests", s->c->u->served), L_INT("suppressed", held));
}

void
h2s_closed(struct h2s *s, uint32_t error)
{
	s->is_closed = true;
	if (s->is_done) {
		h2s_unlink(s);
		h2s_free(s);
		return;
	}
	s->x.heard = s->x.heard || s->c->heard != s->heard;
	/* What of it was right goes out before it is cut off. */
	if (s->c->fed == s) {
		h2s_fed(s->c);
		if (s->is_done)
			return;
	}
	if (s->in_ended && s->bad == NULL) {
		/* It wants no more of the request (RFC 9113 §8.1). */
		if (s->is_told)
			s->x.events->moved(&s->x);
		return;
	}
	if (s->bad != NULL) {
		s->x.events->failed(&s->x, EXCHANGE_BAD, 502, s->bad);
	} else if (error == NGHTTP2_REFUSED_STREAM || !s->head_sent) {
		worker_count(s->c->w, STAT_H2_UPSTREAM_REFUSED);
		s->x.events->failed(&s->x,
			s->c->state == H2UP_OPEN ? EXCHANGE_REFUSED : EXCHANGE_GONE, 502,
			"refused_by_server");
	} else if (s->peer_reset) {
		tell_reset(s, error);
		s->x.events->failed(&s->x, EXCHANGE_BROKEN, 502,
			error == NGHTTP2_HTTP_1_1_REQUIRED ? "http_1_1_required"
							   : "reset_by_server");
	} else {
		s->x.events->failed(&s->x, EXCHANGE_BAD, 502, h2up_reason_of(error));
	}
}

void
h2s_opened(struct h2s *s)
{
	s->is_waiting = false;
	s->c->waiting--;
	s->c->u->served++;
	s->heard = s->c->heard;
	s->x.events->opened(&s->x);
}

static void
on_deadline(struct deadline *d)
{
	struct h2s *s = (struct h2s *)((char *)d - offsetof(struct h2s, dl));

	s->x.events->expired(&s->x);
}

/* --- the request: a sink --- */

static enum sink_result
out_head(struct sink *k, struct msg *m)
{
	(void)k;
	(void)m;
	return SINK_OK;
}

static bool
is_out_gone(const struct h2s *s)
{
	return s->is_closed || s->is_done || s->unsent || s->c == NULL;
}

static void
wake(struct h2s *s)
{
	if (s->is_deferred) {
		s->is_deferred = false;
		nghttp2_session_resume_data(s->c->session, s->id);
	}
	h2up_soon(s->c);
}

static bool
is_out_full(const struct h2s *s)
{
	return s->queued >= H2UP_OUT_HIGH || s->seg_count >= H2UP_OUT_SEGS / 2;
}

static enum sink_result
out_data(struct sink *k, struct buf *b, const char *p, size_t n)
{
	struct h2s *s = of_sink(k);

	if (is_out_gone(s))
		return SINK_GONE;
	if (n == 0)
		return SINK_OK;
	if (s->x.kept != NULL)
		kept_add(s->x.kept, p, n);
	s->queued += n;
	if (s->seg_first > 0 && s->seg_first + s->seg_count == H2UP_OUT_SEGS) {
		memmove(s->seg, s->seg + s->seg_first, s->seg_count * sizeof(s->seg[0]));
		s->seg_first = 0;
	}
	/* A producer stops at SINK_FULL, so what one turn of it adds always fits. */
	if (s->seg_count == H2UP_OUT_SEGS)
		abort();
	s->seg[s->seg_first + s->seg_count++] =
		(struct h1_seg){ b != NULL ? buf_ref(b) : NULL, p, n };
	wake(s);
	return is_out_full(s) ? SINK_FULL : SINK_OK;
}

static enum sink_result
out_end(struct sink *k, const struct field *trailers, uint16_t count)
{
	struct h2s *s = of_sink(k);

	if (is_out_gone(s))
		return SINK_GONE;
	/* A request for a tunnel has no body; the tunnel begins where it would have been. */
	if (s->is_tunnel && !s->has_final)
		return SINK_OK;
	s->out_ended = true;
	if (s->x.kept != NULL)
		kept_end(s->x.kept, count);
	if (count > 0)
		s->out_trailers = h2_nv_keep(trailers, count, &s->out_trailer_count);
	wake(s);
	return SINK_OK;
}

static enum sink_result
out_flush(struct sink *k)
{
	struct h2s *s = of_sink(k);

	if (is_out_gone(s))
		return SINK_GONE;
	return is_out_full(s) ? SINK_FULL : SINK_OK;
}

static const struct sink_ops out_ops = {
	.head = out_head, .data = out_data, .end = out_end, .flush = out_flush
};

/* --- what an attempt asks for --- */

static void
h2_send(struct exchange *x)
{
	struct h2s *s = of(x);
	struct h2up *c = s->c;
	size_t cap = x->path.n + x->m->query.n + 1 + EXCHANGE_H2_TEXT;
	struct buf *text = buf_get(&c->w->bufs, buf_class_for(cap));
	nghttp2_data_provider body = { .source.ptr = s, .read_callback = h2s_read_out };
	int32_t id = NGHTTP2_ERR_NOMEM;

	h2up_fit_window(c);
	if (cap <= text->cap) {
		size_t n =
			exchange_h2_request(x, c->u->tls_id != 0 ? SLICE("https") : SLICE("http"),
				s->is_tunnel, text->data, c->env->nvs);

		id = nghttp2_submit_request(c->session, NULL, c->env->nvs, n,
			s->is_tunnel || msg_has_body(x->m) ? &body : NULL, s);
	}
	buf_unref(text);
	if (id < 0) {
		/* Its numbers are used up, as a rule. */
		s->unsent = true;
		h2up_retire(c);
		return;
	}
	s->id = id;
	h2up_earn(c, 20);
	h2up_soon(c);
}

static void
h2_read(struct exchange *x)
{
	struct h2s *s = of(x);

	if (s->unsent)
		x->events->failed(x, EXCHANGE_GONE, 502, "refused_by_server");
}

static void
h2_body_to(struct exchange *x, struct sink *to)
{
	struct h2s *s = of(x);

	s->to = to;
	/* The head rides with what comes behind it. */
	if (s->c != NULL)
		h2s_mark_fed(s);
}

static void
h2_tunnel(struct exchange *x, struct sink *to)
{
	of(x)->to = to;
}

static struct exchange_state
h2_state(const struct exchange *x)
{
	const struct h2s *s = of_const(x);
	struct exchange_state st = {
		.progress = s->in_bytes + s->out_bytes,
		.wait = EXCHANGE_QUIET,
	};

	if (s->c != NULL && s->c->is_connecting) {
		st.progress = upstream_steps(s->c->u);
		st.wait = upstream_is_shaking(s->c->u)     ? EXCHANGE_SHAKING
			: upstream_waits_for_tlsd(s->c->u) ? EXCHANGE_TLSD
							   : EXCHANGE_QUIET;
	} else if (s->queued > 0)
		st.wait = EXCHANGE_SENDING;
	else if (s->has_final && !s->in_ended && !s->is_paused)
		st.wait = EXCHANGE_READING;
	return st;
}

static uint64_t
h2_given(const struct exchange *x)
{
	const struct h2s *s = of_const(x);

	return s->out_bytes + s->queued;
}

static size_t
h2_held(const struct exchange *x)
{
	const struct h2s *s = of_const(x);
	size_t n = h1_segs_held(s->seg + s->seg_first, s->seg_count);

	for (unsigned i = 0; i < s->kept_count; i++)
		n += s->kept[i]->cap;
	return n;
}

static bool
h2_wants_rest(const struct exchange *x)
{
	return !is_out_gone(of_const(x));
}

static void
h2_look(struct exchange *x)
{
	struct h2s *s = of(x);
	struct h2up *c = s->c;

	if (c == NULL || c->is_connecting || !stream_is_dead(&c->u->s))
		return;
	c->u->s.readable = true;
	h2up_read(c);
}

static void
h2_done(struct exchange *x, enum exchange_end how)
{
	struct h2s *s = of(x);
	struct h2up *c = s->c;

	s->is_ending = how == EXCHANGE_KEEP && s->in_ended && s->out_ended && s->queued == 0 &&
		s->out_trailer_count == 0;
	s->is_done = true;
	let_go(s);
	if (c == NULL) {
		h2s_free(s);
		return;
	}
	if (c->fed == s)
		c->fed = NULL;
	if (s->is_waiting)
		c->waiting--;
	if (s->id > 0 && !s->is_closed) {
		bool is_whole = s->in_ended && (s->end_sent || s->is_ending);

		/* A connection on which nothing is heard any more takes no others, nor does one
		 * that is held up by a section of headers without an end. */
		if (how == EXCHANGE_CANCEL &&
			(c->is_in_section || (!x->heard && c->heard == s->heard)))
			h2up_retire(c);
		if (!is_whole)
			nghttp2_submit_rst_stream(
				c->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
		if (!s->in_ended)
			h2_frames_cut(&c->seen, H2UP_WINDOW);
		h2up_soon(c);
	} else {
		h2s_unlink(s);
		h2s_free(s);
	}
	h2up_left(c);
}

static const struct exchange_ops ops = {
	.send = h2_send,
	.read = h2_read,
	.body_to = h2_body_to,
	.tunnel = h2_tunnel,
	.state = h2_state,
	.given = h2_given,
	.held = h2_held,
	.wants_rest = h2_wants_rest,
	.look = h2_look,
	.done = h2_done,
};

struct h2s *
h2s_new(struct exchange_h2_env *env, const struct exchange_open *how)
{
	struct h2s *s = freelist_take(&env->streams);

	memset(s, 0, offsetof(struct h2s, seg));
	s->x.ops = &ops;
	s->x.events = how->events;
	s->x.user = how->user;
	s->x.sink = &s->out;
	s->x.dl = &s->dl;
	s->out.ops = &out_ops;
	s->env = env;
	s->pool = how->pool;
	h2s_in_init(s);
	deadline_init(&s->dl, on_deadline);
	return s;
}
