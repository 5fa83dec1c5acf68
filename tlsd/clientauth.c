/*
 * clientauth: PEM files into a store of OpenSSL's, and the callback that lets those in whose issuer
 * is unknown where the listener wants that. Verification itself is OpenSSL's, for the purpose
 * "TLS client"; with a revocation list every certificate of a chain must be covered by one.
 */
#include "tlsd/clientauth.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "libcommon/mem.h"
#include "libcommon/units.h"
#include "tlsd/certs.h"
#include "tlsd/pem.h"

#define CA_FILE_MAX  (4u << 20)
#define CRL_FILE_MAX (64u << 20)
/* Their names go to each client (RFC 8446 §4.2.4), in a list of at most 64 kB. */
#define CAS_MAX   1000
#define NAMES_MAX 48000

const char *
clientauth_mode_word(int mode)
{
	static const char *const words[] = { "require", "optional", "optional_no_ca" };

	return words[mode];
}

/* Takes der over. */
static void
mix(EVP_MD_CTX *sha, unsigned char *der, int n)
{
	if (n > 0)
		EVP_DigestUpdate(sha, der, (size_t)n);
	OPENSSL_free(der);
}

/* Its name, once; *bytes counts what the list takes in a handshake. */
static bool
add_name(struct clientauth *a, const X509 *x, size_t *bytes)
{
	X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));
	int n = name != NULL ? i2d_X509_NAME(name, NULL) : -1;

	for (int i = 0; n >= 0 && i < sk_X509_NAME_num(a->names); i++)
		if (X509_NAME_cmp(sk_X509_NAME_value(a->names, i), name) == 0) {
			X509_NAME_free(name);
			return true;
		}
	*bytes += (size_t)(n + 2);
	if (n >= 0 && sk_X509_NAME_push(a->names, name) > 0)
		return true;
	X509_NAME_free(name);
	return false;
}

static int
add_ca(struct clientauth *a, X509 *x, EVP_MD_CTX *sha, size_t *bytes, struct err *err)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);

	mix(sha, der, n);
	if (X509_check_ca(x) == 0)
		return pem_says(
			err, a->ca_path, "a certificate is none of a certification authority");
	if (++a->ncas > CAS_MAX)
		return pem_says(
			err, a->ca_path, "has too many certificates, expected 1000 at most");
	if (X509_STORE_add_cert(a->store, x) != 1 || !add_name(a, x, bytes))
		return pem_says(err, a->ca_path, "a certificate cannot be used");
	return 0;
}

static int
read_cas(struct clientauth *a, EVP_MD_CTX *sha, struct err *err)
{
	struct pem_error e;
	BIO *mem = pem_read(a->ca_path, CA_FILE_MAX, NULL, NULL, &a->ca_st, &e);
	size_t bytes = 0;
	int rc = 0;
	X509 *x;

	if (mem == NULL) {
		*err = e.err;
		return -1;
	}
	while (rc == 0 && (x = PEM_read_bio_X509(mem, NULL, NULL, NULL)) != NULL) {
		rc = add_ca(a, x, sha, &bytes, err);
		X509_free(x);
	}
	if (rc == 0 && !pem_at_end())
		rc = pem_says(err, a->ca_path, "a certificate cannot be parsed");
	if (rc == 0 && a->ncas == 0)
		rc = pem_says(err, a->ca_path, "has no certificate, expected PEM");
	if (rc == 0 && bytes > NAMES_MAX)
		rc = pem_says(
			err, a->ca_path, "the names of so many authorities fit in no handshake");
	BIO_free(mem);
	return rc;
}

static int
add_crl(struct clientauth *a, X509_CRL *crl, EVP_MD_CTX *sha, struct err *err)
{
	const ASN1_TIME *until = X509_CRL_get0_nextUpdate(crl);
	unsigned char *der = NULL;
	int n = i2d_X509_CRL(crl, &der);
	struct tm tm;

	mix(sha, der, n);
	a->ncrls++;
	if (until != NULL && ASN1_TIME_to_tm(until, &tm) == 1) {
		int64_t s = (int64_t)timegm(&tm);

		if (a->next_update == 0 || s < a->next_update)
			a->next_update = s;
	}
	if (X509_STORE_add_crl(a->store, crl) != 1)
		return pem_says(err, a->crl_path, "a revocation list cannot be used");
	return 0;
}

static int
read_crls(struct clientauth *a, EVP_MD_CTX *sha, struct err *err)
{
	struct pem_error e;
	BIO *mem = pem_read(a->crl_path, CRL_FILE_MAX, NULL, NULL, &a->crl_st, &e);
	int rc = 0;
	X509_CRL *crl;

	if (mem == NULL) {
		*err = e.err;
		return -1;
	}
	while (rc == 0 && (crl = PEM_read_bio_X509_CRL(mem, NULL, NULL, NULL)) != NULL) {
		rc = add_crl(a, crl, sha, err);
		X509_CRL_free(crl);
	}
	if (rc == 0 && !pem_at_end())
		rc = pem_says(err, a->crl_path, "a revocation list cannot be parsed");
	if (rc == 0 && a->ncrls == 0)
		rc = pem_says(err, a->crl_path, "has no revocation list, expected PEM");
	BIO_free(mem);
	if (rc == 0)
		X509_STORE_set_flags(a->store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return rc;
}

static int
read_files(struct clientauth *a, EVP_MD_CTX *sha, struct err *err)
{
	const unsigned char head[] = { (unsigned char)a->mode, (unsigned char)a->depth,
		a->crl_path != NULL };

	EVP_DigestUpdate(sha, head, sizeof(head));
	if (a->ca_path != NULL && read_cas(a, sha, err) < 0)
		return -1;
	if (a->crl_path != NULL && read_crls(a, sha, err) < 0)
		return -1;
	return EVP_DigestFinal_ex(sha, a->digest, NULL) == 1 ? 0 : err_set(err, "no SHA-256");
}

static int
load_into(struct clientauth *a, struct err *err)
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	int rc = -1;

	a->store = X509_STORE_new();
	a->names = sk_X509_NAME_new_null();
	if (a->store == NULL || a->names == NULL || sha == NULL ||
		EVP_DigestInit_ex(sha, EVP_sha256(), NULL) != 1)
		err_set(err, "client_auth: no memory");
	else
		rc = read_files(a, sha, err);
	EVP_MD_CTX_free(sha);
	return rc;
}

struct clientauth *
clientauth_load(const struct clientauthcfg *cfg, struct err *err)
{
	struct clientauth *a = xcalloc(1, sizeof(*a));

	atomic_init(&a->refs, 1);
	a->mode = cfg->mode;
	a->depth = (int)cfg->depth;
	a->ca_path = cfg->ca != NULL ? xstrdup(cfg->ca) : NULL;
	a->crl_path = cfg->crl != NULL ? xstrdup(cfg->crl) : NULL;
	ERR_clear_error();
	if (load_into(a, err) == 0)
		return a;
	clientauth_unref(a);
	return NULL;
}

struct clientauth *
clientauth_ref(struct clientauth *a)
{
	atomic_fetch_add(&a->refs, 1);
	return a;
}

void
clientauth_unref(struct clientauth *a)
{
	if (a == NULL || atomic_fetch_sub(&a->refs, 1) > 1)
		return;
	X509_STORE_free(a->store);
	sk_X509_NAME_pop_free(a->names, X509_NAME_free);
	free(a->ca_path);
	free(a->crl_path);
	free(a);
}

static bool
is_same_path(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
clientauth_is_current(const struct clientauth *a, const struct clientauthcfg *cfg)
{
	return a->mode == cfg->mode && a->depth == cfg->depth &&
		is_same_path(a->ca_path, cfg->ca) && is_same_path(a->crl_path, cfg->crl) &&
		(a->ca_path == NULL || cert_is_same_file(a->ca_path, &a->ca_st)) &&
		(a->crl_path == NULL || cert_is_same_file(a->crl_path, &a->crl_st));
}

bool
clientauth_is_over(const struct clientauth *a, int64_t now_s)
{
	return a->next_update != 0 && a->next_update < now_s;
}

void
clientauth_warn(const struct clientauth *a, struct err_at at, const char *path, struct errs *errs)
{
	char when[UNITS_TIME];

	if (!clientauth_is_over(a, (int64_t)time(NULL)))
		return;
	units_format_time(a->next_update, when);
	errs_add(errs, FINDING_WARNING, at, path,
		"%s: the revocation list is over since %s: clients with a certificate are refused",
		a->crl_path, when);
}

/* --- in a handshake ----------------------------------------------------------------------- */

/* What says only that nobody we know vouches for it, as nginx and Apache understand
 * optional_no_ca. The error stays as the verification's result. */
static bool
is_unknown_issuer(X509_STORE_CTX *ctx)
{
	switch (X509_STORE_CTX_get_error(ctx)) {
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_UNTRUSTED: return true;
	/* Nobody's list is here of an authority that is none of ours. */
	case X509_V_ERR_UNABLE_TO_GET_CRL:
		return X509_STORE_CTX_get_num_untrusted(ctx) ==
			sk_X509_num(X509_STORE_CTX_get0_chain(ctx));
	default: return false;
	}
}

static int
let_strangers_in(int ok, X509_STORE_CTX *ctx)
{
	return ok || is_unknown_issuer(ctx);
}

int
clientauth_apply(struct clientauth *a, SSL_CTX *ctx, struct err *err)
{
	int mode = SSL_VERIFY_PEER;
	STACK_OF(X509_NAME) *names = SSL_dup_CA_list(a->names);

	if (names == NULL || SSL_CTX_set1_verify_cert_store(ctx, a->store) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return err_set(err, "client_auth: no memory");
	}
	if (a->mode == CLIENT_AUTH_REQUIRE)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_client_CA_list(ctx, names); /* takes it */
	SSL_CTX_set_verify(
		ctx, mode, a->mode == CLIENT_AUTH_OPTIONAL_NO_CA ? let_strangers_in : NULL);
	SSL_CTX_set_verify_depth(ctx, a->depth);
	return 0;
}

bool
clientauth_is_session_good(const struct clientauth *a, const SSL_SESSION *session)
{
	X509 *peer = SSL_SESSION_get0_peer((SSL_SESSION *)(uintptr_t)session);

	if (a == NULL || peer == NULL)
		return true;
	return X509_cmp_current_time(X509_get0_notAfter(peer)) > 0 &&
		!clientauth_is_over(a, (int64_t)time(NULL));
}
