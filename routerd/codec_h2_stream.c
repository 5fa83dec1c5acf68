/*
 * codec_h2_stream: one stream: the request's client side, its deadlines, its start and its end.
 * It lives until both the request and nghttp2 have let go of it.
 */
#include <string.h>

#include "routerd/codec_h2_int.h"
#include "routerd/wskey.h"

/* A body's average rate is judged after this time. */
#define RATE_AFTER_MS 10000
/* Between an answer and the reset of its stream, when the body has not ended. */
#define LINGER_MS 1000

static const struct client_ops h2_client_ops;

static struct h2_stream *
of(struct client *cl)
{
	return (struct h2_stream *)((char *)cl - offsetof(struct h2_stream, cl));
}

/* --- life --- */

static void
drop_out(struct h2_stream *st)
{
	for (unsigned i = 0; i < st->seg_count; i++)
		buf_unref(st->seg[st->seg_first + i].b);
	st->seg_first = st->seg_count = 0;
	st->x->queued -= st->queued;
	st->queued = 0;
}

static void
release(void *p)
{
	struct h2_stream *st = p;

	freelist_give(&st->cl.w->h2->streams, st);
}

static void
leave_ending(struct h2 *x, struct h2_stream *st)
{
	struct h2_stream **at = &x->ending;

	while (*at != st)
		at = &(*at)->next_ending;
	*at = st->next_ending;
	if (x->ending_tail == &st->next_ending)
		x->ending_tail = at;
	st->is_ending = false;
}

void
h2_stream_free(struct h2_stream *st)
{
	struct h2 *x = st->x;

	if (st->is_ending)
		leave_ending(x, st);
	if (x->fed == st)
		x->fed = NULL;
	*st->link = st->next;
	if (st->next != NULL)
		st->next->link = st->link;
	loop_defer(st->cl.w->loop, release, st);
}

void
h2_stream_reset(struct h2_stream *st, uint32_t error)
{
	if (st->is_reset || st->is_closed || st->x->is_dead)
		return;
	st->is_reset = true;
	if (!st->in_ended)
		h2_guard_cut(st->x);
	nghttp2_submit_rst_stream(st->x->session, NGHTTP2_FLAG_NONE, st->id, error);
	h2_soon(st->x);
}

void
h2_stream_closed(struct h2_stream *st)
{
	/* It has ended by itself, or as we meant it to; its last bytes may still have to be sent.
	 */
	bool is_over = (st->is_ending || st->is_sent) && (st->in_ended || st->is_malformed);

	st->is_closed = true;
	if (st->is_done) {
		h2_stream_free(st);
	} else if (!is_over) {
		st->is_gone = true;
		request_client_left(st->cl.req);
	}
}

/*
 * The answer was complete, and the rest of the body is not wanted: RFC 9113 §8.1 would have the
 * stream reset with NO_ERROR. Clients are about that do not look at an answer any more when that
 * comes with it, so they get a while to see it; more than its window nobody sends meanwhile.
 */
static void
linger(struct h2_stream *st)
{
	st->since_ms = loop_now_ms(st->cl.w->loop);
	h2_deadline(st->x, LINGER_MS);
}

static void
stream_done(struct client *cl, enum client_end how)
{
	struct h2_stream *st = of(cl);
	struct h2 *x = st->x;

	loop_run_cancel(cl->w->loop, &st->again);
	if (st->to != NULL && st->to->producer == &st->again)
		st->to->producer = NULL;
	st->to = NULL;
	if (x->fed == st)
		x->fed = NULL;
	st->is_done = true;
	if (--x->active == 0)
		h2_idle(x);
	h2_wait_drop(st);
	drop_out(st);
	if (st->trailing != NULL)
		arena_fini(&st->trailing->arena);
	free(st->trailing);
	free(st->trailers);
	st->trailing = NULL;
	st->trailers = NULL;
	if (how == CLIENT_CUT && st->is_sent)
		h2_stream_reset(st, NGHTTP2_NO_ERROR);
	else if (how != CLIENT_KEEP)
		h2_stream_reset(st,
			st->bad != NULL       ? NGHTTP2_PROTOCOL_ERROR
				: st->is_late ? NGHTTP2_CANCEL
					      : NGHTTP2_INTERNAL_ERROR);
	else if (!st->in_ended)
		linger(st);
	if (st->is_closed)
		h2_stream_free(st);
	/* Those that linger are looked at also when the connection is idle for the rest. */
	if (x->active == 0 && x->streams != NULL && !x->is_dead)
		h2_deadline(x, LINGER_MS);
	h2_soon(x);
}

void
h2_stream_sent(struct h2_stream *st)
{
	st->is_sent = true;
	if (!st->is_done)
		request_flushed(st->cl.req);
}

/* --- the rest of the client side --- */

/* The connection goes on; what is left of the body is not wanted, and is told so at the end. */
static void
stream_close_after(struct client *cl)
{
	(void)cl;
}

/* The server's consent stands for ours; its handshake is between it and us. */
static void
stream_tunnel(struct client *cl, struct msg *m, struct sink *to)
{
	struct h2_stream *st = of(cl);
	const struct field *accept = msg_find(m, SLICE("sec-websocket-accept"));

	st->is_tunnel = true;
	st->kind = BODY_UNTIL_CLOSE;
	st->max_body = UINT64_MAX;
	st->is_told = false;
	cl->body_ended = false;
	st->bad_accept = accept == NULL || !wskey_accepts(st->ws_key, accept->value);
	if (st->bad_accept) {
		loop_run_soon(cl->w->loop, &st->again);
		return;
	}
	h2_answer_switched(st, m);
	h2_body_to(cl, to);
}

static void
stream_limits(struct client *cl, const struct timeouts *t, uint64_t max_body)
{
	struct h2_stream *st = of(cl);
	uint32_t ms = t->send < t->body ? t->send : t->body;

	st->timeouts = t;
	st->max_body = max_body;
	h2_deadline(st->x, ms < STREAM_LOOK_MS ? ms : STREAM_LOOK_MS);
}

static bool
stream_is_flushed(const struct client *cl)
{
	return ((const struct h2_stream *)(const void *)cl)->is_sent;
}

static struct client_bytes
stream_bytes(const struct client *cl)
{
	const struct h2_stream *st = (const struct h2_stream *)(const void *)cl;

	return (struct client_bytes){ .in = st->in_bytes, .out = st->out_bytes };
}

static const struct client_ops h2_client_ops = {
	.body_to = h2_body_to,
	.interim = h2_answer_interim,
	.close_after = stream_close_after,
	.tunnel = stream_tunnel,
	.limits = stream_limits,
	.is_flushed = stream_is_flushed,
	.bytes = stream_bytes,
	.done = stream_done,
};

/* --- deadlines --- */

enum wait { WAIT_NOTHING, WAIT_BODY, WAIT_SEND };

static enum wait
waits_for(const struct h2_stream *st)
{
	if (st->queued > 0 || (st->out_ended && !st->is_sent))
		return WAIT_SEND;
	if (!st->is_tunnel && st->to != NULL && !st->is_paused && !st->in_ended &&
		!st->cl.awaits_continue)
		return WAIT_BODY;
	return WAIT_NOTHING;
}

static bool
is_crawling(const struct h2_stream *st, uint64_t now_ms)
{
	uint64_t rate = st->cl.w->snap->s->http->limits.body_rate;
	uint64_t ms = now_ms - st->body_since_ms;

	return rate > 0 && ms > RATE_AFTER_MS && st->in_bytes * 1000 / ms < rate;
}

uint64_t
h2_stream_look(struct h2_stream *st, uint64_t now_ms)
{
	/* Its timeouts have gone with the request. */
	if (st->is_done) {
		if (!st->is_reset && now_ms - st->since_ms >= LINGER_MS)
			h2_stream_reset(st, NGHTTP2_NO_ERROR);
		return UINT64_MAX;
	}

	const struct timeouts *t = st->timeouts;
	enum wait wait = waits_for(st);
	uint64_t ms = st->is_tunnel ? t->tunnel : wait == WAIT_BODY ? t->body : t->send;
	uint64_t due = st->since_ms + ms;

	if (wait == WAIT_NOTHING)
		return UINT64_MAX;
	if (due > now_ms && !(wait == WAIT_BODY && is_crawling(st, now_ms)))
		return due - now_ms;
	st->is_late = true;
	worker_count(st->cl.w, STAT_CLIENT_TIMEOUT);
	if (wait == WAIT_SEND)
		worker_count(st->cl.w, STAT_H2_STALLS);
	request_client_timeout(st->cl.req, wait == WAIT_BODY);
	return UINT64_MAX;
}

/* --- start --- */

static struct h2_stream *
stream_new(struct h2 *x, int32_t id, const struct msg *m, bool is_end)
{
	struct worker *w = x->c->w;
	struct h2_stream *st = freelist_take(&x->env->streams);

	memset(st, 0, offsetof(struct h2_stream, seg));
	st->cl.ops = &h2_client_ops;
	st->cl.w = w;
	st->cl.conn = x->c;
	st->cl.out = &st->out;
	st->out.ops = &h2_sink_ops;
	st->again.fn = h2_body_again;
	st->x = x;
	st->id = id;
	st->timeouts = &w->snap->s->timeouts;
	st->in_ended = is_end;
	st->kind = m->body;
	st->length = m->content_length;
	st->max_body = UINT64_MAX;
	st->since_ms = loop_now_ms(w->loop);
	st->asked_head = m->method == METHOD_HEAD;
	st->cl.body_ended =
		m->body == BODY_NONE || (m->body == BODY_LENGTH && m->content_length == 0);
	/* The request will not ask for it. */
	st->is_told = st->cl.body_ended;
	st->cl.awaits_continue = !st->cl.body_ended && m->expect_continue;
	st->link = &x->streams;
	st->next = x->streams;
	if (st->next != NULL)
		st->next->link = &st->next;
	x->streams = st;
	x->active++;
	nghttp2_session_set_stream_user_data(x->session, id, st);
	if (x->has_priority)
		nghttp2_session_change_extpri_stream_priority(x->session, id, &x->priority, 0);
	return st;
}

/* The handshake that HTTP/1 wants and HTTP/2 has not. False: there is no randomness. */
static bool
add_ws_key(struct h2_stream *st, struct msg *m)
{
	if (!wskey_make(st->ws_key))
		return false;
	h2_head_add(
		m, FIELD_OTHER, SLICE("Sec-WebSocket-Key"), slice_make(st->ws_key, WSKEY_TEXT - 1));
	return true;
}

void
h2_stream_start(struct h2 *x, int32_t id, bool is_end)
{
	struct request *r = x->req;
	struct msg *m = request_msg(r);
	bool is_good = h2_head_end(&x->head, is_end);
	struct h2_stream *st;

	x->req = NULL;
	x->c->served++;
	/* nghttp2 counts streams that are open; we count requests that are at work, whatever became
	 * of their streams. */
	if (x->active >= x->streams_max) {
		request_drop(r);
		if (!is_end)
			h2_guard_cut(x);
		nghttp2_submit_rst_stream(
			x->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
		return;
	}
	h2_guard_earn(x, 4);
	st = stream_new(x, id, m, is_end);
	h2_deadline(x, STREAM_LOOK_MS);
	if (!is_good) {
		st->is_malformed = x->head.is_malformed;
		st->bad = x->head.is_malformed ? x->head.reason : NULL;
		st->is_told = true;
		st->cl.body_ended = false;
		st->asked_head = false;
		request_refuse(r, &st->cl, NULL, x->head_us, x->head.status, x->head.reason);
		return;
	}
	st->is_connect = h2_head_is_connect(&x->head);
	if (st->is_connect && !add_ws_key(st, m)) {
		request_refuse(r, &st->cl, NULL, x->head_us, 500, "no_randomness");
		return;
	}
	/* What comes before the server's consent waits for it. */
	if (st->is_connect)
		st->is_told = false;
	request_start(r, &st->cl, NULL, x->head_us);
}
