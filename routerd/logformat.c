/*
 * logformat: compiling and writing. All is counted when it is compiled: behind each value so many
 * bytes are kept free as the rest of the line cannot do without, so long values are cut, and lines
 * are never lost.
 */
#include "routerd/logformat.h"

#include "libcommon/http1.h"
#include "routerd/accesslog_out.h"
#include "routerd/config_parts.h"
#include "routerd/template.h"

enum {
	CUT = 4096,          /* of a value, before it is escaped */
	VALUE_MIN = 32,      /* room that each has at least: for any number, or a few letters */
	VARS_MAX = 128,      /* of a line */
	FIELDS_MAX = 64,     /* members of one's own */
	MEMBER_MAX = 64,     /* bytes of their names */
	TEXT_MAX = 8 << 10,  /* all that is no value, as it is written */
	JSON_MAX = 106 << 10 /* accesslog_format's, at its longest */
};

_Static_assert(ACCESSLOG_LINE_MAX >= JSON_MAX + VARS_MAX * VALUE_MIN + TEXT_MAX, "all fits");

/* A value, or text that is ready to be written. */
struct piece {
	bool is_var;
	bool is_bare; /* a number, true or false: needs no quotes in JSON */
	char end; /* of a text's value: what stands behind it and must not stand in it; 0: nothing,
		     or a quote */
	uint32_t rest; /* bytes that must have room behind it */
	struct var var;
	struct slice text;
};

struct logformat_member {
	struct slice key; /* ,"name": or empty in a text */
	struct piece *pieces;
	size_t count;
	bool has_vars;
};

/* --- compiling ------------------------------------------------------------------------------- */

struct compiler {
	struct arena *arena;
	struct logformat format;
	struct logformat_member *members;
	struct var *answer_fields;
	size_t vars;
	size_t text; /* bytes that are no value */
};

static struct slice
json_of(struct compiler *c, struct slice text)
{
	size_t cap = text.n * OUT_ODD_JSON;
	char *escaped = arena_alloc(c->arena, cap);
	struct out o = { escaped, escaped + cap, false };

	put_json_text(&o, text, text.n);
	return slice_make(escaped, (size_t)(o.p - escaped));
}

/* What a value is read up to: blanks, brackets and marks that stand between things. A letter or a
 * colon is none, which addresses have. */
static char
ender(struct slice behind)
{
	static const char enders[] = " \t,;|'()[]{}<>";

	return strchr(enders, behind.p[0]) != NULL ? behind.p[0] : 0;
}

/* Within double quotes it is the next of them that ends a value, and that is escaped anyhow. */
static void
set_ends(struct piece *pieces, size_t count)
{
	bool is_quoted = false;
	char end = 0;

	for (size_t i = count; i-- > 0; pieces[i].end = end)
		if (!pieces[i].is_var)
			end = ender(pieces[i].text);
	for (size_t i = 0; i < count; i++) {
		if (is_quoted || (pieces[i].is_var && var_kind(&pieces[i].var) == VAR_IS_TIME))
			pieces[i].end = 0;
		for (size_t k = 0; k < pieces[i].text.n; k++)
			is_quoted ^= pieces[i].text.p[k] == '"';
	}
}

static struct piece
piece_of(struct compiler *c, const struct template_part *part, bool is_json)
{
	struct piece p = { .is_var = part->is_var, .var = part->var };
	enum var_kind kind;

	if (!part->is_var) {
		p.text = is_json ? json_of(c, part->text) : part->text;
		c->text += p.text.n;
		return p;
	}
	kind = var_kind(&part->var);
	p.is_bare = kind == VAR_IS_NUMBER || kind == VAR_IS_FLAG;
	if (c->vars++ < VARS_MAX && var_is_of_answer(&part->var))
		c->answer_fields[c->format.answer_field_count++] = part->var;
	return p;
}

/* NULL, or what is wrong with the text. */
static const char *
add_member(struct compiler *c, struct slice key, const struct cfg_node *node)
{
	struct logformat_member *m = &c->members[c->format.count];
	struct template t;
	const char *problem = template_parse(node, VAR_LOG, &t, c->arena);

	if (problem != NULL)
		return problem;
	*m = (struct logformat_member){ .key = key, .count = t.count };
	m->pieces = arena_calloc(c->arena, t.count + 1, sizeof(*m->pieces));
	for (size_t i = 0; i < t.count; i++) {
		m->pieces[i] = piece_of(c, &t.parts[i], key.n > 0);
		m->has_vars |= t.parts[i].is_var;
	}
	if (key.n == 0)
		set_ends(m->pieces, m->count);
	c->text += key.n + 2;
	c->format.count++;
	return NULL;
}

static struct slice
key_of(struct compiler *c, const char *name)
{
	struct slice text = json_of(c, slice_str(name));

	return slice_str(arena_printf(c->arena, ",\"%.*s\":", SLICE_ARG(text)));
}

static void
set_rests(struct compiler *c)
{
	size_t rest = 2; /* "}\n" */

	for (size_t i = c->format.count; i-- > 0;) {
		const struct logformat_member *m = &c->members[i];

		rest++; /* its quote */
		for (size_t k = m->count; k-- > 0;) {
			m->pieces[k].rest = (uint32_t)rest;
			rest += m->pieces[k].is_var ? VALUE_MIN : m->pieces[k].text.n;
		}
		rest += m->key.n + 1;
	}
	c->format.needs = rest;
}

static void
compiler_init(struct compiler *c, const struct httpcfg *http, struct arena *a)
{
	*c = (struct compiler){ .arena = a, .format.kind = http->access_log.kind };
	c->members = arena_calloc(a, http->access_log.fields.n + 1, sizeof(*c->members));
	c->answer_fields = arena_calloc(a, VARS_MAX, sizeof(*c->answer_fields));
}

static const struct cfg_pair *
field_at(const struct httpcfg *http, size_t i)
{
	return CFG_AT(const struct cfg_pair, http->access_log.fields, i);
}

const struct logformat *
logformat_new(const struct httpcfg *http, struct arena *a)
{
	struct logformat *f;
	struct compiler c;

	compiler_init(&c, http, a);
	if (http->access_log.kind == ACCESSLOG_TEXT)
		add_member(&c, slice_make(NULL, 0), http->access_log.node);
	for (size_t i = 0; i < http->access_log.fields.n; i++)
		add_member(&c, key_of(&c, field_at(http, i)->name), field_at(http, i)->node);
	set_rests(&c);
	c.format.members = c.members;
	c.format.answer_fields = c.answer_fields;
	f = arena_alloc(a, sizeof(*f));
	*f = c.format;
	return f;
}

/* --- checking -------------------------------------------------------------------------------- */

static void
check_text(struct cfg_ctx *ctx, struct compiler *c, const struct cfg_node *node, const char *path)
{
	const char *problem;

	if (!http1_is_value(node->text)) {
		cfg_error(ctx, node, path,
			"the text has line breaks or control characters, expected one line");
		return;
	}
	problem = add_member(c, slice_make(NULL, 0), node);
	if (problem != NULL)
		cfg_error(ctx, node, path, "%s", problem);
}

static bool
is_taken(const struct httpcfg *http, const char *name)
{
	for (const char *const *key = accesslog_json_keys;
		http->access_log.kind == ACCESSLOG_JSON && *key != NULL; key++)
		if (strcmp(*key, name) == 0)
			return true;
	return false;
}

static void
check_field(struct cfg_ctx *ctx, struct compiler *c, const struct httpcfg *http,
	const struct cfg_pair *field, const char *path)
{
	size_t n = strlen(field->name);
	const char *problem;

	if (n == 0 || n > MEMBER_MAX)
		cfg_error(ctx, field->node, path, "a name of %zu bytes, expected 1 to %d", n,
			MEMBER_MAX);
	else if (is_taken(http, field->name))
		cfg_error(ctx, field->node, path,
			"%s: json has that already, expected another name, or format: fields",
			field->name);
	problem = add_member(c, key_of(c, field->name), field->node);
	if (problem != NULL)
		cfg_error(ctx, field->node, path, "%s: %s", field->name, problem);
}

static void
check_fields(struct cfg_ctx *ctx, struct compiler *c, const struct cfg_node *node, const char *path,
	const struct httpcfg *http)
{
	enum log_format kind = http->access_log.kind;
	const char *where = config_path(ctx, path, "fields");
	size_t n = http->access_log.fields.n;

	if (kind == ACCESSLOG_FIELDS && n == 0)
		cfg_error(ctx, config_place(node, "format"), config_path(ctx, path, "format"),
			"there are no fields, expected access_log.fields beside it");
	else if (n > 0 && kind != ACCESSLOG_FIELDS && kind != ACCESSLOG_JSON)
		cfg_error(ctx, config_place(node, "fields"), where,
			"only JSON has members, expected format: json, or format: fields");
	else if (n > FIELDS_MAX)
		cfg_error(ctx, config_place(node, "fields"), where,
			"%zu members, expected at most %d", n, FIELDS_MAX);
	else
		for (size_t i = 0; i < n; i++)
			check_field(ctx, c, http, field_at(http, i), where);
}

/* A text is none of them. */
static const char *const words[] = {
	[ACCESSLOG_COMBINED] = "combined",
	[ACCESSLOG_JSON] = "json",
	[ACCESSLOG_FIELDS] = "fields",
	[ACCESSLOG_TEXT] = NULL,
};

static const char *
word_at(const void *unused, size_t i)
{
	(void)unused;
	return words[i];
}

/* A word, or a text, which has variables: without, all its lines would be the same. */
static bool
take_kind(struct httpcfg *http, const struct cfg_node *format)
{
	enum log_format kind = ACCESSLOG_COMBINED;

	while (words[kind] != NULL && strcmp(http->access_log.format, words[kind]) != 0)
		kind++;
	http->access_log.kind = kind;
	if (kind != ACCESSLOG_TEXT)
		return true;
	http->access_log.node = format;
	return format->var_count > 0;
}

void
logformat_check(
	struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, struct httpcfg *http)
{
	const struct cfg_node *format = config_place(node, "format");
	const char *where = config_path(ctx, path, "format");
	struct compiler c;

	if (!take_kind(http, format)) {
		const char *meant = err_did_you_mean(http->access_log.format, word_at, NULL);
		struct sbuf found = { 0 };

		cfg_quote(&found, slice_str(http->access_log.format));
		cfg_error(ctx, format, where,
			"%s is not known, %s%s%sexpected combined, json, fields, or a text with "
			"variables",
			found.p, meant ? "did you mean " : "", meant ? meant : "",
			meant ? "? " : "");
		sbuf_fini(&found);
		return;
	}
	compiler_init(&c, http, ctx->arena);
	if (http->access_log.kind == ACCESSLOG_TEXT)
		check_text(ctx, &c, format, where);
	check_fields(ctx, &c, node, path, http);
	if (c.vars > VARS_MAX)
		cfg_error(ctx, node, path, "%zu variables in a line, expected at most %d", c.vars,
			VARS_MAX);
	if (c.text > TEXT_MAX)
		cfg_error(ctx, node, path,
			"%zu bytes of text in each line besides its values, expected at most %d",
			c.text, TEXT_MAX);
}

/* --- writing --------------------------------------------------------------------------------- */

struct line {
	struct out o;
	const struct var_source *source;
	struct arena arena; /* one value's */
};

/* What is left for a value, with its quotes. */
static size_t
room(const struct line *l, const struct piece *p)
{
	return (size_t)(l->o.end - l->o.p) - p->rest;
}

/* Without memory where there is nothing. Good until the next one. */
static struct slice
value_of(struct line *l, const struct piece *p)
{
	struct slice value;

	arena_reset(&l->arena);
	value = var_value(&p->var, l->source, &l->arena);
	return value.n > 0 || var_may_be_empty(&p->var) ? value : slice_make(NULL, 0);
}

static void
put_text(struct line *l, const struct logformat_member *m)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct piece *p = &m->pieces[i];
		struct slice value;

		if (!p->is_var) {
			put(&l->o, p->text);
			continue;
		}
		value = value_of(l, p);
		if (value.p == NULL)
			put_c(&l->o, '-');
		else
			put_field(&l->o, value,
				out_fit(value, CUT, room(l, p), OUT_ODD_TEXT, p->end), p->end);
	}
	put_c(&l->o, '\n');
}

/* Numbers, and true and false, are our own. */
static void
put_one(struct line *l, const struct piece *p)
{
	struct slice value = value_of(l, p);

	if (value.p == NULL)
		PUT(&l->o, "null");
	else if (p->is_bare)
		put(&l->o, value);
	else
		put_json(&l->o, value, out_fit(value, CUT, room(l, p) - 2, OUT_ODD_JSON, 0));
}

/* A string; null when nothing is there of all that it tells of. */
static void
put_several(struct line *l, const struct logformat_member *m)
{
	char *start = l->o.p;
	bool is_null = m->has_vars;

	put_c(&l->o, '"');
	for (size_t i = 0; i < m->count; i++) {
		const struct piece *p = &m->pieces[i];
		struct slice value;

		if (!p->is_var) {
			put(&l->o, p->text);
			continue;
		}
		value = value_of(l, p);
		is_null &= value.p == NULL;
		put_json_text(&l->o, value, out_fit(value, CUT, room(l, p), OUT_ODD_JSON, 0));
	}
	put_c(&l->o, '"');
	if (is_null) {
		l->o.p = start;
		PUT(&l->o, "null");
	}
}

static void
put_members(struct line *l, const struct logformat *f)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct logformat_member *m = &f->members[i];

		put(&l->o, m->key);
		if (m->count == 1 && m->has_vars)
			put_one(l, &m->pieces[0]);
		else
			put_several(l, m);
	}
	PUT(&l->o, "}\n");
}

size_t
logformat_line(const struct logformat *f, char *out, size_t cap, const struct access_entry *e,
	const struct var_source *s, char *scratch)
{
	if (f->count == 0)
		return accesslog_format(out, cap, f->kind, e);
	if (cap < f->needs)
		return 0;

	struct line l = { .o = { out, out + cap, false }, .source = s };

	if (f->kind == ACCESSLOG_JSON) {
		size_t n = accesslog_format(out, cap - f->needs, f->kind, e);

		if (n == 0)
			return 0;
		/* The members go on where it has ended. */
		l.o.p += n - strlen("}\n");
	}
	arena_init_in(&l.arena, scratch, LOGFORMAT_SCRATCH, LOGFORMAT_SCRATCH);
	if (f->kind == ACCESSLOG_TEXT)
		put_text(&l, &f->members[0]);
	else
		put_members(&l, f);
	arena_fini(&l.arena);
	/* Every member begins with a comma. */
	if (f->kind == ACCESSLOG_FIELDS)
		out[0] = '{';
	return l.o.is_full ? 0 : (size_t)(l.o.p - out);
}
