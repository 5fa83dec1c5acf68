/*
 * ctlproto: lines into words, from exact-size heap copies, and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/ctlproto.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"

struct ok_case {
	const char *line;
	bool is_json;
	const char *words[6];
};

static const struct ok_case good[] = {
	{ "status", false, { "status" } },
	{ "status\r", false, { "status" } },
	{ "  show \t servers  state app ", false, { "show", "servers", "state", "app" } },
	{ "json status", true, { "status" } },
	{ "json json", true, { "json" } },
	{ "drain 'a b' \"c \\\" d\" e\\ f", false, { "drain", "a b", "c \" d", "e f" } },
	{ "a '' \"\"", false, { "a", "", "" } },
	{ "a'b'\"c\"d", false, { "abcd" } },
	{ "\"a\\\\\"", false, { "a\\" } },
	{ "'a\\b'", false, { "a\\b" } },
	{ "caf\xc3\xa9", false, { "caf\xc3\xa9" } },
};

static const char *const bad[] = { "", "   ", "json", " json ", "a 'b", "a \"b", "a \"b\\", "a\\",
	("a\x01"
	 "b"),
	"a\x7f", "a\nb", "a\rb" };

static const char *
parse(const char *line, size_t n, struct ctlproto_line *out)
{
	char *copy = xmalloc(n ? n : 1);
	const char *why;

	memcpy(copy, line, n);
	why = ctlproto_parse(slice_make(copy, n), out);
	free(copy);
	return why;
}

static void
test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct ctlproto_line l;
		const struct ok_case *c = &good[i];
		size_t n = 0;

		if (parse(c->line, strlen(c->line), &l) != NULL)
			fail_msg("refused: %s", c->line);
		assert_int_equal(l.is_json, c->is_json);
		while (c->words[n] != NULL) {
			assert_true(n < l.n);
			assert_string_equal(l.words[n], c->words[n]);
			n++;
		}
		assert_int_equal(l.n, n);
		assert_null(l.words[n]);
	}
}

static void
test_bad(void **state)
{
	struct ctlproto_line l;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (parse(bad[i], strlen(bad[i]), &l) == NULL)
			fail_msg("accepted: case %zu", i);
	assert_non_null(parse("a\0b", 3, &l));
}

static void
test_limits(void **state)
{
	struct ctlproto_line l;
	char line[CTL_LINE_MAX + 1];

	(void)state;
	memset(line, 'x', sizeof(line));
	assert_null(parse(line, CTL_LINE_MAX - 1, &l));
	assert_int_equal(strlen(l.words[0]), CTL_LINE_MAX - 1);
	assert_non_null(parse(line, CTL_LINE_MAX, &l));
	for (size_t i = 0; i < sizeof(line); i++)
		line[i] = i % 2 ? ' ' : 'x';
	assert_null(parse(line, 2 * CTL_WORDS_MAX, &l));
	assert_int_equal(l.n, CTL_WORDS_MAX);
	assert_non_null(parse(line, 2 * CTL_WORDS_MAX + 1, &l));
}

static void
test_round_trip(void **state)
{
	static const char *const words[] = { "drain", "app/app1", "with a reason", "", "it's",
		"\"quoted\"", "back\\slash", "tab\there" };
	struct sbuf line = { 0 };
	struct ctlproto_line l;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		ctlproto_add_word(&line, words[i]);
	assert_null(parse(line.p, line.n, &l));
	assert_int_equal(l.n, sizeof(words) / sizeof(*words));
	for (size_t i = 0; i < l.n; i++)
		assert_string_equal(l.words[i], words[i]);
	sbuf_fini(&line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
