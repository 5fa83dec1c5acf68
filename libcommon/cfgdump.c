/*
 * cfgdump: schema tables and effective values as JSON: what `--schema`, `config` and the warnings
 * about keys that need a restart are made of. Reads values the way the binder does, without
 * binding.
 */
#include "libcommon/cfgbind_parts.h"

#include <inttypes.h>
#include <jansson.h>

#include "libcommon/addr.h"
#include "libcommon/units.h"

struct dumper {
	const struct cfg *cfg;
	struct arena arena;
	struct sbuf path;
	json_t *array;
};

/* Any scalar, as the binder would leave it. */
union value {
	bool b;
	int64_t i;
	double d;
	uint64_t u;
	const char *s;
	int choice;
	struct addr_spec addr;
};

static json_t *
json_text(struct slice s)
{
	json_t *j = json_stringn(s.p ? s.p : "", s.n);

	return j ? j : json_string("(not UTF-8)");
}

/*
 * Text as a file has to say it (cfg_env.c): a dollar sign that is none of vars, the places of our
 * variables, is written twice where it would begin something.
 */
static json_t *
json_written(struct slice text, const uint32_t *vars, size_t var_count)
{
	struct sbuf out = { 0 };
	size_t var = 0;
	json_t *j;

	for (size_t i = 0; i < text.n; i++) {
		bool is_var = var < var_count && i == vars[var];

		var += is_var;
		if (!is_var && text.p[i] == '$' && i + 1 < text.n &&
			(text.p[i + 1] == '$' || text.p[i + 1] == '{'))
			sbuf_addc(&out, '$');
		sbuf_addc(&out, text.p[i]);
	}
	j = json_text(sbuf_slice(&out));
	sbuf_fini(&out);
	return j;
}

static json_t *
node_text(const struct cfg_node *node)
{
	return json_written(node->text, node->vars, node->var_count);
}

static json_t *
json_quantity(void (*format)(struct sbuf *, uint64_t), uint64_t n)
{
	struct sbuf text = { 0 };
	json_t *j;

	format(&text, n);
	j = json_text(sbuf_slice(&text));
	sbuf_fini(&text);
	return j;
}

static void
format_duration(struct sbuf *out, uint64_t n)
{
	units_format_duration(out, (int64_t)n);
}

static json_t *
json_of_value(const struct cfg_row *row, const union value *v, const struct cfg_node *node)
{
	switch (row->type) {
	case CFGT_BOOL: return json_boolean(v->b);
	case CFGT_INT: return json_integer(v->i);
	case CFGT_DECIMAL: return json_real(v->d);
	case CFGT_DURATION: return json_quantity(format_duration, (uint64_t)v->i);
	case CFGT_SIZE: return json_quantity(units_format_size, v->u);
	case CFGT_PATH: return json_written(slice_str(v->s), NULL, 0);
	case CFGT_ENUM: return json_string(row->choices[v->choice]);
	default: return node_text(node);
	}
}

static json_t *
scalar_json(struct dumper *d, const struct cfg_row *row, const struct cfg_node *node)
{
	struct sbuf why = { 0 };
	union value v = { 0 };
	json_t *j;

	if (row->flags & CFG_SECRET)
		return json_string("***");
	if (cfg_value_parse(d->cfg, &d->arena, row, node->text, &v, &why))
		j = json_of_value(row, &v, node);
	else
		j = node_text(node);
	sbuf_fini(&why);
	return j;
}

/* A tree without a schema: what is written, as it is written. */
static json_t *
node_json(const struct cfg_node *node)
{
	json_t *j;

	if (node->kind == CFG_SCALAR)
		return node->is_null ? json_null() : node_text(node);
	j = node->kind == CFG_SEQUENCE ? json_array() : json_object();
	for (const struct cfg_node *n = node->first; n != NULL; n = n->next) {
		if (node->kind == CFG_SEQUENCE)
			json_array_append_new(j, node_json(n));
		else
			json_object_setn_new_nocheck(j, n->key.p, n->key.n, node_json(n));
	}
	return j;
}

/* The value of a row that holds no structs, or holds none here. */
static json_t *
leaf_json(struct dumper *d, const struct cfg_row *row, const struct cfg_node *node)
{
	const struct cfg_node otherwise = { .text = slice_str(row->def) };
	bool is_alone = cfg_type_is_scalar_list(row->type);
	json_t *j;

	if (node == NULL && row->def == NULL)
		return is_alone || row->type == CFGT_LIST                    ? json_array()
			: row->type == CFGT_NAMED || row->type == CFGT_PAIRS ? json_object()
									     : json_null();
	if (node == NULL)
		j = is_alone ? node_text(&otherwise) : scalar_json(d, row, &otherwise);
	else if (row->flags & CFG_SECRET)
		j = json_string("***");
	else if (cfg_type_is_scalar(row->type) && node->kind == CFG_SCALAR && !node->is_null)
		j = scalar_json(d, row, node);
	else
		j = node_json(node);
	if (is_alone && !json_is_array(j)) {
		json_t *list = json_array();

		json_array_append_new(list, j);
		j = list;
	}
	return j;
}

/* --- cfg_dump --- */

static void dump_struct(
	struct dumper *d, const struct cfg_schema *schema, const struct cfg_node *node);

static void
add_entry(struct dumper *d, const struct cfg_node *node, json_t *value)
{
	json_t *entry = json_object();
	struct sbuf origin = { 0 };

	if (node == NULL)
		sbuf_adds(&origin, "default");
	else
		sbuf_addf(&origin, "%s:%u", d->cfg->file, node->line);
	json_object_set_new(entry, "path", json_text(sbuf_slice(&d->path)));
	json_object_set_new(entry, "value", value);
	json_object_set_new(entry, "origin", json_text(sbuf_slice(&origin)));
	json_array_append_new(d->array, entry);
	sbuf_fini(&origin);
}

/* Whether a mapping that is absent means that its thing is off: then its defaults say nothing. */
static bool
is_off_when_absent(const struct cfg_row *row)
{
	if (row->flags & CFG_OPTIONAL)
		return true;
	for (const struct cfg_row *r = row->sub->rows; r->type != CFGT_END; r++)
		if (r->flags & CFG_REQUIRED)
			return true;
	return false;
}

static void
dump_members(struct dumper *d, const struct cfg_row *row, const struct cfg_node *node)
{
	size_t path_n = d->path.n;
	size_t i = 0;

	for (const struct cfg_node *n = node->first; n != NULL; n = n->next, i++) {
		if (row->type == CFGT_LIST)
			sbuf_addf(&d->path, "[%zu]", i);
		else
			cfg_path_push(&d->path, n->key);
		dump_struct(d, row->sub, cfg_as_mapping(&d->arena, row->sub, n));
		sbuf_cut(&d->path, path_n);
	}
}

static void
dump_row(struct dumper *d, const struct cfg_row *row, const struct cfg_node *node)
{
	if (row->type == CFGT_MAP) {
		if (node == NULL && is_off_when_absent(row))
			add_entry(d, NULL, json_null());
		else
			dump_struct(d, row->sub,
				node ? cfg_as_mapping(&d->arena, row->sub, node) : NULL);
	} else if ((row->type == CFGT_LIST || row->type == CFGT_NAMED) && node != NULL &&
		node->count > 0) {
		dump_members(d, row, node);
	} else {
		add_entry(d, node, leaf_json(d, row, node));
	}
}

static void
dump_struct(struct dumper *d, const struct cfg_schema *schema, const struct cfg_node *node)
{
	size_t path_n = d->path.n;

	for (const struct cfg_row *row = schema->rows; row->type != CFGT_END; row++) {
		if (!cfg_row_has_key(row))
			continue;
		cfg_path_push(&d->path, slice_str(row->key));
		dump_row(d, row, cfg_get(node, row->key));
		sbuf_cut(&d->path, path_n);
	}
}

static void
dumper_init(struct dumper *d, const struct cfg *cfg, const char *path, json_t *array)
{
	*d = (struct dumper){ .cfg = cfg, .array = array };
	arena_init(&d->arena, 0);
	if (path != NULL)
		sbuf_adds(&d->path, path);
}

static void
dumper_fini(struct dumper *d)
{
	arena_fini(&d->arena);
	sbuf_fini(&d->path);
}

void
cfg_dump(const struct cfg *cfg, const struct cfg_schema *schema, const struct cfg_node *node,
	const char *path, struct json_t *array)
{
	struct dumper d;

	dumper_init(&d, cfg, path, array);
	dump_struct(&d, schema, node);
	dumper_fini(&d);
}

/* --- what a reload cannot change --- */

struct differ {
	struct dumper before;
	struct dumper after; /* its path is the one that messages show */
	struct errs *errs;
};

static void diff_struct(struct differ *d, const struct cfg_schema *schema, const struct cfg_node *a,
	const struct cfg_node *b);

/* The values of all keys below a row, as an array. */
static json_t *
effective(const struct dumper *like, const struct cfg_row *row, const struct cfg_node *node)
{
	struct dumper d;
	json_t *array = json_array();
	json_t *entry;
	size_t i;

	dumper_init(&d, like->cfg, "", array);
	dump_row(&d, row, node);
	dumper_fini(&d);
	json_array_foreach(array, i, entry) json_object_del(entry, "origin");
	return array;
}

static void
diff_value(struct differ *d, const struct cfg_row *row, const struct cfg_node *a,
	const struct cfg_node *b)
{
	json_t *old = effective(&d->before, row, a);
	json_t *new = effective(&d->after, row, b);

	if (!json_equal(old, new))
		errs_add(d->errs, FINDING_WARNING, cfg_key_at(d->after.cfg, b), d->after.path.p,
			"a reload cannot change this, the old value stays until a restart");
	json_decref(old);
	json_decref(new);
}

/* What tells a member from the others, wherever it stands; empty when nothing does. */
static struct slice
member_name(const struct cfg_row *row, const struct cfg_node *n)
{
	const struct cfg_node *name = cfg_get(n, "name");

	if (row->type == CFGT_NAMED)
		return n->key;
	if (name != NULL)
		return name->text;
	return n->kind == CFG_SCALAR ? n->text : slice_make(NULL, 0);
}

/* The member of a that is the same thing as n, the i-th of its list: by name, else by place. */
static const struct cfg_node *
counterpart(const struct cfg_row *row, const struct cfg_node *a, const struct cfg_node *n, size_t i)
{
	struct slice name = member_name(row, n);
	size_t k = 0;

	for (const struct cfg_node *other = a->first; other != NULL; other = other->next, k++)
		if (name.n > 0 ? slice_eq(member_name(row, other), name) : k == i)
			return other;
	return NULL;
}

static void
diff_members(struct differ *d, const struct cfg_row *row, const struct cfg_node *a,
	const struct cfg_node *b)
{
	struct sbuf *path = &d->after.path;
	size_t path_n = path->n;
	size_t i = 0;

	for (const struct cfg_node *n = b->first; n != NULL; n = n->next, i++) {
		const struct cfg_node *old = counterpart(row, a, n, i);

		if (old == NULL)
			continue;
		if (row->type == CFGT_LIST)
			sbuf_addf(path, "[%zu]", i);
		else
			cfg_path_push(path, n->key);
		diff_struct(d, row->sub, cfg_as_mapping(&d->before.arena, row->sub, old),
			cfg_as_mapping(&d->after.arena, row->sub, n));
		sbuf_cut(path, path_n);
	}
}

/* Whether anything below needs a restart: most lists have nothing, and can be long. */
static bool
has_restart_rows(const struct cfg_schema *schema)
{
	for (const struct cfg_row *row = schema->rows; row->type != CFGT_END; row++)
		if (row->flags & CFG_RESTART || (row->sub != NULL && has_restart_rows(row->sub)))
			return true;
	return false;
}

static void
diff_row(struct differ *d, const struct cfg_row *row, const struct cfg_node *a,
	const struct cfg_node *b)
{
	if (row->flags & CFG_RESTART)
		diff_value(d, row, a, b);
	else if (row->sub == NULL || !has_restart_rows(row->sub))
		return;
	else if (row->type == CFGT_MAP)
		diff_struct(d, row->sub, a ? cfg_as_mapping(&d->before.arena, row->sub, a) : NULL,
			b ? cfg_as_mapping(&d->after.arena, row->sub, b) : NULL);
	else if (row->type != CFGT_CUSTOM && a != NULL && b != NULL)
		diff_members(d, row, a, b);
}

static void
diff_struct(struct differ *d, const struct cfg_schema *schema, const struct cfg_node *a,
	const struct cfg_node *b)
{
	size_t path_n = d->after.path.n;

	for (const struct cfg_row *row = schema->rows; row->type != CFGT_END; row++) {
		if (!cfg_row_has_key(row))
			continue;
		cfg_path_push(&d->after.path, slice_str(row->key));
		diff_row(d, row, cfg_get(a, row->key), cfg_get(b, row->key));
		sbuf_cut(&d->after.path, path_n);
	}
}

void
cfg_restart_diff(const struct cfg *before, const struct cfg *after, const struct cfg_schema *schema,
	const struct cfg_node *a, const struct cfg_node *b, const char *path, struct errs *errs)
{
	struct differ d = { .errs = errs };

	dumper_init(&d.before, before, "", NULL);
	dumper_init(&d.after, after, path, NULL);
	diff_struct(&d, schema, a, b);
	dumper_fini(&d.before);
	dumper_fini(&d.after);
}

/* --- the schema itself --- */

struct walker {
	struct sbuf path;
	void (*fn)(void *arg, const char *path, const struct cfg_row *row);
	void *arg;
};

static void
walk(struct walker *w, const struct cfg_schema *schema)
{
	size_t path_n = w->path.n;

	for (const struct cfg_row *row = schema->rows; row->type != CFGT_END; row++) {
		if (!cfg_row_has_key(row))
			continue;
		cfg_path_push(&w->path, slice_str(row->key));
		w->fn(w->arg, w->path.p, row);
		if (row->type == CFGT_LIST)
			sbuf_adds(&w->path, "[]");
		else if (row->type == CFGT_NAMED)
			sbuf_adds(&w->path, ".NAME");
		if (row->sub != NULL)
			walk(w, row->sub);
		sbuf_cut(&w->path, path_n);
	}
}

void
cfg_schema_walk(const struct cfg_schema *schema, const char *path,
	void (*fn)(void *arg, const char *path, const struct cfg_row *row), void *arg)
{
	struct walker w = { .fn = fn, .arg = arg };

	if (path != NULL)
		sbuf_adds(&w.path, path);
	walk(&w, schema);
	sbuf_fini(&w.path);
}

/* A bound of the range, in the unit that people write. */
static json_t *
json_bound(const struct cfg_row *row, double n)
{
	if (row->type == CFGT_ADDR || (row->min == 0 && row->max == 0))
		return json_null();
	if (row->type == CFGT_DURATION)
		return json_quantity(format_duration, (uint64_t)n);
	if (row->type == CFGT_SIZE)
		return json_quantity(units_format_size, (uint64_t)n);
	return row->type == CFGT_DECIMAL ? json_real(n) : json_integer((json_int_t)n);
}

static json_t *
json_or_null(const char *s)
{
	return s ? json_string(s) : json_null();
}

static const char *
unit_of(const struct cfg_row *row)
{
	if (row->unit != NULL)
		return row->unit;
	return row->type == CFGT_DURATION ? "ms, s, m, h or d"
		: row->type == CFGT_SIZE  ? "bytes, k, m, g or t"
					  : NULL;
}

static void
add_schema_row(void *arg, const char *path, const struct cfg_row *row)
{
	json_t *choices = row->type == CFGT_ENUM ? json_array() : json_null();
	json_t *entry = json_object();

	for (size_t i = 0; row->type == CFGT_ENUM && row->choices[i] != NULL; i++)
		json_array_append_new(choices, json_string(row->choices[i]));
	json_object_set_new(entry, "path", json_string(path));
	json_object_set_new(entry, "type", json_string(cfg_type_name(row->type)));
	json_object_set_new(entry, "unit", json_or_null(unit_of(row)));
	json_object_set_new(entry, "default", json_or_null(row->def));
	json_object_set_new(entry, "choices", choices);
	json_object_set_new(entry, "min", json_bound(row, row->min));
	json_object_set_new(entry, "max", json_bound(row, row->max));
	if (row->type == CFGT_ADDR)
		json_object_set_new(entry, "default_port",
			row->min > 0 ? json_integer((json_int_t)row->min) : json_null());
	json_object_set_new(entry, "required", json_boolean(row->flags & CFG_REQUIRED));
	json_object_set_new(entry, "restart", json_boolean(row->flags & CFG_RESTART));
	json_object_set_new(entry, "help", json_or_null(row->help));
	json_array_append_new(arg, entry);
}

void
cfg_schema_dump(const struct cfg_schema *schema, const char *path, struct json_t *array)
{
	cfg_schema_walk(schema, path, add_schema_row, array);
}
