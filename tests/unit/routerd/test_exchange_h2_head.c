/*
 * Heads between struct msg and HTTP/2: what an answer may say, how its body is framed, and what a
 * request becomes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/mem.h"
#include "routerd/exchange_h2_head.h"
#include "routerd/wskey.h"

#define FIELDS_MAX 32

static const struct http1_limits limits = { .head_bytes = 512, .target_bytes = 256, .fields = 20 };

struct pair {
	const char *name;
	const char *value;
};

/* The section's fields from exact-size copies, so that the sanitizer sees a byte too far. */
static bool
feed(struct h2_answer *a, const struct pair *p)
{
	for (; p->name != NULL; p++) {
		struct slice name = { xstrndup(p->name, strlen(p->name)), strlen(p->name) };
		size_t n = strlen(p->value);
		char *value = xmalloc(n ? n : 1);
		bool ok;

		memcpy(value, p->value, n);
		ok = h2_answer_field(a, name, slice_make(value, n));
		free((void *)(uintptr_t)name.p);
		free(value);
		if (!ok)
			return false;
	}
	return true;
}

static const struct answer_case {
	const char *name;
	struct pair pairs[8];
	enum method asked;
	bool is_end;
	const char *reason; /* NULL: taken */
	enum body_kind body;
	uint64_t length;
} answers[] = {
	{ "plain", { { ":status", "200" } }, METHOD_GET, false, NULL, BODY_CHUNKED, 0 },
	{ "no body", { { ":status", "200" } }, METHOD_GET, true, NULL, BODY_NONE, 0 },
	{ "a length", { { ":status", "200" }, { "content-length", "7" } }, METHOD_GET, false, NULL,
		BODY_LENGTH, 7 },
	{ "a length of zeros", { { ":status", "200" }, { "content-length", "007" } }, METHOD_GET,
		false, NULL, BODY_LENGTH, 7 },
	{ "HEAD with a length", { { ":status", "200" }, { "content-length", "7" } }, METHOD_HEAD,
		true, NULL, BODY_NONE, 7 },
	{ "304 with a length", { { ":status", "304" }, { "content-length", "7" } }, METHOD_GET,
		true, NULL, BODY_NONE, 7 },
	{ "204", { { ":status", "204" } }, METHOD_GET, true, NULL, BODY_NONE, 0 },
	{ "103", { { ":status", "103" } }, METHOD_GET, false, NULL, BODY_NONE, 0 },
	{ "trailers only", { { ":status", "200" }, { "grpc-status", "12" } }, METHOD_POST, true,
		NULL, BODY_NONE, 0 },
	{ "a length without a body", { { ":status", "200" }, { "content-length", "7" } },
		METHOD_GET, true, "content_length_mismatch", 0, 0 },
	{ "two lengths",
		{ { ":status", "200" }, { "content-length", "7" }, { "content-length", "7" } },
		METHOD_GET, false, "dup_content_length", 0, 0 },
	{ "signed length", { { ":status", "200" }, { "content-length", "+7" } }, METHOD_GET, false,
		"bad_content_length", 0, 0 },
	{ "length of 2^64", { { ":status", "200" }, { "content-length", "18446744073709551616" } },
		METHOD_GET, false, "bad_content_length", 0, 0 },
	{ "list of lengths", { { ":status", "200" }, { "content-length", "7, 7" } }, METHOD_GET,
		false, "bad_content_length", 0, 0 },
	{ "no status", { { "a", "b" } }, METHOD_GET, false, "bad_pseudo_header", 0, 0 },
	{ "two statuses", { { ":status", "200" }, { ":status", "200" } }, METHOD_GET, false,
		"bad_pseudo_header", 0, 0 },
	{ "status behind a field", { { "a", "b" }, { ":status", "200" } }, METHOD_GET, false,
		"bad_pseudo_header", 0, 0 },
	{ "a request's pseudo-header", { { ":status", "200" }, { ":path", "/" } }, METHOD_GET,
		false, "bad_pseudo_header", 0, 0 },
	{ "status of letters", { { ":status", "2x0" } }, METHOD_GET, false, "bad_status", 0, 0 },
	{ "status of four", { { ":status", "2000" } }, METHOD_GET, false, "bad_status", 0, 0 },
	{ "status above 599", { { ":status", "600" } }, METHOD_GET, false, "bad_status", 0, 0 },
	{ "status below 100", { { ":status", "099" } }, METHOD_GET, false, "bad_status", 0, 0 },
	{ "101", { { ":status", "101" } }, METHOD_GET, false, "unexpected_101", 0, 0 },
	{ "an interim end", { { ":status", "103" } }, METHOD_GET, true, "bad_status", 0, 0 },
	{ "upper case", { { ":status", "200" }, { "X-A", "b" } }, METHOD_GET, false,
		"bad_field_name", 0, 0 },
	{ "empty name", { { ":status", "200" }, { "", "b" } }, METHOD_GET, false,
		"empty_field_name", 0, 0 },
	{ "colon in a name", { { ":status", "200" }, { "a:b", "c" } }, METHOD_GET, false,
		"bad_field_name", 0, 0 },
	{ "space in a name", { { ":status", "200" }, { "a ", "c" } }, METHOD_GET, false,
		"bad_field_name", 0, 0 },
	{ "CRLF in a name", { { ":status", "200" }, { "a\r\nb", "c" } }, METHOD_GET, false,
		"bad_field_name", 0, 0 },
	{ "CRLF in a value", { { ":status", "200" }, { "a", "b\r\nc: d" } }, METHOD_GET, false,
		"bad_field_value", 0, 0 },
	{ "LF in a value", { { ":status", "200" }, { "a", "b\nc" } }, METHOD_GET, false,
		"bad_field_value", 0, 0 },
	{ "blank in front", { { ":status", "200" }, { "a", " b" } }, METHOD_GET, false,
		"bad_field_value", 0, 0 },
	{ "blank behind", { { ":status", "200" }, { "a", "b\t" } }, METHOD_GET, false,
		"bad_field_value", 0, 0 },
	{ "Connection", { { ":status", "200" }, { "connection", "close" } }, METHOD_GET, false,
		"connection_field", 0, 0 },
	{ "Transfer-Encoding", { { ":status", "200" }, { "transfer-encoding", "chunked" } },
		METHOD_GET, false, "connection_field", 0, 0 },
	{ "TE", { { ":status", "200" }, { "te", "trailers" } }, METHOD_GET, false,
		"connection_field", 0, 0 },
	{ "Upgrade", { { ":status", "200" }, { "upgrade", "h2c" } }, METHOD_GET, false,
		"connection_field", 0, 0 },
};

static void
answers_are_judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		const struct answer_case *c = &answers[i];
		struct field fields[FIELDS_MAX];
		char text[512];
		struct msg m;
		struct h2_answer a;
		bool ok;

		msg_init(&m, fields, FIELDS_MAX);
		h2_answer_init(&a, &m, text, sizeof(text), &limits, false);
		ok = feed(&a, c->pairs) && h2_answer_end(&a, c->asked, c->is_end);
		if (ok != (c->reason == NULL) || (!ok && strcmp(a.reason, c->reason) != 0))
			fail_msg("%s: %s", c->name, a.reason ? a.reason : "taken");
		if (ok && (m.body != c->body || m.content_length != c->length))
			fail_msg("%s: body %d of %llu", c->name, (int)m.body,
				(unsigned long long)m.content_length);
	}
}

static void
sections_are_bounded(void **state)
{
	struct field fields[FIELDS_MAX];
	char text[512];
	struct msg m;
	struct h2_answer a;
	int n = 0;

	(void)state;
	msg_init(&m, fields, FIELDS_MAX);
	h2_answer_init(&a, &m, text, sizeof(text), &limits, false);
	assert_true(h2_answer_field(&a, SLICE(":status"), SLICE("200")));
	while (h2_answer_field(&a, SLICE("a"), SLICE("b")))
		n++;
	assert_int_equal(n, limits.fields);
	assert_string_equal(a.reason, "too_many_fields");

	msg_init(&m, fields, FIELDS_MAX);
	h2_answer_init(&a, &m, text, sizeof(text), &limits, false);
	for (n = 0; h2_answer_field(
		     &a, SLICE("x-long-name-here"), SLICE("a value that has some length as well"));
		n++)
		;
	assert_string_equal(a.reason, "head_too_long");
	assert_true(a.used <= sizeof(text));
	assert_int_equal(n, 512 / (16 + 36 + 4));
}

static void
trailers_decide_nothing(void **state)
{
	struct field fields[FIELDS_MAX];
	char text[512];
	struct msg m;
	struct h2_answer a;

	(void)state;
	msg_init(&m, fields, FIELDS_MAX);
	h2_answer_init(&a, &m, text, sizeof(text), &limits, true);
	assert_true(h2_answer_field(&a, SLICE("grpc-status"), SLICE("0")));
	assert_true(h2_answer_field(&a, SLICE("content-length"), SLICE("5")));
	assert_true(h2_answer_field(&a, SLICE("content_length"), SLICE("5")));
	assert_false(m.fields[0].flags & MSG_FIELD_DROP);
	assert_true(m.fields[1].flags & MSG_FIELD_DROP);
	assert_true(m.fields[2].flags & MSG_FIELD_DROP);
	assert_false(h2_answer_field(&a, SLICE(":status"), SLICE("200")));
	assert_string_equal(a.reason, "bad_pseudo_header");
}

static void
a_websocket_is_a_101(void **state)
{
	struct field fields[FIELDS_MAX];
	struct field asked_fields[] = { { SLICE("Sec-WebSocket-Key"),
		SLICE("dGhlIHNhbXBsZSBub25jZQ=="), FIELD_OTHER, 0 } };
	char text[512];
	char accept[WSKEY_ACCEPT];
	struct msg m;
	struct msg asked;
	struct h2_answer a;

	(void)state;
	msg_init(&asked, asked_fields, 1);
	asked.field_count = 1;
	msg_init(&m, fields, FIELDS_MAX);
	h2_answer_init(&a, &m, text, sizeof(text), &limits, false);
	assert_true(h2_answer_field(&a, SLICE(":status"), SLICE("200")));
	assert_true(h2_answer_end(&a, METHOD_GET, false));
	h2_answer_to_101(&m, &asked, accept);
	assert_int_equal(m.status, 101);
	/* The example of RFC 6455 §1.3. */
	assert_true(slice_eq(msg_find(&m, SLICE("sec-websocket-accept"))->value,
		SLICE("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
	assert_non_null(msg_field(&m, FIELD_UPGRADE));
}

static const char *
value_of(const nghttp2_nv *nv, size_t n, const char *name)
{
	static char text[256];

	for (size_t i = 0; i < n; i++) {
		if (strlen(name) != nv[i].namelen || memcmp(nv[i].name, name, nv[i].namelen) != 0)
			continue;
		snprintf(
			text, sizeof(text), "%.*s", (int)nv[i].valuelen, (const char *)nv[i].value);
		return text;
	}
	return NULL;
}

static void
requests_lose_what_speaks_of_connections(void **state)
{
	static const char raw[] =
		"POST /a/b?c HTTP/1.1\r\nHost: x:1\r\nConnection: x-hop\r\nX-Hop: 1\r\n"
		"Keep-Alive: 5\r\nContent-Length: 3\r\nAuthorization: s\r\n\r\n";
	static nghttp2_nv nvs[EXCHANGE_H2_NVS];
	struct field fields[FIELDS_MAX];
	struct http1_scan scan = { 0 };
	struct http1_error err;
	struct exchange x = { .path = SLICE("/a/b"), .authority = SLICE("x:1") };
	struct msg m;
	char text[256];
	size_t n;

	(void)state;
	msg_init(&m, fields, FIELDS_MAX);
	assert_int_equal(http1_request(&scan, raw, sizeof(raw) - 1, &limits, &m, &err), HTTP1_DONE);
	x.m = &m;
	n = exchange_h2_request(&x, SLICE("http"), false, text, nvs);
	assert_string_equal(value_of(nvs, n, ":method"), "POST");
	assert_string_equal(value_of(nvs, n, ":path"), "/a/b?c");
	assert_string_equal(value_of(nvs, n, ":authority"), "x:1");
	assert_string_equal(value_of(nvs, n, ":scheme"), "http");
	assert_string_equal(value_of(nvs, n, "content-length"), "3");
	assert_int_equal(n, 6);
	assert_int_equal(nvs[4].flags, NGHTTP2_NV_FLAG_NO_INDEX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_judged),
		cmocka_unit_test(sections_are_bounded),
		cmocka_unit_test(trailers_decide_nothing),
		cmocka_unit_test(a_websocket_is_a_101),
		cmocka_unit_test(requests_lose_what_speaks_of_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
