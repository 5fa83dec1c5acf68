/*
 * ticket: few keys behind a lock that is held for a copy of 80 bytes. Time is the caller's, so that
 * the schedule can be tested without waiting.
 */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcommon/mem.h"
#include "tlsd/ticket.h"

/* Older ones first, then the current one, then one that is only known yet. */
struct slots {
	struct ticket_key v[TICKET_KEYS_MAX];
};

struct ticket_keys {
	pthread_mutex_t lock;
	struct slots *slots; /* pages of their own */
	size_t size;
	size_t n;
	size_t current;
	int64_t made_ms;
	int64_t previous_end_ms;
	int64_t rotate_ms;
};

bool
ticket_key_make(struct ticket_key *k)
{
	return RAND_bytes(k->name, sizeof(k->name)) == 1 &&
		RAND_priv_bytes(k->aes, sizeof(k->aes)) == 1 &&
		RAND_priv_bytes(k->mac, sizeof(k->mac)) == 1;
}

/* Locking may fail at a small limit; the pages are then at least never in a core or a child. */
static struct slots *
map_slots(size_t *size)
{
	*size = (size_t)sysconf(_SC_PAGESIZE);

	void *p = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	(void)mlock(p, *size);
	(void)madvise(p, *size, MADV_DONTDUMP);
	(void)madvise(p, *size, MADV_WIPEONFORK);
	return p;
}

struct ticket_keys *
ticket_keys_new(int64_t now_ms, int64_t rotate_ms)
{
	struct ticket_keys *t = xcalloc(1, sizeof(*t));

	pthread_mutex_init(&t->lock, NULL);
	t->slots = map_slots(&t->size);
	t->made_ms = now_ms;
	t->rotate_ms = rotate_ms;
	if (t->slots == NULL || !ticket_key_make(&t->slots->v[0])) {
		ticket_keys_free(t);
		return NULL;
	}
	t->n = 1;
	return t;
}

void
ticket_keys_free(struct ticket_keys *t)
{
	if (t == NULL)
		return;
	if (t->slots != NULL) {
		OPENSSL_cleanse(t->slots, sizeof(*t->slots));
		munmap(t->slots, t->size);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void
ticket_keys_set(struct ticket_keys *t, int64_t rotate_ms)
{
	pthread_mutex_lock(&t->lock);
	t->rotate_ms = rotate_ms;
	pthread_mutex_unlock(&t->lock);
}

/* All but the current key go; it becomes the one before. */
static bool
rotate(struct ticket_keys *t, int64_t now_ms)
{
	struct ticket_key pair[2];

	if (!ticket_key_make(&pair[1]))
		return false; /* no randomness: the old key stays until the next look */
	pair[0] = t->slots->v[t->current];
	OPENSSL_cleanse(t->slots, sizeof(*t->slots));
	memcpy(t->slots->v, pair, sizeof(pair));
	OPENSSL_cleanse(pair, sizeof(pair));
	t->n = 2;
	t->current = 1;
	t->previous_end_ms = t->made_ms + 2 * t->rotate_ms;
	t->made_ms = now_ms;
	return true;
}

/* Only the current key stays. */
static void
forget_others(struct ticket_keys *t)
{
	struct ticket_key kept = t->slots->v[t->current];

	OPENSSL_cleanse(t->slots, sizeof(*t->slots));
	t->slots->v[0] = kept;
	OPENSSL_cleanse(&kept, sizeof(kept));
	t->n = 1;
	t->current = 0;
}

bool
ticket_keys_turn(struct ticket_keys *t, int64_t now_ms)
{
	bool changed = false;

	pthread_mutex_lock(&t->lock);
	if (now_ms - t->made_ms >= t->rotate_ms)
		changed = rotate(t, now_ms);
	if (t->n > 1 && now_ms >= t->previous_end_ms) {
		forget_others(t);
		changed = true;
	}
	pthread_mutex_unlock(&t->lock);
	return changed;
}

bool
ticket_keys_share(struct ticket_keys *t, const struct ticket_key *const *keys, size_t n,
	size_t current, int64_t now_ms)
{
	pthread_mutex_lock(&t->lock);

	bool changed = memcmp(t->slots->v[t->current].name, keys[current]->name, TICKET_NAME) != 0;

	OPENSSL_cleanse(t->slots, sizeof(*t->slots));
	for (size_t i = 0; i < n; i++)
		t->slots->v[i] = *keys[i];
	t->n = n;
	t->current = current;
	if (changed)
		t->made_ms = now_ms;
	t->previous_end_ms = now_ms + t->rotate_ms;
	pthread_mutex_unlock(&t->lock);
	return changed;
}

int64_t
ticket_keys_wait_ms(struct ticket_keys *t, int64_t now_ms)
{
	pthread_mutex_lock(&t->lock);

	int64_t due = t->made_ms + t->rotate_ms;

	if (t->n > 1 && t->previous_end_ms < due)
		due = t->previous_end_ms;
	pthread_mutex_unlock(&t->lock);
	return due > now_ms ? due - now_ms : 1;
}

void
ticket_key_seal(struct ticket_keys *t, struct ticket_key *out)
{
	pthread_mutex_lock(&t->lock);
	*out = t->slots->v[t->current];
	pthread_mutex_unlock(&t->lock);
}

int
ticket_key_open(struct ticket_keys *t, const uint8_t name[TICKET_NAME], struct ticket_key *out)
{
	int which = 0;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n && which == 0; i++)
		if (memcmp(t->slots->v[i].name, name, TICKET_NAME) == 0) {
			*out = t->slots->v[i];
			which = i < t->current ? 2 : 1;
		}
	pthread_mutex_unlock(&t->lock);
	return which;
}

unsigned
ticket_keys_count(struct ticket_keys *t)
{
	pthread_mutex_lock(&t->lock);

	unsigned n = (unsigned)t->current + 1;

	pthread_mutex_unlock(&t->lock);
	return n;
}

int64_t
ticket_keys_age_ms(struct ticket_keys *t, int64_t now_ms)
{
	pthread_mutex_lock(&t->lock);

	int64_t age = now_ms - t->made_ms;

	pthread_mutex_unlock(&t->lock);
	return age;
}
