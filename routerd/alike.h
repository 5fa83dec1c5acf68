/*
 * alike: names of fields that servers cannot tell apart. CGI and its heirs turn what is no letter
 * or digit into one sign, so X_Real.IP arrives where X-Real-IP is looked for.
 */
#ifndef ROUTERD_ALIKE_H
#define ROUTERD_ALIKE_H

#include "libcommon/slice.h"

static inline char
alike_char(char c)
{
	c = ascii_lower(c);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
}

/* Does name begin with something that looks like prefix? */
static inline bool
alike_starts(struct slice name, struct slice prefix)
{
	if (name.n < prefix.n)
		return false;
	for (size_t i = 0; i < prefix.n; i++)
		if (alike_char(name.p[i]) != alike_char(prefix.p[i]))
			return false;
	return true;
}

static inline bool
alike(struct slice a, struct slice b)
{
	return a.n == b.n && alike_starts(a, b);
}

#endif
