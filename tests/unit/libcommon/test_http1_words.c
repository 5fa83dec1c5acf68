/*
 * http1: the small judgements that others use too: hosts, tokens, values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/http1.h"

struct host_case {
	const char *text;
	const char *host; /* NULL: refused */
	unsigned port;
};

static const struct host_case host_cases[] = {
	{ "a", "a", 0 },
	{ "a:80", "a", 80 },
	{ "a:", "a", 0 },
	{ "a:65535", "a", 65535 },
	{ "a:00080", "a", 80 },
	{ "WWW.Example.com:8443", "WWW.Example.com", 8443 },
	{ "example.com.", "example.com.", 0 },
	{ "a_b-c~d.e", "a_b-c~d.e", 0 },
	{ "192.0.2.1:1", "192.0.2.1", 1 },
	{ "[::1]", "[::1]", 0 },
	{ "[::1]:80", "[::1]", 80 },
	{ "[::]", "[::]", 0 },
	{ "[::ffff:192.0.2.1]:", "[::ffff:192.0.2.1]", 0 },
	{ "[2001:DB8:0:0:0:0:0:1]", "[2001:DB8:0:0:0:0:0:1]", 0 },
	{ "[0000:0000:0000:0000:0000:ffff:255.255.255.255]",
		"[0000:0000:0000:0000:0000:ffff:255.255.255.255]", 0 },
	{ "", NULL, 0 },
	{ ":80", NULL, 0 },
	{ ".", NULL, 0 },
	{ ".a", NULL, 0 },
	{ "a..b", NULL, 0 },
	{ "a..", NULL, 0 },
	{ "..", NULL, 0 },
	{ "a:0", NULL, 0 },
	{ "a:65536", NULL, 0 },
	{ "a:000080", NULL, 0 },
	{ "a:+80", NULL, 0 },
	{ "a:80 ", NULL, 0 },
	{ "a:80:80", NULL, 0 },
	{ "a:b", NULL, 0 },
	{ "a b", NULL, 0 },
	{ "a/b", NULL, 0 },
	{ "a\\b", NULL, 0 },
	{ "a?b", NULL, 0 },
	{ "a#b", NULL, 0 },
	{ "a@b", NULL, 0 },
	{ "a,b", NULL, 0 },
	{ "a;b", NULL, 0 },
	{ "a%41", NULL, 0 },
	{ "\xc3\xa4", NULL, 0 },
	{ "::1", NULL, 0 },
	{ "[", NULL, 0 },
	{ "[]", NULL, 0 },
	{ "[:]", NULL, 0 },
	{ "[::1", NULL, 0 },
	{ "[::1]80", NULL, 0 },
	{ "[::1]x:80", NULL, 0 },
	{ "[::1]]", NULL, 0 },
	{ "[192.0.2.1]", NULL, 0 },
	{ "[fe80::1%25lo]", NULL, 0 },
	{ "[v1.x]", NULL, 0 },
	{ "[0000:0000:0000:0000:0000:ffff:255.255.255.2555]", NULL, 0 },
};

static void
splits_hosts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(host_cases) / sizeof(*host_cases); i++) {
		const struct host_case *c = &host_cases[i];
		size_t n = strlen(c->text);
		char *copy = malloc(n ? n : 1);
		struct slice host;
		uint16_t port = 7;

		memcpy(copy, c->text, n);
		print_message("  case %zu\n", i);
		assert_int_equal(http1_host(slice_make(copy, n), &host, &port), c->host != NULL);
		if (c->host != NULL) {
			assert_true(slice_eq(host, slice_str(c->host)));
			assert_int_equal(port, c->port);
		}
		free(copy);
	}
}

static void
limits_hosts(void **state)
{
	char text[300];
	struct slice host;
	uint16_t port;

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_true(http1_host(slice_make(text, 255), &host, &port));
	assert_false(http1_host(slice_make(text, 256), &host, &port));
	memcpy(text, "[::\0\0]", 6);
	assert_false(http1_host(slice_make(text, 6), &host, &port));
}

/* RFC 9110 §5.6.2 and §5.5, byte by byte. */
static void
judges_bytes(void **state)
{
	static const char more[] = "!#$%&'*+-.^_`|~";

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		char byte = (char)c;
		bool is_alnum =
			(c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		bool is_token = is_alnum || (c != 0 && strchr(more, (int)c) != NULL);
		bool is_value = c == '\t' || (c >= 0x20 && c != 0x7f);

		assert_int_equal(http1_is_token(slice_make(&byte, 1)), is_token);
		assert_int_equal(http1_is_value(slice_make(&byte, 1)), is_value);
	}
	assert_false(http1_is_token(SLICE("")));
	assert_true(http1_is_value(SLICE("")));
	assert_true(http1_is_value(slice_make(NULL, 0)));
}

/* Every byte at every place of every length: values are looked at eight bytes at a time. */
static void
judges_values_of_any_length(void **state)
{
	(void)state;
	for (size_t n = 1; n < 35; n++) {
		char *text = malloc(n);

		for (unsigned fill = 0; fill < 3; fill++) {
			memset(text, "\t~\xff"[fill], n);
			for (size_t at = 0; at < n; at++) {
				char kept = text[at];

				for (unsigned c = 0; c < 256; c++) {
					text[at] = (char)c;
					assert_int_equal(http1_is_value(slice_make(text, n)),
						c == '\t' || (c >= 0x20 && c != 0x7f));
				}
				text[at] = kept;
			}
		}
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits_hosts),
		cmocka_unit_test(limits_hosts),
		cmocka_unit_test(judges_bytes),
		cmocka_unit_test(judges_values_of_any_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
