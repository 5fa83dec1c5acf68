/*
 * staple: an OCSP response out of a file, checked against the certificate that it shall go with.
 * tlsd only reads: who fetches them is somebody else.
 */
#ifndef TLSD_STAPLE_H
#define TLSD_STAPLE_H

#include <openssl/x509.h>
#include <sys/stat.h>

#include "libcommon/ocspcheck.h"

struct staple {
	unsigned char *der;
	int n;
	struct ocspcheck_times times;
};

enum staple_result {
	STAPLE_OK,
	STAPLE_NONE,    /* no such file */
	STAPLE_BAD,     /* cannot be used, see err */
	STAPLE_REVOKED, /* it says that the certificate is revoked, see err */
};

/*
 * Read path: a DER OCSP response that says `good` of leaf, signed by its issuer (chain[0]) or by a
 * responder of his, and valid now. `st` gets what stat says of the file. err names the file. Free
 * with staple_fini.
 */
enum staple_result staple_load(struct staple *out, const char *path, X509 *leaf,
	STACK_OF(X509) * chain, struct stat *st, struct err *err);
void staple_fini(struct staple *s);

/* It may be shown at that time. */
bool staple_is_valid(const struct staple *s, int64_t now_s);
/* The certificate asks for a staple (RFC 7633). */
bool staple_is_required(X509 *leaf);

#endif
