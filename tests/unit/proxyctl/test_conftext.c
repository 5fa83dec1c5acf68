/*
 * conftext: what is kept of a configuration stays as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxyctl/conftext.h"

static char folder[] = "/tmp/weir-conftext.XXXXXX";

static void
put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
it_stays_whatever_becomes_of_the_file(void **state)
{
	char *path = xasprintf("%s/w.yaml", folder);
	struct err err = { 0 };
	char hash[CFG_HASH];
	char text[16];
	struct conftext *t;

	(void)state;
	put(path, "a: 1\n");
	t = conftext_read(path, &err);
	assert_non_null(t);
	put(path, "b: 2, and more\n");
	cfg_hash(SLICE("a: 1\n"), hash);
	assert_string_equal(t->hash, hash);
	assert_string_equal(t->file, path);
	assert_int_equal(pread(t->fd, text, sizeof(text), 0), 5);
	assert_memory_equal(text, "a: 1\n", 5);
	/* Whoever inherits it cannot change it. */
	assert_int_equal(pwrite(t->fd, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(t->fd, 0), -1);
	assert_int_equal(fcntl(t->fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(fcntl(t->fd, F_GETFD), FD_CLOEXEC);
	/* The last reference closes it. */
	conftext_ref(t);
	int fd = t->fd;

	conftext_free(t);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	conftext_free(t);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	conftext_free(NULL);
	unlink(path);
	assert_null(conftext_read(path, &err));
	assert_non_null(strstr(err.text, "w.yaml: No such file or directory"));
	assert_null(conftext_read(folder, &err));
	free(path);
}

static void
one_is_kept_of_each_file_of_a_plan(void **state)
{
	char *one = xasprintf("%s/1.yaml", folder);
	char *two = xasprintf("%s/2.yaml", folder);
	struct planned v[] = { { .file = one }, { .file = two }, { .file = one } };
	struct plan p = { .v = v, .n = 3 };
	struct conftexts all = { 0 };
	struct err err = { 0 };

	(void)state;
	put(one, "a: 1\n");
	assert_int_equal(conftexts_read(&all, &p, &err), -1);
	assert_non_null(strstr(err.text, "2.yaml"));
	conftexts_fini(&all);
	put(two, "a: 2\n");
	assert_int_equal(conftexts_read(&all, &p, &err), 0);
	assert_int_equal(all.n, 2);
	assert_ptr_equal(conftexts_find(&all, one, NULL), all.v[0]);
	assert_ptr_equal(conftexts_find(&all, two, all.v[1]->hash), all.v[1]);
	assert_null(conftexts_find(&all, two, all.v[0]->hash));
	assert_null(conftexts_find(&all, folder, NULL));
	assert_true(conftexts_agree(&all, two, all.v[1]->hash));
	assert_false(conftexts_agree(&all, two, all.v[0]->hash));
	assert_true(conftexts_agree(&all, folder, all.v[0]->hash));
	conftexts_fini(&all);
	assert_null(conftexts_find(&all, one, NULL));
	unlink(one);
	unlink(two);
	free(one);
	free(two);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_stays_whatever_becomes_of_the_file),
		cmocka_unit_test(one_is_kept_of_each_file_of_a_plan),
	};

	if (mkdtemp(folder) == NULL)
		return 1;

	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	rmdir(folder);
	return rc;
}
