/*
 * h2_frames: RFC 9113 §4.1: nine octets, of which the first three are a length and the fourth is a
 * type.
 */
#include "routerd/h2_frames.h"

#include <string.h>

/* The last type of RFC 9113 §6. */
#define CONTINUATION 9

static void
begin(struct h2_frames *f, const uint8_t *head)
{
	f->skip = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
	f->all++;
	f->unknown += head[3] > CONTINUATION && head[3] != f->also;
}

/* A header in pieces. Returns the bytes used. */
static size_t
gather(struct h2_frames *f, const char *p, size_t n)
{
	size_t part = sizeof(f->head) - f->have;

	if (part > n)
		part = n;
	memcpy(f->head + f->have, p, part);
	f->have += (uint8_t)part;
	if (f->have == sizeof(f->head)) {
		f->have = 0;
		begin(f, f->head);
	}
	return part;
}

void
h2_frames_walk(struct h2_frames *f, const char *p, size_t n)
{
	while (n > 0) {
		size_t used;

		if (f->skip > 0) {
			used = f->skip < n ? f->skip : n;
			f->skip -= (uint32_t)used;
		} else if (f->have == 0 && n >= sizeof(f->head)) {
			used = sizeof(f->head);
			begin(f, (const uint8_t *)p);
		} else {
			used = gather(f, p, n);
		}
		p += used;
		n -= used;
	}
}

struct h2_skipped
h2_frames_skipped(struct h2_frames *f)
{
	struct h2_skipped s = { .unknown = f->unknown, .stray = f->all - f->begun - f->unknown };
	uint32_t expected = s.stray < f->in_flight ? s.stray : f->in_flight;

	f->all = f->unknown = f->begun = 0;
	f->in_flight -= expected;
	s.stray -= expected;
	return s;
}
