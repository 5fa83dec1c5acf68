/*
 * buf: byte buffers that are borrowed when bytes arrive and given back when they are gone, so that
 * an idle connection holds none. Counted, because a sink that could not write everything keeps the
 * producer's buffer instead of copying it. One worker's own.
 */
#ifndef ROUTERD_BUF_H
#define ROUTERD_BUF_H

#include <stdint.h>

#include "libcommon/freelist.h"
#include "libcommon/pipe.h"

/* Start small, grow while a body flows: relaying 1 MB through 16 kB reads costs more than twice
 * what 64 kB reads cost. */
enum buf_class { BUF_16K, BUF_64K, BUF_256K, BUF_CLASSES };

/* The smallest with room for n bytes, or the largest, which may be too small. */
static inline enum buf_class
buf_class_for(uint64_t n)
{
	return n <= 16384 ? BUF_16K : n <= 65536 ? BUF_64K : BUF_256K;
}

/* One larger, while there is one. */
static inline enum buf_class
buf_class_above(enum buf_class than)
{
	return than < BUF_256K ? than + 1 : BUF_256K;
}

struct bufs {
	struct freelist class[BUF_CLASSES];
	struct pipes pipes;  /* bytes that wait in the kernel */
	uint64_t *out_bytes; /* held now: a counter of the status */
	uint64_t tight;      /* from here on nobody takes more than he needs to go on */
	uint64_t limit;
	void (*over)(void *arg); /* more than that is held; not from there: it only takes note */
	void *arg;
};

struct buf {
	struct bufs *home;
	uint32_t refs;
	uint32_t class;
	uint32_t cap;
	uint32_t r; /* bytes [r, w) are not consumed yet */
	uint32_t w;
	char data[];
};

/* With at most so many pipes; *out_bytes is counted up and down. */
void bufs_init(struct bufs *b, unsigned pipes, uint64_t *out_bytes);
/* At first there is none. */
void bufs_set_limit(struct bufs *b, uint64_t limit);
/* n bytes more, or less, that are held elsewhere than in buffers. */
void bufs_count(struct bufs *b, int64_t n);

static inline bool
bufs_are_tight(const struct bufs *b)
{
	return *b->out_bytes >= b->tight;
}

/* Free what was not needed since the last trim; true: there is more to free, later. */
bool bufs_trim(struct bufs *b);
void bufs_fini(struct bufs *b);

/* refs is 1, empty. */
struct buf *buf_get(struct bufs *from, enum buf_class class);

static inline struct buf *
buf_ref(struct buf *b)
{
	b->refs++;
	return b;
}

void buf_release(struct buf *b);

/* NULL is fine. */
static inline void
buf_unref(struct buf *b)
{
	if (b != NULL && --b->refs == 0)
		buf_release(b);
}

static inline size_t
buf_len(const struct buf *b)
{
	return b->w - b->r;
}

static inline size_t
buf_room(const struct buf *b)
{
	return b->cap - b->w;
}

#endif
