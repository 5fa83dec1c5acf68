/*
 * ocsp: see the header. The only file of proxyctl that knows OpenSSL.
 */
#include "proxyctl/ocsp.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "libcommon/mem.h"

#define PEM_FILE_MAX (1 << 20)
#define CHAIN_MAX    16
#define URL_MAX      2048

struct ocsp_cert {
	X509 *leaf;
	STACK_OF(X509) * chain;
	char *responder;
	struct stat st;
};

void
ocsp_free(struct ocsp_cert *c)
{
	if (c == NULL)
		return;
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	free(c->responder);
	free(c);
}

const struct stat *
ocsp_stat(const struct ocsp_cert *c)
{
	return &c->st;
}

const char *
ocsp_responder(const struct ocsp_cert *c)
{
	return c->responder;
}

/* ---- the file ---- */

static bool
is_line(const char *line, const char *what)
{
	size_t n = strlen(what);

	return strncmp(line, what, n) == 0 && line[n + strspn(line + n, " \r\n")] == '\0';
}

/*
 * The certificates' lines alone go into mem, line by line, so that whatever else is in the file (a
 * key) is never more than one line here. The stream has no buffer of its own.
 */
static int
copy_certificates(FILE *in, BIO *mem, struct err *err)
{
	char line[512];
	size_t total = 0;
	bool is_inside = false;
	int rc = 0;

	while (rc == 0 && fgets(line, sizeof(line), in) != NULL) {
		bool is_end = is_line(line, "-----END CERTIFICATE-----");

		total += strlen(line);
		if (is_line(line, "-----BEGIN CERTIFICATE-----"))
			is_inside = true;
		if (is_inside && BIO_puts(mem, line) < 0)
			rc = err_set(err, "no memory");
		if (is_end)
			is_inside = false;
		if (total > PEM_FILE_MAX)
			rc = err_set(err, "is too large for a certificate");
	}
	OPENSSL_cleanse(line, sizeof(line));
	return rc;
}

static int
read_certificates(struct ocsp_cert *c, BIO *mem, struct err *err)
{
	X509 *x;

	c->leaf = PEM_read_bio_X509(mem, NULL, NULL, NULL);
	if (c->leaf == NULL)
		return err_set(err, "has no certificate, expected PEM");
	c->chain = sk_X509_new_null();
	while ((x = PEM_read_bio_X509(mem, NULL, NULL, NULL)) != NULL)
		if (sk_X509_num(c->chain) >= CHAIN_MAX || sk_X509_push(c->chain, x) == 0) {
			X509_free(x);
			return err_set(err, "the chain is too long");
		}
	return 0;
}

/* A URL that has nothing but printable bytes in it, so it can go into a request and onto a
 * terminal. */
static bool
is_http(const ASN1_IA5STRING *uri)
{
	const unsigned char *p = ASN1_STRING_get0_data(uri);
	int n = ASN1_STRING_length(uri);

	if (n < 8 || n > URL_MAX || strncasecmp((const char *)p, "http://", 7) != 0)
		return false;
	for (int i = 0; i < n; i++)
		if (p[i] <= ' ' || p[i] >= 0x7f)
			return false;
	return true;
}

static char *
find_responder(X509 *leaf)
{
	AUTHORITY_INFO_ACCESS *all = X509_get_ext_d2i(leaf, NID_info_access, NULL, NULL);
	char *found = NULL;

	for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(all) && found == NULL; i++) {
		const ACCESS_DESCRIPTION *a = sk_ACCESS_DESCRIPTION_value(all, i);

		if (OBJ_obj2nid(a->method) == NID_ad_OCSP && a->location->type == GEN_URI &&
			is_http(a->location->d.uniformResourceIdentifier))
			found = xstrndup((const char *)ASN1_STRING_get0_data(
						 a->location->d.uniformResourceIdentifier),
				(size_t)ASN1_STRING_length(
					a->location->d.uniformResourceIdentifier));
	}
	AUTHORITY_INFO_ACCESS_free(all);
	return found;
}

static int
load(struct ocsp_cert *c, FILE *in, struct err *err)
{
	BIO *mem = BIO_new(BIO_s_mem());
	int rc;

	setvbuf(in, NULL, _IONBF, 0);
	if (fstat(fileno(in), &c->st) < 0 || !S_ISREG(c->st.st_mode))
		rc = err_set(err, "is not a file");
	else
		rc = copy_certificates(in, mem, err);
	if (rc == 0)
		rc = read_certificates(c, mem, err);
	BIO_free(mem);
	ERR_clear_error();
	if (rc == 0)
		c->responder = find_responder(c->leaf);
	return rc;
}

struct ocsp_cert *
ocsp_load(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;
	struct ocsp_cert *c;
	int rc;

	if (in == NULL) {
		err_set(err, "cannot be read: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	rc = load(c, in, err);
	fclose(in);
	if (rc == 0)
		return c;
	ocsp_free(c);
	return NULL;
}

/* ---- question and answer ---- */

unsigned char *
ocsp_request(const struct ocsp_cert *c, size_t *n, struct err *err)
{
	X509 *issuer = sk_X509_num(c->chain) > 0 ? sk_X509_value(c->chain, 0) : NULL;
	OCSP_REQUEST *req = NULL;
	OCSP_CERTID *id = NULL;
	unsigned char *der = NULL;
	unsigned char *copy = NULL;
	int len = -1;

	if (issuer == NULL || X509_check_issued(issuer, c->leaf) != X509_V_OK) {
		ERR_clear_error();
		err_set(err, "the certificate's issuer does not stand behind it in the file");
		return NULL;
	}
	req = OCSP_REQUEST_new();
	id = OCSP_cert_to_id(EVP_sha1(), c->leaf, issuer); /* what every responder knows */
	if (req != NULL && id != NULL && OCSP_request_add0_id(req, id) != NULL) {
		id = NULL; /* taken */
		len = i2d_OCSP_REQUEST(req, &der);
	}
	if (len > 0) {
		copy = memcpy(xmalloc((size_t)len), der, (size_t)len);
		*n = (size_t)len;
	} else {
		err_set(err, "no request can be made about it");
	}
	OPENSSL_free(der);
	OCSP_CERTID_free(id);
	OCSP_REQUEST_free(req);
	ERR_clear_error();
	return copy;
}

enum ocspcheck_result
ocsp_judge(const struct ocsp_cert *c, const unsigned char *der, size_t n, int64_t now_s,
	struct ocspcheck_times *times, struct err *err)
{
	return ocspcheck(der, n, c->leaf, c->chain, now_s, times, err);
}
