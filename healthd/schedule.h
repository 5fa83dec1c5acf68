/*
 * schedule: when each target is probed. New ones at once, as far as rate and concurrency allow;
 * then at their interval with jitter, at the fast one while their state is about to change; early,
 * when evidence comes in. Thousands of targets share one loop, one queue and one token bucket.
 */
#ifndef HEALTHD_SCHEDULE_H
#define HEALTHD_SCHEDULE_H

#include "healthd/config.h"
#include "healthd/target.h"

struct schedule;

struct schedule_stats {
	uint64_t started;
	uint64_t good;
	uint64_t failed;
	uint64_t not_made; /* our own trouble */
	uint64_t early;    /* because of evidence */
	uint32_t running;
	uint32_t queued; /* due, but held by rate or concurrency */
	uint32_t max;    /* concurrency in force */
};

struct schedule *schedule_new(struct loop *l);
/* The limits in force; cfg must stay until the next call. */
void schedule_configure(
	struct schedule *s, const struct healthcfg *cfg, const struct commoncfg *common);
/* Stops all probes; targets must be gone. */
void schedule_free(struct schedule *s);

/* The hooks of target.h; arg is the schedule. */
void schedule_added(struct schedule *s, struct target *t);
void schedule_removed(struct schedule *s, struct target *t);
void schedule_moved(struct schedule *s, struct target *t);
/* After a reload: intervals may be others. */
void schedule_retime(struct schedule *s, struct target *t);
/* Requests to it failed: look soon. false when it was looked at just now, or is not probed. */
bool schedule_early(struct schedule *s, struct target *t);

void schedule_stats(const struct schedule *s, struct schedule_stats *out);
/* When the next probe of t is due, in ms from now; 0: now, or none is planned. */
uint64_t schedule_next_ms(const struct schedule *s, const struct target *t);

#endif
