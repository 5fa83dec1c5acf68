/*
 * sbuf: text grows right, is always terminated, and JSON strings are valid whatever goes in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "libcommon/sbuf.h"

static void
grows(void **state)
{
	struct sbuf b = { 0 };
	char *want = malloc(200000);
	size_t n = 0;

	(void)state;
	srand(5);
	for (unsigned i = 0; i < 1000; i++) {
		char piece[200];
		size_t len = (size_t)rand() % sizeof(piece);

		memset(piece, 'a' + (int)(i % 26), len);
		sbuf_add(&b, piece, len);
		memcpy(want + n, piece, len);
		n += len;
		assert_int_equal(b.n, n);
		assert_int_equal(b.p[n], '\0');
		assert_true(b.cap > b.n);
	}
	assert_memory_equal(b.p, want, n);
	sbuf_clear(&b);
	assert_int_equal(b.n, 0);
	assert_string_equal(b.p, "");
	sbuf_fini(&b);
	assert_null(b.p);
	sbuf_fini(&b);
	free(want);
}

static void
adds_all_kinds(void **state)
{
	struct sbuf b = { 0 };

	(void)state;
	assert_string_equal(sbuf_str(&b), "");
	sbuf_cut(&b, 0);
	sbuf_adds(&b, "axy");
	sbuf_cut(&b, 1);
	assert_string_equal(sbuf_str(&b), "a");
	sbuf_addc(&b, 'b');
	sbuf_add_slice(&b, SLICE("cd"));
	sbuf_add_slice(&b, slice_make(NULL, 0));
	sbuf_addf(&b, "%d%s", 5, "");
	sbuf_addf(&b, "%s", "");
	assert_string_equal(b.p, "abcd5");
	assert_true(slice_eq(sbuf_slice(&b), SLICE("abcd5")));
	/* Exactly up to, and one beyond, what is there. */
	for (int width = 1; width < 300; width++) {
		sbuf_clear(&b);
		sbuf_addf(&b, "%0*d", width, 7);
		assert_int_equal(b.n, width);
		assert_int_equal(strlen(b.p), width);
	}
	sbuf_fini(&b);
}

static void
gives_its_text_away(void **state)
{
	struct sbuf b = { 0 };
	char *text;

	(void)state;
	text = sbuf_take(&b);
	assert_string_equal(text, "");
	free(text);
	sbuf_adds(&b, "x");
	text = sbuf_take(&b);
	assert_string_equal(text, "x");
	assert_null(b.p);
	assert_int_equal(b.n, 0);
	free(text);
}

struct json_case {
	struct slice in;
	const char *out;
};

#define J(in, out)                             \
	{                                      \
		{ "" in, sizeof(in) - 1 }, out \
	}

static const struct json_case json_cases[] = {
	J("", "\"\""),
	J("a/b", "\"a/b\""),
	J("\"\\", "\"\\\"\\\\\""),
	J("\n\t\0\x1f\x7f", "\"\\u000a\\u0009\\u0000\\u001f\\u007f\""),
	J("\xc2\x9b\xc2\x80\xc2\xa0", "\"\\u009b\\u0080\xc2\xa0\""), /* C1, and what follows it */
	J("\xc3\xa4", "\"\xc3\xa4\""),
	J("\xe2\x82\xac", "\"\xe2\x82\xac\""),
	J("\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""),
	J("\xff", "\"\\ufffd\""),
	J("\xc0\xaf", "\"\\ufffd\\ufffd\""),                       /* overlong */
	J("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""),            /* surrogate */
	J("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""), /* above U+10FFFF */
	J("\xe2\x82", "\"\\ufffd\\ufffd\""),                       /* cut */
	J("\xc3", "\"\\ufffd\""),
	J("\xc3"
	  "a",
		"\"\\ufffda\""),
};

static void
writes_json(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(json_cases) / sizeof(*json_cases); i++) {
		struct sbuf b = { 0 };
		struct slice in = json_cases[i].in;
		char *copy = malloc(in.n ? in.n : 1);

		memcpy(copy, in.p, in.n);
		sbuf_add_json(&b, slice_make(copy, in.n));
		assert_string_equal(b.p, json_cases[i].out);
		sbuf_fini(&b);
		free(copy);
	}
}

/* Random bytes always make a string that a JSON reader takes. */
static void
writes_json_that_others_read(void **state)
{
	(void)state;
	srand(9);
	for (unsigned round = 0; round < 3000; round++) {
		struct sbuf b = { 0 };
		size_t n = (size_t)rand() % 12;
		char *text = malloc(n ? n : 1);
		json_error_t error;

		for (size_t i = 0; i < n; i++)
			text[i] = (char)(rand() % 3 ? rand() : 0xc0 + rand() % 0x38);
		sbuf_add_json(&b, slice_make(text, n));

		json_t *v = json_loadb(b.p, b.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

		if (v == NULL)
			fail_msg("%s: %s", b.p, error.text);
		json_decref(v);
		sbuf_fini(&b);
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows),
		cmocka_unit_test(adds_all_kinds),
		cmocka_unit_test(gives_its_text_away),
		cmocka_unit_test(writes_json),
		cmocka_unit_test(writes_json_that_others_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
