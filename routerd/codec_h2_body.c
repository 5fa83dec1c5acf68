/*
 * codec_h2_body: the body of a request, from the frames to the sink that takes it. What it takes
 * opens the stream's window again; while it takes nothing, bytes wait (codec_h2_wait.c).
 */
#include "routerd/codec_h2_int.h"
#include "routerd/forward.h"

/* What sinks are given in one turn before they are flushed. */
#define FED_MAX 4

/* The request hears how it ended. */
static void
tell(struct h2_stream *st, enum body_end how, const char *reason)
{
	if (st->is_told && how != BODY_END_BAD)
		return;
	st->is_told = true;
	st->to = NULL;
	h2_wait_drop(st);
	st->cl.body_ended = how == BODY_END_OK;
	request_body_ended(st->cl.req, how, reason);
}

/* Whoever takes it shall not ask for more. */
static void
leave_sink(struct h2_stream *st)
{
	if (st->to != NULL && st->to->producer == &st->again)
		st->to->producer = NULL;
	st->to = NULL;
}

void
h2_body_shed(struct h2_stream *st)
{
	leave_sink(st);
	tell(st, BODY_END_SHED, "h2_body_memory");
}

void
h2_body_bad(struct h2_stream *st, const char *reason)
{
	if (st->bad != NULL)
		return;
	st->bad = reason;
	st->is_malformed = true;
	leave_sink(st);
	/* An answer that is already on its way ends as it is. */
	if (st->out_ended)
		h2_stream_reset(st, NGHTTP2_PROTOCOL_ERROR);
	else
		tell(st, BODY_END_BAD, reason);
}

static void
consumed(struct h2_stream *st, size_t n)
{
	if (nghttp2_session_consume(st->x->session, st->id, n) == 0)
		h2_soon(st->x);
}

/* The sink has it all: trailers, and the end. */
static void
end_body(struct h2_stream *st)
{
	struct h2_trailers *t = st->trailing != NULL ? &st->trailing->t : NULL;

	if (t != NULL)
		forward_trailers(st->x->c->w->snap->s->http, t->fields, t->count);
	st->to->ops->end(st->to, t != NULL ? t->fields : NULL, t != NULL ? t->count : 0);
	tell(st, BODY_END_OK, NULL);
}

/* Flush what the sink was given; false: it takes no more now, or for good (the request may be over
 * then). */
static bool
flush_to(struct h2_stream *st)
{
	switch (st->to->ops->flush(st->to)) {
	case SINK_OK: return true;
	case SINK_FULL:
		st->is_paused = true;
		st->to->producer = &st->again;
		return false;
	case SINK_GONE: tell(st, BODY_END_SINK, NULL); return false;
	}
	return false;
}

/* False: the request may be over. */
static bool
give(struct h2_stream *st, struct buf *b, const char *p, size_t n)
{
	enum sink_result r = st->to->ops->data(st->to, b, p, n);

	if (r == SINK_GONE) {
		tell(st, BODY_END_SINK, NULL);
		return false;
	}
	return true;
}

/* What waited, then the end if it has come. */
static void
deliver(struct h2_stream *st)
{
	while (st->in_count > 0) {
		struct buf *b = h2_wait_take(st);
		size_t n = buf_len(b);

		if (nghttp2_session_consume_stream(st->x->session, st->id, n) == 0)
			h2_soon(st->x);

		bool goes_on = give(st, b, b->data + b->r, n);

		buf_unref(b);
		if (!goes_on || !flush_to(st))
			return;
	}
	if (st->in_ended)
		end_body(st);
}

void
h2_body_again(struct run_item *item)
{
	struct h2_stream *st =
		(struct h2_stream *)((char *)item - offsetof(struct h2_stream, again));

	st->is_paused = false;
	st->since_ms = loop_now_ms(st->cl.w->loop);
	if (st->bad_accept)
		tell(st, BODY_END_BAD, "bad_websocket_accept");
	else if (st->in_bytes > st->max_body && st->to != NULL && !st->head_done)
		/* It had waited for its sink. */
		tell(st, BODY_END_TOO_LARGE, "body_too_large");
	else if (st->to != NULL)
		deliver(st);
}

static bool
takes_now(const struct h2_stream *st)
{
	return st->to != NULL && !st->is_paused && st->in_count == 0 && !st->again.is_queued;
}

void
h2_body_fed(struct h2 *x)
{
	struct h2_stream *st = x->fed;

	x->fed = NULL;
	x->fed_count = 0;
	if (st != NULL && st->to != NULL && flush_to(st) && st->in_ended)
		end_body(st);
}

static const char *
data_fault(const struct h2_stream *st)
{
	if (st->kind == BODY_LENGTH && st->in_bytes > st->length)
		return "content_length_mismatch";
	return NULL;
}

void
h2_body_data(struct h2_stream *st, const char *p, size_t n)
{
	struct h2 *x = st->x;

	st->since_ms = loop_now_ms(st->cl.w->loop);
	st->in_bytes += n;
	h2_guard_earn(x, 1);
	if (st->cl.awaits_continue) {
		st->cl.awaits_continue = false;
		st->body_since_ms = st->since_ms;
	}
	if (st->bad == NULL && data_fault(st) != NULL)
		h2_body_bad(st, data_fault(st));
	if (st->is_told || st->bad != NULL) {
		consumed(st, n);
		return;
	}
	if (st->in_bytes > st->max_body && st->to != NULL) {
		consumed(st, n);
		tell(st, BODY_END_TOO_LARGE, "body_too_large");
		return;
	}
	if (x->fed != NULL && (x->fed != st || x->fed_count == FED_MAX))
		h2_body_fed(x);
	if (!takes_now(st)) {
		if (st->is_done || st->is_told) {
			consumed(st, n);
			return;
		}
		/* Its stream alone shall wait. */
		nghttp2_session_consume_connection(x->session, n);
		h2_wait_put(st, p, n);
		return;
	}
	consumed(st, n);
	if (give(st, x->c->in, p, n)) {
		/* Whoever was fed before may have left without a flush. */
		x->fed_count = x->fed == st ? x->fed_count + 1 : 1;
		x->fed = st;
	}
}

void
h2_body_end(struct h2_stream *st)
{
	st->in_ended = true;
	if (st->bad == NULL && st->kind == BODY_LENGTH && st->in_bytes != st->length)
		h2_body_bad(st, "content_length_mismatch");
	if (st->is_told || st->bad != NULL)
		return;
	if (st->x->fed == st)
		h2_body_fed(st->x);
	else if (takes_now(st))
		end_body(st);
}

/* From the run queue rather than at once: a body that is there already must not end the request
 * under its caller. */
void
h2_body_to(struct client *cl, struct sink *to)
{
	struct h2_stream *st = (struct h2_stream *)((char *)cl - offsetof(struct h2_stream, cl));

	if (st->is_told)
		return;
	if (st->x->fed == st)
		st->x->fed = NULL;
	leave_sink(st);
	st->to = to;
	st->is_paused = false;
	st->since_ms = loop_now_ms(cl->w->loop);
	if (!cl->awaits_continue)
		st->body_since_ms = st->since_ms;
	if (st->in_count > 0 || st->in_ended)
		loop_run_soon(cl->w->loop, &st->again);
}
