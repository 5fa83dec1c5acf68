/* verdict: a table that reads like the rules. Times are milliseconds; now is 100000 unless said. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libcommon/verdict.h"

#define NOW     100000
#define TIMEOUT 10000

/* One prober's last message: heard so long ago, saying this. */
struct heard {
	const char *who;
	uint64_t ago_ms;
	enum probe_state state;
	const char *reason;
	uint64_t failing_ms;
	bool round_done;
};

struct row {
	const char *name;
	struct heard heard[3];
	bool no_check;
	bool config_down;
	bool no_address;
	enum override_action override;
	int override_weight; /* -1 and 0: none */
	uint64_t blocked_until_ms;
	uint64_t last_success_ms;
	uint64_t last_trial_ms;
	/* expected */
	enum verdict verdict;
	enum verdict_rank rank;
	const char *reason;
	bool is_trial;
	bool is_stale;
	uint64_t next_ms;
};

#define UP_NOW                                   \
	{                                        \
		"h0", 500, PROBE_UP, "", 0, true \
	}
#define DOWN_NOW                                               \
	{                                                      \
		"h0", 500, PROBE_DOWN, "http_503", 15000, true \
	}
#define LOST_NOW                                                      \
	{                                                             \
		"h0", 500, PROBE_DOWN, "connect_refused", 15000, true \
	}
#define BORN                                           \
	{                                              \
		"h0", 500, PROBE_UNKNOWN, "", 0, false \
	}
#define SILENT  6000
#define TTL_END (NOW - 500 + 5000 + 1)

static const struct row rows[] = {
	/* probes alone */
	{ .name = "probes say up",
		.heard = { UP_NOW },
		.verdict = VERDICT_UP,
		.reason = "",
		.next_ms = TTL_END },
	{ .name = "probes say down, and why",
		.heard = { DOWN_NOW },
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "http_503",
		.next_ms = TTL_END },
	{ .name = "no check: up", .no_check = true, .verdict = VERDICT_UP, .reason = "" },
	{ .name = "no check: what probes said once counts no more",
		.no_check = true,
		.heard = { DOWN_NOW },
		.verdict = VERDICT_UP,
		.reason = "" },
	/* unknown */
	{ .name = "never heard of: ranks with up",
		.verdict = VERDICT_UNKNOWN,
		.rank = VERDICT_BEST,
		.reason = "not_probed" },
	{ .name = "unknown in the first round ranks with up",
		.heard = { BORN },
		.verdict = VERDICT_UNKNOWN,
		.rank = VERDICT_BEST,
		.reason = "not_probed" },
	{ .name = "unknown after the first round: last resort",
		.heard = { { "h0", 500, PROBE_UNKNOWN, "", 0, true } },
		.verdict = VERDICT_UNKNOWN,
		.rank = VERDICT_LAST_RESORT,
		.reason = "not_probed" },
	/* the prober goes away */
	{ .name = "prober gone: up stands",
		.heard = { { "h0", SILENT, PROBE_UP, "", 0, true } },
		.verdict = VERDICT_UP,
		.reason = "",
		.is_stale = true },
	{ .name = "prober gone: down gets a trial",
		.heard = { { "h0", SILENT, PROBE_DOWN, "http_503", 9000, true } },
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_BEST,
		.reason = "http_503",
		.is_trial = true,
		.is_stale = true },
	{ .name = "prober gone: one trial per fail_timeout",
		.heard = { { "h0", SILENT, PROBE_DOWN, "http_503", 9000, true } },
		.last_trial_ms = NOW - 1000,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "http_503",
		.is_stale = true,
		.next_ms = NOW - 1000 + TIMEOUT },
	{ .name = "prober gone: the next trial, a fail_timeout later",
		.heard = { { "h0", 30000, PROBE_DOWN, "http_503", 9000, true } },
		.last_trial_ms = NOW - TIMEOUT,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_BEST,
		.reason = "http_503",
		.is_trial = true,
		.is_stale = true },
	{ .name = "prober gone: a trial that succeeded brings it back",
		.heard = { { "h0", 30000, PROBE_DOWN, "http_503", 9000, true } },
		.last_trial_ms = NOW - 300,
		.last_success_ms = NOW - 300,
		.verdict = VERDICT_UP,
		.reason = "passive_veto",
		.is_stale = true,
		.next_ms = NOW - 300 + TIMEOUT },
	{ .name = "prober gone: a success from before its last word does not",
		.heard = { { "h0", SILENT, PROBE_DOWN, "http_503", 9000, true } },
		.last_trial_ms = NOW - 100,
		.last_success_ms = NOW - SILENT - 1,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "http_503",
		.is_stale = true,
		.next_ms = NOW - 100 + TIMEOUT },
	/* passive evidence */
	{ .name = "blocked: down though probes say up",
		.heard = { UP_NOW },
		.blocked_until_ms = NOW + 50,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "passive",
		.next_ms = NOW + 50 },
	{ .name = "block over: one trial",
		.heard = { UP_NOW },
		.blocked_until_ms = NOW - 50,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_BEST,
		.reason = "passive",
		.is_trial = true,
		.next_ms = TTL_END },
	{ .name = "block over, trial under way: no second one",
		.heard = { UP_NOW },
		.blocked_until_ms = NOW - 50,
		.last_trial_ms = NOW - 40,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "passive",
		.next_ms = TTL_END },
	{ .name = "block over, last trial belonged to an earlier block",
		.heard = { UP_NOW },
		.blocked_until_ms = NOW - 50,
		.last_trial_ms = NOW - 60,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_BEST,
		.reason = "passive",
		.is_trial = true,
		.next_ms = TTL_END },
	{ .name = "block over, probes say down: no trial",
		.heard = { DOWN_NOW },
		.blocked_until_ms = NOW - 50,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "http_503",
		.next_ms = TTL_END },
	{ .name = "blocked without a check",
		.no_check = true,
		.blocked_until_ms = NOW + 50,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "passive",
		.next_ms = NOW + 50 },
	{ .name = "block over without a check",
		.no_check = true,
		.blocked_until_ms = NOW,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_BEST,
		.reason = "passive",
		.is_trial = true },
	/* the veto */
	{ .name = "probes cannot connect, requests succeed: up",
		.heard = { LOST_NOW },
		.last_success_ms = NOW - 1000,
		.verdict = VERDICT_UP,
		.reason = "passive_veto",
		.next_ms = TTL_END },
	{ .name = "successes from before the failures veto nothing",
		.heard = { LOST_NOW },
		.last_success_ms = NOW - 500 - 15000 - 500,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "connect_refused",
		.next_ms = TTL_END },
	{ .name = "successes that are not fresh veto nothing",
		.heard = { LOST_NOW },
		.last_success_ms = NOW - TIMEOUT,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "connect_refused",
		.next_ms = TTL_END },
	{ .name = "a server that says it is not well is not overruled",
		.heard = { DOWN_NOW },
		.last_success_ms = NOW - 1000,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "http_503",
		.next_ms = TTL_END },
	{ .name = "passive failures end the veto",
		.heard = { LOST_NOW },
		.last_success_ms = NOW - 1000,
		.blocked_until_ms = NOW + 50,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "passive",
		.next_ms = NOW + 50 },
	/* the operator and the configuration */
	{ .name = "drained",
		.heard = { UP_NOW },
		.override = OVERRIDE_DRAIN,
		.verdict = VERDICT_DRAIN,
		.rank = VERDICT_NEVER,
		.reason = "operator",
		.next_ms = TTL_END },
	{ .name = "disabled",
		.heard = { UP_NOW },
		.override = OVERRIDE_DISABLE,
		.verdict = VERDICT_MAINT,
		.rank = VERDICT_NEVER,
		.reason = "operator",
		.next_ms = TTL_END },
	{ .name = "down in the configuration, over a drain",
		.heard = { UP_NOW },
		.config_down = true,
		.override = OVERRIDE_DRAIN,
		.verdict = VERDICT_MAINT,
		.rank = VERDICT_NEVER,
		.reason = "config",
		.next_ms = TTL_END },
	{ .name = "drained and dead is drained",
		.heard = { DOWN_NOW },
		.override = OVERRIDE_DRAIN,
		.verdict = VERDICT_DRAIN,
		.rank = VERDICT_NEVER,
		.reason = "operator",
		.next_ms = TTL_END },
	{ .name = "weight from the operator",
		.heard = { UP_NOW },
		.override_weight = 7,
		.verdict = VERDICT_UP,
		.reason = "",
		.next_ms = TTL_END },
	/* DNS */
	{ .name = "no address",
		.no_address = true,
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "no_address" },
	{ .name = "no address and disabled is maint",
		.no_address = true,
		.override = OVERRIDE_DISABLE,
		.verdict = VERDICT_MAINT,
		.rank = VERDICT_NEVER,
		.reason = "operator" },
	/* several probers */
	{ .name = "one of two says down: up",
		.heard = { DOWN_NOW, { "h1", 500, PROBE_UP, "", 0, true } },
		.verdict = VERDICT_UP,
		.reason = "",
		.next_ms = TTL_END },
	{ .name = "two of three say down: down",
		.heard = { DOWN_NOW, { "h1", 500, PROBE_UP, "", 0, true },
			{ "h2", 400, PROBE_DOWN, "timeout", 100, true } },
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_NEVER,
		.reason = "timeout",
		.next_ms = TTL_END },
	{ .name = "the silent do not vote while another is heard",
		.heard = { { "h0", SILENT, PROBE_DOWN, "http_503", 1, true },
			{ "h1", 500, PROBE_UP, "", 0, true } },
		.verdict = VERDICT_UP,
		.reason = "",
		.next_ms = TTL_END },
	{ .name = "a newborn prober does not outvote the silent",
		.heard = { { "h0", SILENT, PROBE_DOWN, "http_503", 1, true },
			{ "h1", 500, PROBE_UNKNOWN, "", 0, false } },
		.verdict = VERDICT_DOWN,
		.rank = VERDICT_BEST,
		.reason = "http_503",
		.is_trial = true,
		.is_stale = true },
};

static void
adopt(struct verdict_probes *p, const struct heard *h, uint64_t now_ms)
{
	struct busmsg m = {
		.kind = BUSMSG_HEALTH, .who = h->who, .ttl_ms = 5000, .is_round_done = h->round_done
	};
	struct busmsg_server s = { .name = "a",
		.address = "b",
		.state = h->state,
		.reason = h->reason,
		.since_ms = 100,
		.failing_ms = h->failing_ms,
		.probe_age_ms = 200,
		.is_probed = h->state != PROBE_UNKNOWN };

	verdict_adopt(p, &m, &s, now_ms);
}

static void
test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct verdict_probes probes = { 0 };
		struct verdict_out out;
		struct verdict_in in = {
			.now_ms = NOW,
			.is_checked = !r->no_check,
			.probes = &probes,
			.passive = { TIMEOUT, r->blocked_until_ms, r->last_success_ms,
				r->last_trial_ms },
			.override = { .action = r->override,
				.has_weight = r->override_weight > 0,
				.weight = (uint32_t)r->override_weight },
			.is_config_down = r->config_down,
			.has_address = !r->no_address,
			.weight = 3,
		};

		for (int k = 0; k < 3 && r->heard[k].who; k++)
			adopt(&probes, &r->heard[k], NOW - r->heard[k].ago_ms);
		verdict_merge(&in, &out);
		if (out.verdict != r->verdict || out.rank != r->rank ||
			strcmp(out.reason, r->reason) != 0 || out.is_trial != r->is_trial ||
			out.is_stale != r->is_stale || out.next_ms != r->next_ms ||
			out.weight != (r->override_weight > 0 ? 7u : 3u))
			fail_msg("%s: got %s rank %d reason '%s' trial %d stale %d next %llu "
				 "weight %u",
				r->name, verdict_name(out.verdict), (int)out.rank, out.reason,
				out.is_trial, out.is_stale, (unsigned long long)out.next_ms,
				out.weight);
	}
}

/* Restarting a prober must not make servers that were known unknown, nor down ones fresh. */
static void
test_unknown_never_overwrites(void **state)
{
	struct verdict_probes p = { 0 };
	struct verdict_out out;
	struct verdict_in in = { .now_ms = NOW,
		.is_checked = true,
		.probes = &p,
		.passive = { .fail_timeout_ms = TIMEOUT },
		.has_address = true,
		.weight = 1 };

	(void)state;
	adopt(&p, &(struct heard){ "h0", 0, PROBE_DOWN, "timeout", 50, true }, NOW - 4000);
	adopt(&p, &(struct heard){ "h0", 0, PROBE_UNKNOWN, "", 0, false }, NOW - 100);
	verdict_merge(&in, &out);
	assert_int_equal(out.verdict, VERDICT_DOWN);
	assert_string_equal(out.reason, "timeout");
	assert_false(out.is_stale);
	assert_int_equal(out.age_ms, 4200);
	in.now_ms = NOW + 1001;
	verdict_merge(&in, &out);
	assert_true(out.is_stale);
	assert_true(out.is_trial);
	adopt(&p, &(struct heard){ "h0", 0, PROBE_UP, "", 0, true }, NOW + 1001);
	verdict_merge(&in, &out);
	assert_int_equal(out.verdict, VERDICT_UP);
	assert_false(out.is_stale);
}

/* More probers than places: live ones are not pushed out, silent ones are. */
static void
test_places(void **state)
{
	struct verdict_probes p = { 0 };
	const char *names[] = { "h0", "h1", "h2", "h3" };
	uint64_t first[VERDICT_PROBERS];

	(void)state;
	for (int i = 0; i < 4; i++)
		adopt(&p, &(struct heard){ names[i], 0, PROBE_UP, "", 0, true }, NOW + i);
	for (int i = 0; i < 4; i++)
		first[i] = p.v[i].who;
	adopt(&p, &(struct heard){ "h4", 0, PROBE_DOWN, "timeout", 1, true }, NOW + 5);
	for (int i = 0; i < 4; i++)
		assert_true(p.v[i].who == first[i]);
	adopt(&p, &(struct heard){ "h4", 0, PROBE_DOWN, "timeout", 1, true }, NOW + 5002);
	assert_true(p.v[0].who != first[0]);
	for (int i = 1; i < 4; i++)
		assert_true(p.v[i].who == first[i]);
}

/* A sender's ages beyond our own uptime do not wrap. */
static void
test_ages_older_than_the_clock(void **state)
{
	struct verdict_probes p = { 0 };
	struct busmsg m = { .kind = BUSMSG_HEALTH, .who = "h", .ttl_ms = 5000 };
	struct busmsg_server s = { .name = "a",
		.address = "b",
		.state = PROBE_DOWN,
		.reason = "timeout",
		.since_ms = UINT64_MAX,
		.failing_ms = UINT64_MAX,
		.probe_age_ms = UINT64_MAX,
		.is_probed = true };

	(void)state;
	verdict_adopt(&p, &m, &s, 1000);
	assert_int_equal(p.v[0].since_ms, 1);
	assert_int_equal(p.v[0].failing_ms, 1);
	assert_int_equal(p.v[0].probe_ms, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_unknown_never_overwrites),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_ages_older_than_the_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
