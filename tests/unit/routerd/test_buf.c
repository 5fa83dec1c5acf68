/* test_buf: which class of buffer a size gets. */
#include "routerd/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* The smallest that has room. */
static void
class_fits(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 16383, 16384, 16385, 65535, 65536, 65537, 131072,
		262143, 262144 };
	uint64_t held = 0;
	struct bufs bufs;

	(void)state;
	bufs_init(&bufs, 0, &held);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		enum buf_class class = buf_class_for(sizes[i]);
		struct buf *b = buf_get(&bufs, class);

		assert_true(b->cap >= sizes[i]);
		buf_unref(b);
		if (class == BUF_16K)
			continue;
		b = buf_get(&bufs, class - 1);
		assert_true(b->cap < sizes[i]);
		assert_int_equal(buf_class_above(class - 1), class);
		buf_unref(b);
	}
	assert_int_equal(buf_class_for(UINT64_MAX), BUF_256K);
	assert_int_equal(buf_class_above(BUF_256K), BUF_256K);
	assert_int_equal(held, 0);
	bufs_fini(&bufs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(class_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
