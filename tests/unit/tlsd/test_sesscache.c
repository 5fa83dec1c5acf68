/*
 * sesscache: what is kept, for how long, and how much of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "tlsd/sesscache.h"

static void
id_of(unsigned i, uint8_t id[32])
{
	memset(id, 7, 32); /* one shard */
	memcpy(id + 16, &i, sizeof(i));
}

static void
put(struct sesscache *c, unsigned i, int64_t now)
{
	uint8_t id[32];
	uint8_t bytes[100];

	id_of(i, id);
	memset(bytes, (int)i, sizeof(bytes));
	sesscache_put(c, id, sizeof(id), bytes, sizeof(bytes), now);
}

static bool
has(struct sesscache *c, unsigned i, int64_t now)
{
	uint8_t id[32];
	size_t n = 0;
	uint8_t *p;

	id_of(i, id);
	p = sesscache_get(c, id, sizeof(id), &n, now);
	if (p == NULL)
		return false;
	assert_int_equal(n, 100);
	assert_int_equal(p[99], i & 255);
	free(p);
	return true;
}

static void
keeps_for_a_time(void **state)
{
	struct sesscache *c = sesscache_new(1 << 20, 1000);
	uint8_t id[32];

	(void)state;
	assert_true(sesscache_is_on(c));
	put(c, 1, 0);
	assert_true(has(c, 1, 999));
	assert_true(has(c, 1, 999));
	assert_false(has(c, 1, 1000));
	assert_int_equal(sesscache_stats(c).sessions, 0);
	put(c, 1, 2000);
	put(c, 1, 2500); /* again: the later one counts */
	assert_int_equal(sesscache_stats(c).sessions, 1);
	assert_true(has(c, 1, 3400));
	id_of(1, id);
	sesscache_drop(c, id, sizeof(id));
	sesscache_drop(c, id, sizeof(id));
	assert_false(has(c, 1, 3400));
	assert_int_equal(sesscache_stats(c).bytes, 0);
	/* what cannot be an id */
	size_t n;

	assert_null(sesscache_get(c, id, 0, &n, 0));
	assert_null(sesscache_get(c, id, 33, &n, 0));
	sesscache_put(c, id, 0, id, 1, 0);
	sesscache_put(c, id, 33, id, 1, 0);
	assert_int_equal(sesscache_stats(c).sessions, 0);
	sesscache_free(c);
}

static void
the_least_recently_used_go_first(void **state)
{
	struct sesscache *c = sesscache_new(16 * 2000, 1000000);
	unsigned kept = 0;

	(void)state;
	put(c, 0, 0);
	for (unsigned i = 1; i < 50; i++) {
		put(c, i, i);
		assert_true(has(c, 0, i)); /* it is used */
		assert_in_range(sesscache_stats(c).bytes, 100, 2000);
	}
	assert_true(has(c, 49, 60));
	assert_false(has(c, 1, 60));
	for (unsigned i = 0; i < 50; i++)
		kept += has(c, i, 60);
	assert_int_equal(kept, sesscache_stats(c).sessions);
	assert_int_equal(sesscache_stats(c).evicted, 50 - kept);
	/* smaller from now on, then off */
	sesscache_set(c, 16 * 600, 1000000);
	put(c, 60, 61);
	assert_in_range(sesscache_stats(c).bytes, 100, 600);
	sesscache_set(c, 0, 1000);
	assert_false(sesscache_is_on(c));
	put(c, 61, 62);
	assert_false(has(c, 61, 62));
	sesscache_free(c);
}

static void *
busy(void *arg)
{
	struct sesscache *c = arg;

	for (unsigned i = 0; i < 3000; i++) {
		put(c, i % 40, i);
		(void)has(c, (i * 7) % 40, i);
	}
	return NULL;
}

static void
threads_share_it(void **state)
{
	struct sesscache *c = sesscache_new(16 * 3000, 1000);
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, busy, c), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_in_range(sesscache_stats(c).bytes, 0, 3000);
	sesscache_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_for_a_time),
		cmocka_unit_test(the_least_recently_used_go_first),
		cmocka_unit_test(threads_share_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
