/*
 * codec_h2_out: frames on their way to the socket. They are put together in the worker's memory,
 * as many as one send takes; DATA stays where it is and is referred to, but for small pieces, which
 * cost less to copy. What the socket does not take is kept by the connection, and nothing more is
 * asked of nghttp2 until it is gone.
 */
#include <assert.h>
#include <string.h>

#include "routerd/codec_h2_int.h"

/* DATA up to this size is copied behind its frame header. */
#define COPY_MAX 2048
/* A frame that nghttp2 gives us whole is no larger. */
#define FRAME_MAX (16384 + 256 + 9)
/* Sends in one turn, before others get theirs. */
#define TURN_SENDS 8

/* --- staging --- */

static void
put_bytes(struct h2_stage *g, const void *p, size_t n)
{
	char *at = g->bytes + g->used;
	struct h1_seg *last = g->count > 0 ? &g->seg[g->count - 1] : NULL;

	memcpy(at, p, n);
	g->used += n;
	g->total += n;
	if (last != NULL && last->b == NULL && last->p + last->n == at)
		last->n += n;
	else
		g->seg[g->count++] = (struct h1_seg){ NULL, at, n };
}

static void
put_ref(struct h2_stage *g, struct buf *b, const char *p, size_t n)
{
	g->seg[g->count++] = (struct h1_seg){ b != NULL ? buf_ref(b) : NULL, p, n };
	g->total += n;
}

/* Room for the next DATA frame, and one of another kind behind it? */
static bool
has_room(const struct h2_stage *g)
{
	return g->total < H2_STAGE_BYTES - FRAME_MAX && g->used + 2 * FRAME_MAX <= H2_STAGE_BYTES &&
		g->count + H2_OUT_SEGS + 4 <= H2_STAGE_SEGS;
}

/* The first n bytes of what the stream has waiting. */
static void
take(struct h2_stream *st, struct h2_stage *g, size_t n)
{
	bool is_small = n <= COPY_MAX;

	st->queued -= n;
	st->x->queued -= n;
	st->out_bytes += n;
	while (n > 0) {
		struct h1_seg *s = &st->seg[st->seg_first];
		size_t part = n < s->n ? n : s->n;

		if (is_small)
			put_bytes(g, s->p, part);
		else
			put_ref(g, s->b, s->p, part);
		s->p += part;
		s->n -= part;
		n -= part;
		if (s->n > 0)
			break;
		buf_unref(s->b);
		st->seg_first++;
		st->seg_count--;
	}
	if (st->seg_count == 0)
		st->seg_first = 0;
}

static void
wake_producer(struct h2_stream *st)
{
	struct run_item *item = st->out.producer;

	if (item == NULL || st->queued >= H2_OUT_HIGH / 2 || st->seg_count > H2_OUT_SEGS / 2 ||
		h2_answer_is_full(st))
		return;
	st->out.producer = NULL;
	loop_run_soon(st->cl.w->loop, item);
}

/* --- nghttp2's callbacks --- */

/* How much of the stream's response goes into the next DATA frame. */
ssize_t
h2_out_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct h2_stream *st = source->ptr;
	const struct h2 *x = arg;

	(void)buf;
	if (st->is_gone || (st->queued == 0 && !st->out_ended)) {
		st->is_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	/* Before nghttp2 is promised a frame: what the stream has now may be dropped before there
	 * is room for it. */
	if (!has_room(&x->env->stage))
		return NGHTTP2_ERR_PAUSE;
	if (n > st->queued)
		n = st->queued;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (!st->out_ended || n < st->queued)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (st->is_malformed) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		h2_stream_reset(st, NGHTTP2_PROTOCOL_ERROR);
	} else if (st->trailer_count > 0) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, id, st->trailers, st->trailer_count);
	}
	return (ssize_t)n;
}

static int
on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t n,
	nghttp2_data_source *source, void *arg)
{
	struct h2 *x = arg;
	struct h2_stage *g = &x->env->stage;
	struct h2_stream *st = source->ptr;

	(void)session;
	(void)frame;
	put_bytes(g, header, 9);
	if (n > 0) {
		st->since_ms = loop_now_ms(x->c->w->loop);
		take(st, g, n);
		wake_producer(st);
		h2_guard_earn(x, 2);
	}
	return 0;
}

/* Its last frame stands in the stage: told when that is sent. */
static void
mark_ending(struct h2 *x, struct h2_stream *st)
{
	if (st->is_ending || st->is_done)
		return;
	st->is_ending = true;
	st->end_at = x->staged + x->env->stage.total;
	st->next_ending = NULL;
	*x->ending_tail = st;
	x->ending_tail = &st->next_ending;
}

static void
stream_refused(struct h2 *x)
{
	static _Thread_local struct log_limit limit = { .burst = 5 };
	uint32_t held;

	worker_count(x->c->w, STAT_H2_REFUSED);
	if (log_allow(&limit, &held))
		LOG_INFO("h2_stream_refused", L_SLICE("peer", conn_peer(x->c)),
			L_INT("limit", x->streams_max), L_INT("suppressed", held));
}

static void
reset_sent(struct h2 *x, const nghttp2_frame *frame, struct h2_stream *st)
{
	uint32_t code = frame->rst_stream.error_code;

	x->has_reset = true;
	if (code == NGHTTP2_NO_ERROR || code == NGHTTP2_INTERNAL_ERROR)
		return;
	if (code == NGHTTP2_REFUSED_STREAM)
		stream_refused(x);
	else
		worker_count(x->c->w, STAT_H2_RESETS);
	(void)h2_guard_reset(x);
	if (st != NULL && st->is_malformed)
		mark_ending(x, st);
}

static void
goaway_sent(struct h2 *x, const nghttp2_frame *frame)
{
	static _Thread_local struct log_limit limit = { .burst = 5 };
	const nghttp2_goaway *g = &frame->goaway;
	uint32_t held;

	/* What a budget or a deadline says is told elsewhere. */
	if (g->error_code == NGHTTP2_NO_ERROR || g->error_code == NGHTTP2_ENHANCE_YOUR_CALM)
		return;
	worker_count(x->c->w, STAT_H2_ERRORS);
	if (log_allow(&limit, &held))
		LOG_INFO("h2_error", L_SLICE("peer", conn_peer(x->c)),
			L_STR("reason", nghttp2_http2_strerror(g->error_code)),
			L_SLICE("detail",
				slice_make((const char *)g->opaque_data, g->opaque_data_len)),
			L_INT("suppressed", held));
}

static int
on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *x = arg;
	struct h2_stream *st;

	switch (frame->hd.type) {
	case NGHTTP2_DATA:
	case NGHTTP2_HEADERS:
		if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
			break;
		st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		if (st != NULL)
			mark_ending(x, st);
		break;
	case NGHTTP2_RST_STREAM:
		reset_sent(x, frame,
			nghttp2_session_get_stream_user_data(session, frame->hd.stream_id));
		break;
	case NGHTTP2_GOAWAY: goaway_sent(x, frame); break;
	default: break;
	}
	return 0;
}

void
h2_out_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
}

/* --- sending --- */

static void
unref_all(const struct h1_seg *seg, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		buf_unref(seg[i].b);
}

static ssize_t
write_segs(struct h2 *x, const struct h1_seg *seg, unsigned count)
{
	struct iovec v[H2_STAGE_SEGS];

	for (unsigned i = 0; i < count; i++) {
		v[i].iov_base = (void *)(uintptr_t)seg[i].p;
		v[i].iov_len = seg[i].n;
	}

	ssize_t n = stream_write(&x->c->s, v, (int)count);

	if (n > 0) {
		x->sent += (size_t)n;
		x->sent_ms = loop_now_ms(x->c->w->loop);
	}
	return n;
}

static void
drop_held(struct h2 *x)
{
	struct h2_held *d = x->held;

	if (d == NULL)
		return;
	unref_all(d->seg + d->first, d->count);
	buf_unref(d->copy);
	freelist_give(&x->env->helds, d);
	x->held = NULL;
}

/* The rest of the stage stays with the connection; what has no buffer of its own is copied. */
static void
hold(struct h2 *x, const struct h1_seg *seg, unsigned count)
{
	struct h2_held *d = freelist_take(&x->env->helds);
	size_t n = 0;

	for (unsigned i = 0; i < count; i++)
		n += seg[i].b == NULL ? seg[i].n : 0;
	d->copy = n == 0 ? NULL : buf_get(&x->c->w->bufs, buf_class_for(n));
	d->first = 0;
	d->count = count;
	for (unsigned i = 0; i < count; i++) {
		d->seg[i] = seg[i];
		if (seg[i].b != NULL)
			continue;
		assert(buf_room(d->copy) >= seg[i].n);
		d->seg[i].p = d->copy->data + d->copy->w;
		memcpy(d->copy->data + d->copy->w, seg[i].p, seg[i].n);
		d->copy->w += (uint32_t)seg[i].n;
	}
	x->held = d;
}

enum sent { SENT_ALL, SENT_PART, SENT_GONE };

static enum sent
send_held(struct h2 *x)
{
	struct h2_held *d = x->held;

	while (d->count > 0) {
		if (!x->c->s.writable)
			return SENT_PART;

		ssize_t n = write_segs(x, d->seg + d->first, d->count);

		if (n == STREAM_AGAIN)
			return SENT_PART;
		if (n < 0)
			return SENT_GONE;

		unsigned used = h1_seg_consume(d->seg + d->first, d->count, (size_t)n);

		d->first += used;
		d->count -= used;
		if (d->count > 0)
			x->c->s.writable = false;
	}
	drop_held(x);
	return SENT_ALL;
}

static enum sent
send_stage(struct h2 *x, struct h2_stage *g)
{
	ssize_t n = x->c->s.writable ? write_segs(x, g->seg, g->count) : STREAM_AGAIN;
	unsigned used = 0;

	x->staged += g->total;
	if (n != STREAM_AGAIN && n < 0) {
		unref_all(g->seg, g->count);
		return SENT_GONE;
	}
	if (n > 0)
		used = h1_seg_consume(g->seg, g->count, (size_t)n);
	else
		x->sent_ms = loop_now_ms(x->c->w->loop);
	if (used == g->count)
		return SENT_ALL;
	x->c->s.writable = false;
	hold(x, g->seg + used, g->count - used);
	return SENT_PART;
}

/* False: nghttp2 has given up. */
static bool
fill_stage(struct h2 *x, struct h2_stage *g)
{
	g->used = g->total = 0;
	g->count = 0;
	while (has_room(g)) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(x->session, &p);

		if (n < 0)
			return false;
		if (n == 0)
			break;
		put_bytes(g, p, (size_t)n);
	}
	return true;
}

static void
tell_sent(struct h2 *x)
{
	while (x->ending != NULL && x->ending->end_at <= x->sent) {
		struct h2_stream *st = x->ending;

		x->ending = st->next_ending;
		if (x->ending == NULL)
			x->ending_tail = &x->ending;
		st->is_ending = false;
		h2_stream_sent(st);
	}
}

bool
h2_out_flush(struct h2 *x)
{
	struct h2_stage *g = &x->env->stage;
	enum sent how = x->held != NULL ? send_held(x) : SENT_ALL;

	for (int i = 0; how == SENT_ALL; i++) {
		if (i == TURN_SENDS) {
			h2_soon(x);
			break;
		}
		if (!fill_stage(x, g)) {
			unref_all(g->seg, g->count);
			return false;
		}
		if (g->count == 0)
			break;
		how = send_stage(x, g);
	}
	if (how == SENT_GONE)
		return false;
	tell_sent(x);
	if (x->held != NULL)
		h2_deadline(x, x->c->w->snap->s->timeouts.send);
	return true;
}

void
h2_out_fini(struct h2 *x)
{
	drop_held(x);
}
