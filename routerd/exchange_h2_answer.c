/*
 * exchange_h2_answer: an answer on its way into its sink. A sink that is full withholds the
 * stream's window; what the server had sent by then is kept, a window at most.
 */
#include <stdlib.h>
#include <string.h>

#include "routerd/exchange_h2_int.h"
#include "routerd/forward.h"

/* A sink may be given so many pieces before it must be flushed. */
#define FEED_MAX 4

/* --- the body --- */

static void
give_back(struct h2s *s)
{
	if (s->unfed == 0)
		return;
	if (s->c != NULL && s->id > 0 && !s->is_closed) {
		nghttp2_session_consume_stream(s->c->session, s->id, s->unfed);
		if (!s->c->is_receiving)
			h2up_soon(s->c);
	}
	s->unfed = 0;
}

/* The answer is wrong: the stream is reset, and the attempt hears of it when nghttp2 has closed it.
 */
static void
spoil(struct h2s *s, const char *reason)
{
	s->bad = reason;
	nghttp2_submit_rst_stream(s->c->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_PROTOCOL_ERROR);
	h2up_soon(s->c);
}

static void
tell_end(struct h2s *s)
{
	if (s->is_told || !s->in_ended || s->is_paused || s->kept_count > 0 || s->to == NULL)
		return;
	s->is_told = true;
	if (s->c != NULL && s->c->fed == s)
		s->c->fed = NULL;
	give_back(s);
	s->to->ops->end(s->to, s->trailers, s->trailer_count);
	s->x.events->ended(&s->x);
}

/* Flush what the sink was given. False: it is full, or all is over. */
static bool
flush_in(struct h2s *s)
{
	switch (s->to->ops->flush(s->to)) {
	case SINK_OK: give_back(s); return true;
	case SINK_FULL:
		s->is_paused = true;
		s->to->producer = &s->again;
		return false;
	case SINK_GONE: s->x.events->refused(&s->x); return false;
	}
	return false;
}

void
h2s_fed(struct h2up *c)
{
	struct h2s *s = c->fed;

	c->fed = NULL;
	c->fed_count = 0;
	(void)flush_in(s);
	if (!s->is_done)
		s->x.events->moved(&s->x);
}

void
h2s_mark_fed(struct h2s *s)
{
	struct h2up *c = s->c;

	if (c->fed != NULL && c->fed != s)
		h2s_fed(c);
	if (s->is_done || s->is_paused)
		return;
	c->fed = s;
	if (++c->fed_count >= FEED_MAX)
		h2s_fed(c);
}

/* The sink is full: in memory of the stream's own, so that a byte does not hold on to a read. */
static void
keep(struct h2s *s, const char *p, size_t n)
{
	while (n > 0) {
		struct buf *b = s->kept_count > 0 ? s->kept[s->kept_count - 1] : NULL;
		size_t part;

		if (b == NULL || buf_room(b) == 0) {
			/* The window is smaller than this holds. */
			if (s->kept_count == H2UP_KEPT)
				abort();
			b = buf_get(&s->env->w->bufs,
				s->kept_count < 2 && bufs_are_tight(&s->env->w->bufs) ? BUF_16K
										      : BUF_64K);
			s->kept[s->kept_count++] = b;
		}
		part = n < buf_room(b) ? n : buf_room(b);
		memcpy(b->data + b->w, p, part);
		b->w += (uint32_t)part;
		p += part;
		n -= part;
	}
}

void
h2s_data(struct h2s *s, struct buf *b, const char *p, size_t n)
{
	s->in_bytes += n;
	/* RFC 9113 §8.1: a head comes first. */
	if (!s->has_final) {
		spoil(s, "data_before_head");
		return;
	}
	if (!s->is_tunnel && s->kind == BODY_NONE) {
		spoil(s, "unexpected_body");
		return;
	}
	if (!s->is_tunnel && s->kind == BODY_LENGTH && s->in_bytes > s->length) {
		spoil(s, "content_length_mismatch");
		return;
	}
	if (s->to == NULL || s->is_paused || s->kept_count > 0) {
		keep(s, p, n);
		return;
	}
	s->unfed += n;
	switch (s->to->ops->data(s->to, b, p, n)) {
	case SINK_OK: h2s_mark_fed(s); break;
	case SINK_FULL:
		s->c->fed_count = FEED_MAX;
		h2s_mark_fed(s);
		break;
	case SINK_GONE: s->x.events->refused(&s->x); break;
	}
}

void
h2s_in_end(struct h2s *s)
{
	if (s->in_ended)
		return;
	if (!s->has_final) {
		spoil(s, "data_before_head");
		return;
	}
	if (!s->is_tunnel && s->kind == BODY_LENGTH && s->in_bytes != s->length) {
		spoil(s, "content_length_mismatch");
		return;
	}
	s->in_ended = true;
	tell_end(s);
}

/* The sink takes again. */
static void
again(struct run_item *item)
{
	struct h2s *s = (struct h2s *)((char *)item - offsetof(struct h2s, again));

	s->is_paused = false;
	while (s->kept_count > 0) {
		struct buf *b = s->kept[0];
		size_t n = buf_len(b);

		memmove(s->kept, s->kept + 1, --s->kept_count * sizeof(s->kept[0]));
		b->r = b->w;
		s->unfed += n;
		if (s->to->ops->data(s->to, b, b->data + b->w - n, n) == SINK_GONE) {
			buf_unref(b);
			s->x.events->refused(&s->x);
			return;
		}
		buf_unref(b);
		if (!flush_in(s))
			return;
	}
	give_back(s);
	tell_end(s);
	if (!s->is_done)
		s->x.events->moved(&s->x);
}

/* --- heads and trailers --- */

void
h2s_trailers(struct h2s *s, const struct msg *m, bool is_end)
{
	size_t n = m->field_count * sizeof(struct field);
	size_t text = 0;
	char *at;

	/* RFC 9113 §8.1: nothing comes behind them. */
	if (!is_end)
		spoil(s, "bad_trailer");
	if (!is_end || s->trailers != NULL || m->field_count == 0)
		return;
	for (unsigned i = 0; i < m->field_count; i++)
		text += m->fields[i].name.n + m->fields[i].value.n;
	s->trailers = xmalloc(n + text);
	memcpy(s->trailers, m->fields, n);
	at = (char *)s->trailers + n;
	for (unsigned i = 0; i < m->field_count; i++) {
		struct field *f = &s->trailers[i];

		memcpy(at, f->name.p, f->name.n);
		f->name.p = at;
		at += f->name.n;
		if (f->value.n > 0)
			memcpy(at, f->value.p, f->value.n);
		f->value.p = at;
		at += f->value.n;
	}
	s->trailer_count = m->field_count;
	forward_trailers(NULL, s->trailers, s->trailer_count);
}

void
h2s_head(struct h2s *s, bool is_end)
{
	struct msg *m = s->x.resp;

	if (!h2_answer_end(&s->c->answer, s->is_tunnel ? METHOD_GET : s->x.m->method, is_end)) {
		spoil(s, s->c->answer.reason);
		return;
	}
	s->x.heard = true;
	if (s->is_tunnel && m->status >= 200 && m->status < 300) {
		h2_answer_to_101(m, s->x.m, s->accept);
		s->has_final = true;
	} else if (m->status >= 200) {
		s->has_final = true;
		s->is_tunnel = false;
		s->kind = m->body;
		s->length = m->content_length;
	}
	s->x.events->head(&s->x);
}

/* --- life --- */

void
h2s_in_init(struct h2s *s)
{
	s->again.fn = again;
}

void
h2s_drop_in(struct h2s *s)
{
	for (unsigned i = 0; i < s->kept_count; i++)
		buf_unref(s->kept[i]);
	s->kept_count = 0;
	free(s->trailers);
	s->trailers = NULL;
	s->trailer_count = 0;
	loop_run_cancel(s->env->w->loop, &s->again);
	if (s->to != NULL && s->to->producer == &s->again)
		s->to->producer = NULL;
	s->to = NULL;
}
