/*
 * sbuf: doubling buffer behind the text builder.
 */
#include "libcommon/sbuf.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcommon/mem.h"

void
sbuf_fini(struct sbuf *b)
{
	free(b->p);
	*b = (struct sbuf){ 0 };
}

void
sbuf_cut(struct sbuf *b, size_t n)
{
	b->n = n;
	if (b->p != NULL)
		b->p[n] = '\0';
}

void
sbuf_clear(struct sbuf *b)
{
	sbuf_cut(b, 0);
}

char *
sbuf_reserve(struct sbuf *b, size_t n)
{
	if (b->cap - b->n <= n || b->p == NULL) {
		size_t cap = b->cap ? b->cap : 64;

		while (cap - b->n <= n)
			cap *= 2;
		b->p = xrealloc(b->p, cap);
		b->cap = cap;
	}
	return b->p + b->n;
}

void
sbuf_add(struct sbuf *b, const char *p, size_t n)
{
	char *to = sbuf_reserve(b, n);

	if (n > 0)
		memcpy(to, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void
sbuf_adds(struct sbuf *b, const char *s)
{
	sbuf_add(b, s, strlen(s));
}

void
sbuf_addc(struct sbuf *b, char c)
{
	sbuf_add(b, &c, 1);
}

void
sbuf_add_slice(struct sbuf *b, struct slice s)
{
	sbuf_add(b, s.p, s.n);
}

void
sbuf_vaddf(struct sbuf *b, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);

	int n = vsnprintf(NULL, 0, fmt, ap);

	if (n > 0) {
		vsnprintf(sbuf_reserve(b, (size_t)n), (size_t)n + 1, fmt, again);
		b->n += (size_t)n;
	}
	va_end(again);
}

void
sbuf_addf(struct sbuf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sbuf_vaddf(b, fmt, ap);
	va_end(ap);
}

/* Length of the well-formed UTF-8 sequence at s, or 0 (RFC 3629 §4). */
static size_t
utf8_len(struct slice s)
{
	const unsigned char *u = (const unsigned char *)s.p;
	unsigned lo = 0x80;
	unsigned hi = 0xbf;
	size_t n;

	if (u[0] < 0x80)
		return 1;
	if (u[0] >= 0xc2 && u[0] <= 0xdf)
		n = 2;
	else if (u[0] >= 0xe0 && u[0] <= 0xef)
		n = 3;
	else if (u[0] >= 0xf0 && u[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (u[0] == 0xe0)
		lo = 0xa0;
	else if (u[0] == 0xed)
		hi = 0x9f;
	else if (u[0] == 0xf0)
		lo = 0x90;
	else if (u[0] == 0xf4)
		hi = 0x8f;
	if (s.n < n || u[1] < lo || u[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (u[i] < 0x80 || u[i] > 0xbf)
			return 0;
	return n;
}

void
sbuf_add_json(struct sbuf *b, struct slice s)
{
	sbuf_addc(b, '"');
	while (s.n > 0) {
		unsigned char c = (unsigned char)s.p[0];
		size_t n = utf8_len(s);

		if (n == 0) {
			sbuf_adds(b, "\\ufffd");
			n = 1;
		} else if (c == '"' || c == '\\') {
			sbuf_addc(b, '\\');
			sbuf_addc(b, (char)c);
		} else if (c < 0x20 || c == 0x7f) {
			sbuf_addf(b, "\\u%04x", c);
		} else if (c == 0xc2 && (unsigned char)s.p[1] < 0xa0) {
			/* C1: terminals take them for commands, too */
			sbuf_addf(b, "\\u%04x", (unsigned char)s.p[1]);
		} else {
			sbuf_add(b, s.p, n);
		}
		s = slice_skip(s, n);
	}
	sbuf_addc(b, '"');
}

char *
sbuf_take(struct sbuf *b)
{
	char *p = b->p ? b->p : xstrdup("");

	*b = (struct sbuf){ 0 };
	return p;
}
