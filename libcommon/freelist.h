/*
 * freelist: objects of one size that are given back and taken again: no malloc per request in
 * steady state. What a burst needed and nothing needs any more is given back by trim. One thread's
 * own.
 */
#ifndef LIBCOMMON_FREELIST_H
#define LIBCOMMON_FREELIST_H

#include <stdbool.h>
#include <stdlib.h>

#include "libcommon/mem.h"

/* Objects from this size on are pages of their own, so that a trim really frees. */
#define FREELIST_PAGES 8192

struct freelist {
	void *head;
	size_t size;
	unsigned count;
	unsigned low;   /* fewest since the last trim: so many were not needed */
	unsigned keep;  /* more than this many are never kept */
	unsigned shift; /* of the newest in its first page */
};

static inline void
freelist_init(struct freelist *f, size_t size, unsigned keep)
{
	*f = (struct freelist){ .size = size, .keep = keep };
}

static inline void
freelist_drop(struct freelist *f, void *p)
{
	if (f->size >= FREELIST_PAGES)
		pages_free(p, f->size);
	else
		free(p);
}

/* Contents are undefined. */
static inline void *
freelist_take(struct freelist *f)
{
	void *p = f->head;

	if (p == NULL)
		return f->size >= FREELIST_PAGES ? xpages_shifted(f->size, &f->shift)
						 : xmalloc(f->size);
	f->head = *(void **)p;
	if (--f->count < f->low)
		f->low = f->count;
	return p;
}

static inline void
freelist_give(struct freelist *f, void *p)
{
	if (f->count >= f->keep) {
		freelist_drop(f, p);
		return;
	}
	*(void **)p = f->head;
	f->head = p;
	f->count++;
}

/*
 * Free what was not needed since the last trim, but for `base` objects. True while there are more
 * than that: trim again later.
 */
static inline bool
freelist_trim(struct freelist *f, unsigned base)
{
	for (; f->low > 0 && f->count > base; f->low--, f->count--) {
		void *p = f->head;

		f->head = *(void **)p;
		freelist_drop(f, p);
	}
	f->low = f->count;
	return f->count > base;
}

static inline void
freelist_fini(struct freelist *f)
{
	f->low = f->count;
	freelist_trim(f, 0);
}

#endif
