/*
 * certpick: which certificates for one name are shown.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tlsd/certpick.h"

enum { NOW = 1000000, MAX = 4 };

/* "R": RSA, "P": RSA-PSS, "E": ECDSA, "D": Ed25519; small: must be stapled and is not; with a
 * digit: is, for so many seconds. */
static struct cert
make(const char *word)
{
	static const char *const types[] = { "RSA", "RSA-PSS", "ECDSA", "Ed25519" };
	static const char letters[] = "RPEDrped";
	size_t at = (size_t)(strchr(letters, word[0]) - letters);
	struct cert c = { .key_type = types[at % 4], .staple_state = STAPLE_NONE };

	c.wants_staple = at >= 4 || word[1] != '\0';
	if (word[1] != '\0') {
		c.staple_state = STAPLE_OK;
		c.staple.times = (struct ocspcheck_times){ NOW - 9, NOW + word[1] - '0' };
	}
	return c;
}

static void
picks(void **state)
{
	static const struct {
		const char *all[MAX];
		const char *taken; /* of them */
		enum certpick_first first;
	} cases[] = {
		{ { "E" }, "0", CERTPICK_ANY },
		{ { "e" }, "0", CERTPICK_ANY },
		{ { "E", "R" }, "01", CERTPICK_ANY },
		{ { "E", "E" }, "0", CERTPICK_ANY },
		{ { "e", "E" }, "1", CERTPICK_ANY },
		{ { "e", "E", "E" }, "1", CERTPICK_ANY },
		{ { "e", "e" }, "0", CERTPICK_ANY },
		{ { "E", "e" }, "0", CERTPICK_ANY },
		{ { "e", "E1" }, "1", CERTPICK_ANY },
		{ { "e", "E0" }, "0", CERTPICK_ANY },
		{ { "e", "R" }, "01", CERTPICK_RSA },
		{ { "R1", "e" }, "01", CERTPICK_RSA },
		{ { "R0", "e" }, "01", CERTPICK_ANY },
		{ { "r", "E" }, "01", CERTPICK_ECDSA },
		{ { "r", "e" }, "01", CERTPICK_ANY },
		{ { "e", "E", "R" }, "12", CERTPICK_ANY },
		{ { "e", "r", "E" }, "12", CERTPICK_ECDSA },
		{ { "e", "D", "R" }, "012", CERTPICK_ANY },
		{ { "e", "d", "P" }, "012", CERTPICK_RSA },
		{ { "r", "P", "e" }, "012", CERTPICK_RSA },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const uint32_t which[MAX] = { 3, 1, 0, 2 }; /* numbers of the listener's */
		struct cert made[MAX];
		struct cert *all[MAX] = { NULL };
		uint32_t n = 0;
		char taken[MAX + 1] = "";

		for (; n < MAX && cases[i].all[n] != NULL; n++) {
			made[n] = make(cases[i].all[n]);
			all[which[n]] = &made[n];
		}
		for (uint32_t j = 0; j < n; j++)
			if (certpick_is_taken(all, which, n, j, NOW))
				strncat(taken, &"0123"[j], 1);
		if (strcmp(taken, cases[i].taken) != 0 ||
			certpick_first(all, which, n, NOW) != cases[i].first)
			fail_msg("case %zu: %s", i, taken);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(picks) };

	return cmocka_run_group_tests_name("certpick", tests, NULL, NULL);
}
