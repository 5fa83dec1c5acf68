/*
 * pace: when to probe next, and how many probes may start now. Pure: the caller brings clock and
 * random numbers.
 */
#ifndef HEALTHD_PACE_H
#define HEALTHD_PACE_H

#include <stdint.h>

/*
 * The time from the start of one probe to the start of the next: the interval, longer or shorter by
 * up to jitter_percent as `random` (any value) has it. At least 1.
 */
uint64_t pace_interval(uint64_t interval_ms, unsigned jitter_percent, uint32_t random);

/* What is left of it, once the probe has taken took_ms. At least 1. */
uint64_t pace_rest(uint64_t interval_ms, uint64_t took_ms);

/* A token bucket: `rate` starts per second, up to a twentieth of it and one at once. */
struct pace {
	uint64_t last_ms;
	uint64_t milli; /* thousandths of a start that may be made */
};

void pace_init(struct pace *p, uint32_t rate, uint64_t now_ms);
/* Take up to `wanted` starts; returns how many may be made now. */
uint32_t pace_take(struct pace *p, uint32_t rate, uint32_t wanted, uint64_t now_ms);

#endif
