/*
 * publish.c: see the header. A shard is a run of a pool's targets; its deadline is the next
 * heartbeat, or the moment at which a change may be sent.
 */
#include "healthd/publish.h"

#include <stdlib.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"

#define HEAD_ROOM 2048 /* topic, sender, epoch, and all else that stands around the servers */

struct shard {
	struct publish *p;
	struct target_pool *pool;
	size_t first;
	size_t count;
	uint32_t number;
	struct deadline due;
	struct run_item soon;
	uint64_t sent_ms;
};

struct publish {
	struct loop *loop;
	struct bus *bus;
	struct target_set *set;
	struct loop_timer *hello;
	struct sbuf out;
	struct publish_stats stats;
	uint64_t seq;
	char epoch[BUS_EPOCH_SIZE];
	char config[65];
	char who[];
};

/* --- one message ----------------------------------------------------------- */

static void
send_message(struct publish *p, struct busmsg *m)
{
	struct err err;

	m->who = p->who;
	m->epoch = p->epoch;
	m->seq = ++p->seq;
	m->ttl_ms = PUBLISH_TTL_MS;
	sbuf_clear(&p->out);
	if (busmsg_encode(m, &p->out, &err)) {
		if (p->stats.refused++ == 0)
			LOG_ERROR("bus_message_refused", L_STR("subject", m->subject),
				L_STR("problem", err.text));
		return;
	}
	p->stats.messages++;
	bus_publish(p->bus, sbuf_slice(&p->out));
}

static void
fill_server(struct busmsg_server *out, const struct target *t, uint64_t now_ms)
{
	*out = (struct busmsg_server){
		.name = t->name,
		.address = t->address,
		.state = t->rise.state,
		.reason = t->reason,
		.since_ms = target_age_ms(now_ms, t->since_ms),
		.probe_age_ms = target_age_ms(now_ms, t->probed_ms),
		.rise = t->rise.rise,
		.fall = t->rise.fall,
		.is_probed = t->probed_ms != 0,
	};
	/* 0 stands for "none fails", so a failure of this very millisecond is one old */
	if (t->failing_ms)
		out->failing_ms = target_age_ms(now_ms, t->failing_ms) + 1;
}

static void
send_shard(struct shard *sh)
{
	struct publish *p = sh->p;
	struct target_pool *pool = sh->pool;
	uint64_t now_ms = loop_now_ms(p->loop);
	struct busmsg_server servers[BUSMSG_SERVERS_MAX];
	struct busmsg m = {
		.kind = BUSMSG_HEALTH,
		.subject = pool->name,
		.shard = sh->number,
		.shards = (uint32_t)pool->shard_count,
		.is_round_done = pool->is_round_done,
		.servers = servers,
		.count = sh->count,
	};

	for (size_t i = 0; i < sh->count; i++)
		fill_server(&servers[i], pool->targets[sh->first + i], now_ms);
	send_message(p, &m);
	sh->sent_ms = now_ms;
	deadline_set(p->loop, &sh->due, PUBLISH_HEARTBEAT_MS - LOOP_TICK_MS);
}

static void
on_due(struct deadline *d)
{
	send_shard((struct shard *)((char *)d - offsetof(struct shard, due)));
}

static void
on_soon(struct run_item *item)
{
	send_shard((struct shard *)((char *)item - offsetof(struct shard, soon)));
}

static void
on_hello(void *arg)
{
	struct publish *p = arg;
	struct busmsg m = {
		.kind = BUSMSG_HELLO,
		.subject = "healthd",
		.version = WEIR_VERSION,
		.config = p->config,
	};

	send_message(p, &m);
	target_set_expire(p->set);
}

/* --- changes --------------------------------------------------------------- */

static struct shard *
shard_of(const struct target *t)
{
	for (size_t i = 0; i < t->pool->shard_count; i++) {
		struct shard *sh = &t->pool->shards[i];

		if (t->index >= sh->first && t->index < sh->first + sh->count)
			return sh;
	}
	return NULL;
}

void
publish_changed(struct publish *p, struct target *t)
{
	struct shard *sh = shard_of(t);
	uint64_t passed_ms;

	if (!sh || !p->bus || sh->soon.is_queued)
		return;
	passed_ms = target_age_ms(loop_now_ms(p->loop), sh->sent_ms);
	if (sh->sent_ms == 0 || passed_ms >= PUBLISH_GAP_MS)
		loop_run_soon(p->loop, &sh->soon);
	else if (sh->due.due_ms > sh->sent_ms + PUBLISH_GAP_MS)
		deadline_set(p->loop, &sh->due, PUBLISH_GAP_MS - passed_ms);
}

/* --- shards ---------------------------------------------------------------- */

/* How many of the targets from `first` on fit one message. */
static size_t
fit(const struct target_pool *pool, size_t first)
{
	size_t bytes = HEAD_ROOM + 3 * strlen(pool->name);
	size_t n = 0;

	while (first + n < pool->n && n < BUSMSG_SERVERS_MAX) {
		const struct target *t = pool->targets[first + n];

		bytes += busmsg_server_bytes(t->name, t->address);
		if (n > 0 && bytes > BUSMSG_BYTES_MAX)
			break;
		n++;
	}
	return n;
}

static void
add_shard(struct publish *p, struct target_pool *pool, size_t first, size_t count)
{
	pool->shards = xreallocarray(pool->shards, pool->shard_count + 1, sizeof(*pool->shards));
	pool->shards[pool->shard_count] = (struct shard){
		.p = p,
		.pool = pool,
		.first = first,
		.count = count,
		.number = (uint32_t)pool->shard_count,
		.soon = { .fn = on_soon },
	};
	pool->shard_count++;
}

/* The first word of each shard comes within a heartbeat, spread. */
static void
start_shards(struct publish *p)
{
	size_t k = 0;

	for (size_t i = 0; i < p->set->pool_count; i++) {
		struct target_pool *pool = &p->set->pools[i];

		for (size_t j = 0; j < pool->shard_count; j++, k++)
			deadline_set(p->loop, &pool->shards[j].due,
				1 + k * PUBLISH_HEARTBEAT_MS / p->stats.shards);
	}
}

void
publish_build(struct publish *p, struct target_set *set, const char *config_hash)
{
	p->set = set;
	strncpy(p->config, config_hash, sizeof(p->config) - 1);
	for (size_t i = 0; i < set->pool_count; i++) {
		struct target_pool *pool = &set->pools[i];

		for (size_t at = 0; at < pool->n; at += pool->shards[pool->shard_count - 1].count)
			add_shard(p, pool, at, fit(pool, at));
		/* only now that the array has its place */
		for (size_t j = 0; j < pool->shard_count; j++)
			deadline_init(&pool->shards[j].due, on_due);
		p->stats.shards += (uint32_t)pool->shard_count;
	}
	if (p->bus)
		start_shards(p);
}

void
publish_drop(struct publish *p)
{
	for (size_t i = 0; p->set && i < p->set->pool_count; i++) {
		struct target_pool *pool = &p->set->pools[i];

		for (size_t j = 0; j < pool->shard_count; j++) {
			loop_run_cancel(p->loop, &pool->shards[j].soon);
			deadline_fini(&pool->shards[j].due);
		}
		free(pool->shards);
		pool->shards = NULL;
		pool->shard_count = 0;
	}
	p->stats.shards = 0;
}

void
publish_start(struct publish *p, struct bus *bus)
{
	p->bus = bus;
	start_shards(p);
	p->hello = loop_timer_new(p->loop, on_hello, p);
	loop_timer_set(p->hello, PUBLISH_HEARTBEAT_MS, true);
}

void
publish_stats(const struct publish *p, struct publish_stats *out)
{
	*out = p->stats;
}

struct publish *
publish_new(struct loop *l, const char *who)
{
	size_t len = strlen(who);
	struct publish *p = xcalloc(1, sizeof(*p) + len + 1);

	p->loop = l;
	memcpy(p->who, who, len + 1);
	bus_epoch(p->epoch);
	return p;
}

void
publish_free(struct publish *p)
{
	if (!p)
		return;
	loop_timer_free(p->hello);
	sbuf_fini(&p->out);
	free(p);
}
