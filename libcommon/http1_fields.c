/*
 * http1_fields: what the fields of a complete head say of the connection and of the body's length
 * (RFC 9110 §7.6.1, §7.8, §10.1.1; RFC 9112 §6). Called by http1.c when all of them are in.
 */
#include "libcommon/http1_int.h"

/* More options than this in Connection are an attack on whoever has to look them all up. */
enum { CONNECTION_MAX = 32 };

struct connection {
	bool has_close;
	bool has_keep_alive;
	bool has_upgrade;
	unsigned count;
};

bool
http1_is_framing_alike(struct slice name)
{
	char plain[sizeof("Transfer-Encoding")];
	enum field_id id;

	if (name.n != sizeof("Content-Length") - 1 && name.n != sizeof("Transfer-Encoding") - 1)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = ascii_lower(name.p[i]);

		plain[i] = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
	}
	id = field_id_of(slice_make(plain, name.n));
	return id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING;
}

/* The next field of this id from *i on; *i is left behind it. */
static const struct field *
next_field(const struct msg *m, enum field_id id, unsigned *i)
{
	while (*i < m->field_count) {
		const struct field *f = &m->fields[(*i)++];

		if (f->id == id)
			return f;
	}
	return NULL;
}

static void
drop_named(struct msg *m, enum field_id id, struct slice name)
{
	for (unsigned i = 0; i < m->field_count; i++) {
		struct field *f = &m->fields[i];

		if (f->id == id && (id != FIELD_OTHER || slice_caseeq(f->name, name)))
			f->flags |= MSG_FIELD_DROP;
	}
}

/*
 * A field that Connection names is for us only, except that nobody may have fields taken away that
 * decide what the message means: framing and Host are refused, the like of Cookie and Cache-Control
 * (RFC 9110 §7.6.1: "never appropriate") stay. Servers do name Transfer-Encoding, and mean no harm.
 */
static bool
nominate(struct http1_head *h, struct slice name)
{
	enum field_id id = field_id_of(name);
	unsigned flags = field_flags(id);

	if (id == FIELD_HOST || id == FIELD_CONTENT_LENGTH ||
		(id == FIELD_TRANSFER_ENCODING && !h->is_response))
		return false;
	if ((flags & FIELD_FRAMING) && !(flags & (FIELD_HOP | FIELD_IDENTITY)))
		return true;
	drop_named(h->m, id, name);
	return true;
}

/* Is s one of the options that are about the connection itself? */
static bool
is_own_option(struct connection *c, struct slice s)
{
	if (slice_caseeq(s, SLICE("keep-alive")))
		c->has_keep_alive = true;
	else if (slice_caseeq(s, SLICE("close")))
		c->has_close = true;
	else if (slice_caseeq(s, SLICE("upgrade")))
		c->has_upgrade = true;
	else
		return false;
	return true;
}

static bool
connection_option(struct http1_head *h, struct connection *c, struct slice option)
{
	if (++c->count > CONNECTION_MAX)
		return false;
	return is_own_option(c, option) || (http1_is_token(option) && nominate(h, option));
}

/* One field's list; nearly always it has one member, and that is our own. */
static bool
connection_field(struct http1_head *h, struct connection *c, struct slice rest)
{
	struct slice option;

	if (is_own_option(c, rest))
		return true;
	while (field_list_next(&rest, &option))
		if (!connection_option(h, c, option))
			return false;
	return true;
}

/* Upgrade: protocol-name["/"protocol-version], a list of them (RFC 9110 §7.8). */
static bool
is_upgrade(struct slice value)
{
	struct slice protocol;
	unsigned count = 0;

	while (field_list_next(&value, &protocol)) {
		size_t n = slice_find(protocol, '/');

		if (!http1_is_token(slice_make(protocol.p, n)) ||
			(n < protocol.n && !http1_is_token(slice_skip(protocol, n + 1))))
			return false;
		count++;
	}
	return count > 0;
}

/* Two Upgrade fields, or one that makes no sense, are no upgrade: whoever asks may be ignored. */
static void
read_upgrade(struct msg *m, const struct connection *c)
{
	const struct field *f = msg_field(m, FIELD_UPGRADE);
	unsigned next = m->first[FIELD_UPGRADE];

	if (f == NULL)
		return;
	m->upgrade = f->value;
	m->has_upgrade = c->has_upgrade && m->version_minor == 1 && is_upgrade(f->value) &&
		next_field(m, FIELD_UPGRADE, &next) == NULL;
}

static enum http1_result
read_connection(struct http1_head *h)
{
	struct msg *m = h->m;
	struct connection c = { 0 };

	if (m->first[FIELD_CONNECTION] != 0) {
		unsigned i = m->first[FIELD_CONNECTION] - 1u;
		const struct field *f;

		while ((f = next_field(m, FIELD_CONNECTION, &i)) != NULL)
			if (!connection_field(h, &c, f->value))
				return http1_refuse(h, 400, "bad_connection");
	}
	m->keep_alive = !c.has_close && (m->version_minor == 1 || c.has_keep_alive);
	read_upgrade(m, &c);
	return HTTP1_DONE;
}

void
http1_expect(struct msg *m)
{
	unsigned i = m->first[FIELD_EXPECT];
	const struct field *f;

	if (i-- == 0)
		return;
	while ((f = next_field(m, FIELD_EXPECT, &i)) != NULL) {
		struct slice rest = f->value;
		struct slice member;

		while (field_list_next(&rest, &member)) {
			if (slice_caseeq(member, SLICE("100-continue")))
				m->expect_continue = true;
			else
				m->is_bad_expect = true;
		}
	}
}

/*
 * Digits only and no list, even of equal numbers (RFC 9112 §6.3 would let us repair that; we do
 * not). Zeros in front may be read as octal behind us, so clients may not send them; some servers
 * do, and get by.
 */
static bool
read_length(struct http1_head *h, struct slice s)
{
	struct msg *m = h->m;

	if (s.n > 1 && s.p[0] == '0' && !h->is_response)
		return false;
	return slice_to_u64(s, &m->content_length) && m->content_length <= INT64_MAX;
}

/*
 * Transfer-Encoding that is not exactly one "chunked": a coding that we do not know is 501, all
 * else (twice, not last, parameters, empty members) is ambiguous.
 */
static enum http1_result
refuse_coding(struct http1_head *h)
{
	const struct msg *m = h->m;
	unsigned i = m->first[FIELD_TRANSFER_ENCODING] - 1u;
	const struct field *f;
	unsigned known = 0;
	unsigned unknown = 0;

	while ((f = next_field(m, FIELD_TRANSFER_ENCODING, &i)) != NULL) {
		struct slice rest = f->value;
		struct slice coding;

		while (slice_next(&rest, ',', &coding)) {
			coding = slice_trim(coding);
			if (!http1_is_token(coding) || known > 0)
				return http1_refuse(h, 400, "bad_transfer_encoding");
			if (slice_caseeq(coding, SLICE("chunked")))
				known++;
			else
				unknown++;
		}
	}
	if (unknown > 0)
		return http1_refuse(h, 501, "unknown_transfer_coding");
	return http1_refuse(h, 400, "bad_transfer_encoding");
}

/* Content-Length and Transfer-Encoding, of which there is at most one (RFC 9112 §6.1, §6.2). */
static enum http1_result
read_framing(struct http1_head *h)
{
	struct msg *m = h->m;
	const struct field *length = msg_field(m, FIELD_CONTENT_LENGTH);
	const struct field *coding = msg_field(m, FIELD_TRANSFER_ENCODING);

	if (length != NULL && coding != NULL)
		return http1_refuse(h, 400, "cl_and_te");
	if (length != NULL) {
		if (!read_length(h, length->value))
			return http1_refuse(h, 400, "bad_content_length");
		m->body = BODY_LENGTH;
	}
	if (coding != NULL) {
		unsigned next = m->first[FIELD_TRANSFER_ENCODING];

		if (m->version_minor == 0)
			return http1_refuse(h, 400, "te_in_http10");
		if (!slice_caseeq(coding->value, SLICE("chunked")) ||
			next_field(m, FIELD_TRANSFER_ENCODING, &next) != NULL)
			return refuse_coding(h);
		m->body = BODY_CHUNKED;
	}
	return HTTP1_DONE;
}

enum http1_result
http1_request_fields(struct http1_head *h)
{
	enum http1_result r = read_framing(h);

	if (r == HTTP1_DONE)
		r = http1_authority(h);
	if (r == HTTP1_DONE)
		r = read_connection(h);
	/* HTTP/1.0 has no expectations; there they are ignored (RFC 9110 §10.1.1). */
	if (r == HTTP1_DONE && h->m->version_minor == 1)
		http1_expect(h->m);
	return r;
}

/* Answers that end with their head, whatever their fields say (RFC 9112 §6.3, rules 1 and 2). */
static bool
is_bodiless(const struct http1_head *h)
{
	unsigned status = h->m->status;

	return h->asked == METHOD_HEAD || status < 200 || status == 204 || status == 304 ||
		(h->asked == METHOD_CONNECT && status < 300);
}

enum http1_result
http1_response_fields(struct http1_head *h)
{
	struct msg *m = h->m;
	enum http1_result r = read_framing(h);

	if (r == HTTP1_DONE)
		r = read_connection(h);
	if (r != HTTP1_DONE)
		return r;
	if (m->body == BODY_CHUNKED && (m->status < 200 || m->status == 204))
		return http1_refuse(h, 502, "te_without_body");
	if (is_bodiless(h)) {
		m->body = BODY_NONE;
	} else if (m->body == BODY_NONE) {
		m->body = BODY_UNTIL_CLOSE;
		m->keep_alive = false;
	}
	return r;
}
