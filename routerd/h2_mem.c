/*
 * h2_mem: size classes in front of freelist.h. nghttp2 does not say how large a piece is that it
 * gives back, so a word in front of each does.
 */
#include "routerd/h2_mem.h"

#include <string.h>

#include "libcommon/freelist.h"

/* In front of each piece; as large as the strictest alignment. */
struct tag {
	_Alignas(16) uint32_t class;
	uint32_t size;
};

/* What a session is made of beside small pieces: itself, its tables, and a frame of 16 kB. */
static const uint32_t large[] = { 768, 1024, 2048, 4096, 8192, 16640 };

enum {
	STEP = 32, /* small pieces: multiples of it */
	SMALL = 16,
	CLASSES = SMALL + sizeof(large) / sizeof(large[0]),
	NO_CLASS = CLASSES, /* larger ones are malloc's */
	KEEP_BYTES = 512 << 10,
	BASE_BYTES = 64 << 10,
};

struct h2_mem {
	nghttp2_mem ops;
	struct freelist class[CLASSES];
};

static uint32_t
class_size(unsigned class)
{
	return class < SMALL ? (class + 1) * STEP : large[class - SMALL];
}

static unsigned
class_of(size_t n)
{
	if (n <= STEP)
		return 0;
	if (n <= SMALL * STEP)
		return (unsigned)((n - 1) / STEP);
	for (unsigned i = SMALL; i < CLASSES; i++)
		if (n <= large[i - SMALL])
			return i;
	return NO_CLASS;
}

static void *
take(size_t n, void *arg)
{
	struct h2_mem *m = arg;
	unsigned class = class_of(n);
	struct tag *t;

	if (class == NO_CLASS) {
		t = xmalloc(sizeof(*t) + n);
		t->size = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
	} else {
		t = freelist_take(&m->class[class]);
		t->size = class_size(class);
	}
	t->class = class;
	return t + 1;
}

static void
give(void *p, void *arg)
{
	struct h2_mem *m = arg;
	struct tag *t;

	if (p == NULL)
		return;
	t = (struct tag *)p - 1;
	if (t->class == NO_CLASS)
		free(t);
	else
		freelist_give(&m->class[t->class], t);
}

static void *
take_zeroed(size_t count, size_t size, void *arg)
{
	size_t n;

	if (__builtin_mul_overflow(count, size, &n))
		return NULL;
	return memset(take(n, arg), 0, n);
}

static void *
retake(void *p, size_t n, void *arg)
{
	const struct tag *t;
	void *q;

	if (p == NULL)
		return take(n, arg);
	t = (const struct tag *)p - 1;
	if (n <= t->size)
		return p;
	q = take(n, arg);
	memcpy(q, p, t->size);
	give(p, arg);
	return q;
}

struct h2_mem *
h2_mem_new(void)
{
	struct h2_mem *m = xmalloc(sizeof(*m));

	m->ops = (nghttp2_mem){
		.mem_user_data = m,
		.malloc = take,
		.free = give,
		.calloc = take_zeroed,
		.realloc = retake,
	};
	for (unsigned i = 0; i < CLASSES; i++)
		freelist_init(&m->class[i], sizeof(struct tag) + class_size(i),
			KEEP_BYTES / class_size(i));
	return m;
}

void
h2_mem_free(struct h2_mem *m)
{
	if (m == NULL)
		return;
	for (unsigned i = 0; i < CLASSES; i++)
		freelist_fini(&m->class[i]);
	free(m);
}

nghttp2_mem *
h2_mem_of(struct h2_mem *m)
{
	return &m->ops;
}

bool
h2_mem_trim(struct h2_mem *m)
{
	bool more = false;

	for (unsigned i = 0; i < CLASSES; i++)
		more |= freelist_trim(&m->class[i], BASE_BYTES / class_size(i));
	return more;
}
