/*
 * buf: the three size classes and their free lists.
 */
#include "routerd/buf.h"

static const uint32_t class_bytes[BUF_CLASSES] = { 16384, 65536, 262144 };
/* How many of each class a worker keeps for itself until a trim finds that nobody needs them: 32,
 * 64 and 16 MB. All of them were in use at once before: a few connections of HTTP/2 have hundreds
 * of requests, each with a buffer of its own, and mapping these anew for each answer took a third
 * of all time. */
static const unsigned class_keep[BUF_CLASSES] = { 2048, 1024, 64 };

/* What stays when it was not needed for a while. */
static const unsigned class_base[BUF_CLASSES] = { 16, 4, 2 };

void
bufs_init(struct bufs *b, unsigned pipes, uint64_t *out_bytes)
{
	for (int i = 0; i < BUF_CLASSES; i++)
		freelist_init(&b->class[i], sizeof(struct buf) + class_bytes[i], class_keep[i]);
	pipes_init(&b->pipes, pipes);
	b->out_bytes = out_bytes;
	b->over = NULL;
	bufs_set_limit(b, UINT64_MAX);
}

void
bufs_set_limit(struct bufs *b, uint64_t limit)
{
	b->limit = limit;
	b->tight = limit / 2;
}

void
bufs_count(struct bufs *b, int64_t n)
{
	uint64_t all = *b->out_bytes + (uint64_t)n;

	__atomic_store_n(b->out_bytes, all, __ATOMIC_RELAXED);
	if (n > 0 && all > b->limit && b->over != NULL)
		b->over(b->arg);
}

bool
bufs_trim(struct bufs *b)
{
	bool more = false;

	for (int i = 0; i < BUF_CLASSES; i++)
		more |= freelist_trim(&b->class[i], class_base[i]);
	return more;
}

void
bufs_fini(struct bufs *b)
{
	for (int i = 0; i < BUF_CLASSES; i++)
		freelist_fini(&b->class[i]);
	pipes_fini(&b->pipes);
}

struct buf *
buf_get(struct bufs *from, enum buf_class class)
{
	struct buf *b = freelist_take(&from->class[class]);

	b->home = from;
	b->refs = 1;
	b->class = class;
	b->cap = class_bytes[class];
	b->r = 0;
	b->w = 0;
	bufs_count(from, b->cap);
	return b;
}

void
buf_release(struct buf *b)
{
	bufs_count(b->home, -(int64_t)b->cap);
	freelist_give(&b->home->class[b->class], b);
}
