/*
 * kept: one small buffer; calls of gRPC and the like fit in it.
 */
#include "routerd/kept.h"

#include <string.h>

static enum sink_result
sink_head(struct sink *s, struct msg *m)
{
	(void)s;
	(void)m;
	return SINK_OK;
}

static enum sink_result
sink_data(struct sink *s, struct buf *b, const char *p, size_t n)
{
	struct kept *k = (struct kept *)s;

	(void)b;
	kept_add(k, p, n);
	return k->is_lost ? SINK_GONE : SINK_OK;
}

static enum sink_result
sink_end(struct sink *s, const struct field *trailers, uint16_t count)
{
	(void)trailers;
	kept_end((struct kept *)s, count);
	return SINK_OK;
}

static enum sink_result
sink_flush(struct sink *s)
{
	return ((struct kept *)s)->is_lost ? SINK_GONE : SINK_OK;
}

static const struct sink_ops ops = {
	.head = sink_head, .data = sink_data, .end = sink_end, .flush = sink_flush
};

void
kept_init(struct kept *k, struct bufs *bufs)
{
	*k = (struct kept){ .sink.ops = &ops, .bufs = bufs, .is_on = true };
}

void
kept_drop(struct kept *k)
{
	buf_unref(k->b);
	k->b = NULL;
	k->is_lost = true;
}

void
kept_add(struct kept *k, const char *p, size_t n)
{
	if (k->is_lost || n == 0)
		return;
	if (k->b == NULL)
		k->b = buf_get(k->bufs, BUF_16K);
	if (buf_room(k->b) < n) {
		kept_drop(k);
		return;
	}
	memcpy(k->b->data + k->b->w, p, n);
	k->b->w += (uint32_t)n;
}

void
kept_end(struct kept *k, uint16_t trailer_count)
{
	if (trailer_count > 0)
		kept_drop(k);
	k->has_end = true;
}
