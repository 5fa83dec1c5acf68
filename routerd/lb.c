/*
 * lb.c: tables of tiers, and what every method shares: who was tried, who is
 * blocked, who gets a trial. Picking runs on workers; it reads the table that
 * the pool publishes and atomics of the servers, nothing else.
 */
#include "routerd/lb_method.h"

#include <stdlib.h>

#include "libcommon/mem.h"

const struct lb_method *
lb_method(enum balance_method method)
{
	static const struct lb_method *const methods[] = {
		[BALANCE_ROUND_ROBIN] = &lb_rr,
	};

	return methods[method];
}

/* --- tables --- */

static unsigned
sum_counts(const unsigned counts[LB_TIERS])
{
	unsigned n = 0;

	for (int i = 0; i < LB_TIERS; i++)
		n += counts[i];
	return n;
}

struct lb_table *
lb_table_new(
	const struct lb_method *m, const struct lb_entry *entries, const unsigned counts[LB_TIERS])
{
	unsigned n = sum_counts(counts);
	struct lb_table *t = xcalloc(1, sizeof(*t) + n * sizeof(*entries));
	struct lb_entry *at = (struct lb_entry *)(t + 1);

	t->method = m;
	if (n > 0)
		memcpy(at, entries, n * sizeof(*entries));
	for (int i = 0; i < LB_TIERS; i++) {
		t->tiers[i].entries = at;
		t->tiers[i].count = counts[i];
		if (counts[i] > 0)
			t->tiers[i].plan = m->plan(at, counts[i]);
		at += counts[i];
	}
	return t;
}

void
lb_table_free(struct lb_table *t)
{
	if (!t)
		return;
	for (int i = 0; i < LB_TIERS; i++)
		if (t->tiers[i].plan)
			t->method->plan_free(t->tiers[i].plan);
	free(t);
}

bool
lb_table_eq(const struct lb_table *t, const struct lb_method *m, const struct lb_entry *entries,
	const unsigned counts[LB_TIERS])
{
	if (t->method != m)
		return false;
	for (int i = 0; i < LB_TIERS; i++) {
		if (t->tiers[i].count != counts[i])
			return false;
		for (unsigned k = 0; k < counts[i]; k++, entries++)
			if (t->tiers[i].entries[k].server != entries->server ||
				t->tiers[i].entries[k].weight != entries->weight)
				return false;
	}
	return true;
}

/* --- picking --- */

static bool
is_tried(const struct server *s, const struct lb_ask *ask)
{
	for (unsigned i = 0; i < ask->tried_count; i++)
		if (ask->tried[i] == s)
			return true;
	return false;
}

/*
 * The block has passed: whoever sets trial_ms is the trial. The block is looked
 * at again afterwards, since another trial may have begun and ended between.
 */
static bool
take_trial(struct server *s, uint64_t now_ms)
{
	uint64_t none = 0;

	if (!atomic_compare_exchange_strong(&s->trial_ms, &none, now_ms))
		return false;

	uint64_t until_ms = atomic_load(&s->blocked_until_ms);

	if (until_ms != 0 && now_ms >= until_ms)
		return true;
	atomic_store(&s->trial_ms, 0);
	return until_ms == 0;
}

bool
lb_take(struct server *s, const struct lb_ask *ask, bool *was_tried)
{
	if (is_tried(s, ask)) {
		*was_tried = true;
		return false;
	}

	uint64_t until_ms = atomic_load_explicit(&s->blocked_until_ms, memory_order_acquire);

	if (until_ms == 0)
		return true;
	return ask->now_ms >= until_ms && take_trial(s, ask->now_ms);
}

struct server *
lb_table_pick(const struct lb_table *t, struct lb_turn turns[LB_TIERS], const struct lb_ask *ask,
	enum lb_miss *why)
{
	bool was_tried = false;

	for (int i = 0; i < LB_TIERS; i++) {
		const struct lb_tier *tier = &t->tiers[i];

		if (tier->count == 0)
			continue;

		struct server *s = t->method->pick(tier, &turns[i].n, ask, &was_tried);

		if (s)
			return s;
	}
	*why = was_tried ? LB_ALL_TRIED : LB_NO_SERVER;
	return NULL;
}
