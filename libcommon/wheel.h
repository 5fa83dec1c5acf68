/*
 * wheel: the deadlines of one loop in a hashed wheel: WHEEL_SLOTS lists, one per tick; a deadline
 * further away than the wheel is long is put into the last slot and moved on when the wheel comes
 * round. loop.c drives it and sleeps until the next slot that is not empty; nobody else includes
 * it. No clock and no allocation here.
 */
#ifndef LIBCOMMON_WHEEL_H
#define LIBCOMMON_WHEEL_H

#include "libcommon/loop.h"

#define WHEEL_SLOTS 512 /* a power of two, of at least 64 */
#define WHEEL_WORDS (WHEEL_SLOTS / 64)
#define NO_TICK     UINT64_MAX

struct wheel {
	struct deadline *slots[WHEEL_SLOTS];
	uint64_t occupied[WHEEL_WORDS]; /* a bit may outlive the last of its slot, never the reverse
					 */
	struct deadline *firing;
	uint64_t tick; /* every slot up to here has been looked at */
};

/* Into the slot of its due time, or the last one that there is. It is in none. */
void wheel_link(struct wheel *w, struct deadline *d);
void wheel_unlink(struct deadline *d);
/* The first tick to come whose slot may hold something, or NO_TICK. */
uint64_t wheel_next(const struct wheel *w);
/* Run what is due by now_ms. fn may link and unlink any deadline. */
void wheel_turn(struct wheel *w, uint64_t now_ms);

#endif
