/* busmsg: what is encoded decodes to the same; everything else is refused, from exact-size copies.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "libcommon/busmsg.h"

static int
decode_exact(const char *p, size_t n, struct arena *a, struct busmsg *m, struct err *err)
{
	char *copy = malloc(n ? n : 1);

	memcpy(copy, p, n);

	int rc = busmsg_decode(slice_make(copy, n), a, m, err);

	free(copy);
	return rc;
}

static struct busmsg_server sample[] = {
	{ "app1", "127.0.0.1:9001", PROBE_UP, "", 1200, 0, 30, 5, 0, true },
	{ "ap\"p2", "app.internal:3000", PROBE_DOWN, "http_503", 70, 900, 1, 0, 3, true },
	{ "app 3", "unix:/run/x", PROBE_UNKNOWN, "", 0, 0, 0, 0, 0, false },
};

static struct busmsg
sample_health(void)
{
	return (struct busmsg){
		.kind = BUSMSG_HEALTH,
		.subject = "app pool%",
		.who = "healthd.0",
		.epoch = "b007-1f",
		.seq = 42,
		.ttl_ms = 5000,
		.shard = 1,
		.shards = 3,
		.is_round_done = true,
		.servers = sample,
		.count = 3,
	};
}

static void
test_health_round_trip(void **state)
{
	struct arena a;
	struct busmsg m = sample_health();
	struct busmsg got;
	struct sbuf out = { 0 };
	struct err err;

	(void)state;
	arena_init(&a, 0);
	assert_int_equal(busmsg_encode(&m, &out, &err), 0);
	assert_memory_equal(out.p, "health.app%20pool%25 {", 22);
	assert_int_equal(decode_exact(out.p, out.n, &a, &got, &err), 0);
	assert_string_equal(got.subject, "app pool%");
	assert_string_equal(got.who, "healthd.0");
	assert_string_equal(got.epoch, "b007-1f");
	assert_int_equal(got.seq, 42);
	assert_int_equal(got.ttl_ms, 5000);
	assert_int_equal(got.shard, 1);
	assert_int_equal(got.shards, 3);
	assert_true(got.is_round_done);
	assert_int_equal(got.count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(got.servers[i].name, sample[i].name);
		assert_string_equal(got.servers[i].address, sample[i].address);
		assert_string_equal(got.servers[i].reason, sample[i].reason);
		assert_int_equal(got.servers[i].state, sample[i].state);
		assert_int_equal(got.servers[i].since_ms, sample[i].since_ms);
		assert_int_equal(got.servers[i].failing_ms, sample[i].failing_ms);
		assert_int_equal(got.servers[i].probe_age_ms, sample[i].probe_age_ms);
		assert_int_equal(got.servers[i].rise, sample[i].rise);
		assert_int_equal(got.servers[i].fall, sample[i].fall);
		assert_int_equal(got.servers[i].is_probed, sample[i].is_probed);
	}
	sbuf_fini(&out);
	arena_fini(&a);
}

static void
test_evidence_and_hello_round_trip(void **state)
{
	struct busmsg_evidence ev[] = { { "a", "127.0.0.1:1", "connect_refused", 7 } };
	struct busmsg m = { .kind = BUSMSG_EVIDENCE,
		.subject = "p",
		.who = "routerd.0",
		.epoch = "e",
		.seq = 1,
		.ttl_ms = 1,
		.shards = 1,
		.evidence = ev,
		.count = 1 };
	struct arena a;
	struct busmsg got;
	struct sbuf out = { 0 };
	struct err err;

	(void)state;
	arena_init(&a, 0);
	assert_int_equal(busmsg_encode(&m, &out, &err), 0);
	assert_int_equal(decode_exact(out.p, out.n, &a, &got, &err), 0);
	assert_int_equal(got.kind, BUSMSG_EVIDENCE);
	assert_string_equal(got.evidence[0].reason, "connect_refused");
	assert_int_equal(got.evidence[0].fails, 7);

	m.kind = BUSMSG_HELLO;
	m.version = "0.1.0";
	m.config = "abc";
	sbuf_clear(&out);
	assert_int_equal(busmsg_encode(&m, &out, &err), 0);
	assert_int_equal(decode_exact(out.p, out.n, &a, &got, &err), 0);
	assert_int_equal(got.kind, BUSMSG_HELLO);
	assert_string_equal(got.version, "0.1.0");
	assert_string_equal(got.config, "abc");
	sbuf_fini(&out);
	arena_fini(&a);
}

/* No proper prefix is a message, and no reader looks past the end. */
static void
test_every_prefix_is_refused(void **state)
{
	struct busmsg m = sample_health();
	struct sbuf out = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(busmsg_encode(&m, &out, &err), 0);
	for (size_t n = 0; n < out.n; n++) {
		struct arena a;
		struct busmsg got;

		arena_init(&a, 0);
		err.text[0] = '\0';
		assert_int_equal(decode_exact(out.p, n, &a, &got, &err), -1);
		assert_true(err.text[0] != '\0');
		arena_fini(&a);
	}
	sbuf_fini(&out);
}

#define HEAD "\"who\":\"h\",\"epoch\":\"e\",\"seq\":1,\"ttl_ms\":5000"
#define TAIL "\"shard\":0,\"shards\":1,\"round_done\":true"
#define SRV                                                                                  \
	"{\"name\":\"a\",\"address\":\"b\",\"state\":\"up\",\"reason\":\"\",\"since_ms\":1," \
	"\"rise\":1,\"fall\":0}"

static const struct refusal {
	const char *name;
	const char *text;
	bool is_fine;
} refusals[] = {
	{ "the smallest", "health.p {\"v\":1," HEAD "," TAIL ",\"servers\":[]}", true },
	{ "one server", "health.p {\"v\":1," HEAD "," TAIL ",\"servers\":[" SRV "]}", true },
	{ "more members", "health.p {\"v\":1,\"new\":{}," HEAD "," TAIL ",\"servers\":[]}", true },
	{ "other topic", "weather.p {\"v\":1," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "no subject", "health. {\"v\":1," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "no dot", "health {\"v\":1," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "escaped plain", "health.%41 {\"v\":1," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "escaped NUL", "health.%00 {\"v\":1," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "half an escape", "health.a%2 {\"v\":1," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "bare percent", "health.a% {\"v\":1," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "version 2", "health.p {\"v\":2," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "no version", "health.p {" HEAD "," TAIL ",\"servers\":[]}", false },
	{ "duplicate key", "health.p {\"v\":1,\"v\":1," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "an array", "health.p []", false },
	{ "deep", "health.p [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", false },
	{ "trailing", "health.p {\"v\":1," HEAD "," TAIL ",\"servers\":[]} x", false },
	{ "no ttl",
		"health.p {\"v\":1,\"who\":\"h\",\"epoch\":\"e\",\"seq\":1," TAIL
		",\"servers\":[]}",
		false },
	{ "ttl 0",
		"health.p {\"v\":1,\"who\":\"h\",\"epoch\":\"e\",\"seq\":1,\"ttl_ms\":0," TAIL
		",\"servers\":[]}",
		false },
	{ "seq below zero",
		"health.p {\"v\":1,\"who\":\"h\",\"epoch\":\"e\",\"seq\":-1,\"ttl_ms\":5," TAIL
		",\"servers\":[]}",
		false },
	{ "shard of no shards",
		"health.p {\"v\":1," HEAD
		",\"shard\":0,\"shards\":0,\"round_done\":true,\"servers\":[]}",
		false },
	{ "shard past the last",
		"health.p {\"v\":1," HEAD
		",\"shard\":2,\"shards\":2,\"round_done\":true,\"servers\":[]}",
		false },
	{ "text for a number", "health.p {\"v\":\"1\"," HEAD "," TAIL ",\"servers\":[]}", false },
	{ "a state of its own",
		"health.p {\"v\":1," HEAD "," TAIL
		",\"servers\":[{\"name\":\"a\",\"address\":\"b\",\"state\":\"sick\",\"reason\":"
		"\"\","
		"\"since_ms\":1,\"rise\":1,\"fall\":0}]}",
		false },
	{ "a reason with blanks",
		"health.p {\"v\":1," HEAD "," TAIL
		",\"servers\":[{\"name\":\"a\",\"address\":\"b\",\"state\":\"up\",\"reason\":\"a "
		"b\","
		"\"since_ms\":1,\"rise\":1,\"fall\":0}]}",
		false },
	{ "a name with a newline",
		"health.p {\"v\":1," HEAD "," TAIL
		",\"servers\":[{\"name\":\"a\\n\",\"address\":\"b\",\"state\":\"up\",\"reason\":"
		"\"\","
		"\"since_ms\":1,\"rise\":1,\"fall\":0}]}",
		false },
	{ "rise too large",
		"health.p {\"v\":1," HEAD "," TAIL
		",\"servers\":[{\"name\":\"a\",\"address\":\"b\",\"state\":\"up\",\"reason\":\"\","
		"\"since_ms\":1,\"rise\":4294967296,\"fall\":0}]}",
		false },
	{ "since too large",
		"health.p {\"v\":1," HEAD "," TAIL
		",\"servers\":[{\"name\":\"a\",\"address\":\"b\",\"state\":\"up\",\"reason\":\"\","
		"\"since_ms\":9223372036854775807,\"rise\":1,\"fall\":0}]}",
		false },
	{ "hello without version", "hello.routerd {\"v\":1," HEAD ",\"config\":\"\"}", false },
};

static void
test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct arena a;
		struct busmsg m;
		struct err err;
		const struct refusal *r = &refusals[i];

		arena_init(&a, 0);
		if ((decode_exact(r->text, strlen(r->text), &a, &m, &err) == 0) != r->is_fine)
			fail_msg("%s: %s", r->name, r->is_fine ? err.text : "was taken");
		arena_fini(&a);
	}
}

static void
test_limits(void **state)
{
	struct busmsg m = sample_health();
	struct busmsg_server many[BUSMSG_SERVERS_MAX + 1];
	char name[BUSMSG_NAME_MAX + 2];
	struct sbuf out = { 0 };
	struct err err;

	(void)state;
	memset(name, 'x', sizeof(name));
	name[BUSMSG_NAME_MAX] = '\0';
	for (size_t i = 0; i < BUSMSG_SERVERS_MAX + 1; i++)
		many[i] = sample[0];
	m.servers = many;
	m.count = BUSMSG_SERVERS_MAX;
	assert_int_equal(busmsg_encode(&m, &out, &err), 0);
	assert_true(out.n < BUSMSG_BYTES_MAX);
	sbuf_clear(&out);
	m.count = BUSMSG_SERVERS_MAX + 1;
	assert_int_equal(busmsg_encode(&m, &out, &err), -1);
	/* many long names: too many bytes, and the buffer is as it was */
	m.count = BUSMSG_SERVERS_MAX;
	for (size_t i = 0; i < BUSMSG_SERVERS_MAX; i++)
		many[i].name = name;
	sbuf_adds(&out, "before");
	assert_int_equal(busmsg_encode(&m, &out, &err), -1);
	assert_string_equal(out.p, "before");
	/* one byte too long a name */
	name[BUSMSG_NAME_MAX] = 'x';
	name[BUSMSG_NAME_MAX + 1] = '\0';
	m.count = 1;
	assert_int_equal(busmsg_encode(&m, &out, &err), -1);
	sbuf_fini(&out);
}

/* The bound that shards are cut by holds for the worst a server can say. */
static void
test_server_bytes_is_an_upper_bound(void **state)
{
	struct busmsg_server worst = { "na\xc3\xa4me\"\\", "ad\xff", PROBE_UNKNOWN,
		"abcdefghijklmnopqrstuvwxyz0123456789_abc", UINT64_MAX, UINT64_MAX, UINT64_MAX,
		UINT32_MAX, UINT32_MAX, true };
	struct busmsg m = sample_health();
	struct sbuf none = { 0 };
	struct sbuf one = { 0 };
	struct err err;

	(void)state;
	m.count = 0;
	assert_int_equal(busmsg_encode(&m, &none, &err), 0);
	m.servers = &worst;
	m.count = 1;
	assert_int_equal(busmsg_encode(&m, &one, &err), 0);
	assert_true(one.n - none.n + 1 <= busmsg_server_bytes(worst.name, worst.address));
	sbuf_fini(&none);
	sbuf_fini(&one);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health_round_trip),
		cmocka_unit_test(test_evidence_and_hello_round_trip),
		cmocka_unit_test(test_every_prefix_is_refused),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_server_bytes_is_an_upper_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
