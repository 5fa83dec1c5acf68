/*
 * cfgbind: walks a schema table and a tree side by side: what is there is bound, what is not gets
 * its default, what does not belong is reported. Goes on after each problem. Driven by cfg_bind;
 * the recursion follows the schema, whose depth is that of the program's tables.
 */
#include "libcommon/cfgbind_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct binder {
	struct cfg_ctx *ctx;
	struct sbuf path; /* of what is being bound */
};

static bool bind_struct(struct binder *b, const struct cfg_schema *schema,
	const struct cfg_node *node, const char *const *other_keys, void *obj);
static void bind_defaults(struct binder *b, const struct cfg_schema *schema, void *obj);

/* --- messages --- */

void
cfg_error(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, const char *fmt, ...)
{
	struct sbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	sbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	cfg_report(ctx->errs, cfg_key_at(ctx->cfg, node), path, "%s", text.p);
	sbuf_fini(&text);
}

/* At the value itself: that is where the eye should go when the value is what is wrong. */
static void
value_error(struct binder *b, const struct cfg_node *node, const char *text)
{
	cfg_report(b->ctx->errs, cfg_at(b->ctx->cfg, node), sbuf_str(&b->path), "%s", text);
}

static void
wrong_kind(struct binder *b, const struct cfg_row *row, const struct cfg_node *node)
{
	struct sbuf text = { 0 };

	if (node->kind == CFG_SEQUENCE) {
		sbuf_adds(&text, node->first != NULL ? "found a list" : "found an empty list");
	} else if (node->kind == CFG_MAPPING) {
		sbuf_adds(&text, "found a mapping");
	} else if (node->is_null) {
		sbuf_adds(&text, "empty");
	} else if (row->flags & CFG_SECRET) {
		sbuf_adds(&text, "found text");
	} else {
		sbuf_adds(&text, "found ");
		cfg_quote(&text, node->text);
	}
	sbuf_adds(&text, ", expected ");
	cfg_expected(row, &text);
	value_error(b, node, text.p);
	sbuf_fini(&text);
}

static void
missing(struct binder *b, const struct cfg_row *row, const struct cfg_node *parent)
{
	struct sbuf want = { 0 };

	cfg_expected(row, &want);
	cfg_error(b->ctx, parent, sbuf_str(&b->path), "missing, expected %s", want.p);
	sbuf_fini(&want);
}

/* --- unknown keys --- */

struct known_keys {
	const struct cfg_row *rows;
	const char *const *others;
};

bool
cfg_row_has_key(const struct cfg_row *row)
{
	return row->type != CFGT_KEY && row->type != CFGT_NODE;
}

/* The i-th key that may stand in this mapping, for err_did_you_mean. */
static const char *
known_key_at(const void *arg, size_t i)
{
	const struct known_keys *known = arg;
	size_t at = 0;

	for (const struct cfg_row *row = known->rows; row->type != CFGT_END; row++)
		if (cfg_row_has_key(row) && at++ == i)
			return row->key;
	for (size_t k = 0; known->others != NULL && known->others[k] != NULL; k++)
		if (at++ == i)
			return known->others[k];
	return NULL;
}

static bool
is_known(const struct known_keys *known, struct slice key)
{
	const char *k;

	for (size_t i = 0; (k = known_key_at(known, i)) != NULL; i++)
		if (slice_eq(key, slice_str(k)))
			return true;
	return false;
}

static void
unknown_key(struct binder *b, const struct known_keys *known, const struct cfg_node *node)
{
	char *word = xstrndup(node->key.p, node->key.n);
	const char *meant = err_did_you_mean(word, known_key_at, known);
	struct sbuf keys = { 0 };
	const char *k;

	free(word);
	if (meant != NULL) {
		cfg_error(b->ctx, node, sbuf_str(&b->path), "unknown key, did you mean \"%s\"?",
			meant);
		return;
	}
	for (size_t i = 0; (k = known_key_at(known, i)) != NULL; i++)
		sbuf_addf(&keys, "%s%s", i ? ", " : "", k);
	cfg_error(b->ctx, node, sbuf_str(&b->path), "unknown key, expected one of %s",
		keys.p ? keys.p : "none");
	sbuf_fini(&keys);
}

static void
check_keys(struct binder *b, const struct known_keys *known, const struct cfg_node *map)
{
	size_t path_n = b->path.n;

	for (const struct cfg_node *n = map->first; n != NULL; n = n->next) {
		if (is_known(known, n->key))
			continue;
		cfg_path_push(&b->path, n->key);
		unknown_key(b, known, n);
		sbuf_cut(&b->path, path_n);
	}
}

/* --- values --- */

/* A default that its own type refuses is a mistake in a table: found by the first test that binds.
 */
static void __attribute__((noreturn)) bad_default(const struct cfg_row *row, const char *why)
{
	fprintf(stderr, "schema: the default of %s: %s\n", row->key, why);
	abort();
}

static void
set_default(struct binder *b, const struct cfg_row *row, void *field)
{
	struct cfg_ctx *ctx = b->ctx;
	struct sbuf why = { 0 };
	void *to = field;

	if (row->type == CFGT_MAP)
		bind_defaults(b, row->sub, field);
	if (row->def == NULL)
		return;
	if (cfg_type_is_scalar_list(row->type)) {
		struct cfg_list *list = field;

		to = arena_calloc(ctx->arena, 1, cfg_item_size(row->type));
		*list = (struct cfg_list){ .v = to, .n = 1 };
	}
	if (!cfg_value_parse(ctx->cfg, ctx->arena, row, slice_str(row->def), to, &why))
		bad_default(row, why.p);
}

/* It would end up where it means nothing, as text. */
static bool
refuse_variable(struct binder *b, const struct cfg_node *node)
{
	struct slice rest = slice_skip(node->text, node->vars[0]);
	struct slice var = slice_make(rest.p, slice_find(rest, '}') + 1);
	struct sbuf why = { 0 };

	sbuf_addf(&why, "%.*s: no variables are replaced here, expected $%.*s for this text",
		SLICE_ARG(var), SLICE_ARG(var));
	value_error(b, node, why.p);
	sbuf_fini(&why);
	return false;
}

static bool
bind_scalar(struct binder *b, const struct cfg_row *row, const struct cfg_node *node, void *out)
{
	struct sbuf why = { 0 };
	bool is_ok;

	if (node->is_broken)
		return false;
	if (node->kind != CFG_SCALAR || node->is_null) {
		wrong_kind(b, row, node);
		return false;
	}
	if (node->var_count > 0 && !(row->flags & CFG_VARS))
		return refuse_variable(b, node);
	is_ok = cfg_value_parse(b->ctx->cfg, b->ctx->arena, row, node->text, out, &why);
	if (!is_ok)
		value_error(b, node, why.p);
	sbuf_fini(&why);
	return is_ok;
}

static void
check_nonempty(struct binder *b, const struct cfg_row *row, const struct cfg_node *node, size_t n)
{
	struct sbuf want = { 0 };

	if (n > 0 || !(row->flags & CFG_NONEMPTY))
		return;
	cfg_expected(row, &want);
	cfg_error(b->ctx, node, sbuf_str(&b->path), "empty, expected %s", want.p);
	sbuf_fini(&want);
}

static bool
bind_scalar_list(struct binder *b, const struct cfg_row *row, const struct cfg_node *node,
	struct cfg_list *list)
{
	size_t item = cfg_item_size(row->type);
	size_t path_n = b->path.n;
	size_t i = 0;
	bool is_ok = true;

	if (node->kind == CFG_MAPPING) {
		wrong_kind(b, row, node);
		return false;
	}
	if (node->kind == CFG_SCALAR && !node->is_null) {
		list->v = arena_calloc(b->ctx->arena, 1, item);
		list->n = bind_scalar(b, row, node, list->v);
		return list->n == 1;
	}
	list->v = arena_calloc(b->ctx->arena, node->count, item);
	for (const struct cfg_node *n = node->first; n != NULL; n = n->next, i++) {
		sbuf_addf(&b->path, "[%zu]", i);
		if (bind_scalar(b, row, n, (char *)list->v + list->n * item))
			list->n++;
		else
			is_ok = false;
		sbuf_cut(&b->path, path_n);
	}
	check_nonempty(b, row, node, node->count);
	return is_ok;
}

/* Its place and value; the name is that of the key above a list. */
static bool
bind_pair(struct binder *b, const struct cfg_row *row, struct slice name,
	const struct cfg_node *node, struct cfg_list *list)
{
	const struct cfg_row text_row = {
		.key = "text", .type = CFGT_STRING, .flags = row->flags & CFG_VARS
	};
	struct cfg_pair *pair = CFG_AT(struct cfg_pair, *list, list->n);

	pair->name = arena_strndup(b->ctx->arena, name.p, name.n);
	pair->node = node;
	if (!bind_scalar(b, &text_row, node, &pair->value))
		return false;
	list->n++;
	return true;
}

/* An empty list would say nothing without a word: it is no text. */
static bool
is_repeated(const struct cfg_row *row, const struct cfg_node *node)
{
	return row->flags & CFG_REPEAT && node->kind == CFG_SEQUENCE && node->first != NULL;
}

static size_t
count_pairs(const struct cfg_row *row, const struct cfg_node *map)
{
	size_t n = 0;

	for (const struct cfg_node *m = map->first; m != NULL; m = m->next)
		n += is_repeated(row, m) ? m->count : 1;
	return n;
}

static bool
bind_pairs(struct binder *b, const struct cfg_row *row, const struct cfg_node *node,
	struct cfg_list *list)
{
	size_t path_n = b->path.n;
	bool is_ok = true;

	if (node->kind != CFG_MAPPING && !node->is_null) {
		wrong_kind(b, row, node);
		return false;
	}
	list->v = arena_calloc(b->ctx->arena, count_pairs(row, node), sizeof(struct cfg_pair));
	for (const struct cfg_node *n = node->first; n != NULL; n = n->next) {
		cfg_path_push(&b->path, n->key);
		if (!is_repeated(row, n))
			is_ok &= bind_pair(b, row, n->key, n, list);
		else
			for (const struct cfg_node *t = n->first; t != NULL; t = t->next)
				is_ok &= bind_pair(b, row, n->key, t, list);
		sbuf_cut(&b->path, path_n);
	}
	check_nonempty(b, row, node, node->count);
	return is_ok;
}

/* --- structs --- */

const struct cfg_node *
cfg_as_mapping(struct arena *a, const struct cfg_schema *schema, const struct cfg_node *node)
{
	struct cfg_node *map;

	if (node->kind == CFG_MAPPING || (node->kind == CFG_SCALAR && node->is_null))
		return node;
	if (node->kind != CFG_SCALAR || schema->short_key == NULL)
		return NULL;
	map = arena_calloc(a, 1, sizeof(*map));
	*map = *node;
	map->kind = CFG_MAPPING;
	map->count = 1;
	map->first = arena_calloc(a, 1, sizeof(*map->first));
	*map->first = *node;
	map->first->next = NULL;
	map->first->key = slice_str(schema->short_key);
	map->first->key_line = node->line;
	map->first->key_col = node->col;
	return map;
}

/* One struct of row->sub. false when it is not sound. */
static bool
bind_sub(struct binder *b, const struct cfg_row *row, const struct cfg_node *node, void *obj)
{
	static const struct cfg_row map_row = { .key = "", .type = CFGT_MAP };
	const struct cfg_node *map;

	if (node->is_broken)
		return false;
	map = cfg_as_mapping(b->ctx->arena, row->sub, node);
	if (map == NULL) {
		wrong_kind(b, &map_row, node);
		return false;
	}
	return bind_struct(b, row->sub, map, NULL, obj);
}

/* CFGT_MAP. One that is no mapping at all is as good as absent to its surroundings. */
static bool
bind_map(struct binder *b, const struct cfg_row *row, const struct cfg_node *node, void *field)
{
	size_t errors = b->ctx->errs->error_count;

	if (bind_sub(b, row, node, field)) {
		if (row->parse != NULL && b->ctx->errs->error_count == errors)
			row->parse(b->ctx, node, sbuf_str(&b->path), field);
		return true;
	}
	if (node->kind == CFG_MAPPING && !node->is_broken)
		return false;
	set_default(b, row, field);
	return true;
}

static void
set_key(struct binder *b, const struct cfg_schema *schema, const struct cfg_node *node, void *obj)
{
	for (const struct cfg_row *row = schema->rows; row->type != CFGT_END; row++) {
		if (row->type != CFGT_KEY)
			continue;

		char **field = (char **)((char *)obj + row->offset);

		*field = arena_strndup(b->ctx->arena, node->key.p, node->key.n);
		if (row->parse != NULL)
			row->parse(b->ctx, node, sbuf_str(&b->path), field);
	}
}

/* CFGT_LIST and CFGT_NAMED. */
static bool
bind_structs(struct binder *b, const struct cfg_row *row, const struct cfg_node *node,
	struct cfg_list *list)
{
	enum cfg_kind want = row->type == CFGT_LIST ? CFG_SEQUENCE : CFG_MAPPING;
	size_t path_n = b->path.n;
	size_t i = 0;

	if (node->kind != want && !node->is_null) {
		wrong_kind(b, row, node);
		return false;
	}
	list->v = arena_calloc(b->ctx->arena, node->count, row->sub->size);
	for (const struct cfg_node *n = node->first; n != NULL; n = n->next, i++) {
		void *obj = (char *)list->v + list->n * row->sub->size;

		if (row->type == CFGT_LIST)
			sbuf_addf(&b->path, "[%zu]", i);
		else
			cfg_path_push(&b->path, n->key);
		memset(obj, 0, row->sub->size);
		if (row->type == CFGT_NAMED)
			set_key(b, row->sub, n, obj);
		list->n += bind_sub(b, row, n, obj);
		sbuf_cut(&b->path, path_n);
	}
	check_nonempty(b, row, node, node->count);
	return true;
}

/* All but CFGT_MAP. */
static bool
bind_plain(struct binder *b, const struct cfg_row *row, const struct cfg_node *node, void *field)
{
	switch (row->type) {
	case CFGT_LIST:
	case CFGT_NAMED: return bind_structs(b, row, node, field);
	case CFGT_PAIRS: return bind_pairs(b, row, node, field);
	case CFGT_NET_LIST:
	case CFGT_STRING_LIST:
	case CFGT_STATUS_LIST: return bind_scalar_list(b, row, node, field);
	case CFGT_CUSTOM: return true;
	default: return bind_scalar(b, row, node, field);
	}
}

/* A value that is there. false when it is wrong; a scalar then has its default. */
static bool
bind_value(struct binder *b, const struct cfg_row *row, const struct cfg_node *node, void *field)
{
	size_t errors = b->ctx->errs->error_count;

	if (row->type == CFGT_MAP)
		return bind_map(b, row, node, field);
	if (!node->is_broken && bind_plain(b, row, node, field)) {
		if (row->parse != NULL && b->ctx->errs->error_count == errors)
			row->parse(b->ctx, node, sbuf_str(&b->path), field);
	} else if (cfg_type_is_scalar(row->type)) {
		set_default(b, row, field);
		return false;
	}
	return b->ctx->errs->error_count == errors && !node->is_broken;
}

/* Whether a struct without this row cannot be looked at any further. */
static bool
is_vital(const struct cfg_row *row)
{
	return row->flags & CFG_REQUIRED &&
		(cfg_type_is_scalar(row->type) || row->type == CFGT_CUSTOM);
}

static bool
bind_row(struct binder *b, const struct cfg_row *row, const struct cfg_node *map, void *obj)
{
	const struct cfg_node *node = cfg_get(map, row->key);
	void *field = (char *)obj + row->offset;
	size_t path_n = b->path.n;
	bool is_sound;

	cfg_path_push(&b->path, slice_str(row->key));
	if (node == NULL) {
		if (row->flags & CFG_REQUIRED)
			missing(b, row, map);
		set_default(b, row, field);
		is_sound = !is_vital(row);
	} else {
		is_sound = bind_value(b, row, node, field) ||
			!(is_vital(row) || row->type == CFGT_MAP);
	}
	sbuf_cut(&b->path, path_n);
	return is_sound;
}

static void
bind_defaults(struct binder *b, const struct cfg_schema *schema, void *obj)
{
	for (const struct cfg_row *row = schema->rows; row->type != CFGT_END; row++)
		if (cfg_row_has_key(row))
			set_default(b, row, (char *)obj + row->offset);
}

/* map is a mapping, or a null scalar that stands for an empty one; one without a line stands for an
 * absent one. obj is zero. */
static bool
bind_struct(struct binder *b, const struct cfg_schema *schema, const struct cfg_node *map,
	const char *const *other_keys, void *obj)
{
	struct known_keys known = { schema->rows, other_keys };
	const struct cfg_node *place = map->line > 0 ? map : NULL;
	bool is_sound = true;

	check_keys(b, &known, map);
	for (const struct cfg_row *row = schema->rows; row->type != CFGT_END; row++) {
		if (row->type == CFGT_NODE)
			*(const struct cfg_node **)((char *)obj + row->offset) = place;
		else if (cfg_row_has_key(row) && !bind_row(b, row, map, obj))
			is_sound = false;
	}
	if (is_sound && schema->check != NULL)
		schema->check(b->ctx, place, sbuf_str(&b->path), obj);
	return is_sound;
}

void
cfg_bind(struct cfg_ctx *ctx, const struct cfg_schema *schema, const struct cfg_node *node,
	const char *path, const char *const *other_keys, void *obj)
{
	static const struct cfg_row map_row = { .key = "", .type = CFGT_MAP };
	struct cfg_node *empty = arena_calloc(ctx->arena, 1, sizeof(*empty));
	struct binder b = { .ctx = ctx };
	const struct cfg_node *map = empty;

	empty->kind = CFG_MAPPING;
	memset(obj, 0, schema->size);
	if (path != NULL)
		sbuf_adds(&b.path, path);
	if (node != NULL && !node->is_broken) {
		map = cfg_as_mapping(ctx->arena, schema, node);
		if (map == NULL)
			wrong_kind(&b, &map_row, node);
	}
	if (map != NULL)
		bind_struct(&b, schema, map, other_keys, obj);
	else
		bind_defaults(&b, schema, obj);
	sbuf_fini(&b.path);
}
