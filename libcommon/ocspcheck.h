/*
 * ocspcheck: is this OCSP response one for that certificate, and what does it say? What tlsd
 * staples and what proxyctl fetches are judged alike. Bytes in, verdict out; the bytes are a
 * stranger's.
 */
#ifndef LIBCOMMON_OCSPCHECK_H
#define LIBCOMMON_OCSPCHECK_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/err.h"

/* The largest response that is looked at. */
#define OCSPCHECK_MAX 65536

enum ocspcheck_result {
	OCSPCHECK_GOOD,
	OCSPCHECK_REVOKED, /* see err */
	OCSPCHECK_BAD,     /* cannot be used, see err */
};

struct ocspcheck_times {
	int64_t this_update; /* seconds since 1970 */
	int64_t next_update;
};

/*
 * GOOD and REVOKED are said of leaf, signed by its issuer (chain[0]) or by a responder of his, and
 * valid at now_s. err is a phrase without a subject: "is out of date". A response without
 * nextUpdate is refused: nothing would say when to stop showing it.
 */
enum ocspcheck_result ocspcheck(const unsigned char *der, size_t n, X509 *leaf,
	STACK_OF(X509) * chain, int64_t now_s, struct ocspcheck_times *times, struct err *err);
/* A response with these times may be shown. */
bool ocspcheck_holds(const struct ocspcheck_times *t, int64_t now_s);

#endif
