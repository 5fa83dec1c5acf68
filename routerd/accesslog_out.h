/*
 * accesslog_out: how the values of an access log line are written: numbers, times, and what clients
 * and servers sent, cut and escaped, so that a line is one line, and a quoted value ends where its
 * quote says. Called for every request, so nothing here allocates or prints with formats, and it is
 * inline: a fifth of a line's time hangs on that.
 */
#ifndef ROUTERD_ACCESSLOG_OUT_H
#define ROUTERD_ACCESSLOG_OUT_H

#include "libcommon/slice.h"

struct out {
	char *p;
	char *end;
	bool is_full; /* something had no room: what is there is no line */
};

static inline void
put(struct out *o, struct slice s)
{
	if ((size_t)(o->end - o->p) < s.n) {
		o->is_full = true;
		return;
	}
	memcpy(o->p, s.p, s.n);
	o->p += s.n;
}

#define PUT(o, lit) put((o), SLICE(lit))

static inline void
put_c(struct out *o, char c)
{
	if (o->p == o->end)
		o->is_full = true;
	else
		*o->p++ = c;
}

static inline void
put_u64(struct out *o, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	put(o, slice_make(digits + at, sizeof(digits) - at));
}

/* Milliseconds with three decimals. */
static inline void
put_us_as_ms(struct out *o, uint64_t us)
{
	put_u64(o, us / 1000);
	put_c(o, '.');
	put_c(o, (char)('0' + us / 100 % 10));
	put_c(o, (char)('0' + us / 10 % 10));
	put_c(o, (char)('0' + us % 10));
}

static inline void
put_hex(struct out *o, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";

	put_c(o, hex[c >> 4]);
	put_c(o, hex[c & 15]);
}

/* --- text --- */

static inline bool
is_plain(char c)
{
	return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* The leading bytes that are written as they are; end: one more that is not, 0: none. */
static inline size_t
plain_run(struct slice s, char end)
{
	size_t n = 0;

	while (n < s.n && is_plain(s.p[n]) && s.p[n] != end)
		n++;
	return n;
}

static inline struct slice
cut(struct slice s, size_t max)
{
	return slice_make(s.p, s.n < max ? s.n : max);
}

/*
 * As nginx does: quotes, backslashes, controls and all above '~' as \xHH, and `end`, a printable
 * byte, too; 0: none. Of what is longer than max that much and "...".
 */
static inline void
put_field(struct out *o, struct slice s, size_t max, char end)
{
	struct slice rest = cut(s, max);

	while (rest.n > 0) {
		size_t n = plain_run(rest, end);

		put(o, slice_make(rest.p, n));
		rest = slice_skip(rest, n);
		if (rest.n == 0)
			break;
		PUT(o, "\\x");
		put_hex(o, (unsigned char)rest.p[0]);
		rest = slice_skip(rest, 1);
	}
	if (s.n > max)
		PUT(o, "...");
}

static inline void
put_escaped(struct out *o, struct slice s, size_t max)
{
	put_field(o, s, max, 0);
}

/* --- json --- */

static inline bool
is_tail(struct slice s, size_t i)
{
	return i < s.n && ((unsigned char)s.p[i] & 0xc0) == 0x80;
}

/* Length of the UTF-8 sequence at the front (RFC 3629 §4), 0 when it is none. */
static inline size_t
utf8_length(struct slice s)
{
	unsigned char a = (unsigned char)s.p[0];
	unsigned char b = s.n > 1 ? (unsigned char)s.p[1] : 0;

	if (a >= 0xc2 && a <= 0xdf)
		return is_tail(s, 1) ? 2 : 0;
	if (a >= 0xe0 && a <= 0xef) {
		if ((a == 0xe0 && b < 0xa0) || (a == 0xed && b > 0x9f))
			return 0;
		return is_tail(s, 1) && is_tail(s, 2) ? 3 : 0;
	}
	if (a >= 0xf0 && a <= 0xf4) {
		if ((a == 0xf0 && b < 0x90) || (a == 0xf4 && b > 0x8f))
			return 0;
		return is_tail(s, 1) && is_tail(s, 2) && is_tail(s, 3) ? 4 : 0;
	}
	return 0;
}

/* One character that is not plain, at the front; returns how long it was. */
static inline size_t
put_json_odd(struct out *o, struct slice s)
{
	unsigned char c = (unsigned char)s.p[0];
	size_t n;

	if (c == '"' || c == '\\') {
		put_c(o, '\\');
		put_c(o, (char)c);
		return 1;
	}
	if (c < 0x80) {
		PUT(o, "\\u00");
		put_hex(o, c);
		return 1;
	}
	n = utf8_length(s);
	if (n == 0) {
		PUT(o, "\xef\xbf\xbd");
		return 1;
	}
	/* C1 controls: terminals obey them in UTF-8 as well. */
	if (c == 0xc2 && (unsigned char)s.p[1] < 0xa0) {
		PUT(o, "\\u00");
		put_hex(o, (unsigned char)s.p[1]);
		return n;
	}
	put(o, slice_make(s.p, n));
	return n;
}

/* As JSON's strings have it, without and with quotes; what is no UTF-8 is replaced. Cut likewise.
 */
static inline void
put_json_text(struct out *o, struct slice s, size_t max)
{
	struct slice rest = cut(s, max);

	while (rest.n > 0) {
		size_t n = plain_run(rest, 0);

		put(o, slice_make(rest.p, n));
		rest = slice_skip(rest, n);
		if (rest.n > 0)
			rest = slice_skip(rest, put_json_odd(o, rest));
	}
	if (s.n > max)
		PUT(o, "...");
}

static inline void
put_json(struct out *o, struct slice s, size_t max)
{
	put_c(o, '"');
	put_json_text(o, s, max);
	put_c(o, '"');
}

/* --- room --- */

enum { OUT_ODD_TEXT = 4, OUT_ODD_JSON = 6, OUT_DOTS = 3 };

/*
 * How much of s, at most max, fits into `room` bytes with its "...", when a byte that is escaped
 * needs `odd` of them: OUT_ODD_TEXT in text (where `end` is one, too, see put_field), OUT_ODD_JSON
 * in JSON.
 */
static inline size_t
out_fit(struct slice s, size_t max, size_t room, size_t odd, char end)
{
	size_t n = 0;
	size_t used = OUT_DOTS;

	if (max > s.n)
		max = s.n;
	if (max * odd + OUT_DOTS <= room)
		return max;
	while (n < max && (used += is_plain(s.p[n]) && s.p[n] != end ? 1 : odd) <= room)
		n++;
	return n;
}

/* --- time --- */

/* Of the second that the request ended in, and of the one it began in: each is kept until another
 * is asked for. */
enum out_moment { OUT_END, OUT_START };
/* 24/Nov/2026:02:23:18 +0000; and in UTC, as UNITS_TIME has it. */
const char *out_time_local(enum out_moment which, int64_t wall_s);
const char *out_time_utc(enum out_moment which, int64_t wall_s);

#endif
