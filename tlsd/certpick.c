/* certpick: see the header. */
#include "tlsd/certpick.h"

#include <string.h>

#include "tlsd/certwait.h"

bool
certpick_is_taken(
	struct cert *const *all, const uint32_t *which, uint32_t n, uint32_t i, int64_t at_s)
{
	const struct cert *c = all[which[i]];
	bool lacks = certwait_lacks_staple(c, at_s);

	for (uint32_t j = 0; j < n; j++) {
		const struct cert *other = all[which[j]];
		bool other_lacks = certwait_lacks_staple(other, at_s);

		if (j != i && strcmp(other->key_type, c->key_type) == 0 &&
			(lacks != other_lacks ? lacks : j < i))
			return false;
	}
	return true;
}

static bool
is_rsa(const struct cert *c)
{
	return strncmp(c->key_type, "RSA", 3) == 0;
}

enum certpick_first
certpick_first(struct cert *const *all, const uint32_t *which, uint32_t n, int64_t at_s)
{
	bool has[2] = { false, false }; /* by is_rsa: one that lacks nothing */
	bool lacks[2] = { false, false };

	for (uint32_t i = 0; i < n; i++) {
		const struct cert *c = all[which[i]];

		if (certpick_is_taken(all, which, n, i, at_s))
			(certwait_lacks_staple(c, at_s) ? lacks : has)[is_rsa(c)] = true;
	}
	if (has[true] && !has[false] && lacks[false])
		return CERTPICK_RSA;
	if (has[false] && !has[true] && lacks[true])
		return CERTPICK_ECDSA;
	return CERTPICK_ANY;
}
