/*
 * hello: a ClientHello on the wire, whole, byte by byte, cut at each point, in records of any size.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "libcommon/mem.h"
#include "libcommon/sbuf.h"
#include "tlsd/hello.h"

static uint8_t scratch[HELLO_MAX];

/* A message with these extensions (bytes), or without any (NULL). */
static struct sbuf
message(const char *ext, size_t ext_n)
{
	struct sbuf m = { 0 };
	char random[32] = { 1 };
	size_t n = 2 + 32 + 1 + 4 + 2 + (ext != NULL ? 2 + ext_n : 0);

	sbuf_addc(&m, 1);
	sbuf_addc(&m, 0);
	sbuf_addc(&m, (char)(n >> 8));
	sbuf_addc(&m, (char)n);
	sbuf_add(&m, "\3\3", 2);
	sbuf_add(&m, random, 32);
	sbuf_addc(&m, 0);
	sbuf_add(&m, "\0\2\23\1", 4);
	sbuf_add(&m, "\1\0", 2);
	if (ext != NULL) {
		sbuf_addc(&m, (char)(ext_n >> 8));
		sbuf_addc(&m, (char)ext_n);
		sbuf_add(&m, ext, ext_n);
	}
	return m;
}

/* The message in records of `size` bytes. */
static struct sbuf
records(const struct sbuf *m, size_t size)
{
	struct sbuf out = { 0 };

	for (size_t i = 0; i < m->n; i += size) {
		size_t n = m->n - i < size ? m->n - i : size;

		sbuf_add(&out, "\26\3\1", 3);
		sbuf_addc(&out, (char)(n >> 8));
		sbuf_addc(&out, (char)n);
		sbuf_add(&out, m->p + i, n);
	}
	return out;
}

/* From an exact-size copy each time: a byte read too far is seen by the sanitizer. */
static enum hello_result
scan(struct hello_scan *h, const struct sbuf *wire, size_t n)
{
	uint8_t *copy = xmalloc(n > 0 ? n : 1);
	enum hello_result r;

	memcpy(copy, wire->p, n);
	r = hello_scan(h, copy, n);
	free(copy);
	return r;
}

static bool
read_all(const struct sbuf *wire, struct hello *out)
{
	struct hello_scan h = { .record = 0 };

	assert_int_equal(hello_scan(&h, (const uint8_t *)wire->p, wire->n), HELLO_WHOLE);
	return hello_read(&h, (const uint8_t *)wire->p, scratch, out);
}

#define NAME     "\0\0\0\13\0\11\0\0\6a.test"
#define ALPN     "\0\20\0\15\0\13\12acme-tls/1"
#define BYTES(s) (s), sizeof(s) - 1

static void
reads_extensions(void **state)
{
	static const struct {
		const char *label;
		const char *ext;
		size_t n;
		bool ok;
		const char *name;
		bool is_acme;
	} cases[] = {
		{ "none", NULL, 0, true, "", false },
		{ "an empty list", BYTES(""), true, "", false },
		{ "a name", BYTES(NAME), true, "a.test", false },
		{ "a name and a protocol", BYTES(NAME ALPN), true, "a.test", true },
		{ "a protocol and a name", BYTES(ALPN NAME), true, "a.test", true },
		{ "an unknown one first", BYTES("\xfe\x0d\0\3abc" NAME), true, "a.test", false },
		{ "a protocol alone", BYTES(ALPN), true, "", true },
		{ "two protocols", BYTES("\0\20\0\20\0\16\12acme-tls/1\2h2"), true, "", false },
		{ "another protocol", BYTES("\0\20\0\5\0\3\2h2"), true, "", false },
		{ "two names", BYTES(NAME NAME), false, NULL, false },
		{ "two lists of protocols", BYTES(ALPN ALPN), false, NULL, false },
		{ "an empty protocol", BYTES("\0\20\0\3\0\1\0"), false, NULL, false },
		{ "an empty list of protocols", BYTES("\0\20\0\2\0\0"), false, NULL, false },
		{ "protocols longer than said", BYTES("\0\20\0\6\0\3\2h2x"), false, NULL, false },
		{ "protocol longer than its list", BYTES("\0\20\0\5\0\3\3h2"), false, NULL, false },
		{ "a name that no host has", BYTES("\0\0\0\13\0\11\0\0\6a test"), true, "", false },
		{ "a name of rubbish", BYTES("\0\0\0\3\0\0\0"), false, NULL, false },
		{ "cut in an extension's head", BYTES(NAME "\0\1\0"), false, NULL, false },
		{ "an extension longer than the rest", BYTES(NAME "\0\1\0\5a"), false, NULL,
			false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sbuf m = message(cases[i].ext, cases[i].n);

		for (size_t size = 1; size <= m.n; size += size < 12 ? 1 : 17) {
			struct sbuf wire = records(&m, size);
			struct hello h;
			bool ok = read_all(&wire, &h);

			if (ok != cases[i].ok)
				fail_msg("%s, records of %zu: %d", cases[i].label, size, ok);
			if (ok &&
				(!slice_eq(h.name, slice_str(cases[i].name)) ||
					hello_offers_only(&h, "acme-tls/1") != cases[i].is_acme))
				fail_msg("%s, records of %zu: `%.*s`", cases[i].label, size,
					(int)h.name.n, h.name.p);
			sbuf_fini(&wire);
		}
		sbuf_fini(&m);
	}
}

static void
waits_for_all(void **state)
{
	struct sbuf m = message(BYTES(NAME));

	(void)state;
	for (size_t size = 1; size <= m.n; size++) {
		struct sbuf wire = records(&m, size);
		struct hello_scan grown = { .record = 0 };

		for (size_t n = 0; n <= wire.n; n++) {
			struct hello_scan fresh = { .record = 0 };
			enum hello_result want = n < wire.n ? HELLO_MORE : HELLO_WHOLE;

			assert_int_equal(scan(&grown, &wire, n), want);
			assert_int_equal(scan(&fresh, &wire, n), want);
		}
		sbuf_fini(&wire);
	}
	sbuf_fini(&m);
}

static void
refuses_what_is_none(void **state)
{
	static const struct {
		const char *label;
		const char *bytes;
		size_t n;
		enum hello_result r;
	} cases[] = {
		{ "nothing", BYTES(""), HELLO_MORE },
		{ "HTTP", BYTES("G"), HELLO_NONE },
		{ "an alert", BYTES("\25\3\1\0\2\2\120"), HELLO_NONE },
		{ "SSL 2", BYTES("\200\56"), HELLO_NONE },
		{ "a wrong version", BYTES("\26\2"), HELLO_NONE },
		{ "an empty record", BYTES("\26\3\1\0\0"), HELLO_NONE },
		{ "a record too long", BYTES("\26\3\1\100\1"), HELLO_NONE },
		{ "the longest record", BYTES("\26\3\1\100\0"), HELLO_MORE },
		{ "a ServerHello", BYTES("\26\3\1\0\4\2"), HELLO_NONE },
		{ "a message too long", BYTES("\26\3\1\0\4\1\1\0\0"), HELLO_NONE },
		{ "an alert in between", BYTES("\26\3\1\0\4\1\0\1\0\25"), HELLO_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sbuf wire = { 0 };
		struct hello_scan h = { .record = 0 };

		sbuf_add(&wire, cases[i].bytes, cases[i].n);
		if (scan(&h, &wire, wire.n) != cases[i].r)
			fail_msg("%s", cases[i].label);
		sbuf_fini(&wire);
	}
}

/* Every message cut short inside, with lengths that fit the cut. */
static void
refuses_short_messages(void **state)
{
	struct sbuf m = message(BYTES(NAME));
	size_t whole = m.n;

	(void)state;
	for (size_t n = 4; n < whole; n++) {
		struct hello h;

		m.n = n;
		m.p[2] = (char)((n - 4) >> 8);
		m.p[3] = (char)(n - 4);

		struct sbuf wire = records(&m, n);
		bool ok = read_all(&wire, &h);

		/* without extensions it is a whole message, too */
		if (ok != (n == 4 + 34 + 1 + 4 + 2))
			fail_msg("%zu bytes: %d", n, ok);
		sbuf_fini(&wire);
	}
	sbuf_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_extensions),
		cmocka_unit_test(waits_for_all),
		cmocka_unit_test(refuses_what_is_none),
		cmocka_unit_test(refuses_short_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
