/*
 * codec_h2_answer: the sink of a stream's response: the head goes to nghttp2 at once, what follows
 * waits here for frames (codec_h2_out.c takes it) and for the client's window.
 */
#include <assert.h>
#include <string.h>

#include "routerd/codec_h2_int.h"
#include "routerd/h2_nv.h"

/* Small pieces of a response are joined: whoever does not read must not keep a large buffer each.
 */
#define JOIN_MAX 4096

static struct h2_stream *
of_sink(struct sink *k)
{
	return (struct h2_stream *)((char *)k - offsetof(struct h2_stream, out));
}

struct nva {
	nghttp2_nv v[REQUEST_FIELDS + 2];
	size_t n;
	char status[3];
	char length[20];
};

static void
nva_add(struct nva *a, struct slice name, struct slice value)
{
	a->v[a->n++] = (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name.p,
		.value = (uint8_t *)(uintptr_t)(value.p != NULL ? value.p : ""),
		.namelen = name.n,
		.valuelen = value.n,
	};
}

static void
nva_status(struct nva *a, uint16_t status)
{
	a->n = 0;
	a->status[0] = (char)('0' + status / 100);
	a->status[1] = (char)('0' + status / 10 % 10);
	a->status[2] = (char)('0' + status % 10);
	nva_add(a, SLICE(":status"), slice_make(a->status, 3));
}

static void
nva_fields(struct nva *a, const struct msg *m, bool keep_length)
{
	for (uint16_t i = 0; i < m->field_count; i++) {
		const struct field *f = &m->fields[i];

		if (h2_nv_is_left_out(f) || (f->id == FIELD_CONTENT_LENGTH && !keep_length))
			continue;
		nva_add(a, f->name, f->value);
	}
}

static void
nva_length(struct nva *a, uint64_t v)
{
	char *at = a->length + sizeof(a->length);
	const char *end = at;

	do
		*--at = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	nva_add(a, SLICE("content-length"), slice_make(at, (size_t)(end - at)));
}

static bool
has_body(const struct h2_stream *st, const struct msg *m)
{
	if (st->asked_head || m->status == 204 || m->status == 304)
		return false;
	return m->body != BODY_NONE && !(m->body == BODY_LENGTH && m->content_length == 0);
}

static enum sink_result
submit_head(struct h2_stream *st, const struct nva *a, bool is_end)
{
	nghttp2_data_provider body = { .source.ptr = st, .read_callback = h2_out_read };

	if (nghttp2_submit_response(st->x->session, st->id, a->v, a->n, is_end ? NULL : &body) !=
		0) {
		st->is_gone = true;
		return SINK_GONE;
	}
	st->head_done = true;
	st->drops_body = is_end;
	return SINK_OK;
}

/* A server that answers an upgrade with success, but does not switch: to a client of HTTP/2 that
 * would be the tunnel (RFC 8441 §4). */
static void
refuse_success(struct msg *m)
{
	if (m->status < 200 || m->status > 299)
		return;
	m->status = 502;
	m->field_count = 0;
	m->body = BODY_NONE;
	memset(m->first, 0, sizeof(m->first));
}

static enum sink_result
out_head(struct sink *k, struct msg *m)
{
	struct h2_stream *st = of_sink(k);
	struct nva a;
	bool body;

	if (st->is_gone)
		return SINK_GONE;
	if (st->is_connect)
		refuse_success(m);
	body = has_body(st, m);
	nva_status(&a, m->status);
	nva_fields(&a, m, m->body == BODY_NONE && (st->asked_head || m->status == 304));
	if (m->body == BODY_LENGTH)
		nva_length(&a, m->content_length);
	return submit_head(st, &a, !body);
}

static void
join_piece(struct h2_stream *st, const char *p, size_t n)
{
	struct h1_seg *last =
		st->seg_count > 0 ? &st->seg[st->seg_first + st->seg_count - 1] : NULL;
	struct buf *b = last != NULL ? last->b : NULL;
	bool fits = b != NULL && b->refs == 1 && last->p + last->n == b->data + b->w &&
		buf_room(b) >= n;

	if (!fits) {
		b = buf_get(&st->cl.w->bufs, BUF_16K);
		last = &st->seg[st->seg_first + st->seg_count++];
		*last = (struct h1_seg){ b, b->data, 0 };
	}
	memcpy(b->data + b->w, p, n);
	b->w += (uint32_t)n;
	last->n += n;
}

bool
h2_answer_is_full(const struct h2_stream *st)
{
	bool is_much = st->x->queued >= H2_CONN_OUT_HIGH || bufs_are_tight(&st->cl.w->bufs);

	return st->queued >= (is_much ? H2_OUT_LOW : H2_OUT_HIGH) ||
		st->seg_count + 2 > H2_OUT_SEGS;
}

static enum sink_result
out_data(struct sink *k, struct buf *b, const char *p, size_t n)
{
	struct h2_stream *st = of_sink(k);

	if (st->is_gone)
		return SINK_GONE;
	if (n == 0 || st->drops_body)
		return SINK_OK;
	if (st->seg_count == 0)
		st->since_ms = loop_now_ms(st->cl.w->loop);
	if (st->seg_first + st->seg_count == H2_OUT_SEGS && st->seg_first > 0) {
		memmove(st->seg, st->seg + st->seg_first, st->seg_count * sizeof(st->seg[0]));
		st->seg_first = 0;
	}
	/* A producer stops at SINK_FULL, so what one turn of it adds always fits. */
	assert(st->seg_count < H2_OUT_SEGS);
	if (n <= JOIN_MAX && (st->seg_count > 0 || (b != NULL && b->class > BUF_16K)))
		join_piece(st, p, n);
	else
		st->seg[st->seg_first + st->seg_count++] =
			(struct h1_seg){ b != NULL ? buf_ref(b) : NULL, p, n };
	st->queued += n;
	st->x->queued += n;
	if (st->is_deferred) {
		st->is_deferred = false;
		nghttp2_session_resume_data(st->x->session, st->id);
	}
	return h2_answer_is_full(st) ? SINK_FULL : SINK_OK;
}

static enum sink_result
out_end(struct sink *k, const struct field *trailers, uint16_t count)
{
	struct h2_stream *st = of_sink(k);

	if (st->is_gone)
		return SINK_GONE;
	st->out_ended = true;
	st->since_ms = loop_now_ms(st->cl.w->loop);
	if (count > 0 && !st->drops_body)
		st->trailers = h2_nv_keep(trailers, count, &st->trailer_count);
	if (st->is_deferred) {
		st->is_deferred = false;
		nghttp2_session_resume_data(st->x->session, st->id);
	}
	return SINK_OK;
}

/* Frames leave at the end of the turn, all streams' together. */
static enum sink_result
out_flush(struct sink *k)
{
	struct h2_stream *st = of_sink(k);

	if (st->is_gone)
		return SINK_GONE;
	h2_soon(st->x);
	return h2_answer_is_full(st) ? SINK_FULL : SINK_OK;
}

const struct sink_ops h2_sink_ops = {
	.head = out_head, .data = out_data, .end = out_end, .flush = out_flush
};

void
h2_answer_interim(struct client *cl, struct msg *m)
{
	struct h2_stream *st = (struct h2_stream *)((char *)cl - offsetof(struct h2_stream, cl));
	struct nva a;

	bool is_awaited = m->status == 100 && cl->awaits_continue;

	/* Whoever does not read gets none; anybody may leave them out, but for the one that is
	 * waited for. */
	if (st->is_gone || st->head_done || (st->x->held != NULL && !is_awaited))
		return;
	nva_status(&a, m->status);
	nva_fields(&a, m, false);
	nghttp2_submit_headers(st->x->session, NGHTTP2_FLAG_NONE, st->id, NULL, a.v, a.n, NULL);
	if (is_awaited) {
		cl->awaits_continue = false;
		st->body_since_ms = st->since_ms = loop_now_ms(cl->w->loop);
	}
	h2_soon(st->x);
}

void
h2_answer_switched(struct h2_stream *st, const struct msg *m)
{
	struct nva a;

	nva_status(&a, 200);
	for (uint16_t i = 0; i < m->field_count; i++) {
		const struct field *f = &m->fields[i];

		if (!h2_nv_is_left_out(f) && f->id != FIELD_CONTENT_LENGTH &&
			!slice_caseeq(f->name, SLICE("sec-websocket-accept")))
			nva_add(&a, f->name, f->value);
	}
	(void)submit_head(st, &a, false);
}
