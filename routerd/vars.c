/*
 * vars: the table, and the four families. Of a certificate that was not verified no more is told
 * than forward_cert.c tells.
 */
#include "routerd/vars.h"

#include "libcommon/err.h"
#include "libcommon/http1.h"
#include "libcommon/units.h"
#include "routerd/conn.h"
#include "routerd/forward_cert.h"

#define NONE         slice_make(NULL, 0)
#define TLS(member)  (s->tls != NULL ? s->tls->member : NONE)
#define CERT         (s->from->cert)
#define IS_VERIFIED  (s->from->is_cert_verified)
#define FACT(member) (CERT != NULL && IS_VERIFIED ? CERT->member : NONE)

/* --- values of the table --------------------------------------------------------------------- */

static struct slice
host(const struct var_source *s)
{
	struct slice name = s->from->authority;
	uint16_t number;

	if (name.n > 0)
		http1_host(s->from->authority, &name, &number);
	return name;
}

static struct slice
number(uint64_t n, struct arena *a)
{
	return slice_str(arena_printf(a, "%llu", (unsigned long long)n));
}

/* Of the authority; the scheme's own, when it names none. */
static struct slice
port(const struct var_source *s, struct arena *a)
{
	struct slice name;
	uint16_t n = 0;

	if (s->from->authority.n > 0 && http1_host(s->from->authority, &name, &n) && n > 0)
		return number(n, a);
	return slice_eq(s->from->scheme, SLICE("https")) ? SLICE("443") : SLICE("80");
}

static struct slice
version(const struct var_source *s, struct arena *a)
{
	if (s->req->version_major >= 2)
		return number(s->req->version_major, a);
	return slice_str(arena_printf(a, "%u.%u", s->req->version_major, s->req->version_minor));
}

static struct slice
msec(const struct var_source *s, struct arena *a)
{
	long long ms = s->wall_ms();

	return slice_str(arena_printf(a, "%lld.%03lld", ms / 1000, ms % 1000));
}

static struct slice
iso8601(const struct var_source *s, struct arena *a)
{
	char *text = arena_alloc(a, UNITS_TIME);

	return slice_str(units_format_time(s->wall_ms() / 1000, text));
}

/* --- families -------------------------------------------------------------------------------- */

static bool
is_asked(const struct field *f, const struct var *v)
{
	if (v->field_id != FIELD_OTHER)
		return f->id == v->field_id;
	return slice_caseeq(f->name, v->name);
}

/* All lines of a name are one list (RFC 9110 §5.3), those of Cookie with their own separator. */
static struct slice
joined(const struct field *f, unsigned count, const struct var *v, struct arena *a)
{
	struct slice separator = v->field_id == FIELD_COOKIE ? SLICE("; ") : SLICE(", ");
	struct slice last = NONE;
	unsigned lines = 0;
	size_t n = 0;
	char *text;
	char *to;

	for (unsigned i = 0; i < count; i++) {
		if (!is_asked(&f[i], v))
			continue;
		last = f[i].value;
		n += last.n + separator.n;
		lines++;
	}
	if (lines <= 1)
		return last;
	text = to = arena_alloc(a, n);
	for (unsigned i = 0; i < count; i++) {
		if (!is_asked(&f[i], v))
			continue;
		to = slice_put(to, f[i].value);
		to = slice_put(to, separator);
	}
	return slice_make(text, n - separator.n);
}

/* The value of the first "name=value" in a list; false when there is none. */
static bool
find_member(struct slice list, char separator, struct slice name, struct slice *value)
{
	struct slice one;

	while (slice_next(&list, separator, &one)) {
		one = slice_trim(one);
		if (one.n > name.n && one.p[name.n] == '=' &&
			slice_eq(slice_make(one.p, name.n), name)) {
			*value = slice_skip(one, name.n + 1);
			return true;
		}
	}
	return false;
}

static struct slice
cookie(const struct var_source *s, struct slice name)
{
	struct slice value = NONE;

	for (unsigned i = 0; i < s->req_fields; i++)
		if (s->req->fields[i].id == FIELD_COOKIE &&
			find_member(s->req->fields[i].value, ';', name, &value))
			break;
	return value;
}

static struct slice
arg(const struct var_source *s, struct slice name)
{
	struct slice value = NONE;

	find_member(s->req->query, '&', name, &value);
	return value;
}

/* --- names ----------------------------------------------------------------------------------- */

enum {
#define VAR(id, name, when, value) VAR_##id,
#include "routerd/vars.def"
#undef VAR
	VAR_HTTP,
	VAR_COOKIE,
	VAR_ARG,
	VAR_UPSTREAM_HTTP,
	VAR_COUNT
};

static const struct var_row {
	const char *name; /* of families: up to what is asked for */
	enum var_when when;
	bool is_family;
	bool is_field; /* a family of fields */
} rows[VAR_COUNT] = {
#define VAR(id, name, when, value) [VAR_##id] = { name, when, false, false },
#include "routerd/vars.def"
#undef VAR
	[VAR_HTTP] = { "http_", VAR_REQUEST, true, true },
	[VAR_COOKIE] = { "cookie_", VAR_REQUEST, true, false },
	[VAR_ARG] = { "arg_", VAR_REQUEST, true, false },
	[VAR_UPSTREAM_HTTP] = { "upstream_http_", VAR_RESPONSE, true, true },
};

struct slice
var_value(const struct var *var, const struct var_source *s, struct arena *a)
{
	switch (var->id) {
#define VAR(id, name, when, value) \
	case VAR_##id:             \
		return value;
#include "routerd/vars.def"
#undef VAR
	case VAR_HTTP: return joined(s->req->fields, s->req_fields, var, a);
	case VAR_COOKIE: return cookie(s, var->name);
	case VAR_ARG: return arg(s, var->name);
	case VAR_UPSTREAM_HTTP:
		return s->resp ? joined(s->resp->fields, s->resp_fields, var, a) : NONE;
	default: return NONE;
	}
}

static bool
is_row(const struct var_row *row, struct slice name)
{
	struct slice word = slice_str(row->name);

	return row->is_family ? name.n > word.n && slice_starts(name, word) : slice_eq(name, word);
}

/* The i-th name, for err_did_you_mean. */
static const char *
name_at(const void *unused, size_t i)
{
	(void)unused;
	return i < VAR_HTTP ? rows[i].name : NULL;
}

static const char *
unknown(struct slice name, struct arena *a)
{
	const char *meant = err_did_you_mean(arena_strndup(a, name.p, name.n), name_at, NULL);

	if (meant != NULL)
		return arena_printf(
			a, "unknown variable ${%.*s}, did you mean ${%s}?", SLICE_ARG(name), meant);
	return arena_printf(a,
		"unknown variable ${%.*s}, expected one of VARIABLES in weir.yaml(5)",
		SLICE_ARG(name));
}

static void
take_name(const struct var_row *row, struct slice name, struct var *var, struct arena *a)
{
	char *text = arena_strndup(a, name.p, name.n);

	for (char *p = text; row->is_field && *p; p++)
		if (*p == '_')
			*p = '-';
	var->name = slice_str(text);
	var->field_id = row->is_field ? (uint16_t)field_id_of(var->name) : FIELD_OTHER;
}

const char *
var_parse(struct slice name, enum var_when when, struct var *var, struct arena *a)
{
	uint16_t id = 0;

	while (id < VAR_COUNT && !is_row(&rows[id], name))
		id++;
	if (id == VAR_COUNT)
		return unknown(name, a);
	if (rows[id].when > when)
		return arena_printf(a,
			"${%.*s} is not known before there is an answer, expected another variable",
			SLICE_ARG(name));
	*var = (struct var){ .id = id };
	if (rows[id].is_family)
		take_name(&rows[id], slice_skip(name, strlen(rows[id].name)), var, a);
	return NULL;
}
