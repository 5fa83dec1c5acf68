/*
 * ocspcheck: responses made here by an authority of our own, each wrong in one thing; what is right
 * is no longer so with any byte less or another one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "libcommon/ocspcheck.h"

#define NOW_S  1800000000
#define HOUR_S 3600

struct party {
	X509 *cert;
	EVP_PKEY *key;
};

static struct party issuer, stranger, responder, no_responder, leaf, other;
static STACK_OF(X509) * chain;

/* by NULL: its own issuer. */
static struct party
made(const char *name, int serial, const struct party *by, const char *usage)
{
	struct party p = { .cert = X509_new(), .key = EVP_EC_gen("P-256") };
	X509_NAME *subject = X509_get_subject_name(p.cert);

	X509_set_version(p.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial);
	X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(p.cert, by != NULL ? X509_get_subject_name(by->cert) : subject);
	X509_gmtime_adj(X509_getm_notBefore(p.cert), -24 * HOUR_S);
	X509_gmtime_adj(X509_getm_notAfter(p.cert), 24 * HOUR_S);
	X509_set_pubkey(p.cert, p.key);
	if (usage != NULL) {
		X509_EXTENSION *x = X509V3_EXT_conf_nid(
			NULL, NULL, by != NULL ? NID_ext_key_usage : NID_basic_constraints, usage);

		X509_add_ext(p.cert, x, -1);
		X509_EXTENSION_free(x);
	}
	assert_true(X509_sign(p.cert, by != NULL ? by->key : p.key, EVP_sha256()) > 0);
	return p;
}

static void
fini(struct party *p)
{
	X509_free(p->cert);
	EVP_PKEY_free(p->key);
}

static int
setup(void **state)
{
	(void)state;
	issuer = made("Authority", 1, NULL, "critical,CA:TRUE");
	stranger = made("Authority", 1, NULL, "critical,CA:TRUE");
	responder = made("Responder", 2, &issuer, "OCSPSigning");
	no_responder = made("Server", 3, &issuer, "serverAuth");
	leaf = made("site", 7, &issuer, NULL);
	other = made("site", 8, &issuer, NULL);
	chain = sk_X509_new_null();
	sk_X509_push(chain, issuer.cert);
	return 0;
}

static int
teardown(void **state)
{
	struct party *all[] = { &issuer, &stranger, &responder, &no_responder, &leaf, &other };

	(void)state;
	sk_X509_free(chain);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		fini(all[i]);
	return 0;
}

struct response {
	const char *name;
	const struct party *about;
	const struct party *by;
	int status;
	int from_s; /* from now; until_s 0: no nextUpdate */
	int until_s;
	enum ocspcheck_result result;
	const char *err;
};

static unsigned char *
der_of(const struct response *r, size_t *n)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), r->about->cert, issuer.cert);
	ASN1_TIME *since = ASN1_TIME_set(NULL, NOW_S - HOUR_S);
	ASN1_TIME *from = ASN1_TIME_set(NULL, NOW_S + r->from_s);
	ASN1_TIME *until = r->until_s != 0 ? ASN1_TIME_set(NULL, NOW_S + r->until_s) : NULL;
	unsigned char *der = NULL;

	assert_non_null(
		OCSP_basic_add1_status(basic, id, r->status, OCSP_REVOKED_STATUS_KEYCOMPROMISE,
			r->status == V_OCSP_CERTSTATUS_REVOKED ? since : NULL, from, until));
	assert_int_equal(OCSP_basic_sign(basic, r->by->cert, r->by->key, EVP_sha256(), NULL, 0), 1);

	OCSP_RESPONSE *whole = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);

	*n = (size_t)i2d_OCSP_RESPONSE(whole, &der);
	OCSP_RESPONSE_free(whole);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(since);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
	return der;
}

#define GOOD    V_OCSP_CERTSTATUS_GOOD
#define REVOKED V_OCSP_CERTSTATUS_REVOKED
#define NOBODY  "is not signed by the certificate's issuer"

static const struct response good = { "good", &leaf, &issuer, GOOD, -60, HOUR_S, OCSPCHECK_GOOD,
	"" };

static const struct response rows[] = {
	{ "by a responder of his", &leaf, &responder, GOOD, -60, HOUR_S, OCSPCHECK_GOOD, "" },
	{ "revoked", &leaf, &issuer, REVOKED, -60, HOUR_S, OCSPCHECK_REVOKED,
		"the certificate is revoked: keyCompromise" },
	{ "unknown", &leaf, &issuer, V_OCSP_CERTSTATUS_UNKNOWN, -60, HOUR_S, OCSPCHECK_BAD,
		"the responder does not know the certificate" },
	{ "of another certificate", &other, &issuer, GOOD, -60, HOUR_S, OCSPCHECK_BAD,
		"says nothing of this certificate" },
	{ "by a stranger of the same name", &leaf, &stranger, GOOD, -60, HOUR_S, OCSPCHECK_BAD,
		NOBODY },
	{ "by a server of the issuer's", &leaf, &no_responder, GOOD, -60, HOUR_S, OCSPCHECK_BAD,
		NOBODY },
	{ "by the certificate itself", &leaf, &leaf, GOOD, -60, HOUR_S, OCSPCHECK_BAD, NOBODY },
	{ "without an end", &leaf, &issuer, GOOD, -60, 0, OCSPCHECK_BAD,
		"does not say until when it holds" },
	{ "over", &leaf, &issuer, GOOD, -HOUR_S, -1, OCSPCHECK_BAD, "is out of date" },
	{ "holds for one more second", &leaf, &issuer, GOOD, -HOUR_S, 1, OCSPCHECK_GOOD, "" },
	{ "of a clock that is ahead", &leaf, &issuer, GOOD, 300, HOUR_S, OCSPCHECK_GOOD, "" },
	{ "of the future", &leaf, &issuer, GOOD, 301, HOUR_S, OCSPCHECK_BAD, "is out of date" },
	{ "revoked, and over", &leaf, &issuer, REVOKED, -HOUR_S, -1, OCSPCHECK_BAD,
		"is out of date" },
};

static enum ocspcheck_result
judged(const unsigned char *der, size_t n, STACK_OF(X509) * by, struct ocspcheck_times *times,
	struct err *err)
{
	unsigned char *copy = malloc(n > 0 ? n : 1); /* of the exact size */

	memcpy(copy, der, n);
	err->text[0] = '\0';

	enum ocspcheck_result r = ocspcheck(copy, n, leaf.cert, by, NOW_S, times, err);

	free(copy);
	return r;
}

static void
each_response_has_its_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ocspcheck_times times;
		struct err err;
		size_t n;
		unsigned char *der = der_of(&rows[i], &n);
		enum ocspcheck_result r = judged(der, n, chain, &times, &err);

		if (r != rows[i].result || strcmp(err.text, rows[i].err) != 0)
			fail_msg("%s: %d \"%s\"", rows[i].name, (int)r, err.text);
		OPENSSL_free(der);
	}
}

static void
nothing_but_the_whole_is_good(void **state)
{
	struct ocspcheck_times times;
	struct err err;
	size_t n;
	unsigned char *der = der_of(&good, &n);

	(void)state;
	assert_int_equal(judged(der, n, chain, &times, &err), OCSPCHECK_GOOD);
	assert_int_equal(times.this_update, NOW_S - 60);
	assert_int_equal(times.next_update, NOW_S + HOUR_S);
	assert_int_equal(judged(der, n, NULL, &times, &err), OCSPCHECK_BAD);
	for (size_t cut = 0; cut < n; cut++) {
		assert_int_equal(judged(der, cut, chain, &times, &err), OCSPCHECK_BAD);
		assert_true(err.text[0] != '\0');
	}

	unsigned char *longer = calloc(1, OCSPCHECK_MAX + 1);

	memcpy(longer, der, n);
	assert_int_equal(judged(longer, n + 1, chain, &times, &err), OCSPCHECK_BAD);
	assert_int_equal(judged(longer, OCSPCHECK_MAX + 1, chain, &times, &err), OCSPCHECK_BAD);
	free(longer);
	OPENSSL_free(der);
}

/* The signature's last bytes are a number: all that is signed, and the signature, count. */
static void
a_changed_byte_says_nothing_else(void **state)
{
	static const struct response revoked = { "", &leaf, &issuer, REVOKED, -60, HOUR_S,
		OCSPCHECK_REVOKED, "" };
	struct ocspcheck_times times;
	struct err err;
	size_t n;
	unsigned char *der = der_of(&revoked, &n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			der[i] ^= (unsigned char)(1u << bit);
			assert_int_not_equal(judged(der, n, chain, &times, &err), OCSPCHECK_GOOD);
			der[i] ^= (unsigned char)(1u << bit);
		}
	OPENSSL_free(der);
}

static void
a_refusal_and_an_unknown_kind(void **state)
{
	struct ocspcheck_times times;
	struct err err;
	OCSP_RESPONSE *later = OCSP_response_create(OCSP_RESPONSE_STATUS_TRYLATER, NULL);
	unsigned char *der = NULL;
	int n = i2d_OCSP_RESPONSE(later, &der);

	(void)state;
	assert_int_equal(judged(der, (size_t)n, chain, &times, &err), OCSPCHECK_BAD);
	assert_string_equal(err.text, "is the responder's refusal");
	OPENSSL_free(der);
	OCSP_RESPONSE_free(later);
	/* Successful, and of the kind 1.2.3 */
	assert_int_equal(
		judged((const unsigned char
				       *)"\x30\x0d\x0a\x01\x00\xa0\x08\x30\x06\x06\x02\x2a\x03\x04\x00",
			15, chain, &times, &err),
		OCSPCHECK_BAD);
	assert_string_equal(err.text, "is of an unknown kind");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_response_has_its_verdict),
		cmocka_unit_test(nothing_but_the_whole_is_good),
		cmocka_unit_test(a_changed_byte_says_nothing_else),
		cmocka_unit_test(a_refusal_and_an_unknown_kind),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
