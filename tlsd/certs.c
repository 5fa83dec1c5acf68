/*
 * certs: PEM files into a checked certificate, chain and key. The bytes of a key file are cleansed
 * as soon as it is parsed.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "libcommon/addr.h"
#include "libcommon/mem.h"
#include "libcommon/units.h"
#include "tlsd/certs.h"

#define FILE_MAX  (1u << 20)
#define CHAIN_MAX 16

/* A key with a passphrase is refused rather than asked for on a terminal. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	*(bool *)arg = true;
	return -1;
}

static int
read_chain(struct cert *c, BIO *mem, struct pem_error *e)
{
	X509 *x;

	c->leaf = PEM_read_bio_X509(mem, NULL, NULL, NULL);
	if (c->leaf == NULL) {
		if (pem_at_end())
			return pem_fail(e, c->cert_path, "has no certificate, expected PEM");
		return pem_fail(e, c->cert_path, "the certificate cannot be parsed");
	}
	while ((x = PEM_read_bio_X509(mem, NULL, NULL, NULL)) != NULL) {
		if (c->chain == NULL)
			c->chain = sk_X509_new_null();
		if (sk_X509_num(c->chain) >= CHAIN_MAX || sk_X509_push(c->chain, x) == 0) {
			X509_free(x);
			return pem_fail(e, c->cert_path, "the chain is too long");
		}
	}
	if (!pem_at_end())
		return pem_fail(e, c->cert_path, "a certificate of the chain cannot be parsed");
	return 0;
}

/* OpenSSL's own words for a file without a key do not say so. */
static bool
has_key_line(BIO *mem)
{
	static const char line[] = "PRIVATE KEY-----";
	char *p;
	long n = BIO_get_mem_data(mem, &p);

	return n > 0 && memmem(p, (size_t)n, line, sizeof(line) - 1) != NULL;
}

static int
read_key(struct cert *c, BIO *mem, struct pem_error *e)
{
	bool is_encrypted = false;

	if (!has_key_line(mem))
		return pem_fail(e, c->key_path, "has no private key, expected PEM");
	c->key = PEM_read_bio_PrivateKey(mem, NULL, no_passphrase, &is_encrypted);
	if (c->key != NULL)
		return 0;
	if (is_encrypted) {
		ERR_clear_error();
		return pem_fail(
			e, c->key_path, "the key is encrypted, expected one without passphrase");
	}
	return pem_fail(e, c->key_path, "the private key cannot be parsed");
}

static void
add_name(struct cert *c, const unsigned char *p, int n)
{
	if (n <= 0 || memchr(p, 0, (size_t)n) != NULL)
		return;
	c->names = xreallocarray(c->names, c->nnames + 1, sizeof(*c->names));
	c->names[c->nnames++] = xstrndup((const char *)p, (size_t)n);
}

static void
add_ip(struct cert *c, const ASN1_OCTET_STRING *ip)
{
	struct sockaddr_storage ss = { .ss_family = ip->length == 4 ? AF_INET : AF_INET6 };
	char text[ADDR_TEXT];

	if (ip->length == 4)
		memcpy(&((struct sockaddr_in *)&ss)->sin_addr, ip->data, 4);
	else if (ip->length == 16)
		memcpy(&((struct sockaddr_in6 *)&ss)->sin6_addr, ip->data, 16);
	else
		return;
	addr_format_host((struct sockaddr *)&ss, text);
	add_name(c, (const unsigned char *)text, (int)strlen(text));
}

/* Without any DNS name in the certificate, its common name stands in, as peers do it. */
static void
add_common_name(struct cert *c)
{
	const X509_NAME *subject = X509_get_subject_name(c->leaf);
	int i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *text = NULL;

	if (i < 0)
		return;

	int n = ASN1_STRING_to_UTF8(
		&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)));

	add_name(c, text, n);
	OPENSSL_free(text);
}

static void
read_names(struct cert *c)
{
	GENERAL_NAMES *sans = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
	int n = sk_GENERAL_NAME_num(sans);

	for (int i = 0; i < n; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(sans, i);

		if (g->type == GEN_DNS)
			add_name(c, g->d.dNSName->data, g->d.dNSName->length);
	}
	if (c->nnames == 0)
		add_common_name(c);
	c->ndns = c->nnames;
	for (int i = 0; i < n; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(sans, i);

		if (g->type == GEN_IPADD)
			add_ip(c, g->d.iPAddress);
	}
	GENERAL_NAMES_free(sans);
}

static int64_t
asn1_seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void
hex(char *out, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
}

/* From a leaf to its cert. Made on the main thread before any handshake. */
static int leaf_index = -1;

const struct cert *
cert_of_leaf(const X509 *leaf)
{
	return leaf != NULL && leaf_index >= 0 ? X509_get_ex_data(leaf, leaf_index) : NULL;
}

static char *
name_of(const X509_NAME *name)
{
	int i = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	unsigned char *text = NULL;
	char *copy;
	int n;

	if (i < 0)
		i = X509_NAME_get_index_by_NID(name, NID_organizationName, -1);
	if (i < 0)
		return xstrdup("");
	n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
	copy = n > 0 ? xstrndup((const char *)text, (size_t)n) : xstrdup("");
	OPENSSL_free(text);
	return copy;
}

static void
read_facts(struct cert *c)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(c->leaf);
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	c->not_before = asn1_seconds(X509_get0_notBefore(c->leaf));
	c->not_after = asn1_seconds(X509_get0_notAfter(c->leaf));
	if (leaf_index < 0)
		leaf_index = X509_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	(void)X509_set_ex_data(c->leaf, leaf_index, c);
	c->issuer = name_of(X509_get_issuer_name(c->leaf));
	c->wants_staple = staple_is_required(c->leaf);
	if (serial->length > 0)
		hex(c->serial, serial->data, serial->length < 31 ? (size_t)serial->length : 31);
	if (X509_digest(c->leaf, EVP_sha256(), md, &n) == 1)
		hex(c->fingerprint, md, 32);
	switch (EVP_PKEY_get_base_id(c->key)) {
	case EVP_PKEY_RSA: c->key_type = "RSA"; break;
	case EVP_PKEY_RSA_PSS: c->key_type = "RSA-PSS"; break;
	case EVP_PKEY_EC: c->key_type = "ECDSA"; break;
	case EVP_PKEY_ED25519: c->key_type = "Ed25519"; break;
	case EVP_PKEY_ED448: c->key_type = "Ed448"; break;
	default: c->key_type = "other"; break;
	}
}

static int
check_match(struct cert *c, struct pem_error *e)
{
	if (X509_check_private_key(c->leaf, c->key) == 1)
		return 0;
	ERR_clear_error();
	err_set(&e->err, "%s: the private key does not belong to the certificate in %s",
		c->key_path, c->cert_path);
	e->no = 0;
	e->path = c->key_path;
	return -1;
}

static int
load_into(struct cert *c, pem_fd_fn get_fd, void *arg, struct pem_error *e)
{
	BIO *mem = pem_read(c->cert_path, FILE_MAX, get_fd, arg, &c->cert_st, e);

	if (mem == NULL)
		return -1;

	int rc = read_chain(c, mem, e);

	BIO_free(mem);
	if (rc < 0)
		return -1;
	mem = pem_read(c->key_path, FILE_MAX, get_fd, arg, &c->key_st, e);
	if (mem == NULL)
		return -1;
	rc = read_key(c, mem, e);
	BIO_free(mem);
	return rc < 0 ? -1 : check_match(c, e);
}

static struct cert *
cert_new(const char *cert_path, const char *key_path)
{
	struct cert *c = xcalloc(1, sizeof(*c));

	atomic_init(&c->refs, 1);
	c->staple_state = STAPLE_NONE;
	c->cert_path = xstrdup(cert_path);
	c->key_path = xstrdup(key_path != NULL ? key_path : cert_path);
	return c;
}

struct cert *
cert_load(const char *cert_path, const char *key_path, pem_fd_fn get_fd, void *arg,
	struct pem_error *e)
{
	struct cert *c = cert_new(cert_path, key_path);

	ERR_clear_error();
	if (load_into(c, get_fd, arg, e) < 0) {
		/* e->path must outlive c */
		e->path = e->path == c->cert_path || key_path == NULL ? cert_path : key_path;
		cert_unref(c);
		return NULL;
	}
	read_names(c);
	read_facts(c);
	return c;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
		a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

bool
cert_is_same_file(const char *path, const struct stat *before)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno == ENOENT && before->st_ino == 0;
	return same_file(&st, before);
}

bool
cert_is_unchanged(const struct cert *c)
{
	return cert_is_same_file(c->cert_path, &c->cert_st) &&
		cert_is_same_file(c->key_path, &c->key_st) &&
		(c->ocsp_path == NULL || cert_is_same_file(c->ocsp_path, &c->ocsp_st));
}

void
cert_load_staple(struct cert *c, const char *path)
{
	c->ocsp_path = xstrdup(path);
	c->staple_state =
		staple_load(&c->staple, path, c->leaf, c->chain, &c->ocsp_st, &c->staple_err);
}

struct cert *
cert_renew(struct cert *old, struct pem_error *e)
{
	struct cert *c = cert_new(old->cert_path, old->key_path);
	BIO *mem = pem_read(c->cert_path, FILE_MAX, NULL, NULL, &c->cert_st, e);
	int rc = mem != NULL ? read_chain(c, mem, e) : -1;

	BIO_free(mem);
	if (rc == 0) {
		EVP_PKEY_up_ref(old->key);
		c->key = old->key;
		c->key_st = old->key_st;
		rc = check_match(c, e);
	}
	if (rc < 0) {
		e->path = old->cert_path;
		cert_unref(c);
		return NULL;
	}
	read_names(c);
	read_facts(c);
	return c;
}

struct cert *
cert_ref(struct cert *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void
cert_unref(struct cert *c)
{
	if (c == NULL || atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	if (c->leaf != NULL && leaf_index >= 0)
		(void)X509_set_ex_data(c->leaf, leaf_index, NULL);
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
	for (size_t i = 0; i < c->nnames; i++)
		free(c->names[i]);
	free(c->names);
	free(c->issuer);
	staple_fini(&c->staple);
	free(c->ocsp_path);
	free(c->cert_path);
	free(c->key_path);
	free(c);
}

bool
cert_is_expired(const struct cert *c, int64_t now_s)
{
	return c->not_after < now_s;
}

void
cert_warn(const struct cert *c, struct err_at at, const char *path, struct errs *errs)
{
	int64_t now = (int64_t)time(NULL);
	char when[UNITS_TIME];

	if (c->staple_state == STAPLE_BAD || c->staple_state == STAPLE_REVOKED)
		errs_add(errs, FINDING_WARNING, at, path, "%s", c->staple_err.text);
	else if (c->wants_staple && c->staple_state == STAPLE_NONE)
		errs_add(errs, FINDING_WARNING, at, path,
			"%s: the certificate must be stapled, and there is no %s", c->cert_path,
			c->ocsp_path != NULL ? c->ocsp_path : "staple");
	if (cert_is_expired(c, now)) {
		units_format_time(c->not_after, when);
		errs_add(errs, FINDING_WARNING, at, path, "%s: the certificate expired at %s",
			c->cert_path, when);
	} else if (c->not_before > now) {
		units_format_time(c->not_before, when);
		errs_add(errs, FINDING_WARNING, at, path,
			"%s: the certificate is not valid before %s", c->cert_path, when);
	}
}
