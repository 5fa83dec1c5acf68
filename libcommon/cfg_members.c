/*
 * cfg_members: which members a mapping ends up with, once its merge keys are known. Sorting by key
 * finds what is given twice, whatever the number of keys.
 */
#include "libcommon/cfg_parts.h"

#include <stdlib.h>

void
cfg_members_add(struct cfg_members *m, struct cfg_node *node)
{
	if (m->n == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 16;
		m->v = xreallocarray(m->v, m->cap, sizeof(*m->v));
	}
	m->v[m->n] = (struct cfg_member){ .node = node, .order = m->n };
	m->n++;
}

static int
by_key(const void *pa, const void *pb)
{
	const struct cfg_member *a = pa;
	const struct cfg_member *b = pb;
	int c = slice_cmp(a->node->key, b->node->key);

	return c ? c : (a->order > b->order) - (a->order < b->order);
}

static int
by_order(const void *pa, const void *pb)
{
	const struct cfg_member *a = pa;
	const struct cfg_member *b = pb;

	return (a->order > b->order) - (a->order < b->order);
}

/* Of members with one key the first stays: own ones, which are the first own_n, stand before merged
 * ones. */
static void
drop_repeated(struct cfg_members *m, size_t own_n, cfg_duplicate_fn report, void *arg)
{
	size_t kept = 0;

	if (m->n > 1)
		qsort(m->v, m->n, sizeof(*m->v), by_key);
	for (size_t i = 0; i < m->n; i++) {
		if (kept > 0 && slice_eq(m->v[kept - 1].node->key, m->v[i].node->key)) {
			if (m->v[i].order < own_n)
				report(arg, m->v[kept - 1].node, m->v[i].node);
			continue;
		}
		m->v[kept++] = m->v[i];
	}
	m->n = kept;
	if (m->n > 1)
		qsort(m->v, m->n, sizeof(*m->v), by_order);
}

void
cfg_members_link(struct cfg_node *map, struct cfg_members *own, const struct cfg_members *merged,
	cfg_duplicate_fn report, void *arg)
{
	struct cfg_node **tail = &map->first;
	size_t own_n = own->n;

	for (size_t i = 0; i < merged->n; i++)
		cfg_members_add(own, merged->v[i].node);
	drop_repeated(own, own_n, report, arg);
	for (size_t i = 0; i < own->n; i++) {
		*tail = own->v[i].node;
		tail = &own->v[i].node->next;
	}
	*tail = NULL;
	map->count = own->n;
}
