/*
 * units: what is read and refused, and that the shortest spelling reads back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/sbuf.h"
#include "libcommon/units.h"

struct duration_case {
	const char *text;
	bool is_good;
	int64_t ms;
};

static const struct duration_case duration_cases[] = {
	{ "0", true, 0 },
	{ "0s", true, 0 },
	{ "250ms", true, 250 },
	{ "30s", true, 30000 },
	{ "5m", true, 300000 },
	{ "1h", true, 3600000 },
	{ "7d", true, 604800000 },
	{ "1h30m", true, 5400000 },
	{ "1d2h3m4s5ms", true, 93784005 },
	{ "106751991167d", true, 9223372036828800000 },
	{ "9223372036854775807ms", true, INT64_MAX },
	{ "9223372036854775808ms", false, 0 },
	{ "106751991168d", false, 0 },
	{ "213503982334601d1d", false, 0 },
	{ "18446744073709551615ms1ms", false, 0 },
	{ "", false, 0 },
	{ "5", false, 0 },
	{ "00", false, 0 },
	{ "s", false, 0 },
	{ "-5s", false, 0 },
	{ "+5s", false, 0 },
	{ "5 s", false, 0 },
	{ " 5s", false, 0 },
	{ "5s ", false, 0 },
	{ "1.5s", false, 0 },
	{ "5x", false, 0 },
	{ "5sec", false, 0 },
	{ "1h30", false, 0 },
	{ "1hh", false, 0 },
};

static void
reads_durations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(duration_cases) / sizeof(*duration_cases); i++) {
		const struct duration_case *c = &duration_cases[i];
		int64_t ms = -1;

		print_message("  \"%s\"\n", c->text);
		assert_int_equal(units_parse_duration(slice_str(c->text), &ms), c->is_good);
		assert_int_equal(ms, c->is_good ? c->ms : -1);
	}
}

struct size_case {
	const char *text;
	bool is_good;
	uint64_t bytes;
};

static const struct size_case size_cases[] = {
	{ "0", true, 0 },
	{ "512", true, 512 },
	{ "64k", true, 65536 },
	{ "64K", true, 65536 },
	{ "100m", true, 104857600 },
	{ "1g", true, 1073741824 },
	{ "1T", true, 1099511627776 },
	{ "18446744073709551615", true, UINT64_MAX },
	{ "16777215t", true, 16777215ULL << 40 },
	{ "16777216t", false, 0 },
	{ "18446744073709551616", false, 0 },
	{ "", false, 0 },
	{ "k", false, 0 },
	{ "-1k", false, 0 },
	{ "1.5k", false, 0 },
	{ "1kb", false, 0 },
	{ "1 k", false, 0 },
	{ "1k1", false, 0 },
	{ "1k1k", false, 0 },
};

static void
reads_sizes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(size_cases) / sizeof(*size_cases); i++) {
		const struct size_case *c = &size_cases[i];
		uint64_t bytes = 1;

		print_message("  \"%s\"\n", c->text);
		assert_int_equal(units_parse_size(slice_str(c->text), &bytes), c->is_good);
		if (c->is_good)
			assert_int_equal(bytes, c->bytes);
	}
	assert_false(units_parse_size(slice_make(NULL, 0), &(uint64_t){ 0 }));
}

static void
assert_duration(int64_t ms, const char *want)
{
	struct sbuf b = { 0 };

	units_format_duration(&b, ms);
	assert_string_equal(b.p, want);
	sbuf_fini(&b);
}

static void
assert_age(uint64_t ms, const char *want)
{
	struct sbuf b = { 0 };

	units_format_age(&b, ms);
	assert_string_equal(b.p, want);
	sbuf_fini(&b);
}

static void
assert_size(uint64_t bytes, const char *want)
{
	struct sbuf b = { 0 };

	units_format_size(&b, bytes);
	assert_string_equal(b.p, want);
	sbuf_fini(&b);
}

static void
writes_moments(void **state)
{
	char text[UNITS_TIME];

	(void)state;
	assert_string_equal(units_format_time(0, text), "1970-01-01T00:00:00Z");
	assert_string_equal(units_format_time(1795514401, text), "2026-11-24T10:00:01Z");
	assert_string_equal(units_format_time(-1, text), "1969-12-31T23:59:59Z");
	assert_string_equal(units_format_time(INT64_MAX, text), "");
}

static void
writes_the_shortest(void **state)
{
	(void)state;
	assert_duration(0, "0");
	assert_duration(90000, "90s");
	assert_duration(3600000, "1h");
	assert_duration(86400000, "1d");
	assert_age(9999, "9999ms");
	assert_age(10001, "10s");
	assert_age(61999, "61s");
	assert_duration(1001, "1001ms");
	assert_duration(-5, "0");
	assert_size(0, "0");
	assert_size(65536, "64k");
	assert_size(65537, "65537");
	assert_size(1ULL << 40, "1t");
	assert_size(UINT64_MAX, "18446744073709551615");
}

static void
reads_back_what_it_writes(void **state)
{
	(void)state;
	srand(2);
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t v = ((uint64_t)rand() << 31 ^ (uint64_t)rand()) >> rand() % 62;
		struct sbuf b = { 0 };
		uint64_t bytes;
		int64_t ms;

		v *= i % 3 ? 1 : 1024;
		v *= i % 5 ? 1 : 60000;
		v &= INT64_MAX;
		units_format_size(&b, v);
		assert_true(units_parse_size(sbuf_slice(&b), &bytes));
		assert_int_equal(bytes, v);
		sbuf_clear(&b);
		units_format_duration(&b, (int64_t)v);
		assert_true(units_parse_duration(sbuf_slice(&b), &ms));
		assert_int_equal(ms, v);
		sbuf_fini(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_durations),
		cmocka_unit_test(reads_sizes),
		cmocka_unit_test(writes_the_shortest),
		cmocka_unit_test(writes_moments),
		cmocka_unit_test(reads_back_what_it_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
