/*
 * http1_feed: gives a head to the parser whole, byte by byte and split at each point, always from
 * an exact-size heap copy, and demands one and the same answer.
 */
#ifndef TESTS_HTTP1_FEED_H
#define TESTS_HTTP1_FEED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/http1.h"

enum { FEED_FIELDS = 16 };

/* The answer, with slices into `bytes`; feed_fini ends it. */
struct feed {
	enum http1_result result;
	struct http1_error err;
	struct msg m;
	struct field fields[FEED_FIELDS];
	char *bytes;
	size_t n;
	bool is_response;
	enum method asked;
	struct http1_limits limits;
};

static inline char *
feed_copy(const char *p, size_t n)
{
	char *copy = malloc(n ? n : 1);

	assert_non_null(copy);
	memcpy(copy, p, n);
	return copy;
}

static inline enum http1_result
feed_once(struct feed *f, struct http1_scan *scan, const char *p, size_t n)
{
	f->err = (struct http1_error){ 0, "" };
	if (f->is_response)
		return http1_response(scan, p, n, &f->limits, f->asked, &f->m, &f->err);
	return http1_request(scan, p, n, &f->limits, &f->m, &f->err);
}

/* Prefixes from a step to the next, each from memory of its own, until one is decided. */
static inline enum http1_result
feed_steps(struct feed *f, size_t first, size_t step)
{
	struct http1_scan scan = { 0 };
	enum http1_result r = HTTP1_MORE;

	for (size_t n = first; r == HTTP1_MORE; n = n + step < f->n ? n + step : f->n) {
		char *copy = feed_copy(f->bytes, n);

		msg_init(&f->m, f->fields, FEED_FIELDS);
		r = feed_once(f, &scan, copy, n);
		free(copy);
		if (n == f->n)
			break;
	}
	return r;
}

static inline void
feed(struct feed *f, const char *p, size_t n)
{
	struct http1_scan scan = { 0 };
	struct feed other;

	f->bytes = feed_copy(p, n);
	f->n = n;
	msg_init(&f->m, f->fields, FEED_FIELDS);
	f->result = feed_once(f, &scan, f->bytes, n);
	for (size_t at = 0; at <= n; at++) {
		other = *f;

		/* at 0: byte by byte; else two pieces. */
		enum http1_result r = feed_steps(&other, at ? at : 1, at ? n : 1);

		/* What is wrong and incomplete may be found out later, but never becomes right. */
		if (f->result == HTTP1_BAD && r == HTTP1_MORE &&
			memmem(p, n, "\r\n\r\n", 4) == NULL)
			continue;
		if (r != f->result || strcmp(other.err.reason, f->err.reason) != 0 ||
			other.err.status != f->err.status)
			fail_msg("split at %zu: %d %u %s, whole: %d %u %s", at, (int)r,
				other.err.status, other.err.reason, (int)f->result, f->err.status,
				f->err.reason);
		if (r == HTTP1_DONE && other.m.head_len != f->m.head_len)
			fail_msg("split at %zu: head of %zu bytes, whole: %zu", at,
				other.m.head_len, f->m.head_len);
	}
}

static inline void
feed_fini(struct feed *f)
{
	free(f->bytes);
}

#endif
