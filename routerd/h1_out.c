/*
 * h1_out: encoding heads, chunk framing, and the queue of segments in front of the socket.
 */
#include "routerd/h1_out.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* More than this waiting for the kernel and the producer has to stop. */
#define QUEUE_HIGH (512u << 10)
/* Bodies up to this size are copied behind their head: one contiguous send costs less than a
 * gathering one. */
#define COPY_MAX 1024
/* Up to here what is queued waits for more that is there already: the first, small read of a body
 * for the second. With 96 kB 100 kB bodies cost no less. */
#define GATHER_MAX (32u << 10)

static enum sink_result out_head(struct sink *k, struct msg *m);
static enum sink_result out_data(struct sink *k, struct buf *b, const char *p, size_t n);
static enum sink_result out_end(struct sink *k, const struct field *trailers, uint16_t count);
static enum sink_result out_flush(struct sink *k);
static ssize_t out_pull(struct sink *k, struct stream *from, size_t n);
static bool out_gathers(const struct sink *k, const struct stream *from);

static const struct sink_ops h1_out_ops = { out_head, out_data, out_end, out_flush, out_pull,
	out_gathers };

static struct h1_out *
of(struct sink *k)
{
	return (struct h1_out *)((char *)k - offsetof(struct h1_out, sink));
}

void
h1_out_init(struct h1_out *o, struct loop *l, struct stream *s, struct bufs *bufs, bool is_response)
{
	memset(o, 0, offsetof(struct h1_out, seg));
	o->sink.ops = &h1_out_ops;
	o->loop = l;
	o->s = s;
	o->bufs = bufs;
	o->is_response = is_response;
	o->framing = BODY_NONE;
}

static void
drop_queue(struct h1_out *o)
{
	for (unsigned i = 0; i < o->seg_count; i++)
		buf_unref(o->seg[o->seg_first + i].b);
	if (o->pipe != NULL)
		bufs_count(o->bufs, -(int64_t)o->pipe->n);
	pipe_give(&o->bufs->pipes, &o->pipe);
	o->seg_first = 0;
	o->seg_count = 0;
	o->queued = 0;
}

void
h1_out_fini(struct h1_out *o)
{
	drop_queue(o);
	buf_unref(o->scratch);
	o->scratch = NULL;
}

void
h1_out_raw(struct h1_out *o)
{
	o->is_raw = true;
	o->ended = false;
	o->framing = BODY_UNTIL_CLOSE;
}

static enum sink_result
gone(struct h1_out *o)
{
	o->is_gone = true;
	o->error = errno;
	/* What is dropped was not sent; of framing among it so much the less is said. */
	o->body_bytes -= o->queued < o->body_bytes ? o->queued : o->body_bytes;
	drop_queue(o);
	return SINK_GONE;
}

unsigned
h1_seg_consume(struct h1_seg *seg, unsigned count, size_t n)
{
	unsigned i = 0;

	while (i < count && n >= seg[i].n) {
		n -= seg[i].n;
		buf_unref(seg[i].b);
		i++;
	}
	if (i < count) {
		seg[i].p += n;
		seg[i].n -= n;
	}
	return i;
}

size_t
h1_segs_held(const struct h1_seg *seg, unsigned count)
{
	size_t n = 0;

	for (unsigned i = 0; i < count; i++)
		if (seg[i].b != NULL && (i == 0 || seg[i].b != seg[i - 1].b))
			n += seg[i].b->cap;
	return n;
}

size_t
h1_out_held(const struct h1_out *o)
{
	if (o->queued == 0)
		return 0;
	return h1_segs_held(o->seg + o->seg_first, o->seg_count) +
		(o->pipe != NULL ? o->pipe->n : 0);
}

static void
consume(struct h1_out *o, size_t n)
{
	unsigned used = h1_seg_consume(o->seg + o->seg_first, o->seg_count, n);

	o->queued -= n;
	o->seg_first += (uint8_t)used;
	o->seg_count -= (uint8_t)used;
	if (o->seg_count > 0)
		return;
	o->seg_first = 0;
	/* Nothing refers to the scratch bytes any more, and it may be long before there are others:
	 * of a request that waits for its answer, of a tunnel. */
	if (o->scratch != NULL && o->scratch->refs == 1) {
		buf_unref(o->scratch);
		o->scratch = NULL;
	}
}

/* What waits in the pipe, in front of all segments. */
static enum sink_result
flush_pipe(struct h1_out *o)
{
	while (o->pipe->n > 0) {
		if (!o->s->writable)
			return SINK_FULL;

		ssize_t sent = o->s->ops->write_pipe(o->s, o->pipe->rd, o->pipe->n);

		if (sent == STREAM_AGAIN)
			return SINK_FULL;
		if (sent <= 0)
			return gone(o);
		o->pipe->n -= (size_t)sent;
		bufs_count(o->bufs, -(int64_t)sent);
		o->queued -= (size_t)sent;
	}
	pipe_give(&o->bufs->pipes, &o->pipe);
	return SINK_OK;
}

static enum sink_result
flush_all(struct h1_out *o)
{
	if (o->pipe != NULL) {
		enum sink_result r = flush_pipe(o);

		if (r != SINK_OK)
			return r;
	}
	while (o->seg_count > 0) {
		struct iovec v[H1_OUT_SEGS];
		size_t asked = 0;

		if (!o->s->writable)
			return SINK_FULL;
		for (unsigned i = 0; i < o->seg_count; i++) {
			v[i].iov_base = (void *)(uintptr_t)o->seg[o->seg_first + i].p;
			v[i].iov_len = o->seg[o->seg_first + i].n;
			asked += v[i].iov_len;
		}

		/* All of the last message on this connection is in v. */
		o->s->is_last = o->is_response && o->close_after && o->ended && !o->is_raw;
		o->s->is_ending = o->s->is_last && o->asked_all;

		ssize_t sent = stream_write(o->s, v, (int)o->seg_count);

		if (sent == STREAM_AGAIN)
			return SINK_FULL;
		if (sent < 0)
			return gone(o);
		consume(o, (size_t)sent);
		/* A short write means a full socket buffer: the edge will come, asking again would
		 * cost a call. */
		if ((size_t)sent < asked)
			o->s->writable = false;
	}
	/* A tunnel's half-close: the end of what came from the other side. */
	if (o->is_raw && o->ended && !o->is_shut) {
		o->is_shut = true;
		stream_shutdown(o->s);
	}
	return SINK_OK;
}

static enum sink_result
out_flush(struct sink *k)
{
	struct h1_out *o = of(k);
	size_t before = o->queued;
	enum sink_result r = o->is_gone ? SINK_GONE : flush_all(o);

	if (r != SINK_FULL)
		o->full_ms = 0;
	else if (o->full_ms == 0 || o->queued < before)
		o->full_ms = loop_now_ms(o->loop);
	return r;
}

/* Room in the scratch buffer, contiguous; starts a new one when the current one is in use and full.
 */
static char *
scratch_room(struct h1_out *o, size_t n)
{
	if (o->scratch != NULL && buf_room(o->scratch) < n) {
		buf_unref(o->scratch);
		o->scratch = NULL;
	}
	if (o->scratch == NULL) {
		o->scratch = buf_get(o->bufs, buf_class_for(n));
		if (o->scratch->cap < n) {
			buf_unref(o->scratch);
			o->scratch = NULL;
			return NULL;
		}
	}
	return o->scratch->data + o->scratch->w;
}

/* Queue one segment; joined to the last one when it follows it in memory. Flushes when the queue is
 * full. */
static void
push(struct h1_out *o, struct buf *b, const char *p, size_t n)
{
	if (n == 0 || o->is_gone)
		return;
	o->queued += n;
	if (o->seg_count > 0) {
		struct h1_seg *last = &o->seg[o->seg_first + o->seg_count - 1];

		if (last->b == b && last->p + last->n == p) {
			last->n += n;
			return;
		}
	}
	if (o->seg_first > 0 && o->seg_first + o->seg_count == H1_OUT_SEGS) {
		memmove(o->seg, o->seg + o->seg_first, o->seg_count * sizeof(o->seg[0]));
		o->seg_first = 0;
	}
	assert(o->seg_count < H1_OUT_SEGS);
	o->seg[o->seg_first + o->seg_count++] = (struct h1_seg){ b ? buf_ref(b) : NULL, p, n };
}

/* The scratch bytes [from, to) become part of the queue. */
static void
push_scratch(struct h1_out *o, const char *from, size_t n)
{
	o->scratch->w += (uint32_t)n;
	push(o, o->scratch, from, n);
}

static char *
put_lit(char *to, const char *lit, size_t n)
{
	memcpy(to, lit, n);
	return to + n;
}
#define PUT(to, lit) put_lit((to), (lit), sizeof(lit) - 1)

static char *
put_u64(char *to, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	while (n > 0)
		*to++ = digits[--n];
	return to;
}

static size_t
fields_size(const struct field *f, uint16_t count)
{
	size_t n = 0;

	for (uint16_t i = 0; i < count; i++)
		n += f[i].name.n + f[i].value.n + 4;
	return n;
}

/* Fields whose place in an HTTP/1 head is the encoder's own: framing and the connection. */
static bool
is_ours(const struct field *f)
{
	return f->id == FIELD_CONTENT_LENGTH || f->id == FIELD_HOST || f->id == FIELD_CONNECTION ||
		f->id == FIELD_TRANSFER_ENCODING;
}

static char *
put_fields(char *to, const struct msg *m, bool keep_length)
{
	for (uint16_t i = 0; i < m->field_count; i++) {
		const struct field *f = &m->fields[i];

		if (f->flags & MSG_FIELD_DROP)
			continue;
		if (is_ours(f) && !(keep_length && f->id == FIELD_CONTENT_LENGTH))
			continue;
		to = slice_put(to, f->name);
		*to++ = ':';
		*to++ = ' ';
		to = slice_put(to, f->value);
		*to++ = '\r';
		*to++ = '\n';
	}
	return to;
}

static char *
put_status_line(char *to, const struct msg *m)
{
	to = PUT(to, "HTTP/1.1 ");
	*to++ = (char)('0' + m->status / 100);
	*to++ = (char)('0' + m->status / 10 % 10);
	*to++ = (char)('0' + m->status % 10);
	*to++ = ' ';
	to = slice_put(to, m->reason);
	return PUT(to, "\r\n");
}

/* How this message's body will be delimited here, whatever delimited it where it came from. */
static enum body_kind
choose_framing(const struct h1_out *o, const struct msg *m)
{
	if (m->body == BODY_NONE || m->body == BODY_LENGTH)
		return m->body;
	if (o->is_response && o->peer_is_http10)
		return BODY_UNTIL_CLOSE;
	return BODY_CHUNKED;
}

static char *
put_response(struct h1_out *o, char *to, struct msg *m)
{
	bool bodiless = m->status == 204 || m->status == 304 || m->status < 200;

	to = put_status_line(to, m);
	/* A response without a body keeps its own Content-Length where it describes a
	 * representation (HEAD, 304). */
	to = put_fields(to, m, m->body == BODY_NONE && (o->asked_head || m->status == 304));
	if (m->body == BODY_LENGTH) {
		to = PUT(to, "Content-Length: ");
		to = put_u64(to, m->content_length);
		to = PUT(to, "\r\n");
	} else if (o->framing == BODY_CHUNKED) {
		to = PUT(to, "Transfer-Encoding: chunked\r\n");
	} else if (o->framing == BODY_NONE && !bodiless && !o->asked_head) {
		to = PUT(to, "Content-Length: 0\r\n");
	}
	if (o->upgrade.n > 0) {
		to = PUT(to, "Connection: upgrade\r\n");
	} else if (o->framing == BODY_UNTIL_CLOSE || o->close_after) {
		o->close_after = true;
		to = PUT(to, "Connection: close\r\n");
	} else if (o->peer_is_http10) {
		to = PUT(to, "Connection: keep-alive\r\n");
	}
	return PUT(to, "\r\n");
}

static char *
put_request(struct h1_out *o, char *to, struct msg *m)
{
	to = slice_put(to, m->method_name);
	*to++ = ' ';
	to = slice_put(to, o->path);
	if (o->has_query) {
		*to++ = '?';
		to = slice_put(to, o->query);
	}
	to = PUT(to, " HTTP/1.1\r\nHost: ");
	to = slice_put(to, o->authority);
	to = PUT(to, "\r\n");
	to = put_fields(to, m, false);
	if (m->body == BODY_LENGTH) {
		to = PUT(to, "Content-Length: ");
		to = put_u64(to, m->content_length);
		to = PUT(to, "\r\n");
	} else if (o->framing == BODY_CHUNKED) {
		to = PUT(to, "Transfer-Encoding: chunked\r\n");
	}
	if (o->upgrade.n > 0)
		to = PUT(to, "Connection: upgrade\r\n");
	else if (o->sends_te)
		to = PUT(to, "Connection: te\r\n");
	else if (o->close_after)
		to = PUT(to, "Connection: close\r\n");
	return PUT(to, "\r\n");
}

static size_t
head_size(const struct h1_out *o, const struct msg *m)
{
	/* 256 covers the start line's fixed parts and every line of our own. */
	return 256 + m->method_name.n + o->path.n + o->query.n + o->authority.n + m->reason.n +
		fields_size(m->fields, m->field_count);
}

static enum sink_result
out_head(struct sink *k, struct msg *m)
{
	struct h1_out *o = of(k);

	if (o->is_gone)
		return SINK_GONE;

	char *from = scratch_room(o, head_size(o, m));

	if (from == NULL) {
		errno = EMSGSIZE;
		return gone(o);
	}
	o->framing = choose_framing(o, m);
	o->left = m->body == BODY_LENGTH ? m->content_length : 0;
	o->head_done = true;

	char *to = o->is_response ? put_response(o, from, m) : put_request(o, from, m);

	push_scratch(o, from, (size_t)(to - from));
	return SINK_OK;
}

enum sink_result
h1_out_interim(struct h1_out *o, struct msg *m)
{
	if (o->is_gone)
		return SINK_GONE;

	char *from = scratch_room(o, head_size(o, m));

	if (from == NULL)
		return SINK_OK;

	char *to = put_status_line(from, m);

	to = put_fields(to, m, false);
	to = PUT(to, "\r\n");
	push_scratch(o, from, (size_t)(to - from));
	return out_flush(&o->sink);
}

static char *
put_hex(char *to, uint64_t v)
{
	static const char hex[] = "0123456789abcdef";
	char digits[16];
	size_t n = 0;

	do
		digits[n++] = hex[v & 15];
	while ((v >>= 4) > 0);
	while (n > 0)
		*to++ = digits[--n];
	return to;
}

/* A payload segment: small ones are copied, so that they join what stands before them. */
static void
push_payload(struct h1_out *o, struct buf *b, const char *p, size_t n)
{
	if (n <= COPY_MAX && o->scratch != NULL && buf_room(o->scratch) >= n + 32) {
		char *to = o->scratch->data + o->scratch->w;

		memcpy(to, p, n);
		push_scratch(o, to, n);
		return;
	}
	push(o, b, p, n);
}

static void
push_chunk(struct h1_out *o, struct buf *b, const char *p, size_t n)
{
	char *from = scratch_room(o, 32);
	char *to = put_hex(from, n);

	to = PUT(to, "\r\n");
	push_scratch(o, from, (size_t)(to - from));
	push_payload(o, b, p, n);
	from = scratch_room(o, 32);
	to = PUT(from, "\r\n");
	push_scratch(o, from, (size_t)(to - from));
}

static enum sink_result
out_data(struct sink *k, struct buf *b, const char *p, size_t n)
{
	struct h1_out *o = of(k);

	if (o->is_gone)
		return SINK_GONE;
	if (n == 0)
		return SINK_OK;
	/* A producer stops at SINK_FULL, so what one turn of it adds always fits. */
	assert(o->seg_count + 4 <= H1_OUT_SEGS);
	o->body_bytes += n;
	if (o->asked_head)
		return SINK_OK;
	switch (o->framing) {
	case BODY_NONE: return SINK_OK;
	case BODY_LENGTH:
		/* The producer keeps to the length that its head announced; more would be the next
		 * message's bytes. */
		if (n > o->left)
			n = (size_t)o->left;
		o->left -= n;
		push_payload(o, b, p, n);
		break;
	case BODY_CHUNKED: push_chunk(o, b, p, n); break;
	case BODY_UNTIL_CLOSE: push_payload(o, b, p, n); break;
	}
	return o->queued >= QUEUE_HIGH ? SINK_FULL : SINK_OK;
}

static void
push_trailers(struct h1_out *o, const struct field *f, uint16_t count)
{
	size_t need = fields_size(f, count) + 16;
	char *from = scratch_room(o, need);

	if (from == NULL)
		return;

	char *to = PUT(from, "0\r\n");

	for (uint16_t i = 0; i < count; i++) {
		if (f[i].flags & MSG_FIELD_DROP)
			continue;
		to = slice_put(to, f[i].name);
		to = PUT(to, ": ");
		to = slice_put(to, f[i].value);
		to = PUT(to, "\r\n");
	}
	to = PUT(to, "\r\n");
	push_scratch(o, from, (size_t)(to - from));
}

static enum sink_result
out_end(struct sink *k, const struct field *trailers, uint16_t count)
{
	struct h1_out *o = of(k);

	if (o->is_gone)
		return SINK_GONE;
	if (o->framing == BODY_CHUNKED && !o->asked_head)
		push_trailers(o, trailers, count);
	o->ended = true;
	return SINK_OK;
}

/* Only where the body goes out as it comes in. A pipe holds a lot when the peer does not read. */
static bool
is_pullable(const struct h1_out *o, const struct stream *from)
{
	return !o->is_gone && !o->asked_head && o->framing == BODY_LENGTH &&
		!bufs_are_tight(o->bufs) && from->ops->read_pipe != NULL;
}

static bool
out_gathers(const struct sink *k, const struct stream *from)
{
	const struct h1_out *o = (const struct h1_out *)(const void *)((const char *)k -
		offsetof(struct h1_out, sink));

	return o->queued <= GATHER_MAX && o->seg_count + 8 <= H1_OUT_SEGS &&
		!bufs_are_tight(o->bufs) &&
		(from == NULL || !is_pullable(o, from) || !stream_wants_pipe(o->s, o->left));
}

static ssize_t
out_pull(struct sink *k, struct stream *from, size_t n)
{
	struct h1_out *o = of(k);
	struct pipe *p;
	ssize_t got;

	if (o->queued > 0 || !is_pullable(o, from) || !stream_takes_pipe(o->s, o->left) ||
		(p = pipe_take(&o->bufs->pipes)) == NULL)
		return SINK_NO_PULL;
	got = from->ops->read_pipe(from, p->wr, n < o->left ? n : (size_t)o->left);
	if (got <= 0) {
		pipe_give(&o->bufs->pipes, &p);
		return got;
	}
	p->n = (size_t)got;
	o->pipe = p;
	o->queued = (size_t)got;
	bufs_count(o->bufs, got);
	o->left -= (size_t)got;
	o->body_bytes += (size_t)got;
	return got;
}

void
h1_out_writable(struct h1_out *o, struct loop *l)
{
	enum sink_result r = SINK_OK;

	if (o->queued > 0)
		r = out_flush(&o->sink);
	if (r != SINK_FULL && o->sink.producer != NULL) {
		struct run_item *item = o->sink.producer;

		o->sink.producer = NULL;
		loop_run_soon(l, item);
	}
}
