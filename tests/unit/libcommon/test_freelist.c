/*
 * freelist: what was not needed between two trims goes, what was needed stays.
 */
#include "libcommon/freelist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MANY 40

/* Take n, touch them all, give them back. */
static void
burst(struct freelist *f, unsigned n)
{
	void *p[MANY];

	for (unsigned i = 0; i < n; i++) {
		p[i] = freelist_take(f);
		((char *)p[i])[0] = 1;
		((char *)p[i])[f->size - 1] = 1;
	}
	for (unsigned i = 0; i < n; i++)
		freelist_give(f, p[i]);
}

static void
trim_keeps_what_was_needed(size_t size)
{
	struct freelist f;

	freelist_init(&f, size, 100);
	burst(&f, MANY);
	assert_int_equal(f.count, MANY);
	/* Since the list was empty once, all of them were needed. */
	assert_true(freelist_trim(&f, 4));
	assert_int_equal(f.count, MANY);
	burst(&f, 10);
	assert_true(freelist_trim(&f, 4));
	assert_int_equal(f.count, 10);
	assert_false(freelist_trim(&f, 4));
	assert_int_equal(f.count, 4);
	assert_false(freelist_trim(&f, 4));
	assert_int_equal(f.count, 4);
	burst(&f, MANY);
	freelist_fini(&f);
	assert_int_equal(f.count, 0);
	assert_null(f.head);
}

static void
test_trim(void **state)
{
	(void)state;
	trim_keeps_what_was_needed(64);
	trim_keeps_what_was_needed(FREELIST_PAGES + 40);
}

static void
test_keep(void **state)
{
	struct freelist f;

	(void)state;
	freelist_init(&f, 64, 3);
	burst(&f, 10);
	assert_int_equal(f.count, 3);
	freelist_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trim),
		cmocka_unit_test(test_keep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
