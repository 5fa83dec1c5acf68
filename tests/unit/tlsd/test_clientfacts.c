/*
 * clientfacts: certificates made here, with names as nobody should have them: what is told of them
 * is printable, whole or not at all, and no name looks like two.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "libcommon/mem.h"
#include "tlsd/clientfacts.h"

static EVP_PKEY *key;

static void
add_dns(GENERAL_NAMES *all, int type, const char *p, size_t n)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();

	ASN1_STRING_set(s, p, (int)n);
	GENERAL_NAME_set0_value(g, type, s);
	sk_GENERAL_NAME_push(all, g);
}

static X509 *
make(const char *cn, size_t cn_n, GENERAL_NAMES *sans)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 0x1234abcd);
	ASN1_TIME_set_string(X509_getm_notBefore(x), "20260102030405Z");
	ASN1_TIME_set_string(X509_getm_notAfter(x), "20991231235959Z");
	X509_NAME_add_entry_by_txt(
		name, "O", MBSTRING_UTF8, (const unsigned char *)"Org", 3, -1, 0);
	if (cn_n > 0)
		X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_UTF8STRING,
			(unsigned char *)(uintptr_t)cn, (int)cn_n, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	if (sans != NULL)
		X509_add1_ext_i2d(x, NID_subject_alt_name, sans, 0, 0);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

static void
assert_text(struct slice got, const char *want)
{
	if (got.n != strlen(want) || memcmp(got.p, want, got.n) != 0)
		fail_msg("expected %s, got %.*s", want, SLICE_ARG(got));
}

static void
tells_all(void **state)
{
	struct clientfacts room;
	struct proxy_cert c;
	GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();

	(void)state;
	add_dns(sans, GEN_DNS, "a.example", 9);
	add_dns(sans, GEN_EMAIL, "a@example", 9);

	X509 *x = make("Joe", 3, sans);

	clientfacts_read(x, X509_V_OK, &room, &c);
	assert_text(c.cn, "Joe");
	assert_text(c.subject, "CN=Joe,O=Org");
	assert_text(c.issuer, "CN=Joe,O=Org");
	assert_text(c.serial, "1234abcd");
	assert_text(c.san, "DNS:a.example,email:a@example");
	assert_text(c.not_before, "2026-01-02T03:04:05Z");
	assert_text(c.not_after, "2099-12-31T23:59:59Z");
	assert_int_equal(c.fingerprint.n, 64);
	assert_int_equal(c.failure.n, 0);
	assert_int_equal(c.der.n, i2d_X509(x, NULL));

	/* Of a stranger only what is no claim. */
	clientfacts_read(x, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, &room, &c);
	assert_text(c.failure, "self-signed certificate");
	assert_int_equal(c.fingerprint.n, 64);
	assert_true(c.der.n > 0);
	assert_int_equal(c.cn.n + c.subject.n + c.issuer.n + c.serial.n + c.san.n + c.not_before.n +
			c.not_after.n,
		0);
	GENERAL_NAMES_free(sans);
	X509_free(x);
}

static void
nothing_escapes(void **state)
{
	static const char evil[] = "a\r\nX-Admin: 1,O=Other\0\xc3\xa9\"\\";
	struct clientfacts room;
	struct proxy_cert c;
	GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();

	(void)state;
	add_dns(sans, GEN_DNS, "a.example, DNS:admin.example", 28);
	add_dns(sans, GEN_URI, "a\r\n\0%\"\\;b", 9);

	X509 *x = make(evil, sizeof(evil) - 1, sans);

	clientfacts_read(x, X509_V_OK, &room, &c);
	assert_text(c.subject, "CN=a\\0D\\0AX-Admin: 1\\,O=Other\\00\\C3\\A9\\\"\\\\,O=Org");
	assert_int_equal(c.cn.n, 0); /* cannot be told as it is */
	assert_text(c.san, "DNS:a.example%2C%20DNS:admin.example,URI:a%0D%0A%00%25%22%5C%3Bb");
	GENERAL_NAMES_free(sans);
	X509_free(x);
}

static void
too_long_is_left_out(void **state)
{
	struct clientfacts room;
	struct proxy_cert c;
	GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();
	char name[900];

	(void)state;
	memset(name, 'n', sizeof(name));
	for (int i = 0; i < 2; i++)
		add_dns(sans, GEN_DNS, name, sizeof(name));

	X509 *x = make(name, sizeof(name), sans);

	clientfacts_read(x, X509_V_OK, &room, &c);
	assert_int_equal(c.cn.n, 0);
	assert_int_equal(c.subject.n, sizeof(name) + strlen("CN=,O=Org"));
	assert_int_equal(c.san.n, 2 * (sizeof(name) + 4) + 1);
	X509_free(x);
	for (int i = 0; i < 6; i++)
		add_dns(sans, GEN_DNS, name, sizeof(name));
	x = make("x", 1, sans);
	clientfacts_read(x, X509_V_OK, &room, &c);
	assert_int_equal(c.san.n, 0);
	assert_int_equal(c.der.n, 0);
	assert_text(c.cn, "x");
	GENERAL_NAMES_free(sans);
	X509_free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_all),
		cmocka_unit_test(nothing_escapes),
		cmocka_unit_test(too_long_is_left_out),
	};
	int rc;

	key = EVP_EC_gen("P-256");
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	EVP_PKEY_free(key);
	return rc;
}
