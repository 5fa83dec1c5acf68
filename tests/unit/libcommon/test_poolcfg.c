/*
 * poolcfg: the top level and pools: defaults, the short forms, and each check's own message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "libcommon/log.h"
#include "libcommon/poolcfg.h"

struct bound {
	struct errs errs;
	struct cfg *cfg;
	struct arena arena;
	struct commoncfg common;
};

static void
bind_in(struct bound *b, const char *dir, const char *text)
{
	*b = (struct bound){ 0 };
	arena_init(&b->arena, 0);
	b->cfg = cfg_parse("w.yaml", dir, slice_str(text), &b->errs);
	assert_non_null(b->cfg);

	struct cfg_ctx ctx = { .cfg = b->cfg, .arena = &b->arena, .errs = &b->errs };

	commoncfg_bind(&ctx, &b->common);
}

static void
bind_text(struct bound *b, const char *text)
{
	bind_in(b, "/etc/weir", text);
}

static void
unbind(struct bound *b)
{
	errs_fini(&b->errs);
	arena_fini(&b->arena);
	cfg_free(b->cfg);
}

static const struct servercfg *
server_at(const struct poolcfg *pool, size_t i)
{
	return CFG_AT(struct servercfg, pool->servers, i);
}

static void
test_defaults(void **state)
{
	struct bound b;
	const struct commoncfg *c = &b.common;
	const struct poolcfg *p;

	(void)state;
	bind_text(&b, "");
	assert_int_equal(b.errs.n, 0);
	assert_string_equal(c->run_dir, "/etc/weir/run");
	assert_string_equal(c->state_dir, "/etc/weir/state");
	assert_null(c->control_group);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	assert_int_equal(c->shutdown_timeout_ms, 30000);
	assert_int_equal(c->pools.n, 0);
	assert_null(commoncfg_pool(c, "app"));
	unbind(&b);

	bind_text(&b, "pools: {app: {servers: ['127.0.0.1:9001']}}");
	assert_int_equal(b.errs.n, 0);
	p = commoncfg_pool(c, "app");
	assert_non_null(p);
	assert_string_equal(p->name, "app");
	assert_int_equal(p->balance, BALANCE_ROUND_ROBIN);
	assert_int_equal(p->keepalive, 32);
	assert_int_equal(p->keepalive_requests, 0);
	assert_int_equal(p->idle_timeout_ms, 60000);
	assert_int_equal(p->retries, 2);
	assert_int_equal(p->retry_budget_percent, 20);
	assert_int_equal(p->retry_budget_min, 3);
	assert_int_equal(p->check.kind, CHECK_NONE);
	assert_null(p->check.node);
	assert_int_equal(p->passive.max_fails, 3);
	assert_int_equal(p->passive.fail_timeout_ms, 10000);
	assert_int_equal(p->servers.n, 1);
	assert_string_equal(server_at(p, 0)->name, "127.0.0.1:9001");
	assert_string_equal(server_at(p, 0)->address_text, "127.0.0.1:9001");
	assert_int_equal(server_at(p, 0)->address.port, 9001);
	assert_int_equal(server_at(p, 0)->weight, 1);
	assert_false(server_at(p, 0)->backup || server_at(p, 0)->down);
	unbind(&b);
}

static void
test_servers(void **state)
{
	struct bound b;
	const struct poolcfg *p;

	(void)state;
	bind_text(&b,
		"run_dir: /run/weir\n"
		"log: {level: debug}\n"
		"control_group: operators\n"
		"pools:\n"
		"  a.b_c-1:\n"
		"    servers:\n"
		"    - app.internal\n"
		"    - \"[::1]:81\"\n"
		"    - unix:run/app.sock\n"
		"    - { name: spare, address: \"10.0.0.1\", weight: 0, backup: yes, down: on }\n"
		"    retry_budget: { percent: 0, min: 1 }\n"
		"    passive: { max_fails: 0 }\n"
		"http: { whatever: [is, not, ours] }\n");
	assert_int_equal(b.errs.n, 0);
	assert_string_equal(b.common.run_dir, "/run/weir");
	assert_int_equal(b.common.log_level, LOG_LEVEL_DEBUG);
	p = commoncfg_pool(&b.common, "a.b_c-1");
	assert_non_null(p);
	assert_int_equal(p->servers.n, 4);
	assert_int_equal(server_at(p, 0)->address.kind, ADDR_NAME);
	assert_int_equal(server_at(p, 0)->address.port, 80);
	assert_string_equal(server_at(p, 1)->name, "[::1]:81");
	assert_int_equal(server_at(p, 2)->address.kind, ADDR_UNIX);
	assert_string_equal(server_at(p, 2)->address.addr.un.sun_path, "/etc/weir/run/app.sock");
	assert_string_equal(server_at(p, 2)->name, "unix:run/app.sock");
	assert_string_equal(server_at(p, 3)->name, "spare");
	assert_string_equal(server_at(p, 3)->address_text, "10.0.0.1");
	assert_int_equal(server_at(p, 3)->weight, 0);
	assert_true(server_at(p, 3)->backup && server_at(p, 3)->down);
	assert_int_equal(p->retry_budget_percent, 0);
	assert_int_equal(p->retry_budget_min, 1);
	assert_int_equal(p->passive.max_fails, 0);
	unbind(&b);
}

static void
test_checks(void **state)
{
	struct bound b;
	const struct checkcfg *c;

	(void)state;
	bind_text(&b,
		"pools:\n"
		"  h: { servers: [x], check: { http: {} } }\n"
		"  t: { servers: [x], check: { tcp: on, port: 99, jitter: 0 } }\n"
		"  n: { servers: [x], check: { tcp: off } }\n"
		"  f:\n"
		"    servers: [x]\n"
		"    check:\n"
		"      http: { method: HEAD, path: \"/h?x=1\", host: \"a:8\", status: [200, \"204-299\"],\n"
		"              headers: { X-Probe: weir } }\n"
		"      interval: 1s\n"
		"      fast_interval: 200ms\n"
		"      timeout: 500ms\n"
		"      fall: 5\n"
		"      rise: 1\n");
	assert_int_equal(b.errs.n, 0);
	c = &commoncfg_pool(&b.common, "h")->check;
	assert_int_equal(c->kind, CHECK_HTTP);
	assert_non_null(c->node);
	assert_string_equal(c->method, "GET");
	assert_string_equal(c->path, "/");
	assert_null(c->host);
	assert_int_equal(c->status.n, 1);
	assert_int_equal(CFG_AT(struct cfg_range, c->status, 0)->lo, 200);
	assert_int_equal(CFG_AT(struct cfg_range, c->status, 0)->hi, 399);
	assert_int_equal(c->interval_ms, 5000);
	assert_int_equal(c->fast_interval_ms, 0);
	assert_int_equal(c->timeout_ms, 2000);
	assert_int_equal(c->fall, 3);
	assert_int_equal(c->rise, 2);
	assert_int_equal(c->jitter_percent, 10);
	assert_int_equal(c->port, 0);
	c = &commoncfg_pool(&b.common, "t")->check;
	assert_int_equal(c->kind, CHECK_TCP);
	assert_int_equal(c->port, 99);
	assert_int_equal(c->jitter_percent, 0);
	assert_int_equal(commoncfg_pool(&b.common, "n")->check.kind, CHECK_NONE);
	c = &commoncfg_pool(&b.common, "f")->check;
	assert_string_equal(c->method, "HEAD");
	assert_string_equal(c->path, "/h?x=1");
	assert_string_equal(c->host, "a:8");
	assert_int_equal(c->status.n, 2);
	assert_int_equal(c->headers.n, 1);
	assert_int_equal(c->fast_interval_ms, 200);
	unbind(&b);
}

struct bad_case {
	const char *text;
	const char *errors;
};

#define NAME \
	"not a name, expected letters, digits, '.', '_' and '-', at most 64, the first no '.'\n"
#define SERVER_NAME                                                                          \
	"not a name, expected letters, digits and any of . _ - : [ ] / %, at most 128, the " \
	"first no '.'\n"

static const struct bad_case bad[] = {
	{ "poools: {}", "w.yaml:1:1: poools: unknown key, did you mean \"pools\"?\n" },
	{ "htpt: {}", "w.yaml:1:1: htpt: unknown key, did you mean \"http\"?\n" },
	{ "caches: {}",
		"w.yaml:1:1: caches: unknown key, expected one of run_dir, state_dir, "
		"control_group, log, debug, shutdown_timeout, pools, upstream_tls, tls, http, health, up\n" },
	{ "log: {level: verbose}",
		"w.yaml:1:14: log.level: \"verbose\" is not known, expected one "
		"of debug, info, warn, error\n" },
	{ "pools: [a]", "w.yaml:1:8: pools: found a list, expected a mapping of names to pools\n" },
	{ "pools: {app: }",
		"w.yaml:1:9: pools.app.servers: missing, expected a list of servers\n" },
	{ "pools: {app: {servers: }}",
		"w.yaml:1:15: pools.app.servers: empty, expected a list of servers\n" },
	{ "pools: {app: {servers: []}}",
		"w.yaml:1:15: pools.app.servers: empty, expected a list of servers\n" },
	{ "pools: {app: {servers: x}}",
		"w.yaml:1:24: pools.app.servers: found \"x\", expected a list of servers\n" },
	{ "pools: {'a b': {servers: [x]}}", "w.yaml:1:9: pools.\"a b\": " NAME },
	{ "pools: {../x: {servers: [x]}}", "w.yaml:1:9: pools.../x: " NAME },
	{ "pools: {a: {servers: [{name: x}]}}",
		"w.yaml:1:23: pools.a.servers[0].address: missing, expected an address such as "
		"\"127.0.0.1:8080\"\n" },
	{ "pools: {a: {servers: [{name: 'x y', address: h}]}}",
		"w.yaml:1:24: pools.a.servers[0].name: " SERVER_NAME },
	{ "pools: {a: {servers: ['unix:/a b']}}",
		"w.yaml:1:23: pools.a.servers[0].address: the address makes no good name, expected "
		"a name as well\n" },
	{ "pools: {a: {servers: ['*:80']}}",
		"w.yaml:1:23: pools.a.servers[0].address: \"*:80\" means any address, expected one "
		"to connect to\n" },
	{ "pools:\n  a:\n    servers:\n    - x:1\n    - x:1\n",
		"w.yaml:5:7: pools.a: two servers are called \"x:1\", the other one is at 4:7, "
		"expected names of their own\n" },
	{ "pools:\n  a:\n    servers:\n    - {name: s, address: x}\n    - y\n    - {name: s, address: z}\n",
		"w.yaml:6:7: pools.a: two servers are called \"s\", the other one is at 4:7, "
		"expected names of their own\n" },
	{ "pools: {a: {servers: ['https://x', y]}}",
		"w.yaml:1:36: pools.a: \"y\" is spoken to in clear text and others of this pool over "
		"TLS, expected one of both for all\n" },
	{ "pools: {a: {tls: default, servers: ['http://x']}}",
		"w.yaml:1:37: pools.a: \"http://x\" is spoken to in clear text and others of this "
		"pool over TLS, expected one of both for all\n" },
	{ "pools: {a: {tls: inner, servers: [x]}}\nupstream_tls: {policies: {inter: {}}}",
		"w.yaml:1:13: pools.a.tls: there is no policy \"inner\" in `upstream_tls.policies`; "
		"did you mean \"inter\"?\n" },
	{ "pools: {a: {servers: [{address: x, max_conns: 4}]}}",
		"w.yaml:1:36: pools.a.servers[0].max_conns: unknown key, expected one of name, "
		"address, weight, backup, down\n" },
	{ "pools: {a: {balance: least_conn, servers: [x]}}",
		"w.yaml:1:22: pools.a.balance: \"least_conn\" is not known, expected "
		"round_robin\n" },
	{ "pools: {a: {servers: [x], check: {}}}",
		"w.yaml:1:27: pools.a.check: neither http nor grpc nor tcp, expected one of them\n" },
	{ "pools: {a: {servers: [x], check: {http: {}, tcp: on}}}",
		"w.yaml:1:27: pools.a.check: more than one of http, grpc and tcp, expected one\n" },
	{ "pools: {a: {servers: [x], check: on}}",
		"w.yaml:1:34: pools.a.check: found \"on\", expected a mapping\n" },
	{ "pools: {a: {servers: [x], check: {http: {method: 'G T'}}}}",
		"w.yaml:1:42: pools.a.check.http.method: not a method, expected a word such as "
		"GET\n" },
	{ "pools: {a: {servers: [x], check: {http: {path: health}}}}",
		"w.yaml:1:42: pools.a.check.http.path: expected a path that begins with / and has "
		"no blanks and no #\n" },
	{ "pools: {a: {servers: [x], check: {http: {path: \"/a\\r\\nX: y\"}}}}",
		"w.yaml:1:42: pools.a.check.http.path: expected a path that begins with / and has "
		"no blanks and no #\n" },
	{ "pools: {a: {servers: [x], check: {http: {host: \"a\\r\\nX: y\"}}}}",
		"w.yaml:1:42: pools.a.check.http.host: not a host, expected one such as "
		"\"app.example:8080\"\n" },
	{ "pools: {a: {servers: [x], check: {http: {headers: {'A b': 1, Host: x, X: \"a\\nb\"}}}}}",
		"w.yaml:1:52: pools.a.check.http.headers.\"A b\": not a field name, expected a word "
		"such as X-Probe\n"
		"w.yaml:1:62: pools.a.check.http.headers.Host: set by the probe itself, expected it "
		"as \"host\" beside \"headers\"\n"
		"w.yaml:1:71: pools.a.check.http.headers.X: a control character in the value\n" },
	{ "pools: {a: {servers: [x], check: {http: {headers: {content-length: 1}}}}}",
		"w.yaml:1:52: pools.a.check.http.headers.content-length: set by the probe itself\n" },
	{ "pools: {a: {servers: [x], check: {tcp: on, port: 65536, fall: 0, jitter: 51}}}",
		"w.yaml:1:50: pools.a.check.port: \"65536\" is out of range, expected a whole "
		"number from 0 to 65535\n"
		"w.yaml:1:63: pools.a.check.fall: \"0\" is out of range, expected a whole number "
		"from 1 to 1000\n"
		"w.yaml:1:74: pools.a.check.jitter: \"51\" is out of range, expected a whole number "
		"from 0 to 50\n" },
};

static void
test_messages(void **state)
{
	struct bound b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct sbuf got = { 0 };

		bind_text(&b, bad[i].text);
		errs_sort(&b.errs);
		errs_format(&b.errs, &got);
		if (strcmp(sbuf_str(&got), bad[i].errors) != 0)
			fail_msg("%s:\n got %s\nwant %s", bad[i].text, got.p, bad[i].errors);
		sbuf_fini(&got);
		unbind(&b);
	}
}

/* Too long by one, spelled out and as the default; with slashes behind. */
static void
test_run_dir(void **state)
{
	char dir[COMMONCFG_RUN_DIR_MAX + 2];
	char text[sizeof(dir) + 16];
	struct bound b;

	(void)state;
	memset(dir, 'd', sizeof(dir));
	dir[0] = '/';
	dir[COMMONCFG_RUN_DIR_MAX] = '\0';
	snprintf(text, sizeof(text), "run_dir: %s", dir);
	bind_text(&b, text);
	assert_int_equal(b.errs.n, 0);
	unbind(&b);

	dir[COMMONCFG_RUN_DIR_MAX] = 'd';
	dir[COMMONCFG_RUN_DIR_MAX + 1] = '\0';
	snprintf(text, sizeof(text), "run_dir: %s", dir);
	bind_text(&b, text);
	assert_int_equal(b.errs.n, 1);
	assert_string_equal(b.errs.v[0].path, "run_dir");
	assert_non_null(strstr(b.errs.v[0].text,
		"has 82 bytes, expected at most 81, so that the sockets in it have paths the "
		"system takes (107)"));
	unbind(&b);

	dir[COMMONCFG_RUN_DIR_MAX - 2] = '\0';
	bind_in(&b, dir, "");
	assert_int_equal(b.errs.n, 1);
	assert_string_equal(b.errs.v[0].path, "run_dir");
	unbind(&b);

	bind_text(&b, "run_dir: run/a//\nstate_dir: /\n");
	assert_int_equal(b.errs.n, 0);
	assert_string_equal(b.common.run_dir, "/etc/weir/run/a");
	assert_string_equal(b.common.state_dir, "/");
	unbind(&b);
	bind_text(&b, "state_dir: /a/state/\n");
	assert_string_equal(b.common.state_dir, "/a/state");
	unbind(&b);
}

/* 5,000 servers in one pool: quick, and the twin is found. */
static void
test_many_servers(void **state)
{
	struct sbuf text = { 0 };
	struct bound b;

	(void)state;
	sbuf_adds(&text, "pools:\n  big:\n    servers:\n");
	for (int i = 0; i < 5000; i++)
		sbuf_addf(&text, "    - { name: s%d, address: \"10.0.%d.%d:80\" }\n",
			i == 4999 ? 17 : i, i / 250, i % 250);
	bind_text(&b, text.p);
	assert_int_equal(b.errs.n, 1);
	assert_int_equal(b.errs.v[0].line, 5003);
	assert_int_equal(commoncfg_pool(&b.common, "big")->servers.n, 5000);
	unbind(&b);
	sbuf_fini(&text);
}

static void
test_merge(void **state)
{
	struct bound b;

	(void)state;
	bind_text(&b,
		"pools:\n"
		"  one: &one { servers: [x], keepalive: 5, retries: 1 }\n"
		"  two: { <<: *one, retries: 0 }\n");
	assert_int_equal(b.errs.n, 0);
	assert_int_equal(commoncfg_pool(&b.common, "two")->keepalive, 5);
	assert_int_equal(commoncfg_pool(&b.common, "two")->retries, 0);
	assert_int_equal(commoncfg_pool(&b.common, "two")->servers.n, 1);
	unbind(&b);
}

static void
require_help(void *arg, const char *path, const struct cfg_row *row)
{
	size_t *count = arg;

	++*count;
	if (row->help == NULL)
		fail_msg("%s has no help", path);
}

/* Every key says what it means, and every default binds (they did, in the other tests). */
static void
test_schema(void **state)
{
	size_t count = 0;

	(void)state;
	cfg_schema_walk(&commoncfg_schema, "", require_help, &count);
	assert_true(count > 35);
}

static void
test_tls(void **state)
{
	static const char text[] =
		"upstream_tls: {policies: {p: {name: n.example}, q: {name: n.example}}}\n"
		"pools:\n"
		"  clear: {servers: ['x', 'http://x:81', 'unix:/s']}\n"
		"  plain: {servers: ['https://x', 'https://[::1]:8443']}\n"
		"  p: {tls: p, servers: [x, 'https://10.0.0.1', 'unix:/s']}\n"
		"  again: {tls: p, servers: [x]}\n"
		"  q: {tls: q, servers: [x]}\n";
	struct bound b;
	char host[TLSPOLICY_HOST];
	const struct poolcfg *clear;
	const struct poolcfg *plain;
	const struct poolcfg *p;

	(void)state;
	bind_text(&b, text);
	assert_int_equal(b.errs.n, 0);
	clear = commoncfg_pool(&b.common, "clear");
	plain = commoncfg_pool(&b.common, "plain");
	p = commoncfg_pool(&b.common, "p");
	assert_null(clear->tls);
	assert_int_equal(clear->tls_id, 0);
	assert_int_equal(CFG_AT(struct servercfg, clear->servers, 0)->address.port, 80);
	assert_int_equal(CFG_AT(struct servercfg, clear->servers, 1)->address.port, 81);
	assert_string_equal(plain->tls, "default");
	assert_int_equal(CFG_AT(struct servercfg, plain->servers, 0)->address.port, 443);
	assert_string_equal(CFG_AT(struct servercfg, plain->servers, 0)->address_text, "https://x");
	assert_string_equal(
		tlspolicy_host(&CFG_AT(struct servercfg, plain->servers, 1)->address, host), "::1");
	assert_int_equal(CFG_AT(struct servercfg, p->servers, 0)->address.port, 443);
	assert_string_equal(CFG_AT(struct servercfg, p->servers, 0)->address_text, "https://x");
	assert_string_equal(CFG_AT(struct servercfg, p->servers, 0)->name, "x");
	assert_string_equal(tlspolicy_host(&CFG_AT(struct servercfg, p->servers, 1)->address, host),
		"10.0.0.1");
	assert_string_equal(
		tlspolicy_host(&CFG_AT(struct servercfg, p->servers, 2)->address, host), "");
	/* The same policy is the same identity, another one of the same content is not. */
	assert_int_equal(commoncfg_pool(&b.common, "again")->tls_id, p->tls_id);
	assert_int_not_equal(commoncfg_pool(&b.common, "q")->tls_id, p->tls_id);
	assert_int_not_equal(plain->tls_id, 0);
	unbind(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_run_dir),
		cmocka_unit_test(test_many_servers),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
