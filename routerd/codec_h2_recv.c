/*
 * codec_h2_recv: nghttp2's callbacks for what has come. Frames are its business, what they mean for
 * HTTP is told to the stream; nothing is sent from here.
 */
#include <string.h>

#include "routerd/codec_h2_int.h"

static struct h2_stream *
stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static int
result(bool goes_on)
{
	return goes_on ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/*
 * Where nghttp2 is kinder than RFC 9113: PRIORITY without a stream (§6.3), and HEADERS for a stream
 * that has ended (§5.1), unless it was we who ended one: its trailers may have been on their way.
 */
static bool
is_out_of_place(const struct h2 *x, const nghttp2_frame_hd *hd)
{
	if (hd->type == NGHTTP2_PRIORITY)
		return hd->stream_id == 0;
	return hd->type == NGHTTP2_HEADERS && !x->has_reset && (hd->stream_id & 1) &&
		hd->stream_id <= x->last_id &&
		nghttp2_session_find_stream(x->session, hd->stream_id) == NULL;
}

static int
on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
	struct h2 *x = arg;

	(void)session;
	if (is_out_of_place(x, hd)) {
		x->error = hd->type == NGHTTP2_PRIORITY ? NGHTTP2_PROTOCOL_ERROR
							: NGHTTP2_STREAM_CLOSED;
		return result(false);
	}
	return result(h2_guard_frame(x, hd));
}

/* --- header sections --- */

/* Since when the section is on its way; it may take as long as a head of HTTP/1. */
static void
begin_section(struct h2 *x)
{
	struct worker *w = x->c->w;

	x->head_ms = loop_now_ms(w->loop);
	x->head_us = loop_now_us(w->loop);
	x->section = 0;
}

static int
on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *x = arg;

	begin_section(x);
	if (frame->hd.stream_id > x->last_id)
		x->last_id = frame->hd.stream_id;
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		struct h2_stream *st = stream_of(session, frame->hd.stream_id);

		if (st != NULL && !st->is_done && st->trailing == NULL) {
			st->trailing = xcalloc(1, sizeof(*st->trailing));
			arena_init(&st->trailing->arena, 0);
		}
		return 0;
	}
	/* One that nghttp2 gave up in the middle. */
	if (x->req != NULL)
		request_drop(x->req);
	x->req = request_new(x->c->w);
	h2_head_init(&x->head, request_msg(x->req), request_arena(x->req),
		&x->c->w->snap->s->request_limits);
	x->has_priority = false;
	return 0;
}

/* RFC 9218 §4: u=0 to 7, and i; anything else is ignored. */
static void
note_priority(struct h2 *x, struct slice value)
{
	struct slice one;

	x->priority = (nghttp2_extpri){ .urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY };
	x->has_priority = true;
	while (field_list_next(&value, &one)) {
		if (one.n == 3 && one.p[0] == 'u' && one.p[1] == '=' && one.p[2] >= '0' &&
			one.p[2] <= '7')
			x->priority.urgency = (uint32_t)(one.p[2] - '0');
		else if (slice_eq(one, SLICE("i")) || slice_eq(one, SLICE("i=?1")))
			x->priority.inc = 1;
	}
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct h2 *x = arg;
	struct slice n = slice_make((const char *)name, name_len);
	struct slice v = slice_make((const char *)value, value_len);

	(void)flags;
	if (!h2_guard_section(x, name_len + value_len + 4))
		return result(false);
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		struct h2_stream *st = stream_of(session, frame->hd.stream_id);

		if (st != NULL && st->trailing != NULL)
			h2_trailers_field(&st->trailing->t, &st->trailing->arena, n, v);
		return 0;
	}
	h2_head_field(&x->head, n, v);
	if (name_len == 8 && memcmp(name, "priority", 8) == 0)
		note_priority(x, v);
	return 0;
}

static void
section_received(struct h2 *x, const nghttp2_frame *frame)
{
	bool is_end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2_stream *st;

	x->head_ms = 0;
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		h2_stream_start(x, frame->hd.stream_id, is_end);
		return;
	}
	st = stream_of(x->session, frame->hd.stream_id);
	if (st == NULL || st->is_done)
		return;
	if (!is_end)
		h2_body_bad(st, "bad_trailer");
	else if (st->trailing != NULL && st->trailing->t.reason != NULL)
		h2_body_bad(st, st->trailing->t.reason);
	else
		h2_body_end(st);
}

/* --- the other frames --- */

static void
ping_received(struct h2 *x, const nghttp2_frame *frame)
{
	/* There is one ping of ours, ever. */
	if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && x->drain == H2_NOTICED) {
		x->is_acked = true;
		h2_soon(x);
	}
}

static int
on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *x = arg;
	struct h2_stream *st;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS: section_received(x, frame); break;
	case NGHTTP2_DATA:
		st = stream_of(session, frame->hd.stream_id);
		if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
			return result(frame->hd.length > frame->data.padlen || h2_guard_empty(x));
		if (st != NULL && !st->is_done)
			h2_body_end(st);
		break;
	case NGHTTP2_SETTINGS:
		if (!x->has_settings) {
			x->has_settings = true;
			x->since_ms = loop_now_ms(x->c->w->loop);
			h2_deadline(x, x->c->w->snap->s->timeouts.keepalive);
		}
		break;
	case NGHTTP2_RST_STREAM:
		st = stream_of(session, frame->hd.stream_id);
		if (st == NULL || st->is_done)
			break;
		worker_count(x->c->w, STAT_H2_CANCELLED);
		return result(h2_guard_reset(x));
	case NGHTTP2_PING: ping_received(x, frame); break;
	default: break;
	}
	return 0;
}

static int
on_data_chunk(
	nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct h2_stream *st = stream_of(session, id);

	(void)flags;
	(void)arg;
	if (st != NULL && !st->is_done)
		h2_body_data(st, (const char *)p, n);
	else
		/* Its own window stays as it is. */
		nghttp2_session_consume_connection(session, n);
	return 0;
}

static int
on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct h2_stream *st = stream_of(session, id);

	(void)error;
	(void)arg;
	if (st != NULL)
		h2_stream_closed(st);
	return 0;
}

void
h2_recv_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
}
