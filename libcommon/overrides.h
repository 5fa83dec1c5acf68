/*
 * overrides: the operator's decisions (drain, disable, weight) in STATE_DIR/overrides.yaml, a small
 * file that people can read. proxyctl writes it, daemons read it at start and when told; it
 * outlives them all. One entry per server and kind of decision: drain and disable replace each
 * other, a weight stands beside them.
 */
#ifndef LIBCOMMON_OVERRIDES_H
#define LIBCOMMON_OVERRIDES_H

#include <stdint.h>

#include "libcommon/err.h"

enum override_action { OVERRIDE_NONE, OVERRIDE_DRAIN, OVERRIDE_DISABLE, OVERRIDE_WEIGHT };
const char *override_action_name(enum override_action a); /* "none" "drain" "disable" "weight" */

struct override {
	char *pool;
	char *server;
	enum override_action action;
	uint32_t weight;   /* OVERRIDE_WEIGHT: 0..256 */
	char *actor;       /* who decided; "" when unknown */
	char *reason;      /* why; "" when none was given */
	int64_t time_s;    /* when, seconds since 1970 */
	int64_t expires_s; /* seconds since 1970; 0: never */
};

/* What the entries in force say of one server. */
struct override_effect {
	enum override_action action; /* none, drain or disable */
	bool has_weight;
	uint32_t weight;
	const char *actor;  /* of the action; borrowed from the overrides; NULL when none */
	const char *reason; /* same */
	int64_t next_s;     /* when an entry in force will expire, seconds since 1970; 0: never */
};

/* Zero-initialise; overrides_fini to end. */
struct overrides {
	struct override *v;
	size_t n;
	struct override_index *index; /* by pool and server */
};

#define OVERRIDES_MAX       100000
#define OVERRIDES_BYTES_MAX (16u << 20)

/*
 * Read the file of this state_dir. A file that is not there is an empty set. -1 with err, and *o
 * left as it is, when it cannot be read or is not right: the last good copy stays in force.
 */
int overrides_read(struct overrides *o, const char *state_dir, struct err *err);
void overrides_fini(struct overrides *o);

/* Expired entries (expires_s <= now_s) have no effect. */
struct override_effect overrides_find(
	const struct overrides *o, const char *pool, const char *server, int64_t now_s);

/*
 * Change the file: lock on a file beside it, read, change, write a temporary, fsync, rename.
 * `group` (may be NULL) and mode 0640 are set when we may. Entries that have expired are dropped on
 * the way; those that match nothing are kept. Blocks on the lock for at most 10 s. -1 with err when
 * the file that is there is not right (it is left alone), or cannot be written.
 */
int overrides_set(
	const char *state_dir, const char *group, const struct override *entry, struct err *err);
/*
 * Take the entries of a server away: OVERRIDE_NONE for all kinds, OVERRIDE_DRAIN or
 * OVERRIDE_DISABLE for that action only, OVERRIDE_WEIGHT for the weight. Returns how many went (0
 * is no error), or -1.
 */
int overrides_remove(const char *state_dir, const char *group, const char *pool, const char *server,
	enum override_action what, struct err *err);

#endif
