/*
 * busmsg.c: bus messages <-> bytes. Encoding writes the JSON straight into the buffer; decoding
 * lets jansson parse what has passed a depth check, then copies what is valid into the arena.
 * Nothing from the peer is used before its type, length and range were looked at.
 */
#include "libcommon/busmsg.h"

#include <inttypes.h>
#include <string.h>

#include <jansson.h>

/* The deepest message is object > servers > server. */
#define DEPTH_MAX 8
#define AGE_MAX   ((uint64_t)1 << 50)

static const char *const kind_names[] = { "health", "evidence", "hello" };
static const char *const state_names[] = { "unknown", "up", "down" };

const char *
probe_state_name(enum probe_state s)
{
	return state_names[s];
}

bool
busmsg_is_word(const char *s)
{
	size_t n = strlen(s);

	return n <= BUSMSG_WORD_MAX && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

/* 1..BUSMSG_NAME_MAX bytes without control characters. */
static bool
is_name(const char *s)
{
	struct slice name = slice_str(s);

	return name.n > 0 && name.n <= BUSMSG_NAME_MAX && !slice_has_control(name);
}

/* --- topics: the subject with blanks, controls and '%' as %XX ---------------- */

static bool
is_plain(char c)
{
	return (unsigned char)c > 0x20 && c != '%' && c != 0x7f;
}

static void
add_topic(struct sbuf *out, enum busmsg_kind kind, const char *subject)
{
	sbuf_adds(out, kind_names[kind]);
	sbuf_addc(out, '.');
	for (; *subject; subject++) {
		if (is_plain(*subject))
			sbuf_addc(out, *subject);
		else
			sbuf_addf(out, "%%%02X", (unsigned char)*subject);
	}
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The subject of a topic's second part, or NULL. One spelling only: what is plain is not escaped.
 */
static const char *
unescape_subject(struct arena *a, struct slice s)
{
	if (s.n == 0 || s.n > 3 * BUSMSG_NAME_MAX)
		return NULL;

	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '%') {
			int hi = s.n - i > 2 ? hex_digit(s.p[i + 1]) : -1;
			int lo = s.n - i > 2 ? hex_digit(s.p[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return NULL;
			c = (char)(hi << 4 | lo);
			if (is_plain(c))
				return NULL;
			i += 2;
		} else if (!is_plain(c)) {
			return NULL;
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return strlen(out) == n && is_name(out) ? out : NULL;
}

/* --- encoding ---------------------------------------------------------------- */

static void
add_text(struct sbuf *out, const char *key, const char *value)
{
	sbuf_addf(out, "\"%s\":", key);
	sbuf_add_json(out, slice_str(value));
}

static void
add_server(struct sbuf *out, const struct busmsg_server *s)
{
	sbuf_addc(out, '{');
	add_text(out, "name", s->name);
	sbuf_addc(out, ',');
	add_text(out, "address", s->address);
	sbuf_addf(out, ",\"state\":\"%s\",\"reason\":\"%s\",\"since_ms\":%" PRIu64,
		probe_state_name(s->state), s->reason, s->since_ms);
	if (s->is_probed)
		sbuf_addf(out, ",\"probe_age_ms\":%" PRIu64, s->probe_age_ms);
	if (s->failing_ms)
		sbuf_addf(out, ",\"failing_ms\":%" PRIu64, s->failing_ms);
	sbuf_addf(out, ",\"rise\":%" PRIu32 ",\"fall\":%" PRIu32 "}", s->rise, s->fall);
}

static void
add_evidence(struct sbuf *out, const struct busmsg_evidence *e)
{
	sbuf_addc(out, '{');
	add_text(out, "name", e->name);
	sbuf_addc(out, ',');
	add_text(out, "address", e->address);
	sbuf_addf(out, ",\"reason\":\"%s\",\"fails\":%" PRIu32 "}", e->reason, e->fails);
}

static void
add_body(struct sbuf *out, const struct busmsg *m)
{
	if (m->kind == BUSMSG_HELLO) {
		sbuf_addc(out, ',');
		add_text(out, "version", m->version);
		sbuf_addc(out, ',');
		add_text(out, "config", m->config);
		return;
	}
	sbuf_addf(out, ",\"shard\":%" PRIu32 ",\"shards\":%" PRIu32, m->shard, m->shards);
	if (m->kind == BUSMSG_HEALTH)
		sbuf_addf(out, ",\"round_done\":%s", m->is_round_done ? "true" : "false");
	sbuf_adds(out, ",\"servers\":[");
	for (size_t i = 0; i < m->count; i++) {
		if (i)
			sbuf_addc(out, ',');
		if (m->kind == BUSMSG_HEALTH)
			add_server(out, &m->servers[i]);
		else
			add_evidence(out, &m->evidence[i]);
	}
	sbuf_addc(out, ']');
}

static int
check_shard(const struct busmsg *m, struct err *err)
{
	if (m->kind == BUSMSG_HELLO)
		return is_name(m->version) && strlen(m->config) <= BUSMSG_NAME_MAX
			? 0
			: err_set(err, "hello without a valid version and configuration");
	if (m->shards == 0 || m->shards > BUSMSG_SHARDS_MAX || m->shard >= m->shards)
		return err_set(err, "shard %" PRIu32 " of %" PRIu32 " is out of range", m->shard,
			m->shards);
	if (m->count > BUSMSG_SERVERS_MAX)
		return err_set(err, "%zu servers, at most %d fit one message", m->count,
			BUSMSG_SERVERS_MAX);
	return 0;
}

static int
check_rows(const struct busmsg *m, struct err *err)
{
	for (size_t i = 0; i < m->count; i++) {
		bool is_health = m->kind == BUSMSG_HEALTH;
		const char *name = is_health ? m->servers[i].name : m->evidence[i].name;
		const char *addr = is_health ? m->servers[i].address : m->evidence[i].address;
		const char *word = is_health ? m->servers[i].reason : m->evidence[i].reason;

		if (!is_name(name) || !is_name(addr) || !busmsg_is_word(word))
			return err_set(err, "server %zu has no valid name, address and reason", i);
	}
	return 0;
}

int
busmsg_encode(const struct busmsg *m, struct sbuf *out, struct err *err)
{
	size_t start = out->n;

	if (!is_name(m->subject) || !is_name(m->who) || !is_name(m->epoch))
		return err_set(err, "a message needs a valid subject, sender and epoch");
	if (m->ttl_ms == 0 || m->ttl_ms > BUSMSG_TTL_MAX)
		return err_set(err, "time to live %" PRIu32 " ms is out of range", m->ttl_ms);
	if (check_shard(m, err) || (m->kind != BUSMSG_HELLO && check_rows(m, err)))
		return -1;
	add_topic(out, m->kind, m->subject);
	sbuf_addf(out, " {\"v\":%d,", BUSMSG_VERSION);
	add_text(out, "who", m->who);
	sbuf_addc(out, ',');
	add_text(out, "epoch", m->epoch);
	sbuf_addf(out, ",\"seq\":%" PRIu64 ",\"ttl_ms\":%" PRIu32, m->seq, m->ttl_ms);
	add_body(out, m);
	sbuf_addc(out, '}');

	size_t len = out->n - start;

	if (len > BUSMSG_BYTES_MAX) {
		out->n = start;
		out->p[start] = '\0';
		return err_set(
			err, "message of %zu bytes, at most %u are sent", len, BUSMSG_BYTES_MAX);
	}
	return 0;
}

/* How long a text gets as JSON at most. */
static size_t
json_bytes(const char *s)
{
	struct sbuf b = { 0 };

	sbuf_add_json(&b, slice_str(s));

	size_t n = b.n;

	sbuf_fini(&b);
	return n;
}

size_t
busmsg_server_bytes(const char *name, const char *address)
{
	static const char fixed[] =
		"{\"name\":,\"address\":,\"state\":\"unknown\",\"reason\":\"\",\"since_ms\":,"
		"\"probe_age_ms\":,\"failing_ms\":,\"rise\":,\"fall\":},";

	/* three 64-bit and two 32-bit numbers */
	return sizeof(fixed) + BUSMSG_WORD_MAX + 3 * 20 + 2 * 10 + json_bytes(name) +
		json_bytes(address);
}

/* --- decoding ---------------------------------------------------------------- */

/* Refuse deep nesting before a recursive parser sees it. */
static bool
is_shallow(struct slice s)
{
	int depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > DEPTH_MAX)
				return false;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return true;
}

static bool
take_u64(const json_t *o, const char *key, uint64_t max, uint64_t *out)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return *out <= max;
}

static bool
take_u32(const json_t *o, const char *key, uint32_t max, uint32_t *out)
{
	uint64_t n;

	if (!take_u64(o, key, max, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

/* 0 when it is absent; false when it is there and wrong. */
static bool
take_optional(const json_t *o, const char *key, uint64_t *out)
{
	*out = 0;
	return !json_object_get(o, key) || take_u64(o, key, AGE_MAX, out);
}

static const char *
take_name(struct arena *a, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && is_name(s) ? arena_strdup(a, s) : NULL;
}

static const char *
take_word(struct arena *a, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && busmsg_is_word(s) ? arena_strdup(a, s) : NULL;
}

static bool
take_state(const json_t *o, enum probe_state *out)
{
	const char *s = json_string_value(json_object_get(o, "state"));

	for (size_t i = 0; s && i < sizeof(state_names) / sizeof(state_names[0]); i++) {
		if (strcmp(s, state_names[i]) == 0) {
			*out = (enum probe_state)i;
			return true;
		}
	}
	return false;
}

static bool
decode_server(struct arena *a, const json_t *o, struct busmsg_server *s)
{
	s->name = take_name(a, o, "name");
	s->address = take_name(a, o, "address");
	s->reason = take_word(a, o, "reason");
	s->is_probed = json_object_get(o, "probe_age_ms") != NULL;
	return s->name && s->address && s->reason && take_state(o, &s->state) &&
		take_u64(o, "since_ms", AGE_MAX, &s->since_ms) &&
		take_optional(o, "probe_age_ms", &s->probe_age_ms) &&
		take_optional(o, "failing_ms", &s->failing_ms) &&
		take_u32(o, "rise", UINT32_MAX, &s->rise) &&
		take_u32(o, "fall", UINT32_MAX, &s->fall);
}

static bool
decode_evidence(struct arena *a, const json_t *o, struct busmsg_evidence *e)
{
	e->name = take_name(a, o, "name");
	e->address = take_name(a, o, "address");
	e->reason = take_word(a, o, "reason");
	return e->name && e->address && e->reason && take_u32(o, "fails", UINT32_MAX, &e->fails);
}

static int
decode_rows(struct arena *a, const json_t *root, struct busmsg *m, struct err *err)
{
	const json_t *list = json_object_get(root, "servers");

	if (!json_is_array(list) || json_array_size(list) > BUSMSG_SERVERS_MAX)
		return err_set(err, "servers: a list of at most %d expected", BUSMSG_SERVERS_MAX);
	m->count = json_array_size(list);
	if (m->kind == BUSMSG_HEALTH)
		m->servers = arena_calloc(a, m->count, sizeof(*m->servers));
	else
		m->evidence = arena_calloc(a, m->count, sizeof(*m->evidence));
	for (size_t i = 0; i < m->count; i++) {
		const json_t *o = json_array_get(list, i);

		if (m->kind == BUSMSG_HEALTH ? !decode_server(a, o, &m->servers[i])
					     : !decode_evidence(a, o, &m->evidence[i]))
			return err_set(err, "servers[%zu] is malformed", i);
	}
	return 0;
}

static int
decode_body(struct arena *a, const json_t *root, struct busmsg *m, struct err *err)
{
	if (m->kind == BUSMSG_HELLO) {
		const char *config = json_string_value(json_object_get(root, "config"));

		m->version = take_name(a, root, "version");
		m->config = config && strlen(config) <= BUSMSG_NAME_MAX ? arena_strdup(a, config)
									: NULL;
		return m->version && m->config ? 0 : err_set(err, "malformed hello");
	}
	if (!take_u32(root, "shard", BUSMSG_SHARDS_MAX, &m->shard) ||
		!take_u32(root, "shards", BUSMSG_SHARDS_MAX, &m->shards) || m->shard >= m->shards)
		return err_set(err, "shard and shards are missing or out of range");
	if (m->kind == BUSMSG_HEALTH) {
		const json_t *done = json_object_get(root, "round_done");

		if (!json_is_boolean(done))
			return err_set(err, "round_done is missing");
		m->is_round_done = json_is_true(done);
	}
	return decode_rows(a, root, m, err);
}

static int
decode_root(struct arena *a, const json_t *root, struct busmsg *m, struct err *err)
{
	uint64_t version;

	if (!json_is_object(root) || !take_u64(root, "v", AGE_MAX, &version))
		return err_set(err, "an object with a version expected");
	if (version != BUSMSG_VERSION)
		return err_set(err, "version %" PRIu64 " is not known", version);
	m->who = take_name(a, root, "who");
	m->epoch = take_name(a, root, "epoch");
	if (!m->who || !m->epoch || !take_u64(root, "seq", INT64_MAX, &m->seq) ||
		!take_u32(root, "ttl_ms", BUSMSG_TTL_MAX, &m->ttl_ms) || m->ttl_ms == 0)
		return err_set(err, "who, epoch, seq or ttl_ms is missing or out of range");
	return decode_body(a, root, m, err);
}

static int
decode_topic(struct arena *a, struct slice topic, struct busmsg *m, struct err *err)
{
	size_t dot = slice_find(topic, '.');
	struct slice kind = slice_make(topic.p, dot);

	for (size_t i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++) {
		if (!slice_eq(kind, slice_str(kind_names[i])))
			continue;
		m->kind = (enum busmsg_kind)i;
		m->subject = unescape_subject(a, slice_skip(topic, dot + 1));
		return m->subject ? 0 : err_set(err, "the topic's subject is malformed");
	}
	return err_set(err, "the topic is not known");
}

int
busmsg_decode(struct slice bytes, struct arena *a, struct busmsg *m, struct err *err)
{
	memset(m, 0, sizeof(*m));
	if (bytes.n > BUSMSG_BYTES_MAX)
		return err_set(err, "%zu bytes, at most %u are read", bytes.n, BUSMSG_BYTES_MAX);

	size_t space = slice_find(bytes, ' ');
	struct slice json = slice_skip(bytes, space + 1);

	if (decode_topic(a, slice_make(bytes.p, space), m, err))
		return -1;
	if (!is_shallow(json))
		return err_set(err, "nested too deeply");

	json_error_t jerr;
	json_t *root = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &jerr);

	if (!root)
		return err_set(err, "no JSON: %s", jerr.text);

	int rc = decode_root(a, root, m, err);

	json_decref(root);
	return rc;
}
