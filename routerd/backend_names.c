/*
 * backend_names: addresses of servers that are configured by name. Of several
 * addresses one is used, the first at the beginning; when connecting to it fails,
 * the next one is, for all requests from then on. An answer that still has the
 * address in use changes nothing.
 */
#include "routerd/backend_int.h"

#include <stdlib.h>

#include "libcommon/mem.h"

static void
use_address(struct server_state *st, size_t at)
{
	static const struct addr none;
	struct backends *b = st->b;
	struct server *s = st->server;
	const struct addr *a = at < st->addr_count ? &st->addrs[at] : &none;

	st->addr_at = at;
	if (a->len == s->addr.len && (a->len == 0 || addr_eq(a, &s->addr)))
		return;
	server_set_addr(s, a);
	if (b->ws)
		b->ops->close_idle(b->ws, s->id);
	backend_judge_named(b, s->pool_name);
}

static void
on_answer(void *arg, const struct resolve_answer *answer)
{
	struct server_state *st = arg;
	size_t at = 0;

	st->is_answered = true;
	if (answer->n == 0) {
		backend_judge_named(st->b, st->server->pool_name);
		LOG_WARN("resolve_failed", L_STR("pool", st->server->pool_name),
			L_STR("server", st->server->name), L_STR("name", st->spec.name),
			L_STR("reason", answer->error ? answer->error : ""));
		return;
	}
	for (size_t i = 0; i < answer->n; i++)
		if (addr_eq(&answer->addrs[i], &st->server->addr))
			at = i;
	st->addrs = xreallocarray(st->addrs, answer->n, sizeof(*st->addrs));
	memcpy(st->addrs, answer->addrs, answer->n * sizeof(*st->addrs));
	st->addr_count = answer->n;
	use_address(st, at);
}

void
backend_names_watch(struct server_state *st)
{
	if (st->spec.kind != ADDR_NAME || st->watch)
		return;
	st->watch = resolve_watch(st->b->resolver, st->spec.name, st->spec.port, on_answer, st);
}

void
backend_names_unwatch(struct server_state *st)
{
	if (st->watch)
		resolve_unwatch(st->watch);
	st->watch = NULL;
	free(st->addrs);
	st->addrs = NULL;
	st->addr_count = 0;
}

void
backend_names_rotate(struct server_state *st)
{
	if (st->addr_count > 1)
		use_address(st, (st->addr_at + 1) % st->addr_count);
}
