/*
 * http1_chunked: chunked bodies (RFC 9112 §7.1), decoded in place while they pass, and the fields
 * of their trailer sections. Driven by whoever reads the bytes; any cut is fine. Line ends are
 * exactly CRLF, sizes are bare hexadecimal digits, extensions are counted and dropped.
 */
#include "libcommon/http1_int.h"

/* All extensions of one body together; nobody who means well sends any. */
enum { EXTENSIONS_MAX = 4096 };

/* Digits of a size, zeros in front included. */
enum { DIGITS_MAX = 16 };

enum state {
	SIZE, /* must be 0: where a zeroed struct starts */
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_START, /* at the start of a line */
	TRAILER_LINE,
	TRAILER_LF,
	LAST_LF,
	ENDED,
};

/* NULL, after saying why: what the readers below return then. */
static char *
refuse(struct http1_error *err, unsigned status, const char *reason)
{
	err->status = (uint16_t)status;
	err->reason = reason;
	return NULL;
}

static char *
refuse_byte(struct http1_error *err, char c, const char *reason)
{
	return refuse(err, 400, c == '\n' ? "bare_lf" : reason);
}

static inline unsigned
hex_digit(char c)
{
	unsigned digit = (unsigned)(unsigned char)c - '0';

	if (digit <= 9)
		return digit;
	digit = ((unsigned)(unsigned char)c | 0x20) - 'a';
	return digit <= 5 ? digit + 10 : 16;
}

static char *
read_size(struct http1_chunked *c, char *p, const char *end, struct http1_error *err)
{
	unsigned digit;

	for (; p < end && (digit = hex_digit(*p)) < 16; p++) {
		if (c->digits == DIGITS_MAX || c->left >> 59 != 0)
			return refuse(err, 400, "chunk_too_big");
		c->digits++;
		c->left = c->left << 4 | digit;
	}
	if (p == end)
		return p;
	if (c->digits == 0 || (*p != '\r' && *p != ';'))
		return refuse_byte(err, *p, "bad_chunk_size");
	if (*p == '\r')
		c->state = SIZE_LF;
	else
		c->state = EXTENSION;
	return p + 1;
}

static char *
read_extension(struct http1_chunked *c, char *p, const char *end, struct http1_error *err)
{
	for (; p < end; p++) {
		unsigned char byte = (unsigned char)*p;

		if (byte == '\r') {
			c->state = SIZE_LF;
			return p + 1;
		}
		if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
			return refuse_byte(err, *p, "bad_chunk_extension");
		if (++c->ext > EXTENSIONS_MAX)
			return refuse(err, 400, "chunk_extensions");
	}
	return p;
}

/* One of the single bytes between data; `next` is the state behind it. */
static char *
expect(struct http1_chunked *c, char *p, char byte, enum state next, struct http1_error *err,
	const char *reason)
{
	if (*p != byte)
		return refuse_byte(err, *p, reason);
	c->state = (uint8_t)next;
	return p + 1;
}

/* A line end behind data is most often there at once. */
static char *
read_data_end(struct http1_chunked *c, char *p, const char *end, struct http1_error *err)
{
	c->digits = 0;
	if (end - p >= 2 && p[0] == '\r' && p[1] == '\n') {
		c->state = SIZE;
		return p + 2;
	}
	return expect(c, p, '\r', DATA_LF, err, "bad_chunk_end");
}

static char *
read_size_lf(struct http1_chunked *c, char *p, struct http1_error *err)
{
	return expect(c, p, '\n', c->left > 0 ? DATA : TRAILER_START, err, "bare_cr");
}

static char *
read_trailer_byte(struct http1_chunked *c, char *p, struct http1_error *err)
{
	switch (c->state) {
	case TRAILER_START: c->state = *p == '\r' ? LAST_LF : TRAILER_LINE; break;
	case TRAILER_LINE:
		if (*p == '\r')
			c->state = TRAILER_LF;
		break;
	default:
		return expect(
			c, p, '\n', c->state == LAST_LF ? ENDED : TRAILER_START, err, "bare_cr");
	}
	return *p == '\n' ? refuse(err, 400, "bare_lf") : p + 1;
}

static char *
read_trailer(
	struct http1_chunked *c, char *p, const char *end, char *trailer, struct http1_error *err)
{
	while (p < end && c->state != ENDED) {
		char byte = *p;

		p = read_trailer_byte(c, p, err);
		if (p == NULL)
			return NULL;
		if (c->trailer_len == HTTP1_TRAILER_MAX)
			return refuse(err, 431, "trailer_too_long");
		if (trailer != NULL)
			trailer[c->trailer_len] = byte;
		c->trailer_len++;
	}
	return p;
}

/* Whatever is not data; returns where it stopped, NULL when refused. */
static char *
read_frame(
	struct http1_chunked *c, char *p, const char *end, char *trailer, struct http1_error *err)
{
	switch ((enum state)c->state) {
	case SIZE: return read_size(c, p, end, err);
	case EXTENSION: return read_extension(c, p, end, err);
	case SIZE_LF: return read_size_lf(c, p, err);
	case DATA_CR: return read_data_end(c, p, end, err);
	case DATA_LF: return expect(c, p, '\n', SIZE, err, "bare_cr");
	default: return read_trailer(c, p, end, trailer, err);
	}
}

enum http1_result
http1_chunked_feed(struct http1_chunked *c, char *p, size_t n, char *trailer, size_t *used,
	size_t *payload, struct http1_error *err)
{
	char *at = p;
	char *out = p;
	char *end = p + n;

	while (at != NULL && at < end && c->state != ENDED) {
		if (c->state == DATA) {
			size_t room = (size_t)(end - at);
			size_t take = c->left < room ? (size_t)c->left : room;

			if (out != at)
				memmove(out, at, take);
			out += take;
			at += take;
			c->left -= take;
			if (c->left == 0)
				c->state = DATA_CR;
		} else {
			*used = (size_t)(at - p);
			at = read_frame(c, at, end, trailer, err);
		}
	}
	*payload = (size_t)(out - p);
	if (at == NULL)
		return HTTP1_BAD;
	*used = (size_t)(at - p);
	return c->state == ENDED ? HTTP1_DONE : HTTP1_MORE;
}

bool
http1_trailers(const char *p, size_t n, struct field *fields, uint16_t cap, uint16_t *count,
	struct http1_error *err)
{
	*count = 0;
	if (n == 0)
		return true;

	struct http1_head h = { .at = p, .end = p + n, .err = err };

	while (h.end - h.at != 2 || memcmp(h.at, "\r\n", 2) != 0) {
		if (*count == cap)
			return http1_refuse(&h, 431, "too_many_trailers") == HTTP1_DONE;

		struct field *f = &fields[*count];
		enum http1_result r = http1_field_line(&h, f);

		if (r == HTTP1_MORE)
			http1_refuse(&h, 400, "bad_trailer");
		if (r != HTTP1_DONE)
			return false;
		f->id = (uint16_t)field_id_of(f->name);
		f->flags = (uint16_t)field_flags((enum field_id)f->id);
		if ((f->flags & (FIELD_FRAMING | FIELD_HOP)) || http1_is_framing_alike(f->name))
			f->flags |= MSG_FIELD_DROP;
		(*count)++;
	}
	return true;
}
