/*
 * accesslog_format: one request as one line. Called by workers for every request, so nothing here
 * allocates or prints with formats. What clients and servers sent is cut and escaped: a line is one
 * line, and a quoted value ends where its quote says.
 */
#include "routerd/accesslog.h"

#include <time.h>

#include "libcommon/units.h"
#include "routerd/config.h"

/* Longer values are cut, and say so. Their sum, escaped, is below ACCESSLOG_LINE_MAX. */
enum { CUT_LONG = 4096, CUT_MIDDLE = 2048, CUT_SHORT = 256 };

struct out {
	char *p;
	char *end;
	bool is_full;
};

static void
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

static void
put_c(struct out *o, char c)
{
	if (o->p == o->end)
		o->is_full = true;
	else
		*o->p++ = c;
}

static void
put_u64(struct out *o, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	put(o, slice_make(digits + at, sizeof(digits) - at));
}

static void
put_hex(struct out *o, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";

	put_c(o, hex[c >> 4]);
	put_c(o, hex[c & 15]);
}

/* --- time --- */

/* localtime_r takes a lock that all threads share: once per second and thread is enough. */
struct clock_text {
	int64_t wall_s;
	char local[40];
	char utc[UNITS_TIME];
};

static const struct clock_text *
clock_text(int64_t wall_s)
{
	static _Thread_local struct clock_text cached;
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (cached.wall_s == wall_s && cached.local[0])
		return &cached;
	cached.wall_s = wall_s;
	localtime_r(&t, &tm);
	strftime(cached.local, sizeof(cached.local), "%d/%b/%Y:%H:%M:%S %z", &tm);
	units_format_time(wall_s, cached.utc);
	return &cached;
}

/* --- combined --- */

static inline bool
is_plain(char c)
{
	return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* The leading bytes that both formats write as they are. */
static size_t
plain_run(struct slice s)
{
	size_t n = 0;

	while (n < s.n && is_plain(s.p[n]))
		n++;
	return n;
}

static struct slice
cut(struct slice s, size_t max)
{
	return slice_make(s.p, s.n < max ? s.n : max);
}

/* As nginx does: quotes, backslashes, controls and all above '~' as \xHH. */
static void
put_escaped(struct out *o, struct slice s, size_t max)
{
	struct slice rest = cut(s, max);

	while (rest.n > 0) {
		size_t n = plain_run(rest);

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

/* "-" for a field that was not there, "" for one that was empty. */
static void
put_quoted(struct out *o, struct slice s, size_t max)
{
	put_c(o, '"');
	if (s.p)
		put_escaped(o, s, max);
	else
		put_c(o, '-');
	put_c(o, '"');
}

static void
put_version(struct out *o, const struct access_entry *e)
{
	put_u64(o, e->version_major);
	put_c(o, '.');
	put_u64(o, e->version_minor);
}

static void
put_request_line(struct out *o, const struct access_entry *e)
{
	if (e->method.n == 0) {
		PUT(o, "\"-\"");
		return;
	}
	put_c(o, '"');
	put_escaped(o, e->method, CUT_SHORT);
	put_c(o, ' ');
	put_escaped(o, e->target, CUT_LONG);
	PUT(o, " HTTP/");
	put_version(o, e);
	put_c(o, '"');
}

static void
put_status(struct out *o, unsigned status)
{
	put_c(o, (char)('0' + status / 100 % 10));
	put_c(o, (char)('0' + status / 10 % 10));
	put_c(o, (char)('0' + status % 10));
}

static void
combined(struct out *o, const struct access_entry *e)
{
	if (e->client.n > 0)
		put_escaped(o, e->client, CUT_SHORT);
	else
		put_c(o, '-');
	PUT(o, " - - [");
	put(o, slice_str(clock_text(e->wall_s)->local));
	PUT(o, "] ");
	put_request_line(o, e);
	put_c(o, ' ');
	put_status(o, e->status);
	put_c(o, ' ');
	put_u64(o, e->body_bytes);
	put_c(o, ' ');
	put_quoted(o, e->referer, CUT_LONG);
	put_c(o, ' ');
	put_quoted(o, e->user_agent, CUT_MIDDLE);
	put_c(o, '\n');
}

/* --- json --- */

static bool
is_tail(struct slice s, size_t i)
{
	return i < s.n && ((unsigned char)s.p[i] & 0xc0) == 0x80;
}

/* Length of the UTF-8 sequence at the front (RFC 3629 §4), 0 when it is none. */
static size_t
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
static size_t
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

static void
put_json(struct out *o, struct slice s, size_t max)
{
	struct slice rest = cut(s, max);

	put_c(o, '"');
	while (rest.n > 0) {
		size_t n = plain_run(rest);

		put(o, slice_make(rest.p, n));
		rest = slice_skip(rest, n);
		if (rest.n > 0)
			rest = slice_skip(rest, put_json_odd(o, rest));
	}
	if (s.n > max)
		PUT(o, "...");
	put_c(o, '"');
}

#define KEY(name) SLICE(",\"" name "\":")

/* null for what was not there. */
static void
put_text(struct out *o, struct slice key, struct slice s, size_t max)
{
	put(o, key);
	if (s.p)
		put_json(o, s, max);
	else
		PUT(o, "null");
}

static void
put_number(struct out *o, struct slice key, uint64_t v)
{
	put(o, key);
	put_u64(o, v);
}

static void
put_bool(struct out *o, struct slice key, bool v)
{
	put(o, key);
	put(o, v ? SLICE("true") : SLICE("false"));
}

/* Milliseconds with three decimals; null for a phase that was not reached. */
static void
put_ms(struct out *o, struct slice key, uint64_t us)
{
	put(o, key);
	if (us == 0) {
		PUT(o, "null");
		return;
	}
	put_u64(o, us / 1000);
	put_c(o, '.');
	put_c(o, (char)('0' + us / 100 % 10));
	put_c(o, (char)('0' + us / 10 % 10));
	put_c(o, (char)('0' + us % 10));
}

static void
put_times(struct out *o, const struct access_times *t)
{
	PUT(o, ",\"ms\":{");
	put_ms(o, SLICE("\"head\":"), t->head_us);
	put_ms(o, KEY("picked"), t->picked_us);
	put_ms(o, KEY("connected"), t->connected_us);
	put_ms(o, KEY("sent"), t->sent_us);
	put_ms(o, KEY("response"), t->response_us);
	put_ms(o, KEY("end"), t->end_us);
	put_c(o, '}');
}

static void
put_upstream(struct out *o, const struct access_entry *e)
{
	put_text(o, KEY("listener"), slice_str(e->listener), CUT_SHORT);
	put_text(o, KEY("route"), slice_str(e->route), CUT_MIDDLE);
	put_text(o, KEY("pool"), slice_str(e->pool), CUT_SHORT);
	put_text(o, KEY("server"), slice_str(e->server), CUT_SHORT);
	put_number(o, KEY("tries"), e->tries);
	put_bool(o, KEY("reused"), e->is_reused);
	put_text(o, KEY("termination"), slice_str(e->termination), CUT_SHORT);
	put_text(o, KEY("reason"), slice_str(e->reason), CUT_SHORT);
}

static void
put_cert(struct out *o, const struct access_entry *e)
{
	const struct proxy_cert *c = e->cert;

	if (c == NULL) {
		PUT(o, ",\"client_cert\":null");
		return;
	}
	PUT(o, ",\"client_cert\":{\"verified\":");
	put(o, e->is_cert_verified ? SLICE("true") : SLICE("false"));
	put_text(o, KEY("failure"), c->failure, CUT_SHORT);
	put_text(o, KEY("subject"), c->subject, CUT_MIDDLE);
	put_text(o, KEY("serial"), c->serial, CUT_SHORT);
	put_text(o, KEY("sha256"), c->fingerprint, CUT_SHORT);
	put_c(o, '}');
}

static void
json(struct out *o, const struct access_entry *e)
{
	PUT(o, "{\"time\":\"");
	put(o, slice_str(clock_text(e->wall_s)->utc));
	put_c(o, '"');
	put_text(o, KEY("client"), e->client, CUT_SHORT);
	put_text(o, KEY("peer"), e->peer, CUT_SHORT);
	put_text(o, KEY("method"), e->method, CUT_SHORT);
	put_text(o, KEY("target"), e->target, CUT_LONG);
	put_text(o, KEY("host"), e->host, CUT_SHORT);
	PUT(o, ",\"version\":\"");
	put_version(o, e);
	put_c(o, '"');
	put_bool(o, KEY("tls"), e->is_tls);
	put_cert(o, e);
	put_number(o, KEY("status"), e->status);
	put_number(o, KEY("bytes"), e->body_bytes);
	put_number(o, KEY("request_bytes"), e->request_bytes);
	put_times(o, &e->t);
	put_upstream(o, e);
	put_text(o, KEY("request_id"), e->request_id, CUT_SHORT);
	put_text(o, KEY("referer"), e->referer, CUT_LONG);
	put_text(o, KEY("user_agent"), e->user_agent, CUT_MIDDLE);
	PUT(o, "}\n");
}

size_t
accesslog_format(char *out, size_t cap, int format, const struct access_entry *e)
{
	struct out o = { out, out + cap, false };

	if (format == ACCESSLOG_JSON)
		json(&o, e);
	else
		combined(&o, e);
	return o.is_full ? 0 : (size_t)(o.p - out);
}
