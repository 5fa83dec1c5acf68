/*
 * backend_use: what workers call around each attempt. Atomics only: no lock, no
 * heap, and news for the main thread goes through the server's mailbox.
 */
#include "routerd/backend_int.h"

#include <assert.h>

/* --- the address: a seqlock, read word by word so that a torn copy is thrown away --- */

typedef uint64_t __attribute__((may_alias)) word;

#define ADDR_WORDS (sizeof(struct addr) / sizeof(word))
static_assert(sizeof(struct addr) % sizeof(word) == 0, "an address is copied in words");
static_assert(_Alignof(struct addr) >= _Alignof(word), "its words are aligned");

bool
server_addr(const struct server *s, struct addr *out)
{
	const word *from = (const word *)&s->addr;
	word *to = (word *)out;

	for (;;) {
		uint32_t seq = atomic_load_explicit(&s->addr_seq, memory_order_acquire);

		if (seq & 1)
			continue;
		for (size_t i = 0; i < ADDR_WORDS; i++)
			to[i] = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);
		if (atomic_load_explicit(&s->addr_seq, memory_order_relaxed) == seq)
			return out->len != 0;
	}
}

void
server_set_addr(struct server *s, const struct addr *a)
{
	uint32_t seq = atomic_load_explicit(&s->addr_seq, memory_order_relaxed);
	const word *from = (const word *)a;
	word *to = (word *)&s->addr;

	atomic_store_explicit(&s->addr_seq, seq + 1, memory_order_relaxed);
	for (size_t i = 0; i < ADDR_WORDS; i++)
		__atomic_store_n(&to[i], from[i], __ATOMIC_RELEASE);
	atomic_store_explicit(&s->addr_seq, seq + 2, memory_order_release);
}

/* --- passive marking --- */

/* s->fails: when the window began (40 bits) and how many failed in it (24). */
#define FAILS_BITS 24
#define FAILS_MAX  ((1u << FAILS_BITS) - 1)

unsigned
server_fails(const struct server *s)
{
	return (unsigned)(atomic_load_explicit(&s->fails, memory_order_relaxed) & FAILS_MAX);
}

static bool
is_window_over(uint64_t fails, const struct pool *p, uint64_t now_ms)
{
	return now_ms > (fails >> FAILS_BITS) + p->fail_timeout_ms;
}

/* One more failure; how many there are now. */
static unsigned
count_fail(struct server *s, const struct pool *p, uint64_t now_ms)
{
	uint64_t old = atomic_load(&s->fails);
	uint64_t fresh;

	do {
		if (old == 0 || is_window_over(old, p, now_ms))
			fresh = (now_ms << FAILS_BITS) | 1;
		else
			fresh = (old & FAILS_MAX) < FAILS_MAX ? old + 1 : old;
	} while (!atomic_compare_exchange_weak(&s->fails, &old, fresh));
	return (unsigned)(fresh & FAILS_MAX);
}

static void
forget_old_fails(struct server *s, const struct pool *p, uint64_t now_ms)
{
	uint64_t old = atomic_load_explicit(&s->fails, memory_order_relaxed);

	if (old != 0 && is_window_over(old, p, now_ms))
		atomic_compare_exchange_strong(&s->fails, &old, 0);
}

static void
remember_success(struct server *s, uint64_t began_ms)
{
	uint64_t last = atomic_load_explicit(&s->last_success_ms, memory_order_relaxed);

	while (last < began_ms &&
		!atomic_compare_exchange_weak_explicit(&s->last_success_ms, &last, began_ms,
			memory_order_relaxed, memory_order_relaxed))
		;
}

static void
end_well(struct server *s, const struct pool *p, bool is_trial, uint64_t now_ms)
{
	if (!is_trial) {
		forget_old_fails(s, p, now_ms);
		return;
	}
	atomic_store(&s->fails, 0);
	atomic_store(&s->blocked_until_ms, 0);
	backend_mail_put(s->state, MAIL_CHANGED);
}

static uint32_t
note_failure(struct server *s, enum server_outcome how)
{
	atomic_fetch_add_explicit(&s->errors, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->state->new_fails, 1, memory_order_relaxed);
	atomic_store_explicit(&s->state->fail_kind, how, memory_order_relaxed);
	return how == SERVER_CONNECT ? MAIL_FAILED | MAIL_UNREACHABLE : MAIL_FAILED;
}

static void
end_badly(struct server *s, const struct pool *p, enum server_outcome how, bool is_trial,
	uint64_t now_ms)
{
	uint32_t mail = note_failure(s, how);
	unsigned fails = count_fail(s, p, now_ms);
	uint64_t free_now = 0;

	if (is_trial) {
		atomic_store(&s->blocked_until_ms, now_ms + p->fail_timeout_ms);
		mail |= MAIL_CHANGED;
	} else if (p->max_fails > 0 && fails >= p->max_fails && !p->is_single) {
		if (atomic_compare_exchange_strong(
			    &s->blocked_until_ms, &free_now, now_ms + p->fail_timeout_ms))
			mail |= MAIL_CHANGED;
	}
	backend_mail_put(s->state, mail);
}

void
server_begin(struct server *s)
{
	atomic_fetch_add_explicit(&s->inflight, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->requests, 1, memory_order_relaxed);
}

void
server_end(struct server *s, struct pool *p, enum server_outcome how, uint64_t began_ms,
	uint64_t now_ms)
{
	bool is_trial = atomic_load_explicit(&s->trial_ms, memory_order_relaxed) == began_ms;
	/* Without a pool it is the last touch: the server may go as soon as none is in flight. */
	uint32_t before = atomic_fetch_sub_explicit(&s->inflight, 1, memory_order_release);

	assert(before > 0);
	if (p == NULL)
		return;
	assert(p->magic == POOL_MAGIC);
	if (how == SERVER_OK) {
		remember_success(s, began_ms);
		end_well(s, p, is_trial, now_ms);
	} else if (how != SERVER_ABANDONED && how != SERVER_NO_TLSD) {
		end_badly(s, p, how, is_trial, now_ms);
	}
	/* Last, so that the next trial meets what this one found. */
	if (is_trial)
		atomic_store(&s->trial_ms, 0);
}

void
server_answers(struct server *s, struct pool *p, uint64_t began_ms, uint64_t now_ms)
{
	if (atomic_load_explicit(&s->trial_ms, memory_order_relaxed) == began_ms)
		server_opened(s, p, began_ms, now_ms);
}

void
server_opened(struct server *s, struct pool *p, uint64_t began_ms, uint64_t now_ms)
{
	bool is_trial = atomic_load_explicit(&s->trial_ms, memory_order_relaxed) == began_ms;

	assert(p->magic == POOL_MAGIC);
	remember_success(s, began_ms);
	end_well(s, p, is_trial, now_ms);
	if (is_trial)
		atomic_store(&s->trial_ms, 0);
}

void
server_retried(struct server *s)
{
	atomic_fetch_add_explicit(&s->retried, 1, memory_order_relaxed);
}

/* --- pools --- */

const char *
pool_name(const struct pool *p)
{
	return p->name;
}

const struct poolcfg *
pool_cfg(const struct pool *p)
{
	return p->cfg;
}

struct server *
lb_pick(struct pool *p, const struct lb_ask *ask, enum lb_miss *why)
{
	const struct lb_table *t = atomic_load_explicit(&p->table, memory_order_acquire);

	return lb_table_pick(t, p->turns, ask, why);
}

void
pool_active(struct pool *p, int delta)
{
	atomic_fetch_add_explicit(&p->active, (uint32_t)delta, memory_order_relaxed);
}

bool
pool_retry_take(struct pool *p)
{
	uint32_t active = atomic_load_explicit(&p->active, memory_order_relaxed);
	uint64_t share = (uint64_t)active * p->budget_percent / 100;
	uint32_t now = atomic_load_explicit(&p->retries, memory_order_relaxed);

	if (share < p->budget_min)
		share = p->budget_min;
	do {
		if (now >= share)
			return false;
	} while (!atomic_compare_exchange_weak(&p->retries, &now, now + 1));
	return true;
}

void
pool_retry_put(struct pool *p)
{
	uint32_t before = atomic_fetch_sub(&p->retries, 1);

	assert(before > 0);
}
