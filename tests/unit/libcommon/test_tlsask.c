/*
 * tlsask: what is written reads back; whatever is not exactly a message is refused with its word.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/tlsask.h"

/* From a copy of its exact size, so that a byte too far is seen. */
static bool
decode(const char *p, size_t n, struct tlsask *a, const char **reason)
{
	char *copy = malloc(n + 1);

	memcpy(copy, p, n);

	bool ok = tlsask_decode(copy, n, a, reason);

	if (ok) {
		assert_true(a->policy.p >= copy && a->policy.p + a->policy.n <= copy + n);
		assert_true(a->host.p >= copy && a->host.p + a->host.n <= copy + n);
		a->policy.p = p + (a->policy.p - copy);
		a->host.p = p + (a->host.p - copy);
	}
	free(copy);
	return ok;
}

static void
asks_read_back(void **state)
{
	char long_text[256];
	const struct tlsask cases[] = {
		{ 0, TLSASK_HTTP1, SLICE("p"), SLICE("") },
		{ 255, TLSASK_HTTP2, SLICE("default"), SLICE("app.example") },
		{ 7, TLSASK_HTTP1 | TLSASK_HTTP2, SLICE("a-b_c.d"), SLICE("::1") },
		{ 1, TLSASK_HTTP1, slice_make(long_text, 255), slice_make(long_text, 255) },
	};
	const char *reason;

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char out[TLSASK_MAX];
		size_t n = tlsask_encode(&cases[i], out, sizeof(out));
		struct tlsask a;

		assert_int_equal(n, 8 + cases[i].policy.n + cases[i].host.n);
		assert_int_equal(tlsask_encode(&cases[i], out, n - 1), 0);
		assert_true(decode(out, n, &a, &reason));
		assert_int_equal(a.serial, cases[i].serial);
		assert_int_equal(a.protocols, cases[i].protocols);
		assert_true(slice_eq(a.policy, cases[i].policy));
		assert_true(slice_eq(a.host, cases[i].host));
		for (size_t cut = 0; cut < n; cut++)
			assert_false(decode(out, cut, &a, &reason));
		assert_false(tlsask_is_refusal(out, n));
	}
}

static void
what_cannot_be_asked(void **state)
{
	char long_text[256] = { 'a' };
	const struct tlsask cases[] = {
		{ 0, 0, SLICE("p"), SLICE("h") },
		{ 0, 4, SLICE("p"), SLICE("h") },
		{ 0, TLSASK_HTTP1, SLICE(""), SLICE("h") },
		{ 0, TLSASK_HTTP1, SLICE("p\n"), SLICE("h") },
		{ 0, TLSASK_HTTP1, SLICE("p"), SLICE("h\x7f") },
		{ 0, TLSASK_HTTP1, SLICE("p"), slice_make(long_text, 256) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char out[TLSASK_MAX];

		assert_int_equal(tlsask_encode(&cases[i], out, sizeof(out)), 0);
	}
}

static void
what_is_no_ask(void **state)
{
	static const struct {
		const char *name;
		struct slice bytes;
		const char *reason;
	} cases[] = {
		{ "empty", SLICE(""), "short_message" },
		{ "head alone", SLICE("WA\1\0\1\0\1"), "short_message" },
		{ "another magic", SLICE("WH\1\0\1\0\1\0p"), "not_an_ask" },
		{ "a refusal", SLICE("WR\1\0\1\0\0\0"), "not_an_ask" },
		{ "version", SLICE("WA\2\0\1\0\1\0p"), "unknown_version" },
		{ "flags", SLICE("WA\1\0\1\1\1\0p"), "bad_flags" },
		{ "no protocol", SLICE("WA\1\0\0\0\1\0p"), "bad_protocols" },
		{ "unknown protocol", SLICE("WA\1\0\5\0\1\0p"), "bad_protocols" },
		{ "byte behind it", SLICE("WA\1\0\1\0\1\0px"), "bad_length" },
		{ "too short", SLICE("WA\1\0\1\0\1\2ph"), "bad_length" },
		{ "no policy", SLICE("WA\1\0\1\0\0\1h"), "bad_name" },
		{ "control character", SLICE("WA\1\0\1\0\1\1p\n"), "bad_name" },
		{ "NUL", SLICE("WA\1\0\1\0\1\2p\0h"), "bad_name" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct tlsask a;
		const char *reason;

		assert_false(decode(cases[i].bytes.p, cases[i].bytes.n, &a, &reason));
		if (strcmp(reason, cases[i].reason) != 0)
			fail_msg("%s: %s", cases[i].name, reason);
		assert_int_equal(a.policy.n, 0);
	}
}

static void
refusals_read_back(void **state)
{
	char detail[400];
	char out[TLSASK_MAX];
	struct tlsask_refusal r;
	const char *reason;

	(void)state;
	memset(detail, 'd', sizeof(detail));
	for (unsigned why = 0; why < TLSASK_WHY_COUNT; why++) {
		struct tlsask_refusal in = { .serial = (uint8_t)why,
			.why = (uint8_t)why,
			.detail = SLICE("certificate 0: expired") };
		size_t n = tlsask_encode_refusal(&in, out, sizeof(out));

		assert_true(tlsask_is_refusal(out, n));
		assert_true(tlsask_decode_refusal(out, n, &r, &reason));
		assert_int_equal(r.why, why);
		assert_int_equal(r.serial, why);
		assert_true(slice_eq(r.detail, in.detail));
		assert_true(strlen(tlsask_word(why)) > 2);
		for (size_t cut = 0; cut < n; cut++)
			assert_false(tlsask_decode_refusal(out, cut, &r, &reason));
	}
	/* What a certificate says is cut, and cleaned. */
	detail[3] = '\n';

	struct tlsask_refusal in = { .why = TLSASK_EXPIRED, .detail = slice_make(detail, 400) };
	size_t n = tlsask_encode_refusal(&in, out, sizeof(out));

	assert_true(tlsask_decode_refusal(out, n, &r, &reason));
	assert_int_equal(r.detail.n, TLSASK_TEXT_MAX);
	assert_int_equal(r.detail.p[3], '?');
	out[4] = (char)TLSASK_WHY_COUNT;
	assert_false(tlsask_decode_refusal(out, n, &r, &reason));
	assert_string_equal(reason, "bad_reason");
}

static void
classes(void **state)
{
	(void)state;
	assert_int_equal(tlsask_class(TLSASK_EXPIRED), TLSASK_VERIFY);
	assert_int_equal(tlsask_class(TLSASK_BAD_CERTIFICATE), TLSASK_VERIFY);
	assert_int_equal(tlsask_class(TLSASK_NOT_TLS), TLSASK_HANDSHAKE);
	assert_int_equal(tlsask_class(TLSASK_TIMEOUT), TLSASK_HANDSHAKE);
	assert_int_equal(tlsask_class(TLSASK_UNKNOWN_POLICY), TLSASK_NOT_MADE);
	assert_string_equal(tlsask_word(TLSASK_NAME_MISMATCH), "name_mismatch");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_read_back),
		cmocka_unit_test(what_cannot_be_asked),
		cmocka_unit_test(what_is_no_ask),
		cmocka_unit_test(refusals_read_back),
		cmocka_unit_test(classes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
