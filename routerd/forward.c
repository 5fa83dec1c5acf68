/*
 * forward: one pass over the fields that judges what asserts identity, then our own behind them.
 * The parser has marked hop-by-hop fields and those that Connection nominates; what may travel of
 * them is taken back here. Identity fields cannot be nominated away (RFC 9110 §7.6.1 would allow
 * it, and servers that trust them would then see none).
 */
#include "routerd/forward.h"

#include <assert.h>

#include "routerd/alike.h"

static void
drop(struct field *f)
{
	f->flags |= MSG_FIELD_DROP;
}

static void
drop_all(struct msg *m, enum field_id id)
{
	for (unsigned i = m->first[id] ? m->first[id] - 1u : m->field_count; i < m->field_count;
		i++)
		if (m->fields[i].id == id)
			drop(&m->fields[i]);
}

static void
keep(struct field *f)
{
	f->flags &= (uint16_t)~MSG_FIELD_DROP;
}

static void
add(struct msg *m, enum field_id id, struct slice value)
{
	assert(m->field_count < m->field_cap);
	m->fields[m->field_count++] = (struct field){
		.name = field_name(id),
		.value = value,
		.id = (uint16_t)id,
		.flags = (uint16_t)field_flags(id),
	};
	m->first[id] = (uint8_t)m->field_count;
}

/* --- what a request may not carry on -------------------------------------------------------------
 */

/* Is this a spelling that some server will take for a field that we assert? *is_exact: it is
 * spelled with dashes alone. */
static bool
is_identity_like(struct slice name, bool *is_exact)
{
	struct slice forwarded = SLICE("x-forwarded");

	*is_exact = true;
	for (size_t i = 0; i < name.n; i++)
		if (alike_char(name.p[i]) == '-' && name.p[i] != '-')
			*is_exact = false;
	return alike(name, SLICE("x-real-ip")) ||
		(alike_starts(name, forwarded) &&
			(name.n == forwarded.n || alike_char(name.p[forwarded.n]) == '-'));
}

static void
judge_other(struct field *f, const struct forward_info *info)
{
	bool is_exact;

	if (f->name.n >= 9 && (f->name.p[0] | 0x20) == 'x') {
		if (is_identity_like(f->name, &is_exact) && !(is_exact && info->peer_is_trusted))
			drop(f);
	} else if (f->name.n == 5 && slice_caseeq(f->name, SLICE("proxy"))) {
		drop(f);
	}
}

static void
judge_identity(struct field *f, const struct forward_info *info)
{
	const struct httpcfg *http = info->http;
	bool is_replaced = (f->id == FIELD_X_FORWARDED_FOR && http->forward.x_forwarded) ||
		(f->id == FIELD_X_REAL_IP && http->forward.x_real_ip) ||
		(f->id == FIELD_FORWARDED && http->forward.forwarded);

	if (is_replaced || !info->peer_is_trusted)
		drop(f);
	else
		keep(f);
}

/* Does a rule of the configuration say what requests' fields of this name hold, if anything? */
static bool
is_asserted(const struct httpcfg *http, struct slice name)
{
	for (size_t i = 0; i < http->asserted.n; i++)
		if (alike(name, slice_str(*CFG_AT(char *, http->asserted, i))))
			return true;
	return false;
}

void
forward_trailers(const struct httpcfg *http, struct field *fields, uint16_t count)
{
	const struct clientcertcfg *certs = http != NULL ? &http->forward.client_cert : NULL;

	for (uint16_t i = 0; i < count; i++) {
		struct field *f = &fields[i];
		bool is_exact;

		if (is_identity_like(f->name, &is_exact) || slice_caseeq(f->name, SLICE("proxy")) ||
			(certs != NULL && certs->node != NULL &&
				forward_cert_is_claim(certs, f->name, &is_exact)) ||
			(http != NULL && is_asserted(http, f->name)))
			drop(f);
	}
}

static bool
is_h2(struct slice protocols)
{
	struct slice one;

	while (field_list_next(&protocols, &one))
		if (slice_caseeq(one, SLICE("h2c")) || slice_caseeq(one, SLICE("h2")))
			return true;
	return false;
}

/* Hop-by-hop fields that start again on our side. */
static void
keep_hop(struct msg *m, bool is_upgrade)
{
	struct field *upgrade =
		m->first[FIELD_UPGRADE] ? &m->fields[m->first[FIELD_UPGRADE] - 1] : NULL;
	struct field *te = m->first[FIELD_TE] ? &m->fields[m->first[FIELD_TE] - 1] : NULL;

	if (upgrade && is_upgrade && !is_h2(upgrade->value))
		keep(upgrade);
	if (te && slice_caseeq(te->value, SLICE("trailers")))
		keep(te);
}

/* --- Forwarded (RFC 7239) -----------------------------------------------------------------------
 */

static bool
is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
			    c == '_'))
			return false;
	}
	return s.n > 0;
}

static char *
put_quoted(char *to, struct slice s)
{
	if (is_token(s))
		return slice_put(to, s);
	*to++ = '"';
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			*to++ = '\\';
		*to++ = s.p[i];
	}
	*to++ = '"';
	return to;
}

/* "unix:" is none: nothing that a server could make sense of. */
static bool
is_address(struct slice s)
{
	return s.n > 0 && !slice_starts(s, SLICE("unix"));
}

static char *
put_node(char *to, const struct forward_info *info)
{
	if (!is_address(info->peer))
		return slice_put(to, SLICE("unknown"));
	if (!info->peer_is_ipv6)
		return put_quoted(to, info->peer);
	to = slice_put(to, SLICE("\"["));
	to = slice_put(to, info->peer);
	return slice_put(to, SLICE("]\""));
}

static char *
put_element(char *to, const struct forward_info *info)
{
	to = slice_put(to, SLICE("for="));
	to = put_node(to, info);
	if (info->authority.n > 0) {
		to = slice_put(to, SLICE(";host="));
		to = put_quoted(to, info->authority);
	}
	to = slice_put(to, SLICE(";proto="));
	return slice_put(to, info->scheme);
}

/* Room for put_element: quoting doubles at most. */
static size_t
element_size(const struct forward_info *info)
{
	return 64 + 2 * (info->peer.n + info->authority.n) + info->scheme.n;
}

/* --- what we add --------------------------------------------------------------------------------
 */

/* Bytes of the values that fields of this name had, and a separator each. */
static size_t
joined_size(const struct msg *m, enum field_id id)
{
	size_t n = 0;

	for (unsigned i = m->first[id] ? m->first[id] - 1u : m->field_count; i < m->field_count;
		i++)
		if (m->fields[i].id == id && m->fields[i].value.n > 0)
			n += m->fields[i].value.n + 2;
	return n;
}

/* Field lines of one name are one list, in their order (RFC 9110 §5.3). */
static char *
put_joined(char *to, const struct msg *m, enum field_id id)
{
	for (unsigned i = m->first[id] - 1u; i < m->field_count; i++) {
		if (m->fields[i].id != id || m->fields[i].value.n == 0)
			continue;
		to = slice_put(to, m->fields[i].value);
		to = slice_put(to, SLICE(", "));
	}
	return to;
}

static void
add_forwarded_for(struct msg *m, const struct forward_info *info, struct arena *a)
{
	size_t old = info->peer_is_trusted ? joined_size(m, FIELD_X_FORWARDED_FOR) : 0;
	struct slice peer = is_address(info->peer) ? info->peer : slice_make(NULL, 0);
	struct slice value = peer;

	if (old > 0) {
		char *text = arena_alloc(a, old + peer.n);
		char *to = put_joined(text, m, FIELD_X_FORWARDED_FOR);

		to = peer.n > 0 ? slice_put(to, peer) : to - 2;
		value = slice_make(text, (size_t)(to - text));
	}
	if (value.n > 0)
		add(m, FIELD_X_FORWARDED_FOR, value);
}

static void
add_forwarded(struct msg *m, const struct forward_info *info, struct arena *a)
{
	size_t old = info->peer_is_trusted ? joined_size(m, FIELD_FORWARDED) : 0;
	char *text = arena_alloc(a, old + element_size(info));
	char *to = old > 0 ? put_joined(text, m, FIELD_FORWARDED) : text;

	to = put_element(to, info);
	add(m, FIELD_FORWARDED, slice_make(text, (size_t)(to - text)));
}

/* A line of its own behind those that are there: the same list (RFC 9110 §7.6.3). */
static void
add_via(struct msg *m, const struct forward_info *info, struct arena *a)
{
	char *text = arena_alloc(a, info->via_name.n + 4);
	char *to = text;

	*to++ = (char)('0' + m->version_major);
	if (m->version_major < 2) {
		*to++ = '.';
		*to++ = (char)('0' + m->version_minor);
	}
	*to++ = ' ';
	to = slice_put(to, info->via_name);
	add(m, FIELD_VIA, slice_make(text, (size_t)(to - text)));
}

/* Kept as a trusted peer sent it, else ours. */
static void
add_missing(struct msg *m, const struct forward_info *info, enum field_id id, struct slice value)
{
	if (value.n > 0 && !(info->peer_is_trusted && m->first[id]))
		add(m, id, value);
}

static void
count_down(struct msg *m, struct arena *a)
{
	struct field *f = &m->fields[m->first[FIELD_MAX_FORWARDS] - 1];
	uint64_t n;

	if ((m->method != METHOD_TRACE && m->method != METHOD_OPTIONS) ||
		!slice_to_u64(f->value, &n) || n == 0)
		return;
	f->value = slice_str(arena_printf(a, "%llu", (unsigned long long)n - 1));
}

void
forward_request(struct msg *m, const struct forward_info *info, struct arena *a)
{
	const struct httpcfg *http = info->http;
	const struct clientcertcfg *certs = &http->forward.client_cert;
	struct slice client = forward_client(m, info);
	unsigned count = m->field_count;
	bool is_cert_told = true;

	for (unsigned i = 0; i < count; i++) {
		struct field *f = &m->fields[i];

		if (f->id == FIELD_OTHER)
			judge_other(f, info);
		else if (f->flags & FIELD_IDENTITY)
			judge_identity(f, info);
	}
	if (certs->node != NULL)
		is_cert_told = forward_cert_judge(certs, m, info->peer_is_trusted);
	keep_hop(m, info->is_upgrade);
	/* HTTP/1.0 has no expectations (RFC 9110 §10.1.1), and ours would be one. */
	if (m->version_major == 1 && m->version_minor == 0)
		drop_all(m, FIELD_EXPECT);
	if (m->first[FIELD_MAX_FORWARDS])
		count_down(m, a);
	if (http->forward.x_forwarded) {
		add_forwarded_for(m, info, a);
		add_missing(m, info, FIELD_X_FORWARDED_PROTO, info->scheme);
		add_missing(m, info, FIELD_X_FORWARDED_HOST, info->authority);
	}
	if (http->forward.x_real_ip && is_address(client))
		add(m, FIELD_X_REAL_IP, client);
	if (http->forward.forwarded)
		add_forwarded(m, info, a);
	if (http->forward.via)
		add_via(m, info, a);
	if (!is_cert_told)
		forward_cert_add(certs, m, info->cert, info->is_cert_verified, a);
}

void
forward_response(struct msg *m, const struct forward_info *info, struct slice date, struct arena *a)
{
	if (m->first[FIELD_UPGRADE] && info->is_upgrade && m->status == 101)
		keep(&m->fields[m->first[FIELD_UPGRADE] - 1]);
	if (!m->first[FIELD_DATE] && m->status >= 200 && date.n > 0)
		add(m, FIELD_DATE, date);
	if (info->http->forward.via)
		add_via(m, info, a);
}
