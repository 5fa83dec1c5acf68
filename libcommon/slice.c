/*
 * slice: the comparisons and cuts that are too long to be inline.
 */
#include "libcommon/slice.h"

/* A-Z to lower case in each of the 8 bytes of x; all other bytes stay. */
static inline uint64_t
lower8(uint64_t x)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t low7 = x & (0x7f * ones);
	uint64_t from_a = low7 + (0x80 - 'A') * ones;
	uint64_t above_z = low7 + (0x7f - 'Z') * ones;

	return x | ((from_a & ~above_z & ~x & (0x80 * ones)) >> 2);
}

static inline bool
caseeq8(const char *a, const char *b)
{
	uint64_t x;
	uint64_t y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x == y || lower8(x) == lower8(y);
}

/* Eight bytes at a time, since every field name of every message comes through here. */
bool
ascii_caseeq(const char *a, const char *b, size_t n)
{
	size_t i = 0;

	for (; n - i >= 8; i += 8)
		if (!caseeq8(a + i, b + i))
			return false;
	if (n >= 8)
		return caseeq8(a + n - 8, b + n - 8);
	for (; i < n; i++)
		if (ascii_lower(a[i]) != ascii_lower(b[i]))
			return false;
	return true;
}

struct slice
slice_trim(struct slice s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

size_t
slice_find(struct slice s, char c)
{
	const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;

	return hit ? (size_t)(hit - s.p) : s.n;
}

bool
slice_next(struct slice *rest, char sep, struct slice *piece)
{
	if (rest->p == NULL || rest->n == 0)
		return false;

	size_t at = slice_find(*rest, sep);

	*piece = slice_make(rest->p, at);
	if (at == rest->n)
		*rest = slice_make(rest->p + at, 0);
	else
		*rest = slice_skip(*rest, at + 1);
	return true;
}

bool
slice_to_u64(struct slice s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';

		if (digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, digit, &v))
			return false;
	}
	*out = v;
	return true;
}

bool
slice_is_digits(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > 0;
}

bool
slice_has_control(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return true;
	return false;
}

int
slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	if (c != 0)
		return c;
	return a.n < b.n ? -1 : a.n > b.n;
}
