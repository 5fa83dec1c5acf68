/*
 * respond: heads and bodies of answers that we make ourselves. Everything is built in the request's
 * arena. What a client sent may come back in a Location or in JSON, and nowhere else: the one is
 * percent-encoded, the other escaped, so that nothing of it can end a line.
 */
#include "routerd/respond.h"

#include <assert.h>
#include <stdio.h>

#include "libcommon/http1.h"
#include "libcommon/sbuf.h"
#include "routerd/answer_texts.h"
#include "routerd/header_rules.h"

/* Seconds that a client is asked to wait after a 503: a failed server is tried again within such a
 * time. */
#define RETRY_AFTER "5"

static const struct slice phrases[] = {
#define PHRASE(status, text) [(status)-100] = { text, sizeof(text) - 1 }
	PHRASE(100, "Continue"),
	PHRASE(101, "Switching Protocols"),
	PHRASE(102, "Processing"),
	PHRASE(103, "Early Hints"),
	PHRASE(200, "OK"),
	PHRASE(201, "Created"),
	PHRASE(202, "Accepted"),
	PHRASE(203, "Non-Authoritative Information"),
	PHRASE(204, "No Content"),
	PHRASE(205, "Reset Content"),
	PHRASE(206, "Partial Content"),
	PHRASE(207, "Multi-Status"),
	PHRASE(208, "Already Reported"),
	PHRASE(226, "IM Used"),
	PHRASE(300, "Multiple Choices"),
	PHRASE(301, "Moved Permanently"),
	PHRASE(302, "Found"),
	PHRASE(303, "See Other"),
	PHRASE(304, "Not Modified"),
	PHRASE(305, "Use Proxy"),
	PHRASE(307, "Temporary Redirect"),
	PHRASE(308, "Permanent Redirect"),
	PHRASE(400, "Bad Request"),
	PHRASE(401, "Unauthorized"),
	PHRASE(402, "Payment Required"),
	PHRASE(403, "Forbidden"),
	PHRASE(404, "Not Found"),
	PHRASE(405, "Method Not Allowed"),
	PHRASE(406, "Not Acceptable"),
	PHRASE(407, "Proxy Authentication Required"),
	PHRASE(408, "Request Timeout"),
	PHRASE(409, "Conflict"),
	PHRASE(410, "Gone"),
	PHRASE(411, "Length Required"),
	PHRASE(412, "Precondition Failed"),
	PHRASE(413, "Content Too Large"),
	PHRASE(414, "URI Too Long"),
	PHRASE(415, "Unsupported Media Type"),
	PHRASE(416, "Range Not Satisfiable"),
	PHRASE(417, "Expectation Failed"),
	PHRASE(418, "I'm a teapot"),
	PHRASE(421, "Misdirected Request"),
	PHRASE(422, "Unprocessable Content"),
	PHRASE(423, "Locked"),
	PHRASE(424, "Failed Dependency"),
	PHRASE(425, "Too Early"),
	PHRASE(426, "Upgrade Required"),
	PHRASE(428, "Precondition Required"),
	PHRASE(429, "Too Many Requests"),
	PHRASE(431, "Request Header Fields Too Large"),
	PHRASE(451, "Unavailable For Legal Reasons"),
	PHRASE(500, "Internal Server Error"),
	PHRASE(501, "Not Implemented"),
	PHRASE(502, "Bad Gateway"),
	PHRASE(503, "Service Unavailable"),
	PHRASE(504, "Gateway Timeout"),
	PHRASE(505, "HTTP Version Not Supported"),
	PHRASE(506, "Variant Also Negotiates"),
	PHRASE(507, "Insufficient Storage"),
	PHRASE(508, "Loop Detected"),
	PHRASE(511, "Network Authentication Required"),
#undef PHRASE
};

struct slice
respond_phrase(uint16_t status)
{
	size_t count = sizeof(phrases) / sizeof(*phrases);

	if (status < 100 || status - 100u >= count || !phrases[status - 100].p)
		return SLICE("");
	return phrases[status - 100];
}

/* --- parts of an answer --- */

static void
add(struct answer *out, struct slice name, struct slice value)
{
	struct msg *m = &out->head;

	if (m->field_count < m->field_cap)
		msg_add(m, field_id_of(name), name, value);
}

static void
start(struct answer *out, uint16_t status, const struct respond_info *info)
{
	struct msg *m = &out->head;

	msg_init(m, out->fields, sizeof(out->fields) / sizeof(*out->fields));
	m->status = status;
	m->reason = respond_phrase(status);
	m->version_major = 1;
	m->version_minor = 1;
	m->keep_alive = true;
	out->body = slice_make(NULL, 0);
	if (info->date.n > 0)
		add(out, SLICE("Date"), info->date);
}

/* The last step: what fields the body brings, and how long it is. */
static void
finish(struct answer *out, struct slice body, struct slice type)
{
	bool is_bodiless = out->head.status == 204 || out->head.status == 304;

	if (!is_bodiless && body.n > 0) {
		out->body = body;
		add(out, SLICE("Content-Type"), type);
	}
	out->head.body = is_bodiless ? BODY_NONE : BODY_LENGTH;
	out->head.content_length = out->body.n;
}

/* "502 Bad Gateway\nrequest 7f3a\n" */
static struct slice
status_text(uint16_t status, const struct respond_info *info, struct arena *a)
{
	struct slice phrase = respond_phrase(status);
	size_t cap = 32 + phrase.n + info->request_id.n;
	char *text = arena_alloc(a, cap);
	int n = snprintf(text, cap, "%u%s%.*s\n", status, phrase.n ? " " : "", SLICE_ARG(phrase));

	if (info->request_id.n > 0)
		n += snprintf(
			text + n, cap - (size_t)n, "request %.*s\n", SLICE_ARG(info->request_id));
	return slice_make(text, (size_t)n);
}

#define TEXT_TYPE SLICE("text/plain; charset=utf-8")

void
respond_error(struct answer *out, uint16_t status, const struct respond_info *info, struct arena *a)
{
	start(out, status, info);
	if (status == 503)
		add(out, SLICE("Retry-After"), SLICE(RETRY_AFTER));
	if (status == 405)
		add(out, SLICE("Allow"), SLICE("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
	finish(out, status_text(status, info, a), TEXT_TYPE);
}

/* --- gRPC --- */

/* application/grpc, also with "+proto" and parameters; not application/grpc-web, which is HTTP like
 * any other. */
bool
respond_is_grpc(const struct msg *m)
{
	const struct slice prefix = SLICE("application/grpc");
	const struct field *f = msg_field(m, FIELD_CONTENT_TYPE);

	if (f == NULL || f->value.n < prefix.n || !ascii_caseeq(f->value.p, prefix.p, prefix.n))
		return false;
	return f->value.n == prefix.n || strchr("+; \t", f->value.p[prefix.n]) != NULL;
}

/* What gRPC makes of an HTTP status, and more exactly where we know more: what is too large, what
 * was too late, and a method that no route leads to. */
static const char *
grpc_status(uint16_t status)
{
	switch (status) {
	case 400: return "13";
	case 401: return "16";
	case 403: return "7";
	case 404: return "12";
	case 413:
	case 431: return "8";
	case 429:
	case 502:
	case 503: return "14";
	case 408:
	case 504: return "4";
	default: return "2";
	}
}

void
respond_grpc_error(struct answer *out, uint16_t status, const char *reason,
	const struct respond_info *info, struct arena *a)
{
	struct slice phrase = respond_phrase(status);

	start(out, 200, info);
	add(out, SLICE("Content-Type"), SLICE("application/grpc"));
	add(out, SLICE("grpc-status"), slice_str(grpc_status(status)));
	add(out, SLICE("grpc-message"),
		slice_str(arena_printf(a, "%u %.*s: %s, request %.*s", status, SLICE_ARG(phrase),
			reason, SLICE_ARG(info->request_id))));
	/* The head is all there is: what gRPC calls Trailers-Only. */
	out->head.body = BODY_NONE;
}

/* --- fixed answers --- */

/* A caller of gRPC hears of a refusal in its own words, unless the operator has said them already.
 */
static bool
is_grpc_refusal(const struct respondcfg *c, const struct msg *req)
{
	if (c->status < 400 || !respond_is_grpc(req))
		return false;
	for (size_t i = 0; i < c->headers.n; i++)
		if (slice_caseeq(slice_str(CFG_AT(const struct cfg_pair, c->headers, i)->name),
			    SLICE("grpc-status")))
			return false;
	return true;
}

static void
respond_fixed(struct answer *out, const struct route *r, const struct msg *req,
	const struct respond_info *info, struct arena *a)
{
	const struct respondcfg *c = &r->cfg->respond;
	const struct answer_texts *texts = r->texts;
	uint16_t status = (uint16_t)c->status;
	bool is_grpc = is_grpc_refusal(c, req);
	struct slice body = slice_str(c->body);
	size_t bytes = 0;

	if (is_grpc)
		respond_grpc_error(out, status, "respond", info, a);
	else
		start(out, status, info);
	for (size_t i = 0; i < c->headers.n; i++) {
		const struct cfg_pair *h = CFG_AT(const struct cfg_pair, c->headers, i);
		struct slice value = texts != NULL
			? template_value(&texts->headers[i], info->vars, a)
			: slice_trim(slice_str(h->value));

		if (value.n > 0 || h->node->var_count == 0)
			add(out, slice_str(h->name), value);
		bytes += value.n;
	}
	if (bytes > HEADER_RULES_BYTES) {
		respond_error(out, 431, info, a);
		return;
	}
	if (is_grpc)
		return;
	if (texts != NULL)
		body = template_text(&texts->body, info->vars, a);
	if (c->body || status < 400)
		finish(out, body, slice_str(c->content_type));
	else
		finish(out, status_text(status, info, a), TEXT_TYPE);
}

void
respond_token(
	struct answer *out, struct slice text, const struct respond_info *info, struct arena *a)
{
	start(out, 200, info);
	finish(out, arena_dup(a, text), SLICE("application/octet-stream"));
}

/* --- redirects --- */

/* What may not stand in a URI as it is (RFC 3986 §2); the parser lets none of it in, but it is not
 * the only way in. */
static bool
is_uri_byte(char c)
{
	return c > ' ' && c < 0x7f && !strchr("\"<>\\^`{|}", c);
}

static char *
put_uri(char *to, struct slice s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		if (is_uri_byte(s.p[i])) {
			*to++ = s.p[i];
			continue;
		}
		*to++ = '%';
		*to++ = hex[(unsigned char)s.p[i] >> 4];
		*to++ = hex[s.p[i] & 15];
	}
	return to;
}

/* Where a redirect leads. */
struct place {
	struct slice scheme;
	struct slice host; /* empty: nobody named one */
	struct slice path; /* without a slash in front, one is put there */
	struct slice query;
	bool has_query;
};

/* As it came; a port belongs to the scheme that it came with. */
static struct slice
same_host(const struct redirectcfg *c, const struct forward_info *from)
{
	struct slice host = from->authority;
	bool is_other = c->scheme && !slice_eq(slice_str(c->scheme), from->scheme);
	uint16_t port;

	if (is_other && host.n > 0 && !http1_host(from->authority, &host, &port))
		return slice_make(NULL, 0);
	return host;
}

/* false: there is no such place. */
static bool
find_place(struct place *p, const struct route *r, const struct msg *req,
	const struct respond_info *info, struct arena *a)
{
	const struct redirectcfg *c = &r->cfg->redirect;
	const struct answer_texts *texts = r->texts;
	struct slice host;
	uint16_t port;

	*p = (struct place){
		.scheme = c->scheme ? slice_str(c->scheme) : info->forward->scheme,
		.host = c->host ? slice_str(c->host) : same_host(c, info->forward),
		.path = slice_str(c->path),
	};
	if (!c->path) {
		/* "*" of OPTIONS is none. */
		p->path = slice_starts(req->path, SLICE("/")) ? req->path : p->path;
		p->query = req->query;
		p->has_query = req->has_query;
	}
	if (texts != NULL && c->path)
		p->path = template_text(&texts->path, info->vars, a);
	if (texts != NULL && c->host) {
		p->host = template_text(&texts->host, info->vars, a);
		if (!http1_host(p->host, &host, &port))
			return false;
	}
	/* HTTP/1.0 without Host: there is no other scheme of a host that nobody named. */
	return p->host.n > 0 || !c->scheme;
}

static char *
put_target(char *to, const struct place *p)
{
	struct slice path = p->path;

	if (!slice_starts(path, SLICE("/")))
		*to++ = '/';
	/* Alone, "//x" would be another host (RFC 3986 §4.2). */
	while (p->host.n == 0 && slice_starts(path, SLICE("//")))
		path = slice_skip(path, 1);
	to = put_uri(to, path);
	if (p->has_query) {
		*to++ = '?';
		to = put_uri(to, p->query);
	}
	return to;
}

static void
respond_redirect(struct answer *out, const struct route *r, const struct msg *req,
	const struct respond_info *info, struct arena *a)
{
	uint16_t status = (uint16_t)r->cfg->redirect.status;
	struct place p;
	char *location;
	char *to;

	if (!find_place(&p, r, req, info, a)) {
		respond_error(out, 400, info, a);
		return;
	}
	/* "://", "/" and "?" beside what may have to be percent-encoded */
	location = to = arena_alloc(a, p.scheme.n + 5 + 3 * (p.host.n + p.path.n + p.query.n));
	if (p.host.n > 0) {
		to = put_uri(to, p.scheme);
		memcpy(to, "://", 3);
		to = put_uri(to + 3, p.host);
	}
	to = put_target(to, &p);
	if ((size_t)(to - location) > HEADER_RULES_BYTES) {
		respond_error(out, 431, info, a);
		return;
	}
	start(out, status, info);
	add(out, SLICE("Location"), slice_make(location, (size_t)(to - location)));
	finish(out, status_text(status, info, a), TEXT_TYPE);
}

/* --- echo --- */

static void
json_member(struct sbuf *b, const char *name, struct slice value)
{
	sbuf_addf(b, "  \"%s\": ", name);
	sbuf_add_json(b, value);
	sbuf_adds(b, ",\n");
}

/* The value of a field, or the list of them when it stands there more than once. */
static void
json_values(struct sbuf *b, const struct msg *m, unsigned first)
{
	struct slice name = m->fields[first].name;
	unsigned count = 0;

	for (unsigned i = first; i < m->field_count; i++)
		count += slice_caseeq(m->fields[i].name, name);
	if (count > 1)
		sbuf_addc(b, '[');
	for (unsigned i = first; i < m->field_count; i++) {
		if (!slice_caseeq(m->fields[i].name, name))
			continue;
		if (i > first)
			sbuf_adds(b, ", ");
		sbuf_add_json(b, m->fields[i].value);
	}
	if (count > 1)
		sbuf_addc(b, ']');
}

static bool
is_repeated(const struct msg *m, unsigned at)
{
	for (unsigned i = 0; i < at; i++)
		if (slice_caseeq(m->fields[i].name, m->fields[at].name))
			return true;
	return false;
}

static void
json_fields(struct sbuf *b, const struct msg *m)
{
	const char *separator = "";

	sbuf_adds(b, "  \"headers\": {");
	for (unsigned i = 0; i < m->field_count; i++) {
		if (is_repeated(m, i))
			continue;
		sbuf_addf(b, "%s\n    ", separator);
		sbuf_add_json(b, m->fields[i].name);
		sbuf_adds(b, ": ");
		json_values(b, m, i);
		separator = ",";
	}
	sbuf_adds(b, m->field_count ? "\n  },\n" : "},\n");
}

static void
respond_echo(
	struct answer *out, const struct msg *req, const struct respond_info *info, struct arena *a)
{
	const struct forward_info *from = info->forward;
	struct sbuf b = { 0 };

	sbuf_adds(&b, "{\n");
	json_member(&b, "method", req->method_name);
	json_member(&b, "target", req->target);
	json_member(&b, "path", req->path);
	if (req->has_query)
		json_member(&b, "query", req->query);
	else
		sbuf_adds(&b, "  \"query\": null,\n");
	sbuf_addf(&b, "  \"version\": \"%u.%u\",\n", req->version_major, req->version_minor);
	json_member(&b, "scheme", from->scheme);
	json_member(&b, "host", from->authority);
	json_fields(&b, req);
	json_member(&b, "client", info->client);
	json_member(&b, "peer", from->peer);
	json_member(&b, "listener", info->listener);
	sbuf_adds(&b, "  \"request_id\": ");
	sbuf_add_json(&b, info->request_id);
	sbuf_adds(&b, "\n}\n");
	start(out, 200, info);
	add(out, SLICE("Cache-Control"), SLICE("no-store"));
	finish(out, arena_dup(a, sbuf_slice(&b)), SLICE("application/json"));
	sbuf_fini(&b);
}

void
respond_route(struct answer *out, const struct route *r, const struct msg *req,
	const struct respond_info *info, struct arena *a)
{
	switch (r->action) {
	case ACTION_REDIRECT: respond_redirect(out, r, req, info, a); return;
	case ACTION_RESPOND: respond_fixed(out, r, req, info, a); return;
	case ACTION_ECHO: respond_echo(out, req, info, a); return;
	case ACTION_POOL: break;
	}
	assert(!"a pool's route is answered by its servers");
}
