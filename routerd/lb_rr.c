/*
 * lb_rr: smooth weighted round robin, compiled. Weights 5,1,1 give
 * a a b a c a a; 3,3,1 give a b c a b a b. The sequence (its period is the sum of
 * the weights, reduced by what they have in common) is worked out when the table
 * is made; a pick takes the next place, one fetch_add, so the sequence is exact
 * over all workers together.
 *
 * A place whose server cannot take the request is used up and the next one is
 * taken: among the others the shares stay exactly those of the sequence.
 */
#include <stdlib.h>

#include "libcommon/mem.h"
#include "routerd/lb_method.h"

/*
 * Working the sequence out costs (servers x period) steps: up to here, some
 * 5 ms, it is done as defined. Beyond, every server gets the same number of
 * places, evenly spread, and the first places are staggered between servers: the
 * same shares, in an order that costs one step a place.
 */
#define SMOOTH_STEPS_MAX (2u << 20)

/*
 * Places taken in turn before all servers are looked at one by one. Workers that
 * skip the same server at the same time take places alternately, so one of them
 * may meet it many times in a row.
 */
#define PLACES_MAX 128

struct plan {
	uint32_t n;
	uint32_t place[]; /* index into the tier's entries */
};

static uint32_t
gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t r = a % b;

		a = b;
		b = r;
	}
	return a;
}

/* The definition: everyone gains his weight, the greatest is chosen (the first of
 * equals) and pays the sum. */
static void
fill_smooth(struct plan *p, const uint32_t *weight, unsigned count)
{
	int64_t *current = xcalloc(count, sizeof(*current));

	for (uint32_t at = 0; at < p->n; at++) {
		unsigned best = 0;

		for (unsigned i = 0; i < count; i++) {
			current[i] += weight[i];
			if (current[i] > current[best])
				best = i;
		}
		current[best] -= p->n;
		p->place[at] = best;
	}
	free(current);
}

/* Slot of the k-th of a server's w places: (k + phase) / w of the period. The
 * phases step by the golden ratio, which spreads any number of them evenly. */
static uint32_t
slot_of(uint32_t k, uint32_t w, unsigned server, uint32_t period)
{
	uint32_t phase = (uint32_t)server * 0x9e3779b1u; /* in 2^-32 */
	uint64_t part = (((uint64_t)k << 32) | phase) / w;

	return (uint32_t)((part * period) >> 32);
}

/* Places sorted by slot: counted, summed, dealt out. */
static void
fill_spread(struct plan *p, const uint32_t *weight, unsigned count)
{
	uint32_t *next = xcalloc((size_t)p->n + 1, sizeof(*next));

	for (unsigned i = 0; i < count; i++)
		for (uint32_t k = 0; k < weight[i]; k++)
			next[slot_of(k, weight[i], i, p->n) + 1]++;
	for (uint32_t s = 0; s < p->n; s++)
		next[s + 1] += next[s];
	for (unsigned i = 0; i < count; i++)
		for (uint32_t k = 0; k < weight[i]; k++)
			p->place[next[slot_of(k, weight[i], i, p->n)]++] = i;
	free(next);
}

static void *
plan_new(const struct lb_entry *entries, unsigned count)
{
	uint32_t *weight = xcalloc(count, sizeof(*weight));
	uint32_t common = 0;
	uint32_t period = 0;

	for (unsigned i = 0; i < count; i++)
		common = gcd(entries[i].weight, common);
	for (unsigned i = 0; i < count; i++) {
		weight[i] = entries[i].weight / common;
		period += weight[i];
	}

	struct plan *p = xmalloc(sizeof(*p) + period * sizeof(p->place[0]));

	p->n = period;
	if (period == count) {
		for (uint32_t i = 0; i < count; i++)
			p->place[i] = i;
	} else if ((uint64_t)period * count <= SMOOTH_STEPS_MAX) {
		fill_smooth(p, weight, count);
	} else {
		fill_spread(p, weight, count);
	}
	free(weight);
	return p;
}

static struct server *
pick(const struct lb_tier *t, _Atomic uint64_t *turn, const struct lb_ask *ask, bool *was_tried)
{
	const struct plan *p = t->plan;
	uint64_t at = 0;

	for (unsigned used = 0; used < PLACES_MAX; used++) {
		at = atomic_fetch_add_explicit(turn, 1, memory_order_relaxed);

		struct server *s = t->entries[p->place[at % p->n]].server;

		if (lb_take(s, ask, was_tried))
			return s;
	}
	/* Nearly all are out: whoever is left, beginning somewhere else each time. */
	for (unsigned seen = 0; seen < t->count; seen++) {
		struct server *s = t->entries[(at / PLACES_MAX + seen) % t->count].server;

		if (lb_take(s, ask, was_tried))
			return s;
	}
	return NULL;
}

const struct lb_method lb_rr = {
	.name = "round_robin",
	.plan = plan_new,
	.plan_free = free,
	.pick = pick,
};
