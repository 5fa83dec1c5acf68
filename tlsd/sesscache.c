/*
 * sesscache: shards, each with a lock, a hash table and a list by use. Session ids are random, made
 * by OpenSSL, so their first byte names the shard; what a client sends as an id only finds or does
 * not. All bytes of a session are secret.
 */
#include "tlsd/sesscache.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "libcommon/mem.h"

#define SHARDS 16

struct entry {
	UT_hash_handle hh;
	struct entry *newer;
	struct entry *older;
	int64_t until_ms;
	size_t n;
	uint8_t id_n;
	uint8_t id[SESSCACHE_ID_MAX];
	uint8_t bytes[];
};

struct shard {
	pthread_mutex_t lock;
	struct entry *by_id;
	struct entry *newest;
	struct entry *oldest;
	struct sesscache_stats stats;
};

struct sesscache {
	_Atomic size_t size;
	_Atomic int64_t life_ms;
	struct shard shards[SHARDS];
};

struct sesscache *
sesscache_new(size_t size, int64_t life_ms)
{
	struct sesscache *c = xcalloc(1, sizeof(*c));

	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_init(&c->shards[i].lock, NULL);
	sesscache_set(c, size, life_ms);
	return c;
}

void
sesscache_set(struct sesscache *c, size_t size, int64_t life_ms)
{
	atomic_store(&c->size, size);
	atomic_store(&c->life_ms, life_ms);
}

bool
sesscache_is_on(const struct sesscache *c)
{
	return atomic_load_explicit(&c->size, memory_order_relaxed) > 0;
}

/* --- one shard, its lock held ------------------------------------------------------------- */

static size_t
cost(const struct entry *e)
{
	return sizeof(*e) + e->n;
}

static void
unlink_entry(struct shard *s, struct entry *e)
{
	*(e->newer != NULL ? &e->newer->older : &s->newest) = e->older;
	*(e->older != NULL ? &e->older->newer : &s->oldest) = e->newer;
}

static void
link_newest(struct shard *s, struct entry *e)
{
	e->newer = NULL;
	e->older = s->newest;
	*(s->newest != NULL ? &s->newest->newer : &s->oldest) = e;
	s->newest = e;
}

static void
forget(struct shard *s, struct entry *e)
{
	HASH_DEL(s->by_id, e);
	unlink_entry(s, e);
	s->stats.sessions--;
	s->stats.bytes -= cost(e);
	OPENSSL_cleanse(e->bytes, e->n);
	free(e);
}

static struct entry *
find(struct shard *s, const uint8_t *id, size_t id_n)
{
	struct entry *e;

	HASH_FIND(hh, s->by_id, id, id_n, e);
	return e;
}

static void
make_room(struct shard *s, size_t size, int64_t now_ms)
{
	while (s->oldest != NULL && (s->stats.bytes > size || s->oldest->until_ms <= now_ms)) {
		s->stats.evicted += s->oldest->until_ms > now_ms;
		forget(s, s->oldest);
	}
}

/* --- all ---------------------------------------------------------------------------------- */

/* NULL: no session can have this id. */
static struct shard *
shard_of(struct sesscache *c, const uint8_t *id, size_t id_n)
{
	return id_n > 0 && id_n <= SESSCACHE_ID_MAX ? &c->shards[id[0] % SHARDS] : NULL;
}

void
sesscache_put(struct sesscache *c, const uint8_t *id, size_t id_n, const uint8_t *p, size_t n,
	int64_t now_ms)
{
	struct shard *s = shard_of(c, id, id_n);
	size_t size = atomic_load(&c->size) / SHARDS;
	struct entry *e;
	struct entry *old;

	if (s == NULL || sizeof(*e) + n > size)
		return;
	e = xmalloc(sizeof(*e) + n);
	*e = (struct entry){ .n = n, .id_n = (uint8_t)id_n };
	e->until_ms = now_ms + atomic_load(&c->life_ms);
	memcpy(e->id, id, id_n);
	memcpy(e->bytes, p, n);
	pthread_mutex_lock(&s->lock);
	old = find(s, id, id_n);
	if (old != NULL)
		forget(s, old);
	HASH_ADD_KEYPTR(hh, s->by_id, e->id, id_n, e);
	link_newest(s, e);
	s->stats.sessions++;
	s->stats.bytes += cost(e);
	make_room(s, size, now_ms);
	pthread_mutex_unlock(&s->lock);
}

uint8_t *
sesscache_get(struct sesscache *c, const uint8_t *id, size_t id_n, size_t *n, int64_t now_ms)
{
	struct shard *s = shard_of(c, id, id_n);
	uint8_t *copy = NULL;

	if (s == NULL)
		return NULL;
	pthread_mutex_lock(&s->lock);

	struct entry *e = find(s, id, id_n);

	if (e != NULL && e->until_ms <= now_ms) {
		forget(s, e);
		e = NULL;
	}
	if (e != NULL) {
		*n = e->n;
		copy = memcpy(xmalloc(e->n), e->bytes, e->n);
		unlink_entry(s, e);
		link_newest(s, e);
		s->stats.hits++;
	} else {
		s->stats.misses++;
	}
	pthread_mutex_unlock(&s->lock);
	return copy;
}

void
sesscache_drop(struct sesscache *c, const uint8_t *id, size_t id_n)
{
	struct shard *s = shard_of(c, id, id_n);
	struct entry *e;

	if (s == NULL)
		return;
	pthread_mutex_lock(&s->lock);
	e = find(s, id, id_n);
	if (e != NULL)
		forget(s, e);
	pthread_mutex_unlock(&s->lock);
}

struct sesscache_stats
sesscache_stats(struct sesscache *c)
{
	struct sesscache_stats sum = { .sessions = 0 };

	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shards[i];

		pthread_mutex_lock(&s->lock);
		sum.sessions += s->stats.sessions;
		sum.bytes += s->stats.bytes;
		sum.hits += s->stats.hits;
		sum.misses += s->stats.misses;
		sum.evicted += s->stats.evicted;
		pthread_mutex_unlock(&s->lock);
	}
	return sum;
}

void
sesscache_free(struct sesscache *c)
{
	if (c == NULL)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &c->shards[i];

		while (s->oldest != NULL)
			forget(s, s->oldest);
		pthread_mutex_destroy(&s->lock);
	}
	free(c);
}
