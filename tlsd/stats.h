/*
 * stats: counters per worker, and what is known of the servers behind us. A counter has one writer
 * (its worker) and any number of readers.
 */
#ifndef TLSD_STATS_H
#define TLSD_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum reason {
#define R(id, word) REASON_##id,
#include "tlsd/reasons.def"
#undef R
	REASON_COUNT
};

const char *reason_word(enum reason r);

struct stats {
#define C(name, meaning) _Atomic uint64_t name;
#include "tlsd/stats.def"
#undef C
	_Atomic uint64_t failed[REASON_COUNT];
	/* how many are there now */
	_Atomic uint64_t handshaking;
	_Atomic uint64_t waiting;
	_Atomic uint64_t relaying;
	_Atomic uint64_t passing;
	_Atomic uint64_t open;
};

/* By the worker only: a plain add, no locked instruction. */
static inline void
stats_add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t
stats_get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/*
 * One server behind us, by its address as text. Found or made under a lock, then only atomics;
 * lives as long as the process, so workers keep the pointer.
 */
struct backend {
	const char *name;
	_Atomic uint32_t active; /* relays of all workers */
	_Atomic uint64_t connected;
	_Atomic uint64_t failed;
	_Atomic uint32_t is_listed; /* still there at the last look */
	struct backend *next;
};

struct backends;
struct backends *backends_new(void);
void backends_free(struct backends *b);
struct backend *backends_get(struct backends *b, const char *name);
void backends_each(struct backends *b, void (*fn)(void *arg, struct backend *b), void *arg);

#endif
