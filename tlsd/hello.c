/*
 * hello: see the header. The scan goes from record to record and looks at no byte twice, however
 * small the pieces are; the message is parsed once, when it is whole.
 */
#include <string.h>

#include "tlsd/hello.h"
#include "tlsd/sni.h"

#define RECORD_HEAD      5
#define RECORD_MAX       16384
#define TYPE_HANDSHAKE   22
#define TYPE_CLIENT      1
#define EXT_SERVER_NAME  0
#define EXT_ALPN         16
#define VERSION_RANDOM_N 34

static size_t
u16(const uint8_t *p)
{
	return (size_t)p[0] << 8 | p[1];
}

static size_t
message_n(const struct hello_scan *h)
{
	return 4 + ((size_t)h->head[1] << 16 | (size_t)h->head[2] << 8 | h->head[3]);
}

/* What is there of a record's head, and of a first message's, may stand there. */
static bool
may_begin(const struct hello_scan *h, const uint8_t *r, size_t n)
{
	if (n > 0 && r[0] != TYPE_HANDSHAKE)
		return false;
	if (n > 1 && r[1] != 3)
		return false;
	if (n >= RECORD_HEAD && (u16(r + 3) == 0 || u16(r + 3) > RECORD_MAX))
		return false;
	return h->got > 0 || n <= RECORD_HEAD || r[RECORD_HEAD] == TYPE_CLIENT;
}

enum hello_result
hello_scan(struct hello_scan *h, const uint8_t *p, size_t n)
{
	for (;;) {
		const uint8_t *r = p + h->record;
		size_t have = n - h->record;

		if (!may_begin(h, r, have))
			return HELLO_NONE;
		if (have < RECORD_HEAD || have - RECORD_HEAD < u16(r + 3))
			return HELLO_MORE;

		size_t len = u16(r + 3);

		for (size_t i = 0; i < len && h->got + i < sizeof(h->head); i++)
			h->head[h->got + i] = r[RECORD_HEAD + i];
		h->got += (uint32_t)len;
		h->record += (uint32_t)(RECORD_HEAD + len);
		if (h->got < sizeof(h->head))
			continue;
		if (message_n(h) > HELLO_MAX)
			return HELLO_NONE;
		if (h->got >= message_n(h))
			return HELLO_WHOLE;
	}
}

/* The message in one piece. */
static const uint8_t *
join(const uint8_t *p, size_t want, uint8_t *scratch)
{
	size_t got = 0;

	if (u16(p + 3) >= want)
		return p + RECORD_HEAD;
	while (got < want) {
		size_t len = u16(p + 3);
		size_t take = len < want - got ? len : want - got;

		memcpy(scratch + got, p + RECORD_HEAD, take);
		got += take;
		p += RECORD_HEAD + len;
	}
	return scratch;
}

/* Takes a vector with a length of `width` bytes off the front of s. */
static bool
take_vector(struct slice *s, size_t width, struct slice *out)
{
	const uint8_t *p = (const uint8_t *)s->p;

	if (s->n < width)
		return false;

	size_t len = width == 1 ? p[0] : u16(p);

	if (len > s->n - width)
		return false;
	*out = slice_make(s->p + width, len);
	*s = slice_make(s->p + width + len, s->n - width - len);
	return true;
}

static bool
is_alpn_list(struct slice list)
{
	struct slice name;

	if (list.n == 0)
		return false;
	while (list.n > 0)
		if (!take_vector(&list, 1, &name) || name.n == 0)
			return false;
	return true;
}

enum { SEEN_NAME = 1, SEEN_ALPN = 2 };

/* An extension that stands there twice has no meaning (RFC 8446 §4.2). */
static bool
is_first(unsigned *seen, unsigned which)
{
	bool first = (*seen & which) == 0;

	*seen |= which;
	return first;
}

static bool
read_extension(size_t type, struct slice body, unsigned *seen, struct hello *out)
{
	struct slice name;
	int rc;

	switch (type) {
	case EXT_SERVER_NAME:
		rc = sni_parse_ext((const uint8_t *)body.p, body.n, &name);
		if (rc == 1 && sni_is_plain(name))
			out->name = name;
		return rc >= 0 && is_first(seen, SEEN_NAME);
	case EXT_ALPN:
		return take_vector(&body, 2, &out->alpn) && body.n == 0 &&
			is_alpn_list(out->alpn) && is_first(seen, SEEN_ALPN);
	default: return true;
	}
}

static bool
read_extensions(struct slice all, struct hello *out)
{
	unsigned seen = 0;

	while (all.n > 0) {
		struct slice body;
		size_t type = all.n >= 2 ? u16((const uint8_t *)all.p) : 0;

		if (all.n < 4)
			return false;
		all = slice_make(all.p + 2, all.n - 2);
		if (!take_vector(&all, 2, &body) || !read_extension(type, body, &seen, out))
			return false;
	}
	return true;
}

/* RFC 8446 §4.1.2, the same in RFC 5246 §7.4.1.2 */
bool
hello_read(const struct hello_scan *h, const uint8_t *p, uint8_t *scratch, struct hello *out)
{
	size_t n = message_n(h);
	const uint8_t *m = join(p, n, scratch);
	struct slice rest = slice_make((const char *)m + 4, n - 4);
	struct slice skipped;

	*out = (struct hello){ .name = { .n = 0 } };
	if (rest.n < VERSION_RANDOM_N)
		return false;
	rest = slice_make(rest.p + VERSION_RANDOM_N, rest.n - VERSION_RANDOM_N);
	if (!take_vector(&rest, 1, &skipped) || skipped.n > 32)
		return false; /* session id */
	if (!take_vector(&rest, 2, &skipped) || skipped.n == 0)
		return false; /* cipher suites */
	if (!take_vector(&rest, 1, &skipped) || skipped.n == 0)
		return false; /* compression methods */
	if (rest.n == 0)
		return true; /* no extensions at all */

	struct slice all;

	return take_vector(&rest, 2, &all) && rest.n == 0 && read_extensions(all, out);
}

bool
hello_offers_only(const struct hello *h, const char *protocol)
{
	size_t n = strlen(protocol);

	return h->alpn.n == n + 1 && (uint8_t)h->alpn.p[0] == n &&
		memcmp(h->alpn.p + 1, protocol, n) == 0;
}
