/*
 * h1_client: the client's side of a request in HTTP/1: the body through an h1_in, the answer
 * through an h1_out, and how long the client may take with either.
 */
#include "routerd/h1_client.h"

#include <string.h>

#include "routerd/codec.h"
#include "routerd/conn.h"
#include "routerd/h1_in.h"
#include "routerd/h1_out.h"
#include "routerd/request.h"
#include "routerd/worker_state.h"

/* A body's average rate is judged after this time. */
#define RATE_AFTER_MS 10000

/* A client that closed its sending side is asked whether it is still there once its answer is this
 * late. */
#define ASK_CLOSED_MS 200
/* Interim responses that wait for a client to read; more are dropped, as anybody may do. */
#define INTERIMS_MAX 8

/* What the connection's deadline waits for while a request is in progress. */
enum wait { WAIT_UNSET, WAIT_NOTHING, WAIT_BODY, WAIT_SEND, WAIT_CLOSED };

struct h1_client {
	struct client cl;
	struct conn *c;
	const struct timeouts *timeouts;
	enum wait wait;
	bool has_body;
	bool keep_alive;
	bool told_closed; /* the request knows that the peer closed its side */
	bool is_tunnel;
	bool is_looked_at; /* since bytes went by: see STREAM_LOOK_MS */
	uint64_t progress; /* when the deadline was set last */
	uint64_t body_since_ms;
	struct h1_in in;
	struct h1_out out;
};

static struct h1_client *
of(struct client *cl)
{
	return (struct h1_client *)((char *)cl - offsetof(struct h1_client, cl));
}

/* --- deadlines --- */

static enum wait
current_wait(const struct h1_client *x)
{
	if (x->out.queued > 0)
		return WAIT_SEND;
	if (!x->is_tunnel && x->in.to != NULL && x->in.state == H1_IN_OPEN &&
		(!x->cl.awaits_continue || x->in.bytes > 0))
		return WAIT_BODY;
	if (x->c->s.peer_closed && !x->told_closed && x->in.state == H1_IN_ENDED)
		return WAIT_CLOSED;
	return WAIT_NOTHING;
}

static uint32_t
wait_ms(const struct h1_client *x, enum wait wait)
{
	const struct timeouts *t = x->timeouts;

	if (wait == WAIT_CLOSED)
		return ASK_CLOSED_MS;
	if (x->is_tunnel)
		return t->tunnel;
	if (wait == WAIT_BODY || (wait == WAIT_NOTHING && t->body < t->send))
		return t->body;
	return t->send;
}

/* Grows whenever bytes of a body came or left. */
static uint64_t
progress_of(const struct h1_client *x)
{
	return x->in.bytes + x->out.body_bytes - x->out.queued;
}

/*
 * The deadline runs all the time: what is waited for changes also where no event of this connection
 * tells (the server's side fills the queue, the run queue empties the socket). It starts over when
 * that changed or bytes went by, here or when it has passed.
 */
static void
arm(struct h1_client *x)
{
	enum wait wait = current_wait(x);
	uint64_t progress = progress_of(x);

	if (wait != x->wait || progress != x->progress || x->in.progressed) {
		uint32_t ms = wait_ms(x, wait);

		x->is_looked_at = ms <= STREAM_LOOK_MS;
		deadline_set(x->c->w->loop, &x->c->dl, x->is_looked_at ? ms : STREAM_LOOK_MS);
	}
	x->in.progressed = false;
	x->progress = progress;
	x->wait = wait;
}

/* Too slow on average, though never silent for long enough to time out. */
static bool
is_crawling(const struct h1_client *x)
{
	uint64_t rate = (uint64_t)x->c->w->snap->s->http->limits.body_rate;
	uint64_t ms = loop_now_ms(x->c->w->loop) - x->body_since_ms;

	if (x->is_tunnel || x->cl.awaits_continue)
		return false;
	return rate > 0 && ms > RATE_AFTER_MS && x->in.bytes * 1000 / ms < rate;
}

/* From here on the client is expected to send. */
static void
start_body(struct h1_client *x)
{
	x->cl.awaits_continue = false;
	x->body_since_ms = loop_now_ms(x->c->w->loop);
}

/* --- the request's client side --- */

static void
on_body_end(struct h1_in *in)
{
	struct h1_client *x = (struct h1_client *)((char *)in - offsetof(struct h1_client, in));
	enum body_end how = BODY_END_OK;
	const char *reason = NULL;

	x->cl.body_ended = in->state == H1_IN_ENDED;
	switch (in->why) {
	case H1_IN_OK: break;
	case H1_IN_BAD:
		how = BODY_END_BAD;
		reason = in->err.reason;
		break;
	case H1_IN_TOO_LARGE:
		how = BODY_END_TOO_LARGE;
		reason = "body_too_large";
		break;
	case H1_IN_SINK_GONE: how = BODY_END_SINK; break;
	case H1_IN_EARLY_END:
	case H1_IN_BROKEN: how = BODY_END_LEFT; break;
	}
	request_body_ended(x->cl.req, how, reason);
}

/* From the run queue rather than at once: a body that is there already must not end the request
 * under its caller. */
static void
h1_body_to(struct client *cl, struct sink *to)
{
	struct h1_client *x = of(cl);

	if (x->in.to != NULL && x->in.to->producer == &x->in.again)
		x->in.to->producer = NULL;
	x->in.to = to;
	if (x->in.state == H1_IN_PAUSED)
		x->in.state = H1_IN_OPEN;
	if (x->in.state == H1_IN_OPEN) {
		if (!cl->awaits_continue)
			start_body(x);
		loop_run_soon(x->c->w->loop, &x->in.again);
		arm(x);
	}
}

static void
h1_interim(struct client *cl, struct msg *m)
{
	struct h1_client *x = of(cl);

	if (cl->is_http10 || x->out.seg_count >= INTERIMS_MAX)
		return;
	h1_out_interim(&x->out, m);
	if (m->status == 100 && cl->awaits_continue) {
		start_body(x);
		arm(x);
	}
}

static void
h1_close_after(struct client *cl)
{
	of(cl)->out.close_after = true;
}

static void
h1_limits(struct client *cl, const struct timeouts *t, uint64_t max_body)
{
	struct h1_client *x = of(cl);

	x->timeouts = t;
	x->in.max_bytes = max_body;
}

static bool
h1_is_flushed(const struct client *cl)
{
	return h1_out_done(&((const struct h1_client *)(const void *)cl)->out);
}

static void
h1_tunnel(struct client *cl, struct msg *m, struct sink *to)
{
	struct h1_client *x = of(cl);

	x->is_tunnel = true;
	x->has_body = true;
	x->keep_alive = false;
	cl->body_ended = false;
	x->in.max_bytes = UINT64_MAX;
	x->out.upgrade = m->upgrade;
	x->out.sink.ops->head(&x->out.sink, m);
	h1_out_raw(&x->out);
	h1_in_raw(&x->in);
	h1_body_to(cl, to);
}

static struct client_bytes
h1_bytes(const struct client *cl)
{
	const struct h1_client *x = (const struct h1_client *)(const void *)cl;
	uint64_t given = x->out.asked_head ? 0 : x->out.body_bytes;

	return (struct client_bytes){
		.in = x->in.bytes,
		.out = given > x->out.queued ? given - x->out.queued : 0,
	};
}

static void
release(void *p)
{
	struct h1_client *x = p;

	freelist_give(&x->cl.w->clients, x);
}

/* Has all been passed on that there was to pass on? A tunnel has no end of its own. */
static bool
is_told(const struct h1_client *x)
{
	return x->out.queued == 0 && (x->is_tunnel || x->out.ended);
}

static void
h1_done(struct client *cl, enum client_end how)
{
	struct h1_client *x = of(cl);
	struct conn *c = x->c;
	bool is_clean = cl->body_ended && x->keep_alive && !x->out.close_after;
	/* Only where the end of the connection ends the body does only a reset tell that it was
	 * cut. A tunnel's bytes have all been passed on, or they were cut, too. */
	bool is_torn = x->out.framing == BODY_UNTIL_CLOSE && x->out.head_done &&
		!(how == CLIENT_CUT && is_told(x));
	bool is_body_left = !cl->body_ended || how == CLIENT_CUT;

	h1_in_fini(&x->in);
	h1_out_fini(&x->out);
	c->client = NULL;
	loop_defer(c->w->loop, release, x);
	if (how != CLIENT_KEEP && is_torn) {
		conn_reset(c);
	} else if (how == CLIENT_ABORT) {
		conn_close(c);
	} else if (how == CLIENT_KEEP && is_clean) {
		conn_next(c);
	} else {
		/* CONN_HEAD tells conn_linger that the client may still be sending. */
		c->state = is_body_left ? CONN_HEAD : CONN_IDLE;
		conn_linger(c);
	}
}

static const struct client_ops h1_client_ops = {
	.body_to = h1_body_to,
	.interim = h1_interim,
	.close_after = h1_close_after,
	.tunnel = h1_tunnel,
	.limits = h1_limits,
	.is_flushed = h1_is_flushed,
	.bytes = h1_bytes,
	.done = h1_done,
};

struct client *
h1_client_new(struct conn *c, const struct msg *m)
{
	struct worker *w = c->w;
	struct h1_client *x = freelist_take(&w->clients);

	memset(x, 0, offsetof(struct h1_client, in));
	x->cl.ops = &h1_client_ops;
	x->cl.w = w;
	x->cl.conn = c;
	x->cl.out = &x->out.sink;
	x->cl.is_http10 = m->version_minor == 0;
	x->c = c;
	x->timeouts = &w->snap->s->timeouts;
	x->keep_alive = m->keep_alive;
	x->has_body = msg_has_body(m);
	x->cl.body_ended = !x->has_body;
	x->cl.awaits_continue = x->has_body && m->expect_continue;
	h1_in_init(&x->in, w->loop, &c->s, &w->bufs, &c->in);
	x->in.fn = on_body_end;
	x->in.http = w->snap->s->http;
	h1_in_body(&x->in, m->body, m->content_length, UINT64_MAX);
	if (!x->has_body)
		x->in.state = H1_IN_ENDED;
	h1_out_init(&x->out, w->loop, &c->s, &w->bufs, true);
	x->out.peer_is_http10 = x->cl.is_http10;
	x->out.asked_head = m->method == METHOD_HEAD;
	x->out.asked_all = !x->has_body;
	x->out.close_after = !m->keep_alive || w->is_draining;
	c->client = x;
	c->state = CONN_BUSY;
	return &x->cl;
}

void
h1_client_disbelieve(struct conn *c)
{
	c->client->cl.body_ended = false;
	c->client->out.asked_head = false;
}

void
h1_client_arm(struct conn *c, const struct client *cl)
{
	if (c->client != NULL && &c->client->cl == cl)
		arm(c->client);
}

/* --- events of its connection --- */

static bool
is_over(const struct conn *c, const struct h1_client *x)
{
	return c->client != x;
}

/* Somebody will find out by reading how the peer has ended; what it sent before is not lost then.
 */
static bool
is_reading(const struct h1_client *x)
{
	return x->in.to != NULL && (x->in.state == H1_IN_OPEN || x->in.state == H1_IN_PAUSED);
}

/* Has the peer gone for good, unread? A reset comes as plain readiness. */
static bool
has_left(const struct conn *c, const struct h1_client *x)
{
	return !is_reading(x) && (c->s.peer_closed || c->s.readable) && stream_is_dead(&c->s);
}

void
h1_client_event(struct conn *c)
{
	struct h1_client *x = c->client;

	if (x->out.queued > 0 && c->s.writable) {
		h1_out_writable(&x->out, c->w->loop);
		if (x->out.is_gone) {
			request_client_left(x->cl.req);
			return;
		}
		if (h1_out_done(&x->out)) {
			request_flushed(x->cl.req);
			if (is_over(c, x))
				return;
		}
	}
	if (x->in.to != NULL && c->s.readable) {
		h1_in_pump(&x->in);
		if (is_over(c, x))
			return;
		if (x->cl.awaits_continue && x->in.bytes > 0)
			start_body(x);
		if (x->in.state == H1_IN_OPEN && is_crawling(x)) {
			worker_count(c->w, STAT_CLIENT_TIMEOUT);
			request_client_timeout(x->cl.req, true);
			return;
		}
	}
	if (has_left(c, x))
		request_client_left(x->cl.req);
	else
		arm(x);
}

/* It has gone without an event. */
static void
leave(struct conn *c, struct h1_client *x)
{
	if (is_reading(x)) {
		x->wait = WAIT_UNSET;
		c->s.readable = true;
		h1_client_event(c);
	} else {
		request_client_left(x->cl.req);
	}
}

void
h1_client_deadline(struct conn *c)
{
	struct h1_client *x = c->client;
	enum wait wait = current_wait(x);
	bool is_same = wait == x->wait && progress_of(x) == x->progress && !x->in.progressed;
	uint32_t ms = wait_ms(x, wait);

	if (is_same && x->is_looked_at && (wait == WAIT_BODY || wait == WAIT_SEND)) {
		worker_count(c->w, STAT_CLIENT_TIMEOUT);
		request_client_timeout(x->cl.req, wait == WAIT_BODY);
	} else if (stream_is_dead(&c->s)) {
		leave(c, x);
	} else if (is_same && !x->is_looked_at) {
		x->is_looked_at = true;
		/* A route's own timeout may be shorter than the one that held when this began. */
		deadline_set(c->w->loop, &c->dl, ms > STREAM_LOOK_MS ? ms - STREAM_LOOK_MS : 1);
	} else {
		if (wait == WAIT_CLOSED) {
			x->told_closed = true;
			request_client_half_closed(x->cl.req);
		}
		x->wait = WAIT_UNSET;
		arm(x);
	}
}

void
h1_client_cut(struct conn *c)
{
	request_cut(c->client->cl.req);
}

size_t
h1_client_size(void)
{
	return sizeof(struct h1_client);
}

struct conn_held
h1_client_held(const struct conn *c)
{
	const struct h1_client *x = c->client;
	size_t n = h1_out_held(&x->out) + request_held(x->cl.req);
	uint64_t still_ms = 0;

	if (n == 0)
		return (struct conn_held){ 0 };
	n += c->in != NULL ? c->in->cap : 0;
	if (x->out.full_ms != 0)
		still_ms = loop_now_ms(c->w->loop) - x->out.full_ms;
	else if (x->is_looked_at && x->progress == progress_of(x) && !x->in.progressed)
		still_ms = CONN_STILL_MS; /* an upload that its server does not take */
	return (struct conn_held){ n, conn_score(n, still_ms) };
}

void
h1_client_shed(struct conn *c)
{
	request_shed(c->client->cl.req);
}
