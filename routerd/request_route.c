/*
 * request_route: where a request goes: what may not pass at all, ACME challenges, host and route;
 * then to a pool, or to an answer of our own.
 */
#include "routerd/request_state.h"
#include "routerd/route.h"

/* A body up to this size is collected before a server is taken. */
#define COLLECT_MAX 65536

static struct slice
scheme_of(const struct conn *c, const struct listener *on)
{
	if (c->is_tls)
		return SLICE("https");
	return on != NULL ? on->scheme : SLICE("http");
}

static struct slice
host_of(struct slice authority)
{
	struct slice host = authority;
	uint16_t port;

	if (authority.n > 0)
		http1_host(authority, &host, &port);
	return host;
}

static enum req_state
refuse(struct request *r, uint16_t status, const char *reason)
{
	request_fail(r, status, reason, 'P');
	return REQ_STAY;
}

static void
know_client(struct request *r, const struct listener *on)
{
	const struct conn *c = r->cl->conn;

	r->fwd = (struct forward_info){
		.http = r->pin->s->http,
		.peer = conn_peer(c),
		.peer_is_trusted = conn_is_trusted(c, r->pin->s->http),
		.peer_is_ipv6 = c->is_ipv6,
		.scheme = scheme_of(c, on),
		.authority = r->m.authority,
		.via_name = SLICE("weir"),
		.cert = c->cert != NULL ? &c->cert->facts : NULL,
		.is_cert_verified = c->cert != NULL && c->cert->is_verified,
	};
}

/* OPTIONS and TRACE that may go no further (RFC 9110 §7.6.2). */
static bool
is_at_last_hop(const struct msg *m)
{
	const struct field *f = msg_field(m, FIELD_MAX_FORWARDS);
	uint64_t n;

	return (m->method == METHOD_OPTIONS || m->method == METHOD_TRACE) && f != NULL &&
		slice_to_u64(f->value, &n) && n == 0;
}

/* What is refused whatever the route; NULL when nothing is. */
static const char *
unwanted(const struct request *r, uint16_t *status)
{
	if (r->m.method == METHOD_CONNECT) {
		*status = 405;
		return "connect_method";
	}
	if (r->route->action == ACTION_POOL && is_at_last_hop(&r->m)) {
		*status = 405;
		return "max_forwards";
	}
	if (r->m.is_bad_expect) {
		*status = 417;
		return "bad_expect";
	}
	if (r->m.body == BODY_LENGTH && r->m.content_length > r->route->max_body) {
		*status = 413;
		return "body_too_large";
	}
	return NULL;
}

/* Upgrades pass, but for h2c: HTTP/2 behind our back would go unparsed (and a body would stand in
 * front of it). */
static bool
may_upgrade(const struct msg *m)
{
	struct slice rest = m->upgrade;
	struct slice one;

	if (!m->has_upgrade || msg_has_body(m))
		return false;
	while (field_list_next(&rest, &one))
		if (slice_caseeq(one, SLICE("h2c")) || slice_caseeq(one, SLICE("h2")))
			return false;
	return true;
}

static enum req_state
to_pool(struct request *r)
{
	r->pool = r->route->pool;
	r->pool_name = pool_name(r->pool);
	pool_active(r->pool, 1);
	r->is_counted = true;
	r->fwd.is_upgrade = may_upgrade(&r->m);
	r->path = r->route->strip.n > 0 ? route_strip(r->route, r->m.path, &r->arena) : r->m.path;
	r->m.field_cap = REQUEST_FIELDS;
	forward_request(&r->m, &r->fwd, &r->arena);
	if (!request_set_headers(r))
		return REQ_STAY;
	/* gRPC streams, also where it says a length. */
	if (r->m.body == BODY_LENGTH && r->m.content_length <= COLLECT_MAX &&
		!r->m.expect_continue && r->m.content_length > 0 && !respond_is_grpc(&r->m))
		return REQ_COLLECT;
	return REQ_PICK;
}

static const char *
path_problem(enum path_result p)
{
	switch (p) {
	case PATH_OK: break;
	case PATH_BAD_PERCENT: return "bad_percent";
	case PATH_NUL: return "nul_in_path";
	case PATH_ABOVE_ROOT: return "above_root";
	}
	return NULL;
}

static void
on_token(void *arg, enum acme_result found, struct slice text)
{
	struct request *r = arg;

	r->ask_token = NULL;
	r->knows_token = true;
	worker_count(r->w, found == ACME_FOUND ? STAT_ACME_ANSWERED : STAT_ACME_UNKNOWN);
	if (found != ACME_FOUND) {
		request_run(r, REQ_ROUTE);
		return;
	}

	struct respond_info info = request_info(r);
	struct answer *a = arena_alloc(&r->arena, sizeof(*a));

	r->route_name = "acme-challenge";
	memcpy(r->term, "LR", 3);
	respond_token(a, text, &info, &r->arena);
	request_answer(r, a);
}

/*
 * An ACME challenge comes before hosts and routes: the CA asks for a name that may have neither
 * yet, or a redirect. A token that is not ours goes on like any other path.
 */
static bool
ask_token(struct request *r, const struct httpcfg *http)
{
	struct slice token;

	if (http->acme_tokens == NULL || r->knows_token ||
		(r->m.method != METHOD_GET && r->m.method != METHOD_HEAD) ||
		!acme_token(r->m.path, &token))
		return false;
	r->ask_token = acme_ask(r->w->all->acme, r->w->loop, http->acme_tokens, token, on_token, r);
	if (r->ask_token != NULL)
		return true;
	worker_count(r->w, STAT_ACME_UNKNOWN);
	worker_count(r->w, STAT_ACME_BUSY);
	return false;
}

enum req_state
request_route(struct request *r)
{
	const struct snapshot *s = r->pin->s;
	const struct listener *on = worker_listener(r->pin, r->cl->conn->l);
	char *buf = arena_alloc(&r->arena, r->m.path.n);
	struct slice path;
	enum path_result p = route_normalise(r->m.path, buf, &path);
	uint16_t status = 0;
	const char *reason;

	r->req_fields = r->m.field_count;
	know_client(r, on);
	if (on == NULL) {
		r->cl->ops->close_after(r->cl);
		return refuse(r, 421, "listener_gone");
	}
	if (p != PATH_OK)
		return refuse(r, 400, path_problem(p));
	if (ask_token(r, s->http))
		return REQ_TOKEN;
	switch (route_find(s->routes, on, host_of(r->m.authority), path, &r->route)) {
	case ROUTE_NO_HOST: return refuse(r, r->fwd.scheme.n == 5 ? 421 : 404, "unknown_host");
	case ROUTE_NO_PATH: return refuse(r, 404, "no_route");
	case ROUTE_FOUND: break;
	}
	r->route_name = r->route->name;
	r->timeouts = r->route->timeouts;
	r->cl->ops->limits(r->cl, &r->timeouts, r->route->max_body);
	reason = unwanted(r, &status);
	if (reason != NULL)
		return refuse(r, status, reason);
	return r->route->action == ACTION_POOL ? to_pool(r) : REQ_LOCAL;
}
