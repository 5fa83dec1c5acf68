/*
 * staple: see the header. A response without nextUpdate is refused: nothing would say when to stop
 * showing it.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/tls1.h>
#include <openssl/x509v3.h>
#include <time.h>
#include <unistd.h>

#include "tlsd/staple.h"

#define FILE_MAX 65536
#define SKEW_S   300 /* clocks of CAs and ours */

static enum staple_result
bad(struct err *err, const char *path, const char *what)
{
	err_set(err, "%s: %s", path, what);
	ERR_clear_error();
	return STAPLE_BAD;
}

static enum staple_result
read_file(struct staple *s, const char *path, struct stat *st, struct err *err)
{
	static unsigned char buf[FILE_MAX + 1]; /* main thread only */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = -1;

	memset(st, 0, sizeof(*st));
	if (fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return STAPLE_NONE;
		return bad(err, path, strerror(errno));
	}
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		n = pread(fd, buf, sizeof(buf), 0);
	close(fd);
	if (n <= 0 || n > FILE_MAX)
		return bad(err, path, "is no file of 1 byte to 64 kB");
	s->der = OPENSSL_memdup(buf, (size_t)n);
	s->n = (int)n;
	return s->der != NULL ? STAPLE_OK : bad(err, path, "no memory");
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

static enum staple_result
check(struct staple *s, OCSP_BASICRESP *basic, const char *path, X509 *leaf, STACK_OF(X509) * chain,
	struct err *err)
{
	OCSP_SINGLERESP *one = find_single(basic, leaf, sk_X509_value(chain, 0));
	ASN1_GENERALIZEDTIME *since;
	ASN1_GENERALIZEDTIME *until;
	int why;

	if (one == NULL)
		return bad(err, path, "says nothing of this certificate");
	if (!is_signed(basic, chain))
		return bad(err, path, "is not signed by the certificate's issuer");

	int status = OCSP_single_get0_status(one, &why, NULL, &since, &until);

	s->this_update = seconds(since);
	s->next_update = seconds(until);
	if (s->next_update == 0)
		return bad(err, path, "does not say until when it holds");
	if (!staple_is_valid(s, (int64_t)time(NULL)))
		return bad(err, path, "is out of date");
	if (status == V_OCSP_CERTSTATUS_REVOKED) {
		err_set(err, "%s: the certificate is revoked: %s", path, OCSP_crl_reason_str(why));
		return STAPLE_REVOKED;
	}
	if (status != V_OCSP_CERTSTATUS_GOOD)
		return bad(err, path, "the responder does not know the certificate");
	return STAPLE_OK;
}

static enum staple_result
parse(struct staple *s, const char *path, X509 *leaf, STACK_OF(X509) * chain, struct err *err)
{
	const unsigned char *p = s->der;
	OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, s->n);
	OCSP_BASICRESP *basic = NULL;
	enum staple_result r;

	if (response == NULL || p != s->der + s->n)
		r = bad(err, path, "is no OCSP response, expected DER");
	else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		r = bad(err, path, "is the responder's refusal");
	else if ((basic = OCSP_response_get1_basic(response)) == NULL)
		r = bad(err, path, "is of an unknown kind");
	else
		r = check(s, basic, path, leaf, chain, err);
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(response);
	ERR_clear_error();
	return r;
}

enum staple_result
staple_load(struct staple *out, const char *path, X509 *leaf, STACK_OF(X509) * chain,
	struct stat *st, struct err *err)
{
	*out = (struct staple){ .n = 0 };

	enum staple_result r = read_file(out, path, st, err);

	if (r == STAPLE_OK && (chain == NULL || sk_X509_num(chain) == 0))
		r = bad(err, path, "cannot be checked: the certificate's file has no issuer");
	if (r == STAPLE_OK)
		r = parse(out, path, leaf, chain, err);
	if (r != STAPLE_OK)
		staple_fini(out);
	return r;
}

void
staple_fini(struct staple *s)
{
	OPENSSL_free(s->der);
	*s = (struct staple){ .n = 0 };
}

bool
staple_is_valid(const struct staple *s, int64_t now_s)
{
	return s->this_update - SKEW_S <= now_s && now_s < s->next_update;
}

bool
staple_is_required(X509 *leaf)
{
	TLS_FEATURE *all = X509_get_ext_d2i(leaf, NID_tlsfeature, NULL, NULL);
	bool is_found = false;

	for (int i = 0; i < sk_ASN1_INTEGER_num(all); i++)
		is_found |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(all, i)) ==
			TLSEXT_TYPE_status_request;
	sk_ASN1_INTEGER_pop_free(all, ASN1_INTEGER_free);
	return is_found;
}
