/*
 * request_headers: the rules of the configuration for fields, put to one request and its answers,
 * and where their variables get values from.
 */
#include "libcommon/clock.h"
#include "routerd/header_rules.h"
#include "routerd/request_state.h"

struct var_source
request_vars(struct request *r)
{
	struct respond_info info = request_info(r);

	return (struct var_source){
		.req = &r->m,
		.req_fields = r->req_fields,
		.from = &r->fwd,
		.tls = r->cl->conn->tls,
		.client = info.client,
		.request_id = info.request_id,
		.listener = info.listener.p,
		.route = r->route_name,
		.pool = r->pool_name,
		.server = r->server_name,
		.reason = r->reason,
		.tries = r->tries,
		.response_us = request_us(r),
		.wall_ms = clock_wall_ms,
	};
}

bool
request_set_headers(struct request *r)
{
	struct var_source s;
	enum header_result result;

	r->authority = r->m.authority;
	if (r->route->request_rules == NULL)
		return true;
	s = request_vars(r);
	result = header_rules_request(r->route->request_rules, &r->m, &s, &r->authority, &r->arena);
	if (result == HEADERS_TOO_LARGE)
		request_fail(r, 431, "header_rules_too_large", 'P');
	else if (result == HEADERS_BAD_HOST)
		request_fail(r, 400, "header_rules_bad_host", 'P');
	return result == HEADERS_OK;
}

static const struct header_rules *
rules_of(const struct request *r)
{
	return r->route != NULL ? r->route->response_rules : r->pin->s->response_rules;
}

bool
request_answer_headers(struct request *r, struct msg *m, uint16_t sent)
{
	const struct header_rules *rules = rules_of(r);
	struct var_source s;

	if (rules == NULL)
		return true;
	s = request_vars(r);
	s.status = m->status;
	s.resp = sent > 0 ? m : NULL;
	s.resp_fields = sent;
	return header_rules_response(rules, m, &s, &r->arena) == HEADERS_OK;
}

void
request_interim_headers(struct request *r, struct msg *m)
{
	if (r->route->response_rules != NULL)
		header_rules_interim(r->route->response_rules, m);
}

void
request_own_headers(struct request *r, struct msg *m)
{
	struct field *fields;

	if (rules_of(r) == NULL)
		return;
	fields = arena_alloc(&r->arena, (m->field_count + CONFIG_HEADERS_MAX) * sizeof(*fields));
	memcpy(fields, m->fields, m->field_count * sizeof(*fields));
	m->fields = fields;
	m->field_cap = (uint16_t)(m->field_count + CONFIG_HEADERS_MAX);
	/* With some of them it is better than no answer. */
	request_answer_headers(r, m, 0);
}
