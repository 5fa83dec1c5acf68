/* test_file: all is written, or why not is told. */
#include "libcommon/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static void
test_write(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	char got[8];

	(void)state;
	assert_int_equal(file_write(fd, SLICE("ab")), 0);
	assert_int_equal(file_write(fd, SLICE("")), 0);
	assert_int_equal(file_write(fd, SLICE("c")), 0);
	assert_int_equal(pread(fd, got, sizeof(got), 0), 3);
	assert_memory_equal(got, "abc", 3);
	assert_int_equal(file_write(full, SLICE("a")), -1);
	assert_int_equal(errno, ENOSPC);
	close(full);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
