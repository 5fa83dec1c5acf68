/*
 * worker_ask: barriers over all workers, and what the main thread asks of them.
 */
#include <stdlib.h>
#include <string.h>

#include "routerd/listen.h"
#include "routerd/upstream.h"
#include "routerd/worker_state.h"

struct barrier {
	_Atomic unsigned left;
	struct workers *ws;
	uint32_t server_id;
	void (*done)(void *arg);
	void *arg;
};

struct barrier_one {
	struct worker *w;
	struct barrier *all;
};

static void
barrier_done(void *arg)
{
	struct barrier *b = arg;

	if (b->done != NULL)
		b->done(b->arg);
	free(b);
}

static void
pass_barrier(void *arg)
{
	struct barrier_one *one = arg;
	struct barrier *b = one->all;

	if (b->server_id != UINT32_MAX)
		upstream_close_idle(one->w, b->server_id);
	free(one);
	if (atomic_fetch_sub(&b->left, 1) == 1)
		loop_post(b->ws->main_loop, barrier_done, b);
}

static void
post_barrier(struct workers *ws, uint32_t server_id, void (*done)(void *arg), void *arg)
{
	struct barrier *b = xcalloc(1, sizeof(*b));

	*b = (struct barrier){
		.left = ws->count, .ws = ws, .server_id = server_id, .done = done, .arg = arg
	};
	for (unsigned i = 0; i < ws->count; i++) {
		struct barrier_one *one = xmalloc(sizeof(*one));

		*one = (struct barrier_one){ ws->v[i], b };
		loop_post(ws->v[i]->loop, pass_barrier, one);
	}
}

void
workers_barrier(struct workers *ws, void (*done)(void *arg), void *arg)
{
	post_barrier(ws, UINT32_MAX, done, arg);
}

void
workers_forget_server(struct workers *ws, uint32_t server_id, void (*done)(void *arg), void *arg)
{
	post_barrier(ws, server_id, done, arg);
}

void
workers_close_idle(struct workers *ws, uint32_t server_id)
{
	post_barrier(ws, server_id, NULL, NULL);
}

uint64_t
workers_stat(const struct workers *ws, enum stat_id id)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ws->count; i++)
		sum += __atomic_load_n(&ws->v[i]->stats[id], __ATOMIC_RELAXED);
	return sum;
}

uint64_t
workers_stat_of(const struct workers *ws, unsigned worker, enum stat_id id)
{
	return __atomic_load_n(&ws->v[worker]->stats[id], __ATOMIC_RELAXED);
}

void
workers_reasons(const struct workers *ws, void (*each)(void *arg, const char *word, uint64_t count),
	void *arg)
{
	for (unsigned i = 0; i < ws->count; i++)
		reasons_each(&ws->v[i]->reasons, each, arg);
}

unsigned
workers_count(const struct workers *ws)
{
	return ws->count;
}

unsigned
workers_listeners(const struct workers *ws, struct listener_stats *out, unsigned cap)
{
	unsigned n = 0;

	for (unsigned i = 0; ws->set != NULL && i < ws->set->count && n < cap; i++) {
		const struct listen_slot *slot = ws->set->slots[i];

		if (!slot->is_open)
			continue;
		out[n] = (struct listener_stats){ .name = slot->name };
		memcpy(out[n].address, slot->bound, sizeof(out[n].address));
		for (unsigned k = 0; k < slot->count; k++) {
			out[n].accepted += atomic_load_explicit(
				&slot->counts[k].accepted, memory_order_relaxed);
			out[n].connections +=
				atomic_load_explicit(&slot->counts[k].open, memory_order_relaxed);
		}
		n++;
	}
	return n;
}

uint64_t
workers_oldest_generation(const struct workers *ws)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned i = 0; i < ws->count; i++) {
		uint64_t one =
			atomic_load_explicit(&ws->v[i]->oldest_generation, memory_order_relaxed);

		if (one < oldest)
			oldest = one;
	}
	return oldest;
}
