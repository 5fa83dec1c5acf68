/* The workers' life where it goes wrong: threads that cannot be had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/resource.h>

#include "libcommon/err.h"
#include "libcommon/loop.h"
#include "routerd/worker.h"

#define WORKERS 200

/* Bytes of address space in use. */
static rlim_t
space_in_use(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return pages * 4096;
}

static void
some_threads_cannot_be_started(void **state)
{
	struct loop *loop = loop_new();
	struct err err = { "" };
	struct workers *ws = workers_new(loop, WORKERS, 0, &err);
	struct rlimit before;
	struct rlimit tight;

	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	workers_free(ws);
	loop_free(loop);
	skip();
#endif
	assert_non_null(ws);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	tight = before;
	/* Room for the stacks of a few. */
	tight.rlim_cur = space_in_use() + (256u << 20);
	assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
	assert_int_equal(workers_start(ws, &err), -1);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_string_not_equal(err.text, "");
	/* Those that run are ended, those that do not are not waited for. */
	workers_free(ws);
	loop_free(loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(some_threads_cannot_be_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
