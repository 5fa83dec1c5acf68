/*
 * http1_target: the four forms of a request target (RFC 9112 §3.2), and Host. Called by http1.c
 * with the first byte of the target, and again when all fields are in.
 */
#include <arpa/inet.h>

#include "libcommon/http1_int.h"

/* A host name of the DNS is no longer than this, in any spelling. */
enum { HOST_MAX = 255 };

/* %HEXHEX at p, and not a NUL. */
static bool
is_percent(const char *p)
{
	return http1_is(p[1], HTTP1_HEX) && http1_is(p[2], HTTP1_HEX) &&
		!(p[1] == '0' && p[2] == '0');
}

static enum http1_result
refuse_in_target(struct http1_head *h, char c)
{
	return http1_refuse_byte(h, c, c == '\r' ? "bad_request_line" : "bad_target");
}

static enum http1_result
read_query(struct http1_head *h, const char *p)
{
	struct msg *m = h->m;
	const char *from = p;

	while (p < h->end && http1_is(*p, HTTP1_QUERY))
		p++;
	m->has_query = true;
	m->query = slice_make(from, (size_t)(p - from));
	h->at = p;
	if (p == h->end)
		return HTTP1_MORE;
	return *p == ' ' ? HTTP1_DONE : refuse_in_target(h, *p);
}

/* Path and query from p up to a space. */
static enum http1_result
read_path(struct http1_head *h, const char *p)
{
	const char *from = p;

	for (;;) {
		while (p < h->end && http1_is(*p, HTTP1_PATH))
			p++;
		if (p == h->end)
			return HTTP1_MORE;
		if (*p != '%')
			break;
		if (h->end - p < 3)
			return HTTP1_MORE;
		if (!is_percent(p))
			return http1_refuse(h, 400, "bad_percent");
		p += 3;
	}
	h->m->path = slice_make(from, (size_t)(p - from));
	h->at = p;
	if (*p == ' ')
		return HTTP1_DONE;
	return *p == '?' ? read_query(h, p + 1) : refuse_in_target(h, *p);
}

/* Cut "http://" or "https://" off *rest. */
static bool
take_scheme(struct slice *rest, struct slice *scheme)
{
	static const struct slice schemes[] = { { "http", 4 }, { "https", 5 } };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		size_t n = schemes[i].n;

		if (rest->n >= n + 3 && memcmp(rest->p + n, "://", 3) == 0 &&
			slice_caseeq(slice_make(rest->p, n), schemes[i])) {
			*scheme = slice_make(rest->p, n);
			*rest = slice_skip(*rest, n + 3);
			return true;
		}
	}
	return false;
}

/*
 * http://host[:port][/path][?query]. An empty path means "/", but the server as a whole for OPTIONS
 * (RFC 9112 §3.2.4).
 */
static enum http1_result
read_absolute(struct http1_head *h, struct slice target)
{
	struct msg *m = h->m;
	struct slice rest = target;
	struct slice host;
	uint16_t port;
	size_t n = 0;

	m->target_form = TARGET_ABSOLUTE;
	if (!take_scheme(&rest, &m->scheme))
		return http1_refuse(h, 400, "bad_target");
	while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
		n++;
	m->authority = slice_make(rest.p, n);
	if (!http1_host(m->authority, &host, &port))
		return http1_refuse(h, 400, "bad_authority");

	enum http1_result r = read_path(h, rest.p + n);

	if (r == HTTP1_DONE && m->path.n == 0)
		m->path = m->method == METHOD_OPTIONS && !m->has_query ? SLICE("*") : SLICE("/");
	return r;
}

/* host:port, both there (RFC 9112 §3.2.3). */
static enum http1_result
read_connect(struct http1_head *h, struct slice target)
{
	struct slice host;
	uint16_t port;

	h->m->target_form = TARGET_AUTHORITY;
	h->m->authority = target;
	if (!http1_host(target, &host, &port) || port == 0)
		return http1_refuse(h, 400, "bad_authority");
	return HTTP1_DONE;
}

/* All but the origin-form: rare, so they are cut out first and looked at then. */
static enum http1_result
read_other(struct http1_head *h, const char *from)
{
	struct msg *m = h->m;
	const char *p = from;

	while (p < h->end && http1_is(*p, HTTP1_VISIBLE))
		p++;
	if (p == h->end)
		return HTTP1_MORE;
	if (p == from)
		return http1_refuse_byte(h, *p, "bad_request_line");
	if (*p != ' ')
		return refuse_in_target(h, *p);

	struct slice target = slice_make(from, (size_t)(p - from));

	h->at = p;
	if (m->method == METHOD_CONNECT)
		return read_connect(h, target);
	if (!slice_eq(target, SLICE("*")))
		return read_absolute(h, target);
	if (m->method != METHOD_OPTIONS)
		return http1_refuse(h, 400, "bad_target");
	m->target_form = TARGET_ASTERISK;
	m->path = target;
	return HTTP1_DONE;
}

enum http1_result
http1_target(struct http1_head *h)
{
	const char *from = h->at;
	enum http1_result r;

	if (from == h->end)
		return HTTP1_MORE;
	if (*from == '/' && h->m->method != METHOD_CONNECT)
		r = read_path(h, from);
	else
		r = read_other(h, from);
	h->m->target = slice_make(from, (size_t)(h->at - from));
	return r;
}

bool
http1_request_target(struct msg *m, const char *p, size_t n, struct http1_error *err)
{
	struct http1_head h = { .at = p, .end = p + n + 1, .m = m, .err = err };
	enum http1_result r = http1_target(&h);

	/* A space in it ends it early, and what looks incomplete with one behind it is cut off. */
	if (r == HTTP1_MORE || (r == HTTP1_DONE && h.at != p + n))
		r = http1_refuse(&h, 400, "bad_target");
	return r == HTTP1_DONE;
}

/* 1 to 65535, in at most five digits; nothing at all gives 0. */
static bool
read_port(struct slice s, uint16_t *port)
{
	uint64_t v = 0;

	if (s.n > 0 && (s.n > 5 || !slice_to_u64(s, &v) || v == 0 || v > 65535))
		return false;
	*port = (uint16_t)v;
	return true;
}

/* Names without empty labels; a dot at the end is the DNS root's. */
static bool
is_name(struct slice s)
{
	if (s.n == 0 || s.n > HOST_MAX || s.p[0] == '.')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!http1_is(s.p[i], HTTP1_NAME) || (s.p[i] == '.' && i > 0 && s.p[i - 1] == '.'))
			return false;
	return true;
}

/* [IPv6], without a zone. */
static bool
is_literal(struct slice s)
{
	struct in6_addr ignored;
	char text[INET6_ADDRSTRLEN];

	if (s.n < 4 || s.n - 2 >= sizeof(text))
		return false;
	memcpy(text, s.p + 1, s.n - 2);
	text[s.n - 2] = '\0';
	return memchr(text, '\0', s.n - 2) == NULL && inet_pton(AF_INET6, text, &ignored) == 1;
}

bool
http1_host(struct slice s, struct slice *host, uint16_t *port)
{
	bool has_brackets = s.n > 0 && s.p[0] == '[';
	size_t n = slice_find(s, has_brackets ? ']' : ':');

	if (has_brackets && n < s.n)
		n++;

	struct slice rest = slice_skip(s, n);

	*host = slice_make(s.p, n);
	*port = 0;
	if (has_brackets ? n < 4 || s.p[n - 1] != ']' || !is_literal(*host) : !is_name(*host))
		return false;
	if (rest.n == 0)
		return true;
	return rest.p[0] == ':' && read_port(slice_skip(rest, 1), port);
}

/* CONNECT's authority always has a port; its Host may leave that out. */
static bool
agrees(const struct msg *m, struct slice host_field, struct slice host)
{
	struct slice name;
	uint16_t port;

	if (slice_caseeq(m->authority, host_field))
		return true;
	return m->target_form == TARGET_AUTHORITY && host.n == host_field.n &&
		http1_host(m->authority, &name, &port) && slice_caseeq(name, host);
}

enum http1_result
http1_authority(struct http1_head *h)
{
	struct msg *m = h->m;
	const struct field *f = msg_field(m, FIELD_HOST);
	struct slice host;
	uint16_t port;

	if (f == NULL)
		return m->version_minor == 0 ? HTTP1_DONE : http1_refuse(h, 400, "no_host");
	if (!http1_host(f->value, &host, &port))
		return http1_refuse(h, 400, "bad_host");
	if (m->authority.n == 0)
		m->authority = f->value;
	else if (!agrees(m, f->value, host))
		return http1_refuse(h, 400, "host_mismatch");
	return HTTP1_DONE;
}
