/*
 * mem: the allocator that aborts instead of returning NULL, and arenas made of blocks in a list.
 */
#include "libcommon/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

struct arena_block {
	struct arena_block *next;
	_Alignas(16) char data[];
};

struct arena_hook {
	struct arena_hook *next;
	void (*fn)(void *);
	void *arg;
};

static void __attribute__((noreturn)) out_of_memory(void)
{
	static const char text[] = "error out_of_memory\n";

	fwrite(text, 1, sizeof(text) - 1, stderr);
	abort();
}

static void *
or_die(void *p)
{
	if (p == NULL)
		out_of_memory();
	return p;
}

void *
xmalloc(size_t n)
{
	return or_die(malloc(n ? n : 1));
}

void *
xcalloc(size_t count, size_t size)
{
	return or_die(calloc(count ? count : 1, size ? size : 1));
}

void *
xrealloc(void *p, size_t n)
{
	return or_die(realloc(p, n ? n : 1));
}

void *
xreallocarray(void *p, size_t count, size_t size)
{
	return or_die(reallocarray(p, count ? count : 1, size ? size : 1));
}

char *
xstrdup(const char *s)
{
	return or_die(strdup(s));
}

char *
xstrndup(const char *s, size_t n)
{
	return or_die(strndup(s, n));
}

char *
xasprintf(const char *fmt, ...)
{
	char *out = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&out, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	return out;
}

void *
xaligned(size_t align, size_t n)
{
	void *p = NULL;

	if (posix_memalign(&p, align, n ? n : 1) != 0)
		out_of_memory();
	return p;
}

/* Under AddressSanitizer the heap, which it guards. */
#ifdef __SANITIZE_ADDRESS__
void
pages_free(void *p, size_t n)
{
	(void)n;
	free(p);
}

void *
xpages_shifted(size_t n, unsigned *shift)
{
	(void)shift;
	return xmalloc(n);
}
#else
static void *
map(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		out_of_memory();
	return p;
}

enum { PAGE = 4096, LINE = 64 };

/* A shifted one ends where its pages end. */
void
pages_free(void *p, size_t n)
{
	munmap((char *)p - (uintptr_t)p % PAGE, n);
}

void *
xpages_shifted(size_t n, unsigned *shift)
{
	char *p = map(n);

	*shift += LINE;
	if (*shift > PAGE - 1 - (n - 1) % PAGE)
		*shift = 0;
	return p + *shift;
}
#endif

void
arena_init(struct arena *a, size_t block_size)
{
	arena_init_in(a, NULL, 0, block_size);
}

void
arena_init_in(struct arena *a, void *first, size_t n, size_t block_size)
{
	/* The first memory may be of any alignment; pieces may not. */
	size_t skew = first ? (16 - ((uintptr_t)first & 15)) & 15 : 0;

	if (skew > n)
		skew = n;
	a->first = first ? (char *)first + skew : NULL;
	a->first_size = (n - skew) & ~(size_t)15;
	a->at = a->first;
	a->end = a->first ? a->first + a->first_size : NULL;
	a->blocks = NULL;
	a->hooks = NULL;
	a->block_size = block_size ? block_size : 4096;
}

void
arena_reset(struct arena *a)
{
	while (a->hooks != NULL) {
		struct arena_hook *hook = a->hooks;

		a->hooks = hook->next;
		hook->fn(hook->arg);
	}
	while (a->blocks != NULL) {
		struct arena_block *next = a->blocks->next;

		free(a->blocks);
		a->blocks = next;
	}
	a->at = a->first;
	a->end = a->first ? a->first + a->first_size : NULL;
}

void
arena_fini(struct arena *a)
{
	arena_reset(a);
}

void *
arena_alloc_slow(struct arena *a, size_t n)
{
	size_t want = n > a->block_size ? n : a->block_size;
	struct arena_block *b;

	if (n > SIZE_MAX - sizeof(*b) - 64)
		out_of_memory();
	b = xmalloc(sizeof(*b) + want);
	b->next = a->blocks;
	a->blocks = b;
	/* A piece that fills a block of its own leaves the current block in use. */
	if (n <= a->block_size) {
		a->at = b->data + n;
		a->end = b->data + want;
	}
	return b->data;
}

void *
arena_calloc(struct arena *a, size_t count, size_t size)
{
	size_t n;

	if (__builtin_mul_overflow(count, size, &n) || n > SIZE_MAX - 16)
		out_of_memory();

	void *p = arena_alloc(a, n);

	memset(p, 0, n);
	return p;
}

char *
arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);

	if (n > 0)
		memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

struct slice
arena_dup(struct arena *a, struct slice s)
{
	return slice_make(arena_strndup(a, s.p, s.n), s.n);
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_list again;

	va_start(ap, fmt);
	va_copy(again, ap);

	int n = vsnprintf(NULL, 0, fmt, ap);
	char *p = arena_alloc(a, (size_t)n + 1);

	vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return p;
}

void
arena_on_free(struct arena *a, void (*fn)(void *), void *arg)
{
	struct arena_hook *hook = arena_alloc(a, sizeof(*hook));

	hook->fn = fn;
	hook->arg = arg;
	hook->next = a->hooks;
	a->hooks = hook;
}
