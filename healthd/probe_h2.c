/*
 * probe_h2.c: the same request by HTTP/2, for pools whose servers speak that: prior knowledge, one
 * stream, and the status of the answer decides, or, of a grpc check, its message. What the server
 * may send is bounded by bytes; a push, a flood or a frame that is none fails the probe.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "healthd/grpccheck.h"
#include "healthd/httpcheck.h"
#include "libcommon/mem.h"
#include "libcommon/slice.h"

#define IN_MAX  (64 * 1024) /* until the head of the answer is there */
#define OUT_MAX (16 * 1024)

struct h2 {
	nghttp2_session *session;
	struct httpcheck expected;
	size_t in_len;
	char out[OUT_MAX]; /* what the socket has not taken */
	size_t out_len;
	size_t out_sent;
	unsigned status; /* of the section that is being received */
	unsigned final;  /* 0: not here yet */
	const char *bad;
	bool is_begun; /* we have said something */
	bool is_grpc;
	bool is_closed; /* the answer to it is whole */
	struct grpccheck grpc;
	char request[CHECKCFG_SERVICE_MAX + 8];
	size_t request_len;
	size_t request_sent;
};

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t namelen,
	const uint8_t *value, size_t valuelen, uint8_t flags, void *arg)
{
	struct h2 *h = arg;
	uint64_t status;

	(void)session;
	(void)frame;
	(void)flags;
	if (h->is_grpc) {
		grpccheck_field(&h->grpc, slice_make((const char *)name, namelen),
			slice_make((const char *)value, valuelen));
		return 0;
	}
	if (slice_eq(slice_make((const char *)name, namelen), SLICE(":status")) &&
		slice_to_u64(slice_make((const char *)value, valuelen), &status) && status < 600)
		h->status = (unsigned)status;
	return 0;
}

static int
on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h = arg;

	(void)session;
	if (frame->hd.type == NGHTTP2_HEADERS && h->final == 0 && h->status >= 200)
		h->final = h->status;
	/* A goodbye that comes with the answer, or in front of it, says nothing of this stream. */
	return 0;
}

static int
on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct h2 *h = arg;

	(void)session;
	(void)id;
	if (h->is_grpc && error == NGHTTP2_NO_ERROR)
		h->is_closed = true;
	else if (h->final == 0)
		h->bad = error == NGHTTP2_REFUSED_STREAM ? "stream_refused" : "stream_reset";
	return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct h2 *h = arg;

	(void)session;
	(void)flags;
	(void)id;
	if (h->is_grpc)
		grpccheck_data(&h->grpc, (const char *)p, n);
	return 0;
}

static ssize_t
read_request(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct h2 *h = source->ptr;
	size_t left = h->request_len - h->request_sent;

	(void)session;
	(void)id;
	(void)arg;
	if (n > left)
		n = left;
	memcpy(buf, h->request + h->request_sent, n);
	h->request_sent += n;
	if (n == left)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

struct fields {
	nghttp2_nv *nv;
	size_t n;
};

static void
add_field(void *arg, const char *name, const char *value)
{
	struct fields *f = arg;

	f->nv[f->n++] = (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name,
		.namelen = strlen(name),
		.value = (uint8_t *)(uintptr_t)value,
		.valuelen = strlen(value),
	};
}

/* nghttp2 copies what it is given, names in lower case. */
static void
submit(struct h2 *h, const struct probe_to *to)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 16384 },
	};
	const size_t max = 6 + HTTPCHECK_OURS + to->check->headers.n;
	nghttp2_data_provider body = { .source.ptr = h, .read_callback = read_request };
	struct fields f = { .nv = xmalloc(max * sizeof(*f.nv)) };

	add_field(&f, ":method", h->is_grpc ? "POST" : to->check->method);
	add_field(&f, ":scheme", to->tls != NULL ? "https" : "http");
	add_field(&f, ":authority", httpcheck_host(to));
	add_field(&f, ":path", h->is_grpc ? GRPCCHECK_PATH : to->check->path);
	if (h->is_grpc) {
		add_field(&f, "content-type", "application/grpc");
		add_field(&f, "te", "trailers");
	}
	httpcheck_fields(to->check, add_field, &f);
	nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, 2);
	nghttp2_submit_request(h->session, NULL, f.nv, f.n, h->is_grpc ? &body : NULL, NULL);
	free(f.nv);
}

static void *
h2_new(const struct probe_to *to)
{
	struct h2 *h = xcalloc(1, sizeof(*h));
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		abort();
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	if (nghttp2_session_client_new(&h->session, cb, h) != 0)
		abort();
	nghttp2_session_callbacks_del(cb);
	httpcheck_init(&h->expected, to->check);
	h->is_grpc = to->check->kind == CHECK_GRPC;
	grpccheck_init(&h->grpc);
	if (h->is_grpc)
		h->request_len = grpccheck_request(
			to->check->service != NULL ? to->check->service : "", h->request);
	submit(h, to);
	return h;
}

static void
h2_free(void *state)
{
	struct h2 *h = state;

	nghttp2_session_del(h->session);
	httpcheck_fini(&h->expected);
	free(h);
}

static enum probe_io
send_frames(struct probe *p, struct h2 *h)
{
	for (;;) {
		const uint8_t *frame;
		ssize_t n;
		enum probe_io io = probe_send(p, h->out, h->out_len, &h->out_sent);

		if (io != PROBE_DONE)
			return io;
		h->out_sent = 0;
		h->out_len = 0;
		n = nghttp2_session_mem_send(h->session, &frame);
		if (n == 0)
			return PROBE_DONE;
		if (n < 0 || n > OUT_MAX) {
			probe_finish(p, PROBE_FAILED, "bad_answer", false);
			return PROBE_OVER;
		}
		memcpy(h->out, frame, (size_t)n);
		h->out_len = (size_t)n;
	}
}

static void
judge_grpc(struct probe *p, const struct h2 *h)
{
	char text[32];
	const char *reason;
	bool is_good = grpccheck_judge(&h->grpc, text, &reason);

	probe_finish(p, is_good ? PROBE_GOOD : PROBE_FAILED, reason, false);
}

/* true when there is a verdict. */
static bool
take(struct probe *p, struct h2 *h, const char *in, size_t n)
{
	h->in_len += n;
	if (nghttp2_session_mem_recv(h->session, (const uint8_t *)in, n) < 0)
		h->bad = "bad_answer";
	if (h->is_closed)
		judge_grpc(p, h);
	else if (h->final != 0)
		httpcheck_judge(p, &h->expected, h->final, false);
	else if (h->bad != NULL)
		probe_finish(p, PROBE_FAILED, h->bad, false);
	else if (h->in_len > IN_MAX)
		probe_finish(p, PROBE_FAILED, "head_too_long", false);
	else
		return false;
	return true;
}

/* PROBE_WAITS: for more of it. */
static enum probe_io
hear(struct probe *p, struct h2 *h)
{
	char in[4096];
	size_t n;

	for (;;) {
		enum probe_io io;

		if (!nghttp2_session_want_read(h->session)) {
			probe_finish(p, PROBE_FAILED, "bad_answer", false);
			return PROBE_OVER;
		}
		io = probe_recv(p, in, sizeof(in), &n);
		if (io != PROBE_DONE)
			return io;
		if (take(p, h, in, n))
			return PROBE_OVER;
		/* It may want to answer. */
		if (h->is_begun && nghttp2_session_want_write(h->session))
			return PROBE_DONE;
	}
}

static void
h2_step(struct probe *p, void *state)
{
	struct h2 *h = state;

	/* What the server has said before anything was asked is no answer: heard first, an answer
	 * among it breaks the protocol. */
	if (!h->is_begun && hear(p, h) == PROBE_OVER)
		return;
	h->is_begun = true;
	do
		if (send_frames(p, h) != PROBE_DONE)
			return;
	while (hear(p, h) == PROBE_DONE);
}

const struct probe_kind probe_h2 = { h2_new, h2_free, h2_step };
