/*
 * codec_h1: reads heads off a connection and starts requests, one at a time; what a client
 * pipelines behind one waits in the socket or the buffer. The request's client side is h1_client.c.
 */
#include "routerd/codec_h1.h"

#include <string.h>

#include "routerd/codec_h2.h"
#include "routerd/h1_client.h"
#include "routerd/request.h"
#include "routerd/worker_state.h"

static void refuse(struct conn *c, uint16_t status, const char *reason);

/* Room behind the bytes of a head that is not complete yet; false when no buffer is large enough.
 */
static bool
make_room(struct conn *c)
{
	struct buf *b = c->in;

	if (b == NULL) {
		c->in = buf_get(&c->w->bufs, BUF_16K);
		return true;
	}
	if (b->refs == 1 && buf_len(b) == 0) {
		b->r = 0;
		b->w = 0;
		return true;
	}
	if (b->refs == 1 && buf_room(b) > 0)
		return true;

	size_t n = buf_len(b);
	struct buf *bigger = buf_get(&c->w->bufs, buf_class_for(2 * n));

	if (n >= bigger->cap) {
		buf_unref(bigger);
		return false;
	}
	memcpy(bigger->data, b->data + b->r, n);
	bigger->w = (uint32_t)n;
	buf_unref(b);
	c->in = bigger;
	return true;
}

/* One read; false when there is nothing more now, or the connection is gone. */
static bool
fill(struct conn *c)
{
	ssize_t n;

	if (!c->s.readable)
		return false;
	if (!make_room(c)) {
		refuse(c, 431, "head_too_large");
		return false;
	}
	n = stream_read(&c->s, c->in->data + c->in->w, buf_room(c->in));
	if (n > 0) {
		c->in->w += (uint32_t)n;
		if (c->first_us == 0)
			c->first_us = loop_now_us(c->w->loop);
		return true;
	}
	if (n == 0 || n == STREAM_ERROR) {
		conn_close(c);
		return false;
	}
	if (buf_len(c->in) == 0) {
		buf_unref(c->in);
		c->in = NULL;
	}
	return false;
}

static void
begin(struct conn *c, struct request *r, const struct msg *m)
{
	struct client *cl = h1_client_new(c, m);
	struct buf *head = c->in;
	/* Bytes that were read with something else have no time of their own. */
	uint64_t first_us = c->first_us ? c->first_us : loop_now_us(c->w->loop);

	head->r += (uint32_t)m->head_len;
	deadline_clear(&c->dl);
	/* The request keeps the buffer for its head; the connection only for what stands behind it.
	 */
	if (buf_len(head) == 0)
		c->in = NULL;
	else
		buf_ref(head);
	request_start(r, cl, head, first_us);
	h1_client_arm(c, cl);
}

static void
refuse_head(struct conn *c, struct request *r, uint16_t status, const char *reason)
{
	struct msg *m = request_msg(r);
	struct client *cl;
	struct buf *head = c->in;

	/* Whatever was parsed of it must not be believed. */
	m->keep_alive = false;
	m->body = BODY_NONE;
	m->version_minor = 1;
	cl = h1_client_new(c, m);
	h1_client_disbelieve(c);
	deadline_clear(&c->dl);
	c->in = NULL;
	request_refuse(r, cl, head, c->first_us, status, reason);
	h1_client_arm(c, cl);
}

/* A request that never became one. */
static void
refuse(struct conn *c, uint16_t status, const char *reason)
{
	struct request *r = request_new(c->w);

	refuse_head(c, r, status, reason);
}

static void
h1_head_late(struct conn *c)
{
	refuse(c, 408, "head_timeout");
}

/* What is no HTTP/1 may be HTTP/2. Asked only then, so that it costs nobody anything. */
static enum h2_preface
preface(const struct conn *c)
{
	if (!conn_takes_h2(c))
		return H2_PREFACE_NO;
	return codec_h2_preface(c->in->data + c->in->r, buf_len(c->in));
}

static void
h1_read(struct conn *c)
{
	const struct snapshot *s = c->w->snap->s;

	if (c->in == NULL || buf_len(c->in) == 0)
		if (!fill(c))
			return;
	for (;;) {
		struct request *r = request_new(c->w);
		struct msg *m = request_msg(r);
		struct http1_error err;
		enum http1_result result = http1_request(&c->scan, c->in->data + c->in->r,
			buf_len(c->in), &s->request_limits, m, &err);

		if (result == HTTP1_DONE) {
			begin(c, r, m);
			return;
		}
		if (result == HTTP1_BAD) {
			enum h2_preface is = preface(c);

			if (is == H2_PREFACE_NO) {
				refuse_head(c, r, err.status, err.reason);
				return;
			}
			if (is == H2_PREFACE_YES) {
				request_drop(r);
				codec_h2_start(c);
				return;
			}
		}
		request_drop(r);
		if (c->state == CONN_IDLE) {
			c->state = CONN_HEAD;
			if (c->first_us == 0)
				c->first_us = loop_now_us(c->w->loop);
			deadline_set(c->w->loop, &c->dl, s->timeouts.head);
		}
		if (!fill(c))
			return;
	}
}

/* The answer in progress is the last one: request.c says so when it writes its head. */
static void
h1_drain(struct conn *c)
{
	(void)c;
}

const struct conn_codec codec_h1 = {
	.read = h1_read,
	.head_late = h1_head_late,
	.event = h1_client_event,
	.deadline = h1_client_deadline,
	.drain = h1_drain,
	.cut = h1_client_cut,
	.abort = h1_client_cut,
	.held = h1_client_held,
	.shed = h1_client_shed,
};
