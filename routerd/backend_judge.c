/*
 * backend_judge: from facts to verdicts (verdict.h), from verdicts to the table
 * that workers pick from, and the events that tell of changes. Main thread.
 *
 * Passive blocks are not in the table: workers see them in the server's atomics
 * the moment they happen, and the trial request is theirs to give. So a server is
 * placed as if it were not blocked, and shown as it is. One kind of block is made
 * here: a server that was down when its probers fell silent is on probation, in
 * the table but blocked, which gives it one trial request per fail_timeout.
 */
#include "routerd/backend_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "libcommon/mem.h"

/* Between two rounds of judging: what a flood of news can cost. */
#define JUDGE_EVERY_MS 20
/* Server events per second; what is beyond is counted. */
#define EVENTS_PER_S 200

/* --- tables that were replaced --- */

static void on_swept(void *arg);

static void
sweep(struct backends *b)
{
	if (b->sweeping_count > 0 || b->garbage_count == 0)
		return;
	free(b->sweeping);
	b->sweeping = b->garbage;
	b->sweeping_count = b->garbage_count;
	b->garbage = NULL;
	b->garbage_count = b->garbage_cap = 0;
	b->ops->barrier(b->ws, on_swept, b);
}

static void
on_swept(void *arg)
{
	struct backends *b = arg;

	while (b->sweeping_count > 0)
		lb_table_free(b->sweeping[--b->sweeping_count]);
	sweep(b);
}

static void
discard_table(struct backends *b, struct lb_table *t)
{
	if (!t || !b->ws) {
		lb_table_free(t);
		return;
	}
	if (b->garbage_count == b->garbage_cap) {
		b->garbage_cap = b->garbage_cap ? b->garbage_cap * 2 : 8;
		b->garbage = xreallocarray(b->garbage, b->garbage_cap, sizeof(b->garbage[0]));
	}
	b->garbage[b->garbage_count++] = t;
	sweep(b);
}

/* --- one server --- */

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return !a ? b : !b ? a : a < b ? a : b;
}

/* What is known of a server, seen from a pool. */
static void
gather(const struct pool *p, const struct member *m, struct verdict_in *in)
{
	const struct server *s = m->server;
	struct backends *b = p->b;

	*in = (struct verdict_in){
		.now_ms = loop_now_ms(b->loop),
		.is_checked = p->is_checked,
		.probes = &s->state->probes,
		.passive = {
			.fail_timeout_ms = p->fail_timeout_ms,
			.blocked_until_ms = atomic_load(&s->blocked_until_ms),
			.last_success_ms = atomic_load(&s->last_success_ms),
		},
		.override = overrides_find(
			&b->overrides, p->name, s->name, loop_wall_s(b->loop)),
		.is_config_down = m->is_down,
		.has_address = s->addr.len != 0,
		.weight = m->weight,
	};
}

static uint64_t
override_end_ms(const struct pool *p, const struct verdict_in *in)
{
	int64_t left_s = in->override.next_s - loop_wall_s(p->b->loop);

	if (in->override.next_s == 0)
		return 0;
	return in->now_ms + (left_s > 0 ? (uint64_t)left_s * 1000 : 0) + 1;
}

/* Down by the word of probers that are silent now. */
static bool
is_on_probation(const struct verdict_out *place)
{
	return place->verdict == VERDICT_DOWN && place->is_stale;
}

/* Blocked by us unless it is blocked already; the trial is the workers' to give. */
static void
begin_probation(const struct verdict_in *in, struct server *s, const struct verdict_out *place)
{
	uint64_t none = 0;
	uint64_t until_ms = place->is_trial || !place->next_ms ? in->now_ms : place->next_ms;

	s->state->is_probation = true;
	atomic_compare_exchange_strong(&s->blocked_until_ms, &none, until_ms);
}

static void
end_probation(struct server *s)
{
	s->state->is_probation = false;
	atomic_store(&s->fails, 0);
	atomic_store(&s->blocked_until_ms, 0);
}

/* Its name has never been answered for, neither way. */
static bool
is_resolving(const struct server_state *st)
{
	return st->spec.kind == ADDR_NAME && !st->is_answered;
}

/* The verdict that counts for the table; *shown is the one for people. */
static struct verdict_out
judge_member(struct pool *p, const struct member *m, struct verdict_out *shown)
{
	struct server_state *st = m->server->state;
	struct verdict_in in;
	struct verdict_out place;
	uint64_t blocked_until_ms;

	gather(p, m, &in);
	blocked_until_ms = in.passive.blocked_until_ms;
	in.passive.blocked_until_ms = 0;
	verdict_merge(&in, &place);
	*shown = place;
	if (is_on_probation(&place)) {
		begin_probation(&in, m->server, &place);
	} else if (st->is_probation && p->is_live) {
		end_probation(m->server);
	} else if (blocked_until_ms) {
		in.passive.blocked_until_ms = blocked_until_ms;
		verdict_merge(&in, shown);
	}
	if (is_resolving(m->server->state) && shown->verdict == VERDICT_DOWN) {
		shown->verdict = VERDICT_UNKNOWN;
		shown->reason = "resolving";
	}
	if (p->is_single && shown->verdict == VERDICT_UP && p->max_fails > 0 &&
		server_fails(m->server) >= p->max_fails)
		shown->reason = "only_member";
	p->next_ms = sooner(p->next_ms, sooner(place.next_ms, shown->next_ms));
	p->next_ms = sooner(p->next_ms, override_end_ms(p, &in));
	return place;
}

static int
tier_of(const struct member *m, const struct verdict_out *place)
{
	if (place->weight == 0)
		return -1;
	if (place->rank == VERDICT_BEST || is_on_probation(place))
		return m->is_backup ? LB_BACKUP : LB_PRIMARY;
	if (place->rank == VERDICT_LAST_RESORT)
		return m->is_backup ? LB_UNKNOWN_BACKUP : LB_UNKNOWN;
	return -1;
}

/* --- events --- */

/* Whose word a reason is. */
static const char *
who_says(const char *reason)
{
	static const struct {
		const char *reason;
		const char *who;
	} words[] = {
		{ "operator", "operator" },
		{ "config", "config" },
		{ "no_address", "dns" },
		{ "resolving", "dns" },
		{ "passive", "passive" },
		{ "passive_veto", "passive" },
		{ "only_member", "passive" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(reason, words[i].reason) == 0)
			return words[i].who;
	return "probe";
}

static void
tell_change(struct backends *b, const struct server *s, const struct verdict_out *v,
	const char *old_reason)
{
	static const char *const events[] = {
		[VERDICT_UNKNOWN] = "server_unknown",
		[VERDICT_UP] = "server_up",
		[VERDICT_DOWN] = "server_down",
		[VERDICT_DRAIN] = "server_drain",
		[VERDICT_MAINT] = "server_maint",
	};
	uint32_t dropped = 0;

	if (!log_allow(&b->event_limit, &dropped))
		return;
	if (dropped > 0)
		LOG_WARN("server_events_dropped", L_INT("count", dropped));
	LOG_AT(v->verdict == VERDICT_DOWN ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, events[v->verdict],
		L_STR("pool", s->pool_name), L_STR("server", s->name), L_STR("reason", v->reason),
		/* Who has nothing against it any more is who had. */
		L_STR("by", who_says(v->reason[0] ? v->reason : old_reason)));
}

static void
show(struct pool *p, const struct member *m, const struct verdict_out *v)
{
	struct shown *shown = &m->server->state->shown;
	uint64_t now_ms = loop_now_ms(p->b->loop);

	if (!shown->is_known) {
		shown->is_known = true;
		shown->since_ms = now_ms;
		/* What everyone takes for granted is no event. */
		shown->verdict = p->is_checked || v->verdict == VERDICT_UNKNOWN ? VERDICT_UNKNOWN
										: VERDICT_UP;
	}
	if (v->verdict != shown->verdict) {
		shown->verdict = v->verdict;
		shown->since_ms = now_ms;
		tell_change(p->b, m->server, v, shown->reason);
		if (p->b->ws && (v->verdict == VERDICT_DRAIN || v->verdict == VERDICT_MAINT))
			p->b->ops->close_idle(p->b->ws, m->server->id);
	}
	shown->is_stale = v->is_stale;
	shown->weight = v->weight;
	shown->age_ms = v->age_ms;
	shown->judged_ms = now_ms;
	snprintf(shown->reason, sizeof(shown->reason), "%s", v->reason);
}

static void
tell_pool(struct pool *p, bool is_empty, bool is_stale)
{
	if (is_empty && !p->is_empty)
		LOG_WARN("pool_empty", L_STR("pool", p->name), L_INT("servers", p->count));
	else if (!is_empty && p->is_empty)
		LOG_INFO("pool_recovered", L_STR("pool", p->name));
	if (is_stale && !p->is_stale)
		LOG_WARN("health_stale", L_STR("pool", p->name));
	else if (!is_stale && p->is_stale)
		LOG_INFO("health_fresh", L_STR("pool", p->name));
	p->is_empty = is_empty;
	p->is_stale = is_stale;
}

/* --- one pool --- */

/* What a round of judging collects, before it is sorted by tier. */
struct placed {
	struct lb_entry entry;
	int tier;
};

static void
publish(struct pool *p, const struct placed *placed, unsigned n)
{
	struct lb_table *old = atomic_load_explicit(&p->table, memory_order_relaxed);
	struct lb_entry *entries = xmalloc((n + 1) * sizeof(*entries));
	unsigned counts[LB_TIERS] = { 0 };
	unsigned at = 0;

	for (int tier = 0; tier < LB_TIERS; tier++) {
		for (unsigned i = 0; i < n; i++) {
			if (placed[i].tier == tier) {
				entries[at++] = placed[i].entry;
				counts[tier]++;
			}
		}
	}
	if (!old || !lb_table_eq(old, p->method, entries, counts)) {
		atomic_store_explicit(
			&p->table, lb_table_new(p->method, entries, counts), memory_order_release);
		discard_table(p->b, old);
	}
	free(entries);
}

/* Does a pool with this server count as having one? */
static bool
is_usable(const struct server *s, const struct verdict_out *v)
{
	if (is_resolving(s->state))
		return true;
	return v->weight > 0 && v->rank != VERDICT_NEVER && v->verdict != VERDICT_DOWN;
}

void
backend_judge_now(struct pool *p)
{
	struct placed *placed = xmalloc(p->count * sizeof(*placed));
	unsigned n = 0;
	bool is_empty = true;
	bool is_stale = false;

	p->is_dirty = false;
	p->next_ms = 0;
	for (unsigned i = 0; i < p->count; i++) {
		const struct member *m = &p->members[i];
		struct verdict_out shown;
		struct verdict_out place = judge_member(p, m, &shown);
		int tier = tier_of(m, &place);

		if (tier >= 0)
			placed[n++] = (struct placed){ { m->server, place.weight }, tier };
		is_empty = is_empty && !is_usable(m->server, &shown);
		is_stale = is_stale || place.is_stale;
		if (p->is_live)
			show(p, m, &shown);
	}
	publish(p, placed, n);
	if (p->is_live)
		tell_pool(p, is_empty, is_stale);
	free(placed);
}

unsigned
backend_judge_adopt(struct backends *b, const struct busmsg *m)
{
	uint64_t now_ms = loop_now_ms(b->loop);
	unsigned known = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct busmsg_server *s = &m->servers[i];
		struct server_state *st = backends_find(b, m->subject, s->name, s->address);

		if (!st)
			continue;
		verdict_adopt(&st->probes, m, s, now_ms);
		known++;
	}
	if (known > 0) {
		struct pool *live = backends_live(b, m->subject);

		if (live)
			live->heard_ms = now_ms;
		backend_judge_named(b, m->subject);
	}
	return known;
}

/* --- when --- */

static void
schedule(struct backends *b)
{
	uint64_t now_ms = loop_now_ms(b->loop);

	if (now_ms >= b->judged_ms + JUDGE_EVERY_MS)
		loop_run_soon(b->loop, &b->judge_soon);
	else
		loop_timer_set(b->judge_timer, b->judged_ms + JUDGE_EVERY_MS - now_ms, false);
}

void
backend_judge_named(struct backends *b, const char *pool)
{
	struct pool *p;

	DL_FOREACH (b->pools, p)
		if (strcmp(p->name, pool) == 0) {
			p->is_dirty = true;
			schedule(b);
		}
}

void
backend_judge_rearm(struct backends *b)
{
	uint64_t now_ms = loop_now_ms(b->loop);
	uint64_t next_ms = 0;
	struct pool *p;

	DL_FOREACH (b->pools, p)
		next_ms = sooner(next_ms, p->is_dirty ? now_ms : p->next_ms);
	if (next_ms)
		loop_timer_set(b->judge_timer,
			next_ms > now_ms + JUDGE_EVERY_MS ? next_ms - now_ms : JUDGE_EVERY_MS,
			false);
}

static void
judge_due(struct backends *b)
{
	uint64_t now_ms = loop_now_ms(b->loop);
	struct pool *p;

	b->judged_ms = now_ms;
	DL_FOREACH (b->pools, p)
		if (p->is_dirty || (p->next_ms && now_ms >= p->next_ms))
			backend_judge_now(p);
	backend_judge_rearm(b);
}

static void
on_judge_timer(void *arg)
{
	judge_due(arg);
}

static void
on_judge_soon(struct run_item *item)
{
	judge_due((struct backends *)((char *)item - offsetof(struct backends, judge_soon)));
}

void
backend_judge_init(struct backends *b)
{
	b->judge_timer = loop_timer_new(b->loop, on_judge_timer, b);
	b->judge_soon.fn = on_judge_soon;
	b->event_limit.burst = EVENTS_PER_S;
}

void
backend_judge_fini(struct backends *b)
{
	loop_timer_free(b->judge_timer);
	loop_run_cancel(b->loop, &b->judge_soon);
	while (b->sweeping_count > 0)
		lb_table_free(b->sweeping[--b->sweeping_count]);
	while (b->garbage_count > 0)
		lb_table_free(b->garbage[--b->garbage_count]);
	free(b->sweeping);
	free(b->garbage);
}
