/*
 * Access log lines, byte by byte; and that nothing a client sends can forge one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "libcommon/mem.h"
#include "routerd/accesslog.h"
#include "routerd/config.h"

/* A slice of a literal, as a constant. */
#define S(lit)                       \
	{                            \
		lit, sizeof(lit) - 1 \
	}

static const struct access_entry usual = {
	.wall_s = 1700000000,
	.client = S("192.0.2.7"),
	.peer = S("10.0.0.1"),
	.method = S("GET"),
	.target = S("/a?b=c"),
	.host = S("h.example"),
	.referer = S("https://r.example/"),
	.user_agent = S("curl/7.88.1"),
	.request_id = S("7f3a"),
	.version_major = 1,
	.version_minor = 1,
	.status = 200,
	.body_bytes = 1234,
	.request_bytes = 5,
	.listener = "http",
	.route = "h.example/",
	.pool = "app",
	.server = "app1",
	.termination = "--",
	.tries = 1,
	.t = { .head_us = 100,
		.picked_us = 1200,
		.connected_us = 12345,
		.sent_us = 12346,
		.response_us = 1000000,
		.end_us = 4294967295 },
};

static const struct access_entry refused = {
	.wall_s = 1700000000,
	.client = S("2001:db8::7"),
	.peer = S("2001:db8::7"),
	.version_major = 1,
	.version_minor = 0,
	.status = 400,
	.listener = "http",
	.termination = "PR",
	.reason = "bad_method",
	.is_tls = true,
};

static const struct access_entry evil = {
	.wall_s = 1700000000,
	.client = S("192.0.2.7"),
	.method = S("GET"),
	.target = S("/\"\\\x7f\xff~"),
	.referer = S("\" 200 1 \"-\" \"x\"\n10.0.0.1 - - [forged]"),
	.user_agent = S(""),
	.version_major = 2,
	.status = 404,
};

struct line {
	const char *name;
	const struct access_entry *entry;
	const char *combined;
	const char *json;
};

#define TIME "[14/Nov/2023:22:13:20 +0000]"
#define UTC  "{\"time\":\"2023-11-14T22:13:20Z\","

static const struct line lines[] = {
	{ "usual", &usual,
		"192.0.2.7 - - " TIME " \"GET /a?b=c HTTP/1.1\" 200 1234 \"https://r.example/\" "
		"\"curl/7.88.1\"\n",
		UTC
		"\"client\":\"192.0.2.7\",\"peer\":\"10.0.0.1\",\"method\":\"GET\","
		"\"target\":\"/a?b=c\",\"host\":\"h.example\",\"version\":\"1.1\",\"tls\":false,\"client_cert\":null,"
		"\"status\":200,\"bytes\":1234,\"request_bytes\":5,\"ms\":{\"head\":0.100,"
		"\"picked\":1.200,\"connected\":12.345,\"sent\":12.346,\"response\":1000.000,"
		"\"end\":4294967.295},\"listener\":\"http\",\"route\":\"h.example/\","
		"\"pool\":\"app\",\"server\":\"app1\",\"tries\":1,\"reused\":false,"
		"\"termination\":\"--\",\"reason\":null,\"request_id\":\"7f3a\","
		"\"referer\":\"https://r.example/\",\"user_agent\":\"curl/7.88.1\"}\n" },
	{ "refused", &refused, "2001:db8::7 - - " TIME " \"-\" 400 0 \"-\" \"-\"\n",
		UTC
		"\"client\":\"2001:db8::7\",\"peer\":\"2001:db8::7\",\"method\":null,"
		"\"target\":null,\"host\":null,\"version\":\"1.0\",\"tls\":true,\"client_cert\":null,\"status\":400,"
		"\"bytes\":0,\"request_bytes\":0,\"ms\":{\"head\":null,\"picked\":null,"
		"\"connected\":null,\"sent\":null,\"response\":null,\"end\":null},"
		"\"listener\":\"http\",\"route\":null,\"pool\":null,\"server\":null,"
		"\"tries\":0,\"reused\":false,\"termination\":\"PR\",\"reason\":\"bad_method\","
		"\"request_id\":null,\"referer\":null,\"user_agent\":null}\n" },
	{ "evil", &evil,
		"192.0.2.7 - - " TIME
		" \"GET /\\x22\\x5C\\x7F\\xFF~ HTTP/2.0\" 404 0 \"\\x22 200 1 "
		"\\x22-\\x22 \\x22x\\x22\\x0A10.0.0.1 - - [forged]\" \"\"\n",
		NULL },
};

/* Into memory of exactly the line's size; one byte less must give 0. */
static char *
line_of(int format, const struct access_entry *e)
{
	char *big = xmalloc(ACCESSLOG_LINE_MAX);
	size_t n = accesslog_format(big, ACCESSLOG_LINE_MAX, format, e);
	char *exact = xmalloc(n + 1);

	assert_true(n > 0);
	assert_int_equal(accesslog_format(exact, n, format, e), n);
	assert_memory_equal(exact, big, n);
	assert_int_equal(accesslog_format(big, n - 1, format, e), 0);
	exact[n] = '\0';
	free(big);
	return exact;
}

static void
test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		char *combined = line_of(ACCESSLOG_COMBINED, lines[i].entry);
		char *json = line_of(ACCESSLOG_JSON, lines[i].entry);

		if (strcmp(combined, lines[i].combined) != 0)
			fail_msg("%s\nexpected: %sfound:    %s", lines[i].name, lines[i].combined,
				combined);
		if (lines[i].json && strcmp(json, lines[i].json) != 0)
			fail_msg(
				"%s\nexpected: %sfound:    %s", lines[i].name, lines[i].json, json);
		free(combined);
		free(json);
	}
}

static void
test_short_buffers(void **state)
{
	(void)state;
	for (size_t cap = 0; cap < 200; cap++) {
		char *out = xmalloc(cap + !cap);
		size_t n = accesslog_format(out, cap, ACCESSLOG_JSON, &usual);

		assert_int_equal(n, 0);
		free(out);
	}
}

/* Time moves: the text that is kept for a second is not kept longer. */
static void
test_time(void **state)
{
	struct access_entry e = usual;
	char *a = line_of(ACCESSLOG_COMBINED, &e);
	char *b;

	(void)state;
	e.wall_s++;
	b = line_of(ACCESSLOG_COMBINED, &e);
	assert_non_null(strstr(a, "22:13:20"));
	assert_non_null(strstr(b, "22:13:21"));
	free(a);
	free(b);
}

/* Every byte, in every place that a client fills: one line, five quotes' worth of fields, and JSON
 * that parses. */
static void
check_forged(const struct access_entry *e)
{
	char *combined = line_of(ACCESSLOG_COMBINED, e);
	char *json = line_of(ACCESSLOG_JSON, e);
	unsigned quotes = 0;
	json_error_t err;
	json_t *o = json_loads(json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);

	assert_ptr_equal(strchr(combined, '\n'), combined + strlen(combined) - 1);
	assert_ptr_equal(strchr(json, '\n'), json + strlen(json) - 1);
	for (const char *p = combined; *p; p++) {
		quotes += *p == '"';
		assert_true(*p == '\n' || (*p >= ' ' && *p <= '~'));
	}
	assert_int_equal(quotes, 6);
	if (!o)
		fail_msg("%s: %s", err.text, json);
	assert_int_equal(json_integer_value(json_object_get(o, "status")), 200);
	json_decref(o);
	free(combined);
	free(json);
}

static void
test_forged(void **state)
{
	(void)state;
	for (int a = 0; a < 256; a++) {
		for (int b = 0; b < 256; b += b < 128 ? 17 : 5) {
			char text[4] = { 'x', (char)a, (char)b, (char)(a ^ b) };
			struct slice s = slice_make(text, 4);
			struct access_entry e = usual;

			e.client = e.target = e.method = e.host = e.referer = e.user_agent = s;
			check_forged(&e);
		}
	}
}

/* UTF-8 stays readable in JSON; what is none is replaced. */
static void
test_utf8(void **state)
{
	static const char *const cases[][2] = {
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "\xe2\x82\xac", "\xe2\x82\xac" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "\xc2\x9b\xc2\xa0", "\xc2\x9b\xc2\xa0" },
		{ "\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xf5x", "\xef\xbf\xbdx" },
		{ "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct access_entry e = usual;
		size_t n = strlen(cases[i][0]);
		char *copy = xmalloc(n);

		memcpy(copy, cases[i][0], n);
		e.user_agent = slice_make(copy, n);

		char *json = line_of(ACCESSLOG_JSON, &e);
		json_t *o = json_loads(json, 0, NULL);

		assert_non_null(o);
		assert_null(strstr(json, "\xc2\x9b")); /* what a terminal takes for a command */
		assert_string_equal(
			json_string_value(json_object_get(o, "user_agent")), cases[i][1]);
		json_decref(o);
		free(json);
		free(copy);
	}
}

/* The longest and worst of everything is cut, says so, and fits. */
static void
test_cut(void **state)
{
	size_t n = 70000;
	char *text = xmalloc(n + 1);
	struct access_entry e = usual;

	(void)state;
	memset(text, 1, n);
	text[n] = '\0';
	e.client = e.peer = e.target = e.method = e.host = e.referer = e.user_agent = e.request_id =
		slice_make(text, n);
	e.listener = e.route = e.pool = e.server = e.termination = e.reason = text;
	for (int format = ACCESSLOG_COMBINED; format <= ACCESSLOG_JSON; format++) {
		char *line = line_of(format, &e);

		assert_true(strlen(line) < ACCESSLOG_LINE_MAX);
		assert_non_null(strstr(line, "...\""));
		free(line);
	}
	free(text);
}

/* Prints only. */
static void
test_speed(void **state)
{
	struct timespec t0, t1;
	unsigned n = 500000;
	char out[1024];

	(void)state;
	for (int format = ACCESSLOG_COMBINED; format <= ACCESSLOG_JSON; format++) {
		size_t sum = 0;

		clock_gettime(CLOCK_MONOTONIC, &t0);
		for (unsigned i = 0; i < n; i++) {
			sum += accesslog_format(out, sizeof(out), format, &usual);
			__asm__ volatile("" ::: "memory");
		}
		clock_gettime(CLOCK_MONOTONIC, &t1);
		assert_int_equal(sum % n, 0);
		print_message("%.0f ns a line\n",
			((double)(t1.tv_sec - t0.tv_sec) * 1e9 +
				(double)(t1.tv_nsec - t0.tv_nsec)) /
				n);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_short_buffers),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_speed),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
