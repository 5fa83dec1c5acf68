/*
 * cfg_text: what stands around the tree: places and quotes for messages, paths that count from the
 * file's folder, lookups. Nothing here knows YAML.
 */
#include "libcommon/cfg.h"

#include <stdarg.h>

/* What a message shows of one text at most. */
#define QUOTE_MAX 64

struct cfg_node *
cfg_get(const struct cfg_node *map, const char *key)
{
	struct slice want = slice_str(key);

	if (map == NULL || map->kind != CFG_MAPPING)
		return NULL;
	for (struct cfg_node *n = map->first; n != NULL; n = n->next)
		if (slice_eq(n->key, want))
			return n;
	return NULL;
}

struct err_at
cfg_at(const struct cfg *c, const struct cfg_node *n)
{
	return (struct err_at){ c->file, n ? n->line : 0, n ? n->col : 0 };
}

struct err_at
cfg_key_at(const struct cfg *c, const struct cfg_node *n)
{
	if (n == NULL || n->key_line == 0)
		return cfg_at(c, n);
	return (struct err_at){ c->file, n->key_line, n->key_col };
}

void
cfg_report(struct errs *errs, struct err_at at, const char *path, const char *fmt, ...)
{
	struct sbuf text = { 0 };
	va_list ap;

	if (errs->error_count > CFG_FINDINGS_MAX)
		return;
	if (errs->error_count == CFG_FINDINGS_MAX) {
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = at.file }, "",
			"more problems than are shown, these are the first %d", CFG_FINDINGS_MAX);
		return;
	}
	va_start(ap, fmt);
	sbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	errs_add(errs, FINDING_ERROR, at, path, "%s", sbuf_str(&text));
	sbuf_fini(&text);
}

/* Cut to max bytes, not within a character. */
static struct slice
cut(struct slice text, size_t max)
{
	if (text.n <= max)
		return text;
	while (max > 0 && ((unsigned char)text.p[max] & 0xc0) == 0x80)
		max--;
	return slice_make(text.p, max);
}

void
cfg_quote(struct sbuf *out, struct slice text)
{
	struct slice shown = cut(text, QUOTE_MAX);

	sbuf_add_json(out, shown);
	if (shown.n < text.n)
		sbuf_adds(out, "...");
}

static bool
is_plain_key(struct slice key)
{
	if (key.n == 0 || key.n > QUOTE_MAX)
		return false;
	for (size_t i = 0; i < key.n; i++)
		if (key.p[i] <= ' ' || key.p[i] >= 0x7f || key.p[i] == '"')
			return false;
	return true;
}

void
cfg_path_push(struct sbuf *path, struct slice key)
{
	if (path->n > 0)
		sbuf_addc(path, '.');
	if (is_plain_key(key))
		sbuf_add_slice(path, key);
	else
		cfg_quote(path, key);
}

char *
cfg_path(const struct cfg *c, struct arena *a, struct slice text)
{
	if (text.n > 0 && text.p[0] == '/')
		return arena_strndup(a, text.p, text.n);
	while (slice_starts(text, SLICE("./")))
		text = slice_skip(text, 2);
	return arena_printf(
		a, "%s%s%.*s", c->dir, strcmp(c->dir, "/") == 0 ? "" : "/", SLICE_ARG(text));
}
