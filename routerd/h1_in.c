/*
 * h1_in: read, decode framing in place, give to the sink. Buffers grow while a body flows and go
 * back when they are empty.
 */
#include "routerd/h1_in.h"

#include <string.h>

#include "routerd/forward.h"

/* How many bytes one pump may move before others get their turn. More would be unfair, and dear:
 * what is piled up in one client's socket has left the caches before it is read (1 MB bodies cost
 * 390 us with turns of 1 MB, 290 us with these). */
#define TURN_BYTES (64u << 10)

static void again(struct run_item *item);

void
h1_in_init(
	struct h1_in *in, struct loop *l, struct stream *s, struct bufs *bufs, struct buf **inbuf)
{
	memset(in, 0, sizeof(*in));
	in->again.fn = again;
	in->loop = l;
	in->s = s;
	in->bufs = bufs;
	in->inbuf = inbuf;
	in->max_bytes = UINT64_MAX;
}

void
h1_in_body(struct h1_in *in, enum body_kind kind, uint64_t length, uint64_t max_bytes)
{
	in->kind = kind;
	in->left = length;
	in->max_bytes = max_bytes;
	in->state = H1_IN_OPEN;
}

void
h1_in_raw(struct h1_in *in)
{
	in->is_raw = true;
	in->kind = BODY_UNTIL_CLOSE;
	in->state = H1_IN_OPEN;
	in->why = H1_IN_OK;
}

void
h1_in_fini(struct h1_in *in)
{
	loop_run_cancel(in->loop, &in->again);
	if (in->to != NULL && in->to->producer == &in->again)
		in->to->producer = NULL;
	buf_unref(in->trailer_buf);
	in->trailer_buf = NULL;
}

static void
finish(struct h1_in *in, enum h1_in_state state, enum h1_in_why why)
{
	in->state = state;
	in->why = why;
	in->fn(in);
}

/* The sink has all that it gets; trailers of a chunked body go along. */
static void
end_body(struct h1_in *in)
{
	struct field trailers[32];
	uint16_t count = 0;

	if (in->kind == BODY_CHUNKED && in->chunked.trailer_len > 0 &&
		!http1_trailers(in->trailer_buf->data, in->chunked.trailer_len, trailers, 32,
			&count, &in->err)) {
		finish(in, H1_IN_FAILED, H1_IN_BAD);
		return;
	}
	forward_trailers(in->http, trailers, count);
	in->to->ops->end(in->to, trailers, count);
	finish(in, H1_IN_ENDED, H1_IN_OK);
}

/*
 * Where the next bytes go. A buffer that a sink kept, or that is full, is replaced; one that is
 * empty starts over. Full reads mean that more is coming, so the next buffer is larger, unless
 * memory is tight: whoever does not read keeps a small one then, and the others read more often.
 */
static struct buf *
room(struct h1_in *in)
{
	struct buf *b = *in->inbuf;
	bool is_tight = bufs_are_tight(in->bufs);

	if (b == NULL) {
		bool is_large = !is_tight && in->kind == BODY_LENGTH && in->left > 16384;

		b = buf_get(in->bufs, is_large ? BUF_64K : BUF_16K);
	} else if (buf_len(b) == 0 && b->refs == 1) {
		enum buf_class next = b->class;

		if (is_tight)
			next = BUF_16K;
		else if (b->w == b->cap)
			next = buf_class_above(next);
		if (next != b->class) {
			buf_unref(b);
			b = buf_get(in->bufs, next);
		}
		b->r = 0;
		b->w = 0;
	} else if (buf_len(b) == 0) {
		enum buf_class next = b->class;

		if (b->w == b->cap)
			next = buf_class_above(next);
		if (in->kind == BODY_LENGTH && in->left > 65536 && next < BUF_64K)
			next = BUF_64K;
		buf_unref(b);
		b = buf_get(in->bufs, is_tight ? BUF_16K : next);
	}
	*in->inbuf = b;
	return b;
}

static bool
has_bytes(const struct h1_in *in)
{
	return *in->inbuf != NULL && buf_len(*in->inbuf) > 0;
}

static void
drop_empty(struct h1_in *in)
{
	struct buf *b = *in->inbuf;

	if (b != NULL && buf_len(b) == 0) {
		buf_unref(b);
		*in->inbuf = NULL;
	}
}

enum take { TAKE_MORE, TAKE_ENDED, TAKE_FAILED };

static enum take
fail(struct h1_in *in, enum h1_in_why why)
{
	in->why = why;
	return TAKE_FAILED;
}

static enum take
take_chunked(struct h1_in *in, struct buf *b)
{
	size_t used = 0;
	size_t payload = 0;
	char *at = b->data + b->r;

	if (in->trailer_buf == NULL)
		in->trailer_buf = buf_get(in->bufs, BUF_16K);

	enum http1_result r = http1_chunked_feed(
		&in->chunked, at, buf_len(b), in->trailer_buf->data, &used, &payload, &in->err);

	if (r == HTTP1_BAD)
		return fail(in, H1_IN_BAD);
	b->r += (uint32_t)used;
	in->bytes += payload;
	if (in->bytes > in->max_bytes)
		return fail(in, H1_IN_TOO_LARGE);
	if (payload > 0 && in->to->ops->data(in->to, b, at, payload) == SINK_GONE)
		return fail(in, H1_IN_SINK_GONE);
	return r == HTTP1_DONE ? TAKE_ENDED : TAKE_MORE;
}

/* Give the buffered bytes that belong to this body to the sink. */
static enum take
take(struct h1_in *in, struct buf *b)
{
	size_t n = buf_len(b);

	in->is_bulk = b->w == b->cap;
	if (in->kind == BODY_CHUNKED)
		return take_chunked(in, b);
	if (in->kind == BODY_LENGTH && n > in->left)
		n = (size_t)in->left;
	b->r += (uint32_t)n;
	in->bytes += n;
	in->left -= in->kind == BODY_LENGTH ? n : 0;
	if (in->bytes > in->max_bytes)
		return fail(in, H1_IN_TOO_LARGE);
	if (in->to->ops->data(in->to, b, b->data + b->r - n, n) == SINK_GONE)
		return fail(in, H1_IN_SINK_GONE);
	return in->kind == BODY_LENGTH && in->left == 0 ? TAKE_ENDED : TAKE_MORE;
}

/* The stream ended: the body's proper end, or not. */
static enum take
take_eof(struct h1_in *in)
{
	if (in->kind == BODY_UNTIL_CLOSE)
		return TAKE_ENDED;
	return fail(in, H1_IN_EARLY_END);
}

/* One read. false when there is nothing to take now (result then in *out: TAKE_MORE means wait). */
static bool
read_some(struct h1_in *in, enum take *out)
{
	*out = TAKE_MORE;
	if (!in->s->readable)
		return false;

	struct buf *b = room(in);
	ssize_t n = stream_read(in->s, b->data + b->w, buf_room(b));

	if (n > 0) {
		b->w += (uint32_t)n;
		in->progressed = true;
		return true;
	}
	drop_empty(in);
	if (n == 0)
		*out = take_eof(in);
	else if (n == STREAM_ERROR)
		*out = fail(in, H1_IN_BROKEN);
	return false;
}

/* A rest below this is copied: that costs less than the calls that a pipe needs on top. */
#define PULL_MIN (32u << 10)
/* A pull that brought less than this was not worth it. */
#define PULL_BULK (16u << 10)

/*
 * Let the sink pull from the stream, past our memory. False: read and give; otherwise *out is as
 * with read_some, and the sink wants to be flushed when it is TAKE_MORE or TAKE_ENDED and *moved.
 */
static bool
pull(struct h1_in *in, enum take *out, bool *moved)
{
	ssize_t n = SINK_NO_PULL;

	if (in->is_bulk && in->kind == BODY_LENGTH && in->left >= PULL_MIN && in->s->readable &&
		in->to->ops->pull != NULL)
		n = in->to->ops->pull(in->to, in->s, (size_t)in->left);
	if (n == SINK_NO_PULL)
		return false;
	*moved = n > 0;
	*out = TAKE_MORE;
	if (n > 0) {
		in->is_bulk = n >= PULL_BULK;
		in->progressed = true;
		in->bytes += (uint64_t)n;
		in->left -= (uint64_t)n;
		if (in->bytes > in->max_bytes)
			*out = fail(in, H1_IN_TOO_LARGE);
		else if (in->left == 0)
			*out = TAKE_ENDED;
	} else if (n == 0) {
		*out = take_eof(in);
	} else if (n == STREAM_ERROR) {
		*out = fail(in, H1_IN_BROKEN);
	}
	return true;
}

static void
wait_for_sink(struct h1_in *in)
{
	in->state = H1_IN_PAUSED;
	in->to->producer = &in->again;
}

/* The first read of a body is a small one; what was behind it can go with it. */
static bool
may_wait(struct h1_in *in)
{
	bool is_pullable = in->kind == BODY_LENGTH && in->left >= PULL_MIN;

	return in->is_bulk && in->s->readable && in->to->ops->gathers != NULL &&
		in->to->ops->gathers(in->to, is_pullable ? in->s : NULL);
}

/* Bytes to the sink, once; false: there were none. */
static bool
move_once(struct h1_in *in, enum take *out)
{
	bool moved = true;

	if (!has_bytes(in)) {
		if (pull(in, out, &moved))
			return moved;
		if (!read_some(in, out))
			return false;
	}
	*out = take(in, *in->inbuf);
	return true;
}

/* Move bytes until something stops it; the result says what. */
static enum take
move(struct h1_in *in)
{
	uint64_t stop_at = in->bytes + TURN_BYTES;
	bool has_waiting = false;

	for (;;) {
		enum take t;
		bool moved = move_once(in, &t);

		if (moved && t == TAKE_MORE && may_wait(in)) {
			has_waiting = true;
			continue;
		}
		/* The end goes with what waits, its owner sees to that. */
		if (t == TAKE_ENDED || (!has_waiting && (t == TAKE_FAILED || !moved)))
			return t;
		has_waiting = false;

		enum sink_result r = in->to->ops->flush(in->to);

		if (t == TAKE_FAILED)
			return t;
		if (r == SINK_GONE)
			return fail(in, H1_IN_SINK_GONE);
		if (r == SINK_FULL) {
			wait_for_sink(in);
			return TAKE_MORE;
		}
		if (!moved)
			return t;
		if (in->bytes >= stop_at) {
			loop_run_soon(in->loop, &in->again);
			return TAKE_MORE;
		}
	}
}

void
h1_in_pump(struct h1_in *in)
{
	if (in->state != H1_IN_OPEN)
		return;
	if (in->kind == BODY_NONE || (in->kind == BODY_LENGTH && in->left == 0)) {
		end_body(in);
		return;
	}

	enum take t = move(in);

	drop_empty(in);
	if (t == TAKE_ENDED)
		end_body(in);
	else if (t == TAKE_FAILED)
		finish(in, H1_IN_FAILED, in->why);
}

static void
again(struct run_item *item)
{
	struct h1_in *in = (struct h1_in *)((char *)item - offsetof(struct h1_in, again));

	if (in->state == H1_IN_PAUSED)
		in->state = H1_IN_OPEN;
	h1_in_pump(in);
}
