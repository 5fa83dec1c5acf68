/*
 * cfg: libyaml's events become a tree. One recursive reader (parse_node), whose depth is bounded by
 * CFG_DEPTH_MAX, and whose nodes, copies made for aliases included, are counted against
 * CFG_NODES_MAX. With cfg_syntax.c, which says what libyaml refuses, the only file that knows it.
 *
 * Two ways to fail: a problem of one value is reported, marks its node as broken and reading goes
 * on; a fatal one (syntax, limits) is reported, sets is_fatal, and every caller returns NULL.
 */
#include "libcommon/cfg.h"

#include <stdlib.h>

#include <uthash.h>
#include <yaml.h>

#include "libcommon/cfg_parts.h"

struct anchor {
	char *name;
	struct cfg_node *node;
	bool is_open; /* its node is still being read: an alias now would hold itself */
	UT_hash_handle hh;
};

struct loader {
	struct cfg *cfg;
	struct errs *errs;
	struct slice text;
	yaml_parser_t parser;
	struct anchor *anchors;
	struct sbuf path; /* of the node being read, for messages */
	size_t nodes;
	size_t expanded; /* bytes that ${NAME} made */
	bool is_fatal;
};

static struct cfg_node *parse_node(struct loader *l, yaml_event_t *event, unsigned depth);

static struct err_at
mark_at(const struct loader *l, yaml_mark_t mark)
{
	return (struct err_at){ l->cfg->file, (unsigned)mark.line + 1, (unsigned)mark.column + 1 };
}

/* --- events --- */

static bool
next_event(struct loader *l, yaml_event_t *event)
{
	if (l->is_fatal)
		return false;
	if (yaml_parser_parse(&l->parser, event))
		return true;
	cfg_syntax_report(&l->parser, l->cfg->file, l->text, l->errs);
	l->is_fatal = true;
	return false;
}

/* --- nodes --- */

static struct cfg_node *
fatal(struct loader *l, struct err_at at, const char *text)
{
	cfg_report(l->errs, at, sbuf_str(&l->path), "%s", text);
	l->is_fatal = true;
	return NULL;
}

/* at: the place to blame when there are too many. */
static struct cfg_node *
new_node(struct loader *l, enum cfg_kind kind, struct err_at at)
{
	struct cfg_node *n;

	if (++l->nodes > CFG_NODES_MAX)
		return fatal(l, at,
			"the document has over 1000000 values, aliases counted where they are used");
	n = arena_calloc(l->cfg->arena, 1, sizeof(*n));
	n->kind = kind;
	n->line = at.line;
	n->col = at.col;
	return n;
}

static struct cfg_node *
new_node_at(struct loader *l, enum cfg_kind kind, yaml_mark_t mark)
{
	return new_node(l, kind, mark_at(l, mark));
}

/* A later anchor of the same name takes its place: YAML says so. */
static struct anchor *
open_anchor(struct loader *l, const yaml_char_t *name, struct cfg_node *node)
{
	const char *key = (const char *)name;
	struct anchor *a;

	if (name == NULL)
		return NULL;
	HASH_FIND_STR(l->anchors, key, a);
	if (a == NULL) {
		a = arena_calloc(l->cfg->arena, 1, sizeof(*a));
		a->name = arena_strdup(l->cfg->arena, key);
		HASH_ADD_KEYPTR(hh, l->anchors, a->name, strlen(a->name), a);
	}
	a->node = node;
	a->is_open = true;
	return a;
}

static void
close_anchor(struct anchor *a, const struct cfg_node *node)
{
	/* An inner node may have taken the name meanwhile. */
	if (a != NULL && a->node == node)
		a->is_open = false;
}

static struct cfg_node *
copy_node(struct loader *l, const struct cfg_node *from, unsigned depth, struct err_at alias_at)
{
	struct cfg_node *n;
	struct cfg_node **tail;

	if (depth > CFG_DEPTH_MAX)
		return fatal(l, alias_at, "nested deeper than 32 levels through an alias");
	n = new_node(l, from->kind, alias_at);
	if (n == NULL)
		return NULL;
	*n = *from;
	n->next = NULL;
	n->first = NULL;
	tail = &n->first;
	for (const struct cfg_node *child = from->first; child != NULL; child = child->next) {
		*tail = copy_node(l, child, depth + 1, alias_at);
		if (*tail == NULL)
			return NULL;
		tail = &(*tail)->next;
	}
	return n;
}

/* A stand-in for a value that was reported. */
static struct cfg_node *
broken_node(struct loader *l, yaml_mark_t mark)
{
	struct cfg_node *n = new_node_at(l, CFG_SCALAR, mark);

	if (n != NULL) {
		n->is_broken = true;
		n->text = SLICE("");
	}
	return n;
}

static struct cfg_node *
parse_alias(struct loader *l, const yaml_event_t *event, unsigned depth)
{
	const char *name = (const char *)event->data.alias.anchor;
	struct err_at at = mark_at(l, event->start_mark);
	struct cfg_node *n;
	struct anchor *a;

	HASH_FIND_STR(l->anchors, name, a);
	if (a == NULL || a->is_open) {
		struct sbuf shown = { 0 };

		cfg_quote(&shown, slice_str(name));
		cfg_report(l->errs, at, sbuf_str(&l->path),
			a ? "the alias %s stands within its own anchor"
			  : "no anchor %s stands above this alias",
			shown.p);
		sbuf_fini(&shown);
		return broken_node(l, event->start_mark);
	}
	n = copy_node(l, a->node, depth, at);
	if (n != NULL) {
		n->key = (struct slice){ 0 };
		n->key_line = n->key_col = 0;
	}
	return n;
}

/* --- scalars --- */

static bool
is_null_word(struct slice s)
{
	return s.n == 0 || slice_eq(s, SLICE("~")) || slice_eq(s, SLICE("null")) ||
		slice_eq(s, SLICE("Null")) || slice_eq(s, SLICE("NULL"));
}

/* Tags would let a file say that text is a number; the key decides that. */
static bool
is_tag_ok(const yaml_char_t *tag, const char *only)
{
	return tag == NULL || strcmp((const char *)tag, "!") == 0 ||
		strcmp((const char *)tag, only) == 0;
}

static void
refuse_tag(struct loader *l, yaml_mark_t mark, struct cfg_node *n)
{
	cfg_report(l->errs, mark_at(l, mark), sbuf_str(&l->path),
		"a YAML tag, expected none: the key decides what a value is");
	n->is_broken = true;
}

static void
mark_var(void *arg, size_t at)
{
	struct cfg_node *n = arg;

	n->vars[n->var_count++] = (uint32_t)at;
}

/* How many there may be at most. */
static size_t
count_vars(struct slice text)
{
	size_t count = 0;

	for (size_t i = 1; i < text.n; i++)
		count += text.p[i - 1] == '$' && text.p[i] == '{';
	return count;
}

static void
expand(struct loader *l, struct cfg_node *n)
{
	struct sbuf out = { 0 };
	struct err err;

	n->vars = arena_calloc(l->cfg->arena, count_vars(n->text), sizeof(*n->vars));
	if (cfg_env_expand(n->text, &out, mark_var, n, &err) < 0) {
		cfg_report(l->errs, cfg_at(l->cfg, n), sbuf_str(&l->path), "%s", err.text);
		n->is_broken = true;
	} else {
		n->text = arena_dup(l->cfg->arena, sbuf_slice(&out));
		l->expanded += out.n;
		if (l->expanded > CFG_BYTES_MAX)
			fatal(l, cfg_at(l->cfg, n),
				"the document grows beyond 32 MB when variables are replaced");
	}
	sbuf_fini(&out);
}

static struct cfg_node *
parse_scalar(struct loader *l, const yaml_event_t *event, bool is_key)
{
	struct cfg_node *n = new_node_at(l, CFG_SCALAR, event->start_mark);
	struct slice text =
		slice_make((const char *)event->data.scalar.value, event->data.scalar.length);

	if (n == NULL)
		return NULL;
	n->text = arena_dup(l->cfg->arena, text);
	n->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE ||
		event->data.scalar.tag != NULL;
	n->is_null = !n->is_quoted && is_null_word(text);
	close_anchor(open_anchor(l, event->data.scalar.anchor, n), n);
	if (!is_tag_ok(event->data.scalar.tag, YAML_STR_TAG)) {
		refuse_tag(l, event->start_mark, n);
	} else if (slice_find(text, '\0') < text.n) {
		cfg_report(
			l->errs, cfg_at(l->cfg, n), sbuf_str(&l->path), "a NUL byte within text");
		n->is_broken = true;
	} else if (!is_key && cfg_env_has(text)) {
		expand(l, n);
	}
	return l->is_fatal ? NULL : n;
}

/* --- collections --- */

static struct cfg_node *
parse_sequence(struct loader *l, const yaml_event_t *start, unsigned depth)
{
	struct cfg_node *seq = new_node_at(l, CFG_SEQUENCE, start->start_mark);
	struct cfg_node **tail;
	struct anchor *anchor;
	yaml_event_t event;
	size_t path_n = l->path.n;

	if (seq == NULL)
		return NULL;
	anchor = open_anchor(l, start->data.sequence_start.anchor, seq);
	if (!is_tag_ok(start->data.sequence_start.tag, YAML_SEQ_TAG))
		refuse_tag(l, start->start_mark, seq);
	tail = &seq->first;
	while (next_event(l, &event)) {
		if (event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			close_anchor(anchor, seq);
			return seq;
		}
		sbuf_addf(&l->path, "[%zu]", seq->count);
		*tail = parse_node(l, &event, depth + 1);
		sbuf_cut(&l->path, path_n);
		if (*tail == NULL)
			return NULL;
		tail = &(*tail)->next;
		seq->count++;
	}
	return NULL;
}

static void
add_merged_mapping(struct loader *l, struct cfg_members *merged, const struct cfg_node *map)
{
	if (map->is_broken)
		return;
	if (map->kind != CFG_MAPPING) {
		cfg_report(l->errs, cfg_at(l->cfg, map), sbuf_str(&l->path),
			"expected an alias of a mapping, or a list of such");
		return;
	}
	/* Copies: the mapping may have an anchor, and its members a place in it. */
	for (const struct cfg_node *n = map->first; n != NULL; n = n->next) {
		struct cfg_node *copy = arena_alloc(l->cfg->arena, sizeof(*copy));

		*copy = *n;
		cfg_members_add(merged, copy);
	}
}

/* The value of a merge key: a mapping, or a list of mappings of which earlier ones win. */
static void
add_merged(struct loader *l, struct cfg_members *merged, const struct cfg_node *value)
{
	if (value->kind != CFG_SEQUENCE) {
		add_merged_mapping(l, merged, value);
		return;
	}
	for (const struct cfg_node *n = value->first; n != NULL; n = n->next)
		add_merged_mapping(l, merged, n);
}

/* For cfg_members_link. */
static void
report_duplicate(void *arg, const struct cfg_node *first, const struct cfg_node *again)
{
	struct loader *l = arg;
	size_t path_n = l->path.n;

	cfg_path_push(&l->path, again->key);
	cfg_report(l->errs, cfg_key_at(l->cfg, again), sbuf_str(&l->path),
		"duplicate key, the first one is at %u:%u", first->key_line, first->key_col);
	sbuf_cut(&l->path, path_n);
}

/* The key of a member, or NULL: then its value is read and dropped, or all ends. */
static struct cfg_node *
parse_key(struct loader *l, yaml_event_t *event, unsigned depth)
{
	struct cfg_node *key;

	if (event->type == YAML_SCALAR_EVENT) {
		key = parse_scalar(l, event, true);
		yaml_event_delete(event);
		if (key != NULL && key->text.n == 0 && !key->is_broken) {
			cfg_report(
				l->errs, cfg_at(l->cfg, key), sbuf_str(&l->path), "an empty key");
			key->is_broken = true;
		}
		return key != NULL && !key->is_broken ? key : NULL;
	}
	cfg_report(l->errs, mark_at(l, event->start_mark), sbuf_str(&l->path),
		"a key that is no plain text, expected a word");
	parse_node(l, event, depth + 1);
	return NULL;
}

static bool
is_merge_key(const struct cfg_node *key)
{
	return key != NULL && !key->is_quoted && slice_eq(key->text, SLICE("<<"));
}

/* One "key: value"; event is the key's. false when all ends. */
static bool
parse_member(struct loader *l, yaml_event_t *event, unsigned depth, struct cfg_members *own,
	struct cfg_members *merged)
{
	struct cfg_node *key = parse_key(l, event, depth);
	struct cfg_node *value;
	size_t path_n = l->path.n;
	yaml_event_t value_event;

	if (!next_event(l, &value_event))
		return false;
	if (key != NULL)
		cfg_path_push(&l->path, key->text);
	value = parse_node(l, &value_event, depth + 1);
	if (value != NULL && is_merge_key(key)) {
		add_merged(l, merged, value);
	} else if (value != NULL && key != NULL) {
		value->key = key->text;
		value->key_line = key->line;
		value->key_col = key->col;
		cfg_members_add(own, value);
	}
	sbuf_cut(&l->path, path_n);
	return value != NULL;
}

static struct cfg_node *
parse_mapping(struct loader *l, const yaml_event_t *start, unsigned depth)
{
	struct cfg_node *map = new_node_at(l, CFG_MAPPING, start->start_mark);
	struct cfg_members own = { 0 };
	struct cfg_members merged = { 0 };
	struct anchor *anchor;
	yaml_event_t event;
	bool is_done = false;

	if (map == NULL)
		return NULL;
	anchor = open_anchor(l, start->data.mapping_start.anchor, map);
	if (!is_tag_ok(start->data.mapping_start.tag, YAML_MAP_TAG))
		refuse_tag(l, start->start_mark, map);
	while (next_event(l, &event)) {
		if (event.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&event);
			is_done = true;
			break;
		}
		if (!parse_member(l, &event, depth, &own, &merged))
			break;
	}
	if (is_done) {
		cfg_members_link(map, &own, &merged, report_duplicate, l);
		close_anchor(anchor, map);
	}
	free(own.v);
	free(merged.v);
	return is_done ? map : NULL;
}

/* The node that begins with this event, which is released; NULL when all ends. */
static struct cfg_node *
parse_node(struct loader *l, yaml_event_t *event, unsigned depth)
{
	struct cfg_node *n = NULL;

	if (depth > CFG_DEPTH_MAX)
		fatal(l, mark_at(l, event->start_mark), "nested deeper than 32 levels");
	else if (event->type == YAML_SCALAR_EVENT)
		n = parse_scalar(l, event, false);
	else if (event->type == YAML_ALIAS_EVENT)
		n = parse_alias(l, event, depth);
	else if (event->type == YAML_SEQUENCE_START_EVENT)
		n = parse_sequence(l, event, depth);
	else if (event->type == YAML_MAPPING_START_EVENT)
		n = parse_mapping(l, event, depth);
	yaml_event_delete(event);
	return n;
}

/* --- documents --- */

static void
parse_document(struct loader *l)
{
	yaml_event_t event;

	if (!next_event(l, &event))
		return;

	struct cfg_node *root = parse_node(l, &event, 1);

	if (root != NULL && !root->is_null)
		l->cfg->root = root;
}

static void
parse_stream(struct loader *l)
{
	yaml_event_t event;
	yaml_event_type_t type;
	bool has_document = false;

	while (next_event(l, &event)) {
		struct err_at at = mark_at(l, event.start_mark);

		type = event.type;
		yaml_event_delete(&event);
		if (type == YAML_STREAM_END_EVENT)
			return;
		if (type != YAML_DOCUMENT_START_EVENT)
			continue;
		if (has_document) {
			cfg_report(l->errs, at, "", "a second document, expected one a file");
			return;
		}
		has_document = true;
		parse_document(l);
	}
}

static void
loader_fini(struct loader *l)
{
	HASH_CLEAR(hh, l->anchors);
	sbuf_fini(&l->path);
	yaml_parser_delete(&l->parser);
}

struct cfg *
cfg_parse(const char *name, const char *dir, struct slice text, struct errs *errs)
{
	struct loader l = { .errs = errs, .text = text };

	if (text.n > CFG_BYTES_MAX) {
		cfg_report(errs, (struct err_at){ .file = name }, "", "larger than %u MB",
			CFG_BYTES_MAX >> 20);
		return NULL;
	}
	if (!yaml_parser_initialize(&l.parser)) {
		cfg_report(errs, (struct err_at){ .file = name }, "", "out of memory");
		return NULL;
	}
	l.cfg = cfg_new(name, dir, text);
	/* Not guessed from the first bytes: UTF-16 is refused. */
	yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(
		&l.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
	parse_stream(&l);
	loader_fini(&l);
	if (!l.is_fatal)
		return l.cfg;
	cfg_free(l.cfg);
	return NULL;
}
