/*
 * A compiled generation: what falls back to what, pools given and taken back, the end.
 */
#include "tests/unit/routerd/http_fixture.h"

static const char conf[] =
	"pools:\n"
	"  one: {servers: [{address: 'h:1'}]}\n"
	"  two: {servers: [{address: 'h:2'}]}\n"
	"http:\n"
	"  listen: [{name: http, address: '*:80'}, {name: https, from: tlsd}]\n"
	"  timeouts: {read: 7s}\n"
	"  limits: {body: 1m, head: 4k, request_line: 1k, fields: 50, response_head: 8k}\n"
	"  hosts:\n"
	"    - names: [x.example, y.example]\n"
	"      routes:\n"
	"        - {path: /a, pool: two, timeouts: {read: 3s, tunnel: 2h}, max_body: 5}\n"
	"        - {path: /b/, strip: /b, pool: one, max_body: 0}\n"
	"        - {path: /c, redirect: {host: z.example}}\n"
	"        - {path: /d, respond: 204}\n"
	"        - {path: /e, echo: on}\n";

static unsigned given;
static unsigned returned;

static struct pool *
give_pool(void *arg, const struct poolcfg *cfg)
{
	assert_string_equal(arg, "arg");
	given++;
	return (struct pool *)(uintptr_t)cfg;
}

void
pool_unref(struct pool *p)
{
	assert_non_null(p);
	returned++;
}

static void
test_listeners(void **state)
{
	struct snapshot *s = fixture_snapshot(conf);

	(void)state;
	assert_int_equal(s->listener_count, 2);
	assert_int_equal(snapshot_listener(s, "https")->index, 1);
	assert_true(slice_eq(snapshot_listener(s, "http")->scheme, SLICE("http")));
	assert_true(slice_eq(snapshot_listener(s, "https")->scheme, SLICE("https")));
	assert_false(snapshot_listener(s, "http")->needs_proxy);
	assert_true(snapshot_listener(s, "https")->needs_proxy);
	assert_null(snapshot_listener(s, "no"));
	snapshot_unref(s);
}

static void
test_routes(void **state)
{
	struct snapshot *s = fixture_snapshot(conf);
	const struct route *r = s->route_v;

	(void)state;
	assert_int_equal(s->route_count, 5);
	assert_string_equal(r[0].name, "x.example/a");
	assert_int_equal(r[0].action, ACTION_POOL);
	assert_int_equal(r[2].action, ACTION_REDIRECT);
	assert_int_equal(r[3].action, ACTION_RESPOND);
	assert_int_equal(r[4].action, ACTION_ECHO);
	assert_true(slice_eq(r[1].strip, SLICE("/b")));
	assert_int_equal(r[0].strip.n, 0);
	snapshot_unref(s);
}

/* A route's own value, else http's, else the default. */
static void
test_fall_back(void **state)
{
	struct snapshot *s = fixture_snapshot(conf);
	const struct route *r = s->route_v;

	(void)state;
	assert_int_equal(s->timeouts.read, 7000);
	assert_int_equal(s->timeouts.head, 10000);
	assert_int_equal(r[0].timeouts.read, 3000);
	assert_int_equal(r[0].timeouts.tunnel, 7200000);
	assert_int_equal(r[0].timeouts.connect, 5000);
	assert_int_equal(r[1].timeouts.read, 7000);
	assert_int_equal(r[1].timeouts.keepalive, 75000);
	assert_int_equal(s->max_body, 1 << 20);
	assert_int_equal(r[0].max_body, 5);
	assert_true(r[1].max_body == UINT64_MAX);
	assert_int_equal(r[2].max_body, 1 << 20);
	assert_int_equal(s->request_limits.head_bytes, 4096);
	assert_int_equal(s->request_limits.target_bytes, 1024);
	assert_int_equal(s->request_limits.fields, 50);
	assert_int_equal(s->response_limits.head_bytes, 8192);
	snapshot_unref(s);
}

static void
test_pools(void **state)
{
	struct snapshot *s = fixture_snapshot(conf);
	char arg[] = "arg";

	(void)state;
	given = returned = 0;
	snapshot_set_pools(s, give_pool, arg);
	assert_int_equal(given, 2);
	assert_int_equal(s->pool_count, 2);
	assert_ptr_equal(s->pools[0], commoncfg_pool(&s->dc->common, "one"));
	assert_ptr_equal(s->route_v[0].pool, s->pools[1]);
	assert_ptr_equal(s->route_v[1].pool, s->pools[0]);
	assert_null(s->route_v[2].pool);
	snapshot_ref(s);
	snapshot_unref(s);
	assert_int_equal(returned, 0);
	snapshot_unref(s);
	assert_int_equal(returned, 2);
	snapshot_unref(NULL);
}

/* One that never got its pools has none to give back. */
static void
test_dropped_early(void **state)
{
	(void)state;
	returned = 0;
	snapshot_unref(fixture_snapshot(conf));
	assert_int_equal(returned, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listeners),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_fall_back),
		cmocka_unit_test(test_pools),
		cmocka_unit_test(test_dropped_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
