/*
 * attempt: one try at one server: pick, connect, send, wait for the head, then the flow down. Its
 * failures come back to one question, may another server be asked?, and the only loop there is:
 * retry.
 */
#include <errno.h>

#include "routerd/exchange_h2.h"
#include "routerd/exchange_h2_head.h"
#include "routerd/request_state.h"

/* Interim responses a server may send in front of one final response. */
#define INTERIMS_MAX 32
/* May it be sent once more, when the server may have got it already? A body that streams cannot. */
static bool
is_repeatable(const struct request *r)
{
	return method_is_idempotent(r->m.method) && (!msg_has_body(&r->m) || r->is_collected);
}

/* --- deadlines towards the server --- */

/* Which of the timeouts holds now, 0 for none: while the client is still sending, or does not read,
 * its own clock is running. */
static uint32_t
current_timeout(const struct request *r, enum exchange_wait wait)
{
	const struct timeouts *t = &r->timeouts;

	if (r->state == REQ_CONNECT)
		return wait == EXCHANGE_SHAKING ? t->tls : t->connect;
	if (r->is_tunnel)
		return t->tunnel;
	if (wait == EXCHANGE_SENDING)
		return t->send;
	if (r->state == REQ_WAIT)
		return r->up_flow == FLOW_OPEN && !request_awaits_continue(r) ? 0 : t->response;
	if (r->state == REQ_FLOW && wait == EXCHANGE_READING)
		return t->read;
	return 0;
}

/* The deadline runs also while nothing is waited for: that may change where no event of this
 * connection tells (the client reads again, and the server has nothing more to say; or the server
 * takes no more of the body). So it is no longer than those that may begin then. */
static void
set_deadline(struct request *r, struct exchange_state s)
{
	const struct timeouts *t = &r->timeouts;

	r->up_ms = current_timeout(r, s.wait);
	r->up_progress = s.progress;
	r->is_looked_at = r->up_ms <= STREAM_LOOK_MS;
	if (r->up_ms == 0)
		deadline_set(r->w->loop, r->x->dl, t->send < t->read ? t->send : t->read);
	else
		deadline_set(r->w->loop, r->x->dl, r->is_looked_at ? r->up_ms : STREAM_LOOK_MS);
}

static void
arm(struct request *r)
{
	set_deadline(r, r->x->ops->state(r->x));
}

/* --- ends of an attempt --- */

static void
drop_exchange(struct request *r, enum exchange_end how)
{
	struct exchange *x = r->x;

	/* A body that is still flowing must not go on into memory that is given back. */
	if (r->is_streamed && r->up_flow == FLOW_OPEN) {
		r->cl->ops->body_to(r->cl, &r->discard);
		r->up_flow = FLOW_ABORTED;
	}
	r->x = NULL;
	x->ops->done(x, how);
}

void
attempt_end(struct request *r, unsigned how)
{
	if (r->x != NULL)
		drop_exchange(r, how == SERVER_OK ? EXCHANGE_KEEP : EXCHANGE_CANCEL);
	if (r->server != NULL) {
		server_end(r->server, r->pool, (enum server_outcome)how, r->ask.now_ms,
			loop_now_ms(r->w->loop));
		r->server = NULL;
	}
}

/* Is all of the body still here that the server was given? */
static bool
may_replay(const struct request *r)
{
	return !msg_has_body(&r->m) || r->is_collected || (r->kept.is_on && !r->kept.is_lost);
}

/* Never after a byte reached the client; what was sent only if it may be done twice, and a body
 * only if we still have it. A race is repeated on a new connection, so it happens once per try, and
 * is no retry that the operator counts. */
static bool
may_retry(const struct request *r, enum server_outcome how, bool is_race, bool is_unseen)
{
	if (r->head_sent || r->interim_sent || r->pool == NULL)
		return false;
	if (how == SERVER_TIMEOUT || how == SERVER_NO_TLSD)
		return false;
	if (r->was_sent && !(is_unseen ? may_replay(r) : is_repeatable(r)))
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
	return r->x != NULL && r->x->is_reused && !r->x->heard;
}

static void
count_failure(struct request *r, enum server_outcome how)
{
	if (how == SERVER_CONNECT)
		worker_count(r->w, STAT_UPSTREAM_CONNECT_FAILED);
	else if (how == SERVER_TLS)
		worker_count(r->w, STAT_UPSTREAM_TLS_FAILED);
	else if (how == SERVER_NO_TLSD)
		worker_count(r->w, STAT_UPSTREAM_TLS_UNAVAILABLE);
	else if (how == SERVER_TIMEOUT)
		worker_count(r->w, STAT_UPSTREAM_TIMEOUT);
	else if (how == SERVER_BROKEN)
		worker_count(r->w, STAT_UPSTREAM_BROKEN);
}

/* The body comes from the client yet: until the next server is there it is kept. */
static void
hold_body(struct request *r)
{
	if (!r->is_streamed || r->up_flow != FLOW_OPEN)
		return;
	r->cl->ops->body_to(r->cl, &r->kept.sink);
	r->is_streamed = false;
	r->up_flow = FLOW_NONE;
}

/* The first character of the termination code. */
static char
ended_by(uint16_t status)
{
	return status == 504 ? 's' : status == 500 ? 'R' : 'S';
}

/* is_race: of a request and its connection's end; is_unseen: the server says that it has not looked
 * at the request. */
static void
give_up(struct request *r, enum server_outcome how, uint16_t status, const char *reason,
	bool is_race, bool is_unseen)
{
	bool again = may_retry(r, how, is_race, is_unseen);
	if (is_race) {
		reason = is_unseen ? reason : "idle_close_race";
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
		hold_body(r);
		attempt_end(r, how);
		r->last_status = status;
		r->last_reason = reason;
		r->last_state = r->state;
		request_run(r, REQ_PICK);
		return;
	}
	r->reason = reason;
	attempt_end(r, how);
	request_fail(r, status, reason, ended_by(status));
}

static void
failed(struct request *r, enum server_outcome how, uint16_t status, const char *reason)
{
	give_up(r, how, status, reason, how == SERVER_BROKEN && is_idle_race(r), false);
}

/* --- PICK, CONNECT --- */

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
			request_fail(r, r->last_status, r->last_reason, ended_by(r->last_status));
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

static const struct exchange_events events;

enum req_state
attempt_connect(struct request *r)
{
	const struct exchange_open how = {
		.w = r->w,
		.server = r->server,
		.pool = pool_cfg(r->pool),
		.events = &events,
		.user = r,
		.is_repeatable = is_repeatable(r),
		.wants_fresh = r->wants_fresh,
		.is_websocket = r->fwd.is_upgrade && exchange_h2_is_websocket(&r->m),
	};
	struct exchange *x = &r->h1.x;
	int opened;

	if (how.pool->protocol == PROTOCOL_H2) {
		if (msg_has_body(&r->m) && !r->is_collected && !r->kept.is_on)
			kept_init(&r->kept, &r->w->bufs);
		opened = exchange_h2_open(&x, &how);
	} else {
		opened = exchange_h1_open(&r->h1, &how);
	}
	r->wants_fresh = false;
	if (opened < 0) {
		int error = errno;
		bool is_ours = upstream_is_ours(error);

		/* What we ran out of says nothing of the server. */
		failed(r, is_ours ? SERVER_ABANDONED : SERVER_CONNECT, is_ours ? 500 : 502,
			upstream_reason(error));
		return REQ_STAY;
	}
	r->x = x;
	r->is_reused = x->is_reused;
	if (opened > 0)
		return REQ_SEND;
	arm(r);
	return REQ_STAY;
}

/* --- SEND --- */

enum req_state
attempt_send(struct request *r)
{
	struct exchange *x = r->x;
	struct sink *to = x->sink;

	r->t.connected_us = request_us(r);
	if (r->kept.is_lost) {
		/* The client went on sending while there was no server. */
		failed(r, SERVER_ABANDONED, 502, "body_not_kept");
		return REQ_STAY;
	}
	r->was_sent = true;
	r->interims = 0;
	r->down_flow = FLOW_NONE;
	x->m = &r->m;
	x->path = r->path;
	x->authority = r->authority;
	x->is_upgrade = r->fwd.is_upgrade;
	x->resp = &r->resp;
	x->resp_fields = r->resp_fields;
	x->resp_field_cap = REQUEST_FIELDS_SENT;
	x->limits = &r->pin->s->response_limits;
	x->ops->send(x);
	if (r->is_collected)
		to->ops->data(to, r->collect.b, r->collect.b->data, r->collect.b->w);
	else if (r->kept.b != NULL)
		to->ops->data(to, r->kept.b, r->kept.b->data, r->kept.b->w);
	if (r->is_collected || !msg_has_body(&r->m) || r->kept.has_end) {
		to->ops->end(to, NULL, 0);
		r->up_flow = FLOW_ENDED;
		r->t.sent_us = request_us(r);
	}
	x->kept = r->kept.is_on ? &r->kept : NULL;
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
	r->x->ops->read(r->x);
	return REQ_STAY;
}

/* --- the response --- */

static void
on_ended(struct exchange *x)
{
	struct request *r = x->user;

	r->down_flow = FLOW_ENDED;
	if (request_flush_client(r))
		request_check_done(r);
}

static void
on_refused(struct exchange *x)
{
	request_client_left(x->user);
}

static void
on_failed(struct exchange *x, enum exchange_failure why, uint16_t status, const char *reason)
{
	struct request *r = x->user;

	if (why == EXCHANGE_BAD)
		worker_count(r->w, STAT_BAD_RESPONSES);
	if (r->is_tunnel) {
		request_end(r, "tunnel_reset", 'S', CLIENT_ABORT);
		return;
	}
	switch (why) {
	case EXCHANGE_CONNECT: failed(r, SERVER_CONNECT, status, reason); break;
	case EXCHANGE_OURS: failed(r, SERVER_ABANDONED, status, reason); break;
	case EXCHANGE_TLS: failed(r, SERVER_TLS, status, reason); break;
	case EXCHANGE_NO_TLSD: failed(r, SERVER_NO_TLSD, status, reason); break;
	case EXCHANGE_BROKEN:
	case EXCHANGE_BAD: failed(r, SERVER_BROKEN, status, reason); break;
	case EXCHANGE_REFUSED: give_up(r, SERVER_ABANDONED, status, reason, false, true); break;
	case EXCHANGE_GONE: give_up(r, SERVER_ABANDONED, status, reason, x->is_reused, true); break;
	case EXCHANGE_UNFIT: failed(r, SERVER_ABANDONED, status, reason); break;
	}
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
	r->fwd.scheme = arena_dup(&r->arena, r->fwd.scheme);
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
	r->generation = r->pin->s->generation;
	worker_unpin(r->w, r->pin);
	r->pin = NULL;
}

/* What the client gets of the server's head. false: the request has failed. */
static bool
make_head(struct request *r)
{
	uint16_t sent = r->resp.field_count;

	request_log_answer(r);
	forward_response(&r->resp, &r->fwd, worker_date(r->w), &r->arena);
	if (request_answer_headers(r, &r->resp, sent))
		return true;
	request_fail(r, 502, "header_rules_too_large", 'P');
	return false;
}

static void
switch_protocols(struct request *r)
{
	if (!r->fwd.is_upgrade || !r->resp.has_upgrade) {
		failed(r, SERVER_BROKEN, 502, "unexpected_101");
		return;
	}
	if (!make_head(r))
		return;
	r->status = 101;
	r->head_sent = true;
	r->is_tunnel = true;
	worker_count(r->w, STAT_TUNNELS);
	r->down_flow = FLOW_OPEN;
	r->state = REQ_FLOW;
	r->x->ops->tunnel(r->x, r->cl->out);
	r->is_streamed = true;
	r->up_flow = FLOW_OPEN;
	r->cl->ops->tunnel(r->cl, &r->resp, r->x->sink);
	let_go(r);
	if (request_flush_client(r))
		arm(r);
}

static void
pass_interim(struct request *r)
{
	if (++r->interims > INTERIMS_MAX) {
		failed(r, SERVER_BROKEN, 502, "too_many_interim_responses");
		return;
	}
	/* A 100 answers an expectation that only such a client has. */
	if (r->resp.status != 100)
		r->interim_sent = true;
	worker_count(r->w, STAT_STATUS_1XX);
	forward_response(&r->resp, &r->fwd, slice_make(NULL, 0), &r->arena);
	request_interim_headers(r, &r->resp);
	if (r->resp.status != 100 || r->m.expect_continue)
		r->cl->ops->interim(r->cl, &r->resp);
}

/* Nothing will be sent again. */
static void
drop_kept(struct request *r)
{
	r->x->kept = NULL;
	kept_drop(&r->kept);
}

static void
pass_final(struct request *r)
{
	struct exchange *x = r->x;
	enum body_kind body;

	r->t.response_us = request_us(r);
	drop_kept(r);
	if (!make_head(r))
		return;
	/* Nobody will read the rest of the request body once the answer is out; or it may never
	 * come. */
	if (!r->cl->body_ended && (request_awaits_continue(r) || x->is_spent))
		r->cl->ops->close_after(r->cl);
	body = r->resp.body;
	request_send_head(r, &r->resp);
	/* The sink made an answer without a body of it: what the server sends for one must not be
	 * the next answer. */
	if (r->resp.body != body)
		x->is_spent = true;
	r->down_flow = FLOW_OPEN;
	r->state = REQ_FLOW;
	x->ops->body_to(x, r->cl->out);
	if (r->state != REQ_FLOW || r->down_flow != FLOW_OPEN)
		return;
	server_answers(r->server, r->pool, r->ask.now_ms, loop_now_ms(r->w->loop));
	arm(r);
}

static void
on_head(struct exchange *x)
{
	struct request *r = x->user;

	r->resp.field_cap = REQUEST_FIELDS;
	if (r->resp.status == 101)
		switch_protocols(r);
	else if (r->resp.status >= 200)
		pass_final(r);
	else
		pass_interim(r);
}

/* --- events --- */

static void
on_opened(struct exchange *x)
{
	request_run(x->user, REQ_SEND);
}

static void
on_moved(struct exchange *x)
{
	struct request *r = x->user;
	struct exchange_state s;

	if (r->state == REQ_FLOW && r->down_flow == FLOW_ENDED)
		request_check_done(r);
	if (r->x != x || r->state == REQ_DONE)
		return;
	s = x->ops->state(x);
	if (s.progress != r->up_progress)
		set_deadline(r, s);
}

static void
on_expired(struct exchange *x)
{
	struct request *r = x->user;
	struct exchange_state s = x->ops->state(x);
	uint32_t ms = current_timeout(r, s.wait);

	/* Something else is waited for now, or bytes went by since (a tunnel's other direction): it
	 * starts over. */
	if (ms == 0 || ms != r->up_ms || s.progress != r->up_progress) {
		set_deadline(r, s);
		return;
	}
	/* Quiet for a while: has the server gone without an event? */
	if (!r->is_looked_at && ms > STREAM_LOOK_MS) {
		r->is_looked_at = true;
		deadline_set(r->w->loop, x->dl, ms - STREAM_LOOK_MS);
		x->ops->look(x);
		return;
	}
	if (s.wait == EXCHANGE_TLSD)
		failed(r, SERVER_NO_TLSD, 504, "tls_unavailable");
	else if (s.wait == EXCHANGE_SHAKING)
		failed(r, SERVER_TLS, 504, "tls_timeout");
	else if (r->state == REQ_CONNECT)
		failed(r, SERVER_CONNECT, 504, "connect_timeout");
	else if (r->is_tunnel)
		request_end(r, "tunnel_timeout", 's', CLIENT_KEEP);
	else if (s.wait == EXCHANGE_SENDING)
		failed(r, SERVER_TIMEOUT, 504, "send_timeout");
	else
		failed(r, SERVER_TIMEOUT, 504,
			r->state == REQ_FLOW ? "read_timeout" : "response_timeout");
}

static const struct exchange_events events = {
	.opened = on_opened,
	.head = on_head,
	.ended = on_ended,
	.refused = on_refused,
	.failed = on_failed,
	.moved = on_moved,
	.expired = on_expired,
};

void
attempt_body_ended(struct request *r)
{
	r->t.sent_us = request_us(r);
	r->x->sink->ops->flush(r->x->sink);
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
	else if (r->state == REQ_WAIT && r->x != NULL)
		r->x->ops->read(r->x);
	else
		request_check_done(r);
}

bool
attempt_owes(const struct request *r)
{
	return r->x != NULL && r->x->ops->state(r->x).wait == EXCHANGE_SENDING;
}

/* One side of a tunnel was cut off: the other shall not take what it got for whole. */
void
attempt_cut(struct request *r)
{
	if (r->x != NULL)
		drop_exchange(r, EXCHANGE_RESET);
}
