/*
 * probe_h2.c: the same request by HTTP/2, for pools whose servers speak that: prior knowledge, one
 * stream, and the status of the answer decides. What the server may send is bounded by bytes; a
 * push, a flood or a frame that is none fails the probe.
 */
#include "healthd/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nghttp2/nghttp2.h>

#include "libcommon/busmsg.h"
#include "libcommon/mem.h"
#include "libcommon/slice.h"

#define IN_MAX     (64 * 1024) /* until the head of the answer is there */
#define OUT_MAX    (16 * 1024)
#define FIELDS_MAX 64

struct h2 {
	nghttp2_session *session;
	struct cfg_range *ranges;
	size_t range_count;
	size_t in_len;
	char out[OUT_MAX]; /* what the socket has not taken */
	size_t out_len;
	size_t out_sent;
	unsigned status; /* of the section that is being received */
	unsigned final;  /* 0: not here yet */
	const char *bad;
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
	if (h->final == 0)
		h->bad = error == NGHTTP2_REFUSED_STREAM ? "stream_refused" : "stream_reset";
	return 0;
}

static nghttp2_nv
nv_of(const char *name, const char *value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name,
		.namelen = strlen(name),
		.value = (uint8_t *)(uintptr_t)value,
		.valuelen = strlen(value),
	};
}

/* The address without its scheme; a Unix path is no host. */
static const char *
authority_of(const struct checkcfg *c, const char *host_text)
{
	if (c->host)
		return c->host;
	if (strncmp(host_text, "https://", 8) == 0)
		host_text += 8;
	else if (strncmp(host_text, "http://", 7) == 0)
		host_text += 7;
	return strncmp(host_text, "unix:", 5) == 0 ? "localhost" : host_text;
}

/* nghttp2 copies what it is given, names in lower case. */
static void
submit(struct h2 *h, const struct checkcfg *c, const char *host_text)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 16384 },
	};
	nghttp2_nv nv[FIELDS_MAX];
	size_t n = 0;

	nv[n++] = nv_of(":method", c->method);
	nv[n++] = nv_of(":scheme", "http");
	nv[n++] = nv_of(":authority", authority_of(c, host_text));
	nv[n++] = nv_of(":path", c->path);
	nv[n++] = nv_of("user-agent", "weir-healthd/" WEIR_VERSION);
	for (size_t i = 0; i < c->headers.n && n < FIELDS_MAX; i++) {
		const struct cfg_pair *f = CFG_AT(const struct cfg_pair, c->headers, i);

		nv[n++] = nv_of(f->name, f->value);
	}
	nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, 2);
	nghttp2_submit_request(h->session, NULL, nv, n, NULL, NULL);
}

static void *
h2_new(const struct checkcfg *check, const char *host_text)
{
	struct h2 *h = xcalloc(1, sizeof(*h));
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		abort();
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	if (nghttp2_session_client_new(&h->session, cb, h) != 0)
		abort();
	nghttp2_session_callbacks_del(cb);
	h->range_count = check->status.n;
	h->ranges = xmalloc(h->range_count * sizeof(*h->ranges) + 1);
	memcpy(h->ranges, check->status.v, h->range_count * sizeof(*h->ranges));
	submit(h, check, host_text);
	return h;
}

static void
h2_free(void *state)
{
	struct h2 *h = state;

	nghttp2_session_del(h->session);
	free(h->ranges);
	free(h);
}

static void
judge(struct probe *p, const struct h2 *h)
{
	char reason[BUSMSG_WORD_MAX];
	bool is_good = false;

	for (size_t i = 0; i < h->range_count; i++)
		if ((int)h->final >= h->ranges[i].lo && (int)h->final <= h->ranges[i].hi)
			is_good = true;
	snprintf(reason, sizeof(reason), "http_%u", h->final);
	probe_finish(p, is_good ? PROBE_GOOD : PROBE_FAILED, is_good ? "" : reason, false);
}

/* true when all that is to be said was sent. */
static bool
send_frames(struct probe *p, struct h2 *h)
{
	for (;;) {
		const uint8_t *frame;
		ssize_t n;

		while (h->out_sent < h->out_len) {
			n = probe_send(p, h->out + h->out_sent, h->out_len - h->out_sent);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 && errno == EAGAIN) {
				probe_wait(p, LOOP_WRITE);
				return false;
			}
			if (n < 0) {
				probe_broken(p, errno);
				return false;
			}
			h->out_sent += (size_t)n;
		}
		h->out_sent = 0;
		h->out_len = 0;
		n = nghttp2_session_mem_send(h->session, &frame);
		if (n == 0)
			return true;
		if (n < 0 || n > OUT_MAX) {
			probe_finish(p, PROBE_FAILED, "bad_answer", false);
			return false;
		}
		memcpy(h->out, frame, (size_t)n);
		h->out_len = (size_t)n;
	}
}

/* true when there is a verdict. */
static bool
take(struct probe *p, struct h2 *h, const char *in, size_t n)
{
	h->in_len += n;
	if (nghttp2_session_mem_recv(h->session, (const uint8_t *)in, n) < 0)
		h->bad = "bad_answer";
	if (h->final != 0)
		judge(p, h);
	else if (h->bad != NULL)
		probe_finish(p, PROBE_FAILED, h->bad, false);
	else if (h->in_len > IN_MAX)
		probe_finish(p, PROBE_FAILED, "head_too_long", false);
	else
		return false;
	return true;
}

static void
h2_step(struct probe *p, void *state)
{
	struct h2 *h = state;
	char in[4096];

	while (send_frames(p, h)) {
		ssize_t n;

		if (!nghttp2_session_want_read(h->session)) {
			probe_finish(p, PROBE_FAILED, "bad_answer", false);
			return;
		}
		n = probe_recv(p, in, sizeof(in));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			probe_wait(p, LOOP_READ);
			return;
		}
		if (n < 0) {
			probe_broken(p, errno);
			return;
		}
		if (n == 0) {
			probe_finish(p, PROBE_FAILED, "closed", false);
			return;
		}
		if (take(p, h, in, (size_t)n))
			return;
	}
}

const struct probe_kind probe_h2 = { h2_new, h2_free, h2_step };
