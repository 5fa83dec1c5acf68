/*
 * loop: the order of a turn, deadlines near and far, what callbacks may do to each other, and calls
 * from other threads (meaningful under TSan).
 */
#include "libcommon/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include <cmocka.h>

#include "libcommon/clock.h"

#define CONTAINER(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

static char trace[256];
static struct loop *loop;

static void
note(const char *what)
{
	strncat(trace, what, sizeof(trace) - strlen(trace) - 1);
}

static int
setup(void **state)
{
	(void)state;
	trace[0] = '\0';
	loop = loop_new();
	return loop == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void
stop(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

/* --- order ------------------------------------------------------------------------------------ */

static void
free_1(void *arg)
{
	(void)arg;
	note("f");
}

static void
posted_1(void *arg)
{
	(void)arg;
	note("p");
	loop_defer(loop, free_1, NULL);
}

static int rounds;

static void
item_1(struct run_item *item)
{
	note("r");
	if (++rounds < 3)
		loop_run_soon(loop, item);
	else
		loop_stop(loop);
}

static struct run_item item = { .fn = item_1 };

static void
timer_1(void *arg)
{
	(void)arg;
	note("c");
	loop_defer(loop, free_1, NULL);
	loop_run_soon(loop, &item);
	loop_run_soon(loop, &item);
}

static void
a_turn_runs_callbacks_posted_items_frees(void **state)
{
	struct loop_timer *t = loop_timer_new(loop, timer_1, NULL);

	(void)state;
	rounds = 0;
	/* Both are ready when the first turn begins. */
	loop_post(loop, posted_1, NULL);
	loop_timer_set(t, 0, false);
	usleep(20000);
	loop_run(loop);
	assert_string_equal(trace, "cprffrr");
	loop_timer_free(t);
}

static void
items_queued_by_items_do_not_wait(void **state)
{
	int64_t from = clock_ms();

	(void)state;
	rounds = 0;
	loop_run_soon(loop, &item);
	loop_run(loop);
	assert_string_equal(trace, "rrr");
	assert_true(clock_ms() - from < 10000);
}

/* Nobody takes its byte: it is ready in every turn. */
static unsigned looks;

static void
look_on(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	/* Not for ever, so that it can be told what was wrong. */
	if (++looks > 1000)
		event_base_loopbreak(loop_base(loop));
}

static void
a_descriptor_that_stays_ready_holds_nobody_up(void **state)
{
	int fd[2];
	struct event ev;

	(void)state;
	rounds = 0;
	looks = 0;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], "x", 1), 1);
	event_assign(&ev, loop_base(loop), fd[0], EV_READ | EV_PERSIST, look_on, NULL);
	event_add(&ev, NULL);
	loop_run_soon(loop, &item);
	loop_run(loop);
	assert_string_equal(trace, "rrr");
	assert_in_range(looks, 2, 4);
	event_del(&ev);
	close(fd[0]);
	close(fd[1]);
}

struct cancelling {
	struct run_item item;
	struct cancelling *other;
	char name[2];
};

static void
cancel_other(struct run_item *it)
{
	struct cancelling *c = CONTAINER(it, struct cancelling, item);

	note(c->name);
	if (c->other != NULL)
		loop_run_cancel(loop, &c->other->item);
}

static void
items_can_cancel_each_other(void **state)
{
	struct cancelling v[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		v[i] = (struct cancelling){ { .fn = cancel_other }, NULL, { (char)('a' + i), 0 } };
	v[0].other = &v[1];
	v[2].other = &v[3];
	for (size_t i = 0; i < 4; i++)
		loop_run_soon(loop, &v[i].item);
	loop_stop(loop);
	loop_run(loop);
	assert_string_equal(trace, "ac");

	/* The last of the queue goes, and another takes its place. */
	loop_run_soon(loop, &v[0].item);
	loop_run_soon(loop, &v[1].item);
	loop_run_cancel(loop, &v[1].item);
	loop_run_cancel(loop, &v[1].item);
	loop_run_soon(loop, &v[3].item);
	loop_stop(loop);
	loop_run(loop);
	assert_string_equal(trace, "acad");
}

static void
defer_again(void *arg)
{
	int *left = arg;

	note("d");
	if (--*left > 0)
		loop_defer(loop, defer_again, left);
}

static void
frees_may_defer_frees(void **state)
{
	int left = 200;

	(void)state;
	loop_defer(loop, defer_again, &left);
	loop_stop(loop);
	loop_run(loop);
	assert_int_equal(left, 0);

	/* What is left when the loop ends is not forgotten. */
	left = 2;
	loop_defer(loop, defer_again, &left);
	loop_free(loop);
	assert_int_equal(left, 0);
	loop = loop_new();
}

/* --- clock ------------------------------------------------------------------------------------ */

static void
look_at_the_clock(void *arg)
{
	uint64_t *took = arg;
	uint64_t us = loop_now_us(loop);

	usleep(15000);
	*took = loop_now_us(loop) - us;
	assert_int_equal(loop_now_ms(loop), us / 1000);
	loop_stop(loop);
}

static void
the_clock_is_read_once_per_turn(void **state)
{
	uint64_t took = 1;
	uint64_t before = loop_now_us(loop);

	(void)state;
	loop_post(loop, look_at_the_clock, &took);
	loop_run(loop);
	assert_int_equal(took, 0);
	assert_true(loop_now_us(loop) >= before + 15000);
	assert_true(llabs((long long)loop_wall_s(loop) - (long long)time(NULL)) <= 1);
}

/* --- deadlines -------------------------------------------------------------------------------- */

struct watched {
	struct deadline d;
	int64_t armed_at;
	uint64_t delay;
	int64_t late_ms;
	int fired;
	int *left;
};

static void
watched_fired(struct deadline *d)
{
	struct watched *w = CONTAINER(d, struct watched, d);

	w->late_ms = clock_ms() - w->armed_at - (int64_t)w->delay;
	w->fired++;
	if (w->left != NULL && --*w->left == 0)
		loop_stop(loop);
}

static void
arm(struct watched *w, uint64_t delay, int *left)
{
	w->armed_at = clock_ms();
	w->delay = delay;
	w->left = left;
	deadline_set(loop, &w->d, delay);
}

static void
deadlines_are_never_early_and_little_late(void **state)
{
	static const uint64_t delays[] = { 1, 2, 49, 50, 51, 99, 100, 120, 333, 700 };
	struct watched w[10] = { 0 };
	int left = 10;

	(void)state;
	for (size_t i = 0; i < 10; i++) {
		deadline_init(&w[i].d, watched_fired);
		arm(&w[i], delays[i], &left);
	}
	loop_run(loop);
	for (size_t i = 0; i < 10; i++) {
		assert_int_equal(w[i].fired, 1);
		assert_true(w[i].late_ms >= 0);
		/* A tick by contract; the rest is for machines that are busy. */
		assert_true(w[i].late_ms < LOOP_TICK_MS + 3000);
		deadline_fini(&w[i].d);
	}
}

static void
a_deadline_moves_both_ways(void **state)
{
	struct watched later = { 0 };
	struct watched sooner = { 0 };
	struct watched never = { 0 };
	int left = 2;

	(void)state;
	deadline_init(&later.d, watched_fired);
	deadline_init(&sooner.d, watched_fired);
	deadline_init(&never.d, watched_fired);
	arm(&later, 60, &left);
	arm(&sooner, 60000, &left);
	arm(&never, 60, &left);
	deadline_clear(&never.d);
	arm(&later, 400, &left);
	arm(&sooner, 100, &left);
	loop_run(loop);
	assert_int_equal(later.fired, 1);
	assert_true(later.late_ms >= 0);
	assert_int_equal(sooner.fired, 1);
	assert_true(sooner.late_ms >= 0 && sooner.late_ms < 5000);
	assert_int_equal(never.fired, 0);

	/* One that was cleared while linked can be set again. */
	left = 1;
	arm(&never, 20, &left);
	loop_run(loop);
	assert_int_equal(never.fired, 1);
	deadline_fini(&never.d);
	deadline_fini(&never.d);
}

struct hostile {
	struct deadline d;
	struct hostile *victims[3];
	bool *is_freed;
};

static int hostile_runs;

static void
free_neighbours(struct deadline *d)
{
	struct hostile *h = CONTAINER(d, struct hostile, d);

	hostile_runs++;
	for (size_t i = 0; i < 3; i++)
		if (!h->is_freed[i]) {
			h->is_freed[i] = true;
			deadline_fini(&h->victims[i]->d);
			free(h->victims[i]);
		}
}

static void
a_deadline_may_free_itself_and_its_slot(void **state)
{
	bool is_freed[3] = { false };
	struct hostile *h[3];
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);

	(void)state;
	hostile_runs = 0;
	for (size_t i = 0; i < 3; i++) {
		h[i] = malloc(sizeof(*h[i]));
		deadline_init(&h[i]->d, free_neighbours);
		h[i]->is_freed = is_freed;
	}
	for (size_t i = 0; i < 3; i++) {
		memcpy(h[i]->victims, h, sizeof(h));
		deadline_set(loop, &h[i]->d, 30);
	}
	loop_timer_set(end, 1000, false);
	loop_run(loop);
	assert_int_equal(hostile_runs, 1);
	loop_timer_free(end);
}

static void
rearm(struct deadline *d)
{
	struct watched *w = CONTAINER(d, struct watched, d);

	if (++w->fired == 4)
		loop_stop(loop);
	else
		deadline_set(loop, d, 1);
}

static void
a_deadline_may_set_itself_again(void **state)
{
	struct watched w = { 0 };
	int64_t from = clock_ms();

	(void)state;
	deadline_init(&w.d, rearm);
	deadline_set(loop, &w.d, 1);
	loop_run(loop);
	/* One tick each: never twice in one. */
	assert_true(clock_ms() - from >= 3 * LOOP_TICK_MS - 1);
}

/* The wheel is 25.6 s long; a deadline beyond must neither fire early nor make the loop wake. */
static void
far_deadlines_cost_nothing(void **state)
{
	static struct watched w[1000];
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);
	struct rusage before;
	struct rusage after;

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		deadline_init(&w[i].d, watched_fired);
		arm(&w[i], 75000 + i * 977, NULL);
	}
	loop_timer_set(end, 400, false);
	getrusage(RUSAGE_SELF, &before);
	loop_run(loop);
	getrusage(RUSAGE_SELF, &after);
	assert_true(after.ru_nvcsw - before.ru_nvcsw < 6);
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(w[i].fired, 0);
		deadline_fini(&w[i].d);
	}
	loop_timer_free(end);
}

/* Random sets, clears and ends; each fires exactly when its last setting says. */
static void
many_deadlines_keep_their_time(void **state)
{
	static struct watched w[500];
	struct loop_timer *end = loop_timer_new(loop, stop, NULL);
	unsigned seed = 7;

	(void)state;
	for (size_t i = 0; i < 500; i++) {
		w[i].fired = 0;
		deadline_init(&w[i].d, watched_fired);
	}
	for (int step = 0; step < 5000; step++) {
		struct watched *one = &w[rand_r(&seed) % 500];
		unsigned what = rand_r(&seed) % 10;

		if (what == 0) {
			deadline_clear(&one->d);
			one->delay = 0;
		} else if (what == 1) {
			deadline_fini(&one->d);
			one->delay = 0;
		} else {
			arm(one, 1 + rand_r(&seed) % (what == 2 ? 100000 : 600), NULL);
		}
	}
	loop_timer_set(end, 2000, false);
	loop_run(loop);
	for (size_t i = 0; i < 500; i++) {
		bool is_due = w[i].delay != 0 && w[i].delay <= 600;

		if (w[i].delay <= 600 || w[i].delay > 6000)
			assert_int_equal(w[i].fired, is_due);
		if (w[i].fired)
			assert_true(w[i].late_ms >= 0);
		deadline_fini(&w[i].d);
	}
	loop_timer_free(end);
}

/* --- rare things ------------------------------------------------------------------------------ */

static struct loop_timer *repeating;

static void
tick(void *arg)
{
	int *left = arg;

	if (--*left == 0) {
		loop_timer_free(repeating);
		loop_stop(loop);
	}
}

static void
timers_repeat_and_may_free_themselves(void **state)
{
	int left = 3;

	(void)state;
	repeating = loop_timer_new(loop, tick, &left);
	loop_timer_set(repeating, 5000, false);
	loop_timer_set(repeating, 2, true);
	loop_run(loop);
	assert_int_equal(left, 0);
}

static struct loop_io *io;

static void
io_ready(void *arg, int fd, int events)
{
	char c;

	(void)arg;
	if (events & LOOP_WRITE) {
		note("w");
		loop_io_set(io, LOOP_READ);
		assert_int_equal(write(*(int *)arg, "x", 1), 1);
	} else if (events & LOOP_READ) {
		note("r");
		assert_int_equal(read(fd, &c, 1), 1);
		loop_io_free(io);
		loop_stop(loop);
	}
}

static void
descriptors_are_watched_as_asked(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	io = loop_io_new(loop, pair[0], LOOP_WRITE, io_ready, &pair[1]);
	loop_run(loop);
	assert_string_equal(trace, "wr");
	close(pair[0]);
	close(pair[1]);
}

static void
on_usr(void *arg, int signo)
{
	*(int *)arg = signo;
	loop_stop(loop);
}

static void
signals_arrive_in_the_loop(void **state)
{
	int got = 0;

	(void)state;
	assert_int_equal(loop_signal(loop, SIGUSR2, on_usr, &got), 0);
	raise(SIGUSR2);
	assert_int_equal(got, 0);
	loop_run(loop);
	assert_int_equal(got, SIGUSR2);
}

/* --- threads ---------------------------------------------------------------------------------- */

#define POSTS   2000
#define THREADS 3

struct poster {
	pthread_t thread;
	int id;
	int next_value;
};

struct mail {
	struct poster *from;
	int value;
};

static int arrived;

static void
receive(void *arg)
{
	struct mail *m = arg;

	assert_int_equal(m->value, m->from->next_value);
	m->from->next_value++;
	free(m);
	if (++arrived == THREADS * POSTS)
		loop_stop(loop);
}

static void *
post_many(void *arg)
{
	for (int i = 0; i < POSTS; i++) {
		struct mail *m = malloc(sizeof(*m));

		*m = (struct mail){ arg, i };
		loop_post(loop, receive, m);
	}
	return NULL;
}

static void
posts_of_a_thread_keep_their_order(void **state)
{
	struct poster p[THREADS] = { 0 };

	(void)state;
	arrived = 0;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&p[i].thread, NULL, post_many, &p[i]), 0);
	loop_run(loop);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(p[i].thread, NULL);
		assert_int_equal(p[i].next_value, POSTS);
	}
}

static void *
run_it(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void
another_thread_can_stop_the_loop(void **state)
{
	pthread_t thread;

	(void)state;
	for (int i = 0; i < 50; i++) {
		assert_int_equal(pthread_create(&thread, NULL, run_it, loop), 0);
		loop_stop(loop);
		pthread_join(thread, NULL);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_turn_runs_callbacks_posted_items_frees),
		TEST(items_queued_by_items_do_not_wait),
		TEST(a_descriptor_that_stays_ready_holds_nobody_up),
		TEST(items_can_cancel_each_other),
		TEST(frees_may_defer_frees),
		TEST(the_clock_is_read_once_per_turn),
		TEST(deadlines_are_never_early_and_little_late),
		TEST(a_deadline_moves_both_ways),
		TEST(a_deadline_may_free_itself_and_its_slot),
		TEST(a_deadline_may_set_itself_again),
		TEST(far_deadlines_cost_nothing),
		TEST(many_deadlines_keep_their_time),
		TEST(timers_repeat_and_may_free_themselves),
		TEST(descriptors_are_watched_as_asked),
		TEST(signals_arrive_in_the_loop),
		TEST(posts_of_a_thread_keep_their_order),
		TEST(another_thread_can_stop_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
