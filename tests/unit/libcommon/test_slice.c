/*
 * slice: comparisons, cuts and numbers, over exact-size copies where a byte too far would matter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/slice.h"

static const struct slice none = { NULL, 0 };

static void
compares(void **state)
{
	(void)state;
	assert_true(slice_eq(SLICE("ab"), slice_str("ab")));
	assert_false(slice_eq(SLICE("ab"), SLICE("aB")));
	assert_false(slice_eq(SLICE("ab"), SLICE("abc")));
	assert_true(slice_eq(none, SLICE("")));
	assert_int_equal(slice_str(NULL).n, 0);
	assert_true(slice_starts(SLICE("abc"), SLICE("ab")));
	assert_true(slice_starts(SLICE("abc"), none));
	assert_false(slice_starts(SLICE("a"), SLICE("ab")));
	assert_true(slice_ends(SLICE("abc"), SLICE("bc")));
	assert_false(slice_ends(SLICE("c"), SLICE("bc")));
	assert_true(slice_ends(none, none));
	assert_true(slice_cmp(SLICE("a"), SLICE("b")) < 0);
	assert_true(slice_cmp(SLICE("a"), SLICE("ab")) < 0);
	assert_true(slice_cmp(SLICE("b"), SLICE("ab")) > 0);
	assert_true(slice_cmp(SLICE("\xff"), SLICE("a")) > 0);
	assert_int_equal(slice_cmp(none, SLICE("")), 0);
}

/* Letter by letter, the slow way, as the one truth. */
static bool
slow_caseeq(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ascii_lower(a[i]) != ascii_lower(b[i]))
			return false;
	return true;
}

/* Every pair of bytes at every place of every length that the eight-byte steps treat differently.
 */
static void
compares_without_case(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 18; n++) {
		char *a = malloc(n);
		char *b = malloc(n);

		memset(a, 'x', n);
		memset(b, 'X', n);
		assert_true(slice_caseeq(slice_make(a, n), slice_make(b, n)));
		assert_false(slice_caseeq(slice_make(a, n), slice_make(b, n - 1)));
		for (size_t at = 0; at < n; at++) {
			for (unsigned pair = 0; pair < 65536; pair++) {
				a[at] = (char)(pair >> 8);
				b[at] = (char)pair;
				if (slice_caseeq(slice_make(a, n), slice_make(b, n)) !=
					slow_caseeq(a, b, n))
					fail_msg("length %zu, at %zu: %#x", n, at, pair);
			}
			a[at] = 'x';
			b[at] = 'X';
		}
		free(a);
		free(b);
	}
	assert_true(slice_caseeq(none, SLICE("")));
}

struct trim_case {
	const char *in;
	const char *out;
};

static const struct trim_case trim_cases[] = {
	{ "", "" },
	{ " ", "" },
	{ "\t \t", "" },
	{ "a", "a" },
	{ " a", "a" },
	{ "a\t", "a" },
	{ " \ta b\t ", "a b" },
	{ "\r\na\n", "\r\na\n" },
	{ "\va\f", "\va\f" },
};

static void
trims_blanks_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(trim_cases) / sizeof(*trim_cases); i++)
		assert_true(slice_eq(
			slice_trim(slice_str(trim_cases[i].in)), slice_str(trim_cases[i].out)));
	assert_int_equal(slice_trim(none).n, 0);
}

struct cut_case {
	const char *text;
	unsigned count;
	const char *pieces[4];
};

static const struct cut_case cut_cases[] = {
	{ "", 0, { 0 } },
	{ "a", 1, { "a" } },
	{ "a,b", 2, { "a", "b" } },
	{ "a,,b", 3, { "a", "", "b" } },
	{ ",a", 2, { "", "a" } },
	{ "a,", 1, { "a" } },
	{ ",", 1, { "" } },
	{ ",,", 2, { "", "" } },
};

static void
cuts_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cut_cases) / sizeof(*cut_cases); i++) {
		struct slice rest = slice_str(cut_cases[i].text);
		struct slice piece;
		unsigned count = 0;

		print_message("  \"%s\"\n", cut_cases[i].text);
		while (slice_next(&rest, ',', &piece)) {
			assert_in_range(count, 0, cut_cases[i].count - 1);
			assert_true(slice_eq(piece, slice_str(cut_cases[i].pieces[count++])));
		}
		assert_int_equal(count, cut_cases[i].count);
		assert_int_equal(rest.n, 0);
	}
	assert_int_equal(slice_find(SLICE("abc"), 'c'), 2);
	assert_int_equal(slice_find(SLICE("abc"), 'd'), 3);
	assert_int_equal(slice_find(none, 'd'), 0);
	assert_true(slice_eq(slice_skip(SLICE("abc"), 2), SLICE("c")));
	assert_int_equal(slice_skip(SLICE("abc"), 9).n, 0);
	assert_int_equal(slice_skip(none, 9).n, 0);
}

struct number_case {
	const char *text;
	bool is_good;
	uint64_t value;
};

static const struct number_case number_cases[] = {
	{ "0", true, 0 },
	{ "007", true, 7 },
	{ "18446744073709551615", true, UINT64_MAX },
	{ "18446744073709551616", false, 0 },
	{ "18446744073709551620", false, 0 },
	{ "99999999999999999999", false, 0 },
	{ "100000000000000000000000", false, 0 },
	{ "", false, 0 },
	{ "+1", false, 0 },
	{ "-1", false, 0 },
	{ " 1", false, 0 },
	{ "1 ", false, 0 },
	{ "1a", false, 0 },
	{ "0x1", false, 0 },
	{ "/", false, 0 },
	{ ":", false, 0 },
	{ "\xb1", false, 0 },
};

static void
reads_numbers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(number_cases) / sizeof(*number_cases); i++) {
		uint64_t v = 42;

		print_message("  case %zu\n", i);
		assert_int_equal(
			slice_to_u64(slice_str(number_cases[i].text), &v), number_cases[i].is_good);
		assert_int_equal(v, number_cases[i].is_good ? number_cases[i].value : 42);
	}
}

static void
knows_digits_and_controls(void **state)
{
	(void)state;
	assert_true(slice_is_digits(SLICE("0")));
	assert_true(slice_is_digits(SLICE("18446744073709551616")));
	assert_false(slice_is_digits(none));
	assert_false(slice_is_digits(SLICE("1a")));
	assert_false(slice_is_digits(SLICE("/")));
	assert_false(slice_is_digits(SLICE(":")));
	assert_false(slice_has_control(none));
	assert_false(slice_has_control(SLICE(" ~\x80\xff")));
	assert_true(slice_has_control(SLICE("a\n")));
	assert_true(slice_has_control(SLICE("\0")));
	assert_true(slice_has_control(SLICE("a\x1f")));
	assert_true(slice_has_control(SLICE("\x7f")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compares),
		cmocka_unit_test(compares_without_case),
		cmocka_unit_test(trims_blanks_only),
		cmocka_unit_test(cuts_pieces),
		cmocka_unit_test(reads_numbers),
		cmocka_unit_test(knows_digits_and_controls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
