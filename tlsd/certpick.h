/*
 * certpick: which of the certificates for one name a context gets: one of each type of key, and
 * sooner one that comes with the staple that it must have (RFC 7633) than one that does not. Pure.
 */
#ifndef TLSD_CERTPICK_H
#define TLSD_CERTPICK_H

#include "tlsd/certs.h"

/* all[which[0..n)] stand for the name, best first; is the i-th one of those that are taken? Staples
 * are judged at at_s. */
bool certpick_is_taken(
	struct cert *const *all, const uint32_t *which, uint32_t n, uint32_t i, int64_t at_s);

/* What clients get that could take either. */
enum certpick_first {
	CERTPICK_ANY, /* as suites and OpenSSL say */
	CERTPICK_RSA,
	CERTPICK_ECDSA, /* or an Edwards curve */
};

enum certpick_first certpick_first(
	struct cert *const *all, const uint32_t *which, uint32_t n, int64_t at_s);

#endif
