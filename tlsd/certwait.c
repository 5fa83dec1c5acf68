/* certwait: see the header. */
#include "tlsd/certwait.h"

#include <string.h>

bool
certwait_lacks_staple(const struct cert *c, int64_t now_s)
{
	return c->wants_staple &&
		(c->staple_state != STAPLE_OK || !staple_is_valid(&c->staple, now_s));
}

/* Clients take it. */
static bool
is_fine(const struct cert *c, int64_t now_s)
{
	return !cert_is_expired(c, now_s) && c->staple_state != STAPLE_REVOKED &&
		!certwait_lacks_staple(c, now_s);
}

/* The same certificate whose staple's file went away or broke keeps the staple that it has; what
 * says that it is revoked is heard at once. */
bool
certwait_must(const struct cert *c, const struct cert *before, int64_t now_s)
{
	if (before == NULL || before == c || !certwait_lacks_staple(c, now_s) ||
		!is_fine(before, now_s))
		return false;
	return c->staple_state != STAPLE_REVOKED ||
		strcmp(c->fingerprint, before->fingerprint) != 0;
}

int64_t
certwait_until(const struct cert *c)
{
	int64_t staple = c->wants_staple ? c->staple.times.next_update : INT64_MAX;

	return c->not_after < staple ? c->not_after : staple;
}
