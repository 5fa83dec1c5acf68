/*
 * wheel: deadlines fire once and never early, however far away; what comes next is known; and a
 * callback may do what it likes to any other.
 */
#include "libcommon/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH_MS ((uint64_t)WHEEL_SLOTS * LOOP_TICK_MS)

static struct wheel wheel;
static uint64_t now_ms;

struct item {
	struct deadline d;
	unsigned fired;
	uint64_t at_ms;
	struct deadline *victim; /* unlinked when this one fires */
	uint64_t again_ms;       /* due anew then */
};

static int
setup(void **state)
{
	(void)state;
	memset(&wheel, 0, sizeof(wheel));
	now_ms = 1000 * LOOP_TICK_MS;
	wheel.tick = now_ms / LOOP_TICK_MS;
	return 0;
}

static void
on_due(struct deadline *d)
{
	struct item *x = (struct item *)(void *)d;

	x->fired++;
	x->at_ms = now_ms;
	if (x->victim != NULL && x->victim->link != NULL)
		wheel_unlink(x->victim);
	if (x->again_ms != 0) {
		d->due_ms = x->again_ms;
		x->again_ms = 0;
		wheel_link(&wheel, d);
	}
}

static void
add(struct item *x, uint64_t delay_ms)
{
	*x = (struct item){ .d = { .due_ms = now_ms + delay_ms, .fn = on_due } };
	wheel_link(&wheel, &x->d);
}

static void
go_to(uint64_t ms)
{
	now_ms = ms;
	wheel_turn(&wheel, now_ms);
}

static void
each_fires_once_and_in_time(void **state)
{
	static const uint64_t delays[] = { 1, LOOP_TICK_MS - 1, LOOP_TICK_MS, LOOP_TICK_MS + 1,
		LENGTH_MS - 1, LENGTH_MS, LENGTH_MS + 1, 3 * LENGTH_MS, 10 * LENGTH_MS + 7 };
	enum { N = sizeof(delays) / sizeof(*delays) };
	struct item items[N];
	uint64_t from_ms = now_ms;

	(void)state;
	for (size_t i = 0; i < N; i++)
		add(&items[i], delays[i]);
	for (uint64_t ms = from_ms + 13; ms < from_ms + 12 * LENGTH_MS; ms += 13)
		go_to(ms);
	for (size_t i = 0; i < N; i++) {
		uint64_t due_ms = from_ms + delays[i];

		assert_int_equal(items[i].fired, 1);
		assert_in_range(items[i].at_ms, due_ms, due_ms + LOOP_TICK_MS + 13);
	}
	assert_true(wheel_next(&wheel) == NO_TICK);
}

/* The machine has slept, or a callback took its time. */
static void
a_late_turn_fires_all_that_is_due(void **state)
{
	struct item near, far, later;

	(void)state;
	add(&near, 10);
	add(&far, 5 * LENGTH_MS);
	add(&later, 20 * LENGTH_MS);
	go_to(now_ms + 7 * LENGTH_MS);
	assert_int_equal(near.fired, 1);
	assert_int_equal(far.fired, 1);
	assert_int_equal(later.fired, 0);
	go_to(now_ms - 1); /* a clock that stands still, or less */
	assert_int_equal(later.fired, 0);
	wheel_unlink(&later.d);
}

static void
the_next_is_known_and_never_missed(void **state)
{
	struct item x;

	(void)state;
	assert_true(wheel_next(&wheel) == NO_TICK);
	for (uint64_t ticks = 1; ticks < 3 * WHEEL_SLOTS; ticks += 7) {
		uint64_t last = wheel.tick + WHEEL_SLOTS - 1;
		uint64_t due = wheel.tick + ticks;

		add(&x, ticks * LOOP_TICK_MS);
		assert_int_equal(wheel_next(&wheel), due < last ? due : last);
		while (x.fired == 0) {
			uint64_t next = wheel_next(&wheel);

			assert_true(next != NO_TICK && next <= due);
			go_to(next * LOOP_TICK_MS);
		}
		assert_int_equal(now_ms, due * LOOP_TICK_MS);
	}
}

static void
a_callback_may_unlink_and_link(void **state)
{
	struct item a, b, c;
	uint64_t due_ms;

	(void)state;
	add(&a, 10);
	add(&b, 10);
	add(&c, 10);
	due_ms = a.d.due_ms;
	/* the one that was put in last is looked at first */
	c.victim = &a.d;
	c.again_ms = due_ms + 2 * LENGTH_MS;
	go_to(due_ms + LOOP_TICK_MS);
	assert_int_equal(a.fired, 0);
	assert_null(a.d.link);
	assert_int_equal(b.fired, 1);
	assert_int_equal(c.fired, 1);
	go_to(due_ms + 2 * LENGTH_MS + LOOP_TICK_MS);
	assert_int_equal(c.fired, 2);
}

/* As loops do it: only the number is written. */
static void
one_that_was_moved_or_disarmed_waits_or_goes(void **state)
{
	struct item moved, off;
	uint64_t due_ms;

	(void)state;
	add(&moved, 10);
	add(&off, 10);
	due_ms = moved.d.due_ms += 1000;
	off.d.due_ms = 0;
	go_to(now_ms + 2 * LOOP_TICK_MS);
	assert_int_equal(moved.fired, 0);
	assert_int_equal(off.fired, 0);
	assert_null(off.d.link);
	go_to(due_ms + LOOP_TICK_MS);
	assert_int_equal(moved.fired, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(each_fires_once_and_in_time, setup),
		cmocka_unit_test_setup(a_late_turn_fires_all_that_is_due, setup),
		cmocka_unit_test_setup(the_next_is_known_and_never_missed, setup),
		cmocka_unit_test_setup(a_callback_may_unlink_and_link, setup),
		cmocka_unit_test_setup(one_that_was_moved_or_disarmed_waits_or_goes, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
