/* test_filestate: what is told apart, and what is not. */
#include "libcommon/filestate.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/filestate.XXXXXX";

static uint64_t
state_of(const char *path)
{
	uint64_t state = FILESTATE_NONE;

	filestate_add(&state, path);
	return state;
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* So that times differ, however coarse the clock is. */
static void
set_time(const char *path, int64_t s)
{
	struct timespec times[2] = { { .tv_sec = s }, { .tv_sec = s } };

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void
test_changes(void **unused)
{
	uint64_t none = state_of("a");
	uint64_t first;
	uint64_t later;

	(void)unused;
	assert_int_equal(none, state_of("a"));
	write_file("a", "one");
	set_time("a", 1000);
	first = state_of("a");
	assert_int_not_equal(first, none);
	assert_int_equal(first, state_of("a"));
	set_time("a", 1001);
	later = state_of("a");
	assert_int_not_equal(later, first);
	write_file("a", "three");
	set_time("a", 1001);
	assert_int_not_equal(state_of("a"), later);
	/* another of the same size and age in its place */
	first = state_of("a");
	write_file("b", "three");
	set_time("b", 1001);
	assert_int_equal(rename("b", "a"), 0);
	assert_int_not_equal(state_of("a"), first);
	/* through a link */
	assert_int_equal(symlink("a", "link"), 0);
	first = state_of("link");
	set_time("a", 1002);
	assert_int_not_equal(state_of("link"), first);
	assert_int_equal(unlink("link"), 0);
	assert_int_equal(unlink("a"), 0);
	assert_int_equal(state_of("a"), none);
}

static void
test_paths(void **unused)
{
	uint64_t ab = state_of("a");
	uint64_t ba = state_of("b");

	(void)unused;
	assert_int_not_equal(ab, ba);
	filestate_add(&ab, "b");
	filestate_add(&ba, "a");
	assert_int_not_equal(ab, ba);
	assert_int_not_equal(state_of("a"), FILESTATE_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_paths),
	};
	int rc;

	if (mkdtemp(dir) == NULL || chdir(dir) < 0)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return rc;
}
