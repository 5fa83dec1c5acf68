/* rise: rows of results, g good and b bad, and the state after each. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "healthd/rise.h"

static const struct row {
	const char *name;
	uint32_t rise;
	uint32_t fall;
	const char *results;
	const char *states; /* U up, D down; lower case: up or down, and about to change */
} rows[] = {
	{ "the first good one decides", 2, 3, "g", "U" },
	{ "the first bad one decides, tentatively", 2, 3, "b", "d" },
	{ "a tentative down ends with one good one", 3, 3, "bbg", "ddU" },
	{ "after fall bad ones it is no longer tentative", 2, 3, "bbbgg", "ddDdU" },
	{ "fall 1: the first bad one is enough", 2, 1, "bgg", "DdU" },
	{ "down after fall in a row", 2, 3, "gbbb", "UuuD" },
	{ "a good one in between starts anew", 2, 3, "gbbgbbb", "UuuUuuD" },
	{ "up after rise in a row", 2, 1, "bgg", "DdU" },
	{ "a bad one in between starts anew", 2, 1, "bgbgg", "DdDdU" },
	{ "fall 1 and rise 1 follow each result", 1, 1, "gbgbbgg", "UDUDDUU" },
	{ "fall 1, rise 3", 3, 1, "gbgggb", "UDddUD" },
	{ "further ones of the same kind change nothing", 2, 2, "ggggbbbb", "UUUUuDDD" },
};

static char
letter(const struct rise *r)
{
	char c = r->state == PROBE_UP ? 'U' : r->state == PROBE_DOWN ? 'D' : '?';

	return rise_is_changing(r) ? (char)(c | 0x20) : c;
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rise r = { 0 };
		char before = '?';

		for (size_t k = 0; rows[i].results[k]; k++) {
			bool is_new = rise_feed(
				&r, rows[i].results[k] == 'g', rows[i].rise, rows[i].fall);
			char now = letter(&r);

			if (now != rows[i].states[k])
				fail_msg("%s: %c after result %zu", rows[i].name, now, k + 1);
			if (is_new != ((before | 0x20) != (now | 0x20)))
				fail_msg("%s: change at result %zu", rows[i].name, k + 1);
			before = now;
		}
	}
}

static void
test_counters_do_not_wrap(void **state)
{
	struct rise r = { .state = PROBE_UP, .rise = UINT32_MAX };

	(void)state;
	assert_false(rise_feed(&r, true, 2, 3));
	assert_int_equal(r.rise, UINT32_MAX);
	assert_int_equal(r.fall, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_counters_do_not_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
