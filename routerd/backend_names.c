/*
 * backend_names: addresses of servers that are configured by name. Of several
 * addresses one is used, the first at the beginning; when connecting to it fails,
 * the next one is, for all requests from then on. An answer that still has the
 * address in use changes nothing.
 */
#include "routerd/backend_int.h"

#include <stdlib.h>
#include <utlist.h>

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
keep_addresses(struct server_state *st, const struct resolve_answer *answer)
{
	st->addrs = xreallocarray(st->addrs, answer->n, sizeof(*st->addrs));
	memcpy(st->addrs, answer->addrs, answer->n * sizeof(*st->addrs));
	st->addr_count = answer->n;
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
	keep_addresses(st, answer);
	use_address(st, at);
}

/* --- the first answers --- */

/* A question of a resolver that lives for these questions only: the main loop
 * cannot be run from inside one of its own callbacks. */
struct first {
	struct server_state *st;
	struct resolve_watch *watch;
	struct lookup *all;
	bool is_answered;
};

struct lookup {
	struct loop *loop;
	struct first *v;
	unsigned count;
	unsigned pending;
};

static void
on_first(void *arg, const struct resolve_answer *answer)
{
	struct first *f = arg;

	if (answer->n > 0 && f->st->server->addr.len == 0) {
		keep_addresses(f->st, answer);
		server_set_addr(f->st->server, &f->st->addrs[0]);
	}
	if (!f->is_answered && --f->all->pending == 0)
		loop_stop(f->all->loop);
	f->is_answered = true;
}

static void
on_patience_lost(void *arg)
{
	loop_stop(arg);
}

static void
ask_first(struct lookup *l, struct resolver *r)
{
	struct loop_timer *patience = loop_timer_new(l->loop, on_patience_lost, l->loop);

	for (unsigned i = 0; i < l->count; i++) {
		struct first *f = &l->v[i];

		f->all = l;
		f->watch = resolve_watch(r, f->st->spec.name, f->st->spec.port, on_first, f);
	}
	l->pending = l->count;
	loop_timer_set(patience, BACKENDS_LOOKUP_MS, false);
	loop_run(l->loop);
	for (unsigned i = 0; i < l->count; i++)
		resolve_unwatch(l->v[i].watch);
	loop_timer_free(patience);
}

static void
find_new(struct backends *b, struct lookup *l)
{
	struct server_state *st;
	struct server_state *tmp;

	l->v = xcalloc(HASH_COUNT(b->servers) + 1, sizeof(l->v[0]));
	HASH_ITER (hh, b->servers, st, tmp)
		if (st->spec.kind == ADDR_NAME && !st->watch && st->server->addr.len == 0)
			l->v[l->count++].st = st;
}

void
backends_lookup(struct backends *b)
{
	struct lookup l = { 0 };
	struct resolver *r = NULL;
	struct err ignored;
	struct pool *p;

	find_new(b, &l);
	if (l.count > 0)
		l.loop = loop_new();
	if (l.loop)
		r = resolve_new(l.loop, &ignored);
	if (r) {
		ask_first(&l, r);
		resolve_free(r);
		DL_FOREACH (b->pools, p)
			if (!p->is_live)
				backend_judge_now(p);
	}
	if (l.loop)
		loop_free(l.loop);
	free(l.v);
}

/* --- from then on --- */

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
