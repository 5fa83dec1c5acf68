/*
 * http1: heads of requests and responses (RFC 9112 §2 to §5): start line and fields, and how an
 * incomplete head is taken up again.
 *
 * The usual head is complete when it is first seen, so it is parsed at once in one pass. When it is
 * not, only the new bytes are searched for its end, and it is parsed again when the end is there,
 * the start line is complete, a limit is passed, or it has doubled; so every byte is looked at a
 * small number of times.
 */
#include "libcommon/http1.h"

#include "libcommon/http1_int.h"

#define ALNUM       (HTTP1_TCHAR | HTTP1_PATH | HTTP1_QUERY | HTTP1_VISIBLE | HTTP1_NAME)
#define TOKEN_PATH  (HTTP1_TCHAR | HTTP1_PATH | HTTP1_QUERY | HTTP1_VISIBLE)
#define TOKEN_QUERY (HTTP1_TCHAR | HTTP1_QUERY | HTTP1_VISIBLE)
#define IN_PATH     (HTTP1_PATH | HTTP1_QUERY | HTTP1_VISIBLE)
#define IN_QUERY    (HTTP1_QUERY | HTTP1_VISIBLE)

const uint8_t http1_class[256] = {
	['0' ... '9'] = ALNUM | HTTP1_HEX,
	['A' ... 'F'] = ALNUM | HTTP1_HEX,
	['a' ... 'f'] = ALNUM | HTTP1_HEX,
	['G' ... 'Z'] = ALNUM,
	['g' ... 'z'] = ALNUM,
	['-'] = ALNUM,
	['.'] = ALNUM,
	['_'] = ALNUM,
	['~'] = ALNUM,
	['!'] = TOKEN_PATH,
	['$'] = TOKEN_PATH,
	['&'] = TOKEN_PATH,
	['\''] = TOKEN_PATH,
	['*'] = TOKEN_PATH,
	['+'] = TOKEN_PATH,
	['%'] = TOKEN_QUERY,
	['^'] = TOKEN_QUERY,
	['`'] = TOKEN_QUERY,
	['|'] = TOKEN_QUERY,
	['#'] = HTTP1_TCHAR | HTTP1_VISIBLE,
	['('] = IN_PATH,
	[')'] = IN_PATH,
	[','] = IN_PATH,
	['/'] = IN_PATH,
	[':'] = IN_PATH,
	[';'] = IN_PATH,
	['='] = IN_PATH,
	['@'] = IN_PATH,
	['['] = IN_PATH,
	[']'] = IN_PATH,
	['?'] = IN_QUERY,
	['"'] = IN_QUERY,
	['<'] = IN_QUERY,
	['>'] = IN_QUERY,
	['\\'] = IN_QUERY,
	['{'] = IN_QUERY,
	['}'] = IN_QUERY,
};

enum http1_result
http1_refuse(struct http1_head *h, unsigned status, const char *reason)
{
	h->err->status = h->is_response ? 502 : (uint16_t)status;
	h->err->reason = reason;
	return HTTP1_BAD;
}

enum http1_result
http1_refuse_byte(struct http1_head *h, char c, const char *reason)
{
	if (c == '\n')
		reason = "bare_lf";
	else if (c == '\0')
		reason = "nul_byte";
	return http1_refuse(h, 400, reason);
}

bool
http1_is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!http1_is(s.p[i], HTTP1_TCHAR))
			return false;
	return s.n > 0;
}

/* Bytes below 0x20 and 0x7f among the eight of x, as 0x80 in their place; exact up to the first. */
static inline uint64_t
controls8(uint64_t x)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t del = x ^ (0x7f * ones);

	return (((x - 0x20 * ones) & ~x) | ((del - ones) & ~del)) & (0x80 * ones);
}

static inline bool
is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* The first byte in p..end that may not stand in a field value: a control other than tab. */
static inline const char *
value_end(const char *p, const char *end)
{
	for (;;) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		while (end - p >= 8) {
			uint64_t x;

			memcpy(&x, p, sizeof(x));
			x = controls8(x);
			if (x != 0) {
				p += __builtin_ctzll(x) / 8;
				break;
			}
			p += 8;
		}
#endif
		while (p < end && !is_control(*p))
			p++;
		if (p == end || *p != '\t')
			return p;
		p++;
	}
}

bool
http1_is_value(struct slice s)
{
	return s.n == 0 || value_end(s.p, s.p + s.n) == s.p + s.n;
}

/* CRLF at p, which is inside the window; `reason` is for anything but a broken line end. */
static enum http1_result
take_crlf(struct http1_head *h, const char *p, const char *reason)
{
	h->at = p;
	if (p == h->end)
		return HTTP1_MORE;
	if (*p != '\r')
		return http1_refuse_byte(h, *p, reason);
	if (p + 1 == h->end)
		return HTTP1_MORE;
	if (p[1] != '\n')
		return http1_refuse(h, 400, "bare_cr");
	h->at = p + 2;
	return HTTP1_DONE;
}

static enum http1_result
refuse_name(struct http1_head *h, const char *at, const char *p)
{
	bool is_blank = *p == ' ' || *p == '\t';

	if (p == at && is_blank)
		return http1_refuse(h, 400, "obs_fold");
	if (is_blank)
		return http1_refuse(h, 400, "space_before_colon");
	if (p == at && *p == ':')
		return http1_refuse(h, 400, "empty_field_name");
	return http1_refuse_byte(h, *p, "bad_field_name");
}

enum http1_result
http1_field_line(struct http1_head *h, struct field *f)
{
	const char *end = h->end;
	const char *at = h->at;
	const char *p = at;

	while (p < end && http1_is(*p, HTTP1_TCHAR))
		p++;
	if (p == end)
		return HTTP1_MORE;
	if (*p != ':' || p == at)
		return refuse_name(h, at, p);
	f->name = slice_make(at, (size_t)(p - at));
	p++;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	at = p;
	p = value_end(p, end);

	const char *last = p;

	while (last > at && (last[-1] == ' ' || last[-1] == '\t'))
		last--;
	f->value = slice_make(at, (size_t)(last - at));
	return take_crlf(h, p, "bad_field_value");
}

static const char *
duplicate_reason(unsigned id)
{
	if (id == FIELD_CONTENT_LENGTH)
		return "dup_content_length";
	return id == FIELD_HOST ? "dup_host" : "dup_field";
}

/* All field lines and the blank line behind them. */
static enum http1_result
read_fields(struct http1_head *h)
{
	struct msg *m = h->m;

	for (;;) {
		if (h->at == h->end)
			return HTTP1_MORE;
		if (*h->at == '\r')
			return take_crlf(h, h->at, "bare_cr");
		if (m->field_count >= h->field_max)
			return http1_refuse(h, 431, "too_many_fields");

		struct field *f = &m->fields[m->field_count];
		enum http1_result r = http1_field_line(h, f);

		if (r != HTTP1_DONE)
			return r;

		enum field_id id = field_id_of(f->name);
		unsigned flags = field_flags(id);

		m->field_count++;
		f->id = (uint16_t)id;
		f->flags = (uint16_t)(flags & FIELD_HOP ? flags | MSG_FIELD_DROP : flags);
		if (id == FIELD_OTHER) {
			if (http1_is_framing_alike(f->name))
				f->flags |= MSG_FIELD_DROP;
			continue;
		}
		if (m->first[id] == 0)
			m->first[id] = (uint8_t)m->field_count;
		else if (flags & FIELD_SINGLE)
			return http1_refuse(h, 400, duplicate_reason(id));
	}
}

/* "HTTP/d.d" at h->at, in its only spelling; 1.0 and 1.1 are spoken here. */
static enum http1_result
read_version(struct http1_head *h, const char *reason)
{
	static const char form[8] = "HTTP/0.0";
	const char *p = h->at;

	for (unsigned i = 0; i < sizeof(form); i++) {
		if (p + i == h->end)
			return HTTP1_MORE;
		if (form[i] == '0' ? p[i] < '0' || p[i] > '9' : p[i] != form[i])
			return http1_refuse_byte(h, p[i], reason);
	}
	if (p[5] != '1' || p[7] > '1')
		return http1_refuse(h, 505, "bad_version");
	h->m->version_major = 1;
	h->m->version_minor = (uint8_t)(p[7] - '0');
	h->at = p + sizeof(form);
	return HTTP1_DONE;
}

#define METHOD_OF(p, name) \
	(memcmp((p), #name, sizeof(#name) - 1) == 0 ? METHOD_##name : METHOD_OTHER)

enum method
http1_method(struct slice s)
{
	switch (s.n) {
	case 3: return s.p[0] == 'G' ? METHOD_OF(s.p, GET) : METHOD_OF(s.p, PUT);
	case 4: return s.p[0] == 'H' ? METHOD_OF(s.p, HEAD) : METHOD_OF(s.p, POST);
	case 5: return s.p[0] == 'P' ? METHOD_OF(s.p, PATCH) : METHOD_OF(s.p, TRACE);
	case 6: return METHOD_OF(s.p, DELETE);
	case 7: return s.p[0] == 'O' ? METHOD_OF(s.p, OPTIONS) : METHOD_OF(s.p, CONNECT);
	default: return METHOD_OTHER;
	}
}

/* method SP target SP version CRLF (RFC 9112 §3), exactly. */
static enum http1_result
read_request_line(struct http1_head *h)
{
	static const char usual[10] = "HTTP/1.1\r\n";
	struct msg *m = h->m;
	const char *p = h->at;
	enum http1_result r;

	while (p < h->end && http1_is(*p, HTTP1_TCHAR))
		p++;
	if (p == h->end)
		return HTTP1_MORE;
	m->method_name = slice_make(h->at, (size_t)(p - h->at));
	if (*p != ' ' || p == h->at)
		return http1_refuse_byte(h, *p, "bad_method");
	m->method = http1_method(m->method_name);
	h->at = p + 1;
	r = http1_target(h);
	if (r != HTTP1_DONE)
		return r;
	h->at++;
	if ((size_t)(h->end - h->at) >= sizeof(usual) && memcmp(h->at, usual, sizeof(usual)) == 0) {
		m->version_major = 1;
		m->version_minor = 1;
		h->at += sizeof(usual);
		return HTTP1_DONE;
	}
	r = read_version(h, "bad_request_line");
	return r == HTTP1_DONE ? take_crlf(h, h->at, "bad_request_line") : r;
}

/* version SP status [SP reason] CRLF (RFC 9112 §4); servers do leave out the last SP. */
static enum http1_result
read_status_line(struct http1_head *h)
{
	struct msg *m = h->m;
	enum http1_result r = read_version(h, "bad_status_line");
	unsigned status = 0;

	if (r != HTTP1_DONE)
		return r;

	const char *p = h->at;

	for (unsigned i = 0; i < 4; i++, p++) {
		if (p == h->end)
			return HTTP1_MORE;
		if (i == 0 ? *p != ' ' : *p < '0' || *p > '9')
			return http1_refuse_byte(h, *p, i == 0 ? "bad_status_line" : "bad_status");
		if (i > 0)
			status = status * 10 + (unsigned)(*p - '0');
	}
	if (status < 100 || status > 599)
		return http1_refuse(h, 502, "bad_status");
	m->status = (uint16_t)status;
	if (p < h->end && *p == ' ') {
		const char *from = p + 1;

		p = value_end(from, h->end);
		m->reason = slice_make(from, (size_t)(p - from));
	}
	return take_crlf(h, p, "bad_status_line");
}

/* Empty lines in front of a request, which old clients put behind a body (RFC 9112 §2.2). */
static enum http1_result
skip_blank_lines(struct http1_head *h)
{
	enum http1_result r = HTTP1_DONE;

	while (r == HTTP1_DONE && h->at < h->end && *h->at == '\r')
		r = take_crlf(h, h->at, "bare_cr");
	return r;
}

/*
 * One attempt at the whole head. Limits are windows: what lies behind one is not looked at, so a
 * fault there cannot hide that the head is too long.
 */
static enum http1_result
parse(struct http1_head *h, const char *p, size_t n, const struct http1_limits *limits)
{
	const char *end = p + (n < limits->head_bytes ? n : limits->head_bytes);
	bool is_full = n >= limits->head_bytes;

	h->at = p;
	h->end = end;

	enum http1_result r = h->is_response ? HTTP1_DONE : skip_blank_lines(h);

	if (r == HTTP1_DONE) {
		size_t line_max = (size_t)limits->target_bytes + 2;
		bool is_cut = (size_t)(end - h->at) >= line_max;

		if (is_cut)
			h->end = h->at + line_max;
		r = h->is_response ? read_status_line(h) : read_request_line(h);
		if (r == HTTP1_MORE && is_cut)
			return http1_refuse(h, 414, "line_too_long");
		h->end = end;
	}
	if (r == HTTP1_DONE)
		r = read_fields(h);
	if (r == HTTP1_MORE && is_full)
		return http1_refuse(h, 431, "head_too_long");
	if (r != HTTP1_DONE)
		return r;
	h->m->head_len = (size_t)(h->at - p);
	return h->is_response ? http1_response_fields(h) : http1_request_fields(h);
}

/*
 * Search the bytes that are new for a reason to parse again: the end of the head or of its first
 * line, so that what is no HTTP at all is told at once, a line end that will be refused, or a
 * limit. `line` is where the line being searched starts.
 */
static bool
search(struct http1_scan *scan, const char *p, size_t n, const struct http1_limits *limits)
{
	const char *lf;

	while ((lf = memchr(p + scan->seen, '\n', n - scan->seen)) != NULL) {
		size_t at = (size_t)(lf - p);
		bool is_blank = at == scan->line + 1u;

		if (at == scan->line || p[at - 1] != '\r' || (is_blank && scan->has_line))
			return true;

		bool is_start_line = !is_blank && !scan->has_line;

		scan->has_line |= !is_blank;
		scan->seen = scan->line = (uint32_t)at + 1;
		if (is_start_line && at >= scan->tried)
			return true;
	}
	scan->seen = (uint32_t)n;
	return n >= limits->head_bytes ||
		(!scan->has_line && n - scan->line >= (size_t)limits->target_bytes + 2) ||
		n / 2 >= scan->tried;
}

static enum http1_result
feed(struct http1_scan *scan, const char *p, size_t n, const struct http1_limits *limits,
	struct http1_head *h)
{
	unsigned cap = h->m->field_cap;

	if (n == 0)
		return HTTP1_MORE;
	if (scan->tried != 0) {
		if (!search(scan, p, n, limits))
			return HTTP1_MORE;
		msg_init(h->m, h->m->fields, h->m->field_cap);
	}
	h->field_max = limits->fields < cap ? limits->fields : cap;
	scan->tried = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
	return parse(h, p, n, limits);
}

enum http1_result
http1_request(struct http1_scan *scan, const char *p, size_t n, const struct http1_limits *limits,
	struct msg *m, struct http1_error *err)
{
	struct http1_head h = { .m = m, .err = err };

	return feed(scan, p, n, limits, &h);
}

enum http1_result
http1_response(struct http1_scan *scan, const char *p, size_t n, const struct http1_limits *limits,
	enum method asked, struct msg *m, struct http1_error *err)
{
	struct http1_head h = { .m = m, .err = err, .is_response = true, .asked = asked };

	return feed(scan, p, n, limits, &h);
}
