/*
 * vars: the table, and the four families. Of a certificate that was not verified no more is told
 * than forward_cert.c tells.
 */
#include "routerd/vars.h"

#include "libcommon/err.h"
#include "libcommon/http1.h"
#include "libcommon/units.h"
#include "routerd/accesslog.h"
#include "routerd/accesslog_out.h"
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

#define DIGITS 20

static struct slice
number(uint64_t n, struct arena *a)
{
	char *digits = arena_alloc(a, DIGITS);
	size_t at = DIGITS;

	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	return slice_make(digits + at, DIGITS - at);
}

/* Thousandths: "1.234". */
static struct slice
thousandths(uint64_t n, struct arena *a)
{
	char *text = arena_alloc(a, DIGITS + 2);
	char *p = text + DIGITS + 2;

	for (unsigned i = 0; n > 0 || i < 4; i++, n /= 10) {
		if (i == 3)
			*--p = '.';
		*--p = (char)('0' + n % 10);
	}
	return slice_make(p, (size_t)(text + DIGITS + 2 - p));
}

/* 0 is a moment that was not reached. */
static struct slice
ms(uint64_t us, struct arena *a)
{
	return us > 0 ? thousandths(us, a) : NONE;
}

/* As nginx rounds: down. */
static struct slice
seconds(uint64_t us, struct arena *a)
{
	return thousandths(us / 1000, a);
}

/* From when the server was chosen; us may be a moment that was not reached. */
static struct slice
since_pick(const struct var_source *s, uint32_t us, struct arena *a)
{
	uint32_t picked = s->log->t.picked_us;

	return picked > 0 && us >= picked ? seconds(us - picked, a) : NONE;
}

static struct slice
flag(bool is_so)
{
	return is_so ? SLICE("true") : SLICE("false");
}

/* Of the authority; the scheme's own, when it names none. Neither where a head was refused. */
static struct slice
port(const struct var_source *s, struct arena *a)
{
	struct slice name;
	uint16_t n = 0;

	if (s->from->authority.n > 0 && http1_host(s->from->authority, &name, &n) && n > 0)
		return number(n, a);
	if (s->from->scheme.n == 0)
		return NONE;
	return slice_eq(s->from->scheme, SLICE("https")) ? SLICE("443") : SLICE("80");
}

/* None where a head was refused. */
static struct slice
version(const struct var_source *s, struct arena *a)
{
	if (s->req->version_major == 0)
		return NONE;
	if (s->req->version_major >= 2)
		return number(s->req->version_major, a);
	return s->req->version_minor == 0 ? SLICE("1.0") : SLICE("1.1");
}

/* Not every proxy in front tells. */
static struct slice
resumed(const struct var_source *s)
{
	return s->tls != NULL && s->tls->knows_resumed ? flag(s->tls->is_resumed) : NONE;
}

/* As the log's other formats have it. */
static struct slice
protocol(const struct var_source *s)
{
	if (s->req->version_major == 0)
		return NONE;
	if (s->req->version_major >= 2)
		return SLICE("HTTP/2.0");
	return s->req->version_minor == 0 ? SLICE("HTTP/1.0") : SLICE("HTTP/1.1");
}

/* Of a head that was refused nothing is believed. */
static struct slice
request_line(const struct var_source *s, struct arena *a)
{
	struct slice version = protocol(s);
	size_t n = s->req->method_name.n + s->req->target.n + version.n + 2;
	char *line;
	char *to;

	if (s->req->method_name.n == 0)
		return NONE;
	line = to = arena_alloc(a, n);
	to = slice_put(to, s->req->method_name);
	to = slice_put(to, SLICE(" "));
	to = slice_put(to, s->req->target);
	to = slice_put(to, SLICE(" "));
	slice_put(to, version);
	return slice_make(line, n);
}

static struct slice
msec(const struct var_source *s, struct arena *a)
{
	return thousandths((uint64_t)s->wall_ms(), a);
}

/* In the log, the second that its other times tell. */
static struct slice
iso8601(const struct var_source *s, struct arena *a)
{
	char *text;

	if (s->log != NULL)
		return slice_str(out_time_utc(OUT_END, s->log->wall_s));
	text = arena_alloc(a, UNITS_TIME);
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
	enum var_kind kind;
	bool is_family;
	bool is_field; /* a family of fields */
} rows[VAR_COUNT] = {
#define VAR(id, name, when, value)        [VAR_##id] = { name, when, VAR_IS_TEXT, false, false },
#define VAR_NUMBER(id, name, when, value) [VAR_##id] = { name, when, VAR_IS_NUMBER, false, false },
#define VAR_FLAG(id, name, when, value)   [VAR_##id] = { name, when, VAR_IS_FLAG, false, false },
#define VAR_TIME(id, name, when, value)   [VAR_##id] = { name, when, VAR_IS_TIME, false, false },
#include "routerd/vars.def"
#undef VAR
	[VAR_HTTP] = { "http_", VAR_REQUEST, VAR_IS_TEXT, true, true },
	[VAR_COOKIE] = { "cookie_", VAR_REQUEST, VAR_IS_TEXT, true, false },
	[VAR_ARG] = { "arg_", VAR_REQUEST, VAR_IS_TEXT, true, false },
	[VAR_UPSTREAM_HTTP] = { "upstream_http_", VAR_RESPONSE, VAR_IS_TEXT, true, true },
};

enum var_kind
var_kind(const struct var *var)
{
	return rows[var->id].kind;
}

bool
var_may_be_empty(const struct var *var)
{
	return rows[var->id].is_family;
}

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

bool
var_is_of_answer(const struct var *var)
{
	return var->id == VAR_UPSTREAM_HTTP;
}

uint16_t
var_keep_fields(const struct var *vars, size_t count, const struct field *fields,
	uint16_t field_count, struct field *out, struct arena *a)
{
	uint16_t n = 0;

	for (uint16_t i = 0; i < field_count; i++) {
		size_t k = 0;

		while (k < count && !is_asked(&fields[i], &vars[k]))
			k++;
		if (k == count)
			continue;
		out[n] = fields[i];
		out[n].name = arena_dup(a, fields[i].name);
		out[n++].value = arena_dup(a, fields[i].value);
	}
	return n;
}

static bool
is_row(const struct var_row *row, struct slice name)
{
	struct slice word = slice_str(row->name);

	return row->is_family ? name.n > word.n && slice_starts(name, word) : slice_eq(name, word);
}

/* The i-th name, for err_did_you_mean; the first once more for those that are not known by then. */
static const char *
name_at(const void *when, size_t i)
{
	if (i >= VAR_HTTP)
		return NULL;
	return rows[rows[i].when <= *(const enum var_when *)when ? i : 0].name;
}

static const char *
unknown(struct slice name, enum var_when when, struct arena *a)
{
	const char *meant = err_did_you_mean(arena_strndup(a, name.p, name.n), name_at, &when);

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
		return unknown(name, when, a);
	if (rows[id].when > when)
		return arena_printf(a, "${%.*s} is not known before %s, expected another variable",
			SLICE_ARG(name),
			rows[id].when == VAR_LOG ? "the request is over, in the access log"
						 : "there is an answer");
	*var = (struct var){ .id = id };
	if (rows[id].is_family)
		take_name(&rows[id], slice_skip(name, strlen(rows[id].name)), var, a);
	return NULL;
}
