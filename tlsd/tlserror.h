/*
 * tlserror: what OpenSSL's error queue says of a handshake that has failed. What breaks in a
 * library below the TLS one (a certificate that cannot be parsed, a point on no curve) stands in
 * front, and says nothing of whose fault it was; what the TLS library made of it is the last.
 */
#ifndef TLSD_TLSERROR_H
#define TLSD_TLSERROR_H

#include <openssl/err.h>
#include <openssl/ssl.h>

/* Beside the SSL_R_ words, which are positive. */
enum { TLSERROR_OURS = -1, TLSERROR_MALFORMED = -2 /* the peer's bytes */ };

/* first and last: of the queue, which is not empty. */
static inline int
tlserror_reason(unsigned long first, unsigned long last)
{
	unsigned long code = ERR_GET_LIB(first) != ERR_LIB_SSL ? last : first;

	if (ERR_GET_LIB(code) != ERR_LIB_SSL)
		return TLSERROR_OURS;
	if (ERR_COMMON_ERROR(code)) /* no memory, a cipher that fails; but: */
		return ERR_GET_REASON(code) == ERR_R_ASN1_LIB ? TLSERROR_MALFORMED : TLSERROR_OURS;
	return ERR_GET_REASON(code);
}

#endif
