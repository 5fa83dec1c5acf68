/*
 * Rules for fields as the configuration writes them, put to messages as a client and a server send
 * them: which level decides, what goes, what comes, and what variables stand for.
 */
#include "tests/unit/routerd/http_fixture.h"

#include "libcommon/http1.h"
#include "routerd/conn.h"
#include "routerd/header_rules.h"
#include "routerd/request.h"

struct pool;
void
pool_unref(struct pool *p)
{
	(void)p;
}

static const struct http1_limits limits = { 65536, 8192, 200 };

/* A message, and what its variables are about. */
struct rig {
	struct snapshot *snapshot;
	struct arena arena;
	struct field req_fields[REQUEST_FIELDS];
	struct field resp_fields[REQUEST_FIELDS];
	struct msg req;
	struct msg resp;
	struct forward_info from;
	struct proxy_cert cert;
	struct conn_tls *tls;
	struct var_source source;
	struct slice authority;
	enum header_result result;
};

static int64_t
that_day(void)
{
	return 1764324000123;
}

/* levels: keys of http, of the host, and of the route; NULL: none. */
static void
rig_init(struct rig *g, const char *http, const char *host, const char *route)
{
	char *text = xasprintf("pools: {app: {servers: [{address: 'h:1'}]}}\n"
			       "http:\n  listen: [{name: a, address: '*:80'}]\n"
			       "%s%s\n"
			       "  hosts:\n"
			       "    - names: ['*']\n"
			       "%s%s\n"
			       "      routes: [{path: /, pool: app%s%s}]\n",
		http ? "  headers: " : "", http ? http : "", host ? "      headers: " : "",
		host ? host : "", route ? ", headers: " : "", route ? route : "");

	memset(g, 0, sizeof(*g));
	arena_init(&g->arena, 4096);
	g->snapshot = fixture_snapshot(text);
	free(text);
	g->from = (struct forward_info){
		.http = g->snapshot->http, .peer = SLICE("192.0.2.7"), .scheme = SLICE("https")
	};
	g->source = (struct var_source){
		.req = &g->req,
		.from = &g->from,
		.client = SLICE("198.51.100.9"),
		.request_id = SLICE("0123456789abcdef"),
		.listener = "a",
		.route = "*/",
		.pool = "app",
		.server = "app1",
		.tries = 2,
		.response_us = 12345,
		.wall_ms = that_day,
	};
}

static void
rig_fini(struct rig *g)
{
	snapshot_unref(g->snapshot);
	arena_fini(&g->arena);
	free(g->tls);
}

static void
parse(struct msg *m, struct field *fields, const char *text, bool is_request)
{
	struct http1_scan scan = { 0 };
	struct http1_error err;
	enum http1_result r;

	msg_init(m, fields, REQUEST_FIELDS_SENT);
	if (is_request)
		r = http1_request(&scan, text, strlen(text), &limits, m, &err);
	else
		r = http1_response(&scan, text, strlen(text), &limits, METHOD_GET, m, &err);
	assert_int_equal(r, HTTP1_DONE);
	m->field_cap = REQUEST_FIELDS;
}

static void
request(struct rig *g, const char *text)
{
	const struct header_rules *rules = g->snapshot->route_v[0].request_rules;

	parse(&g->req, g->req_fields, text, true);
	g->source.req_fields = g->req.field_count;
	g->from.authority = g->authority = g->req.authority;
	if (rules != NULL)
		g->result =
			header_rules_request(rules, &g->req, &g->source, &g->authority, &g->arena);
}

static void
response(struct rig *g, const char *text)
{
	const struct header_rules *rules = g->snapshot->route_v[0].response_rules;

	parse(&g->resp, g->resp_fields, text, false);
	g->source.resp = &g->resp;
	g->source.resp_fields = g->resp.field_count;
	g->source.status = g->resp.status;
	if (rules != NULL)
		g->result = header_rules_response(rules, &g->resp, &g->source, &g->arena);
}

/* "Name: value|Name: value" of what travels. */
static void
expect(const struct msg *m, const char *want)
{
	struct sbuf got = { 0 };

	for (unsigned i = 0; i < m->field_count; i++) {
		const struct field *f = &m->fields[i];

		if (!(f->flags & MSG_FIELD_DROP))
			sbuf_addf(&got, "%s%.*s: %.*s", got.n ? "|" : "", SLICE_ARG(f->name),
				SLICE_ARG(f->value));
	}
	assert_string_equal(got.p ? got.p : "", want);
	sbuf_fini(&got);
}

#define GET "GET /a/b?x=1&y=2&x=3&z HTTP/1.1\r\nHost: api.example:8443\r\n"

/* --- levels ---------------------------------------------------------------------------------- */

static void
test_no_rules(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g, NULL, NULL, NULL);
	assert_null(g.snapshot->response_rules);
	assert_null(g.snapshot->route_v[0].request_rules);
	assert_null(g.snapshot->route_v[0].response_rules);
	rig_fini(&g);
	rig_init(&g, "{response: {set: {A: b}}}", NULL, "{response: {pass: a}}");
	assert_non_null(g.snapshot->response_rules);
	assert_null(g.snapshot->route_v[0].response_rules);
	rig_fini(&g);
}

static void
test_inner_level_decides(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g,
		"{response: {hide: [Server, X-A], set: {X-B: http, X-C: http}, add: {X-D: http}}}",
		"{response: {set: {x-a: host, X-B: [h1, h2]}}}",
		"{response: {hide: x-b, pass: [server], add: {X-D: [r1, r2]}}}");
	response(&g,
		"HTTP/1.1 200 OK\r\nServer: s\r\nX-A: s\r\nX-B: s\r\nX-C: s\r\nX-D: s\r\n"
		"Content-Length: 0\r\n\r\n");
	expect(&g.resp, "Server: s|X-D: s|Content-Length: 0|X-C: http|x-a: host|X-D: r1|X-D: r2");
	rig_fini(&g);
}

static void
test_default(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g, NULL, NULL,
		"{request: {default: {X-Request-ID: '${request_id}', X-No: '${http_nothing}'}}}");
	request(&g, GET "\r\n");
	expect(&g.req, "Host: api.example:8443|X-Request-ID: 0123456789abcdef");
	request(&g, GET "x-request-id: theirs\r\n\r\n");
	expect(&g.req, "Host: api.example:8443|x-request-id: theirs");
	/* One that was nominated by Connection does not travel: it is as if it had not come. */
	request(&g, GET "Connection: x-request-id\r\nx-request-id: theirs\r\n\r\n");
	expect(&g.req, "Host: api.example:8443|X-Request-ID: 0123456789abcdef");
	rig_fini(&g);
}

/* --- requests -------------------------------------------------------------------------------- */

/* What is asked by a known name is asked of who sent the message: rules' texts do not live as long.
 */
static void
test_known_names(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g, NULL, NULL,
		"{request: {set: {User-Agent: ours, Referer: ours}}, response: {add: {Server: ours}}}");
	request(&g, "GET / HTTP/1.1\r\nHost: h\r\nReferer: theirs\r\n\r\n");
	assert_null(msg_field(&g.req, FIELD_USER_AGENT));
	assert_true(slice_eq(msg_field(&g.req, FIELD_REFERER)->value, SLICE("theirs")));
	response(&g, "HTTP/1.1 200 OK\r\n\r\n");
	assert_null(msg_field(&g.resp, FIELD_SERVER));
	rig_fini(&g);
}

/* What a server may take for a name that is set or hidden goes, too. */
static void
test_look_alikes(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g, NULL, NULL,
		"{request: {set: {X-User: '${client_cert_subject}'}, hide: [X-Secret], "
		"add: {X-More: m}}}");
	request(&g,
		GET "X-User: a\r\nx_user: b\r\nX.USER: c\r\nX-Users: d\r\nX_Secret: e\r\n"
		    "X_More: f\r\nXUser: g\r\n\r\n");
	/* The client has shown no certificate: nothing is said, by nobody. */
	expect(&g.req, "Host: api.example:8443|X-Users: d|X_More: f|XUser: g|X-More: m");
	rig_fini(&g);
}

static void
test_host(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g, NULL, NULL, "{request: {set: {Host: '${http_x_host}'}}}");
	request(&g, GET "X-Host: Inner.example:81\r\n\r\n");
	assert_int_equal(g.result, HEADERS_OK);
	assert_true(slice_eq(g.authority, SLICE("Inner.example:81")));
	assert_true(slice_eq(g.req.authority, SLICE("api.example:8443")));
	request(&g, GET "\r\n");
	assert_int_equal(g.result, HEADERS_OK);
	assert_true(slice_eq(g.authority, SLICE("api.example:8443")));
	request(&g, GET "X-Host: a/b\r\n\r\n");
	assert_int_equal(g.result, HEADERS_BAD_HOST);
	rig_fini(&g);
}

/* forward_client reads the peer's own fields alone, whatever rules write. */
static void
test_identity_by_rule(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g, NULL, NULL, "{request: {set: {X-Forwarded-For: 203.0.113.1}}}");
	request(&g, GET "X-Forwarded-For: 198.51.100.1\r\n\r\n");
	expect(&g.req, "Host: api.example:8443|X-Forwarded-For: 203.0.113.1");
	g.from.peer_is_trusted = true;
	assert_true(slice_eq(forward_client(&g.req, &g.from), SLICE("198.51.100.1")));
	rig_fini(&g);
}

static void
test_too_large(void **state)
{
	struct rig g;
	struct sbuf text = { 0 };

	(void)state;
	rig_init(&g, NULL, NULL,
		"{request: {set: {A: '${http_big}', B: '${http_big}${http_big}'}}}");
	sbuf_adds(&text, GET "Big: ");
	for (int i = 0; i < 21845; i++)
		sbuf_addc(&text, 'x');
	sbuf_adds(&text, "\r\n\r\n");
	request(&g, text.p);
	assert_int_equal(g.result, HEADERS_OK);
	text.n -= 4;
	sbuf_adds(&text, "yy\r\n\r\n");
	request(&g, text.p);
	assert_int_equal(g.result, HEADERS_TOO_LARGE);
	sbuf_fini(&text);
	rig_fini(&g);
}

/* All the room that there is, behind a head with all the fields that a parser takes. */
static void
test_most_fields(void **state)
{
	struct rig g;
	struct sbuf text = { 0 };
	struct sbuf rules = { 0 };

	(void)state;
	sbuf_adds(&rules, "{request: {set: {");
	for (int i = 0; i < CONFIG_HEADERS_MAX - 1; i++)
		sbuf_addf(&rules, "X-%d: x, ", i);
	sbuf_adds(&rules, "Server: s}}}");
	rig_init(&g, NULL, NULL, rules.p);
	sbuf_adds(&text, GET);
	for (int i = 0; i < 199; i++)
		sbuf_addf(&text, "F-%d: f\r\n", i);
	sbuf_adds(&text, "\r\n");
	request(&g, text.p);
	assert_int_equal(g.result, HEADERS_OK);
	assert_int_equal(g.req.field_count, 200 + CONFIG_HEADERS_MAX);
	assert_true(slice_eq(g.req.fields[g.req.field_count - 1].value, SLICE("s")));
	sbuf_fini(&rules);
	sbuf_fini(&text);
	rig_fini(&g);
}

/* --- answers --------------------------------------------------------------------------------- */

static void
test_response(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g, NULL, NULL,
		"{response: {hide: X-Powered-By, set: {Server: ours, X-By: "
		"'${pool}/${server} ${status} ${tries} ${response_ms}'}, "
		"add: {Set-Cookie: [a=1, 'b=${upstream_http_x_version}']}, "
		"default: {Cache-Control: no-store, X-Theirs: ours}}}");
	response(&g,
		"HTTP/1.1 404 No\r\nX-Powered-By: p\r\nx-powered-by: q\r\nServer: s\r\n"
		"Set-Cookie: c=1\r\nX-Version: 7\r\nX-Theirs: t\r\nContent-Length: 0\r\n\r\n");
	expect(&g.resp,
		"Set-Cookie: c=1|X-Version: 7|X-Theirs: t|Content-Length: 0|Server: ours|"
		"X-By: app/app1 404 2 12.345|Set-Cookie: a=1|Set-Cookie: b=7|"
		"Cache-Control: no-store");
	/* Clients take X_By for no X-By: what a server says under it is its own affair. */
	response(&g, "HTTP/1.1 200 OK\r\nX_By: s\r\nContent-Length: 0\r\n\r\n");
	assert_false(g.resp.fields[0].flags & MSG_FIELD_DROP);
	rig_fini(&g);
}

static void
test_interim(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g, NULL, NULL, "{response: {hide: X-A, set: {X-B: ours}, add: {X-C: ours}}}");
	parse(&g.resp, g.resp_fields,
		"HTTP/1.1 103 Early Hints\r\nX-A: a\r\nX-B: b\r\nX-C: c\r\nLink: l\r\n\r\n", false);
	header_rules_interim(g.snapshot->route_v[0].response_rules, &g.resp);
	expect(&g.resp, "X-C: c|Link: l");
	rig_fini(&g);
}

/* --- variables ------------------------------------------------------------------------------- */

struct value {
	const char *text;
	const char *want;
};

static void
check_values(struct rig *g, const struct value *v, size_t count, const char *head)
{
	for (size_t i = 0; i < count; i++) {
		struct rig one;
		char *rule = xasprintf("{request: {set: {V: \"[%s]\"}}}", v[i].text);
		char *want = xasprintf("[%s]", v[i].want);
		const struct field *f;

		rig_init(&one, NULL, NULL, rule);
		if (g != NULL) {
			struct var_source source = one.source;

			one.from.cert = g->from.cert;
			one.from.is_cert_verified = g->from.is_cert_verified;
			source.tls = g->tls;
			one.source = source;
			one.source.from = &one.from;
			one.source.req = &one.req;
		}
		request(&one, head);
		f = msg_find(&one.req, SLICE("V"));
		assert_non_null(f);
		if (!slice_eq(f->value, slice_str(want)))
			fail_msg("%s: got %.*s, want %s", v[i].text, SLICE_ARG(f->value), want);
		free(rule);
		free(want);
		rig_fini(&one);
	}
}
#define CHECK_VALUES(g, v, head) check_values((g), (v), sizeof(v) / sizeof(*(v)), (head))

static void
test_request_variables(void **state)
{
	static const struct value values[] = {
		{ "no variable", "no variable" },
		{ "${client} ${peer}", "198.51.100.9 192.0.2.7" },
		{ "${method} ${target}", "GET /a/b?x=1&y=2&x=3&z" },
		{ "${path}?${query}", "/a/b?x=1&y=2&x=3&z" },
		{ "${scheme}://${authority} ${host} ${port}",
			"https://api.example:8443 api.example 8443" },
		{ "${version} ${listener} ${route} ${pool}", "1.1 a */ app" },
		{ "${request_id}", "0123456789abcdef" },
		{ "${msec} ${time_iso8601}", "1764324000.123 2025-11-28T10:00:00Z" },
		{ "${http_user_agent}|${http_x_a}|${http_x_none}", "ua|1, 2|" },
		{ "${http_x_gap}|${http_x_none_at_all}|${http_x_bare}", ", 2, ||" },
		{ "${http_cookie}", "a=1; b=\\\"2; 3\\\"; a=4; =5; cc=6" },
		{ "${cookie_a} ${cookie_b} ${cookie_c} ${cookie_cc}", "1 \\\"2  6" },
		{ "${arg_x}${arg_y}${arg_z}${arg_w}", "12" },
		{ "${tls_version}${tls_sni}${tls_cipher}${tls_alpn}", "" },
		{ "${client_cert_verify}", "NONE" },
		{ "${client_cert_subject}${client_cert_pem}${client_cert_rfc9440}", "" },
		{ "$${path} $$ $x", "${path} $ $x" },
	};
	const char *head = GET "User-Agent: ua\r\nX-A: 1\r\nX_A: no\r\nx-a: 2\r\n"
			       "X-Gap:\r\nX-Gap: 2\r\nX-Gap:\r\nX-Bare:\r\n"
			       "Cookie: a=1; b=\\\"2; 3\\\"\r\nCookie: a=4; =5; cc=6\r\n\r\n";

	(void)state;
	CHECK_VALUES(NULL, values, head);
}

static void
test_authorities(void **state)
{
	static const struct value six[] = { { "${host} ${port}", "[2001:db8::1] 443" } };
	static const struct value none[] = { { "${authority}${host} ${port}", " 443" } };

	(void)state;
	CHECK_VALUES(NULL, six, "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n");
	CHECK_VALUES(NULL, none, "GET / HTTP/1.0\r\n\r\n");
}

static void
test_certificates(void **state)
{
	static const struct value verified[] = {
		{ "${client_cert_verify} ${client_cert_cn}", "SUCCESS ann" },
		{ "${client_cert_subject};${client_cert_issuer}", "CN=ann;CN=ca" },
		{ "${client_cert_serial} ${client_cert_fingerprint}", "0A ff" },
		{ "${client_cert_san}", "DNS:ann.example" },
		{ "${client_cert_not_before} ${client_cert_not_after}",
			"2026-01-01T00:00:00Z 2027-01-01T00:00:00Z" },
		{ "${client_cert_rfc9440}", ":ZGVy:" },
		{ "${client_cert_pem}",
			"-----BEGIN%20CERTIFICATE-----%0AZGVy%0A-----END%20CERTIFICATE-----%0A" },
		{ "${tls_version} ${tls_sni}", "TLSv1.3 api.example" },
	};
	static const struct value failed[] = {
		{ "${client_cert_verify}", "FAILED:expired" },
		{ "${client_cert_subject}${client_cert_issuer}${client_cert_serial}", "" },
		{ "${client_cert_cn}${client_cert_san}${client_cert_rfc9440}", "" },
		{ "${client_cert_not_before}${client_cert_not_after}", "" },
		{ "${client_cert_fingerprint}", "ff" },
		{ "${client_cert_pem}",
			"-----BEGIN%20CERTIFICATE-----%0AZGVy%0A-----END%20CERTIFICATE-----%0A" },
	};
	struct proxy_cert cert = {
		.cn = SLICE("ann"),
		.der = SLICE("der"),
		.failure = SLICE("expired"),
		.subject = SLICE("CN=ann"),
		.issuer = SLICE("CN=ca"),
		.serial = SLICE("0A"),
		.fingerprint = SLICE("ff"),
		.san = SLICE("DNS:ann.example"),
		.not_before = SLICE("2026-01-01T00:00:00Z"),
		.not_after = SLICE("2027-01-01T00:00:00Z"),
	};
	struct rig g = { .from = { .cert = &cert, .is_cert_verified = true } };

	(void)state;
	g.tls = xcalloc(1, sizeof(*g.tls));
	g.tls->version = SLICE("TLSv1.3");
	g.tls->sni = SLICE("api.example");
	CHECK_VALUES(&g, verified, GET "\r\n");
	g.from.is_cert_verified = false;
	CHECK_VALUES(&g, failed, GET "\r\n");
	free(g.tls);
}

/* Whatever a source lets in: nothing of it ends a line. */
static void
test_control_bytes(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g, NULL, NULL, "{request: {set: {V: '${client_cert_subject}'}}}");
	g.cert.subject = SLICE("\ta\r\nX-Evil: 1\0b\x7f");
	g.from.cert = &g.cert;
	g.from.is_cert_verified = true;
	request(&g, GET "\r\n");
	expect(&g.req, "Host: api.example:8443|V: a  X-Evil: 1 b");
	rig_fini(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_rules),
		cmocka_unit_test(test_inner_level_decides),
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_known_names),
		cmocka_unit_test(test_look_alikes),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_identity_by_rule),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_most_fields),
		cmocka_unit_test(test_response),
		cmocka_unit_test(test_interim),
		cmocka_unit_test(test_request_variables),
		cmocka_unit_test(test_authorities),
		cmocka_unit_test(test_certificates),
		cmocka_unit_test(test_control_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
