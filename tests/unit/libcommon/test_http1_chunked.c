/*
 * http1_chunked: bodies decoded whole, byte by byte and split at each point give the same payload,
 * the same trailer, the same refusal, and leave what follows alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/http1.h"

struct decoded {
	enum http1_result result;
	const char *reason;
	char payload[65536];
	size_t payload_len;
	char trailer[HTTP1_TRAILER_MAX];
	size_t trailer_len;
	size_t used;
};

/* Pieces of `first` bytes once, then of `step`, each an exact-size heap copy. */
static void
decode(struct decoded *d, const char *p, size_t n, size_t first, size_t step)
{
	struct http1_chunked c = { 0 };
	struct http1_error err = { 0, "" };
	size_t at = 0;

	memset(d, 0, sizeof(*d));
	do {
		size_t take = at == 0 ? first : step;

		if (take > n - at)
			take = n - at;

		char *piece = malloc(take ? take : 1);
		size_t used;
		size_t payload;

		assert_non_null(piece);
		memcpy(piece, p + at, take);
		d->result = http1_chunked_feed(&c, piece, take, d->trailer, &used, &payload, &err);
		assert_in_range(payload, 0, used);
		memcpy(d->payload + d->payload_len, piece, payload);
		d->payload_len += payload;
		d->used += used;
		if (d->result == HTTP1_MORE)
			assert_int_equal(used, take);
		at += take;
		free(piece);
	} while (d->result == HTTP1_MORE && at < n);
	d->trailer_len = c.trailer_len;
	d->reason = err.reason;
}

static void
assert_same(const struct decoded *a, const struct decoded *b)
{
	assert_int_equal(a->result, b->result);
	assert_string_equal(a->reason, b->reason);
	assert_int_equal(a->payload_len, b->payload_len);
	assert_memory_equal(a->payload, b->payload, a->payload_len);
	assert_int_equal(a->trailer_len, b->trailer_len);
	assert_memory_equal(a->trailer, b->trailer, a->trailer_len);
	if (a->result != HTTP1_BAD)
		assert_int_equal(a->used, b->used);
}

static void
decode_all_ways(struct decoded *whole, const char *p, size_t n)
{
	struct decoded *other = malloc(sizeof(*other));

	assert_non_null(other);
	decode(whole, p, n, n, n);
	decode(other, p, n, 1, 1);
	assert_same(whole, other);
	for (size_t at = 1; at < n; at++) {
		decode(other, p, n, at, n);
		assert_same(whole, other);
	}
	free(other);
}

struct good_case {
	const char *name;
	const char *text; /* followed by "NEXT" */
	const char *payload;
	const char *trailer;
};

static const struct good_case good_cases[] = {
	{ "empty", "0\r\n\r\n", "", "\r\n" },
	{ "one", "5\r\nhello\r\n0\r\n\r\n", "hello", "\r\n" },
	{ "two", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", "\r\n" },
	{ "hex both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
		"01234567890123456789a", "\r\n" },
	{ "zeros in front", "0000000000000005\r\nhello\r\n000\r\n\r\n", "hello", "\r\n" },
	{ "line ends in data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", "\r\n" },
	{ "extension", "5;a=b;c=\"d \t\xe4;\"\r\nhello\r\n0;x\r\n\r\n", "hello", "\r\n" },
	{ "empty extension", "5;\r\nhello\r\n0;\r\n\r\n", "hello", "\r\n" },
	{ "trailer", "1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", "x", "A: b\r\nC: d\r\n\r\n" },
};

static void
decodes_bodies(void **state)
{
	struct decoded *d = malloc(sizeof(*d));
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(good_cases) / sizeof(*good_cases); i++) {
		const struct good_case *c = &good_cases[i];
		int n = snprintf(text, sizeof(text), "%sNEXT", c->text);

		print_message("  %s\n", c->name);
		decode_all_ways(d, text, (size_t)n);
		assert_int_equal(d->result, HTTP1_DONE);
		assert_int_equal(d->used, n - 4);
		assert_int_equal(d->payload_len, strlen(c->payload));
		assert_memory_equal(d->payload, c->payload, d->payload_len);
		assert_int_equal(d->trailer_len, strlen(c->trailer));
		assert_memory_equal(d->trailer, c->trailer, d->trailer_len);
	}
	free(d);
}

struct bad_case {
	const char *name;
	struct slice text;
	const char *reason;
};

#define B(name, text, reason)                               \
	{                                                   \
		name, { "" text, sizeof(text) - 1 }, reason \
	}

static const struct bad_case bad_cases[] = {
	B("no size", "\r\nhello", "bad_chunk_size"),
	B("only extension", ";a\r\n", "bad_chunk_size"),
	B("not hex", "g\r\n", "bad_chunk_size"),
	B("0x", "0x5\r\nhello\r\n", "bad_chunk_size"),
	B("plus", "+5\r\nhello\r\n", "bad_chunk_size"),
	B("minus", "-5\r\nhello\r\n", "bad_chunk_size"),
	B("blank in front", " 5\r\nhello\r\n", "bad_chunk_size"),
	B("blank behind", "5 \r\nhello\r\n", "bad_chunk_size"),
	B("blank before extension", "5 ;a\r\nhello\r\n", "bad_chunk_size"),
	B("tab behind", "5\t\r\nhello\r\n", "bad_chunk_size"),
	B("underscore", "1_0\r\n", "bad_chunk_size"),
	B("NUL in size", "5\0\r\nhello\r\n", "bad_chunk_size"),
	B("2^63", "8000000000000000\r\n", "chunk_too_big"),
	B("2^64 + 5", "10000000000000005\r\nhello\r\n", "chunk_too_big"),
	B("all ones", "ffffffffffffffff\r\n", "chunk_too_big"),
	B("17 digits", "00000000000000005\r\nhello\r\n", "chunk_too_big"),
	B("LF after size", "5\nhello\r\n", "bare_lf"),
	B("CR after size", "5\rhello\r\n", "bare_cr"),
	B("two CR after size", "5\r\r\nhello\r\n", "bare_cr"),
	B("LF in extension", "5;a\nhello\r\n", "bare_lf"),
	B("CR in extension", "5;a\rb\r\nhello\r\n", "bare_cr"),
	B("NUL in extension", "5;a\0\r\nhello\r\n", "bad_chunk_extension"),
	B("control in extension", "5;a\x1b\r\nhello\r\n", "bad_chunk_extension"),
	B("data longer than size", "4\r\nhello\r\n", "bad_chunk_end"),
	B("data shorter than size", "6\r\nhello\r\n0\r\n\r\n", "bare_lf"),
	B("LF after data", "5\r\nhello\n0\r\n\r\n", "bare_lf"),
	B("CR after data", "5\r\nhello\r0\r\n\r\n", "bare_cr"),
	B("nothing after data", "5\r\nhello0\r\n\r\n", "bad_chunk_end"),
	B("two line ends after data", "5\r\nhello\r\n\r\n0\r\n\r\n", "bad_chunk_size"),
	B("LF after last chunk", "0\n\r\n", "bare_lf"),
	B("LF ends trailers", "0\r\n\n", "bare_lf"),
	B("LF ends a trailer", "0\r\nA: b\n\r\n", "bare_lf"),
	B("CR in a trailer", "0\r\nA: b\rC: d\r\n\r\n", "bare_cr"),
	B("CR ends trailers", "0\r\n\rX", "bare_cr"),
};

static void
refuses_bad_bodies(void **state)
{
	struct decoded *d = malloc(sizeof(*d));

	(void)state;
	for (size_t i = 0; i < sizeof(bad_cases) / sizeof(*bad_cases); i++) {
		print_message("  %s\n", bad_cases[i].name);
		decode_all_ways(d, bad_cases[i].text.p, bad_cases[i].text.n);
		assert_int_equal(d->result, HTTP1_BAD);
		assert_string_equal(d->reason, bad_cases[i].reason);
	}
	free(d);
}

/* The largest size that is taken is taken whole, and its first data come through. */
static void
takes_sizes_up_to_int63(void **state)
{
	struct http1_chunked c = { 0 };
	struct http1_error err;
	char text[] = "7fffffffffffffff\r\nhello";
	size_t used;
	size_t payload;

	(void)state;
	assert_int_equal(
		http1_chunked_feed(&c, text, sizeof(text) - 1, NULL, &used, &payload, &err),
		HTTP1_MORE);
	assert_int_equal(payload, 5);
	assert_memory_equal(text, "hello", 5);
	assert_int_equal(c.left, INT64_MAX - 5);
}

/* 4096 bytes of extensions in a body are dropped, one more is refused: in one chunk or many. */
static void
limits_extensions(void **state)
{
	struct decoded *d = malloc(sizeof(*d));
	char *text = malloc(65536);

	(void)state;
	for (unsigned per_chunk = 1; per_chunk <= 4096; per_chunk *= 16) {
		for (unsigned more = 0; more <= 1; more++) {
			size_t n = 0;

			for (unsigned i = 0; i < 4096 / per_chunk; i++) {
				n += (size_t)sprintf(text + n, "1;");
				memset(text + n, 'e', per_chunk);
				n += per_chunk;
				n += (size_t)sprintf(text + n, "\r\nx\r\n");
			}
			n += (size_t)sprintf(text + n, more ? "0;e\r\n\r\n" : "0\r\n\r\n");
			decode(d, text, n, 1000, 777);
			assert_int_equal(d->result, more ? HTTP1_BAD : HTTP1_DONE);
			assert_string_equal(d->reason, more ? "chunk_extensions" : "");
			assert_int_equal(d->payload_len, 4096 / per_chunk);
		}
	}
	free(text);
	free(d);
}

static void
limits_trailers(void **state)
{
	struct decoded *d = malloc(sizeof(*d));
	char *text = malloc(HTTP1_TRAILER_MAX + 64);

	(void)state;
	for (unsigned more = 0; more <= 1; more++) {
		size_t fill = HTTP1_TRAILER_MAX - strlen("A: \r\n\r\n") + more;
		size_t n = (size_t)sprintf(text, "0\r\nA: ");

		memset(text + n, 'a', fill);
		n += fill;
		n += (size_t)sprintf(text + n, "\r\n\r\n");
		decode(d, text, n, 100, 333);
		assert_int_equal(d->result, more ? HTTP1_BAD : HTTP1_DONE);
		assert_string_equal(d->reason, more ? "trailer_too_long" : "");
	}
	free(text);
	free(d);
}

/* Random payload in random chunks in random pieces comes out as it went in. */
static void
gives_back_what_was_encoded(void **state)
{
	struct decoded *d = malloc(sizeof(*d));
	char *text = malloc(1 << 20);
	char *want = malloc(65536);

	(void)state;
	srand(7);
	for (unsigned round = 0; round < 200; round++) {
		size_t n = 0;
		size_t total = 0;

		for (unsigned i = 0; i < 40; i++) {
			size_t len = 1 + (size_t)rand() % (round % 2 ? 1000 : 20);

			for (size_t k = 0; k < len; k++)
				want[total + k] = (char)rand();
			n += (size_t)sprintf(text + n, rand() % 2 ? "%zx%s\r\n" : "%zX%s\r\n", len,
				rand() % 8 ? "" : ";x=y");
			memcpy(text + n, want + total, len);
			n += len;
			n += (size_t)sprintf(text + n, "\r\n");
			total += len;
		}
		n += (size_t)sprintf(text + n, "0\r\n\r\nNEXT");
		decode(d, text, n, 1 + (size_t)rand() % n, 1 + (size_t)rand() % 3000);
		assert_int_equal(d->result, HTTP1_DONE);
		assert_int_equal(d->used, n - 4);
		assert_int_equal(d->payload_len, total);
		assert_memory_equal(d->payload, want, total);
	}
	free(want);
	free(text);
	free(d);
}

static void
reads_trailers(void **state)
{
	static const char text[] = "X-Sum: 1\r\ncontent-LENGTH: 5\r\nTransfer-Encoding: x\r\n"
				   "X-Forwarded-For: 1.2.3.4\r\nExpires: 0\r\n\r\n";
	struct field fields[8];
	struct http1_error err;
	uint16_t count;

	(void)state;
	assert_true(http1_trailers(text, sizeof(text) - 1, fields, 8, &count, &err));
	assert_int_equal(count, 5);
	assert_true(slice_eq(fields[0].name, SLICE("X-Sum")));
	assert_true(slice_eq(fields[0].value, SLICE("1")));
	assert_false(fields[0].flags & MSG_FIELD_DROP);
	assert_int_equal(fields[1].id, FIELD_CONTENT_LENGTH);
	assert_true(fields[1].flags & MSG_FIELD_DROP);
	assert_true(fields[2].flags & MSG_FIELD_DROP);
	assert_true(fields[3].flags & MSG_FIELD_DROP);
	assert_false(fields[4].flags & MSG_FIELD_DROP);
	assert_false(http1_trailers(text, sizeof(text) - 1, fields, 4, &count, &err));
	assert_string_equal(err.reason, "too_many_trailers");
	assert_true(http1_trailers("\r\n", 2, fields, 4, &count, &err));
	assert_int_equal(count, 0);
	assert_true(http1_trailers(NULL, 0, fields, 4, &count, &err));
	assert_int_equal(count, 0);
}

static const struct bad_case bad_trailers[] = {
	B("fold", "A: b\r\n c\r\n\r\n", "obs_fold"),
	B("space before colon", "A : b\r\n\r\n", "space_before_colon"),
	B("no colon", "Abc\r\n\r\n", "bad_field_name"),
	B("empty name", ": b\r\n\r\n", "empty_field_name"),
	B("control", "A: \x01\r\n\r\n", "bad_field_value"),
	B("no end", "A: b\r\n", "bad_trailer"),
	B("cut", "A: b", "bad_trailer"),
	B("more behind the end", "\r\nA: b\r\n\r\n", "bad_field_name"),
};

static void
refuses_bad_trailers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_trailers) / sizeof(*bad_trailers); i++) {
		const struct bad_case *c = &bad_trailers[i];
		char *copy = malloc(c->text.n);
		struct field fields[8];
		struct http1_error err;
		uint16_t count;

		memcpy(copy, c->text.p, c->text.n);
		print_message("  %s\n", c->name);
		assert_false(http1_trailers(copy, c->text.n, fields, 8, &count, &err));
		assert_string_equal(err.reason, c->reason);
		free(copy);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_bodies),
		cmocka_unit_test(refuses_bad_bodies),
		cmocka_unit_test(takes_sizes_up_to_int63),
		cmocka_unit_test(limits_extensions),
		cmocka_unit_test(limits_trailers),
		cmocka_unit_test(gives_back_what_was_encoded),
		cmocka_unit_test(reads_trailers),
		cmocka_unit_test(refuses_bad_trailers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
