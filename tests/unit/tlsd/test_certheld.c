/* test_certheld: certificates are found by both of their files, and the first one stays. */
#include "tlsd/certheld.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct cert
cert_at(char *cert, char *key)
{
	return (struct cert){ .cert_path = cert, .key_path = key };
}

static void
found_by_both_files(void **state)
{
	char a_pem[] = "/a.pem";
	char b_pem[] = "/b.pem";
	char key[] = "/key";
	struct cert a = cert_at(a_pem, a_pem);
	struct cert with_key = cert_at(a_pem, key);
	struct cert b = cert_at(b_pem, key);
	struct cert again = cert_at(b_pem, key);
	struct cert waits = cert_at(b_pem, key);
	struct certheld_index idx = { NULL };

	(void)state;
	assert_null(certheld_find(&idx, "/a.pem", "/a.pem").served);
	assert_null(certheld_find(NULL, "/a.pem", "/a.pem").served);
	certheld_add(&idx, &a, NULL);
	certheld_add(&idx, &with_key, NULL);
	certheld_add(&idx, &b, &waits);
	certheld_add(&idx, &again, NULL);
	assert_ptr_equal(certheld_find(&idx, "/a.pem", "/a.pem").served, &a);
	assert_ptr_equal(certheld_find(&idx, "/a.pem", "/key").served, &with_key);
	assert_ptr_equal(certheld_find(&idx, "/b.pem", "/key").served, &b);
	assert_ptr_equal(certheld_find(&idx, "/b.pem", "/key").waiting, &waits);
	assert_null(certheld_find(&idx, "/b.pem", "/b.pem").served);
	assert_null(certheld_find(&idx, "/key", "/key").served);
	certheld_fini(&idx);
	assert_null(certheld_find(&idx, "/a.pem", "/a.pem").served);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found_by_both_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
