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
	/* Frames since the last look at what was skipped: */
	uint32_t all;       /* headers that have come */
	uint32_t unknown;   /* of a type that nobody knows */
	uint32_t begun;     /* told of by nghttp2 */
	uint32_t in_flight; /* that may still come for streams that we have reset: not told of */
};

/* `skip` is 24 for bytes of clients, 0 for those of servers. */
static inline void
h2_frames_init(struct h2_frames *f, uint32_t skip, uint8_t also)
{
	*f = (struct h2_frames){ .skip = skip, .also = also };
}

/* The next n bytes of the connection. */
void h2_frames_walk(struct h2_frames *f, const char *p, size_t n);

/* We have reset a stream: what its window let on the way may still come, in DATA of at least
 * 64 bytes on average. */
static inline void
h2_frames_cut(struct h2_frames *f, uint32_t window)
{
	f->in_flight += window / 64;
}

/* Skipped without a word since the last call: `stray` ones belong to streams that are over. */
struct h2_skipped {
	uint32_t unknown;
	uint32_t stray;
};

struct h2_skipped h2_frames_skipped(struct h2_frames *f);

#endif
