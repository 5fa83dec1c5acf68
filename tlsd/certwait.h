/*
 * certwait: a certificate that says it comes with a staple (must-staple, RFC 7633) and has none yet
 * is refused by clients. It waits while the one before it may still be served. Pure.
 */
#ifndef TLSD_CERTWAIT_H
#define TLSD_CERTWAIT_H

#include "tlsd/certs.h"

/* It says that it comes with a staple, and at that time there is none to show. */
bool certwait_lacks_staple(const struct cert *c, int64_t now_s);
/* c was just loaded in place of `before` (NULL: there was none): that one goes on for now. */
bool certwait_must(const struct cert *c, const struct cert *before, int64_t now_s);
/* When c, which is served, ceases to be better than one that waits, or than one without its staple:
 * seconds since 1970. */
int64_t certwait_until(const struct cert *c);

#endif
