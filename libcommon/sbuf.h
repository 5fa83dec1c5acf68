/*
 * sbuf: text that grows. NUL-terminated from the first addition on, so buf.p can be printed.
 * Zero-initialise to start (`struct sbuf b = { 0 };`), sbuf_fini to end.
 */
#ifndef LIBCOMMON_SBUF_H
#define LIBCOMMON_SBUF_H

#include <stdarg.h>

#include "libcommon/slice.h"

struct sbuf {
	char *p;
	size_t n;
	size_t cap;
};

void sbuf_fini(struct sbuf *b);
/* Forget the text, keep the memory. */
void sbuf_clear(struct sbuf *b);
/* Forget what is behind the first n bytes; there are that many. */
void sbuf_cut(struct sbuf *b, size_t n);
/* Room for n more bytes and a NUL; returns where they go. The caller then adds to b->n. */
char *sbuf_reserve(struct sbuf *b, size_t n);
void sbuf_add(struct sbuf *b, const char *p, size_t n);
void sbuf_adds(struct sbuf *b, const char *s);
void sbuf_addc(struct sbuf *b, char c);
void sbuf_add_slice(struct sbuf *b, struct slice s);
void sbuf_addf(struct sbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sbuf_vaddf(struct sbuf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* s as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void sbuf_add_json(struct sbuf *b, struct slice s);
/* The text as a heap string that the caller frees; b is empty afterwards. Never NULL. */
char *sbuf_take(struct sbuf *b);

/* Its text, also of one that nothing was ever added to. */
static inline const char *
sbuf_str(const struct sbuf *b)
{
	return b->p != NULL ? b->p : "";
}

static inline struct slice
sbuf_slice(const struct sbuf *b)
{
	return slice_make(b->p, b->n);
}

#endif
