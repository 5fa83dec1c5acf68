/*
 * mem: allocation that cannot return NULL, and arenas. Sizes that come from a peer are checked
 * against a configured limit before they get here, so running out of memory is the operator's
 * problem and aborts.
 */
#ifndef LIBCOMMON_MEM_H
#define LIBCOMMON_MEM_H

#include <stddef.h>

#include "libcommon/slice.h"

void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
void *xreallocarray(void *p, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
/* Memory aligned to `align` (a power of two); released with free(). */
void *xaligned(size_t align, size_t n) __attribute__((returns_nonnull));
/*
 * Pages of their own, given back to the system at once by pages_free with the same n: for large
 * pieces that come and go in bursts, whose holes in the heap would stay for ever. Each begins one
 * cache line later in its first page than the one before, as far as the last page has room: objects
 * that all begin on a page's border share few lines of the caches, and hundreds of them in use at
 * once drive each other out. *shift is 0 before the first.
 */
void *xpages_shifted(size_t n, unsigned *shift) __attribute__((returns_nonnull));
void pages_free(void *p, size_t n);

/*
 * An arena: many small pieces that die together. Pieces are aligned for any type and are never
 * freed one by one. Not thread-safe.
 */
struct arena_block;
struct arena_hook;

struct arena {
	char *at;
	char *end;
	struct arena_block *blocks;
	struct arena_hook *hooks;
	size_t block_size;
	char *first;
	size_t first_size;
};

/* block_size: how much is taken from the heap at a time; 0 means 4096. */
void arena_init(struct arena *a, size_t block_size);
/*
 * The same, but the first `n` bytes come from `first`, memory of the caller's that outlives the
 * arena: a request whose needs fit there never touches the heap.
 */
void arena_init_in(struct arena *a, void *first, size_t n, size_t block_size);
/* Runs the clean-up hooks, newest first, and releases everything; the arena can be used again. */
void arena_reset(struct arena *a);
void arena_fini(struct arena *a);

void *arena_alloc_slow(struct arena *a, size_t n) __attribute__((returns_nonnull));

/* Not zeroed. */
static inline void *
arena_alloc(struct arena *a, size_t n)
{
	n = (n + 15) & ~(size_t)15;
	if (n > (size_t)(a->end - a->at))
		return arena_alloc_slow(a, n);

	char *p = a->at;

	a->at += n;
	return p;
}

/* Zeroed; aborts when count * size overflows. */
void *arena_calloc(struct arena *a, size_t count, size_t size) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *a, const char *s) __attribute__((returns_nonnull));
/* A NUL-terminated copy. */
char *arena_strndup(struct arena *a, const char *s, size_t n) __attribute__((returns_nonnull));
struct slice arena_dup(struct arena *a, struct slice s);
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), returns_nonnull));
/* fn(arg) runs when the arena is reset or ends. */
void arena_on_free(struct arena *a, void (*fn)(void *), void *arg);

#endif
