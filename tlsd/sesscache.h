/*
 * sesscache: sessions that the server remembers, for clients without tickets or where tickets are
 * off. Serialized, by session id, in memory alone; the least recently used go first. Shared by all
 * workers and generations: what may resume where is decided by the session's context (tlsctx.c).
 */
#ifndef TLSD_SESSCACHE_H
#define TLSD_SESSCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSCACHE_ID_MAX 32

struct sesscache;

struct sesscache_stats {
	uint64_t sessions; /* now */
	uint64_t bytes;
	uint64_t hits;
	uint64_t misses;
	uint64_t evicted; /* to make room */
};

/* size 0: nothing is kept. */
struct sesscache *sesscache_new(size_t size, int64_t life_ms);
void sesscache_free(struct sesscache *c);
/* From now on; what is too much goes at the next put. */
void sesscache_set(struct sesscache *c, size_t size, int64_t life_ms);
bool sesscache_is_on(const struct sesscache *c);

/* From any thread. The bytes are copied. One with the same id is replaced. */
void sesscache_put(struct sesscache *c, const uint8_t *id, size_t id_n, const uint8_t *p, size_t n,
	int64_t now_ms);
/* A copy on the heap, which the caller cleanses and frees; NULL: not there, or too old. */
uint8_t *sesscache_get(
	struct sesscache *c, const uint8_t *id, size_t id_n, size_t *n, int64_t now_ms);
void sesscache_drop(struct sesscache *c, const uint8_t *id, size_t id_n);
struct sesscache_stats sesscache_stats(struct sesscache *c);

#endif
