/*
 * ticket: the schedule of keys. Time is given, not waited for.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "tlsd/ticket.h"

#define HOUR 3600000

static int
opens(struct ticket_keys *t, const struct ticket_key *k)
{
	struct ticket_key out;
	int which = ticket_key_open(t, k->name, &out);

	if (which != 0)
		assert_memory_equal(&out, k, sizeof(out));
	return which;
}

static void
rotates(void **state)
{
	struct ticket_keys *t = ticket_keys_new(1000, HOUR);
	struct ticket_key first;
	struct ticket_key second;

	(void)state;
	assert_non_null(t);
	ticket_key_seal(t, &first);
	assert_int_equal(opens(t, &first), 1);
	assert_int_equal(ticket_keys_wait_ms(t, 1000), HOUR);
	assert_false(ticket_keys_turn(t, 1000 + HOUR - 1));
	assert_true(ticket_keys_turn(t, 1000 + HOUR));
	assert_int_equal(opens(t, &first), 2);
	assert_int_equal(ticket_keys_count(t), 2);
	ticket_key_seal(t, &second);
	assert_memory_not_equal(first.name, second.name, sizeof(first.name));
	assert_memory_not_equal(first.aes, second.aes, sizeof(first.aes));
	assert_int_equal(opens(t, &second), 1);
	/* the next turn makes the second the one before, and the first is gone */
	assert_true(ticket_keys_turn(t, 1000 + 2 * HOUR));
	assert_int_equal(opens(t, &first), 0);
	assert_int_equal(opens(t, &second), 2);
	ticket_keys_free(t);
}

static void
late_turn_forgets(void **state)
{
	struct ticket_keys *t = ticket_keys_new(0, HOUR);
	struct ticket_key first;

	(void)state;
	ticket_key_seal(t, &first);
	/* asleep for three periods: the first key's time to open is over too */
	assert_true(ticket_keys_turn(t, 3 * HOUR));
	assert_int_equal(opens(t, &first), 0);
	assert_int_equal(ticket_keys_count(t), 1);
	ticket_keys_free(t);
}

static void
late_turn_shortens_second_period(void **state)
{
	struct ticket_keys *t = ticket_keys_new(0, HOUR);
	struct ticket_key first;

	(void)state;
	ticket_key_seal(t, &first);
	assert_true(ticket_keys_turn(t, HOUR + HOUR / 2));
	assert_int_equal(opens(t, &first), 2);
	/* what it sealed last is one period old at 2 h, whenever the turn came */
	assert_int_equal(ticket_keys_wait_ms(t, HOUR + HOUR / 2), HOUR / 2);
	assert_false(ticket_keys_turn(t, 2 * HOUR - 1));
	assert_true(ticket_keys_turn(t, 2 * HOUR));
	assert_int_equal(opens(t, &first), 0);
	ticket_keys_free(t);
}

static void
period_changes(void **state)
{
	struct ticket_keys *t = ticket_keys_new(0, HOUR);

	(void)state;
	ticket_keys_set(t, HOUR / 4);
	assert_int_equal(ticket_keys_wait_ms(t, HOUR / 2), 1);
	assert_true(ticket_keys_turn(t, HOUR / 4));
	assert_int_equal(ticket_keys_age_ms(t, HOUR / 4 + 7), 7);
	ticket_keys_free(t);
}

static void
unknown_name(void **state)
{
	struct ticket_keys *t = ticket_keys_new(0, HOUR);
	struct ticket_key out;
	uint8_t name[TICKET_NAME] = { 0 };

	(void)state;
	assert_int_equal(ticket_key_open(t, name, &out), 0);
	ticket_keys_free(t);
}

static void
shares(void **state)
{
	struct ticket_keys *t = ticket_keys_new(0, HOUR);
	struct ticket_key own;
	struct ticket_key k[3];
	const struct ticket_key *const all[] = { &k[0], &k[1], &k[2] };
	struct ticket_key out;

	(void)state;
	ticket_key_seal(t, &own);
	for (size_t i = 0; i < 3; i++)
		assert_true(ticket_key_make(&k[i]));
	assert_true(ticket_keys_share(t, all, 3, 1, 5));
	assert_false(ticket_keys_share(t, all, 3, 1, 6));
	assert_int_equal(opens(t, &own), 0);
	assert_int_equal(opens(t, &k[0]), 2);
	assert_int_equal(opens(t, &k[1]), 1);
	assert_int_equal(opens(t, &k[2]), 1); /* somebody's clock is a little ahead */
	ticket_key_seal(t, &out);
	assert_memory_equal(&out, &k[1], sizeof(out));
	assert_int_equal(ticket_keys_count(t), 2);
	/* the file is gone: the schedule goes on from the key in force */
	assert_true(ticket_keys_turn(t, 5 + HOUR));
	assert_int_equal(opens(t, &k[1]), 2);
	assert_int_equal(opens(t, &k[0]), 0);
	ticket_keys_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rotates),
		cmocka_unit_test(shares),
		cmocka_unit_test(late_turn_forgets),
		cmocka_unit_test(late_turn_shortens_second_period),
		cmocka_unit_test(period_changes),
		cmocka_unit_test(unknown_name),
	};

	return cmocka_run_group_tests_name("ticket", tests, NULL, NULL);
}
