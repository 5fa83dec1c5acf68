/* Round robin: the sequence, tiers, who is skipped, and that it is exact over
 * threads. */
#include "tests/unit/routerd/pools.h"

#include <pthread.h>
#include <time.h>

/* --- the sequence --- */

static void
test_sequences(void **state)
{
	static const struct {
		const char *name;
		int weights[5];
		const char *expect;
	} cases[] = {
		{ "5,1,1", { 5, 1, 1 }, "aabacaaaabacaa" },
		{ "3,3,1", { 3, 3, 1 }, "abcabababcabab" },
		{ "equal", { 2, 2, 2 }, "abcabc" },
		{ "reduced", { 10, 2, 2 }, "aabacaa" },
		{ "one", { 7 }, "aaaa" },
		{ "2,1", { 2, 1 }, "abaaba" },
		{ "1,2,3", { 1, 2, 3 }, "cbacbccba" },
		{ "256,1", { 256, 1 }, "aaaaaaaa" },
	};
	struct pools_fixture *f = *state;

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct pools_server v[5];
		static const char *const names[] = { "a", "b", "c", "d", "e" };
		char out[32];
		size_t n = 0;

		for (; n < 5 && cases[c].weights[n] > 0; n++)
			v[n] = (struct pools_server){ names[n], cases[c].weights[n], false, false,
				NULL };

		struct poolcfg *cfg = pools_cfg(cases[c].name, v, n);
		struct pool *p = backends_pool(f->b, cfg);

		backends_commit(f->b, &p, 1);
		assert_string_equal(
			pools_picks(p, (unsigned)strlen(cases[c].expect), out), cases[c].expect);
		pools_cfg_free(cfg);
	}
}

/* What the definition says, worked out pick by pick. */
static void
test_agrees_with_definition(void **state)
{
	struct pools_fixture *f = *state;

	srand(7);
	for (int round = 0; round < 50; round++) {
		struct pools_server v[12];
		int64_t current[12] = { 0 };
		char names[12][2];
		size_t n = 1 + (size_t)rand() % 12;
		int64_t total = 0;

		for (size_t i = 0; i < n; i++) {
			names[i][0] = (char)('a' + i);
			names[i][1] = '\0';
			v[i] = (struct pools_server){ names[i], 1 + rand() % 20, false, false,
				NULL };
			total += v[i].weight;
		}

		char pool[32];

		snprintf(pool, sizeof(pool), "p%d", round);

		struct poolcfg *cfg = pools_cfg(pool, v, n);
		struct pool *p = backends_pool(f->b, cfg);
		char out[600];

		pools_picks(p, (unsigned)total * 2, out);
		for (int64_t at = 0; at < total * 2; at++) {
			size_t best = 0;

			for (size_t i = 0; i < n; i++) {
				current[i] += v[i].weight;
				if (current[i] > current[best])
					best = i;
			}
			current[best] -= total;
			assert_int_equal(out[at], names[best][0]);
		}
		pools_cfg_free(cfg);
	}
}

/* --- tiers and verdicts --- */

static void
test_tiers(void **state)
{
	static const struct {
		const char *name;
		struct pools_server v[4];
		const char *states; /* NULL: nobody has said anything */
		bool is_round_done;
		const char *expect;
	} cases[] = {
		{ "nothing known: all", { { "a", 1, 0, 0, NULL }, { "b", 1, 0, 0, NULL } }, NULL,
			false, "abab" },
		{ "first answer does not get all",
			{ { "a", 1, 0, 0, NULL }, { "b", 1, 0, 0, NULL } }, "u?", false, "abab" },
		{ "unknown after the round is last",
			{ { "a", 1, 0, 0, NULL }, { "b", 1, 0, 0, NULL } }, "u?", true, "aaaa" },
		{ "unknown rather than nothing", { { "a", 1, 0, 0, NULL }, { "b", 1, 0, 0, NULL } },
			"d?", true, "bbbb" },
		{ "down is not picked",
			{ { "a", 1, 0, 0, NULL }, { "b", 1, 0, 0, NULL }, { "c", 1, 0, 0, NULL } },
			"udu", true, "acac" },
		{ "backup waits", { { "a", 1, 0, 0, NULL }, { "b", 1, 1, 0, NULL } }, "uu", true,
			"aaaa" },
		{ "backups, all of them",
			{ { "a", 1, 0, 0, NULL }, { "b", 1, 1, 0, NULL }, { "c", 1, 1, 0, NULL } },
			"duu", true, "bcbc" },
		{ "backup before unknown", { { "a", 1, 0, 0, NULL }, { "b", 1, 1, 0, NULL } }, "?u",
			true, "bbbb" },
		{ "config down", { { "a", 1, 0, 1, NULL }, { "b", 1, 0, 0, NULL } }, "uu", true,
			"bbbb" },
		{ "weight 0", { { "a", 0, 0, 0, NULL }, { "b", 1, 0, 0, NULL } }, "uu", true,
			"bbbb" },
		{ "all down", { { "a", 1, 0, 0, NULL }, { "b", 1, 1, 0, NULL } }, "dd", true,
			"----" },
	};
	struct pools_fixture *f = *state;

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		size_t n = 0;
		char out[8];

		while (n < 4 && cases[c].v[n].name)
			n++;

		struct poolcfg *cfg = pools_cfg(cases[c].name, cases[c].v, n);

		cfg->check.kind = CHECK_HTTP;

		struct pool *p = backends_pool(f->b, cfg);

		backends_commit(f->b, &p, 1);
		if (cases[c].states) {
			pools_say(f->b, cfg, cases[c].states, cases[c].is_round_done);
			backend_judge_now(p);
		}
		print_message("%s\n", cases[c].name);
		assert_string_equal(pools_picks(p, 4, out), cases[c].expect);
		pools_cfg_free(cfg);
	}
}

/* Whatever is known, the server that is picked is of the best kind there is. */
static int
kind_of(const struct pools_server *v, char state, bool is_blocked, bool is_round_done)
{
	if (state == 'd' || is_blocked || v->down || v->weight == 0)
		return 4;
	if (state == '?' && is_round_done)
		return v->backup ? 3 : 2;
	return v->backup ? 1 : 0;
}

static void
test_never_a_worse_one(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
	struct pools_fixture *f = *state;

	srand(11);
	for (int round = 0; round < 300; round++) {
		struct pools_server v[8];
		char states[9] = "";
		bool is_blocked[8];
		bool is_round_done = rand() % 2;
		size_t n = 1 + (size_t)rand() % 8;
		int best = 4;
		char pool[16];

		snprintf(pool, sizeof(pool), "r%d", round);
		for (size_t i = 0; i < n; i++) {
			v[i] = (struct pools_server){ names[i], rand() % 4, rand() % 3 == 0,
				rand() % 6 == 0, NULL };
			states[i] = "ud?"[rand() % 3];
			is_blocked[i] = rand() % 4 == 0;
		}

		struct poolcfg *cfg = pools_cfg(pool, v, n);

		cfg->check.kind = CHECK_TCP;

		struct pool *p = backends_pool(f->b, cfg);

		pools_say(f->b, cfg, states, is_round_done);
		backend_judge_now(p);
		for (size_t i = 0; i < n; i++) {
			int kind = kind_of(&v[i], states[i], is_blocked[i], is_round_done);

			if (is_blocked[i])
				atomic_store(&p->members[i].server->blocked_until_ms, UINT64_MAX);
			best = kind < best ? kind : best;
		}
		for (int k = 0; k < 20; k++) {
			char got[2];

			pools_picks(p, 1, got);
			if (best == 4) {
				assert_int_equal(got[0], '-');
			} else {
				size_t i = (size_t)(got[0] - 'a');

				assert_in_range(i, 0, n - 1);
				assert_int_equal(
					kind_of(&v[i], states[i], is_blocked[i], is_round_done),
					best);
			}
		}
		pools_cfg_free(cfg);
	}
}

static void
test_tried(void **state)
{
	static const struct pools_server v[] = { { "a", 5, 0, 0, NULL }, { "b", 1, 0, 0, NULL },
		{ "c", 1, 1, 0, NULL } };
	struct pools_fixture *f = *state;
	struct poolcfg *cfg = pools_cfg("tried", v, 3);
	struct pool *p = backends_pool(f->b, cfg);
	struct lb_ask ask = { .now_ms = 1 };
	enum lb_miss why = LB_NO_SERVER;

	for (const char *expect = "abc"; *expect; expect++) {
		struct server *s = lb_pick(p, &ask, &why);

		assert_non_null(s);
		assert_int_equal(s->name[0], *expect);
		ask.tried[ask.tried_count++] = s;
	}
	assert_null(lb_pick(p, &ask, &why));
	assert_int_equal(why, LB_ALL_TRIED);
	pools_cfg_free(cfg);
}

/* The others share what a skipped one leaves as the sequence has them. */
static void
test_skip_keeps_shares(void **state)
{
	static const struct pools_server v[] = { { "a", 5, 0, 0, NULL }, { "b", 1, 0, 0, NULL },
		{ "c", 1, 0, 0, NULL } };
	struct pools_fixture *f = *state;
	struct poolcfg *cfg = pools_cfg("skip", v, 3);
	struct pool *p = backends_pool(f->b, cfg);
	char out[16];

	atomic_store(&p->members[0].server->blocked_until_ms, UINT64_MAX);
	assert_string_equal(pools_picks(p, 8, out), "bcbcbcbc");
	pools_cfg_free(cfg);
}

/* --- many servers --- */

#define MANY 5000

static struct poolcfg *
many_cfg(int max_weight)
{
	struct pools_server *v = xcalloc(MANY, sizeof(*v));
	struct poolcfg *cfg;

	for (int i = 0; i < MANY; i++)
		v[i] = (struct pools_server){ xasprintf("s%d", i), 1 + i % max_weight, 0, 0, NULL };
	cfg = pools_cfg("many", v, MANY);
	for (int i = 0; i < MANY; i++)
		free((char *)(uintptr_t)v[i].name);
	free(v);
	return cfg;
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void
test_many(void **state)
{
	struct pools_fixture *f = *state;
	struct poolcfg *cfg = many_cfg(256);
	uint64_t start = now_ns();
	struct pool *p = backends_pool(f->b, cfg);
	uint64_t made = now_ns();
	struct lb_ask ask = { .now_ms = 1 };
	uint64_t period = 0;
	enum lb_miss why;

	for (unsigned i = 0; i < p->count; i++)
		period += p->members[i].weight;
	uint32_t *counts = xcalloc(MANY, sizeof(*counts));

	for (uint64_t i = 0; i < period; i++)
		counts[lb_pick(p, &ask, &why)->id]++;
	for (unsigned i = 0; i < p->count; i++)
		assert_int_equal(counts[p->members[i].server->id], p->members[i].weight);
	free(counts);

	uint64_t before = now_ns();

	for (int i = 0; i < 2000000; i++)
		assert_true(lb_pick(p, &ask, &why) != NULL);
	print_message("%d servers, period %llu: made in %.1f ms, %.1f ns a pick\n", MANY,
		(unsigned long long)period, (double)(made - start) / 1e6,
		(double)(now_ns() - before) / 2e6);
	pools_cfg_free(cfg);
}

/* In a spread sequence, too, a server's places lie evenly. */
static void
test_spread_is_even(void **state)
{
	struct pools_fixture *f = *state;
	struct poolcfg *cfg = many_cfg(256);
	struct pool *p = backends_pool(f->b, cfg);
	struct lb_ask ask = { .now_ms = 1 };
	uint64_t period = 0;
	const struct server *heavy = p->members[255].server;
	uint64_t last = 0;
	enum lb_miss why;

	assert_int_equal(p->members[255].weight, 256);
	for (unsigned i = 0; i < p->count; i++)
		period += p->members[i].weight;
	for (uint64_t i = 1; i <= period; i++) {
		if (lb_pick(p, &ask, &why) != heavy)
			continue;
		if (last > 0)
			assert_in_range(i - last, period / 256 - 2 * 256, period / 256 + 2 * 256);
		last = i;
	}
	pools_cfg_free(cfg);
}

/* --- threads --- */

#define THREADS 4
#define PICKS   70000

struct picker {
	pthread_t thread;
	struct pool *p;
	uint32_t counts[8];
};

static void *
pick_many(void *arg)
{
	struct picker *k = arg;
	struct lb_ask ask = { .now_ms = 1 };
	enum lb_miss why;

	for (int i = 0; i < PICKS; i++) {
		struct server *s = lb_pick(k->p, &ask, &why);

		server_begin(s);
		k->counts[s->name[0] - 'a']++;
		server_end(s, k->p, SERVER_OK, ask.now_ms, ask.now_ms);
	}
	return NULL;
}

static void
run_pickers(struct picker *k, struct pool *p, uint32_t sums[8])
{
	memset(sums, 0, 8 * sizeof(sums[0]));
	for (int i = 0; i < THREADS; i++) {
		k[i] = (struct picker){ .p = p };
		assert_int_equal(pthread_create(&k[i].thread, NULL, pick_many, &k[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(k[i].thread, NULL);
		for (int s = 0; s < 8; s++)
			sums[s] += k[i].counts[s];
	}
}

static void
test_threads_exact(void **state)
{
	static const struct pools_server v[] = { { "a", 5, 0, 0, NULL }, { "b", 1, 0, 0, NULL },
		{ "c", 1, 0, 0, NULL } };
	struct pools_fixture *f = *state;
	struct poolcfg *cfg = pools_cfg("threads", v, 3);
	struct pool *p = backends_pool(f->b, cfg);
	struct picker k[THREADS];
	uint32_t sums[8];

	run_pickers(k, p, sums);
	assert_int_equal(sums[0], THREADS * PICKS / 7 * 5);
	assert_int_equal(sums[1], THREADS * PICKS / 7);
	assert_int_equal(sums[2], THREADS * PICKS / 7);
	for (int i = 0; i < 3; i++)
		assert_int_equal(atomic_load(&p->members[i].server->inflight), 0);

	/* With one skipped, what is left is exact too. */
	atomic_store(&p->members[0].server->blocked_until_ms, UINT64_MAX);
	run_pickers(k, p, sums);
	assert_int_equal(sums[0], 0);
	assert_int_equal(sums[1], THREADS * PICKS / 2);
	assert_int_equal(sums[2], THREADS * PICKS / 2);
	pools_cfg_free(cfg);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sequences, pools_setup, pools_teardown),
		cmocka_unit_test_setup_teardown(
			test_agrees_with_definition, pools_setup, pools_teardown),
		cmocka_unit_test_setup_teardown(test_tiers, pools_setup, pools_teardown),
		cmocka_unit_test_setup_teardown(
			test_never_a_worse_one, pools_setup, pools_teardown),
		cmocka_unit_test_setup_teardown(test_tried, pools_setup, pools_teardown),
		cmocka_unit_test_setup_teardown(
			test_skip_keeps_shares, pools_setup, pools_teardown),
		cmocka_unit_test_setup_teardown(test_many, pools_setup, pools_teardown),
		cmocka_unit_test_setup_teardown(test_spread_is_even, pools_setup, pools_teardown),
		cmocka_unit_test_setup_teardown(test_threads_exact, pools_setup, pools_teardown),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("lb", tests, NULL, NULL);
}
