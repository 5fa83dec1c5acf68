/*
 * snapshot: bound configuration in, compiled generation out. Built on the configuration thread or
 * main; after snapshot_set_pools nothing in it changes any more, so workers read it without a lock.
 */
#include "routerd/snapshot.h"

#include <stdlib.h>

#include "routerd/answer_texts.h"
#include "routerd/backend.h"
#include "routerd/header_rules.h"
#include "routerd/logformat.h"
#include "routerd/route.h"

static void
compile_listeners(struct snapshot *s)
{
	s->listener_count = (unsigned)s->http->listen.n;
	s->listeners = arena_calloc(&s->arena, s->listener_count + 1, sizeof(*s->listeners));
	for (unsigned i = 0; i < s->listener_count; i++) {
		const struct listencfg *l = CFG_AT(const struct listencfg, s->http->listen, i);

		s->listeners[i] = (struct listener){
			.cfg = l,
			.name = l->name,
			.index = i,
			.scheme = slice_str(config_listen_scheme(l)),
			.needs_proxy = l->from == LISTEN_TLSD,
		};
	}
}

/* The schema keeps both within a week. */
static uint32_t
own_or(int64_t own, uint32_t otherwise)
{
	return own > 0 ? (uint32_t)own : otherwise;
}

static struct timeouts
compile_timeouts(const struct timeoutcfg *c, const struct timeouts *otherwise)
{
	return (struct timeouts){
		.head = own_or(c->head, otherwise->head),
		.body = own_or(c->body, otherwise->body),
		.connect = own_or(c->connect, otherwise->connect),
		.tls = own_or(c->tls, otherwise->tls),
		.send = own_or(c->send, otherwise->send),
		.response = own_or(c->response, otherwise->response),
		.read = own_or(c->read, otherwise->read),
		.keepalive = own_or(c->keepalive, otherwise->keepalive),
		.tunnel = own_or(c->tunnel, otherwise->tunnel),
	};
}

static enum action
route_action(const struct routecfg *c)
{
	if (c->redirect.is_set)
		return ACTION_REDIRECT;
	if (c->respond.is_set)
		return ACTION_RESPOND;
	return c->echo ? ACTION_ECHO : ACTION_POOL;
}

static void
compile_rules(struct snapshot *s, const struct hostcfg *h, struct route *r)
{
	const struct headerset *request[] = { &s->http->headers.request, &h->headers.request,
		&r->cfg->headers.request };
	const struct headerset *response[] = { &s->http->headers.response, &h->headers.response,
		&r->cfg->headers.response };

	r->request_rules = header_rules_new(request, 3, VAR_REQUEST, &s->arena);
	r->response_rules = header_rules_new(response, 3, VAR_RESPONSE, &s->arena);
}

static void
compile_route(
	struct snapshot *s, const struct hostcfg *h, const struct routecfg *c, struct route *r)
{
	*r = (struct route){
		.name = arena_printf(&s->arena, "%s%s", *CFG_AT(char *, h->names, 0), c->path),
		.path = slice_str(c->path),
		.strip = slice_str(c->strip),
		.action = route_action(c),
		.cfg = c,
		.timeouts = compile_timeouts(&c->timeouts, &s->timeouts),
		.max_body = c->max_body ? c->max_body : s->max_body,
		.texts = answer_texts_new(c, &s->arena),
	};
	compile_rules(s, h, r);
}

static void
compile_routes(struct snapshot *s)
{
	const struct headerset *response = &s->http->headers.response;
	struct route *r;

	s->response_rules = header_rules_new(&response, 1, VAR_RESPONSE, &s->arena);
	for (size_t i = 0; i < s->http->hosts.n; i++)
		s->route_count +=
			(unsigned)CFG_AT(const struct hostcfg, s->http->hosts, i)->routes.n;
	s->route_v = arena_calloc(&s->arena, s->route_count + 1, sizeof(*s->route_v));
	r = s->route_v;
	for (size_t i = 0; i < s->http->hosts.n; i++) {
		const struct hostcfg *h = CFG_AT(const struct hostcfg, s->http->hosts, i);

		for (size_t k = 0; k < h->routes.n; k++)
			compile_route(s, h, CFG_AT(const struct routecfg, h->routes, k), r++);
	}
}

static void
compile_limits(struct snapshot *s)
{
	const struct httpcfg *h = s->http;

	s->request_limits = (struct http1_limits){
		.head_bytes = (uint32_t)h->limits.head,
		.target_bytes = (uint32_t)h->limits.request_line,
		.fields = (uint16_t)h->limits.fields,
	};
	s->response_limits = (struct http1_limits){
		.head_bytes = (uint32_t)h->limits.response_head,
		.target_bytes = (uint32_t)h->limits.response_head,
		.fields = 240,
	};
	s->max_body = h->limits.body ? h->limits.body : UINT64_MAX;
}

struct snapshot *
snapshot_new(struct daemon_cfg *dc, uint64_t generation, struct errs *errs)
{
	struct snapshot *s = xcalloc(1, sizeof(*s));
	size_t errors = errs->error_count;

	s->dc = dc;
	s->http = dc->own;
	s->generation = generation;
	atomic_init(&s->refs, 1);
	arena_init(&s->arena, 16384);
	s->timeouts = compile_timeouts(&s->http->timeouts, &(struct timeouts){ 0 });
	s->pool_count = (unsigned)dc->common.pools.n;
	s->pools = arena_calloc(&s->arena, s->pool_count + 1, sizeof(*s->pools));
	compile_limits(s);
	compile_listeners(s);
	compile_routes(s);
	s->log_format = logformat_new(s->http, &s->arena);
	s->routes = route_table_new(s, errs);
	if (errs->error_count == errors)
		return s;
	snapshot_unref(s);
	return NULL;
}

static struct pool *
pool_of(const struct snapshot *s, const char *name)
{
	for (unsigned i = 0; i < s->pool_count; i++) {
		const struct poolcfg *p = CFG_AT(const struct poolcfg, s->dc->common.pools, i);

		if (strcmp(p->name, name) == 0)
			return s->pools[i];
	}
	return NULL;
}

void
snapshot_set_pools(
	struct snapshot *s, struct pool *(*get)(void *arg, const struct poolcfg *cfg), void *arg)
{
	for (unsigned i = 0; i < s->pool_count; i++)
		s->pools[i] = get(arg, CFG_AT(const struct poolcfg, s->dc->common.pools, i));
	for (unsigned i = 0; i < s->route_count; i++)
		if (s->route_v[i].action == ACTION_POOL)
			s->route_v[i].pool = pool_of(s, s->route_v[i].cfg->pool);
}

void
snapshot_ref(struct snapshot *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void
snapshot_unref(struct snapshot *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < s->pool_count; i++)
		if (s->pools[i])
			pool_unref(s->pools[i]);
	arena_fini(&s->arena);
	daemon_cfg_free(s->dc);
	free(s);
}

const struct listener *
snapshot_listener(const struct snapshot *s, const char *name)
{
	for (unsigned i = 0; i < s->listener_count; i++)
		if (strcmp(s->listeners[i].name, name) == 0)
			return &s->listeners[i];
	return NULL;
}
