/*
 * h2_nv: fields as nghttp2 takes them.
 */
#ifndef ROUTERD_H2_NV_H
#define ROUTERD_H2_NV_H

#include <nghttp2/nghttp2.h>

#include "libcommon/http1.h"

/* What speaks of a connection of HTTP/1 (RFC 9113 §8.2.2), whoever wrote it, and what was dropped.
 */
static inline bool
h2_nv_is_left_out(const struct field *f)
{
	return (f->flags & (FIELD_HOP | MSG_FIELD_DROP)) || f->id == FIELD_HOST;
}

/*
 * Trailers that have to wait for the last DATA: n of them, and their text behind them in the same
 * memory; the caller's to free.
 */
nghttp2_nv *h2_nv_keep(const struct field *f, uint16_t count, size_t *n);

#endif
