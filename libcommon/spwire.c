/*
 * spwire.c: see the header. Every byte is judged as soon as it is there, so that a peer that speaks
 * something else is not waited for.
 */
#include "libcommon/spwire.h"

#define TYPE_NORMAL 1

void
spwire_greeting(enum spwire_proto mine, char out[static SPWIRE_GREETING])
{
	const char greeting[SPWIRE_GREETING] = { 0, 'S', 'P', 0, 0, (char)mine, 0, 0 };

	memcpy(out, greeting, sizeof(greeting));
}

void
spwire_header(uint64_t n, char out[static SPWIRE_HEADER])
{
	out[0] = TYPE_NORMAL;
	for (int i = 8; i > 0; i--) {
		out[i] = (char)(n & 0xff);
		n >>= 8;
	}
}

static ssize_t
next_greeting(struct spwire *w, const char *p, size_t n, const char **reason)
{
	char want[SPWIRE_GREETING];

	spwire_greeting(w->peer, want);
	if (memcmp(p, want, n < sizeof(want) ? n : sizeof(want)) != 0) {
		*reason = "bad_greeting";
		return -1;
	}
	if (n < sizeof(want))
		return 0;
	w->is_greeted = true;
	return SPWIRE_GREETING;
}

ssize_t
spwire_next(struct spwire *w, const char *p, size_t n, struct slice *msg, const char **reason)
{
	uint64_t len = 0;

	*msg = (struct slice){ 0 };
	if (n == 0)
		return 0;
	if (!w->is_greeted)
		return next_greeting(w, p, n, reason);
	if (p[0] != TYPE_NORMAL) {
		*reason = "bad_type";
		return -1;
	}
	if (n < SPWIRE_HEADER)
		return 0;
	for (int i = 1; i < SPWIRE_HEADER; i++)
		len = len << 8 | (unsigned char)p[i];
	if (len > w->max) {
		*reason = "too_long";
		return -1;
	}
	if (n - SPWIRE_HEADER < len)
		return 0;
	*msg = slice_make(p + SPWIRE_HEADER, len);
	return (ssize_t)(SPWIRE_HEADER + len);
}
