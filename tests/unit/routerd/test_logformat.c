/*
 * Access log lines in the operator's words, byte by byte; that no value leaves its place, whatever
 * it is; and that no line is ever too long.
 */
#include "tests/unit/routerd/http_fixture.h"

#include <jansson.h>
#include <time.h>

#include "libcommon/mem.h"
#include "routerd/conn.h"
#include "routerd/logformat.h"

static char scratch[LOGFORMAT_SCRATCH];

static int64_t
that_day(void)
{
	return 1700000000123;
}

/* A request that is over, and a format for its line. */
struct rig {
	struct snapshot *snapshot;
	const struct logformat *format;
	struct field fields[8];
	struct field answer_fields[8];
	struct msg req;
	struct msg resp;
	struct proxy_cert cert;
	struct forward_info from;
	struct access_entry entry;
	struct var_source source;
};

static struct slice
s(const char *text)
{
	return slice_str(text);
}

static void
add_field(struct msg *m, const char *name, const char *value)
{
	m->fields[m->field_count++] = (struct field){
		.id = (uint16_t)field_id_of(s(name)), .name = s(name), .value = s(value)
	};
}

static void
fill_entry(struct rig *g)
{
	g->entry = (struct access_entry){
		.wall_s = 1700000000,
		.wall_start_s = 1699999999,
		.client = s("192.0.2.7"),
		.peer = s("10.0.0.1"),
		.method = s("GET"),
		.target = s("/a?b=c"),
		.host = s("h.example"),
		.version_major = 1,
		.version_minor = 1,
		.status = 200,
		.body_bytes = 1234,
		.request_bytes = 5,
		.listener = "a",
		.route = "h.example/",
		.pool = "app",
		.server = "app1",
		.termination = "--",
		.tries = 1,
		.is_tls = true,
		.cert = &g->cert,
		.t = { .head_us = 100,
			.picked_us = 1200,
			.connected_us = 2200,
			.sent_us = 12346,
			.response_us = 1001200,
			.end_us = 4294967295 },
	};
}

static void
rig_init(struct rig *g, const char *access_log)
{
	char *text = xasprintf("http:\n  listen: [{name: a, address: ':1'}]\n"
			       "  hosts: [{names: x, routes: [{path: /, respond: {body: x}}]}]\n"
			       "  access_log: %s\n",
		access_log);

	memset(g, 0, sizeof(*g));
	g->snapshot = fixture_snapshot(text);
	free(text);
	g->format = g->snapshot->log_format;
	msg_init(&g->req, g->fields, 8);
	msg_init(&g->resp, g->answer_fields, 8);
	g->req.method_name = s("GET");
	g->req.target = s("/a?b=c");
	g->req.path = s("/a");
	g->req.query = s("b=c");
	g->req.version_major = g->req.version_minor = 1;
	add_field(&g->req, "Host", "h.example");
	add_field(&g->req, "User-Agent", "curl/7.88.1");
	add_field(&g->req, "X-Empty", "");
	add_field(&g->resp, "X-Cache", "HIT");
	g->cert = (struct proxy_cert){ .subject = s("CN=joe,O=\"x\""), .cn = s("joe") };
	g->from = (struct forward_info){ .http = g->snapshot->http,
		.peer = s("10.0.0.1"),
		.scheme = s("https"),
		.authority = s("h.example"),
		.cert = &g->cert };
	fill_entry(g);
	g->source = (struct var_source){ .req = &g->req,
		.req_fields = g->req.field_count,
		.resp = &g->resp,
		.resp_fields = g->resp.field_count,
		.from = &g->from,
		.client = g->entry.client,
		.request_id = s("7f3a"),
		.listener = "a",
		.pool = "app",
		.server = "app1",
		.status = 200,
		.tries = 1,
		.response_us = g->entry.t.response_us,
		.wall_ms = that_day,
		.log = &g->entry,
		.connection_requests = 3,
		.worker = 1,
		.generation = 7 };
}

static void
rig_fini(struct rig *g)
{
	snapshot_unref(g->snapshot);
}

/* Into memory of exactly its size and what it may need at most, and no byte beyond. */
static char *
line_of(const struct rig *g)
{
	char *out = xmalloc(ACCESSLOG_LINE_MAX);
	size_t n =
		logformat_line(g->format, out, ACCESSLOG_LINE_MAX, &g->entry, &g->source, scratch);

	assert_true(n > 0 && n <= ACCESSLOG_LINE_MAX);
	assert_ptr_equal(memchr(out, '\n', n), out + n - 1);
	out = xrealloc(out, n + 1);
	out[n] = '\0';
	return out;
}

static void
expect(const char *access_log, const char *want)
{
	struct rig g;
	char *line;

	rig_init(&g, access_log);
	line = line_of(&g);
	if (strcmp(line, want) != 0)
		fail_msg("%s\nexpected: %sfound:    %s", access_log, want, line);
	free(line);
	rig_fini(&g);
}

#define TEXT(format) "{format: '" format "'}"

static void
test_text(void **state)
{
	(void)state;
	expect(TEXT("${client} - - [${time_local}] \"${request}\" ${status} ${body_bytes_sent} "
		    "\"${http_referer}\" \"${http_user_agent}\""),
		"192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] \"GET /a?b=c HTTP/1.1\" 200 1234 \"-\" "
		"\"curl/7.88.1\"\n");
	expect(TEXT("${client}"), "192.0.2.7\n");
	expect(TEXT("$${client} ${http_x_empty}|${http_x_none}|"), "${client} |-|\n");
	expect(TEXT("${time_iso8601} ${start_local} ${start_iso8601} ${msec}"),
		"2023-11-14T22:13:20Z 14/Nov/2023:22:13:19 +0000 2023-11-14T22:13:19Z "
		"1700000000.123\n");
	expect(TEXT("${request_time} ${upstream_connect_time} ${upstream_header_time}"),
		"4294.967 0.001 1.000\n");
	expect(TEXT("${head_ms} ${picked_ms} ${connected_ms} ${sent_ms} ${response_ms} ${end_ms}"),
		"0.100 1.200 2.200 12.346 1001.200 4294967.295\n");
	expect(TEXT("${protocol} ${version} ${tls} ${reused} ${termination} ${reason} ${query}"),
		"HTTP/1.1 1.1 true false -- - b=c\n");
	expect(TEXT("${body_bytes_received} ${connection_requests} ${worker} ${generation} "
		    "${pool}/${server} ${tries} ${port} ${tls_resumed} ${upstream_http_x_cache}"),
		"5 3 1 7 app/app1 1 443 - HIT\n");
	/* Not verified: what it says is told under a name that says so. */
	expect(TEXT("${client_cert_subject} ${client_cert_shown_subject} "
		    "${client_cert_shown_serial}"),
		"- CN=joe,O=\\x22x\\x22 -\n");
}

/* What was not reached is not there, and nothing of a head that was refused is. */
static void
test_nothing(void **state)
{
	struct rig g;
	char *line;

	(void)state;
	rig_init(&g,
		TEXT("${request}|${method}|${head_ms}|${picked_ms}|${upstream_connect_time}|"
		     "${upstream_header_time}|${response_ms}|${pool}|${http_host}|${status}|"
		     "${version}|${protocol}|${scheme}|${authority}|${host}|${port}|"
		     "${connection_requests}"));
	g.req.method_name = g.req.target = slice_make(NULL, 0);
	g.req.version_major = g.req.version_minor = 0;
	g.from.scheme = g.from.authority = slice_make(NULL, 0);
	g.source.connection_requests = 0;
	g.entry.t = (struct access_times){ .end_us = 1 };
	g.source.response_us = 0;
	g.source.pool = NULL;
	g.source.req_fields = 0;
	line = line_of(&g);
	assert_string_equal(line, "-|-|-|-|-|-|-|-|-|200|-|-|-|-|-|-|-\n");
	free(line);
	rig_fini(&g);
	/* Nor has a server answered when we have, however far we came. */
	rig_init(&g, TEXT("${upstream_connect_time} ${upstream_header_time} ${response_ms}"));
	g.source.is_own_answer = true;
	line = line_of(&g);
	assert_string_equal(line, "0.001 - 1001.200\n");
	free(line);
	rig_fini(&g);
}

static void
test_fields(void **state)
{
	(void)state;
	expect("{format: fields, fields: {user: '${client_cert_cn}', ua: '${http_user_agent}', "
	       "bytes: '${body_bytes_sent}', ms: '${end_ms}', tls: '${tls}', env: \"a\\\"b\", "
	       "none: '${http_x_none} ${http_x_nor}', some: '${http_x_none}${method} x', "
	       "empty: '${http_x_empty}', e2: '', \"a\\\"\\u00e9\": '${status}', up: '1'}}",
		"{\"user\":null,\"ua\":\"curl/7.88.1\",\"bytes\":1234,\"ms\":4294967.295,"
		"\"tls\":true,\"env\":\"a\\\"b\",\"none\":null,\"some\":\"GET x\",\"empty\":\"\","
		"\"e2\":\"\",\"a\\\"\xc3\xa9\":200,\"up\":\"1\"}\n");
}

/* Behind json's own, which stay as they are. */
static void
test_json_and_fields(void **state)
{
	struct rig plain, own;
	char *a;
	char *b;
	json_t *o;
	size_t count = 0;

	(void)state;
	rig_init(&plain, "{format: json}");
	rig_init(&own, "{format: json, fields: {cache: '${upstream_http_x_cache}'}}");
	a = line_of(&plain);
	b = line_of(&own);
	assert_memory_equal(a, b, strlen(a) - 2);
	assert_string_equal(b + strlen(a) - 2, ",\"cache\":\"HIT\"}\n");
	o = json_loads(a, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	/* Those that no field may have are just those that are there. */
	for (const char *const *key = accesslog_json_keys; *key != NULL; key++, count++)
		assert_non_null(json_object_get(o, *key));
	assert_int_equal(count, json_object_size(o));
	json_decref(o);
	free(a);
	free(b);
	rig_fini(&plain);
	rig_fini(&own);
}

static void
test_answer_fields(void **state)
{
	struct rig g;
	struct field kept[8];
	struct arena a;

	(void)state;
	rig_init(&g, TEXT("${upstream_http_x_cache} ${http_x_a} ${upstream_http_server}"));
	arena_init(&a, 0);
	add_field(&g.resp, "Server", "s");
	add_field(&g.resp, "X-Other", "o");
	add_field(&g.resp, "x-cache", "2");
	assert_int_equal(g.format->answer_field_count, 2);
	assert_int_equal(var_keep_fields(g.format->answer_fields, 2, g.resp.fields,
				 g.resp.field_count, kept, &a),
		3);
	assert_string_equal(kept[0].value.p, "HIT");
	assert_ptr_not_equal(kept[0].value.p, g.resp.fields[0].value.p);
	assert_string_equal(kept[2].name.p, "x-cache");
	arena_fini(&a);
	rig_fini(&g);
}

/* --- nothing leaves its place --- */

/* Reads a value as anybody would: up to what stands behind it. */
static const char *
skip_value(const char *p, const char *behind, const char *line)
{
	const char *end = strchr(p, behind[0]);

	if (end == NULL || strncmp(end, behind, strlen(behind)) != 0)
		fail_msg("no '%s' behind a value: %s", behind, line);
	return end + strlen(behind);
}

static void
check_text(struct rig *g)
{
	static const char *const behind[] = { " A=\"", "\" [", "] (", ") ", ",", ";", "|'", "' ",
		"\n" };
	char *line = line_of(g);
	const char *p = line;

	for (const char *c = line; c[1] != '\0'; c++)
		assert_true(*c >= ' ' && *c <= '~');
	for (size_t i = 0; i < sizeof(behind) / sizeof(*behind); i++)
		p = skip_value(p, behind[i], line);
	assert_string_equal(p, "");
	free(line);
}

static void
check_json(struct rig *g)
{
	char *line = line_of(g);
	json_error_t err;
	json_t *o = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);

	if (o == NULL)
		fail_msg("%s: %s", err.text, line);
	assert_int_equal(json_object_size(o), 4);
	assert_int_equal(json_integer_value(json_object_get(o, "status")), 200);
	assert_true(json_is_string(json_object_get(o, "a")));
	assert_true(json_is_string(json_object_get(o, "b")));
	json_decref(o);
	free(line);
}

static void
test_forged(void **state)
{
	struct rig text, json;

	(void)state;
	rig_init(&text,
		"{format: \"${http_x} A=\\\"${http_x} ${http_x}\\\" [${http_x}] (${http_x}) "
		"${http_x},${http_x};${http_x}|'${http_x}' ${http_x}\"}");
	rig_init(&json,
		"{format: fields, fields: {a: '${http_x}', status: '${status}', "
		"b: 'x ${http_x} ${target}', c: '${http_x_none}'}}");
	for (int a = 0; a < 256; a++) {
		for (int b = 0; b < 256; b += b < 128 ? 1 : 5) {
			char value[4] = { 'x', (char)a, (char)b, (char)(a ^ b) };
			struct field f = { .id = FIELD_OTHER,
				.name = s("X"),
				.value = slice_make(value, sizeof(value)) };

			text.fields[0] = json.fields[0] = f;
			json.req.target = f.value;
			check_text(&text);
			check_json(&json);
		}
	}
	rig_fini(&text);
	rig_fini(&json);
}

/* --- nor is any too long --- */

/* Many of the same value: fields f0, f1 ..., or one text. */
static char *
many(const char *begin, const char *value, unsigned count, bool are_fields, const char *end)
{
	struct sbuf text = { 0 };

	sbuf_adds(&text, begin);
	for (unsigned i = 0; i < count; i++) {
		if (are_fields)
			sbuf_addf(&text, "f%u: '%s', ", i, value);
		else
			sbuf_addf(&text, "%s ", value);
	}
	sbuf_adds(&text, end);
	return text.p;
}

/* The worst value in every place that there can be: the line is there, whole, and has its end. */
static void
check_long(const char *access_log, const char *value, const char *end)
{
	struct rig g;
	char *line;

	rig_init(&g, access_log);
	add_field(&g.req, "X", value);
	g.source.req_fields = g.req.field_count;
	g.req.target = g.entry.target = g.entry.referer = g.entry.user_agent = s(value);
	g.entry.host = g.entry.client = g.entry.peer = g.entry.method = s(value);
	g.cert = (struct proxy_cert){ s(value), s(value), s(value), s(value), s(value), s(value),
		s(value), s(value), s(value), s(value) };
	line = line_of(&g);
	assert_string_equal(line + strlen(line) - strlen(end), end);
	assert_non_null(strstr(line, "..."));
	if (line[0] == '{') {
		json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);

		assert_non_null(o);
		assert_int_equal(json_integer_value(json_object_get(o, "last")), 200);
		json_decref(o);
	}
	free(line);
	rig_fini(&g);
}

static void
test_long(void **state)
{
	static const char bytes[] = { '\t', '"', '\xff', 'x', ' ', 1 };
	char *formats[] = {
		many("{format: '", "${http_x}", 62, false, "${status}'}"),
		many("{format: fields, fields: {", "${http_x}${http_x}", 63, true,
			"last: '${status}'}}"),
		many("{format: json, fields: {", "${http_x}${target}", 63, true,
			"last: '${status}'}}"),
	};
	static const char *const ends[] = { " 200\n", ",\"last\":200}\n", ",\"last\":200}\n" };
	size_t n = 70000;
	char *value = xcalloc(1, n + 1);

	(void)state;
	for (size_t b = 0; b < sizeof(bytes); b++) {
		memset(value, bytes[b], n);
		for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
			check_long(formats[i], value, ends[i]);
	}
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		free(formats[i]);
	free(value);
}

static void
test_short_buffers(void **state)
{
	static const char *const formats[] = { TEXT("${http_user_agent} ${target} x"),
		"{format: json, fields: {a: '${http_user_agent}'}}",
		"{format: fields, fields: {a: '${http_user_agent}'}}" };

	(void)state;
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		struct rig g;

		rig_init(&g, formats[i]);
		for (size_t cap = 0; cap < 1500; cap++) {
			char *out = xmalloc(cap + !cap);
			size_t n = logformat_line(g.format, out, cap, &g.entry, &g.source, scratch);

			assert_true(n == 0 || (n <= cap && out[n - 1] == '\n'));
			free(out);
		}
		rig_fini(&g);
	}
}

/* Prints only. */
static void
test_speed(void **state)
{
	static const char *const formats[] = {
		TEXT("${client} - - [${time_local}] \"${request}\" ${status} ${body_bytes_sent} "
		     "\"${http_referer}\" \"${http_user_agent}\""),
		"{format: fields, fields: {client: '${client}', request: '${request}', "
		"status: '${status}', bytes: '${body_bytes_sent}', ua: '${http_user_agent}'}}",
	};
	unsigned n = 200000;
	char out[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		struct timespec t0, t1;
		struct rig g;

		rig_init(&g, formats[i]);
		clock_gettime(CLOCK_MONOTONIC, &t0);
		for (unsigned k = 0; k < n; k++)
			assert_true(logformat_line(g.format, out, sizeof(out), &g.entry, &g.source,
					    scratch) > 0);
		clock_gettime(CLOCK_MONOTONIC, &t1);
		print_message("%.0f ns a line\n",
			((double)(t1.tv_sec - t0.tv_sec) * 1e9 +
				(double)(t1.tv_nsec - t0.tv_nsec)) /
				n);
		rig_fini(&g);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_json_and_fields),
		cmocka_unit_test(test_answer_fields),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_short_buffers),
		cmocka_unit_test(test_speed),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
