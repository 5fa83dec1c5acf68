/*
 * cfgbind_types: how each scalar type is read, and what messages say when it cannot be. A type is a
 * parse function here and a phrase in cfg_expected.
 */
#include "libcommon/cfgbind_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "libcommon/addr.h"
#include "libcommon/sock.h"
#include "libcommon/units.h"

struct value_ctx {
	const struct cfg *cfg;
	struct arena *arena;
	const struct cfg_row *row;
	struct sbuf *why;
};

static const char *const type_names[] = {
	[CFGT_BOOL] = "boolean",
	[CFGT_INT] = "integer",
	[CFGT_DECIMAL] = "decimal",
	[CFGT_DURATION] = "duration",
	[CFGT_SIZE] = "size",
	[CFGT_STRING] = "text",
	[CFGT_PATH] = "path",
	[CFGT_ENUM] = "choice",
	[CFGT_ADDR] = "address",
	[CFGT_NET_LIST] = "networks",
	[CFGT_STRING_LIST] = "texts",
	[CFGT_STATUS_LIST] = "statuses",
	[CFGT_PAIRS] = "pairs",
	[CFGT_MAP] = "mapping",
	[CFGT_LIST] = "list",
	[CFGT_NAMED] = "named",
	[CFGT_CUSTOM] = "custom",
};

const char *
cfg_type_name(enum cfg_type type)
{
	size_t n = sizeof(type_names) / sizeof(*type_names);

	return (size_t)type < n && type_names[type] != NULL ? type_names[type] : "";
}

bool
cfg_type_is_scalar(enum cfg_type type)
{
	return type >= CFGT_BOOL && type <= CFGT_ADDR;
}

bool
cfg_type_is_scalar_list(enum cfg_type type)
{
	return type >= CFGT_NET_LIST && type <= CFGT_STATUS_LIST;
}

size_t
cfg_item_size(enum cfg_type list_type)
{
	return list_type == CFGT_NET_LIST       ? sizeof(struct addr_net)
		: list_type == CFGT_STATUS_LIST ? sizeof(struct cfg_range)
						: sizeof(char *);
}

/* --- what is expected --- */

static bool
has_range(const struct cfg_row *row)
{
	return row->min != 0 || row->max != 0;
}

static void
expected_range(const struct cfg_row *row, struct sbuf *out, const char *what, const char *example)
{
	sbuf_adds(out, what);
	if (!has_range(row)) {
		sbuf_adds(out, example);
		return;
	}
	sbuf_adds(out, " from ");
	if (row->type == CFGT_DURATION) {
		units_format_duration(out, (int64_t)row->min);
		sbuf_adds(out, " to ");
		units_format_duration(out, (int64_t)row->max);
	} else if (row->type == CFGT_SIZE) {
		units_format_size(out, (uint64_t)row->min);
		sbuf_adds(out, " to ");
		units_format_size(out, (uint64_t)row->max);
	} else {
		sbuf_addf(out, "%.15g to %.15g", row->min, row->max);
	}
}

static void
expected_choice(const struct cfg_row *row, struct sbuf *out)
{
	sbuf_adds(out, row->choices[1] ? "one of " : "");
	for (size_t i = 0; row->choices[i] != NULL; i++)
		sbuf_addf(out, "%s%s", i ? ", " : "", row->choices[i]);
}

/* "a list of servers" */
static void
expected_of(const struct cfg_row *row, struct sbuf *out, const char *what)
{
	sbuf_addf(out, "%s%ss", what, row->sub->name);
}

/* What one member of a list of scalars is to be. */
static const char *
expected_item(enum cfg_type type)
{
	return type == CFGT_NET_LIST       ? "a network such as \"10.0.0.0/8\""
		: type == CFGT_STATUS_LIST ? "a status such as 200 or \"200-399\""
					   : "text";
}

void
cfg_expected(const struct cfg_row *row, struct sbuf *out)
{
	switch (row->type) {
	case CFGT_BOOL: sbuf_adds(out, "on or off"); break;
	case CFGT_INT: expected_range(row, out, "a whole number", ""); break;
	case CFGT_DECIMAL: expected_range(row, out, "a number", ""); break;
	case CFGT_DURATION: expected_range(row, out, "a duration", " such as \"30s\""); break;
	case CFGT_SIZE: expected_range(row, out, "a size", " such as \"64k\""); break;
	case CFGT_STRING: sbuf_adds(out, "text"); break;
	case CFGT_PATH: sbuf_adds(out, "a path"); break;
	case CFGT_ENUM: expected_choice(row, out); break;
	case CFGT_ADDR: sbuf_adds(out, "an address such as \"127.0.0.1:8080\""); break;
	case CFGT_NET_LIST: sbuf_adds(out, "a list of networks such as \"10.0.0.0/8\""); break;
	case CFGT_STRING_LIST: sbuf_adds(out, "a list of texts"); break;
	case CFGT_STATUS_LIST:
		sbuf_adds(out, "a list of statuses such as 200 or \"200-399\"");
		break;
	case CFGT_PAIRS: sbuf_adds(out, "a mapping of names to texts"); break;
	case CFGT_MAP: sbuf_adds(out, "a mapping"); break;
	case CFGT_LIST: expected_of(row, out, "a list of "); break;
	case CFGT_NAMED: expected_of(row, out, "a mapping of names to "); break;
	case CFGT_CUSTOM: sbuf_adds(out, row->help ? row->help : "a value"); break;
	case CFGT_END:
	case CFGT_KEY:
	case CFGT_NODE: break;
	}
}

/* '"text" PROBLEM, expected ...'; secrets are not shown. */
static bool
refuse(const struct value_ctx *v, struct slice text, const char *problem)
{
	if (v->row->flags & CFG_SECRET)
		sbuf_adds(v->why, "the value");
	else
		cfg_quote(v->why, text);
	sbuf_addf(v->why, " %s, expected ", problem);
	if (cfg_type_is_scalar_list(v->row->type))
		sbuf_adds(v->why, expected_item(v->row->type));
	else
		cfg_expected(v->row, v->why);
	return false;
}

/* --- the types --- */

static bool
parse_bool(const struct value_ctx *v, struct slice text, void *out)
{
	static const char *const words[] = { "on", "true", "yes", "off", "false", "no" };

	for (size_t i = 0; i < 6; i++) {
		if (slice_caseeq(text, slice_str(words[i]))) {
			*(bool *)out = i < 3;
			return true;
		}
	}
	return refuse(v, text, "is not valid");
}

static bool
is_outside(const struct cfg_row *row, double n)
{
	return has_range(row) && (n < row->min || n > row->max);
}

/* YAML 1.1 would read 010 as eight, people as ten: neither is taken. */
static bool
has_leading_zero(struct slice digits)
{
	return digits.n > 1 && digits.p[0] == '0' && digits.p[1] >= '0' && digits.p[1] <= '9';
}

static bool
parse_int(const struct value_ctx *v, struct slice text, void *out)
{
	bool is_negative = slice_starts(text, SLICE("-"));
	struct slice digits = slice_skip(text, is_negative);
	uint64_t n;

	if (has_leading_zero(digits))
		return refuse(v, text, "has a leading zero");
	if (!slice_to_u64(digits, &n) || n > INT64_MAX)
		return refuse(v, text, "is not valid");

	int64_t value = is_negative ? -(int64_t)n : (int64_t)n;

	if (is_outside(v->row, (double)value))
		return refuse(v, text, "is out of range");
	*(int64_t *)out = value;
	return true;
}

/* strtod also reads hexadecimal, inf and nan. */
static bool
is_decimal(struct slice text)
{
	if (text.n == 0 || text.n > 32)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if ((text.p[i] < '0' || text.p[i] > '9') && text.p[i] != '.' &&
			(text.p[i] != '-' || i > 0))
			return false;
	return true;
}

static bool
parse_decimal(const struct value_ctx *v, struct slice text, void *out)
{
	char buf[40];
	char *end;
	double n;

	if (!is_decimal(text))
		return refuse(v, text, "is not valid");
	memcpy(buf, text.p, text.n);
	buf[text.n] = '\0';
	n = strtod(buf, &end);
	if (*end != '\0' || end == buf || !isfinite(n))
		return refuse(v, text, "is not valid");
	if (is_outside(v->row, n))
		return refuse(v, text, "is out of range");
	*(double *)out = n;
	return true;
}

static bool
parse_duration(const struct value_ctx *v, struct slice text, void *out)
{
	int64_t ms;

	if (!units_parse_duration(text, &ms)) {
		if (!slice_is_digits(text) || text.n > 18)
			return refuse(v, text, "is not valid");
		sbuf_addf(v->why, "\"%.*s\" has no unit, expected a duration such as \"%.*ss\"",
			SLICE_ARG(text), SLICE_ARG(text));
		return false;
	}
	if (is_outside(v->row, (double)ms))
		return refuse(v, text, "is out of range");
	*(int64_t *)out = ms;
	return true;
}

static bool
parse_size(const struct value_ctx *v, struct slice text, void *out)
{
	uint64_t bytes;

	if (has_leading_zero(text))
		return refuse(v, text, "has a leading zero");
	if (!units_parse_size(text, &bytes))
		return refuse(v, text, "is not valid");
	if (is_outside(v->row, (double)bytes))
		return refuse(v, text, "is out of range");
	*(uint64_t *)out = bytes;
	return true;
}

static bool
parse_string(const struct value_ctx *v, struct slice text, void *out)
{
	if (text.n == 0 && v->row->flags & CFG_NONEMPTY) {
		sbuf_adds(v->why, "empty, expected text");
		return false;
	}
	*(char **)out = arena_strndup(v->arena, text.p, text.n);
	return true;
}

static bool
parse_path(const struct value_ctx *v, struct slice text, void *out)
{
	if (text.n == 0) {
		sbuf_adds(v->why, "empty, expected a path");
		return false;
	}
	*(char **)out = cfg_path(v->cfg, v->arena, text);
	return true;
}

static const char *
choice_at(const void *arg, size_t i)
{
	return ((const char *const *)arg)[i];
}

static bool
parse_enum(const struct value_ctx *v, struct slice text, void *out)
{
	const char *meant;
	char *word;

	for (int i = 0; v->row->choices[i] != NULL; i++) {
		if (slice_eq(text, slice_str(v->row->choices[i]))) {
			*(int *)out = i;
			return true;
		}
	}
	word = xstrndup(text.p, text.n);
	meant = text.n > 0 ? err_did_you_mean(word, choice_at, v->row->choices) : NULL;
	free(word);
	if (meant == NULL)
		return refuse(v, text, "is not known");
	cfg_quote(v->why, text);
	sbuf_addf(v->why, " is not known, did you mean \"%s\"?", meant);
	return false;
}

/* addr's messages begin with the part that they mean, in quotes, or mean all of the text. */
static bool
refuse_addr(const struct value_ctx *v, struct slice text, const struct err *err)
{
	if (err->text[0] != '"') {
		cfg_quote(v->why, text);
		sbuf_adds(v->why, ": ");
	}
	sbuf_adds(v->why, err->text);
	return false;
}

static struct slice
skip_scheme(struct slice text, uint16_t *port)
{
	if (slice_starts(text, SLICE("http://")))
		return slice_skip(text, 7);
	if (!slice_starts(text, SLICE("https://")))
		return text;
	*port = 443;
	return slice_skip(text, 8);
}

static bool
parse_addr(const struct value_ctx *v, struct slice text, void *out)
{
	struct addr_spec *spec = out;
	uint16_t port = (uint16_t)v->row->min;
	struct slice at = text;
	struct err err = { .text = "" };

	if (slice_has_control(text))
		return refuse(v, text, "is not valid");
	if (v->row->flags & CFG_SCHEME)
		at = skip_scheme(at, &port);
	if (slice_starts(at, SLICE("unix:"))) {
		char *path = cfg_path(v->cfg, v->arena, slice_skip(at, 5));

		if (at.n == 5)
			return refuse(v, text, "has no path");
		if (strlen(path) >= SOCK_PATH_MAX) {
			cfg_quote(v->why, text);
			sbuf_addf(v->why,
				" is too long as a socket path (%s), expected at most %d bytes",
				path, SOCK_PATH_MAX - 1);
			return false;
		}
		at = slice_str(arena_printf(v->arena, "unix:%s", path));
	}
	if (addr_parse(at, port, spec, &err) < 0)
		return refuse_addr(v, text, &err);
	return true;
}

/* --- members of lists of scalars --- */

static bool
parse_net(const struct value_ctx *v, struct slice text, void *out)
{
	struct err err = { .text = "" };

	if (slice_has_control(text))
		return refuse(v, text, "is not valid");
	if (addr_net_parse(text, out, &err) < 0)
		return refuse_addr(v, text, &err);
	return true;
}

static bool
parse_status(struct slice text, int32_t *out)
{
	uint64_t n;

	if (text.n != 3 || !slice_to_u64(text, &n) || n < 100 || n > 599)
		return false;
	*out = (int32_t)n;
	return true;
}

static bool
parse_status_range(const struct value_ctx *v, struct slice text, void *out)
{
	struct cfg_range *range = out;
	size_t dash = slice_find(text, '-');

	if (!parse_status(slice_make(text.p, dash), &range->lo))
		return refuse(v, text, "is not valid");
	range->hi = range->lo;
	if (dash < text.n && !parse_status(slice_skip(text, dash + 1), &range->hi))
		return refuse(v, text, "is not valid");
	if (range->hi < range->lo)
		return refuse(v, text, "is the wrong way round");
	return true;
}

bool
cfg_value_parse(const struct cfg *cfg, struct arena *a, const struct cfg_row *row,
	struct slice text, void *out, struct sbuf *why)
{
	static bool (*const parsers[])(const struct value_ctx *, struct slice, void *) = {
		[CFGT_BOOL] = parse_bool,
		[CFGT_INT] = parse_int,
		[CFGT_DECIMAL] = parse_decimal,
		[CFGT_DURATION] = parse_duration,
		[CFGT_SIZE] = parse_size,
		[CFGT_STRING] = parse_string,
		[CFGT_PATH] = parse_path,
		[CFGT_ENUM] = parse_enum,
		[CFGT_ADDR] = parse_addr,
		[CFGT_NET_LIST] = parse_net,
		[CFGT_STRING_LIST] = parse_string,
		[CFGT_STATUS_LIST] = parse_status_range,
	};
	struct value_ctx v = { .cfg = cfg, .arena = a, .row = row, .why = why };

	return parsers[row->type](&v, text, out);
}
