/*
 * target.c: the set of what is probed: building it from a configuration, keeping what is known over
 * reloads, applying overrides, following DNS, taking in results.
 */
#include "healthd/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/log.h"
#include "libcommon/mem.h"

/* --- the first round ------------------------------------------------------- */

static void
look_at_round(const struct target_set *s, struct target_pool *p)
{
	size_t up = 0;

	if (p->awaited > 0 || p->is_round_done || p->n == 0)
		return;
	p->is_round_done = true;
	for (size_t i = 0; i < p->n; i++)
		up += p->targets[i]->rise.state == PROBE_UP;
	LOG_INFO("first_round_done", L_STR("pool", p->name), L_INT("servers", p->n),
		L_INT("up", up));
	/* every shard says so */
	for (size_t i = 0; i < p->n; i++)
		s->hooks.changed(s->hooks.arg, p->targets[i]);
}

static void
stop_awaiting(struct target *t)
{
	if (!t->is_awaited)
		return;
	t->is_awaited = false;
	t->pool->awaited--;
	look_at_round(t->set, t->pool);
}

/* --- results --------------------------------------------------------------- */

/* The first good answer of each server is no news: the end of the round counts them. */
static void
log_change(const struct target *t, enum probe_state before)
{
	static struct log_limit limit = { .burst = 50 };
	uint32_t dropped;

	if (before == PROBE_UNKNOWN && t->rise.state == PROBE_UP)
		return;
	if (!log_allow(&limit, &dropped))
		return;
	if (dropped)
		LOG_WARN("server_changes_not_logged", L_INT("count", dropped));
	if (t->rise.state == PROBE_UP)
		LOG_INFO("server_up", L_STR("pool", t->pool->name), L_STR("server", t->name),
			L_STR("address", t->address), L_INT("rise", t->rise.rise),
			L_INT("took_us", t->took_us));
	else
		LOG_WARN("server_down", L_STR("pool", t->pool->name), L_STR("server", t->name),
			L_STR("address", t->address), L_STR("reason", t->reason),
			L_INT("fall", t->rise.fall), L_INT("took_us", t->took_us));
}

void
target_result(struct target *t, bool is_good, const char *reason, uint64_t took_us)
{
	const struct checkcfg *c = t->pool->check;
	uint64_t now_ms = loop_now_ms(t->set->loop);
	enum probe_state before = t->rise.state;
	bool was_probed = t->probed_ms != 0;
	bool is_new;

	t->probed_ms = now_ms;
	t->took_us = took_us;
	if (is_good)
		t->failing_ms = 0;
	else if (!t->failing_ms)
		t->failing_ms = now_ms;
	strncpy(t->reason, reason, sizeof(t->reason) - 1);
	is_new = rise_feed(&t->rise, is_good, (uint32_t)c->rise, (uint32_t)c->fall);
	if (is_new) {
		t->since_ms = now_ms;
		log_change(t, before);
	}
	if (is_new || !was_probed)
		t->set->hooks.changed(t->set->hooks.arg, t);
	stop_awaiting(t);
}

/* --- addresses ------------------------------------------------------------- */

static void
set_addr(struct target *t, const struct addr *a)
{
	if (t->addr.len == a->len && addr_eq(&t->addr, a))
		return;
	t->addr = *a;
	t->set->hooks.moved(t->set->hooks.arg, t);
}

static void
on_resolved(void *arg, const struct resolve_answer *answer)
{
	struct target *t = arg;

	if (answer->error)
		LOG_WARN("server_name_unresolved", L_STR("pool", t->pool->name),
			L_STR("server", t->name), L_STR("name", t->spec.name),
			L_STR("reason", answer->error), L_INT("addresses_kept", answer->n));
	if (answer->n > 0) {
		set_addr(t, &answer->addrs[0]);
		return;
	}
	/* no evidence against it; but nobody waits for it either */
	strncpy(t->reason, "no_address", sizeof(t->reason) - 1);
	t->set->hooks.changed(t->set->hooks.arg, t);
	stop_awaiting(t);
}

/* The address to probe: the server's, or the check's port on it. */
static struct addr
literal_addr(const struct target *t, const struct checkcfg *c)
{
	struct addr a = t->spec.addr;

	if (c->port && a.sa.sa_family == AF_INET)
		a.in.sin_port = htons((uint16_t)c->port);
	else if (c->port && a.sa.sa_family == AF_INET6)
		a.in6.sin6_port = htons((uint16_t)c->port);
	return a;
}

static uint16_t
port_of(const struct target *t, const struct checkcfg *c)
{
	return c->port ? (uint16_t)c->port : t->spec.port;
}

/* Find, or go on following, the address; after each load, since the check's port may differ. */
static void
follow_addr(struct target *t, const struct checkcfg *before)
{
	const struct checkcfg *c = t->pool->check;
	struct addr a;

	if (t->spec.kind != ADDR_NAME) {
		a = literal_addr(t, c);
		set_addr(t, &a);
		return;
	}
	if (t->watch && before && port_of(t, before) == port_of(t, c))
		return;
	resolve_unwatch(t->watch);
	t->watch = resolve_watch(t->set->resolver, t->spec.name, port_of(t, c), on_resolved, t);
}

/* --- overrides ------------------------------------------------------------- */

static void
apply_override(struct target *t, int64_t now_s)
{
	struct target_set *s = t->set;
	struct override_effect e = overrides_find(&s->overrides, t->pool->name, t->name, now_s);
	bool was_paused = t->is_paused;

	t->action = e.action;
	t->is_paused = e.action == OVERRIDE_DISABLE || t->is_config_down;
	if (e.next_s && (!s->override_expiry_s || e.next_s < s->override_expiry_s))
		s->override_expiry_s = e.next_s;
	if (t->is_paused)
		stop_awaiting(t);
	if (was_paused != t->is_paused)
		s->hooks.moved(s->hooks.arg, t);
}

static void
apply_overrides(struct target_set *s)
{
	int64_t now_s = loop_wall_s(s->loop);
	struct target *t;
	struct target *tmp;

	s->override_expiry_s = 0;
	HASH_ITER (hh, s->targets, t, tmp)
		apply_override(t, now_s);
}

void
target_set_expire(struct target_set *s)
{
	if (s->override_expiry_s && loop_wall_s(s->loop) >= s->override_expiry_s)
		apply_overrides(s);
}

size_t
target_set_unmatched(const struct target_set *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->overrides.n; i++) {
		const struct override *v = &s->overrides.v[i];
		const struct target_pool *p = target_pool_find(s, v->pool);
		bool is_known = false;

		for (size_t k = 0; p && k < p->n && !is_known; k++)
			is_known = strcmp(p->targets[k]->name, v->server) == 0;
		n += !is_known;
	}
	return n;
}

int
target_set_overrides(struct target_set *s, const char *state_dir, struct err *err)
{
	struct err why = { 0 };

	if (overrides_read(&s->overrides, state_dir, &why)) {
		LOG_ERROR("overrides_unreadable", L_STR("problem", why.text),
			L_INT("entries_kept", s->overrides.n));
		s->overrides_error = why;
		return err_set(err, "%s; the %zu entries read before stay in force", why.text,
			s->overrides.n);
	}
	s->overrides_error.text[0] = '\0';
	apply_overrides(s);
	return 0;
}

/* --- building -------------------------------------------------------------- */

static size_t
make_key(char *key, size_t room, const char *pool, const char *name, const char *address)
{
	const char *parts[] = { pool, name, address };
	size_t n = 0;

	for (int i = 0; i < 3; i++) {
		size_t len = strlen(parts[i]) + 1;

		if (n + len > room)
			return 0;
		memcpy(key + n, parts[i], len);
		n += len;
	}
	return n;
}

struct target *
target_find(const struct target_set *s, const char *pool, const char *name, const char *address)
{
	struct target *t = NULL;
	char key[4 * BUSMSG_NAME_MAX];
	size_t n = make_key(key, sizeof(key), pool, name, address);

	if (n > 0)
		HASH_FIND(hh, s->targets, key, (unsigned)n, t);
	return t;
}

static struct target *
new_target(struct target_set *s, const char *pool, const struct servercfg *cfg)
{
	size_t room = strlen(pool) + strlen(cfg->name) + strlen(cfg->address_text) + 3;
	struct target *t = xcalloc(1, sizeof(*t) + room);

	make_key(t->key, room, pool, cfg->name, cfg->address_text);
	t->name = t->key + strlen(pool) + 1;
	t->address = t->name + strlen(t->name) + 1;
	t->set = s;
	t->spec = cfg->address;
	t->since_ms = loop_now_ms(s->loop);
	HASH_ADD(hh, s->targets, key[0], (unsigned)room, t);
	return t;
}

static void
free_target(struct target *t)
{
	t->set->hooks.removed(t->set->hooks.arg, t);
	resolve_unwatch(t->watch);
	HASH_DEL(t->set->targets, t);
	free(t);
}

static void
load_server(struct target_set *s, struct target_pool *p, const struct servercfg *cfg)
{
	struct target *t = target_find(s, p->name, cfg->name, cfg->address_text);
	const struct checkcfg *before = t ? t->pool->check : NULL;

	if (t && t->is_kept)
		return; /* the same server twice in one pool */

	bool is_new = !t;

	if (is_new)
		t = new_target(s, p->name, cfg);
	t->pool = p;
	t->is_kept = true;
	t->is_config_down = cfg->down;
	t->index = p->n;
	p->targets[p->n++] = t;
	/* Of one that was given up, as its name has no address, nothing new may ever be told. */
	t->is_awaited =
		!p->is_round_done && t->probed_ms == 0 && (is_new || t->is_awaited || t->is_paused);
	p->awaited += t->is_awaited;
	if (is_new)
		s->hooks.added(s->hooks.arg, t);
	follow_addr(t, before);
}

struct target_pool *
target_pool_find(const struct target_set *s, const char *name)
{
	for (size_t i = 0; i < s->pool_count; i++)
		if (strcmp(s->pools[i].name, name) == 0)
			return &s->pools[i];
	return NULL;
}

static void
load_pool(struct target_set *s, struct target_pool *p, const struct poolcfg *cfg,
	const struct target_set *old)
{
	const struct target_pool *before = target_pool_find(old, cfg->name);

	p->name = cfg->name;
	p->check = &cfg->check;
	p->tls = cfg->tls;
	p->is_round_done = before && before->is_round_done;
	p->targets = xcalloc(cfg->servers.n ? cfg->servers.n : 1, sizeof(*p->targets));
	for (size_t i = 0; i < cfg->servers.n; i++)
		load_server(s, p, CFG_AT(struct servercfg, cfg->servers, i));
}

void
target_set_load(struct target_set *s, const struct commoncfg *common)
{
	struct target_set old = *s;
	struct target *t;
	struct target *tmp;

	HASH_ITER (hh, s->targets, t, tmp)
		t->is_kept = false;
	s->pools = xcalloc(common->pools.n ? common->pools.n : 1, sizeof(*s->pools));
	s->pool_count = 0;
	for (size_t i = 0; i < common->pools.n; i++) {
		const struct poolcfg *cfg = CFG_AT(struct poolcfg, common->pools, i);

		if (cfg->check.kind != CHECK_NONE)
			load_pool(s, &s->pools[s->pool_count++], cfg, &old);
	}
	HASH_ITER (hh, s->targets, t, tmp)
		if (!t->is_kept)
			free_target(t);
	for (size_t i = 0; i < old.pool_count; i++)
		free(old.pools[i].targets);
	free(old.pools);
	apply_overrides(s);
	/* The one that was waited for may be gone. */
	for (size_t i = 0; i < s->pool_count; i++)
		look_at_round(s, &s->pools[i]);
}

void
target_set_init(
	struct target_set *s, struct loop *l, struct resolver *r, const struct target_hooks *hooks)
{
	*s = (struct target_set){ .loop = l, .resolver = r, .hooks = *hooks };
}

void
target_set_fini(struct target_set *s)
{
	struct target *t;
	struct target *tmp;

	HASH_ITER (hh, s->targets, t, tmp)
		free_target(t);
	for (size_t i = 0; i < s->pool_count; i++)
		free(s->pools[i].targets);
	free(s->pools);
	overrides_fini(&s->overrides);
}
