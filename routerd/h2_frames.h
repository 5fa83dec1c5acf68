/*
 * h2_frames: finds the frames in the bytes of an HTTP/2 connection and says how many there were.
 * nghttp2 skips what it does not know, and frames of streams that are over, without a word: who
 * wants to know what a peer costs has to count by himself. Does not allocate.
 */
#ifndef ROUTERD_H2_FRAMES_H
#define ROUTERD_H2_FRAMES_H

#include <stddef.h>
#include <stdint.h>

struct h2_frames {
	uint32_t skip; /* bytes to the next frame: a payload, or the client's preface */
	uint8_t have;  /* bytes of its header */
	uint8_t head[9];
	uint8_t also; /* a type that is known, besides those of RFC 9113 */
	uint32_t all; /* frames whose header has come, ever */
	uint32_t unknown;
};

/* `skip` is 24 for bytes of clients, 0 for those of servers. */
static inline void
h2_frames_init(struct h2_frames *f, uint32_t skip, uint8_t also)
{
	*f = (struct h2_frames){ .skip = skip, .also = also };
}

/* The next n bytes of the connection. */
void h2_frames_walk(struct h2_frames *f, const char *p, size_t n);

#endif
