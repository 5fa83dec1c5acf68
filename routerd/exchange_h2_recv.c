/*
 * exchange_h2_recv: what nghttp2 tells of frames that have come, and what servers may cost: frames
 * that ask for work and bring none are paid from a budget that fills with time and with useful
 * work.
 */

#include "routerd/exchange_h2_int.h"

/* The budget, in frames; full again after BUDGET_MS. */
#define BUDGET    2000
#define BUDGET_MS 10000
/* CONTINUATION frames behind one HEADERS. */
#define CONTINUATIONS_MAX 32

static struct h2s *
stream_of(nghttp2_session *session, int32_t id)
{
	struct h2s *s = nghttp2_session_get_stream_user_data(session, id);

	return s != NULL && !s->is_done ? s : NULL;
}

/* --- what frames may cost --- */

void
h2up_budget_init(struct h2up *c)
{
	c->budget = BUDGET;
	c->budget_ms = loop_now_ms(c->w->loop);
}

void
h2up_earn(struct h2up *c, int n)
{
	if (c->budget < BUDGET)
		c->budget += n;
}

static void
refill(struct h2up *c)
{
	uint64_t now_ms = loop_now_ms(c->w->loop);
	uint64_t gone = now_ms - c->budget_ms;

	c->budget += gone >= BUDGET_MS ? BUDGET : (int64_t)(BUDGET * gone / BUDGET_MS);
	if (c->budget > BUDGET)
		c->budget = BUDGET;
	c->budget_ms = now_ms;
}

static int
spend(struct h2up *c, int cost, const char *reason)
{
	c->budget -= cost;
	if (c->budget >= 0)
		return 0;
	refill(c);
	if (c->budget >= 0)
		return 0;
	c->bad = reason;
	c->is_flood = true;
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

bool
h2up_skipped(struct h2up *c)
{
	struct h2_skipped s = h2_frames_skipped(&c->seen);

	return (s.unknown == 0 || spend(c, (int)s.unknown, "unknown_frames") == 0) &&
		(s.stray == 0 || spend(c, (int)s.stray, "stray_frames") == 0);
}

static int
on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
	struct h2up *c = arg;

	(void)session;
	c->seen.begun++;
	switch (hd->type) {
	case NGHTTP2_HEADERS:
		c->continuations = 0;
		c->is_in_section = !(hd->flags & NGHTTP2_FLAG_END_HEADERS);
		return spend(c, 1, "header_flood");
	case NGHTTP2_CONTINUATION:
		c->is_in_section = !(hd->flags & NGHTTP2_FLAG_END_HEADERS);
		if (++c->continuations <= CONTINUATIONS_MAX)
			return 0;
		c->bad = "continuation_flood";
		c->is_flood = true;
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	case NGHTTP2_RST_STREAM: return spend(c, 1, "reset_flood");
	case NGHTTP2_SETTINGS: return spend(c, 10, "settings_flood");
	case NGHTTP2_PING: return spend(c, 2, "ping_flood");
	case NGHTTP2_WINDOW_UPDATE: return spend(c, 1, "window_update_flood");
	case NGHTTP2_GOAWAY: return spend(c, 10, "goaway_flood");
	case NGHTTP2_PRIORITY: return spend(c, 1, "priority_flood");
	default: return 0; /* DATA: when it is whole; unknown ones are not told of: h2up_skipped */
	}
}

/* --- header sections --- */

static int
on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2up *c = arg;
	struct h2s *s = stream_of(session, frame->hd.stream_id);
	bool is_trailer = s != NULL && s->has_final;

	if (s == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	/* Those that came with the exchange hold until the final head. */
	c->limits = is_trailer ? c->w->snap->s->response_limits : *s->x.limits;
	if (c->text == NULL)
		c->text = buf_get(&c->w->bufs, buf_class_for(c->limits.head_bytes));
	if (is_trailer)
		msg_init(&c->trailers, c->trailer_fields, H2UP_TRAILERS);
	else
		msg_init(s->x.resp, s->x.resp_fields, s->x.resp_field_cap);
	h2_answer_init(&c->answer, is_trailer ? &c->trailers : s->x.resp, c->text->data,
		c->text->cap, &c->limits, is_trailer);
	return 0;
}

/* A fault of this answer alone: it is reset, the connection goes on. */
static int
refuse(struct h2s *s, const char *reason)
{
	if (s->bad == NULL)
		s->bad = reason;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
	const uint8_t *value, size_t valuelen, uint8_t flags, void *arg)
{
	struct h2up *c = arg;
	struct h2s *s = stream_of(session, frame->hd.stream_id);

	(void)flags;
	if (s == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (!h2_answer_field(&c->answer, slice_make((const char *)name, namelen),
		    slice_make((const char *)value, valuelen)))
		return refuse(s, c->answer.reason);
	return 0;
}

static void
give_text(struct h2up *c)
{
	buf_unref(c->text);
	c->text = NULL;
}

static void
headers_end(struct h2up *c, struct h2s *s, bool is_end)
{
	if (s->bad == NULL && s->has_final)
		h2s_trailers(s, &c->trailers, is_end);
	else if (s->bad == NULL)
		h2s_head(s, is_end);
	give_text(c);
}

/* --- frames --- */

static int
on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2up *c = arg;
	struct h2s *s = frame->hd.stream_id != 0 ? stream_of(session, frame->hd.stream_id) : NULL;
	bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		if (s != NULL)
			headers_end(c, s, is_end);
		break;
	case NGHTTP2_RST_STREAM:
		if (s != NULL)
			s->peer_reset = true;
		return 0;
	case NGHTTP2_SETTINGS:
		if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
			h2up_settled(c);
		return 0;
	case NGHTTP2_GOAWAY:
		worker_count(c->w, STAT_H2_UPSTREAM_GOAWAYS);
		h2up_retire(c);
		return 0;
	case NGHTTP2_DATA:
		/* Padding is of no use either. */
		if (!is_end && frame->hd.length <= frame->data.padlen &&
			spend(c, 1, "empty_frames") != 0)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		break;
	default: return 0;
	}
	/* The head may have ended it. */
	s = stream_of(session, frame->hd.stream_id);
	if (s != NULL && is_end && s->bad == NULL)
		h2s_in_end(s);
	return 0;
}

/* nghttp2 has refused a frame: one stream, or the connection, ends for it. */
static int
on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
	struct h2s *s = frame->hd.stream_id != 0 ? stream_of(session, frame->hd.stream_id) : NULL;

	(void)arg;
	if (s != NULL && s->bad == NULL)
		s->bad = h2up_reason_of(h2up_error_of(error));
	return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct h2up *c = arg;
	struct h2s *s = stream_of(session, id);

	(void)flags;
	h2up_earn(c, 1);
	nghttp2_session_consume_connection(session, n);
	if (s == NULL || s->bad != NULL)
		nghttp2_session_consume_stream(session, id, n);
	else
		h2s_data(s, c->u->in, (const char *)p, n);
	return 0;
}

static int
on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct h2s *s = nghttp2_session_get_stream_user_data(session, id);

	(void)arg;
	if (s != NULL)
		h2s_closed(s, error);
	return 0;
}

void
h2up_recv_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
}
