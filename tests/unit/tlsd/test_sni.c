/*
 * sni: names to certificates, and the server_name extension's bytes.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "libcommon/mem.h"
#include "tlsd/sni.h"

static struct sni_index *
make_index(void)
{
	struct sni_index *idx = sni_new();

	assert_true(sni_add(idx, "example.com", 0));
	assert_true(sni_add(idx, "*.example.com", 0));
	assert_true(sni_add(idx, "api.example.com", 1));
	assert_true(sni_add(idx, "API.example.COM", 2));
	assert_true(sni_add(idx, "api.example.com", 1));
	assert_true(sni_add(idx, "*.deep.example.com", 3));
	assert_true(sni_add(idx, "under_score.example.net", 4));
	return idx;
}

static void
finds(void **state)
{
	static const struct {
		const char *name;
		int first; /* -1: no certificate */
		unsigned count;
	} cases[] = {
		{ "example.com", 0, 1 },
		{ "EXAMPLE.com", 0, 1 },
		{ "example.com.", 0, 1 },
		{ "api.example.com", 1, 2 },
		{ "www.example.com", 0, 1 },
		{ "a.deep.example.com", 3, 1 },
		{ "deep.example.com", 0, 1 },
		{ "a.b.example.com", -1, 0 },
		{ "a.b.deep.example.com", -1, 0 },
		{ "example.org", -1, 0 },
		{ "com", -1, 0 },
		{ ".example.com", -1, 0 },
		{ "*.example.com", -1, 0 },
		{ "", -1, 0 },
		{ ".", -1, 0 },
		{ "under_score.example.net", 4, 1 },
	};
	struct sni_index *idx = make_index();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct sni_entry *e = sni_find(idx, slice_str(cases[i].name));

		if (cases[i].first < 0) {
			if (e != NULL)
				fail_msg("`%s` found %s", cases[i].name, e->name);
			continue;
		}
		if (e == NULL)
			fail_msg("`%s` not found", cases[i].name);
		assert_int_equal(e->certs[0], cases[i].first);
		assert_int_equal(e->count, cases[i].count);
	}
	sni_free(idx);
}

static void
refuses_names(void **state)
{
	static const char *const bad[] = { "", "*", "*.", "a..b", ".a", "f*.example.com", "a.*.com",
		"10.0.0.1", "a b", "::1", "a/b" };
	struct sni_index *idx = sni_new();
	char label[80];
	char longest[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (sni_add(idx, bad[i], 0))
			fail_msg("`%s` was taken", bad[i]);
	memset(label, 'a', 64);
	label[64] = '\0';
	assert_false(sni_add(idx, label, 0));
	label[63] = '\0';
	assert_true(sni_add(idx, label, 0));
	for (size_t i = 0; i < 255; i++)
		longest[i] = i % 2 ? '.' : 'a';
	longest[255] = '\0';
	assert_false(sni_add(idx, longest, 0));
	assert_null(sni_find(idx, slice_str(longest)));
	longest[253] = '\0';
	assert_true(sni_add(idx, longest, 0));
	assert_non_null(sni_find(idx, slice_str(longest)));
	sni_free(idx);
}

/* Exact-size copies: a byte read too far is seen by the sanitizer. */
static int
parse(const char *bytes, size_t n, struct slice *name, uint8_t **copy)
{
	*copy = xmalloc(n > 0 ? n : 1);
	memcpy(*copy, bytes, n);
	return sni_parse_ext(*copy, n, name);
}

static void
parses_extension(void **state)
{
	static const struct {
		const char *label;
		const char *bytes;
		size_t n;
		int rc;
		const char *name;
	} cases[] = {
		{ "one name", "\0\6\0\0\3abc", 8, 1, "abc" },
		{ "two names", "\0\14\0\0\3abc\0\0\3abd", 14, -1, NULL },
		{ "another type behind", "\0\13\0\0\3abc\1\0\2xx", 13, 1, "abc" },
		{ "rubbish behind", "\0\7\0\0\3abcx", 9, -1, NULL },
		{ "another type first", "\0\13\1\0\2xx\0\0\3abc", 13, 1, "abc" },
		{ "only another type", "\0\5\1\0\2xx", 7, 0, NULL },
		{ "empty list", "\0\0", 2, 0, NULL },
		{ "empty name", "\0\3\0\0\0", 5, -1, NULL },
		{ "list shorter than said", "\0\7\0\0\3abc", 8, -1, NULL },
		{ "list longer than said", "\0\5\0\0\3abc", 8, -1, NULL },
		{ "name longer than list", "\0\6\0\0\4abc", 8, -1, NULL },
		{ "NUL in name", "\0\6\0\0\3a\0c", 8, -1, NULL },
		{ "nothing", "", 0, -1, NULL },
		{ "one byte", "\0", 1, -1, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice name = { NULL, 0 };
		uint8_t *copy;
		int rc = parse(cases[i].bytes, cases[i].n, &name, &copy);

		if (rc != cases[i].rc)
			fail_msg("%s: %d, expected %d", cases[i].label, rc, cases[i].rc);
		if (rc == 1 && !slice_eq(name, slice_str(cases[i].name)))
			fail_msg("%s: `%.*s`", cases[i].label, SLICE_ARG(name));
		free(copy);
	}
}

static void
plain_names(void **state)
{
	static const char *const good[] = { "a", "A-b_c.example", "127.0.0.1", "::1", "a.b." };
	static const char *const bad[] = { "", "a b", "a\r\nb", "a\"b", "\xc3\xa4.de", "a/b", "*.a",
		"a\x7f" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (!sni_is_plain(slice_str(good[i])))
			fail_msg("`%s` is refused", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (sni_is_plain(slice_str(bad[i])))
			fail_msg("`%s` is taken", bad[i]);
}

static void
truncated_extension(void **state)
{
	static const char whole[] = "\0\13\1\0\2xx\0\0\3abc";

	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		struct slice name;
		uint8_t *copy;

		assert_int_equal(parse(whole, n, &name, &copy), -1);
		free(copy);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(refuses_names),
		cmocka_unit_test(parses_extension),
		cmocka_unit_test(plain_names),
		cmocka_unit_test(truncated_extension),
	};

	return cmocka_run_group_tests_name("sni", tests, NULL, NULL);
}
