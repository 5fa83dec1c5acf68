/*
 * accesslog_format: one request as one line, in the two ways that need no words of the operator's.
 */
#include "routerd/accesslog.h"

#include "routerd/accesslog_out.h"
#include "routerd/config.h"

/* Longer values are cut, and say so. Their sum, escaped, is below ACCESSLOG_LINE_MAX. */
enum { CUT_LONG = 4096, CUT_MIDDLE = 2048, CUT_SHORT = 256 };

/* --- combined --- */

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
	put(o, slice_str(out_time_local(OUT_END, e->wall_s)));
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
	put_us_as_ms(o, us);
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

const char *const accesslog_json_keys[] = { "time", "client", "peer", "method", "target", "host",
	"version", "tls", "client_cert", "status", "bytes", "request_bytes", "ms", "listener",
	"route", "pool", "server", "tries", "reused", "termination", "reason", "request_id",
	"referer", "user_agent", NULL };

static void
json(struct out *o, const struct access_entry *e)
{
	PUT(o, "{\"time\":\"");
	put(o, slice_str(out_time_utc(OUT_END, e->wall_s)));
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
