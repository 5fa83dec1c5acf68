/*
 * err: messages are cut, not overrun; findings sort by place, lose their doubles and print one a
 * line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/err.h"
#include "libcommon/sbuf.h"

static void
sets_and_cuts_messages(void **state)
{
	struct err err = { "" };

	(void)state;
	assert_int_equal(err_set(&err, "%s: %d", "x", 5), -1);
	assert_string_equal(err.text, "x: 5");
	assert_int_equal(err_set(&err, "%01000d", 0), -1);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_int_equal(err_set(NULL, "nobody listens"), -1);
}

static void
add(struct errs *errs, enum finding_level level, const char *file, unsigned line, unsigned col,
	const char *path, const char *text)
{
	errs_add(errs, level, (struct err_at){ file, line, col }, path, "%s", text);
}

static void
sorts_and_prints_findings(void **state)
{
	struct errs errs = { 0 };
	struct sbuf out = { 0 };

	(void)state;
	add(&errs, FINDING_ERROR, "b.yaml", 1, 1, "x", "last");
	add(&errs, FINDING_ERROR, "a.yaml", 10, 2, "http.listen[0]", "is no address");
	add(&errs, FINDING_WARNING, "a.yaml", 9, 30, "tls", "expired");
	add(&errs, FINDING_ERROR, "a.yaml", 10, 2, "http.listen[0]", "is no address");
	add(&errs, FINDING_ERROR, "a.yaml", 10, 1, "", "tab");
	add(&errs, FINDING_ERROR, "a.yaml", 0, 0, NULL, "cannot be read");
	add(&errs, FINDING_ERROR, NULL, 0, 0, NULL, "no file at all");
	assert_int_equal(errs.error_count, 6);
	errs_sort(&errs);
	assert_int_equal(errs.n, 6);
	assert_int_equal(errs.error_count, 5);
	errs_format(&errs, &out);
	assert_string_equal(out.p,
		"no file at all\n"
		"a.yaml: cannot be read\n"
		"a.yaml:9:30: warning: tls: expired\n"
		"a.yaml:10:1: tab\n"
		"a.yaml:10:2: http.listen[0]: is no address\n"
		"b.yaml:1:1: x: last\n");
	sbuf_fini(&out);
	errs_fini(&errs);
	assert_int_equal(errs.n, 0);
	errs_fini(&errs);
}

static void
collects_many(void **state)
{
	struct errs errs = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		errs_add(&errs, FINDING_WARNING, (struct err_at){ "f", 1000 - i, 1 }, "p", "%u", i);
	assert_int_equal(errs.error_count, 0);
	errs_sort(&errs);
	assert_int_equal(errs.n, 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(errs.v[i].line, i + 1);
	errs_fini(&errs);
}

static const char *const words[] = { "listen", "listener", "timeouts", "tls", "to", NULL };

static const char *
next_word(const void *arg, size_t i)
{
	return ((const char *const *)arg)[i];
}

static void
suggests_the_nearest_word(void **state)
{
	static const char *const cases[][2] = {
		{ "lisen", "listen" },
		{ "listen", "listen" },
		{ "listenr", "listen" },
		{ "listenerr", "listener" },
		{ "timeout", "timeouts" },
		{ "tsl", "tls" },
		{ "certificates", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *got = err_did_you_mean(cases[i][0], next_word, words);

		print_message("  \"%s\"\n", cases[i][0]);
		if (cases[i][1] == NULL)
			assert_null(got);
		else
			assert_string_equal(got ? got : "nothing", cases[i][1]);
	}
}

/* Longer than any row of the table: no suggestion, no overrun. */
static void
suggests_nothing_for_long_words(void **state)
{
	char longest[64 + 1];
	char longer[65 + 1];
	const char *const list[] = { longest, longer, NULL };

	(void)state;
	memset(longest, 'a', 64);
	longest[64] = '\0';
	memset(longer, 'b', 65);
	longer[65] = '\0';
	assert_string_equal(err_did_you_mean(longest, next_word, list), longest);
	assert_null(err_did_you_mean(longer, next_word, list));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_and_cuts_messages),
		cmocka_unit_test(sorts_and_prints_findings),
		cmocka_unit_test(collects_many),
		cmocka_unit_test(suggests_the_nearest_word),
		cmocka_unit_test(suggests_nothing_for_long_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
