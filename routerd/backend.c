/*
 * backend.c: the life of pools and servers. A pool is made for a snapshot and
 * goes with it; a server goes when its last pool has gone and every worker has
 * forgotten its id. All of it on the main thread, but for pool_unref.
 */
#include "routerd/backend_int.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "libcommon/mem.h"

/* How often servers that are gone but for tunnels are looked at. */
#define RETIRE_EVERY_MS 1000

static void free_retired(void *arg);

struct backends *
backends_new(struct loop *main_loop, struct err *err)
{
	struct resolver *resolver = resolve_new(main_loop, err);

	if (!resolver)
		return NULL;

	struct backends *b = xcalloc(1, sizeof(*b));

	b->loop = main_loop;
	b->resolver = resolver;
	b->retire_timer = loop_timer_new(main_loop, free_retired, b);
	backend_mail_init(b);
	backend_judge_init(b);
	return b;
}

void
backends_run(struct backends *b, const struct backends_ops *ops, struct workers *ws)
{
	b->ops = ops;
	b->ws = ws;
}

/* --- servers --- */

static size_t
key_size(const char *pool, const char *name, const char *address)
{
	return strlen(pool) + strlen(name) + strlen(address) + 3;
}

static void
key_write(char *to, const char *pool, const char *name, const char *address)
{
	to = stpcpy(to, pool) + 1;
	to = stpcpy(to, name) + 1;
	stpcpy(to, address);
}

struct server_state *
backends_find(struct backends *b, const char *pool, const char *name, const char *address)
{
	char small[512];
	size_t n = key_size(pool, name, address);
	char *key = n <= sizeof(small) ? small : xmalloc(n);
	struct server_state *st;

	key_write(key, pool, name, address);
	HASH_FIND(hh, b->servers, key, n, st);
	if (key != small)
		free(key);
	return st;
}

static uint32_t
take_id(struct backends *b)
{
	return b->free_count > 0 ? b->free_ids[--b->free_count] : b->next_id++;
}

static void
give_id(struct backends *b, uint32_t id)
{
	b->free_ids = xreallocarray(b->free_ids, b->free_count + 1, sizeof(b->free_ids[0]));
	b->free_ids[b->free_count++] = id;
}

static struct server_state *
server_new(struct backends *b, const struct poolcfg *pool, const struct servercfg *cfg)
{
	size_t n = key_size(pool->name, cfg->name, cfg->address_text);
	struct server_state *st = xcalloc(1, sizeof(*st) + n);
	struct server *s = xaligned(_Alignof(struct server), sizeof(*s));
	char host[TLSPOLICY_HOST];

	memset(s, 0, sizeof(*s));
	key_write(st->key, pool->name, cfg->name, cfg->address_text);
	st->key_len = n;
	st->b = b;
	st->server = s;
	st->spec = cfg->address;
	s->state = st;
	s->id = take_id(b);
	s->pool_name = st->key;
	s->name = st->key + strlen(st->key) + 1;
	st->address = st->key + n - strlen(cfg->address_text) - 1;
	s->host = xstrdup(tlspolicy_host(&st->spec, host));
	if (st->spec.kind != ADDR_NAME)
		s->addr = st->spec.addr;
	HASH_ADD(hh, b->servers, key, n, st);
	return st;
}

static void
server_free(struct server_state *st)
{
	free(st->server->host);
	free(st->server);
	free(st);
}

/* Free those that no worker knows any more; tunnels hold no pool, so they are waited for. */
static void
free_retired(void *arg)
{
	struct backends *b = arg;
	struct server_state *st;
	struct server_state *next;
	bool is_waiting = false;

	/* What workers said before may lie in the box. */
	backend_mail_empty(b);
	for (st = b->retired; st != NULL; st = next) {
		next = st->retired_next;
		if (!st->is_forgotten)
			continue;
		if (atomic_load_explicit(&st->server->inflight, memory_order_acquire) > 0) {
			is_waiting = true;
			continue;
		}
		LL_DELETE2(b->retired, st, retired_next);
		give_id(b, st->server->id);
		server_free(st);
	}
	if (is_waiting)
		loop_timer_set(b->retire_timer, RETIRE_EVERY_MS, false);
}

static void
on_forgotten(void *arg)
{
	struct server_state *st = arg;

	st->is_forgotten = true;
	free_retired(st->b);
}

static void
server_unref(struct server_state *st)
{
	struct backends *b = st->b;

	if (--st->refs > 0)
		return;
	HASH_DEL(b->servers, st);
	backend_names_unwatch(st);
	LL_PREPEND2(b->retired, st, retired_next);
	if (b->ws)
		b->ops->forget_server(b->ws, st->server->id, on_forgotten, st);
	else
		on_forgotten(st);
}

/* --- pools --- */

static void
add_member(struct pool *p, const struct poolcfg *cfg, const struct servercfg *s)
{
	struct server_state *st = backends_find(p->b, cfg->name, s->name, s->address_text);

	if (!st)
		st = server_new(p->b, cfg, s);
	st->refs++;
	p->members[p->count++] = (struct member){
		.server = st->server,
		.weight = (uint32_t)s->weight,
		.is_backup = s->backup,
		.is_down = s->down,
	};
}

struct pool *
backends_pool(struct backends *b, const struct poolcfg *cfg)
{
	struct pool *p = xaligned(_Alignof(struct pool), sizeof(*p));
	const struct servercfg *servers = cfg->servers.v;

	memset(p, 0, sizeof(*p));
	p->magic = POOL_MAGIC;
	p->refs = 1;
	p->name = xstrdup(cfg->name);
	p->cfg = cfg;
	p->b = b;
	p->max_fails = (uint32_t)cfg->passive.max_fails;
	p->fail_timeout_ms =
		cfg->passive.fail_timeout_ms > 0 ? (uint64_t)cfg->passive.fail_timeout_ms : 1;
	p->budget_percent = (uint32_t)cfg->retry_budget_percent;
	p->budget_min = (uint32_t)cfg->retry_budget_min;
	p->is_single = cfg->servers.n == 1;
	p->is_checked = cfg->check.kind != CHECK_NONE;
	p->is_tcp_check = cfg->check.kind == CHECK_TCP;
	p->rise = (uint32_t)cfg->check.rise;
	p->fall = (uint32_t)cfg->check.fall;
	p->check_port = (uint16_t)cfg->check.port;
	p->method = lb_method(cfg->balance);
	p->members = xcalloc(cfg->servers.n, sizeof(p->members[0]));
	for (size_t i = 0; i < cfg->servers.n; i++)
		add_member(p, cfg, &servers[i]);
	DL_APPEND(b->pools, p);
	backend_judge_now(p);
	return p;
}

static void
pool_free(struct pool *p)
{
	struct backends *b = p->b;

	DL_DELETE(b->pools, p);
	lb_table_free(atomic_load(&p->table));
	for (unsigned i = 0; i < p->count; i++)
		server_unref(p->members[i].server->state);
	free(p->members);
	free((char *)(uintptr_t)p->name);
	p->magic = 0;
	free(p);
}

static void
on_unreferenced(void *arg)
{
	pool_free(arg);
}

void
pool_unref(struct pool *p)
{
	if (!p)
		return;
	assert(p->magic == POOL_MAGIC);
	if (atomic_fetch_sub(&p->refs, 1) == 1)
		loop_post(p->b->loop, on_unreferenced, p);
}

struct pool *
backends_live(const struct backends *b, const char *pool)
{
	struct pool *p;

	DL_FOREACH (b->pools, p)
		if (p->is_live && strcmp(p->name, pool) == 0)
			return p;
	return NULL;
}

/* The new pool goes on where the old one of its name stands: a reload must not
 * favour those who come first, nor tell again what was told. */
static void
inherit(struct pool *p, const struct pool *old)
{
	for (int i = 0; i < LB_TIERS; i++)
		atomic_store(&p->turns[i].n, atomic_load(&old->turns[i].n));
	p->is_empty = old->is_empty;
	p->is_stale = old->is_stale;
	p->heard_ms = old->heard_ms;
}

void
backends_commit(struct backends *b, struct pool *const *pools, unsigned count)
{
	struct pool *p;

	for (unsigned i = 0; i < count; i++) {
		const struct pool *old = backends_live(b, pools[i]->name);

		if (old && old != pools[i])
			inherit(pools[i], old);
	}
	DL_FOREACH (b->pools, p)
		p->is_live = false;
	for (unsigned i = 0; i < count; i++) {
		p = pools[i];
		p->is_live = true;
		for (unsigned k = 0; k < p->count; k++)
			backend_names_watch(p->members[k].server->state);
		backend_judge_now(p);
	}
	backend_judge_rearm(b);
}

int
backends_overrides(struct backends *b, const char *state_dir, struct err *err)
{
	struct pool *p;

	if (overrides_read(&b->overrides, state_dir, err) < 0) {
		snprintf(b->overrides_error, sizeof(b->overrides_error), "%s", err->text);
		return -1;
	}
	b->overrides_error[0] = '\0';
	DL_FOREACH (b->pools, p)
		backend_judge_now(p);
	backend_judge_rearm(b);
	return 0;
}

static bool
has_server(const struct pool *p, const char *name)
{
	for (unsigned i = 0; i < p->count; i++)
		if (strcmp(p->members[i].server->name, name) == 0)
			return true;
	return false;
}

unsigned
backends_unmatched_overrides(const struct backends *b)
{
	unsigned n = 0;

	for (size_t i = 0; i < b->overrides.n; i++) {
		const struct override *v = &b->overrides.v[i];
		const struct pool *p = backends_live(b, v->pool);

		n += !p || !has_server(p, v->server);
	}
	return n;
}

void
backends_free(struct backends *b)
{
	struct server_state *st;

	if (!b)
		return;
	b->ws = NULL;
	b->on_evidence = NULL;
	while (b->pools)
		pool_free(b->pools);
	while ((st = b->retired) != NULL) {
		LL_DELETE2(b->retired, st, retired_next);
		server_free(st);
	}
	loop_timer_free(b->retire_timer);
	backend_mail_fini(b);
	backend_judge_fini(b);
	resolve_free(b->resolver);
	overrides_fini(&b->overrides);
	free(b->free_ids);
	free(b);
}
