/*
 * request: collects, answers by ourselves, and ends requests; the state table is the map. Where a
 * request goes is in request_route.c, what concerns one server in attempt.c.
 */
#include "routerd/request.h"

#include <assert.h>
#include <string.h>

#include "routerd/request_state.h"

/* What is left of a body up to this size is read after an answer of our own, so that the connection
 * can go on. */
#define DISCARD_MAX 65536

typedef enum req_state (*step_fn)(struct request *r);

static enum req_state do_collect(struct request *r);
static enum req_state do_local(struct request *r);

/* Deadlines: while collecting and answering the client's codec has its own; those towards a server
 * are armed in attempt.c. */
static const struct req_row {
	const char *name;
	step_fn enter;
	char phase; /* second letter of the termination code */
} states[] = {
	[REQ_NEW] = { "new", NULL, 'R' },
	[REQ_ROUTE] = { "route", request_route, 'R' },
	[REQ_TOKEN] = { "token", NULL, 'L' },
	[REQ_COLLECT] = { "collect", do_collect, 'R' },
	[REQ_PICK] = { "pick", attempt_pick, 'Q' },
	[REQ_CONNECT] = { "connect", attempt_connect, 'C' },
	[REQ_SEND] = { "send", attempt_send, 'H' },
	[REQ_WAIT] = { "wait", attempt_wait, 'H' },
	[REQ_FLOW] = { "flow", NULL, 'D' },
	[REQ_LOCAL] = { "local", do_local, 'L' },
	[REQ_DONE] = { "done", NULL, '-' },
};

void
request_run(struct request *r, enum req_state state)
{
	while (state != REQ_STAY && state != REQ_DONE) {
		r->state = state;
		LOG_DEBUG("request_state", L_INT("request", r->id),
			L_STR("state", states[state].name));
		if (states[state].enter == NULL)
			return;
		state = states[state].enter(r);
	}
}

uint32_t
request_us(const struct request *r)
{
	uint32_t us = (uint32_t)(loop_now_us(r->w->loop) - r->first_us);

	/* The clock stands still within a turn of the loop, and 0 means "not reached". */
	return us > 0 ? us : 1;
}

/* --- sinks for bodies that go to no server --- */

static enum sink_result
nothing_head(struct sink *k, struct msg *m)
{
	(void)k;
	(void)m;
	return SINK_OK;
}

static enum sink_result
nothing_end(struct sink *k, const struct field *trailers, uint16_t count)
{
	(void)k;
	(void)trailers;
	(void)count;
	return SINK_OK;
}

static enum sink_result
nothing_flush(struct sink *k)
{
	(void)k;
	return SINK_OK;
}

static enum sink_result
discard_data(struct sink *k, struct buf *b, const char *p, size_t n)
{
	(void)k;
	(void)b;
	(void)p;
	(void)n;
	return SINK_OK;
}

static enum sink_result
collect_data(struct sink *k, struct buf *b, const char *p, size_t n)
{
	struct collect *c = (struct collect *)k;

	(void)b;
	assert(buf_room(c->b) >= n);
	memcpy(c->b->data + c->b->w, p, n);
	c->b->w += (uint32_t)n;
	return SINK_OK;
}

static const struct sink_ops discard_ops = {
	.head = nothing_head, .data = discard_data, .end = nothing_end, .flush = nothing_flush
};
static const struct sink_ops collect_ops = {
	.head = nothing_head, .data = collect_data, .end = nothing_end, .flush = nothing_flush
};

/* --- life --- */

struct request *
request_new(struct worker *w)
{
	struct request *r = freelist_take(&w->requests);

	r->w = w;
	msg_init(&r->m, r->fields, REQUEST_FIELDS_SENT);
	arena_init_in(&r->arena, r->arena_first, sizeof(r->arena_first), 4096);
	return r;
}

struct msg *
request_msg(struct request *r)
{
	return &r->m;
}

struct arena *
request_arena(struct request *r)
{
	return &r->arena;
}

void
request_drop(struct request *r)
{
	arena_fini(&r->arena);
	freelist_give(&r->w->requests, r);
}

/* A 64-bit mix (splitmix64): ids that do not repeat within a worker and tell nothing of its
 * counters. */
static uint64_t
next_id(struct worker *w)
{
	uint64_t z = w->id_seed + ++w->id_count * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

struct slice
request_id(struct request *r)
{
	static const char hex[] = "0123456789abcdef";

	if (r->id_text[0] == '\0')
		for (int i = 0; i < 16; i++)
			r->id_text[i] = hex[r->id >> (60 - 4 * i) & 15];
	return slice_make(r->id_text, 16);
}

/* Everything but the message, which the codec has parsed already, and what its users set before
 * they read it. */
static void
begin(struct request *r, struct client *c, struct buf *head, uint64_t first_us)
{
	struct worker *w = r->w;

	memset(r, 0, offsetof(struct request, timeouts));
	r->magic = REQUEST_MAGIC;
	r->w = w;
	r->cl = c;
	r->head = head;
	r->first_us = first_us;
	r->t.start_us = first_us;
	r->pin = worker_pin(w);
	r->timeouts = r->pin->s->timeouts;
	r->id = next_id(w);
	r->discard.ops = &discard_ops;
	r->ask.tried_count = 0;
	memcpy(r->term, "--", 3);
	c->req = r;
	worker_count(w, STAT_REQUESTS);
	worker_add(w, STAT_ACTIVE, 1);
}

void
request_start(struct request *r, struct client *c, struct buf *head, uint64_t first_us)
{
	begin(r, c, head, first_us);
	r->t.head_us = request_us(r);
	request_run(r, REQ_ROUTE);
}

void
request_refuse(struct request *r, struct client *c, struct buf *head, uint64_t first_us,
	uint16_t status, const char *reason)
{
	begin(r, c, head, first_us);
	if (status < 500)
		worker_count(r->w, STAT_BAD_REQUESTS);
	r->fwd = (struct forward_info){ .http = r->pin->s->http, .peer = conn_peer(c->conn) };
	/* Nothing of a refused head is believed, not even for the log. */
	msg_init(&r->m, r->fields, REQUEST_FIELDS_SENT);
	request_fail(r, status, reason, status == 408 ? 'c' : status == 500 ? 'R' : 'P');
}

static void
release(void *p)
{
	struct request *r = p;

	arena_fini(&r->arena);
	freelist_give(&r->w->requests, r);
}

static void
count_status(struct request *r)
{
	unsigned class = r->status / 100;

	if (class >= 2 && class <= 5)
		worker_count(r->w, (enum stat_id)(STAT_STATUS_2XX + (class - 2)));
}

/* Whatever is found now, it is answered already. */
static void
forget_token(struct request *r)
{
	if (r->ask_token != NULL)
		acme_forget(r->ask_token);
	r->ask_token = NULL;
}

/* The one end of a request. */
static void
finish(struct request *r, enum client_end how)
{
	struct client *cl = r->cl;

	if (r->is_tunnel && (how == CLIENT_ABORT || (how == CLIENT_CUT && attempt_owes(r))))
		attempt_cut(r);
	attempt_end(r, r->reason == NULL ? SERVER_OK : SERVER_ABANDONED);
	forget_token(r);
	r->state = REQ_DONE;
	count_status(r);
	if (r->reason != NULL)
		reasons_count(&r->w->reasons, r->reason);
	r->bytes = cl->ops->bytes(cl);
	worker_add(r->w, STAT_BYTES_IN, r->bytes.in);
	worker_add(r->w, STAT_BYTES_OUT, r->bytes.out);
	if (r->w->log != NULL)
		request_log(r);
	if (r->is_tunnel)
		worker_add(r->w, STAT_TUNNELS, (uint64_t)-1);
	if (r->is_counted)
		pool_active(r->pool, -1);
	if (r->has_retry)
		pool_retry_put(r->pool);
	worker_add(r->w, STAT_ACTIVE, (uint64_t)-1);
	buf_unref(r->collect.b);
	kept_drop(&r->kept);
	buf_unref(r->head);
	if (r->pin != NULL)
		worker_unpin(r->w, r->pin);
	loop_defer(r->w->loop, release, r);
	cl->ops->done(cl, how);
}

static void
set_end(struct request *r, const char *reason, char who)
{
	r->reason = reason;
	r->term[0] = who;
	r->term[1] = states[r->state].phase;
}

bool
request_flush_client(struct request *r)
{
	if (r->cl->out->ops->flush(r->cl->out) != SINK_GONE)
		return true;
	request_client_left(r);
	return false;
}

void
request_send_head(struct request *r, struct msg *m)
{
	struct sink *out = r->cl->out;

	/* Known before its next request is on its way. */
	if (r->w->is_draining)
		r->cl->ops->close_after(r->cl);
	r->head_sent = true;
	out->ops->head(out, m);
	/* The sink may know better: what one version calls success is none in another. */
	r->status = m->status;
}

/* An early answer that is complete does not cut off what the client is still sending, as long as
 * the server wants it. */
static bool
is_upload_wanted(const struct request *r)
{
	return r->is_streamed && r->x != NULL && !request_awaits_continue(r) &&
		r->x->ops->wants_rest(r->x);
}

void
request_check_done(struct request *r)
{
	if (r->down_flow != FLOW_ENDED || !r->cl->ops->is_flushed(r->cl))
		return;
	/* A tunnel goes on until both directions have ended; a small body left over by an answer of
	 * ours is read to its end. */
	if (r->up_flow == FLOW_OPEN &&
		(r->is_tunnel || (r->state == REQ_LOCAL && !r->is_streamed) || is_upload_wanted(r)))
		return;
	finish(r, CLIENT_KEEP);
}

/* --- COLLECT --- */

static enum req_state
do_collect(struct request *r)
{
	r->collect.sink.ops = &collect_ops;
	r->collect.b = buf_get(&r->w->bufs, buf_class_for(r->m.content_length));
	r->cl->ops->body_to(r->cl, &r->collect.sink);
	return REQ_STAY;
}

/* --- LOCAL --- */

struct respond_info
request_info(struct request *r)
{
	return (struct respond_info){
		.forward = &r->fwd,
		.client = forward_client(&r->m, &r->fwd),
		.request_id = request_id(r),
		.listener = slice_str(worker_listener_name(r->cl->conn->l)),
		.date = worker_date(r->w),
	};
}

/* What is left of the request body must not be taken for the next request: read a little, or say
 * goodbye. */
static void
settle_body(struct request *r)
{
	struct client *cl = r->cl;
	bool is_small = r->m.body == BODY_LENGTH && r->m.content_length <= DISCARD_MAX &&
		!r->m.expect_continue;

	r->up_flow = FLOW_NONE;
	if (cl->body_ended)
		return;
	if (is_small && r->reason == NULL) {
		r->up_flow = FLOW_OPEN;
		r->is_streamed = false;
		cl->ops->body_to(cl, &r->discard);
		return;
	}
	cl->ops->close_after(cl);
}

void
request_answer(struct request *r, struct answer *a)
{
	struct sink *out = r->cl->out;

	r->state = REQ_LOCAL;
	r->is_own_answer = true;
	settle_body(r);
	request_own_headers(r, &a->head);
	r->t.response_us = request_us(r);
	request_send_head(r, &a->head);
	if (a->body.n > 0)
		out->ops->data(out, NULL, a->body.p, a->body.n);
	out->ops->end(out, NULL, 0);
	r->down_flow = FLOW_ENDED;
	if (request_flush_client(r))
		request_check_done(r);
}

static enum req_state
do_local(struct request *r)
{
	struct respond_info info = request_info(r);
	struct answer *a = arena_alloc(&r->arena, sizeof(*a));
	struct var_source vars;

	memcpy(r->term, "LR", 3);
	if (r->route->texts != NULL) {
		vars = request_vars(r);
		info.vars = &vars;
	}
	respond_route(a, r->route, &r->m, &info, &r->arena);
	request_answer(r, a);
	return REQ_STAY;
}

/* --- early ends --- */

static bool
is_loud(uint16_t status)
{
	return status >= 500;
}

/* The client's own doing: what was refused, or came or was taken too slowly. */
static void
log_refusal(struct request *r, uint16_t seen)
{
	static _Thread_local struct log_limit limit = { .burst = 5 };
	uint32_t held;

	if (!log_allow(&limit, &held))
		return;
	LOG_INFO("request_refused", L_STR("reason", r->reason), L_INT("status", seen),
		L_SLICE("request", request_id(r)), L_SLICE("client", r->fwd.peer),
		L_SLICE("host", r->m.authority), L_SLICE("target", r->m.target),
		L_INT("waited_ms", request_us(r) / 1000), L_INT("suppressed", held));
}

static void
log_failure(struct request *r, uint16_t status, uint16_t seen)
{
	static _Thread_local struct log_limit limit = { .burst = 20 };
	uint32_t held;

	if (!is_loud(status)) {
		log_refusal(r, seen);
		return;
	}
	if (!log_allow(&limit, &held))
		return;
	LOG_WARN("upstream_error", L_STR("reason", r->reason), L_INT("status", seen),
		L_SLICE("request", request_id(r)), L_STR("pool", r->pool_name ? r->pool_name : "-"),
		L_STR("server", r->server_name ? r->server_name : "-"),
		L_SLICE("client", r->fwd.peer), L_SLICE("host", r->m.authority),
		L_SLICE("target", r->m.target), L_INT("tries", r->tries),
		L_INT("waited_ms", request_us(r) / 1000), L_INT("suppressed", held));
}

void
request_fail(struct request *r, uint16_t status, const char *reason, char who)
{
	set_end(r, reason, who);
	if (r->head_sent) {
		log_failure(r, 500, r->status);
		finish(r, CLIENT_ABORT);
		return;
	}
	log_failure(r, status, status);
	forget_token(r);
	attempt_end(r, SERVER_ABANDONED);

	struct respond_info info = request_info(r);
	struct answer *a = arena_alloc(&r->arena, sizeof(*a));

	if (respond_is_grpc(&r->m))
		respond_grpc_error(a, status, reason, &info, &r->arena);
	else
		respond_error(a, status, &info, &r->arena);
	request_answer(r, a);
}

void
request_end(struct request *r, const char *reason, char who, enum client_end how)
{
	set_end(r, reason, who);
	finish(r, how);
}

/* --- what the client's codec reports --- */

void
request_body_ended(struct request *r, enum body_end how, const char *reason)
{
	switch (how) {
	case BODY_END_OK: break;
	case BODY_END_BAD:
		worker_count(r->w, STAT_BAD_REQUESTS);
		request_fail(r, 400, reason, 'P');
		return;
	case BODY_END_TOO_LARGE: request_fail(r, 413, reason, 'P'); return;
	case BODY_END_LEFT: request_client_left(r); return;
	case BODY_END_SINK: attempt_body_refused(r); return;
	case BODY_END_SHED: request_fail(r, 503, reason, 'P'); return;
	}
	if (r->state == REQ_COLLECT) {
		r->is_collected = true;
		request_run(r, REQ_PICK);
		return;
	}
	r->up_flow = FLOW_ENDED;
	if (r->x != NULL)
		attempt_body_ended(r);
	else
		request_check_done(r);
}

void
request_flushed(struct request *r)
{
	request_check_done(r);
}

void
request_client_left(struct request *r)
{
	worker_count(r->w, STAT_CLIENT_LEFT);
	request_end(r, "client_left", 'C', CLIENT_ABORT);
}

/*
 * Its end alone does not tell a half-close from a client that has gone. An interim response does:
 * one that waits skips it (RFC 9110 §15.2), one that has gone answers with a reset. HTTP/1.0 knows
 * no interim responses: there a half-close is what it most likely is.
 */
void
request_client_half_closed(struct request *r)
{
	struct msg m;

	if (r->head_sent || r->cl->is_http10)
		return;
	msg_init(&m, NULL, 0);
	m.status = 100;
	m.reason = SLICE("Continue");
	r->cl->ops->interim(r->cl, &m);
}

void
request_client_timeout(struct request *r, bool is_body)
{
	if (is_body && !r->head_sent) {
		request_fail(r, 408, "body_timeout", 'c');
		return;
	}
	set_end(r, is_body ? "body_timeout" : "client_send_timeout", 'c');
	log_refusal(r, r->status);
	finish(r, CLIENT_ABORT);
}

void
request_client_refused(struct request *r, const char *reason)
{
	set_end(r, reason, 'P');
	log_refusal(r, r->status);
	finish(r, CLIENT_ABORT);
}

void
request_cut(struct request *r)
{
	if (!r->head_sent) {
		r->cl->ops->close_after(r->cl);
		request_fail(r, 503, "shutdown", 'P');
		return;
	}
	set_end(r, "shutdown", 'P');
	log_refusal(r, r->status);
	finish(r, CLIENT_CUT);
}

size_t
request_held(const struct request *r)
{
	return (r->collect.b != NULL ? r->collect.b->cap : 0) +
		(r->kept.b != NULL ? r->kept.b->cap : 0) +
		(r->x != NULL ? r->x->ops->held(r->x) : 0);
}

/* Nothing will be sent to a server: it goes now, not when the client has got its answer. */
static void
drop_body(struct request *r)
{
	if (r->state == REQ_COLLECT)
		r->cl->ops->body_to(r->cl, &r->discard);
	buf_unref(r->collect.b);
	r->collect.b = NULL;
	kept_drop(&r->kept);
}

void
request_shed(struct request *r)
{
	worker_count(r->w, STAT_BUFFERED_SHED);
	if (r->head_sent) {
		request_client_refused(r, "buffer_memory");
		return;
	}
	drop_body(r);
	request_fail(r, 503, "buffer_memory", 'P');
}
