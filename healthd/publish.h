/*
 * publish: tells the bus what probes say. Each pool is cut into shards that fit one message. A
 * shard is sent when something in it changed (at most ten times a second) and as a heartbeat every
 * second; the heartbeats of many shards spread over the second, since a burst of large messages
 * would overrun a subscriber's socket buffer and be dropped.
 */
#ifndef HEALTHD_PUBLISH_H
#define HEALTHD_PUBLISH_H

#include "healthd/target.h"
#include "libcommon/bus.h"

#define PUBLISH_HEARTBEAT_MS 1000
#define PUBLISH_TTL_MS       5000
#define PUBLISH_GAP_MS       100 /* between two messages of one shard */

struct publish;

/* who: "healthd.0". */
struct publish *publish_new(struct loop *l, const char *who);
void publish_free(struct publish *p);
/* From now on through this bus. */
void publish_start(struct publish *p, struct bus *bus);

/* Around a reload: shards go before the pools change, and are cut anew afterwards. */
void publish_drop(struct publish *p);
void publish_build(struct publish *p, struct target_set *set, const char *config_hash);

void publish_changed(struct publish *p, struct target *t);

struct publish_stats {
	uint64_t messages;
	uint64_t refused; /* could not be encoded: a bug, or a name that no message can carry */
	uint32_t shards;
};
void publish_stats(const struct publish *p, struct publish_stats *out);

#endif
