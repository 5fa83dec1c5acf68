/*
 * request_log: what the access log is told of a request that is over. Its line is made as the
 * worker's generation wants it, not the one that the request has held: a tunnel holds none, and
 * what a file gets is in one format from the reload on.
 */
#include "libcommon/clock.h"
#include "routerd/logformat.h"
#include "routerd/request_state.h"

static struct slice
field_value(const struct request *r, enum field_id id)
{
	const struct field *f = msg_field(&r->m, id);

	return f ? f->value : slice_make(NULL, 0);
}

/* What variables have their values from, with what may be gone already put beside. */
struct log_source {
	struct forward_info from;
	struct msg answer;
	struct var_source vars;
};

/* HTTP/2 counts those that have begun, HTTP/1 those before. 0: what was refused tells not which. */
static unsigned
connection_requests(const struct request *r)
{
	const struct conn *c = r->cl->conn;

	return r->m.version_major > 0 ? c->served + (r->m.version_major < 2) : 0;
}

static void
set_source(struct log_source *s, struct request *r, const struct access_entry *e)
{
	s->from = r->fwd;
	s->from.cert = e->cert;
	s->from.is_cert_verified = e->is_cert_verified;
	s->answer = (struct msg){ .fields = r->kept_fields, .field_count = r->kept_count };
	s->vars = (struct var_source){
		.req = &r->m,
		.req_fields = r->req_fields,
		.resp = &s->answer,
		.resp_fields = r->kept_count,
		.from = &s->from,
		.tls = r->cl->conn->tls,
		.client = e->client,
		.request_id = e->request_id,
		.listener = e->listener,
		.route = e->route,
		.pool = e->pool,
		.server = e->server,
		.reason = e->reason,
		.status = e->status,
		.tries = e->tries,
		.response_us = e->t.response_us,
		.wall_ms = clock_wall_ms,
		.log = e,
		.is_own_answer = r->is_own_answer,
		.connection_requests = connection_requests(r),
		.worker = r->w->id,
		.generation = r->pin != NULL ? r->pin->s->generation : r->generation,
	};
}

/* The field text of an answer is gone when the line is made: what it wants of it is kept. */
void
request_log_answer(struct request *r)
{
	const struct logformat *f = r->w->snap->s->log_format;

	r->kept_fields = NULL;
	r->kept_count = 0;
	if (f->answer_field_count == 0 || r->w->log == NULL)
		return;
	r->kept_fields = arena_alloc(&r->arena, r->resp.field_count * sizeof(*r->kept_fields));
	r->kept_count = var_keep_fields(f->answer_fields, f->answer_field_count, r->resp.fields,
		r->resp.field_count, r->kept_fields, &r->arena);
}

void
request_log(struct request *r)
{
	const struct logformat *format = r->w->snap->s->log_format;
	const struct conn *c = r->cl->conn;
	struct log_source source;
	struct access_entry e = {
		.wall_s = loop_wall_s(r->w->loop),
		.client = r->fwd.http ? forward_client(&r->m, &r->fwd) : r->client,
		.peer = conn_peer(c),
		.method = r->m.method_name,
		.target = r->m.target,
		.host = r->m.authority,
		.referer = field_value(r, FIELD_REFERER),
		.user_agent = field_value(r, FIELD_USER_AGENT),
		.request_id = request_id(r),
		.version_major = r->m.version_major,
		.version_minor = r->m.version_minor,
		.status = r->status ? r->status : 499,
		.body_bytes = r->bytes.out,
		.request_bytes = r->bytes.in,
		.listener = worker_listener_name(c->l),
		.route = r->route_name,
		.pool = r->pool_name,
		.server = r->server_name,
		.termination = r->term,
		.reason = r->reason,
		.tries = r->tries,
		.is_tls = c->is_tls,
		.cert = c->cert != NULL ? &c->cert->facts : NULL,
		.is_cert_verified = c->cert != NULL && c->cert->is_verified,
		.is_reused = r->is_reused,
		.t = r->t,
	};

	e.t.end_us = loop_now_us(r->w->loop) - r->first_us;
	e.t.end_us += e.t.end_us == 0;
	e.wall_start_s = e.wall_s - (int64_t)(e.t.end_us / 1000000);
	if (format->count > 0)
		set_source(&source, r, &e);
	accesslog_write(r->w->log, format, &e, &source.vars);
}
