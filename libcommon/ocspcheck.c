/*
 * ocspcheck: see the header. RFC 6960 §4.2; a nonce is nobody's concern here, because responses are
 * kept and shown again.
 */
#include "libcommon/ocspcheck.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <time.h>

#define SKEW_S 300 /* clocks of CAs and ours */

static enum ocspcheck_result
bad(struct err *err, const char *what)
{
	err_set(err, "%s", what);
	return OCSPCHECK_BAD;
}

/* The answer about this certificate: CAs name it by hashes of their own choice. */
static OCSP_SINGLERESP *
find_single(OCSP_BASICRESP *basic, X509 *leaf, X509 *issuer)
{
	for (int i = 0; i < OCSP_resp_count(basic); i++) {
		OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
		OCSP_CERTID *id = (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(one);
		ASN1_OBJECT *alg;
		const EVP_MD *md;
		OCSP_CERTID *want = NULL;

		OCSP_id_get0_info(NULL, &alg, NULL, NULL, id);
		md = EVP_get_digestbyobj(alg);
		if (md != NULL)
			want = OCSP_cert_to_id(md, leaf, issuer);

		bool is_same = want != NULL && OCSP_id_cmp(id, want) == 0;

		OCSP_CERTID_free(want);
		if (is_same)
			return one;
	}
	return NULL;
}

static int64_t
seconds(const ASN1_GENERALIZEDTIME *t)
{
	struct tm tm;

	return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* Signed by the issuer, who is trusted here, or by somebody to whom he gave that right. */
static bool
is_signed(OCSP_BASICRESP *basic, STACK_OF(X509) * chain)
{
	X509_STORE *store = X509_STORE_new();
	bool ok = store != NULL && X509_STORE_add_cert(store, sk_X509_value(chain, 0)) == 1 &&
		X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
		OCSP_basic_verify(basic, chain, store, 0) == 1;

	X509_STORE_free(store);
	return ok;
}

bool
ocspcheck_holds(const struct ocspcheck_times *t, int64_t now_s)
{
	return t->this_update - SKEW_S <= now_s && now_s < t->next_update;
}

static enum ocspcheck_result
check(OCSP_BASICRESP *basic, X509 *leaf, STACK_OF(X509) * chain, int64_t now_s,
	struct ocspcheck_times *times, struct err *err)
{
	OCSP_SINGLERESP *one = find_single(basic, leaf, sk_X509_value(chain, 0));
	ASN1_GENERALIZEDTIME *since;
	ASN1_GENERALIZEDTIME *until;
	int why;

	if (one == NULL)
		return bad(err, "says nothing of this certificate");
	if (!is_signed(basic, chain))
		return bad(err, "is not signed by the certificate's issuer");

	int status = OCSP_single_get0_status(one, &why, NULL, &since, &until);

	times->this_update = seconds(since);
	times->next_update = seconds(until);
	if (times->next_update == 0)
		return bad(err, "does not say until when it holds");
	if (!ocspcheck_holds(times, now_s))
		return bad(err, "is out of date");
	if (status == V_OCSP_CERTSTATUS_GOOD)
		return OCSPCHECK_GOOD;
	if (status != V_OCSP_CERTSTATUS_REVOKED)
		return bad(err, "the responder does not know the certificate");
	err_set(err, "the certificate is revoked: %s", OCSP_crl_reason_str(why));
	return OCSPCHECK_REVOKED;
}

enum ocspcheck_result
ocspcheck(const unsigned char *der, size_t n, X509 *leaf, STACK_OF(X509) * chain, int64_t now_s,
	struct ocspcheck_times *times, struct err *err)
{
	const unsigned char *p = der;
	OCSP_RESPONSE *response = NULL;
	OCSP_BASICRESP *basic = NULL;
	enum ocspcheck_result r;

	*times = (struct ocspcheck_times){ 0 };
	if (chain == NULL || sk_X509_num(chain) == 0)
		return bad(err, "cannot be checked: the certificate's file has no issuer");
	if (n <= OCSPCHECK_MAX)
		response = d2i_OCSP_RESPONSE(NULL, &p, (long)n);
	if (response == NULL || p != der + n)
		r = bad(err, "is no OCSP response, expected DER");
	else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		r = bad(err, "is the responder's refusal");
	else if ((basic = OCSP_response_get1_basic(response)) == NULL)
		r = bad(err, "is of an unknown kind");
	else
		r = check(basic, leaf, chain, now_s, times, err);
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(response);
	ERR_clear_error();
	return r;
}
