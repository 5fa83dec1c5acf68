/*
 * reasons.c: a small open hash. One thread writes: a word is there before its slot says so, and
 * counts need no more than not to be torn.
 */
#include "routerd/reasons.h"

#include <string.h>

static unsigned
slot_of(const char *word)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (const char *p = word; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	return h % REASONS_MAX;
}

static void
add(uint64_t *n)
{
	__atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
}

void
reasons_count(struct reasons *r, const char *word)
{
	unsigned i = slot_of(word);

	while (r->v[i].word != NULL && strcmp(r->v[i].word, word) != 0)
		i = (i + 1) % REASONS_MAX;
	/* One slot stays free: it ends the search. */
	if (r->v[i].word == NULL && r->used == REASONS_MAX - 1) {
		add(&r->other);
		return;
	}
	add(&r->v[i].count);
	if (r->v[i].word == NULL) {
		r->used++;
		__atomic_store_n(&r->v[i].word, word, __ATOMIC_RELEASE);
	}
}

void
reasons_each(const struct reasons *r, void (*each)(void *arg, const char *word, uint64_t count),
	void *arg)
{
	uint64_t other = __atomic_load_n(&r->other, __ATOMIC_RELAXED);

	for (unsigned i = 0; i < REASONS_MAX; i++) {
		const char *word = __atomic_load_n(&r->v[i].word, __ATOMIC_ACQUIRE);

		if (word != NULL)
			each(arg, word, __atomic_load_n(&r->v[i].count, __ATOMIC_RELAXED));
	}
	if (other > 0)
		each(arg, "other", other);
}
