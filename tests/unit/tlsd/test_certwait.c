/*
 * certwait: which of two certificates is served: the one that was just loaded, or the one before.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tlsd/certwait.h"

enum { NOW = 1000000, DAY = 86400 };

/* A certificate in one line. */
struct word {
	const char *name; /* its fingerprint */
	bool must;
	enum staple_result staple;
	int64_t staple_ends;
	int64_t ends;
};

static struct cert
make(const struct word *w)
{
	struct cert c = {
		.wants_staple = w->must,
		.staple_state = w->staple,
		.not_after = NOW + w->ends,
	};

	if (w->staple == STAPLE_OK)
		c.staple.times = (struct ocspcheck_times){ NOW - DAY, NOW + w->staple_ends };
	strcpy(c.fingerprint, w->name);
	return c;
}

#define PLAIN(name, ends)                         \
	{                                         \
		name, false, STAPLE_NONE, 0, ends \
	}
#define MUST(name, state)                        \
	{                                        \
		name, true, state, DAY, 90 * DAY \
	}
#define STAPLED(name, for, ends)           \
	{ name, true, STAPLE_OK, for, ends \
	}

static void
waits(void **state)
{
	static const struct {
		const char *what;
		struct word fresh;
		struct word before;
		bool waits;
	} cases[] = {
		{ "no staple yet", MUST("b", STAPLE_NONE), STAPLED("a", DAY, DAY), true },
		{ "the old one's staple", MUST("b", STAPLE_BAD), STAPLED("a", DAY, DAY), true },
		{ "revoked already", MUST("b", STAPLE_REVOKED), STAPLED("a", DAY, DAY), true },
		{ "before without the extension", MUST("b", STAPLE_NONE), PLAIN("a", DAY), true },
		{ "its own staple", MUST("b", STAPLE_OK), STAPLED("a", DAY, DAY), false },
		{ "its staple is over", STAPLED("b", -1, DAY), STAPLED("a", DAY, DAY), true },
		{ "need not be stapled", PLAIN("b", DAY), STAPLED("a", DAY, DAY), false },
		{ "before is over", MUST("b", STAPLE_NONE), PLAIN("a", -1), false },
		{ "before ends now", MUST("b", STAPLE_NONE), PLAIN("a", 0), true },
		{ "its staple is over, too", MUST("b", STAPLE_NONE), STAPLED("a", 0, DAY), false },
		{ "it had none either", MUST("b", STAPLE_NONE), MUST("a", STAPLE_NONE), false },
		{ "before is revoked", MUST("b", STAPLE_NONE),
			{ "a", false, STAPLE_REVOKED, 0, DAY }, false },
		{ "a staple's file is gone", MUST("a", STAPLE_NONE), STAPLED("a", DAY, DAY), true },
		{ "a staple's file broke", MUST("a", STAPLE_BAD), STAPLED("a", DAY, DAY), true },
		{ "revoked meanwhile", MUST("a", STAPLE_REVOKED), STAPLED("a", DAY, DAY), false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct cert fresh = make(&cases[i].fresh);
		const struct cert before = make(&cases[i].before);

		if (certwait_must(&fresh, &before, NOW) != cases[i].waits)
			fail_msg("%s", cases[i].what);
		assert_false(certwait_must(&fresh, NULL, NOW));
		assert_false(certwait_must(&before, &before, NOW));
	}
}

static void
ends(void **state)
{
	const struct cert plain = make(&(struct word)PLAIN("a", 5));
	const struct cert first = make(&(struct word)STAPLED("a", 7, 9));
	const struct cert last = make(&(struct word)STAPLED("a", 9, 7));

	(void)state;
	assert_int_equal(certwait_until(&plain), NOW + 5);
	assert_int_equal(certwait_until(&first), NOW + 7);
	assert_int_equal(certwait_until(&last), NOW + 7);
	assert_false(certwait_lacks_staple(&plain, NOW));
	assert_false(certwait_lacks_staple(&first, NOW + 6));
	assert_true(certwait_lacks_staple(&first, NOW + 7));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits),
		cmocka_unit_test(ends),
	};

	return cmocka_run_group_tests_name("certwait", tests, NULL, NULL);
}
