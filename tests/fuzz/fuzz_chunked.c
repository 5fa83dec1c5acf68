/* area: libcommon */
/*
 * fuzz_chunked: a chunked body in one piece, in single bytes and in pieces of a size that the first
 * byte chooses gives the same payload, trailer and verdict, and the payload is what a second, naive
 * decoder finds.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/http1.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct decoded {
	enum http1_result result;
	struct http1_error err;
	char *payload;
	size_t payload_len;
	char trailer[HTTP1_TRAILER_MAX];
	size_t trailer_len;
	size_t used;
};

static void
decode(struct decoded *d, const char *p, size_t n, size_t step)
{
	struct http1_chunked c = { 0 };

	memset(d, 0, sizeof(*d));
	d->err.reason = "";
	d->payload = malloc(n + 1);
	assert(d->payload != NULL);
	for (size_t at = 0; d->result == HTTP1_MORE && at < n; at += step) {
		size_t take = n - at < step ? n - at : step;
		char *piece = malloc(take);
		size_t used;
		size_t payload;

		assert(piece != NULL);
		memcpy(piece, p + at, take);
		d->result =
			http1_chunked_feed(&c, piece, take, d->trailer, &used, &payload, &d->err);
		assert(used <= take && payload <= used);
		assert(d->result != HTTP1_MORE || used == take);
		memcpy(d->payload + d->payload_len, piece, payload);
		d->payload_len += payload;
		d->used += used;
		free(piece);
	}
	d->trailer_len = c.trailer_len;
	assert(d->trailer_len <= HTTP1_TRAILER_MAX);
}

static void
check_same(const struct decoded *a, const struct decoded *b)
{
	assert(a->result == b->result);
	assert(strcmp(a->err.reason, b->err.reason) == 0);
	assert(a->payload_len == b->payload_len);
	assert(memcmp(a->payload, b->payload, a->payload_len) == 0);
	assert(a->trailer_len == b->trailer_len);
	assert(memcmp(a->trailer, b->trailer, a->trailer_len) == 0);
	assert(a->result == HTTP1_BAD || a->used == b->used);
}

/* Trusting, by library calls: only for bodies that were accepted. */
static void
check_naive(const struct decoded *d, const char *p)
{
	const char *end = p + d->used;
	size_t got = 0;

	for (;;) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		char digits[20];
		size_t len = 0;

		while (len < 17 && strchr("0123456789abcdefABCDEF", p[len]) && p[len] != '\0')
			len++;
		assert(lf != NULL && len > 0 && len < 17);
		memcpy(digits, p, len);
		digits[len] = '\0';

		unsigned long long size = strtoull(digits, NULL, 16);

		p = lf + 1;
		if (size == 0)
			break;
		assert(size + 2 <= (size_t)(end - p) && got + size <= d->payload_len);
		assert(memcmp(d->payload + got, p, size) == 0);
		got += size;
		p += size;
		assert(memcmp(p, "\r\n", 2) == 0);
		p += 2;
	}
	assert(got == d->payload_len);
	assert(d->trailer_len == (size_t)(end - p));
	assert(memcmp(d->trailer, p, d->trailer_len) == 0);
}

static void
check_trailers(const struct decoded *d)
{
	struct field fields[16];
	struct http1_error err = { 0, NULL };
	uint16_t count;
	char *copy = malloc(d->trailer_len + 1);

	assert(copy != NULL);
	memcpy(copy, d->trailer, d->trailer_len);
	if (http1_trailers(copy, d->trailer_len, fields, 16, &count, &err)) {
		assert(count <= 16);
		for (unsigned i = 0; i < count; i++) {
			assert(http1_is_token(fields[i].name));
			assert(http1_is_value(fields[i].value));
			assert(!(field_flags(fields[i].id) & FIELD_FRAMING) ||
				(fields[i].flags & MSG_FIELD_DROP));
		}
	} else {
		assert(err.reason != NULL && err.status != 0);
	}
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 20000)
		return 0;

	const char *p = (const char *)data + 1;
	size_t n = size - 1;
	struct decoded *whole = malloc(sizeof(*whole));
	struct decoded *other = malloc(sizeof(*other));

	assert(whole != NULL && other != NULL);
	decode(whole, p, n, n);
	assert(whole->result != HTTP1_BAD || (whole->err.status >= 400 && whole->err.reason[0]));
	decode(other, p, n, 1);
	check_same(whole, other);
	free(other->payload);
	decode(other, p, n, 2u + data[0]);
	check_same(whole, other);
	if (whole->result == HTTP1_DONE) {
		check_naive(whole, p);
		check_trailers(whole);
	}
	free(other->payload);
	free(whole->payload);
	free(other);
	free(whole);
	return 0;
}
