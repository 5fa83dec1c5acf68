/*
 * tlsask: both messages are a fixed head and texts.
 *
 *     0 "WA"  2 version  3 serial  4 protocols  5 flags, 0  6 policy length  7 host length  8 texts
 *     0 "WR"  2 version  3 serial  4 reason     5 flags, 0  6 detail length (2 bytes)       8 text
 */
#include "libcommon/tlsask.h"

enum { HEAD_LEN = 8, FORMAT = 1, PROTOCOLS = TLSASK_HTTP1 | TLSASK_HTTP2 };

static const char ask_magic[2] = "WA";
static const char refusal_magic[2] = "WR";

static const struct {
	const char *word;
	enum tlsask_class class;
} whys[] = {
#define W(id, word, class) [TLSASK_##id] = { word, TLSASK_##class },
#include "libcommon/tlsask_why.def"
#undef W
};

const char *
tlsask_word(enum tlsask_why why)
{
	return whys[why].word;
}

enum tlsask_class
tlsask_class(enum tlsask_why why)
{
	return whys[why].class;
}

static bool
is_name(struct slice s)
{
	return s.n <= TLSASK_TEXT_MAX && !slice_has_control(s);
}

size_t
tlsask_encode(const struct tlsask *a, char *out, size_t cap)
{
	size_t n = HEAD_LEN + a->policy.n + a->host.n;

	if (!is_name(a->policy) || a->policy.n == 0 || !is_name(a->host) || a->protocols == 0 ||
		(a->protocols & ~PROTOCOLS) != 0 || n > cap)
		return 0;
	memcpy(out, ask_magic, sizeof(ask_magic));
	out[2] = FORMAT;
	out[3] = (char)a->serial;
	out[4] = (char)a->protocols;
	out[5] = 0;
	out[6] = (char)a->policy.n;
	out[7] = (char)a->host.n;
	slice_put(slice_put(out + HEAD_LEN, a->policy), a->host);
	return n;
}

size_t
tlsask_encode_refusal(const struct tlsask_refusal *r, char *out, size_t cap)
{
	struct slice detail = r->detail;

	if (detail.n > TLSASK_TEXT_MAX)
		detail.n = TLSASK_TEXT_MAX;
	if (r->why >= TLSASK_WHY_COUNT || HEAD_LEN + detail.n > cap)
		return 0;
	memcpy(out, refusal_magic, sizeof(refusal_magic));
	out[2] = FORMAT;
	out[3] = (char)r->serial;
	out[4] = (char)r->why;
	out[5] = 0;
	out[6] = 0;
	out[7] = (char)detail.n;
	slice_put(out + HEAD_LEN, detail);
	/* Certificates hold what their makers like. */
	for (size_t i = 0; i < detail.n; i++)
		if ((unsigned char)out[HEAD_LEN + i] < ' ' || out[HEAD_LEN + i] == 0x7f)
			out[HEAD_LEN + i] = '?';
	return HEAD_LEN + detail.n;
}

static size_t
byte(const char *p)
{
	return (unsigned char)*p;
}

static const char *
read_head(const char *p, size_t n, const char *magic)
{
	if (n < HEAD_LEN)
		return "short_message";
	if (memcmp(p, magic, 2) != 0)
		return "not_an_ask";
	if (p[2] != FORMAT)
		return "unknown_version";
	return p[5] != 0 ? "bad_flags" : NULL;
}

static const char *
read_ask(const char *p, size_t n, struct tlsask *a)
{
	const char *bad = read_head(p, n, ask_magic);

	if (bad != NULL)
		return bad;
	a->serial = (uint8_t)p[3];
	a->protocols = (uint8_t)p[4];
	if (a->protocols == 0 || (a->protocols & ~PROTOCOLS) != 0)
		return "bad_protocols";
	a->policy = slice_make(p + HEAD_LEN, byte(p + 6));
	a->host = slice_make(a->policy.p + a->policy.n, byte(p + 7));
	if (n != HEAD_LEN + a->policy.n + a->host.n)
		return "bad_length";
	return a->policy.n == 0 || slice_has_control(a->policy) || slice_has_control(a->host)
		? "bad_name"
		: NULL;
}

bool
tlsask_decode(const char *p, size_t n, struct tlsask *a, const char **reason)
{
	memset(a, 0, sizeof(*a));
	*reason = read_ask(p, n, a);
	if (*reason == NULL)
		return true;
	memset(a, 0, sizeof(*a));
	return false;
}

static const char *
read_refusal(const char *p, size_t n, struct tlsask_refusal *r)
{
	const char *bad = read_head(p, n, refusal_magic);

	if (bad != NULL)
		return bad;
	r->serial = (uint8_t)p[3];
	r->why = (uint8_t)p[4];
	if (r->why >= TLSASK_WHY_COUNT)
		return "bad_reason";
	r->detail = slice_make(p + HEAD_LEN, byte(p + 7));
	if (p[6] != 0 || n != HEAD_LEN + r->detail.n)
		return "bad_length";
	return slice_has_control(r->detail) ? "bad_name" : NULL;
}

bool
tlsask_decode_refusal(const char *p, size_t n, struct tlsask_refusal *r, const char **reason)
{
	memset(r, 0, sizeof(*r));
	*reason = read_refusal(p, n, r);
	if (*reason == NULL)
		return true;
	memset(r, 0, sizeof(*r));
	return false;
}

bool
tlsask_is_refusal(const char *p, size_t n)
{
	return n >= sizeof(refusal_magic) && memcmp(p, refusal_magic, sizeof(refusal_magic)) == 0;
}
