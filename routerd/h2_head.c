/*
 * h2_head: RFC 9113 §8.2 and §8.3, one field at a time; what needs all of them is checked at the
 * end.
 */
#include "routerd/h2_head.h"

#include "routerd/h2_field.h"

/* Of a request line, what is not method and target: two spaces and the version. */
#define START_EXTRA 10

void
h2_head_init(
	struct h2_head *h, struct msg *m, struct arena *arena, const struct http1_limits *limits)
{
	*h = (struct h2_head){ .m = m, .arena = arena, .limits = *limits };
}

static void
refuse(struct h2_head *h, uint16_t status, const char *reason, bool is_malformed)
{
	if (h->reason != NULL)
		return;
	h->status = status;
	h->reason = reason;
	h->is_malformed = is_malformed;
}

static void
malformed(struct h2_head *h, const char *reason)
{
	refuse(h, 400, reason, true);
}

void
h2_head_add(struct msg *m, enum field_id id, struct slice name, struct slice value)
{
	msg_add(m, id, name, value)->flags = h2_field_flags(id, name, false);
}

/* --- pseudo-headers --- */

/* With a space behind it, which ends a target. */
static struct slice
keep(struct h2_head *h, struct slice s)
{
	char *p = arena_alloc(h->arena, s.n + 1);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = ' ';
	return slice_make(p, s.n);
}

static void
pseudo_header(struct h2_head *h, struct slice name, struct slice value)
{
	struct slice *to = NULL;

	if (slice_eq(name, SLICE(":method")))
		to = &h->method;
	else if (slice_eq(name, SLICE(":path")))
		to = &h->path;
	else if (slice_eq(name, SLICE(":scheme")))
		to = &h->scheme;
	else if (slice_eq(name, SLICE(":authority")))
		to = &h->authority;
	else if (slice_eq(name, SLICE(":protocol")))
		to = &h->protocol;
	if (to == NULL || to->p != NULL || h->has_fields)
		malformed(h, "bad_pseudo_header");
	else
		*to = keep(h, value);
}

/* --- fields --- */

static const char *
duplicate_reason(enum field_id id)
{
	if (id == FIELD_CONTENT_LENGTH)
		return "dup_content_length";
	return id == FIELD_HOST ? "dup_host" : "dup_field";
}

/* Beside :authority it says nothing new, or what it may not. */
static const char *
host_fault(struct h2_head *h, struct slice value)
{
	if (h->has_host)
		return "dup_host";
	h->has_host = true;
	return slice_caseeq(value, h->authority) ? NULL : "host_mismatch";
}

/* Where HTTP/1 has it. */
static void
add_host(struct h2_head *h)
{
	h2_head_add(h->m, FIELD_HOST, field_name(FIELD_HOST), h->authority);
}

static void
regular_field(struct h2_head *h, struct slice name, struct slice value)
{
	struct msg *m = h->m;
	const char *fault = h2_name_fault(name);
	enum field_id id = fault == NULL ? field_id_of(name) : FIELD_OTHER;
	bool is_said = id == FIELD_HOST && h->authority.p != NULL;

	if (!h->has_fields && h->authority.p != NULL)
		add_host(h);
	h->has_fields = true;
	if (fault == NULL)
		fault = h2_value_fault(value);
	if (fault == NULL)
		fault = h2_connection_fault(id, value, false);
	if (fault == NULL && is_said)
		fault = host_fault(h, value);
	else if (fault == NULL && id != FIELD_OTHER && m->first[id] != 0 &&
		(field_flags(id) & FIELD_SINGLE))
		fault = duplicate_reason(id);
	if (fault != NULL)
		malformed(h, fault);
	if (fault != NULL || is_said)
		return;
	if (m->field_count >= h->limits.fields || m->field_count + H2_HEAD_FIELDS >= m->field_cap) {
		refuse(h, 431, "too_many_fields", false);
		return;
	}
	h->cookies += id == FIELD_COOKIE;
	h2_head_add(m, id, id != FIELD_OTHER ? field_name(id) : arena_dup(h->arena, name),
		arena_dup(h->arena, value));
}

void
h2_head_field(struct h2_head *h, struct slice name, struct slice value)
{
	h->bytes += name.n + value.n + H2_FIELD_EXTRA;
	if (h->bytes > h->limits.head_bytes)
		refuse(h, 431, "head_too_long", false);
	if (h->reason != NULL)
		return;
	if (name.n > 0 && name.p[0] == ':')
		pseudo_header(h, name, value);
	else
		regular_field(h, name, value);
}

/* --- the end of the section --- */

/*
 * Crumbs are one value (RFC 9113 §8.2.3), at the place of the first. A server would otherwise see
 * as many Cookie fields, and most take one of them only.
 */
static void
join_cookies(struct h2_head *h)
{
	struct msg *m = h->m;
	unsigned first = m->first[FIELD_COOKIE] - 1u;
	unsigned to = first + 1;
	size_t n = 0;
	char *text;
	char *at;

	for (unsigned i = first; i < m->field_count; i++)
		n += m->fields[i].id == FIELD_COOKIE ? m->fields[i].value.n + 2 : 0;
	at = text = arena_alloc(h->arena, n);
	for (unsigned i = first; i < m->field_count; i++) {
		const struct field f = m->fields[i];

		if (f.id != FIELD_COOKIE) {
			m->fields[to++] = f;
			continue;
		}
		/* An empty one adds nothing, and would leave a space at the end. */
		if (f.value.n == 0)
			continue;
		if (at > text) {
			*at++ = ';';
			*at++ = ' ';
		}
		memcpy(at, f.value.p, f.value.n);
		at += f.value.n;
	}
	m->fields[first].value = slice_make(text, (size_t)(at - text));
	m->field_count = (uint16_t)to;
	/* Whatever stood behind them has moved. */
	memset(m->first, 0, sizeof(m->first));
	for (unsigned i = m->field_count; i-- > 0;)
		if (m->fields[i].id != FIELD_OTHER)
			m->first[m->fields[i].id] = (uint8_t)(i + 1);
}

/* :authority and Host name one host, and the message has a Host field afterwards. */
static void
settle_authority(struct h2_head *h)
{
	struct msg *m = h->m;
	const struct field *f = msg_field(m, FIELD_HOST);
	struct slice host;
	uint16_t port;

	if (h->authority.p != NULL)
		m->authority = h->authority;
	else if (f != NULL)
		m->authority = f->value;
	if (m->authority.p == NULL)
		malformed(h, "no_host");
	else if (!http1_host(m->authority, &host, &port))
		malformed(h, h->authority.p != NULL ? "bad_authority" : "bad_host");
	else if (f == NULL)
		add_host(h);
}

/* The same bytes as in HTTP/1, but origin-form and "*" only. */
static void
settle_path(struct h2_head *h)
{
	struct msg *m = h->m;
	struct http1_error err;

	m->target = h->path;
	if (h->path.n == 0 ||
		(h->path.p[0] != '/' &&
			!(m->method == METHOD_OPTIONS && slice_eq(h->path, SLICE("*"))))) {
		malformed(h, "bad_target");
		return;
	}
	if (h->method.n + h->path.n + START_EXTRA > h->limits.target_bytes)
		refuse(h, 414, "line_too_long", false);
	else if (!http1_request_target(m, h->path.p, h->path.n, &err))
		malformed(h, err.reason);
}

/* Without a scheme and a path; with a port (RFC 9113 §8.5). */
static void
settle_connect(struct h2_head *h)
{
	struct msg *m = h->m;
	struct slice host;
	uint16_t port;

	if (h->scheme.p != NULL || h->path.p != NULL)
		malformed(h, "bad_pseudo_header");
	settle_authority(h);
	m->target_form = TARGET_AUTHORITY;
	m->target = m->authority;
	if (h->reason == NULL && (!http1_host(m->authority, &host, &port) || port == 0))
		malformed(h, "bad_authority");
}

/* What HTTP/1 asks for with Upgrade (RFC 8441 §5). */
static void
become_upgrade(struct h2_head *h)
{
	struct msg *m = h->m;

	if (!slice_caseeq(h->protocol, SLICE("websocket"))) {
		refuse(h, 501, "unknown_protocol", false);
		return;
	}
	m->method = METHOD_GET;
	m->method_name = SLICE("GET");
	m->has_upgrade = true;
	m->upgrade = SLICE("websocket");
	h2_head_add(m, FIELD_UPGRADE, field_name(FIELD_UPGRADE), m->upgrade);
}

static void
settle_length(struct h2_head *h, bool is_end)
{
	struct msg *m = h->m;
	const struct field *f = msg_field(m, FIELD_CONTENT_LENGTH);

	if (f == NULL) {
		m->body = is_end ? BODY_NONE : BODY_CHUNKED;
		return;
	}
	/* Zeros in front may be read as octal behind us. */
	if (!slice_to_u64(f->value, &m->content_length) || m->content_length > INT64_MAX ||
		(f->value.n > 1 && f->value.p[0] == '0'))
		malformed(h, "bad_content_length");
	else if (is_end && m->content_length > 0)
		malformed(h, "content_length_mismatch");
	m->body = BODY_LENGTH;
}

static void
settle_start(struct h2_head *h)
{
	struct msg *m = h->m;
	bool is_plain_connect;

	if (!http1_is_token(h->method)) {
		malformed(h, h->method.p == NULL ? "missing_pseudo_header" : "bad_method");
		return;
	}
	m->method = http1_method(h->method);
	m->method_name = h->method;
	is_plain_connect = m->method == METHOD_CONNECT && h->protocol.p == NULL;
	if (is_plain_connect) {
		settle_connect(h);
		return;
	}
	if (h->scheme.p == NULL || h->path.p == NULL)
		malformed(h, "missing_pseudo_header");
	else if (h->protocol.p != NULL && (m->method != METHOD_CONNECT || h->protocol.n == 0))
		malformed(h, "bad_pseudo_header");
	else if (!slice_caseeq(h->scheme, SLICE("http")) &&
		!slice_caseeq(h->scheme, SLICE("https")))
		malformed(h, "bad_scheme");
	if (h->reason != NULL)
		return;
	m->scheme = h->scheme;
	settle_authority(h);
	if (h->protocol.p != NULL)
		become_upgrade(h);
	settle_path(h);
}

bool
h2_head_end(struct h2_head *h, bool is_end)
{
	struct msg *m = h->m;

	m->version_major = 2;
	m->keep_alive = true;
	if (h->reason != NULL)
		return false;
	if (h->cookies > 1)
		join_cookies(h);
	settle_start(h);
	settle_length(h, is_end);
	if (h->reason != NULL)
		return false;
	if (h->protocol.p != NULL) {
		/* What flows after the answer is the tunnel's, not a body. */
		m->body = BODY_NONE;
		if (msg_field(m, FIELD_CONTENT_LENGTH) != NULL)
			malformed(h, "bad_content_length");
	}
	http1_expect(m);
	return h->reason == NULL;
}

/* --- trailers --- */

void
h2_trailers_field(struct h2_trailers *t, struct arena *arena, struct slice name, struct slice value)
{
	enum field_id id = field_id_of(name);
	struct field *f;

	t->bytes += name.n + value.n + H2_FIELD_EXTRA;
	if (t->reason == NULL && t->bytes > HTTP1_TRAILER_MAX)
		t->reason = "trailer_too_long";
	if (t->reason == NULL && name.n > 0 && name.p[0] == ':')
		t->reason = "bad_pseudo_header";
	if (t->reason == NULL)
		t->reason = h2_name_fault(name);
	if (t->reason == NULL)
		t->reason = h2_value_fault(value);
	if (t->reason == NULL)
		t->reason = h2_connection_fault(id, value, false);
	if (t->reason == NULL && t->count == H2_TRAILERS_MAX)
		t->reason = "too_many_trailers";
	if (t->reason != NULL)
		return;
	f = &t->fields[t->count++];
	f->name = arena_dup(arena, name);
	f->value = arena_dup(arena, value);
	f->id = (uint16_t)id;
	f->flags = h2_field_flags(id, name, true);
}
