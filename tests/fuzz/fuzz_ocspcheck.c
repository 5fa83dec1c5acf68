/* area: libcommon */
/*
 * An OCSP response as a stranger sends it, about a certificate that is valid for a hundred years.
 * What was signed here once may be GOOD; nothing else can become so by changing bytes. And what a
 * responder itself could say: where the bytes are a ResponseData, they are signed first, so that
 * changed bytes get past the signature and the layers around it.
 */
#include <assert.h>
#include <stdlib.h>

#include <openssl/ocsp.h>
#include <openssl/pem.h>

#include "libcommon/mem.h"
#include "libcommon/ocspcheck.h"
#include "libcommon/sbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char leaf_pem[] = "-----BEGIN CERTIFICATE-----\n"
			       "MIIBDzCBtQIBBzAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5GdXp6IEF1dGhvcml0\n"
			       "eTAgFw0yNjExMjgwNzI5NDZaGA8yMTI1MDYyMjA3Mjk0NlowDDEKMAgGA1UEAwwB\n"
			       "czBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIzRKJR0IxZ5rz6k4+P9Na6fas8J\n"
			       "ZKw7DO01HxtlXCGPfyuaHCrC/v+2gQBlbqjvtaaN6RMrGxFMLknq1B3r54gwCgYI\n"
			       "KoZIzj0EAwIDSQAwRgIhAJkraJboRFHUSiX1hokKb6w7kJmc6mggmZhTUEFsu9+A\n"
			       "AiEAy9C1OobMAEv1CDKq4KgR/+ruE2l4jURp+kyRcQ5OkHw=\n"
			       "-----END CERTIFICATE-----\n";
static const char issuer_pem[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBiTCCAS+gAwIBAgIUapyqrt6ocx9b+B5D8tu9vW8K8/QwCgYIKoZIzj0EAwIw\n"
	"GTEXMBUGA1UEAwwORnV6eiBBdXRob3JpdHkwIBcNMjYxMTI4MDcyOTQ2WhgPMjEy\n"
	"NTA2MjIwNzI5NDZaMBkxFzAVBgNVBAMMDkZ1enogQXV0aG9yaXR5MFkwEwYHKoZI\n"
	"zj0CAQYIKoZIzj0DAQcDQgAEK/3bg9ldU2RTkg+US1TALz9U9RCY3njWo1z8EFAi\n"
	"URJqbHqVIID98a1MUTBqfOr6dXgl6ArxSZVeSTu2IW9A86NTMFEwHQYDVR0OBBYE\n"
	"FPohHP/cGWHzL3eEwWKYxhn9L7BHMB8GA1UdIwQYMBaAFPohHP/cGWHzL3eEwWKY\n"
	"xhn9L7BHMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgWpVPM5xV\n"
	"oN4xRsOHT+YXAGCPJNPCMYVDeueNHKI0hG8CIQC35ip6i5x8k0ZbFAJth9o5psvd\n"
	"nBSl4H5EPiI/VdYUmQ==\n"
	"-----END CERTIFICATE-----\n";
/* Of nothing but this file. */
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
			      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgtSsTqseN9Rk0GwYz\n"
			      "dfRCVwZe03jga44m+0w26cQiNwyhRANCAAQr/duD2V1TZFOSD5RLVMAvP1T1EJje\n"
			      "eNajXPwQUCJREmpsepUggP3xrUxRMGp86vp1eCXoCvFJlV5JO7Yhb0Dz\n"
			      "-----END PRIVATE KEY-----\n";

/* A moment at which the responses of the corpus hold. */
#define NOW_S 1800000000

static X509 *
read_pem(const char *text)
{
	BIO *mem = BIO_new_mem_buf(text, -1);
	X509 *x = PEM_read_bio_X509(mem, NULL, NULL, NULL);

	BIO_free(mem);
	assert(x != NULL);
	return x;
}

static EVP_PKEY *
read_key(void)
{
	BIO *mem = BIO_new_mem_buf(key_pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(mem, NULL, NULL, NULL);

	BIO_free(mem);
	assert(key != NULL);
	return key;
}

/* The bytes of b become the contents of a DER value, behind what `before` has. */
static void
enclose(struct sbuf *b, unsigned char tag, const void *before, size_t n)
{
	struct sbuf out = { 0 };
	size_t len = n + b->n;

	assert(len <= 0xffffff);
	sbuf_addc(&out, (char)tag);
	if (len > 127) {
		sbuf_addc(&out, (char)0x83);
		sbuf_addc(&out, (char)(len >> 16));
		sbuf_addc(&out, (char)(len >> 8 & 255));
	}
	sbuf_addc(&out, (char)(len & 255));
	sbuf_add(&out, before, n);
	sbuf_add(&out, b->p, b->n);
	sbuf_fini(b);
	*b = out;
}

/* BasicOCSPResponse in OCSPResponse (RFC 6960 §4.2.1); empty when data is no ResponseData. */
static struct sbuf
sign(const uint8_t *data, size_t n)
{
	static const char alg[] = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
	static const char basic[] = "\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
	static EVP_PKEY *key;
	OCSP_RESPDATA *tbs = d2i_OCSP_RESPDATA(NULL, &data, (long)n);
	unsigned char *der = NULL;
	int der_n = tbs != NULL ? i2d_OCSP_RESPDATA(tbs, &der) : -1;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char sig[128];
	size_t sig_n = sizeof(sig);
	struct sbuf b = { 0 };

	if (key == NULL)
		key = read_key();
	if (der_n > 0 && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(md, sig, &sig_n, der, (size_t)der_n) == 1) {
		sbuf_add(&b, (char *)sig, sig_n);
		enclose(&b, 0x03, "", 1);
		struct sbuf head = { 0 };

		sbuf_add(&head, (char *)der, (size_t)der_n);
		sbuf_add(&head, alg, sizeof(alg) - 1);
		enclose(&b, 0x30, head.p, head.n);
		sbuf_fini(&head);
		enclose(&b, 0x04, "", 0);
		enclose(&b, 0x30, basic, sizeof(basic) - 1);
		enclose(&b, 0xa0, "", 0);
		enclose(&b, 0x30, "\x0a\x01\x00", 3);
	}
	EVP_MD_CTX_free(md);
	OPENSSL_free(der);
	OCSP_RESPDATA_free(tbs);
	return b;
}

static void
look(const void *data, size_t n)
{
	static X509 *leaf;
	static STACK_OF(X509) * chain;
	uint8_t *copy = xmalloc(n > 0 ? n : 1); /* of the exact size */
	struct ocspcheck_times times;
	struct err err = { "" };
	enum ocspcheck_result r;

	if (leaf == NULL) {
		leaf = read_pem(leaf_pem);
		chain = sk_X509_new_null();
		sk_X509_push(chain, read_pem(issuer_pem));
	}
	memcpy(copy, data, n);
	r = ocspcheck(copy, n, leaf, chain, NOW_S, &times, &err);
	assert(r != OCSPCHECK_GOOD || ocspcheck_holds(&times, NOW_S));
	assert(r == OCSPCHECK_GOOD || err.text[0] != '\0');
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sbuf b = n <= OCSPCHECK_MAX ? sign(data, n) : (struct sbuf){ 0 };

	look(data, n);
	if (b.n > 0)
		look(b.p, b.n);
	sbuf_fini(&b);
	return 0;
}
