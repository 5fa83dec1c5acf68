/* test_folder: which folders are made, with which rights, and what is refused. */
#include "libcommon/folder.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/folder.XXXXXX";

static unsigned
mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void
test_rights(void **unused)
{
	mode_t before = umask(0077);

	(void)unused;
	assert_int_equal(folder_make("one", 0700), 0);
	assert_int_equal(mode_of("one"), 0700);
	/* What is missing above is for all, whatever the umask; what is there stays as it is. */
	assert_int_equal(folder_make("one/two//three/four", 0700), 0);
	assert_int_equal(mode_of("one"), 0700);
	assert_int_equal(mode_of("one/two"), 0755);
	assert_int_equal(mode_of("one/two/three"), 0755);
	assert_int_equal(mode_of("one/two/three/four"), 0700);
	umask(before);
}

static void
test_refusals(void **unused)
{
	(void)unused;
	assert_int_equal(folder_make("a", 0755), 0);
	assert_int_equal(folder_make("a", 0755), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(symlink("nowhere", "link"), 0);
	assert_int_equal(folder_make("link", 0755), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(folder_make("link/a/b", 0755), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(mknod("file", S_IFREG | 0600, 0), 0);
	assert_int_equal(folder_make("file/a/b", 0755), -1);
	assert_int_equal(errno, ENOTDIR);
	assert_int_equal(folder_make("/", 0755), -1);
	assert_int_equal(errno, EEXIST);
}

static void
test_list(void **unused)
{
	struct dirent **list;

	(void)unused;
	assert_int_equal(folder_make("l/b", 0755), 0);
	assert_int_equal(folder_make("l/.hidden", 0755), 0);
	assert_int_equal(folder_make("l/a", 0755), 0);
	assert_int_equal(folder_list("l", &list), 2);
	assert_string_equal(list[0]->d_name, "a");
	assert_string_equal(list[1]->d_name, "b");
	free(list[0]);
	free(list[1]);
	free(list);
	assert_int_equal(folder_list("not_there", &list), -1);
	assert_int_equal(errno, ENOENT);
}

/* Deepest first. */
static int
clean_up(void **unused)
{
	static const char *const made[] = { "one/two/three/four", "one/two/three", "one/two", "one",
		"a", "l/b", "l/.hidden", "l/a", "l" };

	(void)unused;
	for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++)
		(void)rmdir(made[i]);
	unlink("link");
	unlink("file");
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_list),
	};

	if (mkdtemp(dir) == NULL || chdir(dir) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, clean_up);
}
