/*
 * freelist: objects of one size that are given back and taken again: no malloc per request in
 * steady state. One thread's own.
 */
#ifndef ROUTERD_FREELIST_H
#define ROUTERD_FREELIST_H

#include <stdlib.h>

#include "libcommon/mem.h"

struct freelist {
	void *head;
	size_t size;
	unsigned count;
	unsigned keep; /* more than this many go back to the heap */
};

static inline void
freelist_init(struct freelist *f, size_t size, unsigned keep)
{
	*f = (struct freelist){ .size = size, .keep = keep };
}

/* Contents are undefined. */
static inline void *
freelist_take(struct freelist *f)
{
	void *p = f->head;

	if (p == NULL)
		return xmalloc(f->size);
	f->head = *(void **)p;
	f->count--;
	return p;
}

static inline void
freelist_give(struct freelist *f, void *p)
{
	if (f->count >= f->keep) {
		free(p);
		return;
	}
	*(void **)p = f->head;
	f->head = p;
	f->count++;
}

static inline void
freelist_fini(struct freelist *f)
{
	while (f->head != NULL) {
		void *p = f->head;

		f->head = *(void **)p;
		free(p);
	}
	f->count = 0;
}

#endif
