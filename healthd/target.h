/*
 * target: what is probed: one per pool and server, keyed by pool, name and address, so that a
 * reload keeps what is known. Targets belong to the set; pools order them as the configuration
 * does. Everything here runs on the one loop.
 */
#ifndef HEALTHD_TARGET_H
#define HEALTHD_TARGET_H

#include <uthash.h>

#include "healthd/rise.h"
#include "libcommon/daemon.h"
#include "libcommon/overrides.h"
#include "libcommon/resolve.h"

struct probe;
struct shard;
struct target_set;

struct target {
	UT_hash_handle hh;
	struct target_set *set;
	struct target_pool *pool;
	struct addr_spec spec;
	struct resolve_watch *watch; /* for a name */
	struct addr addr;            /* len 0: none is known */
	struct rise rise;
	char reason[BUSMSG_WORD_MAX + 1]; /* of the last failed probe; "" when the last was good */
	uint64_t since_ms;                /* in this state since */
	uint64_t failing_ms;              /* first failure of the present run; 0: none */
	uint64_t probed_ms;               /* when the last probe ended; 0: never */
	uint64_t begun_ms;                /* when the last probe began */
	uint64_t early_ms;                /* when evidence last led to an early probe */
	uint64_t took_us;
	uint32_t interval_ms; /* to the next, as jitter has it */
	enum override_action action;
	bool is_config_down;
	bool is_paused;  /* disabled or `down`: not probed */
	bool is_awaited; /* the pool's first round waits for it */
	bool is_queued;
	bool is_kept; /* while a reload goes on */
	/* of schedule.c */
	struct deadline due;
	struct probe *probe;
	struct target *queue_prev;
	struct target *queue_next;
	size_t index; /* in the pool */
	const char *name;
	const char *address;
	char key[]; /* POOL NUL NAME NUL ADDRESS */
};

struct target_pool {
	const char *name;             /* of the configuration in force */
	const struct checkcfg *check; /* same */
	const char *tls;              /* same: policy of its HTTP probes; NULL: clear text */
	struct target **targets;
	size_t n;
	size_t awaited;
	bool is_round_done; /* stays true, also over reloads */
	struct shard *shards;
	size_t shard_count;
};

/* What the set tells. `changed`: what is published of a target has changed. */
struct target_hooks {
	void (*added)(void *arg, struct target *t);
	void (*removed)(void *arg, struct target *t); /* the last that is heard of it */
	void (*moved)(void *arg, struct target *t);   /* its address or pause changed: probe anew */
	void (*changed)(void *arg, struct target *t);
	void *arg;
};

struct target_set {
	struct loop *loop;
	struct resolver *resolver;
	struct target_hooks hooks;
	struct target *targets;
	struct target_pool *pools;
	size_t pool_count;
	struct overrides overrides;
	struct err overrides_error; /* why the last reading failed; no text when it did not */
	int64_t override_expiry_s;  /* the next one; 0: none */
};

void target_set_init(
	struct target_set *s, struct loop *l, struct resolver *r, const struct target_hooks *hooks);
/* Probe what this configuration says, which must stay until the next call. */
void target_set_load(struct target_set *s, const struct commoncfg *common);
void target_set_fini(struct target_set *s);

/* Read the overrides again. -1 with err (also logged) when the old ones stay. */
int target_set_overrides(struct target_set *s, const char *state_dir, struct err *err);
/* Let entries expire; call it now and then. */
void target_set_expire(struct target_set *s);
/* Entries that name no server of ours. */
size_t target_set_unmatched(const struct target_set *s);

/* How long ago; 0 for what has not happened. */
static inline uint64_t
target_age_ms(uint64_t now_ms, uint64_t then_ms)
{
	return then_ms != 0 && then_ms < now_ms ? now_ms - then_ms : 0;
}

struct target_pool *target_pool_find(const struct target_set *s, const char *name);
struct target *target_find(
	const struct target_set *s, const char *pool, const char *name, const char *address);

/* Take in a probe's result: counting, times, round, log. */
void target_result(struct target *t, bool is_good, const char *reason, uint64_t took_us);

#endif
