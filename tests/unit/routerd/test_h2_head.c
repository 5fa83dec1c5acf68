/*
 * h2_head: fields to a message, and everything that must not become one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/sbuf.h"
#include "routerd/h2_head.h"
#include "routerd/h2_mem.h"
#include "routerd/wskey.h"

static const struct http1_limits limits = { .head_bytes = 2048, .target_bytes = 200, .fields = 12 };

struct parsed {
	struct arena arena;
	struct field fields[32];
	struct msg m;
	struct h2_head h;
	bool is_good;
};

/* "name: value" lines, each ended by a newline; a pseudo-header begins with its colon. Names and
 * values are exact-size copies, so that the sanitizer sees a byte too far. */
static void
parse(struct parsed *p, const char *lines, bool is_end)
{
	arena_init(&p->arena, 0);
	msg_init(&p->m, p->fields, 32);
	h2_head_init(&p->h, &p->m, &p->arena, &limits);
	while (*lines != '\0') {
		const char *end = strchr(lines, '\n');
		const char *colon = strchr(lines + 1, ':');
		size_t name_n = (size_t)(colon - lines);
		size_t value_n = (size_t)(end - colon - 2);
		char *name = malloc(name_n + 1);
		char *value = malloc(value_n + 1);

		name = memcpy(realloc(name, name_n ? name_n : 1), lines, name_n);
		value = memcpy(realloc(value, value_n ? value_n : 1), colon + 2, value_n);
		h2_head_field(&p->h, slice_make(name, name_n), slice_make(value, value_n));
		free(name);
		free(value);
		lines = end + 1;
	}
	p->is_good = h2_head_end(&p->h, is_end);
}

#define GET ":method: GET\n:scheme: https\n:path: /a?b=c\n:authority: h.test\n"

static void
a_request_is_what_http1_would_have_made_of_it(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, GET "user-agent: me\nx-one: 1\nte: trailers\n", true);
	assert_true(p.is_good);
	assert_int_equal(p.m.method, METHOD_GET);
	assert_true(slice_eq(p.m.path, SLICE("/a")));
	assert_true(slice_eq(p.m.query, SLICE("b=c")));
	assert_true(slice_eq(p.m.target, SLICE("/a?b=c")));
	assert_true(slice_eq(p.m.authority, SLICE("h.test")));
	assert_int_equal(p.m.version_major, 2);
	assert_int_equal(p.m.body, BODY_NONE);
	assert_true(p.m.keep_alive);
	/* Host is made, known names have their usual spelling. */
	assert_true(slice_eq(msg_field(&p.m, FIELD_HOST)->value, SLICE("h.test")));
	assert_true(slice_eq(p.m.fields[1].name, SLICE("User-Agent")));
	assert_true(slice_eq(p.m.fields[2].name, SLICE("x-one")));
	assert_true(p.m.fields[3].flags & MSG_FIELD_DROP);
	arena_fini(&p.arena);
}

static void
crumbs_of_cookies_are_one_field(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p,
		GET "cookie: a=1\naccept: x\ncookie: b=2\ncookie: \nuser-agent: me\ncookie: c=3\n",
		true);
	assert_true(p.is_good);
	assert_true(slice_eq(msg_field(&p.m, FIELD_COOKIE)->value, SLICE("a=1; b=2; c=3")));
	assert_int_equal(p.m.field_count, 4);
	assert_true(slice_eq(msg_field(&p.m, FIELD_ACCEPT)->value, SLICE("x")));
	assert_true(slice_eq(msg_field(&p.m, FIELD_USER_AGENT)->value, SLICE("me")));
	assert_true(slice_eq(msg_field(&p.m, FIELD_HOST)->value, SLICE("h.test")));
	arena_fini(&p.arena);
}

static void
bodies_have_the_length_that_is_said(void **state)
{
	static const struct {
		const char *lines;
		bool is_end;
		enum body_kind body;
		const char *reason;
	} cases[] = {
		{ GET, true, BODY_NONE, NULL },
		{ GET, false, BODY_CHUNKED, NULL },
		{ GET "content-length: 5\n", false, BODY_LENGTH, NULL },
		{ GET "content-length: 0\n", true, BODY_LENGTH, NULL },
		{ GET "content-length: 5\n", true, BODY_LENGTH, "content_length_mismatch" },
		{ GET "content-length: 05\n", false, BODY_LENGTH, "bad_content_length" },
		{ GET "content-length: -1\n", false, BODY_LENGTH, "bad_content_length" },
		{ GET "content-length: \n", false, BODY_LENGTH, "bad_content_length" },
		{ GET "content-length: 9223372036854775808\n", false, BODY_LENGTH,
			"bad_content_length" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct parsed p;

		parse(&p, cases[i].lines, cases[i].is_end);
		assert_int_equal(p.m.body, cases[i].body);
		if (cases[i].reason == NULL)
			assert_true(p.is_good);
		else
			assert_string_equal(p.h.reason, cases[i].reason);
		arena_fini(&p.arena);
	}
}

static void
what_is_wrong_is_refused_with_a_word(void **state)
{
	static const struct {
		const char *lines;
		const char *reason;
		uint16_t status;
	} cases[] = {
		{ GET "X-Up: 1\n", "bad_field_name", 400 },
		{ GET "x y: 1\n", "bad_field_name", 400 },
		{ GET "x\r: 1\n", "bad_field_name", 400 },
		{ GET "x: a\rb\n", "bad_field_value", 400 },
		{ GET "x:  a\n", "bad_field_value", 400 },
		{ GET "x: a\t\n", "bad_field_value", 400 },
		{ GET "connection: close\n", "connection_field", 400 },
		{ GET "keep-alive: 1\n", "connection_field", 400 },
		{ GET "proxy-connection: 1\n", "connection_field", 400 },
		{ GET "transfer-encoding: chunked\n", "connection_field", 400 },
		{ GET "upgrade: h2c\n", "connection_field", 400 },
		{ GET "te: gzip\n", "bad_te", 400 },
		{ GET "host: other\n", "host_mismatch", 400 },
		{ GET "host: h.test\nhost: h.test\n", "dup_host", 400 },
		{ GET "content-length: 0\ncontent-length: 0\n", "dup_content_length", 400 },
		{ GET ":path: /b\n", "bad_pseudo_header", 400 },
		{ GET "x: 1\n:status: 200\n", "bad_pseudo_header", 400 },
		{ GET ":protocol: websocket\n", "bad_pseudo_header", 400 },
		{ ":method: GET\n:scheme: https\n:authority: h\n", "missing_pseudo_header", 400 },
		{ ":method: GET\n:path: /\n:authority: h\n", "missing_pseudo_header", 400 },
		{ ":scheme: https\n:path: /\n:authority: h\n", "missing_pseudo_header", 400 },
		{ ":method: GET\n:scheme: https\n:path: /\n", "no_host", 400 },
		{ ":method: GET\n:scheme: https\n:path: /\n:authority: \n", "bad_authority", 400 },
		{ ":method: GET\n:scheme: https\n:path: /\n:authority: a@b\n", "bad_authority",
			400 },
		{ ":method: GET\n:scheme: https\n:path: /\nhost: a b\n", "bad_host", 400 },
		{ ":method: GET\n:scheme: ftp\n:path: /\n:authority: h\n", "bad_scheme", 400 },
		{ ":method: G T\n:scheme: https\n:path: /\n:authority: h\n", "bad_method", 400 },
		{ ":method: \n:scheme: https\n:path: /\n:authority: h\n", "bad_method", 400 },
		{ ":method: GET\n:scheme: https\n:path: \n:authority: h\n", "bad_target", 400 },
		{ ":method: GET\n:scheme: https\n:path: *\n:authority: h\n", "bad_target", 400 },
		{ ":method: GET\n:scheme: https\n:path: /a b\n:authority: h\n", "bad_target", 400 },
		{ ":method: GET\n:scheme: https\n:path: /a \n:authority: h\n", "bad_target", 400 },
		{ ":method: GET\n:scheme: https\n:path: /a#b\n:authority: h\n", "bad_target", 400 },
		{ ":method: GET\n:scheme: https\n:path: /%\n:authority: h\n", "bad_target", 400 },
		{ ":method: GET\n:scheme: https\n:path: /%0\n:authority: h\n", "bad_percent", 400 },
		{ ":method: GET\n:scheme: https\n:path: /%00\n:authority: h\n", "bad_percent",
			400 },
		{ ":method: GET\n:scheme: https\n:path: http://h/\n:authority: h\n", "bad_target",
			400 },
		{ ":method: CONNECT\n:path: /\n:authority: h:1\n", "bad_pseudo_header", 400 },
		{ ":method: CONNECT\n:authority: h\n", "bad_authority", 400 },
		{ ":method: CONNECT\n:protocol: chat\n:scheme: https\n:path: /\n:authority: h\n",
			"unknown_protocol", 501 },
		{ GET "a: 1\nb: 1\nc: 1\nd: 1\ne: 1\nf: 1\ng: 1\nh: 1\ni: 1\nj: 1\nk: 1\nl: 1\nm: "
		      "1\n",
			"too_many_fields", 431 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct parsed p;

		parse(&p, cases[i].lines, true);
		if (p.is_good || p.h.reason == NULL)
			fail_msg("passed: %s", cases[i].lines);
		if (strcmp(p.h.reason, cases[i].reason) != 0)
			fail_msg("%s: %s instead of %s", cases[i].lines, p.h.reason,
				cases[i].reason);
		assert_int_equal(p.h.status, cases[i].status);
		assert_int_equal(p.h.is_malformed, cases[i].status == 400);
		arena_fini(&p.arena);
	}
}

static void
limits_are_kept(void **state)
{
	struct parsed p;
	struct sbuf b = { 0 };

	(void)state;
	sbuf_adds(&b, GET);
	for (int i = 0; i < 3; i++)
		sbuf_addf(&b, "x%d: %0900d\n", i, i);
	parse(&p, sbuf_slice(&b).p, true);
	assert_string_equal(p.h.reason, "head_too_long");
	assert_int_equal(p.h.status, 431);
	assert_false(p.h.is_malformed);
	arena_fini(&p.arena);
	sbuf_fini(&b);
	sbuf_addf(&b, ":method: GET\n:scheme: https\n:path: /%0300d\n:authority: h\n", 1);
	parse(&p, sbuf_slice(&b).p, true);
	assert_string_equal(p.h.reason, "line_too_long");
	assert_int_equal(p.h.status, 414);
	arena_fini(&p.arena);
	sbuf_fini(&b);
}

static void
an_extended_connect_is_an_upgrade(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p,
		":method: CONNECT\n:protocol: websocket\n:scheme: https\n:path: /chat\n"
		":authority: h\n",
		false);
	assert_true(p.is_good);
	assert_true(h2_head_is_connect(&p.h));
	assert_int_equal(p.m.method, METHOD_GET);
	assert_true(p.m.has_upgrade);
	assert_true(slice_eq(p.m.upgrade, SLICE("websocket")));
	assert_int_equal(p.m.body, BODY_NONE);
	assert_true(slice_eq(msg_field(&p.m, FIELD_UPGRADE)->value, SLICE("websocket")));
	arena_fini(&p.arena);
}

static void
trailers_may_not_decide_anything(void **state)
{
	struct h2_trailers t = { .count = 0 };
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	h2_trailers_field(&t, &a, SLICE("x-sum"), SLICE("1"));
	h2_trailers_field(&t, &a, SLICE("content-length"), SLICE("1"));
	h2_trailers_field(&t, &a, SLICE("x-forwarded-for"), SLICE("1"));
	assert_null(t.reason);
	assert_int_equal(t.count, 3);
	assert_false(t.fields[0].flags & MSG_FIELD_DROP);
	assert_true(t.fields[1].flags & MSG_FIELD_DROP);
	assert_true(t.fields[2].flags & MSG_FIELD_DROP);
	h2_trailers_field(&t, &a, SLICE(":path"), SLICE("/"));
	assert_string_equal(t.reason, "bad_pseudo_header");
	t = (struct h2_trailers){ .count = 0 };
	for (int i = 0; i < 33; i++)
		h2_trailers_field(&t, &a, SLICE("a"), SLICE("b"));
	assert_string_equal(t.reason, "too_many_trailers");
	arena_fini(&a);
}

static void
memory_comes_in_classes_and_goes_back(void **state)
{
	struct h2_mem *m = h2_mem_new();
	nghttp2_mem *ops = h2_mem_of(m);

	(void)state;
	for (size_t n = 0; n < 40000; n = n * 2 + 1) {
		char *p = ops->malloc(n, ops->mem_user_data);
		char *q = ops->calloc(n, 1, ops->mem_user_data);

		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 'x', n);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(q[i], 0);
		p = ops->realloc(p, 3 * n + 1, ops->mem_user_data);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 'x');
		ops->free(p, ops->mem_user_data);
		ops->free(q, ops->mem_user_data);
	}
	assert_null(ops->calloc(SIZE_MAX, 2, ops->mem_user_data));
	ops->free(NULL, ops->mem_user_data);
	while (h2_mem_trim(m))
		;
	h2_mem_free(m);
}

/* RFC 6455 §1.3 */
static void
keys_and_answers_belong_together(void **state)
{
	char key[WSKEY_TEXT];

	(void)state;
	assert_true(
		wskey_accepts("dGhlIHNhbXBsZSBub25jZQ==", SLICE("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
	assert_false(
		wskey_accepts("dGhlIHNhbXBsZSBub25jZQ==", SLICE("s3pPLMBiTxaQ9kYGzzhZRbK+xOO=")));
	assert_true(wskey_make(key));
	assert_int_equal(strlen(key), 24);
	assert_false(wskey_accepts(key, SLICE("")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_what_http1_would_have_made_of_it),
		cmocka_unit_test(crumbs_of_cookies_are_one_field),
		cmocka_unit_test(bodies_have_the_length_that_is_said),
		cmocka_unit_test(what_is_wrong_is_refused_with_a_word),
		cmocka_unit_test(limits_are_kept),
		cmocka_unit_test(an_extended_connect_is_an_upgrade),
		cmocka_unit_test(trailers_may_not_decide_anything),
		cmocka_unit_test(memory_comes_in_classes_and_goes_back),
		cmocka_unit_test(keys_and_answers_belong_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
