/*
 * reasons: how often each reason word has ended a request early. A worker counts into a table of
 * its own, any thread reads. The words are constants of ours, so there is an end to them; should
 * there be more than the table holds, the rest is counted as "other".
 */
#ifndef ROUTERD_REASONS_H
#define ROUTERD_REASONS_H

#include <stdint.h>

#define REASONS_MAX 256 /* a power of two; the words are about a hundred */

struct reasons {
	struct reason {
		const char *word; /* NULL: free. Set once, never taken back */
		uint64_t count;
	} v[REASONS_MAX];
	uint64_t other;
	unsigned used;
};

/* The worker's own thread. The word must stay. */
void reasons_count(struct reasons *r, const char *word);
/* Any thread: for each word that was ever counted. */
void reasons_each(const struct reasons *r,
	void (*each)(void *arg, const char *word, uint64_t count), void *arg);

#endif
