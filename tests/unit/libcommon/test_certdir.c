/* test_certdir: which files of a folder are a certificate and its key. */
#include "libcommon/certdir.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/mem.h"
#include "libcommon/sbuf.h"

static const char *const files[] = { "b.pem", "a.crt", "a.key", "c.crt", "lonely.key",
	".hidden.pem", ".pem", "readme.txt", "d/fullchain.pem", "d/privkey.pem", "e/fullchain.pem",
	"f/privkey.pem" };

static void
note(void *arg, const char *cert, const char *key)
{
	sbuf_addf(arg, "%s %s\n", strstr(cert, "/x/") + 3, strstr(key, "/x/") + 3);
}

static void
pairs_by_name(void **state)
{
	char top[] = "/tmp/certdir.XXXXXX";
	struct sbuf seen = { 0 };
	char *dir;

	(void)state;
	assert_non_null(mkdtemp(top));
	dir = xasprintf("%s/x", top);
	assert_int_equal(certdir_each(dir, note, &seen), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(mkdir(dir, 0700), 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		char *path = xasprintf("%s/%s", dir, files[i]);
		char *slash = strrchr(path, '/');
		FILE *f;

		*slash = '\0';
		(void)mkdir(path, 0700);
		*slash = '/';
		f = fopen(path, "w");
		assert_non_null(f);
		fclose(f);
		free(path);
	}
	assert_int_equal(certdir_each(dir, note, &seen), 0);
	assert_string_equal(sbuf_str(&seen),
		"a.crt a.key\n"
		"b.pem b.pem\n"
		"c.crt c.crt\n"
		"d/fullchain.pem d/privkey.pem\n"
		"e/fullchain.pem e/privkey.pem\n");
	sbuf_fini(&seen);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		char *path = xasprintf("%s/%s", dir, files[i]);

		assert_int_equal(unlink(path), 0);
		free(path);
	}
	for (const char *sub = "def"; *sub != '\0'; sub++) {
		char *path = xasprintf("%s/%c", dir, *sub);

		assert_int_equal(rmdir(path), 0);
		free(path);
	}
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(top), 0);
	free(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
