/*
 * rise: what a row of probe results says of a server. Pure. The first result decides at once; after
 * that it takes `fall` failures in a row to go down and `rise` successes in a row to come up. A
 * down that rests on fewer than `fall` failures, because it was the first result, is tentative: one
 * success ends it, so that a server which started a moment later than its prober is not kept
 * waiting.
 */
#ifndef HEALTHD_RISE_H
#define HEALTHD_RISE_H

#include "libcommon/busmsg.h"

struct rise {
	enum probe_state state;
	uint32_t rise; /* successes in a row */
	uint32_t fall; /* failures in a row */
	bool is_tentative;
};

/* Count one result; true when the state changed by it. */
bool rise_feed(struct rise *r, bool is_good, uint32_t rise_needed, uint32_t fall_needed);
/* Is the state tentative, or do the last results speak against it? Then it is worth looking more
 * often. */
bool rise_is_changing(const struct rise *r);

#endif
