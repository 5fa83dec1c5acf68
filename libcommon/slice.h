/*
 * slice: a view of bytes that somebody else owns. Never NUL-terminated by promise, never freed by
 * the holder; good as long as the owner's header says. Everything here is pure and does not
 * allocate.
 */
#ifndef LIBCOMMON_SLICE_H
#define LIBCOMMON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *p;
	size_t n;
};

/* A slice of a string literal, also usable as a constant initialiser. */
#define SLICE(lit)                      \
	(struct slice)                  \
	{                               \
		"" lit, sizeof(lit) - 1 \
	}
/* printf("%.*s", SLICE_ARG(s)) */
#define SLICE_ARG(s) (int)(s).n, (s).p

static inline struct slice
slice_make(const char *p, size_t n)
{
	return (struct slice){ p, n };
}

/* The whole of a C string; NULL gives an empty slice. */
static inline struct slice
slice_str(const char *s)
{
	return (struct slice){ s, s ? strlen(s) : 0 };
}

static inline bool
slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool
slice_starts(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline bool
slice_ends(struct slice s, struct slice suffix)
{
	return s.n >= suffix.n &&
		(suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

/* s without its first n bytes; n is capped to the length. */
static inline struct slice
slice_skip(struct slice s, size_t n)
{
	if (n > s.n)
		n = s.n;
	/* NULL + 0 is undefined in C. */
	return (struct slice){ n ? s.p + n : s.p, s.n - n };
}

/* Copy s to `to`, which has room; returns the end of it there. */
static inline char *
slice_put(char *to, struct slice s)
{
	if (s.n > 0)
		memcpy(to, s.p, s.n);
	return to + s.n;
}

/* ASCII only, whatever the locale says: what protocols mean by case-insensitive. */
static inline char
ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool ascii_caseeq(const char *a, const char *b, size_t n);

static inline bool
slice_caseeq(struct slice a, struct slice b)
{
	return a.n == b.n && ascii_caseeq(a.p, b.p, a.n);
}

/* Without leading and trailing blanks (space and tab: the OWS of RFC 9110 §5.6.3). */
struct slice slice_trim(struct slice s);

/*
 * Cut the next piece of *rest up to sep into *piece and move *rest past it. false when nothing is
 * left. "a,,b" gives "a", "", "b"; an empty input gives nothing.
 */
bool slice_next(struct slice *rest, char sep, struct slice *piece);

/* Position of the first c, or s.n when there is none. */
size_t slice_find(struct slice s, char c);

/* The whole slice as an unsigned decimal number: digits only, at least one, no overflow. */
bool slice_to_u64(struct slice s, uint64_t *out);

/* Digits only, at least one. */
bool slice_is_digits(struct slice s);
/* A byte below the blank, or DEL: nothing that may stand in a name, a log or on a terminal. */
bool slice_has_control(struct slice s);

/* Total order by bytes, shorter first on a tie: for qsort and bsearch. */
int slice_cmp(struct slice a, struct slice b);

#endif
