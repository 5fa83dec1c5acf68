/* Servers' life, passive marking and trials, retry budget, verdicts published. */
#include "tests/unit/routerd/pools.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

struct fixture {
	struct loop *loop;
	struct backends *b;
	struct poolcfg *cfg;
	struct pool *p;
	/* what the workers of these tests were asked */
	unsigned barriers;
	unsigned forgotten;
	unsigned closed;
	void (*done[16])(void *arg);
	void *done_arg[16];
	unsigned done_count;
};

static struct fixture *at_work; /* ops have no argument of ours */

static void
fake_barrier(struct workers *ws, void (*done)(void *arg), void *arg)
{
	(void)ws;
	at_work->barriers++;
	at_work->done[at_work->done_count] = done;
	at_work->done_arg[at_work->done_count++] = arg;
}

static void
fake_forget(struct workers *ws, uint32_t id, void (*done)(void *arg), void *arg)
{
	(void)ws;
	(void)id;
	at_work->forgotten++;
	at_work->done[at_work->done_count] = done;
	at_work->done_arg[at_work->done_count++] = arg;
}

static void
fake_close_idle(struct workers *ws, uint32_t id)
{
	(void)ws;
	(void)id;
	at_work->closed++;
}

static const struct backends_ops fake_ops = { fake_barrier, fake_forget, fake_close_idle };

/* The workers say that they have done what they were asked. */
static void
workers_answer(struct fixture *f)
{
	unsigned n = f->done_count;

	f->done_count = 0;
	for (unsigned i = 0; i < n; i++)
		f->done[i](f->done_arg[i]);
}

static void
stop_soon(void *arg)
{
	loop_stop(arg);
}

/* One or two turns: what was posted and put off runs. */
static void
turn(struct fixture *f)
{
	loop_post(f->loop, stop_soon, f->loop);
	loop_run(f->loop);
	loop_post(f->loop, stop_soon, f->loop);
	loop_run(f->loop);
}

static int
setup(void **state)
{
	static const struct pools_server v[] = { { "a", 1, 0, 0, NULL }, { "b", 1, 0, 0, NULL } };
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct err err;

	f->loop = loop_new();
	f->b = backends_new(f->loop, &err);
	assert_non_null(f->b);
	f->cfg = pools_cfg("app", v, 2);
	f->p = backends_pool(f->b, f->cfg);
	backends_commit(f->b, &f->p, 1);
	at_work = f;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	backends_free(f->b);
	loop_free(f->loop);
	pools_cfg_free(f->cfg);
	free(f);
	return 0;
}

static struct server *
server_of(const struct fixture *f, unsigned i)
{
	return f->p->members[i].server;
}

static void
attempt(struct fixture *f, struct server *s, enum server_outcome how, uint64_t began_ms,
	uint64_t now_ms)
{
	server_begin(s);
	server_end(s, f->p, how, began_ms, now_ms);
}

static bool
is_picked(struct fixture *f, const struct server *wanted, uint64_t now_ms)
{
	struct lb_ask ask = { .now_ms = now_ms };
	enum lb_miss why;

	for (int i = 0; i < 4; i++)
		if (lb_pick(f->p, &ask, &why) == wanted)
			return true;
	return false;
}

/* --- passive marking --- */

struct step {
	enum server_outcome how;
	uint64_t at_ms;
	bool is_blocked; /* afterwards */
};

static void
test_passive(void **state)
{
	static const struct {
		const char *name;
		int64_t max_fails;
		struct step steps[8];
	} cases[] = {
		{ "three of three", 3,
			{ { SERVER_CONNECT, 1000, false }, { SERVER_TIMEOUT, 1001, false },
				{ SERVER_BROKEN, 1002, true } } },
		{ "a success between does not clear", 3,
			{ { SERVER_CONNECT, 1000, false }, { SERVER_CONNECT, 1001, false },
				{ SERVER_OK, 1002, false }, { SERVER_CONNECT, 1003, true } } },
		{ "a success after the window does", 2,
			{ { SERVER_CONNECT, 1000, false }, { SERVER_OK, 11001, false },
				{ SERVER_CONNECT, 11002, false } } },
		{ "a window ends by itself", 2,
			{ { SERVER_CONNECT, 1000, false }, { SERVER_CONNECT, 11001, false },
				{ SERVER_CONNECT, 11002, true } } },
		{ "off", 0,
			{ { SERVER_CONNECT, 1000, false }, { SERVER_CONNECT, 1000, false },
				{ SERVER_CONNECT, 1000, false } } },
		{ "abandoned says nothing", 1,
			{ { SERVER_ABANDONED, 1000, false }, { SERVER_CONNECT, 1001, true } } },
		{ "one is enough", 1, { { SERVER_BROKEN, 1000, true } } },
	};
	struct fixture *f = *state;
	struct server *s = server_of(f, 0);

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		print_message("%s\n", cases[c].name);
		f->p->max_fails = (uint32_t)cases[c].max_fails;
		atomic_store(&s->fails, 0);
		atomic_store(&s->blocked_until_ms, 0);
		for (const struct step *st = cases[c].steps; st->at_ms > 0; st++) {
			attempt(f, s, st->how, st->at_ms - 1, st->at_ms);
			assert_int_equal(atomic_load(&s->blocked_until_ms) != 0, st->is_blocked);
			if (st->is_blocked)
				assert_int_equal(
					atomic_load(&s->blocked_until_ms), st->at_ms + 10000);
		}
	}
	assert_int_equal(atomic_load(&s->inflight), 0);
}

static void
block(struct fixture *f, struct server *s, uint64_t now_ms)
{
	for (int i = 0; i < 3; i++)
		attempt(f, s, SERVER_CONNECT, now_ms, now_ms);
	assert_int_equal(atomic_load(&s->blocked_until_ms), now_ms + 10000);
}

static void
test_trial(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_of(f, 0);

	block(f, s, 1000);
	assert_false(is_picked(f, s, 1001));
	assert_false(is_picked(f, s, 10999));

	/* Time has come: one, and no other while it is under way. */
	assert_true(is_picked(f, s, 11000));
	server_begin(s);
	assert_false(is_picked(f, s, 11001));
	/* What began before ends meanwhile: that is not the trial. */
	attempt(f, s, SERVER_OK, 900, 11002);
	attempt(f, s, SERVER_ABANDONED, 900, 11002);
	attempt(f, s, SERVER_BROKEN, 900, 11002);
	assert_false(is_picked(f, s, 11003));
	assert_int_equal(atomic_load(&s->trial_ms), 11000);
	/* It fails: blocked as long again. */
	server_end(s, f->p, SERVER_CONNECT, 11000, 11010);
	assert_false(is_picked(f, s, 21009));

	/* Abandoned: the next one is let through at once. */
	assert_true(is_picked(f, s, 21010));
	server_begin(s);
	server_end(s, f->p, SERVER_ABANDONED, 21010, 21020);
	assert_true(is_picked(f, s, 21021));
	server_begin(s);
	/* It succeeds: back in service, count at zero. */
	server_end(s, f->p, SERVER_OK, 21021, 21030);
	assert_int_equal(atomic_load(&s->blocked_until_ms), 0);
	assert_int_equal(server_fails(s), 0);
	assert_true(is_picked(f, s, 21031));
	assert_true(is_picked(f, s, 21031));
}

/* A trial that becomes a tunnel has succeeded, however long the tunnel lasts and however it ends.
 */
static void
test_tunnel_is_a_success(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_of(f, 0);

	block(f, s, 1000);
	assert_true(is_picked(f, s, 11000));
	server_begin(s);
	server_opened(s, f->p, 11000, 11020);
	assert_int_equal(atomic_load(&s->blocked_until_ms), 0);
	assert_int_equal(atomic_load(&s->trial_ms), 0);
	assert_int_equal(atomic_load(&s->inflight), 1);
	assert_true(is_picked(f, s, 11021));
	server_end(s, NULL, SERVER_BROKEN, 11000, 99000);
	assert_int_equal(atomic_load(&s->inflight), 0);
	assert_int_equal(server_fails(s), 0);
}

/* So has one whose answer has begun; how it ends is judged as with any other. */
static void
test_answer_is_a_success(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_of(f, 0);

	block(f, s, 1000);
	assert_true(is_picked(f, s, 11000));
	server_begin(s);
	/* What began before is not the trial. */
	server_answers(s, f->p, 900, 11010);
	assert_false(is_picked(f, s, 11010));
	server_answers(s, f->p, 11000, 11020);
	assert_int_equal(atomic_load(&s->blocked_until_ms), 0);
	assert_int_equal(atomic_load(&s->trial_ms), 0);
	assert_true(is_picked(f, s, 11021));
	server_end(s, f->p, SERVER_BROKEN, 11000, 99000);
	assert_int_equal(atomic_load(&s->inflight), 0);
	assert_int_equal(server_fails(s), 1);
}

static void
test_all_blocked(void **state)
{
	struct fixture *f = *state;
	struct lb_ask ask = { .now_ms = 2000 };
	enum lb_miss why = LB_ALL_TRIED;

	block(f, server_of(f, 0), 1000);
	block(f, server_of(f, 1), 2000);
	assert_null(lb_pick(f->p, &ask, &why));
	assert_int_equal(why, LB_NO_SERVER);
	/* The one whose block ends first is tried first. */
	ask.now_ms = 11000;
	assert_ptr_equal(lb_pick(f->p, &ask, &why), server_of(f, 0));
	assert_null(lb_pick(f->p, &ask, &why));
	ask.now_ms = 12000;
	assert_ptr_equal(lb_pick(f->p, &ask, &why), server_of(f, 1));
	assert_null(lb_pick(f->p, &ask, &why));
}

static void
test_only_member_stays(void **state)
{
	static const struct pools_server v[] = { { "a", 1, 0, 0, NULL } };
	struct fixture *f = *state;
	struct poolcfg *cfg = pools_cfg("one", v, 1);
	struct pool *p = backends_pool(f->b, cfg);

	f->p = p;
	backends_commit(f->b, &p, 1);
	for (int i = 0; i < 10; i++)
		attempt(f, server_of(f, 0), SERVER_CONNECT, 1000, 1000);
	assert_true(is_picked(f, server_of(f, 0), 1001));
	backend_judge_now(p);
	assert_string_equal(server_of(f, 0)->state->shown.reason, "only_member");
	assert_int_equal(server_of(f, 0)->state->shown.verdict, VERDICT_UP);
	pools_cfg_free(cfg);
}

/* Threads fail and ask at once: never more than one trial, never a blocked one. */
#define THREADS 4

struct hammer {
	pthread_t thread;
	struct fixture *f;
	_Atomic uint64_t *clock;
	_Atomic int *trials; /* under way now */
	_Atomic int *most;
};

static void *
hammer(void *arg)
{
	struct hammer *h = arg;
	struct server *s = server_of(h->f, 0);

	/* The one with the trial may be off the processor for most of the others' turns. */
	for (int i = 0; i < 20000 || (i < 20000000 && atomic_load(&s->errors) <= 100); i++) {
		uint64_t now_ms = atomic_fetch_add(h->clock, 1);
		struct lb_ask ask = { .now_ms = now_ms };
		enum lb_miss why;
		struct server *got = lb_pick(h->f->p, &ask, &why);

		if (!got)
			continue;
		server_begin(got);
		if (got == s) {
			int n = atomic_fetch_add(h->trials, 1) + 1;

			if (n > atomic_load(h->most))
				atomic_store(h->most, n);
			sched_yield();
			atomic_fetch_sub(h->trials, 1);
		}
		server_end(got, h->f->p, got == s ? SERVER_CONNECT : SERVER_OK, now_ms, now_ms);
	}
	return NULL;
}

static void
test_one_trial_over_threads(void **state)
{
	struct fixture *f = *state;
	struct hammer h[THREADS];
	_Atomic uint64_t clock = 1000000;
	_Atomic int trials = 0;
	_Atomic int most = 0;

	f->p->fail_timeout_ms = 20;
	for (int i = 0; i < 3; i++)
		attempt(f, server_of(f, 0), SERVER_CONNECT, 1, 999000);
	for (int i = 0; i < THREADS; i++) {
		h[i] = (struct hammer){ .f = f, .clock = &clock, .trials = &trials, .most = &most };
		assert_int_equal(pthread_create(&h[i].thread, NULL, hammer, &h[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(h[i].thread, NULL);
	assert_int_equal(most, 1);
	assert_true(atomic_load(&server_of(f, 0)->errors) > 100);
	assert_int_equal(atomic_load(&server_of(f, 0)->trial_ms), 0);
	assert_int_equal(atomic_load(&server_of(f, 0)->inflight), 0);
}

/* --- evidence reaches the main thread --- */

static void
test_mail(void **state)
{
	struct fixture *f = *state;
	struct server_state *st = server_of(f, 0)->state;

	f->p->max_fails = 100;
	for (int i = 0; i < 3; i++)
		attempt(f, server_of(f, 0), SERVER_TIMEOUT, 1000, 1000);
	turn(f);
	assert_int_equal(st->unsent_fails, 3);
	assert_int_equal(atomic_load(&st->fail_kind), SERVER_TIMEOUT);
	assert_int_equal(st->shown.verdict, VERDICT_UP);
}

static void
test_block_is_shown(void **state)
{
	struct fixture *f = *state;
	struct server_state *st = server_of(f, 0)->state;

	block(f, server_of(f, 0), loop_now_ms(f->loop));
	backend_mail_empty(f->b);
	backend_judge_now(f->p);
	assert_int_equal(st->shown.verdict, VERDICT_DOWN);
	assert_string_equal(st->shown.reason, "passive");
}

/* --- the retry budget --- */

static void
test_retry_budget(void **state)
{
	static const struct {
		int active;
		int allowed;
	} cases[] = { { 0, 3 }, { 1, 3 }, { 15, 3 }, { 19, 3 }, { 20, 4 }, { 100, 20 } };
	struct fixture *f = *state;

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		int taken = 0;

		pool_active(f->p, cases[c].active);
		while (pool_retry_take(f->p))
			taken++;
		assert_int_equal(taken, cases[c].allowed);
		pool_retry_put(f->p);
		assert_true(pool_retry_take(f->p));
		for (int i = 0; i < taken; i++)
			pool_retry_put(f->p);
		pool_active(f->p, -cases[c].active);
	}
}

/* --- life --- */

static void
test_servers_outlive_pools(void **state)
{
	struct fixture *f = *state;
	struct server *a = server_of(f, 0);
	struct pool *old = f->p;
	struct pool *next = backends_pool(f->b, f->cfg);

	atomic_store(&a->requests, 42);
	assert_ptr_equal(next->members[0].server, a);
	/* A candidate that is dropped leaves no trace. */
	pool_unref(next);
	turn(f);
	assert_ptr_equal(f->b->pools, old);
	assert_null(old->next);

	next = backends_pool(f->b, f->cfg);
	backends_commit(f->b, &next, 1);
	pool_unref(old);
	turn(f);
	assert_ptr_equal(f->b->pools, next);
	assert_ptr_equal(next->members[0].server, a);
	assert_int_equal(atomic_load(&a->requests), 42);
}

static void
test_turn_goes_on(void **state)
{
	struct fixture *f = *state;
	struct pool *next;
	char out[8];

	assert_string_equal(pools_picks(f->p, 3, out), "aba");
	next = backends_pool(f->b, f->cfg);
	backends_commit(f->b, &next, 1);
	assert_string_equal(pools_picks(next, 3, out), "bab");
}

static void
test_ids_wait_for_workers(void **state)
{
	static const struct pools_server only_b[] = { { "x", 1, 0, 0, NULL },
		{ "b", 1, 0, 0, NULL } };
	static const struct pools_server with_c[] = { { "x", 1, 0, 0, NULL },
		{ "b", 1, 0, 0, NULL }, { "c", 1, 0, 0, NULL } };
	struct fixture *f = *state;
	uint32_t id = server_of(f, 0)->id;
	struct pool *old = f->p;
	struct poolcfg *cfg = pools_cfg("app", only_b, 2);
	struct poolcfg *cfg3 = pools_cfg("app", with_c, 3);
	struct pool *next;
	struct pool *last;

	backends_run(f->b, &fake_ops, (struct workers *)f);
	next = backends_pool(f->b, cfg);
	assert_int_equal(next->members[0].server->id, 2);
	backends_commit(f->b, &next, 1);
	pool_unref(old);
	turn(f);
	assert_int_equal(f->forgotten, 1);
	/* Not given again before they have answered. */
	last = backends_pool(f->b, cfg3);
	assert_int_equal(last->members[2].server->id, 3);
	pool_unref(last);
	turn(f);
	workers_answer(f);
	last = backends_pool(f->b, cfg3);
	assert_true(last->members[2].server->id == id || last->members[2].server->id == 3);
	pools_cfg_free(cfg);
	pools_cfg_free(cfg3);
}

/* A tunnel holds no pool; its server is there until it ends, and its id is nobody else's. */
static void
test_servers_wait_for_tunnels(void **state)
{
	static const struct pools_server only_b[] = { { "b", 1, 0, 0, NULL } };
	static const struct pools_server b_and_c[] = { { "b", 1, 0, 0, NULL },
		{ "c", 1, 0, 0, NULL } };
	struct fixture *f = *state;
	struct server *a = server_of(f, 0);
	uint32_t id = a->id;
	struct pool *old = f->p;
	struct poolcfg *cfg = pools_cfg("app", only_b, 1);
	struct poolcfg *cfg2 = pools_cfg("app", b_and_c, 2);
	struct pool *next;

	backends_run(f->b, &fake_ops, (struct workers *)f);
	server_begin(a);
	server_opened(a, old, 1000, 1001);
	next = backends_pool(f->b, cfg);
	backends_commit(f->b, &next, 1);
	pool_unref(old);
	turn(f);
	workers_answer(f);
	assert_string_equal(a->name, "a");
	assert_int_equal(atomic_load(&a->inflight), 1);
	next = backends_pool(f->b, cfg2);
	assert_int_not_equal(next->members[1].server->id, id);
	pool_unref(next);
	turn(f);
	workers_answer(f);
	/* It ends, and is looked for within a second. */
	server_end(a, NULL, SERVER_OK, 1000, 2000);
	for (int i = 0; i < 300 && f->b->retired; i++) {
		usleep(10000);
		turn(f);
	}
	assert_null(f->b->retired);
	pools_cfg_free(cfg);
	pools_cfg_free(cfg2);
}

static void
test_tables_wait_for_barrier(void **state)
{
	struct fixture *f = *state;
	const struct lb_table *before = atomic_load(&f->p->table);

	backends_run(f->b, &fake_ops, (struct workers *)f);
	backend_judge_now(f->p);
	assert_ptr_equal(atomic_load(&f->p->table), before); /* nothing new: nothing published */
	assert_int_equal(f->barriers, 0);
	f->p->members[0].weight = 9;
	backend_judge_now(f->p);
	f->p->members[0].weight = 8;
	backend_judge_now(f->p);
	f->p->members[0].weight = 7;
	backend_judge_now(f->p);
	/* The first waits alone, the next two together. */
	assert_int_equal(f->barriers, 1);
	workers_answer(f);
	assert_int_equal(f->barriers, 2);
	assert_int_equal(f->b->sweeping_count, 2);
	workers_answer(f);
	assert_int_equal(f->barriers, 2);
	assert_int_equal(f->b->sweeping_count, 0);
}

/* --- verdicts --- */

static void
test_stale_down_gets_a_trial(void **state)
{
	struct fixture *f = *state;
	struct verdict_fact *fact;
	char out[8];
	enum lb_miss why;

	f->p->is_checked = true;
	pools_say(f->b, f->cfg, "du", true);
	backend_judge_now(f->p);
	assert_string_equal(pools_picks(f->p, 4, out), "bbbb");
	/* healthd falls silent: as if it had been heard long ago. */
	for (int i = 0; i < 2; i++) {
		fact = &server_of(f, (unsigned)i)->state->probes.v[0];
		fact->heard_ms = 1;
		fact->ttl_ms = 1;
	}
	backend_judge_now(f->p);
	assert_true(f->p->is_stale);
	assert_int_equal(server_of(f, 0)->state->shown.verdict, VERDICT_DOWN);
	assert_int_equal(server_of(f, 1)->state->shown.verdict, VERDICT_UP);

	struct lb_ask ask = { .now_ms = loop_now_ms(f->loop) };
	unsigned trials = 0;

	for (int i = 0; i < 6; i++)
		trials += lb_pick(f->p, &ask, &why) == server_of(f, 0);
	assert_int_equal(trials, 1);
	/* It fails: fail_timeout long nothing more. */
	server_begin(server_of(f, 0));
	server_end(server_of(f, 0), f->p, SERVER_CONNECT, ask.now_ms, ask.now_ms);
	backend_judge_now(f->p);
	assert_string_equal(pools_picks(f->p, 4, out), "bbbb");
	/* The prober is back and says up. */
	pools_say(f->b, f->cfg, "uu", true);
	backend_judge_now(f->p);
	assert_false(f->p->is_stale);
	assert_int_equal(server_of(f, 0)->state->shown.verdict, VERDICT_UP);
	assert_true(is_picked(f, server_of(f, 0), ask.now_ms));
}

static void
test_address_is_whole(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_of(f, 0);
	struct addr_spec spec;
	struct addr got;
	struct err err;

	assert_true(server_addr(s, &got));
	assert_true(addr_eq(&got, &s->addr));
	assert_int_equal(addr_parse(SLICE("[2001:db8::1]:8080"), 0, &spec, &err), 0);
	server_set_addr(s, &spec.addr);
	assert_true(server_addr(s, &got));
	assert_true(addr_eq(&got, &spec.addr));
	server_set_addr(s, &(struct addr){ 0 });
	assert_false(server_addr(s, &got));
}

/* --- names --- */

struct wait {
	struct fixture *f;
	const struct server *s;
	struct addr not_this; /* until the address is known and another */
	uint64_t end_ms;
	struct loop_timer *timer;
};

static void
look_address(void *arg)
{
	struct wait *w = arg;
	struct addr now;

	if ((server_addr(w->s, &now) && !addr_eq(&now, &w->not_this)) ||
		loop_now_ms(w->f->loop) > w->end_ms)
		loop_stop(w->f->loop);
}

static bool
wait_address(struct fixture *f, const struct server *s, const struct addr *not_this)
{
	struct wait w = { f, s, *not_this, loop_now_ms(f->loop) + 5000, NULL };
	struct addr now;

	w.timer = loop_timer_new(f->loop, look_address, &w);
	loop_timer_set(w.timer, 5, true);
	loop_run(f->loop);
	loop_timer_free(w.timer);
	return server_addr(s, &now) && !addr_eq(&now, not_this);
}

static void
stop_timer(void *arg)
{
	loop_stop(arg);
}

static void
run_briefly(struct fixture *f)
{
	struct loop_timer *t = loop_timer_new(f->loop, stop_timer, f->loop);

	loop_timer_set(t, 10, false);
	loop_run(f->loop);
	loop_timer_free(t);
}

/* localhost stands in /etc/hosts, often with both families. */
static void
test_names(void **state)
{
	static const struct pools_server v[] = { { "n", 1, 0, 0, "localhost:8080" },
		{ "m", 1, 0, 0, NULL } };
	struct fixture *f = *state;
	struct poolcfg *cfg = pools_cfg("named", v, 2);
	struct pool *p = backends_pool(f->b, cfg);
	struct server *s = p->members[0].server;
	struct addr first;
	char out[8];

	backends_commit(f->b, &p, 1);
	f->p = p;
	assert_false(server_addr(s, &first));
	assert_string_equal(s->state->shown.reason, "resolving");
	assert_string_equal(pools_picks(p, 4, out), "mmmm");
	assert_true(wait_address(f, s, &(struct addr){ 0 }));
	server_addr(s, &first);
	assert_int_equal(addr_port(&first.sa), 8080);
	backend_judge_now(p);
	assert_int_equal(s->state->shown.verdict, VERDICT_UP);
	assert_non_null(strchr(pools_picks(p, 4, out), 'n'));

	/* Connecting fails: the next address, if there is one. */
	attempt(f, s, SERVER_CONNECT, 1, 1);
	if (s->state->addr_count > 1)
		assert_true(wait_address(f, s, &first));
	pools_cfg_free(cfg);
}

static void
test_lookup_before_commit(void **state)
{
	static const struct pools_server v[] = { { "n", 1, 0, 0, "localhost:8080" },
		{ "m", 1, 0, 0, "no-such-host.invalid:80" } };
	struct fixture *f = *state;
	struct poolcfg *cfg = pools_cfg("early", v, 2);
	struct pool *p = backends_pool(f->b, cfg);
	struct addr a;
	char out[8];

	backends_lookup(f->b);
	assert_true(server_addr(p->members[0].server, &a));
	assert_int_equal(addr_port(&a.sa), 8080);
	assert_false(server_addr(p->members[1].server, &a));
	backends_commit(f->b, &p, 1);
	assert_string_equal(pools_picks(p, 3, out), "nnn");
	pools_cfg_free(cfg);
}

static void
test_unresolvable(void **state)
{
	static const struct pools_server v[] = { { "n", 1, 0, 0, "nosuch.invalid:80" } };
	struct fixture *f = *state;
	struct poolcfg *cfg = pools_cfg("named", v, 1);
	struct pool *p = backends_pool(f->b, cfg);
	struct server *s = p->members[0].server;
	char out[8];
	struct err err;

	/* Nobody answers there. */
	assert_int_equal(resolve_set_servers(f->b->resolver, "127.0.0.1:1", &err), 0);
	backends_commit(f->b, &p, 1);
	for (int i = 0; i < 2000 && !s->state->is_answered; i++)
		run_briefly(f);
	assert_true(s->state->is_answered);
	backend_judge_now(p);
	assert_int_equal(s->state->shown.verdict, VERDICT_DOWN);
	assert_string_equal(s->state->shown.reason, "no_address");
	assert_true(p->is_empty);
	assert_string_equal(pools_picks(p, 2, out), "--");
	pools_cfg_free(cfg);
}

#define BOTH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_passive),
		BOTH(test_trial),
		BOTH(test_tunnel_is_a_success),
		BOTH(test_answer_is_a_success),
		BOTH(test_all_blocked),
		BOTH(test_only_member_stays),
		BOTH(test_one_trial_over_threads),
		BOTH(test_mail),
		BOTH(test_block_is_shown),
		BOTH(test_retry_budget),
		BOTH(test_servers_outlive_pools),
		BOTH(test_turn_goes_on),
		BOTH(test_ids_wait_for_workers),
		BOTH(test_servers_wait_for_tunnels),
		BOTH(test_tables_wait_for_barrier),
		BOTH(test_stale_down_gets_a_trial),
		BOTH(test_address_is_whole),
		BOTH(test_names),
		BOTH(test_lookup_before_commit),
		BOTH(test_unresolvable),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
