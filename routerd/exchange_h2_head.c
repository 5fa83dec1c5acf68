/*
 * exchange_h2_head: the rules of RFC 9113 §8.2 and §8.3 for answers, one field at a time, and the
 * names that a request's head gets.
 */
#include "routerd/exchange_h2_head.h"

#include <stdio.h>

#include "routerd/h2_field.h"
#include "routerd/respond.h"
#include "routerd/wskey.h"

/* --- requests --- */

static nghttp2_nv
nv_of(struct slice name, struct slice value, uint8_t flags)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name.p,
		.namelen = name.n,
		.value = (uint8_t *)(uintptr_t)value.p,
		.valuelen = value.n,
		.flags = flags,
	};
}

bool
exchange_h2_is_websocket(const struct msg *m)
{
	return slice_caseeq(slice_trim(m->upgrade), SLICE("websocket"));
}

/* What has no place in HTTP/2 (RFC 9113 §8.2.2), and what is written otherwise. */
static bool
is_left_out(const struct field *f, bool is_tunnel)
{
	switch (f->id) {
	case FIELD_HOST:
	case FIELD_CONTENT_LENGTH:
	case FIELD_CONNECTION:
	case FIELD_KEEP_ALIVE:
	case FIELD_PROXY_CONNECTION:
	case FIELD_TRANSFER_ENCODING:
	case FIELD_UPGRADE:
	case FIELD_HTTP2_SETTINGS: return true;
	case FIELD_OTHER: break;
	default: return (f->flags & MSG_FIELD_DROP) != 0;
	}
	if (is_tunnel && slice_caseeq(f->name, SLICE("sec-websocket-key")))
		return true;
	return (f->flags & MSG_FIELD_DROP) != 0;
}

/* Secrets that are short enough to be guessed by what they compress to (RFC 7541 §7.1.3). */
static uint8_t
flags_of(const struct field *f)
{
	if (f->id == FIELD_AUTHORIZATION || (f->id == FIELD_COOKIE && f->value.n < 20))
		return NGHTTP2_NV_FLAG_NO_INDEX;
	return NGHTTP2_NV_FLAG_NONE;
}

static struct slice
target_of(const struct exchange *x, char *text)
{
	size_t n = x->path.n;

	if (!x->m->has_query)
		return x->path;
	memcpy(text, x->path.p, n);
	text[n++] = '?';
	if (x->m->query.n > 0)
		memcpy(text + n, x->m->query.p, x->m->query.n);
	return slice_make(text, n + x->m->query.n);
}

size_t
exchange_h2_request(
	const struct exchange *x, struct slice scheme, bool is_tunnel, char *text, nghttp2_nv *out)
{
	const struct msg *m = x->m;
	size_t n = 0;

	out[n++] = nv_of(SLICE(":method"), is_tunnel ? SLICE("CONNECT") : m->method_name, 0);
	if (is_tunnel)
		out[n++] = nv_of(SLICE(":protocol"), SLICE("websocket"), 0);
	out[n++] = nv_of(SLICE(":scheme"), scheme, 0);
	if (x->authority.n > 0)
		out[n++] = nv_of(SLICE(":authority"), x->authority, 0);
	out[n++] = nv_of(SLICE(":path"), target_of(x, text), 0);
	for (unsigned i = 0; i < m->field_count; i++) {
		const struct field *f = &m->fields[i];

		if (!is_left_out(f, is_tunnel))
			out[n++] = nv_of(f->name, f->value, flags_of(f));
	}
	if (m->body == BODY_LENGTH && !is_tunnel) {
		char *at = text + x->path.n + 1 + m->query.n;
		int len = snprintf(at, 24, "%llu", (unsigned long long)m->content_length);

		out[n++] = nv_of(SLICE("content-length"), slice_make(at, (size_t)len), 0);
	}
	return n;
}

/* --- answers --- */

void
h2_answer_init(struct h2_answer *a, struct msg *m, char *text, size_t cap,
	const struct http1_limits *limits, bool is_trailer)
{
	*a = (struct h2_answer){
		.m = m,
		.text = text,
		.cap = cap,
		.limits = limits,
		.is_trailer = is_trailer,
	};
	m->version_major = 2;
	m->keep_alive = true;
}

static bool
refuse(struct h2_answer *a, const char *reason)
{
	if (a->reason == NULL)
		a->reason = reason;
	return false;
}

static struct slice
keep(struct h2_answer *a, struct slice s)
{
	char *to = a->text + a->used;

	if (s.n > 0)
		memcpy(to, s.p, s.n);
	a->used += s.n;
	return slice_make(to, s.n);
}

static bool
status_field(struct h2_answer *a, struct slice name, struct slice value)
{
	uint64_t status;

	if (!slice_eq(name, SLICE(":status")) || a->is_trailer || a->has_fields ||
		a->m->status != 0)
		return refuse(a, "bad_pseudo_header");
	if (value.n != 3 || !slice_to_u64(value, &status) || status < 100 || status > 599)
		return refuse(a, "bad_status");
	a->m->status = (uint16_t)status;
	return true;
}

bool
h2_answer_field(struct h2_answer *a, struct slice name, struct slice value)
{
	struct msg *m = a->m;
	enum field_id id;
	const char *fault;

	a->bytes += name.n + value.n + H2_FIELD_EXTRA;
	if (a->bytes > a->limits->head_bytes || a->bytes > a->cap)
		return refuse(a, a->is_trailer ? "trailer_too_long" : "head_too_long");
	if (a->reason != NULL)
		return false;
	if (name.n > 0 && name.p[0] == ':')
		return status_field(a, name, value);
	a->has_fields = true;
	id = field_id_of(name);
	fault = h2_name_fault(name);
	if (fault == NULL)
		fault = h2_value_fault(value);
	if (fault == NULL)
		fault = h2_connection_fault(id, value, true);
	if (fault == NULL && id == FIELD_CONTENT_LENGTH && m->first[id] != 0)
		fault = "dup_content_length";
	if (fault != NULL)
		return refuse(a, fault);
	if (m->field_count >= a->limits->fields || m->field_count >= m->field_cap)
		return refuse(a, "too_many_fields");
	if (id == FIELD_OTHER || a->is_trailer)
		name = keep(a, name);
	else
		name = field_name(id);
	msg_add(m, id, name, keep(a, value))->flags = h2_field_flags(id, name, a->is_trailer);
	return true;
}

/* RFC 9110 §6.4.1, as in HTTP/1. */
static bool
is_bodiless(const struct msg *m, enum method asked)
{
	return asked == METHOD_HEAD || m->status < 200 || m->status == 204 || m->status == 304;
}

static bool
frame_body(struct h2_answer *a, enum method asked, bool is_end)
{
	struct msg *m = a->m;
	const struct field *f = msg_field(m, FIELD_CONTENT_LENGTH);

	if (f != NULL &&
		(!slice_to_u64(f->value, &m->content_length) || m->content_length > INT64_MAX))
		return refuse(a, "bad_content_length");
	if (is_bodiless(m, asked)) {
		m->body = BODY_NONE;
		return true;
	}
	if (f == NULL)
		m->body = is_end ? BODY_NONE : BODY_CHUNKED;
	else if (is_end && m->content_length > 0)
		return refuse(a, "content_length_mismatch");
	else
		m->body = BODY_LENGTH;
	return true;
}

bool
h2_answer_end(struct h2_answer *a, enum method asked, bool is_end)
{
	struct msg *m = a->m;

	if (a->reason != NULL)
		return false;
	if (m->status == 0)
		return refuse(a, "bad_pseudo_header");
	/* RFC 9113 §8.6: there is no switching. */
	if (m->status == 101)
		return refuse(a, "unexpected_101");
	/* An interim answer that is the last one is none. */
	if (m->status < 200 && is_end)
		return refuse(a, "bad_status");
	m->reason = respond_phrase(m->status);
	return frame_body(a, asked, is_end);
}

/* --- WebSocket --- */

static void
add(struct msg *m, struct slice name, struct slice value)
{
	if (m->field_count < m->field_cap)
		msg_add(m, field_id_of(name), name, value);
}

void
h2_answer_to_101(struct msg *m, const struct msg *asked, char *text)
{
	const struct field *key = msg_find(asked, SLICE("sec-websocket-key"));

	m->status = 101;
	m->reason = respond_phrase(101);
	m->body = BODY_NONE;
	m->content_length = 0;
	m->has_upgrade = true;
	m->upgrade = SLICE("websocket");
	/* A length says nothing of a tunnel. */
	for (unsigned i = 0; i < m->field_count; i++)
		if (m->fields[i].id == FIELD_CONTENT_LENGTH)
			m->fields[i].flags |= MSG_FIELD_DROP;
	add(m, field_name(FIELD_UPGRADE), SLICE("websocket"));
	if (key != NULL)
		add(m, SLICE("Sec-WebSocket-Accept"), wskey_accept(key->value, text));
}
