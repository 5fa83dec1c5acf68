/*
 * Answers of our own, as whole heads and bodies.
 */
#include "tests/unit/routerd/http_fixture.h"

#include <jansson.h>

#include "routerd/respond.h"
#include "routerd/vars.h"

void
pool_unref(struct pool *p)
{
	(void)p;
}

struct bench {
	char *head;
	struct msg m;
	struct field fields[64];
	struct forward_info from;
	struct respond_info info;
	struct answer answer;
	struct arena arena;
};

static void
bench_start(struct bench *b, const char *head, const char *scheme)
{
	static const struct http1_limits limits = { 65536, 8192, 64 };
	struct http1_scan scan = { 0 };
	struct http1_error err = { 0 };
	size_t n = strlen(head);

	memset(b, 0, sizeof(*b));
	arena_init(&b->arena, 0);
	b->head = xmalloc(n);
	memcpy(b->head, head, n);
	msg_init(&b->m, b->fields, 64);
	if (http1_request(&scan, b->head, n, &limits, &b->m, &err) != HTTP1_DONE)
		fail_msg("%s: no head: %s", head, err.reason ? err.reason : "more");
	b->from = (struct forward_info){
		.peer = SLICE("192.0.2.7"),
		.scheme = slice_str(scheme),
		.authority = b->m.authority,
	};
	b->info = (struct respond_info){
		.forward = &b->from,
		.client = SLICE("198.51.100.1"),
		.request_id = SLICE("7f3a"),
		.listener = SLICE("http"),
		.date = SLICE("Mon, 01 Jan 2024 00:00:00 GMT"),
	};
}

static void
bench_end(struct bench *b)
{
	arena_fini(&b->arena);
	free(b->head);
}

static void
answer_text(const struct answer *a, struct sbuf *out)
{
	sbuf_addf(out, "%u %.*s\n", a->head.status, SLICE_ARG(a->head.reason));
	for (unsigned i = 0; i < a->head.field_count; i++) {
		const struct field *f = &a->head.fields[i];

		assert_true(http1_is_token(f->name));
		assert_true(http1_is_value(f->value));
		assert_int_equal(f->id, field_id_of(f->name));
		if (f->id != FIELD_DATE)
			sbuf_addf(out, "%.*s: %.*s\n", SLICE_ARG(f->name), SLICE_ARG(f->value));
	}
	assert_non_null(msg_field(&a->head, FIELD_DATE));
	sbuf_addf(out, "\n%.*s", SLICE_ARG(a->body));
	if (a->head.body == BODY_LENGTH)
		assert_int_equal(a->head.content_length, a->body.n);
	else
		assert_int_equal(a->body.n, 0);
}

static void
check(const struct answer *a, const char *name, const char *want)
{
	struct sbuf out = { 0 };

	answer_text(a, &out);
	if (strcmp(out.p, want) != 0)
		fail_msg("%s\nexpected:\n%s\nfound:\n%s", name, want, out.p);
	sbuf_fini(&out);
}

/* --- redirects ---------------------------------------------------------------------------------
 */

struct redirect {
	const char *request;
	const char *scheme; /* of the connection */
	struct redirectcfg to;
	const char *location; /* NULL: 400 */
};

#define TO(...)                                            \
	{                                                  \
		.is_set = true, .status = 308, __VA_ARGS__ \
	}
#define GET(target, host) "GET " target " HTTP/1.1\r\nHost: " host "\r\n\r\n"

static char https[] = "https", http[] = "http", other[] = "o.example", other81[] = "o.example:81",
	    fixed[] = "/new?x=1";

static const struct redirect redirects[] = {
	{ GET("/a?b=c", "h.example"), "http", TO(.scheme = https), "https://h.example/a?b=c" },
	{ GET("/a%20b/?", "h.example"), "http", TO(.scheme = https), "https://h.example/a%20b/?" },
	{ GET("/", "h.example:8080"), "http", TO(.scheme = https), "https://h.example/" },
	{ GET("/", "h.example:8080"), "http", TO(.scheme = http), "http://h.example:8080/" },
	{ GET("/", "[::1]:80"), "http", TO(.scheme = https), "https://[::1]/" },
	{ GET("/a", "h.example:81"), "https", TO(.host = other), "https://o.example/a" },
	{ GET("/a", "h.example"), "http", TO(.scheme = https, .host = other81),
		"https://o.example:81/a" },
	{ GET("/a?b", "h.example:81"), "http", TO(.path = fixed), "http://h.example:81/new?x=1" },
	{ GET("//evil.example/x", "h.example"), "http", TO(.scheme = https),
		"https://h.example//evil.example/x" },
	{ "GET http://abs.example/x HTTP/1.1\r\nHost: abs.example\r\n\r\n", "http",
		TO(.scheme = https), "https://abs.example/x" },
	{ "OPTIONS * HTTP/1.1\r\nHost: h.example\r\n\r\n", "http", TO(.scheme = https),
		"https://h.example/" },
	/* without a host */
	{ "GET /x HTTP/1.0\r\n\r\n", "http", TO(.scheme = https), NULL },
	{ "GET /x HTTP/1.0\r\n\r\n", "http", TO(.path = fixed), "/new?x=1" },
	{ "GET //evil.example HTTP/1.0\r\n\r\n", "http", TO(.host = other),
		"http://o.example//evil.example" },
};

static void
test_redirects(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(redirects) / sizeof(*redirects); i++) {
		const struct redirect *t = &redirects[i];
		struct routecfg cfg = { .redirect = t->to };
		struct route r = { .action = ACTION_REDIRECT, .cfg = &cfg };
		char want[256];
		struct bench b;

		bench_start(&b, t->request, t->scheme);
		respond_route(&b.answer, &r, &b.m, &b.info, &b.arena);
		if (t->location)
			snprintf(want, sizeof(want),
				"308 Permanent Redirect\nLocation: %s\nContent-Type: text/plain; "
				"charset=utf-8\n\n308 Permanent Redirect\nrequest 7f3a\n",
				t->location);
		else
			snprintf(want, sizeof(want),
				"400 Bad Request\nContent-Type: text/plain; charset=utf-8\n\n"
				"400 Bad Request\nrequest 7f3a\n");
		check(&b.answer, t->request, want);
		bench_end(&b);
	}
}

/* Whatever bytes a message holds, a Location is one line. */
static void
test_redirect_any_byte(void **state)
{
	struct routecfg cfg = { .redirect = TO(.scheme = https) };
	struct route r = { .action = ACTION_REDIRECT, .cfg = &cfg };

	(void)state;
	for (int c = 0; c < 256; c++) {
		char path[3] = { '/', (char)c, 'x' };
		const struct field *location;
		struct bench b;

		bench_start(&b, GET("/", "h.example"), "http");
		b.m.path = slice_make(path, 3);
		b.m.query = b.m.path;
		b.m.has_query = true;
		respond_route(&b.answer, &r, &b.m, &b.info, &b.arena);
		location = msg_field(&b.answer.head, FIELD_LOCATION);
		assert_non_null(location);
		for (size_t i = 0; i < location->value.n; i++)
			assert_true(location->value.p[i] > ' ' && location->value.p[i] < 0x7f);
		bench_end(&b);
	}
}

/* Alone, "//x" would be another host. */
static void
test_redirect_relative(void **state)
{
	struct redirectcfg to = TO();
	struct routecfg cfg = { .redirect = to };
	struct route r = { .action = ACTION_REDIRECT, .cfg = &cfg };
	struct bench b;

	(void)state;
	bench_start(&b, "GET //evil.example HTTP/1.0\r\n\r\n", "http");
	respond_route(&b.answer, &r, &b.m, &b.info, &b.arena);
	assert_true(
		slice_eq(msg_field(&b.answer.head, FIELD_LOCATION)->value, SLICE("/evil.example")));
	bench_end(&b);
}

/* --- fixed answers --- */

static char plain[] = "text/plain; charset=utf-8", html[] = "text/html", hello[] = "hello",
	    empty[] = "";
static char name_a[] = "X-A", value_a[] = " b ", name_b[] = "Server", value_b[] = "weir";
static struct cfg_pair pairs[] = { { name_a, value_a, NULL }, { name_b, value_b, NULL } };

struct fixed {
	struct respondcfg cfg;
	const char *answer;
};

static const struct fixed fixeds[] = {
	{ { true, 200, hello, html, { NULL, 0 }, NULL },
		"200 OK\nContent-Type: text/html\n\nhello" },
	{ { true, 200, NULL, plain, { NULL, 0 }, NULL }, "200 OK\n\n" },
	{ { true, 204, NULL, plain, { NULL, 0 }, NULL }, "204 No Content\n\n" },
	{ { true, 404, NULL, html, { NULL, 0 }, NULL },
		"404 Not Found\nContent-Type: text/plain; charset=utf-8\n\n404 Not Found\nrequest "
		"7f3a\n" },
	{ { true, 404, empty, plain, { NULL, 0 }, NULL }, "404 Not Found\n\n" },
	{ { true, 299, hello, plain, { pairs, 2 }, NULL },
		"299 \nX-A: b\nServer: weir\nContent-Type: text/plain; charset=utf-8\n\nhello" },
};

static void
test_fixed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fixeds) / sizeof(*fixeds); i++) {
		struct routecfg cfg = { .respond = fixeds[i].cfg };
		struct route r = { .action = ACTION_RESPOND, .cfg = &cfg };
		struct bench b;

		bench_start(&b, GET("/", "h"), "http");
		respond_route(&b.answer, &r, &b.m, &b.info, &b.arena);
		check(&b.answer, fixeds[i].answer, fixeds[i].answer);
		bench_end(&b);
	}
}

#define GRPC_CALL                                                                         \
	"POST /t.T/Unary HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc+proto\r\n" \
	"Content-Length: 0\r\n\r\n"

static char name_status[] = "Grpc-Status", value_status[] = "16";
static struct cfg_pair own_status[] = { { name_status, value_status, NULL } };

/* Callers of gRPC hear of refusals in their own words; what is none stays as it is written. */
static const struct fixed grpc_fixeds[] = {
	{ { true, 403, hello, plain, { pairs, 2 }, NULL },
		"200 OK\nContent-Type: application/grpc\ngrpc-status: 7\n"
		"grpc-message: 403 Forbidden: respond, request 7f3a\nX-A: b\nServer: weir\n\n" },
	{ { true, 503, NULL, plain, { NULL, 0 }, NULL },
		"200 OK\nContent-Type: application/grpc\ngrpc-status: 14\n"
		"grpc-message: 503 Service Unavailable: respond, request 7f3a\n\n" },
	{ { true, 200, hello, html, { NULL, 0 }, NULL },
		"200 OK\nContent-Type: text/html\n\nhello" },
	{ { true, 401, empty, plain, { own_status, 1 }, NULL },
		"401 Unauthorized\nGrpc-Status: 16\n\n" },
};

static void
test_fixed_for_grpc(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(grpc_fixeds) / sizeof(*grpc_fixeds); i++) {
		struct routecfg cfg = { .respond = grpc_fixeds[i].cfg };
		struct route r = { .action = ACTION_RESPOND, .cfg = &cfg };
		struct bench b;

		bench_start(&b, GRPC_CALL, "http");
		respond_route(&b.answer, &r, &b.m, &b.info, &b.arena);
		check(&b.answer, grpc_fixeds[i].answer, grpc_fixeds[i].answer);
		bench_end(&b);
	}
}

static void
test_grpc_errors(void **state)
{
	static const struct {
		uint16_t http;
		const char *grpc;
	} cases[] = {
		{ 400, "13" },
		{ 401, "16" },
		{ 403, "7" },
		{ 404, "12" },
		{ 405, "2" },
		{ 408, "4" },
		{ 413, "8" },
		{ 414, "2" },
		{ 429, "14" },
		{ 431, "8" },
		{ 500, "2" },
		{ 501, "2" },
		{ 502, "14" },
		{ 503, "14" },
		{ 504, "4" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice phrase = respond_phrase(cases[i].http);
		struct bench b;
		char want[200];

		bench_start(&b, GRPC_CALL, "http");
		assert_true(respond_is_grpc(&b.m));
		respond_grpc_error(&b.answer, cases[i].http, "why", &b.info, &b.arena);
		snprintf(want, sizeof(want),
			"200 OK\nContent-Type: application/grpc\ngrpc-status: %s\n"
			"grpc-message: %u %.*s: why, request 7f3a\n\n",
			cases[i].grpc, cases[i].http, SLICE_ARG(phrase));
		check(&b.answer, want, want);
		bench_end(&b);
	}
}

/* As many fields as a configuration may have, and ours, fit. */
static void
test_most_fields(void **state)
{
	struct cfg_pair many[CONFIG_RESPOND_HEADERS];
	struct routecfg cfg = { .respond = { .is_set = true,
					.status = 200,
					.body = hello,
					.content_type = plain,
					.headers = { many, CONFIG_RESPOND_HEADERS } } };
	struct route r = { .action = ACTION_RESPOND, .cfg = &cfg };
	struct bench b;

	(void)state;
	for (unsigned i = 0; i < CONFIG_RESPOND_HEADERS; i++)
		many[i] = pairs[0];
	bench_start(&b, GET("/", "h"), "http");
	respond_route(&b.answer, &r, &b.m, &b.info, &b.arena);
	assert_int_equal(b.answer.head.field_count, CONFIG_RESPOND_HEADERS + 2);
	assert_non_null(msg_field(&b.answer.head, FIELD_CONTENT_TYPE));
	bench_end(&b);
}

struct error {
	uint16_t status;
	const char *answer;
};

#define TEXT(line) "Content-Type: text/plain; charset=utf-8\n\n" line "\nrequest 7f3a\n"

static const struct error errors[] = {
	{ 400, "400 Bad Request\n" TEXT("400 Bad Request") },
	{ 502, "502 Bad Gateway\n" TEXT("502 Bad Gateway") },
	{ 503, "503 Service Unavailable\nRetry-After: 5\n" TEXT("503 Service Unavailable") },
	{ 405,
		"405 Method Not Allowed\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\n" TEXT(
			"405 Method Not Allowed") },
	{ 499, "499 \n" TEXT("499") },
};

static void
test_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		struct bench b;

		bench_start(&b, GET("/", "h"), "http");
		respond_error(&b.answer, errors[i].status, &b.info, &b.arena);
		check(&b.answer, errors[i].answer, errors[i].answer);
		bench_end(&b);
	}
}

static void
test_phrases(void **state)
{
	(void)state;
	assert_true(slice_eq(respond_phrase(200), SLICE("OK")));
	assert_true(slice_eq(respond_phrase(511), SLICE("Network Authentication Required")));
	assert_int_equal(respond_phrase(0).n, 0);
	assert_int_equal(respond_phrase(99).n, 0);
	assert_int_equal(respond_phrase(199).n, 0);
	assert_int_equal(respond_phrase(512).n, 0);
	assert_int_equal(respond_phrase(65535).n, 0);
}

/* --- echo --- */

static const char echo_request[] = "POST /a%20b?c=\"d\" HTTP/1.1\r\n"
				   "Host: h.example:81\r\n"
				   "X-Quote: \"\\\x01\r\n"
				   "Accept: a\r\n"
				   "Connection: close\r\n"
				   "accept: b\r\n"
				   "X-Latin: \xe9\r\n"
				   "Content-Length: 0\r\n"
				   "\r\n";

static const char *
text_at(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "(none)";
}

static void
echo(struct bench *b, const char *request)
{
	struct route r = { .action = ACTION_ECHO };

	bench_start(b, request, "http");
	respond_route(&b->answer, &r, &b->m, &b->info, &b->arena);
}

static void
test_echo(void **state)
{
	static char request[sizeof(echo_request)];
	struct bench b;
	json_error_t err;

	(void)state;
	/* A control character cannot come through the parser: written as a space here. */
	memcpy(request, echo_request, sizeof(request));
	*strchr(request, 1) = ' ';
	echo(&b, request);
	assert_int_equal(b.answer.head.status, 200);
	assert_true(slice_eq(
		msg_field(&b.answer.head, FIELD_CONTENT_TYPE)->value, SLICE("application/json")));

	json_t *o = json_loadb(b.answer.body.p, b.answer.body.n, JSON_REJECT_DUPLICATES, &err);

	if (!o)
		fail_msg("%s\n%.*s", err.text, SLICE_ARG(b.answer.body));

	const json_t *h = json_object_get(o, "headers");

	assert_string_equal(text_at(o, "method"), "POST");
	assert_string_equal(text_at(o, "target"), "/a%20b?c=\"d\"");
	assert_string_equal(text_at(o, "path"), "/a%20b");
	assert_string_equal(text_at(o, "query"), "c=\"d\"");
	assert_string_equal(text_at(o, "version"), "1.1");
	assert_string_equal(text_at(o, "scheme"), "http");
	assert_string_equal(text_at(o, "host"), "h.example:81");
	assert_string_equal(text_at(o, "client"), "198.51.100.1");
	assert_string_equal(text_at(o, "peer"), "192.0.2.7");
	assert_string_equal(text_at(o, "listener"), "http");
	assert_string_equal(text_at(o, "request_id"), "7f3a");
	assert_string_equal(text_at(h, "X-Quote"), "\"\\");
	assert_string_equal(text_at(h, "Connection"), "close");
	assert_string_equal(text_at(h, "X-Latin"), "\xef\xbf\xbd");
	assert_int_equal(json_array_size(json_object_get(h, "Accept")), 2);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(h, "Accept"), 1)), "b");
	assert_null(json_object_get(h, "accept"));
	json_decref(o);
	bench_end(&b);
}

/* As curl shows it. */
static void
test_echo_layout(void **state)
{
	struct bench b;

	(void)state;
	echo(&b, "GET /x HTTP/1.1\r\nHost: h\r\nA: 1\r\nA: 2\r\n\r\n");
	check(&b.answer, "echo",
		"200 OK\nCache-Control: no-store\nContent-Type: application/json\n\n"
		"{\n"
		"  \"method\": \"GET\",\n"
		"  \"target\": \"/x\",\n"
		"  \"path\": \"/x\",\n"
		"  \"query\": null,\n"
		"  \"version\": \"1.1\",\n"
		"  \"scheme\": \"http\",\n"
		"  \"host\": \"h\",\n"
		"  \"headers\": {\n"
		"    \"Host\": \"h\",\n"
		"    \"A\": [\"1\", \"2\"]\n"
		"  },\n"
		"  \"client\": \"198.51.100.1\",\n"
		"  \"peer\": \"192.0.2.7\",\n"
		"  \"listener\": \"http\",\n"
		"  \"request_id\": \"7f3a\"\n"
		"}\n");
	bench_end(&b);
}

/* --- variables -------------------------------------------------------------------------------- */

struct variable {
	const char *route; /* its action, in the configuration */
	const char *request;
	const char *want;
};

#define MOVED(location) "308 Permanent Redirect\nLocation: " location "\n"

static const struct variable variables[] = {
	{ "redirect: {host: 'www.${host}'}", GET("/a?b", "h.example:81"),
		MOVED("http://www.h.example/a?b") },
	{ "redirect: {scheme: https, host: '${host}:8443'}", GET("/", "h.example"),
		MOVED("https://h.example:8443/") },
	{ "redirect: {path: '/login?to=${path}'}", GET("/a%20b", "h.example"),
		MOVED("http://h.example/login?to=/a%20b") },
	{ "redirect: {path: '/${arg_to}'}", GET("/?to=\"x\\y", "h.example"),
		MOVED("http://h.example/%22x%5Cy") },
	/* what a client sends chooses no other host */
	{ "redirect: {path: '${arg_to}'}", GET("/?to=//evil.example", "h.example"),
		MOVED("http://h.example//evil.example") },
	{ "redirect: {path: '${arg_to}'}", "GET /?to=//evil.example HTTP/1.0\r\n\r\n",
		MOVED("/evil.example") },
	{ "redirect: {path: '${arg_to}'}", GET("/?to=evil.example", "h.example"),
		MOVED("http://h.example/evil.example") },
	{ "redirect: {path: '${arg_to}'}", GET("/?to=.evil.example", "h.example"),
		MOVED("http://h.example/.evil.example") },
	{ "redirect: {path: '${arg_to}'}", GET("/", "h.example"), MOVED("http://h.example/") },
	{ "redirect: {host: '${arg_h}.example'}", GET("/?h=a/", "h.example"), "400 Bad Request\n" },
	{ "redirect: {host: '${arg_h}'}", GET("/?h=", "h.example"), "400 Bad Request\n" },
	{ "redirect: {host: '${arg_h}'}", GET("/?h=a@b", "h.example"), "400 Bad Request\n" },
	/* fixed answers */
	{ "respond: 'you are ${client} $${x}'", GET("/", "h.example"),
		"200 OK\nContent-Type: text/plain; charset=utf-8\n\n"
		"you are 198.51.100.1 ${x}" },
	{ "respond: {status: 404, headers: {X-Path: '${path}', Link: [a, '${query}'], X-None: '${arg_x}', "
	  "X-Empty: ''}}",
		GET("/p?q", "h.example"),
		"404 Not Found\nX-Path: /p\nLink: a\nLink: q\nX-Empty: \n" },
	{ "respond: {body: '${arg_none}', headers: {A: b}}", GET("/", "h.example"),
		"200 OK\nA: b\n" },
};

/* Those of the head, up to its text. */
static void
expect_variable(const struct variable *v)
{
	char *conf = xasprintf("http:\n  listen: [{name: a, address: '*:80'}]\n"
			       "  hosts: [{names: ['*'], routes: [{path: /, %s}]}]\n",
		v->route);
	struct snapshot *s = fixture_snapshot(conf);
	struct var_source vars = { 0 };
	struct sbuf out = { 0 };
	struct bench b;

	bench_start(&b, v->request, "http");
	vars.req = &b.m;
	vars.req_fields = b.m.field_count;
	vars.from = &b.from;
	vars.client = b.info.client;
	b.info.vars = &vars;
	assert_non_null(s->route_v[0].texts);
	respond_route(&b.answer, &s->route_v[0], &b.m, &b.info, &b.arena);
	answer_text(&b.answer, &out);
	if (strncmp(out.p, v->want, strlen(v->want)) != 0)
		fail_msg("%s\nexpected:\n%s\nfound:\n%s", v->route, v->want, out.p);
	sbuf_fini(&out);
	bench_end(&b);
	snapshot_unref(s);
	free(conf);
}

static void
test_variables(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		expect_variable(&variables[i]);
}

/* Where there are none, nothing is put together. */
static void
test_no_variables(void **state)
{
	struct snapshot *s = fixture_snapshot(
		"http:\n  listen: [{name: a, address: '*:80'}]\n"
		"  hosts: [{names: ['*'], routes: [{path: /, respond: 'a $${x}'}]}]\n");

	(void)state;
	assert_null(s->route_v[0].texts);
	snapshot_unref(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_redirect_any_byte),
		cmocka_unit_test(test_redirect_relative),
		cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_fixed_for_grpc),
		cmocka_unit_test(test_grpc_errors),
		cmocka_unit_test(test_most_fields),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_no_variables),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_phrases),
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_echo_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
