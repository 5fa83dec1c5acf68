/* A healthd's end of the bus and a router's in one loop: what is said arrives. */
#include "tests/unit/routerd/pools.h"

#include <unistd.h>

#include "libcommon/bus.h"
#include "routerd/busio.h"

#define PATIENCE_MS 5000

struct fixture {
	char dir[64];
	struct loop *loop;
	struct backends *b;
	struct poolcfg *cfg;
	struct pool *p;
	struct bus *healthd;
	struct busio *io;
	struct loop_timer *look;
	bool (*is_done)(struct fixture *f);
	uint64_t began_ms;
	/* what healthd heard */
	unsigned hellos;
	char config[65];
	uint32_t fails;
	char reason[41];
	char who[32];
	uint64_t seq;
};

static void
on_heard(void *arg, struct slice topic, struct slice message)
{
	struct fixture *f = arg;
	struct arena a;
	struct busmsg m;
	struct err err;

	(void)topic;
	arena_init(&a, 0);
	assert_int_equal(busmsg_decode(message, &a, &m, &err), 0);
	snprintf(f->who, sizeof(f->who), "%s", m.who);
	assert_true(m.seq > f->seq);
	f->seq = m.seq;
	if (m.kind == BUSMSG_HELLO) {
		f->hellos++;
		snprintf(f->config, sizeof(f->config), "%s", m.config);
	}
	for (size_t i = 0; m.kind == BUSMSG_EVIDENCE && i < m.count; i++) {
		assert_string_equal(m.subject, "app");
		assert_string_equal(m.evidence[i].name, "a");
		f->fails += m.evidence[i].fails;
		snprintf(f->reason, sizeof(f->reason), "%s", m.evidence[i].reason);
	}
	arena_fini(&a);
}

static void
look(void *arg)
{
	struct fixture *f = arg;

	if (f->is_done(f) || loop_now_ms(f->loop) > f->began_ms + PATIENCE_MS)
		loop_stop(f->loop);
}

static void
run_until(struct fixture *f, bool (*is_done)(struct fixture *f))
{
	f->is_done = is_done;
	f->began_ms = loop_now_ms(f->loop);
	loop_timer_set(f->look, 5, true);
	loop_run(f->loop);
	assert_true(is_done(f));
}

static bool
is_connected(struct fixture *f)
{
	struct busio_stats st;

	busio_get_stats(f->io, &st);
	return st.bus.peers > 0 && f->hellos > 0;
}

static int
setup(void **state)
{
	static const struct pools_server v[] = { { "a", 1, 0, 0, NULL }, { "b", 1, 0, 0, NULL } };
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct err err;

	snprintf(f->dir, sizeof(f->dir), "/tmp/busioXXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->loop = loop_new();
	f->b = backends_new(f->loop, &err);
	f->cfg = pools_cfg("app", v, 2);
	f->cfg->check.kind = CHECK_HTTP;
	f->p = backends_pool(f->b, f->cfg);
	backends_commit(f->b, &f->p, 1);
	f->healthd = bus_bind(f->loop, f->dir, "healthd", "0", &err);
	assert_non_null(f->healthd);
	bus_subscribe(f->healthd, "evidence.", on_heard, f);
	bus_subscribe(f->healthd, "hello.routerd ", on_heard, f);
	f->io = busio_new(f->loop, f->dir, "routerd.0", f->b, &err);
	assert_non_null(f->io);
	busio_set_config(f->io, "abc123");
	f->look = loop_timer_new(f->loop, look, f);
	run_until(f, is_connected);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	loop_timer_free(f->look);
	busio_free(f->io);
	bus_free(f->healthd);
	backends_free(f->b);
	loop_free(f->loop);
	pools_cfg_free(f->cfg);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static void
say_health(struct fixture *f, const char *pool, enum probe_state a)
{
	const struct servercfg *s = f->cfg->servers.v;
	struct busmsg_server v = {
		.name = s[0].name,
		.address = s[0].address_text,
		.state = a,
		.reason = a == PROBE_DOWN ? "http_503" : "",
		.is_probed = true,
	};
	const struct busmsg m = {
		.kind = BUSMSG_HEALTH,
		.subject = pool,
		.who = "healthd.0",
		.epoch = "e",
		.seq = 1,
		.ttl_ms = 5000,
		.shards = 1,
		.is_round_done = true,
		.servers = &v,
		.count = 1,
	};
	struct sbuf out = { 0 };
	struct err err;

	assert_int_equal(busmsg_encode(&m, &out, &err), 0);
	assert_int_equal(bus_publish(f->healthd, sbuf_slice(&out)), 0);
	sbuf_fini(&out);
}

static bool
is_a_down(struct fixture *f)
{
	return f->p->members[0].server->state->shown.verdict == VERDICT_DOWN;
}

static bool
is_a_up(struct fixture *f)
{
	return f->p->members[0].server->state->shown.verdict == VERDICT_UP;
}

static bool
is_a_picked(struct fixture *f)
{
	char out[8];

	return strchr(pools_picks(f->p, 4, out), 'a') != NULL;
}

static void
test_verdict_is_obeyed(void **state)
{
	struct fixture *f = *state;

	assert_true(is_a_picked(f));
	say_health(f, "app", PROBE_DOWN);
	run_until(f, is_a_down);
	assert_false(is_a_picked(f));
	assert_string_equal(f->p->members[0].server->state->shown.reason, "http_503");
	assert_true(f->p->heard_ms > 0);
	say_health(f, "app", PROBE_UP);
	run_until(f, is_a_up);
	assert_true(is_a_picked(f));
}

static bool
is_counted(struct fixture *f)
{
	struct busio_stats st;

	busio_get_stats(f->io, &st);
	return st.malformed == 3 && st.unknown == 1;
}

static void
test_malformed_is_counted(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(bus_publish(f->healthd, SLICE("health.app {\"v\":")), 0);
	assert_int_equal(bus_publish(f->healthd, SLICE("health.app ")), 0);
	assert_int_equal(bus_publish(f->healthd, SLICE("health.app []")), 0);
	say_health(f, "elsewhere", PROBE_DOWN);
	run_until(f, is_counted);
	assert_true(is_a_picked(f));
}

static bool
is_evidence_there(struct fixture *f)
{
	return f->fails >= 5;
}

static void
test_evidence_arrives(void **state)
{
	struct fixture *f = *state;
	struct server *s = f->p->members[0].server;

	f->p->max_fails = 0;
	for (int i = 0; i < 5; i++) {
		server_begin(s);
		server_end(s, f->p, SERVER_CONNECT, 1, 1);
	}
	run_until(f, is_evidence_there);
	assert_int_equal(f->fails, 5);
	assert_string_equal(f->reason, "connect_failed");
	assert_string_equal(f->who, "routerd.0");
	assert_string_equal(f->config, "abc123");
}

#define BOTH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_verdict_is_obeyed),
		BOTH(test_malformed_is_counted),
		BOTH(test_evidence_arrives),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("busio", tests, NULL, NULL);
}
