/*
 * The `http` section: what is accepted and how it is bound, and the exact words for what is not.
 */
#include "tests/unit/routerd/http_fixture.h"

#define LISTEN "  listen: [{name: a, address: '127.0.0.1:80'}, {name: s, from: tlsd}]\n"
#define POOLS  "pools: {app: {servers: [{address: 'h:1'}]}, other: {servers: [{address: 'h:2'}]}}\n"
/* One route of one host on both listeners. */
#define ROUTE(text) \
	POOLS "http:\n" LISTEN "  hosts: [{names: ['*'], routes: [\n    " text "\n  ]}]\n"
#define HTTP(text)    POOLS "http:\n" LISTEN "  " text "\n" HOST
#define HOST          "  hosts: [{names: ['*'], routes: [{path: /, pool: app}]}]\n"
#define HOSTS(text)   POOLS "http:\n" LISTEN "  hosts:\n" text
#define LISTENS(text) POOLS "http:\n  listen: [" text "]\n" HOST

#define HEADERS(text)  ROUTE("{path: /, pool: app, headers: {" text "}}")
#define REQUEST(text)  HEADERS("request: {" text "}")
#define RESPONSE(text) HEADERS("response: {" text "}")
#define TEN            "x, x, x, x, x, x, x, x, x, x, "
#define VARS8          "${path}${path}${path}${path}${path}${path}${path}${path}"
#define VARS32         VARS8 VARS8 VARS8 VARS8

struct refusal {
	const char *text;
	const char *line; /* a whole finding */
};

static const struct refusal refusals[] = {
	/* listeners */
	{ LISTENS("{name: a}"),
		"t.yaml:3:12: http.listen[0]: no place to listen, expected address or from: tlsd" },
	{ LISTENS("{name: a, address: '*:80', from: tlsd}"),
		"t.yaml:3:39: http.listen[0]: both address and from, expected one of them" },
	{ LISTENS("{name: a/b, address: '*:80'}"),
		"t.yaml:3:13: http.listen[0].name: \"a/b\" cannot be a name, expected up to 32 "
		"letters, digits, '-' and '_'" },
	{ LISTENS("{name: bus, address: '*:80'}"),
		"t.yaml:3:13: http.listen[0].name: \"bus\" is taken by the bus's folder in "
		"run_dir, expected another name" },
	{ LISTENS("{name: a, address: 'host:80'}"),
		"t.yaml:3:22: http.listen[0].address: \"host:80\" is a name, expected an IP "
		"address, *:PORT or unix:PATH" },
	{ LISTENS("{name: a, from: tlsd, accept_proxy: [10.0.0.0/8]}"),
		"t.yaml:3:34: http.listen[0].accept_proxy: tlsd always says who the client is, "
		"expected no accept_proxy here" },
	{ LISTENS("{name: a, address: '*:80', scheme: ftp}"),
		"t.yaml:3:39: http.listen[0].scheme: unknown scheme \"ftp\", expected http or "
		"https" },
	{ LISTENS("{name: a, address: '*:80'}, {name: a, address: '*:81'}"),
		"t.yaml:3:41: http.listen[1].name: \"a\" is the name of the listener at line 3 "
		"already, expected another" },
	{ LISTENS("{name: a, address: '*:80'}, {name: b, address: ':80'}"),
		"t.yaml:3:50: http.listen[1].address: :80 is used by listener \"a\" (line 3) "
		"already, expected another" },
	{ LISTENS("{name: a, address: 'unix:x'}, {name: b, address: 'unix:/conf/x'}"),
		"t.yaml:3:52: http.listen[1].address: unix:/conf/x is used by listener \"a\" "
		"(line 3) already, expected another" },
	/* hosts */
	{ HOSTS("  - {names: [A.example, a.EXAMPLE.], routes: [{path: /, pool: app}]}\n"),
		"t.yaml:5:6: http.hosts[0].names: \"a.example\" is answered on listener \"a\" "
		"already, at t.yaml:5:13; expected a name once per listener" },
	{ HOSTS("  - {names: x, listen: s, routes: [{path: /, pool: app}]}\n"
		"  - {names: x, listen: a, routes: [{path: /, pool: app}]}\n"
		"  - {names: [y, x], routes: [{path: /, pool: app}]}\n"),
		"t.yaml:7:6: http.hosts[2].names: \"x\" is answered on listener \"s\" already, at "
		"t.yaml:5:13; expected a name once per listener" },
	{ HOSTS("  - {names: .x.example, routes: [{path: /, pool: app}]}\n"),
		"t.yaml:5:6: http.hosts[0].names: \".x.example\" is no host, expected NAME, "
		"*.SUFFIX or *, without port" },
	{ HOSTS("  - {names: 'x.example:80', routes: [{path: /, pool: app}]}\n"),
		"t.yaml:5:6: http.hosts[0].names: \"x.example:80\" is no host, expected NAME, "
		"*.SUFFIX or *, without port" },
	{ HOSTS("  - {names: 'x.*.example', routes: [{path: /, pool: app}]}\n"),
		"t.yaml:5:6: http.hosts[0].names: \"x.*.example\" is no host, expected NAME, "
		"*.SUFFIX or *, without port" },
	{ HOSTS("  - {names: x, listen: [a, web], routes: [{path: /, pool: app}]}\n"),
		"t.yaml:5:16: http.hosts[0].listen: no listener is called \"web\", expected one "
		"of those in http.listen" },
	{ HOSTS("  - {names: x, listen: [a, a], routes: [{path: /, pool: app}]}\n"),
		"t.yaml:5:16: http.hosts[0].listen: \"a\" stands there twice" },
	/* routes */
	{ ROUTE("{path: /, pool: othr}"),
		"t.yaml:5:15: http.hosts[0].routes[0].pool: no pool is called \"othr\", did you "
		"mean \"other\"?" },
	{ ROUTE("{path: /, pool: zzzzzzz}"),
		"t.yaml:5:15: http.hosts[0].routes[0].pool: no pool is called \"zzzzzzz\", "
		"expected one of those in pools" },
	{ ROUTE("{path: /}"),
		"t.yaml:5:5: http.hosts[0].routes[0]: nothing to do, expected one of pool, "
		"redirect, respond and echo" },
	{ ROUTE("{path: /, pool: app, echo: on}"),
		"t.yaml:5:5: http.hosts[0].routes[0]: 2 things to do, expected one of pool, "
		"redirect, respond and echo" },
	{ ROUTE("{path: api, pool: app}"),
		"t.yaml:5:6: http.hosts[0].routes[0].path: \"api\" does not begin with '/', "
		"expected something like /api/" },
	{ ROUTE("{path: '/a?b', pool: app}"),
		"t.yaml:5:6: http.hosts[0].routes[0].path: \"/a?b\" has a '?' or '#', but routes "
		"match on the path alone, expected something like /api/" },
	{ ROUTE("{path: /a, pool: app}, {path: /b, pool: app}, {path: /a, pool: app}"),
		"t.yaml:5:52: http.hosts[0].routes[2].path: \"/a\" has a route at line 5 already, "
		"expected a path once" },
	{ ROUTE("{path: /api/users, strip: /api/u, pool: app}"),
		"t.yaml:5:24: http.hosts[0].routes[0].strip: \"/api/u\" is not the beginning of "
		"path \"/api/users\", expected whole segments of it" },
	{ ROUTE("{path: /api, strip: /, pool: app}"),
		"t.yaml:5:18: http.hosts[0].routes[0].strip: \"/\" takes nothing off, expected "
		"the beginning of path" },
	{ ROUTE("{path: /api, strip: /api, respond: 200}"),
		"t.yaml:5:18: http.hosts[0].routes[0].strip: only what goes to a pool is "
		"stripped, expected none" },
	{ ROUTE("{path: /, pool: app, timeouts: {keepalive: 1s}}"), "unknown key" },
	{ ROUTE("{path: /, pool: app, timeouts: {read: 0}}"), "\"0\" is out of range" },
	{ ROUTE("{path: /, pool: app, timeouts: {read: 5}}"), "\"5\" has no unit" },
	{ ROUTE("{path: /, redirect: {status: 301}}"),
		"t.yaml:5:15: http.hosts[0].routes[0].redirect: leads nowhere else, expected "
		"scheme, host or path" },
	{ ROUTE("{path: /, redirect: {path: '/a b'}}"), "cannot stand in a Location" },
	{ ROUTE("{path: /, redirect: {path: '//evil'}}"), "cannot stand in a Location" },
	{ ROUTE("{path: /, redirect: {host: \"a\\r\\nb\"}}"), "is no host, expected NAME or" },
	{ ROUTE("{path: /, redirect: {host: x, status: 304}}"),
		"304 is no redirect, expected 301, 302, 303, 307 or 308" },
	{ ROUTE("{path: /, redirect: {scheme: ws}}"), "expected http or https" },
	{ ROUTE("{path: /, respond: 99}"), "99 is no status, expected 200 to 599" },
	{ ROUTE("{path: /, respond: [1]}"), "expected a status, a text or a mapping" },
	{ ROUTE("{path: /, respond: {status: 204, body: x}}"), "a 204 has no body" },
	{ ROUTE("{path: /, respond: {headers: {'a b': x}}}"), "cannot be a field's name" },
	{ ROUTE("{path: /, respond: {headers: {a: \"x\\r\\ny\"}}}"), "has control characters" },
	{ ROUTE("{path: /, respond: {headers: {transfer-encoding: chunked}}}"),
		"is written by routerd itself" },
	{ ROUTE("{path: /, respond: {headers: {content-type: x}}}"), "as content_type" },
	{ ROUTE("{path: /, respond: {content_type: \"a\\nb\"}}"), "has control characters" },
	{ ROUTE("{path: /, respond: 'a ${nope}'}"),
		"t.yaml:5:15: http.hosts[0].routes[0].respond: unknown variable ${nope}" },
	{ ROUTE("{path: /, respond: {body: '${nope}'}}"), "respond.body: unknown variable" },
	{ ROUTE("{path: /, respond: {headers: {A: '${server}'}}}"),
		"${server} is not known before there is an answer" },
	{ ROUTE("{path: /, redirect: {host: '${nope}'}}"), "redirect.host: unknown variable" },
	{ ROUTE("{path: /, redirect: {path: '/${nope}'}}"), "redirect.path: unknown variable" },
	{ ROUTE("{path: /, redirect: {path: 'a${path}'}}"), "cannot stand in a Location" },
	{ ROUTE("{path: /, redirect: {path: '/${path}{'}}"), "cannot stand in a Location" },
	{ ROUTE("{path: /, redirect: {scheme: '${scheme}'}}"),
		"redirect.scheme: ${scheme}: no variables are replaced here, expected $${scheme} "
		"for this text" },
	{ ROUTE("{path: '/${path}', respond: 204}"), "no variables are replaced here" },
	/* headers */
	{ REQUEST("set: {a b: x}"), ".headers.request.set: \"a b\" cannot be a field's name" },
	{ REQUEST("hide: ['']"), "cannot be a field's name" },
	{ REQUEST("set: {connection: x}"),
		"t.yaml:5:52: http.hosts[0].routes[0].headers.request.set: connection is written by "
		"routerd itself, expected another" },
	{ REQUEST("hide: Content-Length"), "is written by routerd itself" },
	{ REQUEST("add: {TE: trailers}"), "is written by routerd itself" },
	{ REQUEST("set: {Expect: 100-continue}"), "is written by routerd itself" },
	{ RESPONSE("set: {Date: now}"), "is written by routerd itself" },
	{ RESPONSE("set: {Host: x}"), "Host is no field of answers" },
	{ REQUEST("hide: Host"), "every request has a Host, expected it under set" },
	{ REQUEST("default: {Host: x}"), "every request has a Host, expected it under set" },
	{ REQUEST("set: {Host: [a, b]}"), "Host stands under set already, expected it once" },
	{ REQUEST("set: {Host: 'a b'}"),
		"headers.request.set: \"a b\" is no host, expected NAME or NAME:PORT" },
	{ REQUEST("set: {A: \"x\\ny\"}"), "the value of A has control characters" },
	{ REQUEST("set: {A: b}, hide: [B, a]"),
		"headers.request.set: A stands under hide already, expected it once" },
	{ REQUEST("set: {A: b, a: c}"), "a stands under set already" },
	{ REQUEST("add: {A: b}, default: {A: c}"), "default: A stands under add already" },
	{ REQUEST("set: {A: 'x ${clinet}'}"),
		"t.yaml:5:52: http.hosts[0].routes[0].headers.request.set: A: unknown variable "
		"${clinet}, did you mean ${client}?" },
	{ REQUEST("set: {A: '${what_is_this}'}"), "expected one of VARIABLES in weir.yaml(5)" },
	{ REQUEST("set: {A: '${http_}'}"), "unknown variable ${http_}" },
	{ REQUEST("set: {A: '${status}'}"),
		"A: ${status} is not known before there is an answer, expected another variable" },
	{ REQUEST("set: {A: '${upstream_http_x}'}"), "is not known before there is an answer" },
	{ HTTP("headers: {response: {add: {A: [b, '${nope}']}}}"), "unknown variable ${nope}" },
	{ HOSTS("  - {names: x, headers: {request: {set: {A: '${nope}'}}}, "
		"routes: [{path: /, pool: app}]}\n"),
		"http.hosts[0].headers.request.set: A: unknown variable ${nope}" },
	{ POOLS "http:\n" LISTEN "  headers: {response: {add: {A: [" TEN TEN "x]}}}\n"
		"  hosts: [{names: x, headers: {response: {set: {B: [" TEN "x]}}}, "
		"routes: [{path: /, pool: app, headers: {response: {default: {C: d}}}}]}]\n",
		"http.hosts[0].routes[0].headers: 33 fields with those of http and host, expected "
		"at most 32" },
	{ REQUEST("set: {A: '" VARS32 VARS32 "'}"), "A: 64 variables, expected at most 63" },
	/* the rest */
	{ HTTP("limits: {head: 2k, request_line: 3k}"),
		"t.yaml:4:22: http.limits.request_line: a request line is part of its head, "
		"expected at most limits.head (2048)" },
	{ HTTP("limits: {head: 73k}"), "\"73k\" is out of range" },
	{ HTTP("limits: {response_head: 181k}"), "\"181k\" is out of range" },
	{ HTTP("limits: {fields: 1000}"), "\"1000\" is out of range" },
	{ HTTP("access_log: {format: apache}"), "\"apache\" is not known" },
	{ HTTP("cache: on"), "unknown key" },
	{ HTTP("trusted_proxies: [10.0.0.0/33]"), "10.0.0.0/33" },
	{ POOLS "http:\n  listen: []\n" HOST, "http.listen: empty" },
	{ POOLS "http: {hosts: []}\n", "http.listen: missing" },
};

static const struct refusal warnings[] = {
	{ ROUTE("{path: /a//b, pool: app}"),
		"t.yaml:5:12: warning: http.hosts[0].routes[0].path: \"/a//b\" is never reached: "
		"paths are normalised first, expected \"/a/b\"" },
	{ ROUTE("{path: /%61, pool: app}"), "is never reached: paths are normalised first" },
	{ ROUTE("{path: /../a, pool: app}"), "is never reached: such requests are refused" },
	{ ROUTE("{path: /, redirect: {scheme: https}}"),
		"on listener \"s\" it leads back to itself" },
	{ HOSTS("  - {names: x, routes: [{path: /, redirect: {host: X}}]}\n"),
		"on listener \"a\" it leads back to itself" },
	{ HOSTS("  - {names: x, listen: a, routes: [{path: /, pool: app}]}\n"),
		"http.listen[1]: no host answers on listener \"s\"" },
};

static const char *const accepted[] = {
	ROUTE("{path: /, pool: app}"),
	ROUTE("{path: /a, pool: app}, {path: /a/, pool: app}"),
	ROUTE("{path: /api/users/, strip: /api/users, pool: app}"),
	ROUTE("{path: /api/users/, strip: /api/users/, pool: app}"),
	ROUTE("{path: /, redirect: {host: other.example, status: 301}}"),
	ROUTE("{path: /, respond: {status: 404, body: gone, headers: {X-A: b, Server: c}}}"),
	HOSTS("  - {names: x, listen: s, routes: [{path: /, pool: app}]}\n"
	      "  - {names: x, listen: a, routes: [{path: /, redirect: {scheme: https}}]}\n"),
	HOSTS("  - {names: ['[::1]', 127.0.0.1, '*.x.example', a_b], routes: [{path: /, pool: "
	      "app}]}\n"),
	LISTENS("{name: a, address: '127.0.0.1:0'}, {name: b, address: '127.0.0.1:0'}"),
	LISTENS("{name: a, address: '127.0.0.1:80'}, {name: b, address: '127.0.0.2:80'}"),
};

static void
findings(const char *text, struct errs *errs, struct sbuf *out)
{
	daemon_cfg_free(fixture_bind(text, errs));
	errs_sort(errs);
	errs_format(errs, out);
}

/* Says what is wrong and returns 1; the whole table is gone through. */
static unsigned
expect_finding(const struct refusal *r, size_t errors)
{
	struct errs errs = { 0 };
	struct sbuf out = { 0 };
	bool is_right;

	findings(r->text, &errs, &out);
	is_right = out.p && strstr(out.p, r->line) && (errs.error_count > 0) == (errors > 0);
	if (!is_right)
		print_error("%s\nexpected: %s\nfound: %s\n", r->text, r->line, sbuf_str(&out));
	errs_fini(&errs);
	sbuf_fini(&out);
	return !is_right;
}

static void
test_refused(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++)
		wrong += expect_finding(&refusals[i], 1);
	assert_int_equal(wrong, 0);
}

static void
test_warned(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(warnings) / sizeof(*warnings); i++)
		wrong += expect_finding(&warnings[i], 0);
	assert_int_equal(wrong, 0);
}

static void
test_accepted(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(accepted) / sizeof(*accepted); i++) {
		struct errs errs = { 0 };
		struct sbuf out = { 0 };

		findings(accepted[i], &errs, &out);
		if (errs.n)
			fail_msg("%s\nfound: %s", accepted[i], out.p);
		errs_fini(&errs);
		sbuf_fini(&out);
	}
}

/* All problems come out at once. */
static void
test_all_at_once(void **state)
{
	struct errs errs = { 0 };
	struct sbuf out = { 0 };

	(void)state;
	findings(ROUTE("{path: x, pool: no}, {path: /}, {path: /b, respond: 1}"), &errs, &out);
	assert_int_equal(errs.error_count, 3);
	errs_fini(&errs);
	sbuf_fini(&out);
}

static void
test_defaults(void **state)
{
	struct errs errs = { 0 };
	struct daemon_cfg *dc = fixture_bind(ROUTE("{path: /, pool: app}"), &errs);
	const struct httpcfg *h = dc->own;

	(void)state;
	assert_int_equal(errs.n, 0);
	assert_null(h->user);
	assert_null(h->access_log.path);
	assert_int_equal(h->workers, 0);
	assert_int_equal(h->timeouts.head, 10000);
	assert_int_equal(h->timeouts.body, 60000);
	assert_int_equal(h->timeouts.connect, 5000);
	assert_int_equal(h->timeouts.keepalive, 75000);
	assert_int_equal(h->timeouts.tunnel, 3600000);
	assert_int_equal(h->limits.head, 32768);
	assert_int_equal(h->limits.request_line, 8192);
	assert_int_equal(h->limits.fields, 128);
	assert_int_equal(h->limits.body, 100 << 20);
	assert_int_equal(h->limits.response_head, 65536);
	assert_int_equal(h->access_log.buffer, 1 << 20);
	assert_int_equal(h->access_log.kind, ACCESSLOG_COMBINED);
	assert_true(h->forward.x_forwarded && h->forward.x_real_ip);
	assert_false(h->forward.forwarded || h->forward.via);
	daemon_cfg_free(dc);
	errs_fini(&errs);
}

static void
test_bound(void **state)
{
	struct errs errs = { 0 };
	struct daemon_cfg *dc = fixture_bind(
		ROUTE("{path: /a/, strip: /a/, pool: app, max_body: 0, timeouts: {read: 1m}},\n"
		      "{path: /b, respond: 204}, {path: /c, respond: \"204\"},\n"
		      "{path: /d, respond: {body: x}}, {path: /e, redirect: {scheme: https, host: "
		      "n.example}, max_body: 5k}") "  access_log: {path: '-', format: json}\n"
						   "  trusted_proxies: [10.0.0.0/8, unix]\n"
						   "  limits: {body: 0}\n",
		&errs);
	const struct httpcfg *h = dc->own;
	const struct routecfg *r =
		CFG_AT(const struct routecfg, CFG_AT(const struct hostcfg, h->hosts, 0)->routes, 0);

	(void)state;
	assert_int_equal(errs.error_count, 0);
	assert_string_equal(r[0].strip, "/a");
	assert_true(r[0].max_body == UINT64_MAX);
	assert_int_equal(r[0].timeouts.read, 60000);
	assert_int_equal(r[0].timeouts.body, 0);
	assert_true(r[1].respond.is_set);
	assert_int_equal(r[1].respond.status, 204);
	assert_null(r[1].respond.body);
	assert_int_equal(r[2].respond.status, 200);
	assert_string_equal(r[2].respond.body, "204");
	assert_string_equal(r[3].respond.content_type, "text/plain; charset=utf-8");
	assert_true(r[4].redirect.is_set);
	assert_int_equal(r[4].redirect.status, 308);
	assert_int_equal(r[4].max_body, 5120);
	assert_false(r[0].redirect.is_set || r[0].respond.is_set);
	assert_string_equal(h->access_log.path, "-");
	assert_int_equal(h->access_log.kind, ACCESSLOG_JSON);
	assert_int_equal(h->trusted_proxies.n, 2);
	assert_int_equal(h->limits.body, 0);
	daemon_cfg_free(dc);
	errs_fini(&errs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_warned),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
