/*
 * idlepool: a worker's idle connections to servers, last in first out per server, so that the
 * warmest is reused and the oldest age away.
 */
#ifndef ROUTERD_IDLEPOOL_H
#define ROUTERD_IDLEPOOL_H

#include <stdint.h>

struct upstream;

struct idle_list {
	struct upstream *newest;
	struct upstream *oldest;
	unsigned count;
};

struct idlepool {
	struct idle_list *by_server; /* index: server id */
	uint32_t cap;
};

void idlepool_fini(struct idlepool *p);
/* Keep u, which is idle; at more than `limit` connections to its server the oldest one is handed
 * back for closing (else NULL). */
struct upstream *idlepool_put(
	struct idlepool *p, uint32_t server_id, struct upstream *u, unsigned limit);
/* The most recently used one, or NULL. */
struct upstream *idlepool_take(struct idlepool *p, uint32_t server_id);
/* The oldest one, or NULL: for closing them all. */
struct upstream *idlepool_take_oldest(struct idlepool *p, uint32_t server_id);
/* u was closed by its peer. */
void idlepool_remove(struct idlepool *p, uint32_t server_id, struct upstream *u);

#endif
