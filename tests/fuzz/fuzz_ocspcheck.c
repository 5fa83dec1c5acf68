/* area: libcommon */
/*
 * An OCSP response as a stranger sends it, about a certificate that is valid for a hundred years.
 * What was signed here once may be GOOD; nothing else can become so by changing bytes.
 */
#include <assert.h>
#include <stdlib.h>

#include <openssl/pem.h>

#include "libcommon/mem.h"
#include "libcommon/ocspcheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char leaf_pem[] = "-----BEGIN CERTIFICATE-----\n"
			       "MIIBDzCBtQIBBzAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5UZXN0IEF1dGhvcml0\n"
			       "eTAgFw0yNjExMjgwMDA0MTFaGA8yMTI2MTEwNDAwMDQxMVowDDEKMAgGA1UEAwwB\n"
			       "czBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAgUUb+6a6KmeksYLifynFyjqoou\n"
			       "VZWk64b6+iqJpjzI+beuqfj6JC4LRTPtYOVuOamw5HiKeQLoVDPWtdgwmCcwCgYI\n"
			       "KoZIzj0EAwIDSQAwRgIhAKN6oMGHwB0fmJ+eE3Yoi26vrRNNqAwLD8A3+fYde1P4\n"
			       "AiEA41z+F4uAmQaEESZ2B9uiXoyiqx7t5uNCUHFX5wdwYNA=\n"
			       "-----END CERTIFICATE-----\n";
static const char issuer_pem[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBiTCCAS+gAwIBAgIULoOU2u6HY1Di7fLh/z6jojjW2mowCgYIKoZIzj0EAwIw\n"
	"GTEXMBUGA1UEAwwOVGVzdCBBdXRob3JpdHkwIBcNMjYxMTI4MDAwNDExWhgPMjEy\n"
	"NjExMDQwMDA0MTFaMBkxFzAVBgNVBAMMDlRlc3QgQXV0aG9yaXR5MFkwEwYHKoZI\n"
	"zj0CAQYIKoZIzj0DAQcDQgAEeab87453S7+Lra0VTUbdqpwvk14taIvgy4kSg/V8\n"
	"J++TO6xf05Z/sEAfvG7kO3UHN9/xafg5QIACsXPGo19anKNTMFEwHQYDVR0OBBYE\n"
	"FBPDNb3bntdmOfk+1ZxkhF0MFJWDMB8GA1UdIwQYMBaAFBPDNb3bntdmOfk+1Zxk\n"
	"hF0MFJWDMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAKpfPpiW\n"
	"1DcJANtneowCODG6xFGx3mUaifjG3/0Kp577AiBCytP4DrzH5hFxyejjk99XcSvE\n"
	"Og3O3ZsJsfzQK+36xA==\n"
	"-----END CERTIFICATE-----\n";

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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
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
	return 0;
}
