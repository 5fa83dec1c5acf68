/*
 * acme: which paths are those of challenges.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "libcommon/mem.h"
#include "routerd/acme.h"

#define AT "/.well-known/acme-challenge/"

static void
tells_tokens(void **state)
{
	static const struct {
		const char *path;
		const char *token; /* NULL: none */
	} cases[] = {
		{ AT "abc", "abc" },
		{ AT "AZaz09-_", "AZaz09-_" },
		{ AT "-", "-" },
		{ AT, NULL },
		{ AT ".", NULL },
		{ AT "..", NULL },
		{ AT "../x", NULL },
		{ AT "a/b", NULL },
		{ AT "a/", NULL },
		{ AT "a.b", NULL },
		{ AT "a%2fb", NULL },
		{ AT "a b", NULL },
		{ AT "\xc3\xa9", NULL },
		{ "/.well-known/acme-challenge", NULL },
		{ "/.well-known/acme-challengeX", NULL },
		{ "/.well-known/ACME-challenge/a", NULL },
		{ "//.well-known/acme-challenge/a", NULL },
		{ "/x" AT "a", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		/* of the exact size, without an end that a reader could run into */
		size_t n = strlen(cases[i].path);
		char *path = memcpy(xmalloc(n > 0 ? n : 1), cases[i].path, n);
		struct slice token = { .n = 0 };
		bool is_token = acme_token(slice_make(path, n), &token);

		if (is_token != (cases[i].token != NULL) ||
			(is_token && !slice_eq(token, slice_str(cases[i].token))))
			fail_msg("`%s`", cases[i].path);
		free(path);
	}
}

static void
bounds_tokens(void **state)
{
	char path[sizeof(AT) + ACME_TOKEN_MAX + 1] = AT;
	struct slice token;

	(void)state;
	memset(path + sizeof(AT) - 1, 'a', ACME_TOKEN_MAX + 1);
	assert_true(acme_token(slice_make(path, sizeof(AT) - 1 + ACME_TOKEN_MAX), &token));
	assert_int_equal(token.n, ACME_TOKEN_MAX);
	assert_false(acme_token(slice_make(path, sizeof(AT) + ACME_TOKEN_MAX), &token));
	assert_false(acme_token(slice_make("/.well-known/acme-challenge/a\0b", 31), &token));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_tokens),
		cmocka_unit_test(bounds_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
