/*
 * lb_method: the seam between lb.c, which knows tiers, and the methods, which
 * know turns. A table is compiled by the main thread, published, and never
 * changed afterwards; what moves is the pool's struct lb_turn.
 */
#ifndef ROUTERD_LB_METHOD_H
#define ROUTERD_LB_METHOD_H

#include "routerd/lb.h"

/* Best first: primaries, backups, then those of which nothing is known. */
enum { LB_PRIMARY, LB_BACKUP, LB_UNKNOWN, LB_UNKNOWN_BACKUP, LB_TIERS };

struct lb_entry {
	struct server *server;
	uint32_t weight; /* 1..256 */
};

struct lb_tier {
	struct lb_entry *entries;
	unsigned count;
	void *plan; /* the method's own; NULL when count is 0 */
};

struct lb_method {
	const char *name; /* as in the configuration */
	void *(*plan)(const struct lb_entry *entries, unsigned count);
	void (*plan_free)(void *plan);
	/* NULL when no server of the tier takes the request. *was_tried is set when
	 * one was skipped because it had been tried. */
	struct server *(*pick)(const struct lb_tier *t, _Atomic uint64_t *turn,
		const struct lb_ask *ask, bool *was_tried);
};

struct lb_table {
	const struct lb_method *method;
	struct lb_tier tiers[LB_TIERS];
};

/* Where a tier's turn stands; it goes on over tables, so that a table that
 * changes often does not favour those who come first. */
struct lb_turn {
	_Alignas(64) _Atomic uint64_t n;
};

extern const struct lb_method lb_rr;
const struct lb_method *lb_method(enum balance_method method);

/* counts[] and entries (all tiers one after the other) are copied. */
struct lb_table *lb_table_new(
	const struct lb_method *m, const struct lb_entry *entries, const unsigned counts[LB_TIERS]);
void lb_table_free(struct lb_table *t);
/* Would a new table say the same? */
bool lb_table_eq(const struct lb_table *t, const struct lb_method *m,
	const struct lb_entry *entries, const unsigned counts[LB_TIERS]);
struct server *lb_table_pick(const struct lb_table *t, struct lb_turn turns[LB_TIERS],
	const struct lb_ask *ask, enum lb_miss *why);

/* May this request go there now? Takes the trial slot when that is what it
 * takes. */
bool lb_take(struct server *s, const struct lb_ask *ask, bool *was_tried);

#endif
