/*
 * exchange_h2_out: frames on their way to the socket, many per send. DATA stays where it is and is
 * referred to, but for small pieces, which cost less to copy. While the socket takes no more,
 * nothing more is asked of nghttp2.
 */
#include <string.h>

#include "routerd/exchange_h2_int.h"

/* DATA up to this size is copied behind its frame header. */
#define COPY_MAX 2048
/* What nghttp2 gives us whole is no larger. */
#define FRAME_MAX (16384 + 256 + 9)

static void
push(struct h2up *c, struct buf *b, const char *p, size_t n)
{
	struct h1_seg *last = c->seg_count > 0 ? &c->seg[c->seg_first + c->seg_count - 1] : NULL;

	c->queued += n;
	if (last != NULL && last->b == b && last->p + last->n == p)
		last->n += n;
	else if (c->seg_first + c->seg_count == H2UP_SEND_SEGS)
		abort();
	else
		c->seg[c->seg_first + c->seg_count++] =
			(struct h1_seg){ b != NULL ? buf_ref(b) : NULL, p, n };
}

static void
push_copy(struct h2up *c, const void *p, size_t n)
{
	char *to = c->scratch->data + c->scratch->w;

	if (buf_room(c->scratch) < n)
		abort();
	memcpy(to, p, n);
	c->scratch->w += (uint32_t)n;
	push(c, c->scratch, to, n);
}

/* Room for the next DATA frame, and one of another kind behind it? */
static bool
make_room(struct h2up *c)
{
	if (c->queued >= H2UP_SEND_BYTES ||
		c->seg_first + c->seg_count + H2UP_OUT_SEGS + 2 > H2UP_SEND_SEGS)
		return false;
	if (c->scratch != NULL && buf_room(c->scratch) < 2 * FRAME_MAX) {
		buf_unref(c->scratch);
		c->scratch = NULL;
	}
	if (c->scratch == NULL)
		c->scratch = buf_get(&c->w->bufs, BUF_64K);
	return true;
}

static void
wake_producer(struct h2s *s)
{
	struct run_item *item = s->out.producer;

	if (item == NULL || s->queued >= H2UP_OUT_HIGH / 2 || s->seg_count > H2UP_OUT_SEGS / 4)
		return;
	s->out.producer = NULL;
	loop_run_soon(s->c->w->loop, item);
}

/* The first n bytes of what the stream has waiting. */
static void
take(struct h2s *s, size_t n)
{
	bool is_small = n <= COPY_MAX;

	s->queued -= n;
	s->out_bytes += n;
	while (n > 0) {
		struct h1_seg *g = &s->seg[s->seg_first];
		size_t part = n < g->n ? n : g->n;

		if (is_small)
			push_copy(s->c, g->p, part);
		else
			push(s->c, g->b, g->p, part);
		g->p += part;
		g->n -= part;
		n -= part;
		if (g->n > 0)
			break;
		buf_unref(g->b);
		s->seg_first++;
		s->seg_count--;
	}
	if (s->seg_count == 0)
		s->seg_first = 0;
}

ssize_t
h2s_read_out(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct h2s *s = source->ptr;

	(void)buf;
	if ((s->is_done && !s->is_ending) || (s->queued == 0 && !s->out_ended)) {
		s->is_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	/* nghttp2 goes from one DATA frame to the next without asking us in between. */
	if (!make_room(arg))
		return NGHTTP2_ERR_PAUSE;
	if (n > s->queued)
		n = s->queued;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (!s->out_ended || n < s->queued)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (s->out_trailer_count > 0) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, id, s->out_trailers, s->out_trailer_count);
	}
	return (ssize_t)n;
}

static int
on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t n,
	nghttp2_data_source *source, void *arg)
{
	struct h2up *c = arg;
	struct h2s *s = source->ptr;

	(void)session;
	(void)frame;
	push_copy(c, header, 9);
	if (n > 0) {
		take(s, n);
		wake_producer(s);
		/* The server answers with window updates. */
		h2up_earn(c, 3);
	}
	return 0;
}

static void
keep_detail(struct h2up *c, const uint8_t *p, size_t n)
{
	n = n < sizeof(c->detail) ? n : sizeof(c->detail) - 1;
	if (n > 0)
		memcpy(c->detail, p, n);
	c->detail[n] = '\0';
}

static int
on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2up *c = arg;

	if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
		struct h2s *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

		if (s != NULL) {
			s->head_sent = true;
			s->end_sent = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
		}
	} else if (frame->hd.type == NGHTTP2_GOAWAY) {
		c->is_told = true;
		c->goaway_error = frame->goaway.error_code;
		keep_detail(c, frame->goaway.opaque_data, frame->goaway.opaque_data_len);
	}
	return 0;
}

void
h2up_out_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
}

static void
consume(struct h2up *c, size_t n)
{
	unsigned used = h1_seg_consume(c->seg + c->seg_first, c->seg_count, n);

	c->queued -= n;
	c->seg_count -= used;
	c->seg_first = c->seg_count > 0 ? c->seg_first + used : 0;
}

/* False: it has failed. *is_all: the socket has taken everything. */
static bool
send_queued(struct h2up *c, bool *is_all)
{
	struct stream *st = &c->u->s;

	*is_all = false;
	while (c->seg_count > 0) {
		struct iovec v[H2UP_SEND_SEGS];
		size_t asked = c->queued;
		ssize_t sent;

		if (!st->writable)
			return true;
		for (unsigned i = 0; i < c->seg_count; i++) {
			v[i].iov_base = (void *)(uintptr_t)c->seg[c->seg_first + i].p;
			v[i].iov_len = c->seg[c->seg_first + i].n;
		}
		sent = stream_write(st, v, (int)c->seg_count);
		if (sent == STREAM_AGAIN)
			return true;
		if (sent < 0)
			return false;
		consume(c, (size_t)sent);
		if ((size_t)sent < asked)
			st->writable = false;
	}
	buf_unref(c->scratch);
	c->scratch = NULL;
	*is_all = true;
	return true;
}

bool
h2up_flush(struct h2up *c)
{
	bool is_all = false;

	if (!send_queued(c, &is_all))
		return false;
	while (is_all) {
		while (make_room(c)) {
			const uint8_t *p;
			ssize_t n = nghttp2_session_mem_send(c->session, &p);

			if (n < 0)
				return false;
			if (n == 0)
				break;
			push_copy(c, p, (size_t)n);
		}
		if (c->seg_count == 0) {
			buf_unref(c->scratch);
			c->scratch = NULL;
			return true;
		}
		if (!send_queued(c, &is_all))
			return false;
	}
	return true;
}

void
h2up_out_fini(struct h2up *c)
{
	for (unsigned i = 0; i < c->seg_count; i++)
		buf_unref(c->seg[c->seg_first + i].b);
	c->seg_count = 0;
	buf_unref(c->scratch);
	c->scratch = NULL;
}
