/*
 * ocsp: what OpenSSL has to do with fetching staples: a certificate and its issuer out of a PEM
 * file, the request about it, the judgement of the answer. Never a private key.
 */
#ifndef PROXYCTL_OCSP_H
#define PROXYCTL_OCSP_H

#include <stddef.h>
#include <sys/stat.h>

#include "libcommon/err.h"
#include "libcommon/ocspcheck.h"

struct ocsp_cert;

/* The certificates of the file; of one that holds the key, too, that is passed over. NULL with err,
 * which does not name the file. */
struct ocsp_cert *ocsp_load(const char *path, struct err *err);
void ocsp_free(struct ocsp_cert *c);
/* What fstat said of the file. */
const struct stat *ocsp_stat(const struct ocsp_cert *c);

/* Where to ask: the first responder that is reached by HTTP. NULL: the certificate names none. */
const char *ocsp_responder(const struct ocsp_cert *c);
/* A request about it, DER, for free(); NULL with err when the file has no issuer. No nonce: the
 * answer is shown to many, and CAs make theirs beforehand (RFC 5019 §2.1.1). */
unsigned char *ocsp_request(const struct ocsp_cert *c, size_t *n, struct err *err);
enum ocspcheck_result ocsp_judge(const struct ocsp_cert *c, const unsigned char *der, size_t n,
	int64_t now_s, struct ocspcheck_times *times, struct err *err);

#endif
