/*
 * sched: a slice is asked for, and nothing else of the thread changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "libcommon/sched.h"

struct attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};

static struct attr
get(void)
{
	struct attr a = { .size = sizeof(a) };

	assert_int_equal(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0), 0);
	return a;
}

static bool
is_heeded(void)
{
	struct utsname u;
	unsigned major = 0;
	unsigned minor = 0;

	uname(&u);
	return sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
		(major > 6 || (major == 6 && minor >= 12));
}

static void
asks_for_a_slice(void **state)
{
	int nice = getpriority(PRIO_PROCESS, 0);

	(void)state;
	sched_ask_slice(700);
	if (is_heeded())
		assert_int_equal(get().runtime, 700000);
	else
		print_message("  this kernel knows no slices\n");
	assert_int_equal(get().policy, SCHED_OTHER);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), nice);
}

static void
leaves_other_policies_alone(void **state)
{
	struct sched_param none = { 0 };
	struct attr before;

	(void)state;
	assert_int_equal(sched_setscheduler(0, SCHED_BATCH, &none), 0);
	before = get();
	sched_ask_slice(300);
	assert_int_equal(get().policy, SCHED_BATCH);
	assert_int_equal(get().runtime, before.runtime);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_for_a_slice),
		cmocka_unit_test(leaves_other_policies_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
