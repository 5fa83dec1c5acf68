/*
 * clientfacts: what a client's certificate says, as text for others: names in the forms that
 * servers know from nginx and HAProxy. All printable ASCII, whatever the certificate holds.
 */
#ifndef TLSD_CLIENTFACTS_H
#define TLSD_CLIENTFACTS_H

#include <openssl/x509.h>

#include "libcommon/proxyproto.h"

#define CLIENTFACTS_NAME 1024 /* a subject's or issuer's text */
#define CLIENTFACTS_SAN  2048
#define CLIENTFACTS_DER  6144

/* Room for the text. */
struct clientfacts {
	char cn[256];
	char subject[CLIENTFACTS_NAME];
	char issuer[CLIENTFACTS_NAME];
	char serial[80];
	char fingerprint[65];
	char san[CLIENTFACTS_SAN];
	char not_before[32];
	char not_after[32];
	unsigned char der[CLIENTFACTS_DER];
};

/*
 * Slices of *out point into *room and, for failure, to static text. What is longer than its room is
 * left out as a whole: half a name must not be taken for one. verify_error is X509_V_OK or why the
 * certificate was not believed; then only failure, fingerprint and der are told, because the rest
 * is a stranger's claim.
 */
void clientfacts_read(X509 *x, long verify_error, struct clientfacts *room, struct proxy_cert *out);

#endif
