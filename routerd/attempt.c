/*
 * attempt: one try at one server: pick, connect, send, wait for the head, then the flow down. Its
 * failures come back to one question, may another server be asked?, and the only loop there is:
 * retry.
 */
#include <errno.h>
#include <string.h>

#include "routerd/request_state.h"

/* Interim responses a server may send in front of one final response. */
#define INTERIMS_MAX 32
/* A request that may not be sent twice takes an idle connection only if it was used this short a
 * time ago. */
#define JUST_USED_MS 1000

static void on_upstream(struct upstream *u);
static void on_expired(struct upstream *u);
static void read_response(struct request *r);

static bool
has_body(const struct request *r)
{
	return r->m.body == BODY_CHUNKED || (r->m.body == BODY_LENGTH && r->m.content_length > 0);
}

/* May it be sent once more, when the server may have got it already? A body that streams cannot. */
static bool
is_repeatable(const struct request *r)
{
	return method_is_idempotent(r->m.method) && (!has_body(r) || r->is_collected);
}

/* --- deadlines towards the server
 * ------------------------------------------------------------------------------------------ */

/* Which of the timeouts holds now, 0 for none: while the client is still sending, or does not read,
 * its own clock is running. */
static uint32_t
current_timeout(const struct request *r)
{
	const struct timeouts *t = &r->timeouts;

	if (r->state == REQ_CONNECT)
		return t->connect;
	if (r->is_tunnel)
		return t->tunnel;
	if (r->up_out.queued > 0)
		return t->send;
	if (r->state == REQ_WAIT)
		return r->up_flow == FLOW_OPEN && !request_awaits_continue(r) ? 0 : t->response;
	if (r->state == REQ_FLOW && r->up_in.state == H1_IN_OPEN)
		return t->read;
	return 0;
}

static uint64_t
progress_of(const struct request *r)
{
	return r->up_in.bytes + r->up_out.body_bytes - r->up_out.queued;
}

/* The deadline runs also while nothing is waited for: that may change where no event of this
 * connection tells (the client reads again, and the server has nothing more to say). */
static void
arm(struct request *r)
{
	r->up_ms = current_timeout(r);
	r->up_progress = progress_of(r);
	r->is_looked_at = r->up_ms <= STREAM_LOOK_MS;
	if (r->up_ms == 0)
		deadline_set(r->w->loop, &r->up->dl, r->timeouts.read);
	else
		deadline_set(r->w->loop, &r->up->dl, r->is_looked_at ? r->up_ms : STREAM_LOOK_MS);
}

/* --- ends of an attempt
 * ------------------------------------------------------------------------------------------------------
 */

static bool
may_keep(const struct request *r, enum server_outcome how)
{
	const struct upstream *u = r->up;

	return how == SERVER_OK && r->keep_upstream && !r->is_tunnel &&
		r->down_flow == FLOW_ENDED && h1_out_done(&r->up_out) &&
		(u->in == NULL || buf_len(u->in) == 0);
}

static bool
is_worn(const struct upstream *u, const struct poolcfg *pool)
{
	return pool->keepalive_requests > 0 && u->served >= pool->keepalive_requests;
}

static void
drop_upstream(struct request *r, enum server_outcome how)
{
	struct upstream *u = r->up;
	bool keep = may_keep(r, how) && !is_worn(u, pool_cfg(r->pool));

	/* A body that is still flowing must not go on into memory that is given back. */
	if (r->is_streamed && r->up_flow == FLOW_OPEN) {
		r->cl->ops->body_to(r->cl, &r->discard);
		r->up_flow = FLOW_ABORTED;
	}
	if (r->state != REQ_CONNECT || r->was_sent) {
		h1_in_fini(&r->up_in);
		h1_out_fini(&r->up_out);
	}
	r->up = NULL;
	u->user = NULL;
	u->is_suspect = keep && r->resp.body == BODY_NONE;
	if (keep)
		upstream_keep(u, (unsigned)pool_cfg(r->pool)->keepalive,
			pool_cfg(r->pool)->idle_timeout_ms);
	else
		upstream_close(u);
}

void
attempt_end(struct request *r, unsigned how)
{
	if (r->up != NULL)
		drop_upstream(r, (enum server_outcome)how);
	if (r->server != NULL) {
		server_end(r->server, r->pool, (enum server_outcome)how, r->ask.now_ms,
			loop_now_ms(r->w->loop));
		r->server = NULL;
	}
}

/* Never after a byte reached the client; what was sent only if it may be done twice, and a body
 * only if we still have it. A race is repeated on a new connection, so it happens once per try, and
 * is no retry that the operator counts. */
static bool
may_retry(const struct request *r, enum server_outcome how, bool is_race)
{
	if (r->head_sent || r->interim_sent || r->pool == NULL)
		return false;
	if (how == SERVER_TIMEOUT)
		return false;
	if (r->was_sent && !is_repeatable(r))
		return false;
	if (is_race)
		return true;
	return r->tries - r->races <= pool_cfg(r->pool)->retries &&
		r->ask.tried_count < LB_TRIED_MAX;
}

static bool
take_budget(struct request *r)
{
	if (r->has_retry)
		return true;
	r->has_retry = pool_retry_take(r->pool);
	if (!r->has_retry)
		worker_count(r->w, STAT_RETRY_BUDGET);
	return r->has_retry;
}

/* The race with a server that closes an idle connection: not its failure, and unseen when the
 * request may go again. */
static bool
is_idle_race(const struct request *r)
{
	return r->is_reused && r->state != REQ_FLOW && r->interims == 0 &&
		(r->up == NULL || r->up->in == NULL || buf_len(r->up->in) == 0);
}

static void
count_failure(struct request *r, enum server_outcome how)
{
	if (how == SERVER_CONNECT)
		worker_count(r->w, STAT_UPSTREAM_CONNECT_FAILED);
	else if (how == SERVER_TIMEOUT)
		worker_count(r->w, STAT_UPSTREAM_TIMEOUT);
	else if (how == SERVER_BROKEN)
		worker_count(r->w, STAT_UPSTREAM_BROKEN);
}

static void
failed(struct request *r, enum server_outcome how, uint16_t status, const char *reason)
{
	bool is_race = how == SERVER_BROKEN && is_idle_race(r);
	bool again = may_retry(r, how, is_race);
	char who = status == 504 ? 's' : 'S';

	if (is_race) {
		reason = "idle_close_race";
		how = SERVER_ABANDONED;
		r->wants_fresh = true;
		r->races++;
	} else {
		count_failure(r, how);
		r->ask.tried[r->ask.tried_count++ % LB_TRIED_MAX] = r->server;
	}
	if (again && (is_race || take_budget(r))) {
		if (!is_race)
			server_retried(r->server);
		worker_count(r->w, STAT_RETRIES);
		attempt_end(r, how);
		r->last_status = status;
		r->last_reason = reason;
		r->last_state = r->state;
		request_run(r, REQ_PICK);
		return;
	}
	r->reason = reason;
	attempt_end(r, how);
	request_fail(r, status, reason, who);
}

/* --- PICK, CONNECT
 * ---------------------------------------------------------------------------------------------------------------
 */

enum req_state
attempt_pick(struct request *r)
{
	enum lb_miss why;

	r->ask.now_ms = loop_now_ms(r->w->loop);
	r->ask.key = 0;
	r->t.connected_us = 0;
	r->t.sent_us = 0;
	r->server = lb_pick(r->pool, &r->ask, &why);
	r->t.picked_us = request_us(r);
	if (r->server == NULL) {
		worker_count(r->w, STAT_NO_SERVER);
		if (why == LB_ALL_TRIED && r->last_status != 0) {
			/* It ended where the last attempt did, also in the termination code. */
			r->state = r->last_state;
			request_fail(r, r->last_status, r->last_reason,
				r->last_status == 504 ? 's' : 'S');
		} else {
			request_fail(r, 503, "no_server", 'S');
		}
		return REQ_STAY;
	}
	server_begin(r->server);
	r->server_name = r->server->name;
	r->tries++;
	r->was_sent = false;
	r->is_reused = false;
	return REQ_CONNECT;
}

static const char *
connect_reason(int error)
{
	switch (error) {
	case ECONNREFUSED: return "connect_refused";
	case ETIMEDOUT: return "connect_timeout";
	case EHOSTUNREACH:
	case ENETUNREACH: return "unreachable";
	case EDESTADDRREQ: return "no_address";
	case EMFILE:
	case ENFILE: return "no_descriptors";
	default: return "connect_failed";
	}
}

static void
attach(struct request *r, struct upstream *u)
{
	r->up = u;
	u->user = r;
	u->fn = on_upstream;
	u->expired = on_expired;
}

enum req_state
attempt_connect(struct request *r)
{
	uint64_t max_idle_ms = is_repeatable(r) ? UINT64_MAX : JUST_USED_MS;
	struct upstream *u = r->wants_fresh ? NULL : upstream_reuse(r->w, r->server, max_idle_ms);

	r->wants_fresh = false;
	r->is_reused = u != NULL;
	if (u == NULL)
		u = upstream_connect(r->w, r->server);
	if (u == NULL) {
		int error = errno;

		/* Our own want of descriptors says nothing of the server. */
		failed(r, error == EMFILE || error == ENFILE ? SERVER_ABANDONED : SERVER_CONNECT,
			502, connect_reason(error));
		return REQ_STAY;
	}
	attach(r, u);
	if (upstream_connected(u) > 0)
		return REQ_SEND;
	arm(r);
	return REQ_STAY;
}

/* --- SEND
 * ---------------------------------------------------------------------------------------------------------------------------
 */

static void
send_head(struct request *r)
{
	struct h1_out *o = &r->up_out;
	const struct field *te = msg_field(&r->m, FIELD_TE);

	h1_out_init(o, &r->up->s, &r->w->bufs, false);
	o->authority = r->m.authority;
	o->path = r->path;
	o->query = r->m.query;
	o->has_query = r->m.has_query;
	o->sends_te = te != NULL && !(te->flags & MSG_FIELD_DROP);
	if (r->fwd.is_upgrade)
		o->upgrade = r->m.upgrade;
	o->sink.ops->head(&o->sink, &r->m);
}

enum req_state
attempt_send(struct request *r)
{
	struct sink *to = &r->up_out.sink;

	r->t.connected_us = request_us(r);
	r->up->served++;
	r->was_sent = true;
	r->scan = (struct http1_scan){ 0 };
	r->keep_upstream = false;
	r->interims = 0;
	r->down_flow = FLOW_NONE;
	memset(&r->up_in, 0, sizeof(r->up_in));
	h1_in_init(&r->up_in, r->w->loop, &r->up->s, &r->w->bufs, &r->up->in);
	send_head(r);
	if (r->is_collected)
		to->ops->data(to, r->collect.b, r->collect.b->data, r->collect.b->w);
	if (r->is_collected || !has_body(r)) {
		to->ops->end(to, NULL, 0);
		r->up_flow = FLOW_ENDED;
		r->t.sent_us = request_us(r);
	}
	/* A server that has gone may have answered first: reading tells. */
	to->ops->flush(to);
	if (r->up_flow != FLOW_ENDED) {
		r->is_streamed = true;
		r->up_flow = FLOW_OPEN;
		r->cl->ops->body_to(r->cl, to);
	}
	return REQ_WAIT;
}

enum req_state
attempt_wait(struct request *r)
{
	arm(r);
	if (r->up_out.is_gone || r->up->s.readable)
		read_response(r);
	return REQ_STAY;
}

/* --- the response
 * -------------------------------------------------------------------------------------------------------------------
 */

static void
on_down_end(struct h1_in *in)
{
	struct request *r = (struct request *)((char *)in - offsetof(struct request, up_in));

	switch (in->why) {
	case H1_IN_OK:
		r->down_flow = FLOW_ENDED;
		if (request_flush_client(r))
			request_check_done(r);
		return;
	case H1_IN_SINK_GONE: request_client_left(r); return;
	case H1_IN_BAD: worker_count(r->w, STAT_BAD_RESPONSES); break;
	case H1_IN_EARLY_END:
	case H1_IN_BROKEN:
	case H1_IN_TOO_LARGE: break;
	}
	if (r->is_tunnel)
		request_end(r, "tunnel_reset", 'S', CLIENT_ABORT);
	else
		failed(r, SERVER_BROKEN, 502,
			in->why == H1_IN_BAD ? in->err.reason : "closed_early");
}

static void
flow_down(struct request *r)
{
	r->up_in.to = r->cl->out;
	r->up_in.fn = on_down_end;
	r->down_flow = FLOW_OPEN;
	r->state = REQ_FLOW;
}

/*
 * A tunnel may live for days: it keeps copies of what the log wants to know of it, and neither pool
 * nor generation. In flight at its server it stays.
 */
static void
let_go(struct request *r)
{
	r->client = forward_client(&r->m, &r->fwd);
	r->fwd.http = NULL;
	r->route_name = arena_strdup(&r->arena, r->route_name);
	r->pool_name = arena_strdup(&r->arena, r->pool_name);
	r->server_name = arena_strdup(&r->arena, r->server_name);
	server_opened(r->server, r->pool, r->ask.now_ms, loop_now_ms(r->w->loop));
	pool_active(r->pool, -1);
	r->is_counted = false;
	if (r->has_retry)
		pool_retry_put(r->pool);
	r->has_retry = false;
	r->pool = NULL;
	r->route = NULL;
	worker_unpin(r->w, r->pin);
	r->pin = NULL;
}

static void
switch_protocols(struct request *r)
{
	if (!r->fwd.is_upgrade || !r->resp.has_upgrade) {
		failed(r, SERVER_BROKEN, 502, "unexpected_101");
		return;
	}
	forward_response(&r->resp, &r->fwd, worker_date(r->w), &r->arena);
	r->status = 101;
	r->head_sent = true;
	r->is_tunnel = true;
	worker_count(r->w, STAT_TUNNELS);
	flow_down(r);
	h1_in_raw(&r->up_in);
	h1_out_raw(&r->up_out);
	r->is_streamed = true;
	r->up_flow = FLOW_OPEN;
	r->cl->ops->tunnel(r->cl, &r->resp, &r->up_out.sink);
	let_go(r);
	if (!request_flush_client(r))
		return;
	loop_run_soon(r->w->loop, &r->up_in.again);
	arm(r);
}

/* True when the response goes on with another head. */
static bool
pass_interim(struct request *r)
{
	if (++r->interims > INTERIMS_MAX) {
		failed(r, SERVER_BROKEN, 502, "too_many_interim_responses");
		return false;
	}
	/* A 100 answers an expectation that only such a client has. */
	if (r->resp.status != 100)
		r->interim_sent = true;
	worker_count(r->w, STAT_STATUS_1XX);
	forward_response(&r->resp, &r->fwd, slice_make(NULL, 0), &r->arena);
	if (r->resp.status != 100 || r->m.expect_continue)
		r->cl->ops->interim(r->cl, &r->resp);
	r->scan = (struct http1_scan){ 0 };
	return true;
}

static void
pass_final(struct request *r)
{
	r->t.response_us = request_us(r);
	r->keep_upstream = r->resp.keep_alive && r->resp.body != BODY_UNTIL_CLOSE;
	forward_response(&r->resp, &r->fwd, worker_date(r->w), &r->arena);
	/* Nobody will read the rest of the request body once the answer is out; or it may never
	 * come. */
	if (!r->cl->body_ended && (request_awaits_continue(r) || !r->keep_upstream))
		r->cl->ops->close_after(r->cl);
	request_send_head(r, &r->resp);
	flow_down(r);
	h1_in_body(&r->up_in, r->resp.body, r->resp.content_length, UINT64_MAX);
	h1_in_pump(&r->up_in);
	if (r->state == REQ_FLOW && r->down_flow == FLOW_OPEN) {
		if (!request_flush_client(r))
			return;
		arm(r);
	}
}

/* A head that does not fit yet: a larger buffer, up to the limit that the parser keeps. */
static void
grow(struct request *r)
{
	struct buf *b = r->up->in;
	struct buf *bigger = buf_get(
		&r->w->bufs, b->class < BUF_256K ? (enum buf_class)(b->class + 1) : BUF_256K);
	size_t n = buf_len(b);

	memcpy(bigger->data, b->data + b->r, n);
	bigger->w = (uint32_t)n;
	buf_unref(b);
	r->up->in = bigger;
}

/* One read of a head; false when there is nothing more now, or the attempt is over. */
static bool
fill(struct request *r)
{
	struct upstream *u = r->up;
	ssize_t n;

	if (!u->s.readable && !r->up_out.is_gone)
		return false;
	if (u->in == NULL)
		u->in = buf_get(&r->w->bufs, BUF_16K);
	else if (buf_room(u->in) == 0)
		grow(r);
	n = stream_read(&u->s, u->in->data + u->in->w, buf_room(u->in));
	if (n > 0) {
		u->in->w += (uint32_t)n;
		return true;
	}
	if (n != STREAM_AGAIN || r->up_out.is_gone) {
		failed(r, SERVER_BROKEN, 502,
			n == STREAM_ERROR ? "reset_by_server" : "closed_early");
		return false;
	}
	if (buf_len(u->in) == 0) {
		buf_unref(u->in);
		u->in = NULL;
	}
	return false;
}

static void
read_response(struct request *r)
{
	while (r->up != NULL && ((r->up->in != NULL && buf_len(r->up->in) > 0) || fill(r))) {
		struct buf *b = r->up->in;
		struct http1_error err;
		enum http1_result result;

		msg_init(&r->resp, r->resp_fields, REQUEST_FIELDS - FORWARD_FIELDS);
		result = http1_response(&r->scan, b->data + b->r, buf_len(b),
			&r->pin->s->response_limits, r->m.method, &r->resp, &err);
		if (result == HTTP1_BAD) {
			worker_count(r->w, STAT_BAD_RESPONSES);
			failed(r, SERVER_BROKEN, 502, err.reason);
			return;
		}
		if (result == HTTP1_MORE) {
			if (!fill(r))
				return;
			continue;
		}
		r->resp.field_cap = REQUEST_FIELDS;
		b->r += (uint32_t)r->resp.head_len;
		if (r->resp.status == 101) {
			switch_protocols(r);
			return;
		}
		if (r->resp.status >= 200) {
			pass_final(r);
			return;
		}
		if (!pass_interim(r))
			return;
	}
}

/* --- events
 * --------------------------------------------------------------------------------------------------------------------------
 */

static void
connected(struct request *r)
{
	switch (upstream_connected(r->up)) {
	case 0: break;
	case 1: request_run(r, REQ_SEND); break;
	default:
		failed(r, SERVER_CONNECT, errno == ETIMEDOUT ? 504 : 502, connect_reason(errno));
		break;
	}
}

static void
on_upstream(struct upstream *u)
{
	struct request *r = u->user;

	if (r->state == REQ_CONNECT) {
		connected(r);
		return;
	}
	if (u->s.writable && r->up_out.queued > 0)
		h1_out_writable(&r->up_out, r->w->loop);
	if (r->state == REQ_WAIT)
		read_response(r);
	else if (r->state == REQ_FLOW && r->down_flow == FLOW_ENDED)
		request_check_done(r);
	else if (r->state == REQ_FLOW && u->s.readable)
		h1_in_pump(&r->up_in);
	if (u->user == r && r->up == u && r->state != REQ_DONE && progress_of(r) != r->up_progress)
		arm(r);
}

/* Quiet for a while: has the server gone without an event? */
static void
look(struct request *r, uint32_t timeout_ms)
{
	r->is_looked_at = true;
	deadline_set(r->w->loop, &r->up->dl, timeout_ms - STREAM_LOOK_MS);
	if (r->state != REQ_CONNECT && stream_is_dead(&r->up->s)) {
		r->up->s.readable = true;
		on_upstream(r->up);
	}
}

static void
on_expired(struct upstream *u)
{
	struct request *r = u->user;
	uint32_t ms = current_timeout(r);

	/* Something else is waited for now, or bytes went by since (a tunnel's other direction): it
	 * starts over. */
	if (ms == 0 || ms != r->up_ms || progress_of(r) != r->up_progress) {
		arm(r);
		return;
	}
	if (!r->is_looked_at && ms > STREAM_LOOK_MS) {
		look(r, ms);
		return;
	}
	if (r->state == REQ_CONNECT)
		failed(r, SERVER_CONNECT, 504, "connect_timeout");
	else if (r->is_tunnel)
		request_end(r, "tunnel_timeout", 's', CLIENT_KEEP);
	else if (r->up_out.queued > 0)
		failed(r, SERVER_TIMEOUT, 504, "send_timeout");
	else
		failed(r, SERVER_TIMEOUT, 504,
			r->state == REQ_FLOW ? "read_timeout" : "response_timeout");
}

void
attempt_body_ended(struct request *r)
{
	r->t.sent_us = request_us(r);
	r->up_out.sink.ops->flush(&r->up_out.sink);
	arm(r);
	request_check_done(r);
}

/* The server takes no more of the body: it may have answered early, or it is gone. Either way
 * reading tells. */
void
attempt_body_refused(struct request *r)
{
	r->up_flow = FLOW_ABORTED;
	if (r->is_tunnel)
		request_end(r, "tunnel_reset", 'S', CLIENT_ABORT);
	else if (r->state == REQ_WAIT && r->up != NULL)
		read_response(r);
	else
		request_check_done(r);
}
