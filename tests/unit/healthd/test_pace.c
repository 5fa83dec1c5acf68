/* pace: intervals stay in their bounds and reach both; the bucket holds its rate. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "healthd/pace.h"

static void
test_interval_bounds(void **state)
{
	static const struct {
		uint64_t interval;
		unsigned jitter;
		uint64_t lo;
		uint64_t hi;
	} rows[] = {
		{ 5000, 10, 4500, 5500 },
		{ 5000, 0, 5000, 5000 },
		{ 1000, 50, 500, 1500 },
		{ 1, 50, 1, 1 },
		{ 86400000, 50, 43200000, 129600000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(pace_interval(rows[i].interval, rows[i].jitter, 0), rows[i].lo);
		assert_int_equal(
			pace_interval(rows[i].interval, rows[i].jitter, UINT32_MAX), rows[i].hi);
		for (uint32_t r = 0; r < 4000000000u; r += 123456789u) {
			uint64_t got = pace_interval(rows[i].interval, rows[i].jitter, r);

			assert_true(got >= rows[i].lo && got <= rows[i].hi);
		}
	}
}

static void
test_rest(void **state)
{
	(void)state;
	assert_int_equal(pace_rest(5000, 2000), 3000);
	assert_int_equal(pace_rest(5000, 5000), 1);
	assert_int_equal(pace_rest(1000, 20000), 1);
}

/* Asked every 10 ms for as many as it gives, it gives the rate: a burst, then a steady stream. */
static void
test_bucket_rate(void **state)
{
	static const uint32_t rates[] = { 1, 7, 100, 2000, 100000 };

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint32_t rate = rates[i];
		struct pace p;
		uint64_t total = 0;
		uint64_t burst;

		pace_init(&p, rate, 1000);
		burst = pace_take(&p, rate, UINT32_MAX, 1000);
		assert_int_equal(burst, rate / 20 + 1);
		assert_int_equal(pace_take(&p, rate, UINT32_MAX, 1000), 0);
		for (uint64_t now = 1010; now <= 11000; now += 10)
			total += pace_take(&p, rate, UINT32_MAX, now);
		assert_int_equal(total, (uint64_t)rate * 10);
	}
}

static void
test_bucket_does_not_save_up(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, 100, 1000);
	assert_int_equal(pace_take(&p, 100, 3, 1000), 3);
	/* an hour of silence fills it once */
	assert_int_equal(pace_take(&p, 100, 1000, 3601000), 6);
	/* a clock that stands or goes back gives nothing */
	assert_int_equal(pace_take(&p, 100, 1000, 3600000), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interval_bounds),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_bucket_rate),
		cmocka_unit_test(test_bucket_does_not_save_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
