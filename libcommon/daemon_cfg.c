/*
 * daemon_cfg: one configuration as a daemon sees it: the common part and its own section, read,
 * bound and checked in one arena; and the three ways to print it.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/daemon_parts.h"
#include "libcommon/jsonput.h"

static struct daemon_cfg *
cfg_wrap(struct cfg *cfg)
{
	struct daemon_cfg *dc = xcalloc(1, sizeof(*dc));

	dc->cfg = cfg;
	arena_init(&dc->arena, 16384);
	atomic_init(&dc->refs, 1);
	return dc;
}

struct daemon_cfg *
daemon_cfg_ref(struct daemon_cfg *dc)
{
	atomic_fetch_add(&dc->refs, 1);
	return dc;
}

void
daemon_cfg_free(struct daemon_cfg *dc)
{
	if (dc == NULL || atomic_fetch_sub(&dc->refs, 1) > 1)
		return;
	arena_fini(&dc->arena);
	cfg_free(dc->cfg);
	free(dc);
}

const struct cfg_node *
daemon_cfg_section(const struct daemon_ops *ops, const struct daemon_cfg *dc)
{
	return ops->section != NULL ? cfg_get(dc->cfg->root, ops->section) : NULL;
}

/*
 * A file need not have a section for every daemon: the others' checks run over it all the same. So
 * what a missing section lacks is only an error for the daemon that is to run by it.
 */
static void
bind_section(const struct daemon_ops *ops, struct cfg_ctx *ctx, struct daemon_cfg *dc)
{
	const struct cfg_node *node = daemon_cfg_section(ops, dc);
	struct errs missing = { 0 };
	struct errs *errs = ctx->errs;

	dc->has_section = node != NULL || ops->section == NULL;
	if (ops->schema == NULL)
		return;
	dc->own = arena_calloc(&dc->arena, 1, ops->schema->size);
	if (node == NULL)
		ctx->errs = &missing;
	cfg_bind(ctx, ops->schema, node, ops->section ? ops->section : "", NULL, dc->own);
	ctx->errs = errs;
	if (missing.error_count > 0)
		dc->own = NULL;
	errs_fini(&missing);
}

/* Bound and checked; dc->own is NULL when its section is missing and cannot be all defaults. */
static struct daemon_cfg *
load(const struct daemon_ops *ops, const struct daemon_source *src, char hash[static CFG_HASH],
	struct errs *errs)
{
	struct cfg *cfg = src->fd >= 0 ? cfg_load_fd(src->fd, src->file, src->dir, hash, errs)
				       : cfg_load_hash(src->file, hash, errs);

	if (cfg == NULL)
		return NULL;

	struct daemon_cfg *dc = cfg_wrap(cfg);
	struct cfg_ctx ctx = { .cfg = cfg, .arena = &dc->arena, .errs = errs };

	commoncfg_bind(&ctx, &dc->common);
	bind_section(ops, &ctx, dc);
	if (ops->check != NULL && (dc->own != NULL || ops->schema == NULL))
		ops->check(&ctx, dc);
	errs_sort(errs);
	if (errs->error_count == 0)
		return dc;
	daemon_cfg_free(dc);
	return NULL;
}

struct daemon_cfg *
daemon_cfg_load(const struct daemon_ops *ops, const struct daemon_source *src,
	char hash[static CFG_HASH], struct errs *errs)
{
	struct daemon_cfg *dc = load(ops, src, hash, errs);

	if (dc == NULL || dc->own != NULL || ops->schema == NULL)
		return dc;
	errs_add(errs, FINDING_ERROR, (struct err_at){ .file = src->file }, ops->section,
		"the section is missing, and %s has nothing to do without it", ops->program);
	daemon_cfg_free(dc);
	return NULL;
}

json_t *
daemon_findings_json(const struct errs *errs)
{
	json_t *array = json_array();

	for (size_t i = 0; i < errs->n; i++) {
		const struct finding *f = &errs->v[i];
		json_t *o = json_object();

		jsonput_text(o, "file", f->file);
		jsonput_int(o, "line", f->line);
		jsonput_int(o, "col", f->col);
		jsonput_text(o, "level", f->level == FINDING_ERROR ? "error" : "warning");
		jsonput_text(o, "path", f->path);
		jsonput_text(o, "text", f->text);
		json_array_append_new(array, o);
	}
	return array;
}

void
daemon_log_findings(const struct errs *errs, const char *event)
{
	for (size_t i = 0; i < errs->n; i++) {
		const struct finding *f = &errs->v[i];
		struct sbuf at = { 0 };

		sbuf_adds(&at, f->file ? f->file : "-");
		if (f->line > 0)
			sbuf_addf(&at, ":%u:%u", f->line, f->col);
		LOG_AT(f->level == FINDING_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, event,
			L_STR("at", at.p), L_STR("path", f->path), L_STR("text", f->text));
		sbuf_fini(&at);
	}
}

static void
print_json(json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(json);
}

int
daemon_cfg_check(const struct daemon_ops *ops, const struct daemon_source *src)
{
	struct errs errs = { 0 };
	char hash[CFG_HASH];
	struct daemon_cfg *dc = load(ops, src, hash, &errs);
	int code = errs.error_count > 0 ? 2 : 0;

	print_json(daemon_findings_json(&errs));
	daemon_cfg_free(dc);
	errs_fini(&errs);
	return code;
}

int
daemon_cfg_print(const struct daemon_ops *ops, const struct daemon_source *src)
{
	struct errs errs = { 0 };
	char hash[CFG_HASH];
	struct daemon_cfg *dc = load(ops, src, hash, &errs);

	if (dc == NULL) {
		struct sbuf text = { 0 };

		errs_format(&errs, &text);
		fputs(text.p, stderr);
		sbuf_fini(&text);
		errs_fini(&errs);
		return 2;
	}

	json_t *array = json_array();

	cfg_dump(dc->cfg, &commoncfg_schema, dc->cfg->root, "", array);
	if (ops->schema != NULL && dc->own != NULL)
		cfg_dump(dc->cfg, ops->schema, daemon_cfg_section(ops, dc), ops->section, array);
	print_json(array);
	daemon_cfg_free(dc);
	errs_fini(&errs);
	return 0;
}

int
daemon_cfg_schema(const struct daemon_ops *ops)
{
	json_t *array = json_array();

	cfg_schema_dump(&commoncfg_schema, "", array);
	if (ops->schema != NULL)
		cfg_schema_dump(ops->schema, ops->section ? ops->section : "", array);
	print_json(array);
	return 0;
}
