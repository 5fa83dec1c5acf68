/*
 * http_conf: what a fuzzer's own configuration makes of routerd; one that is wrong is told of.
 */
#ifndef TESTS_FUZZ_HTTP_CONF_H
#define TESTS_FUZZ_HTTP_CONF_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcommon/sbuf.h"
#include "routerd/snapshot.h"

static inline void
conf_must_be_right(const struct errs *errs)
{
	struct sbuf out = { 0 };

	if (errs->error_count == 0)
		return;
	errs_format(errs, &out);
	fprintf(stderr, "%s\n", out.p);
	abort();
}

/* Paths in it begin in dir. */
static inline struct snapshot *
conf_snapshot(const char *text, const char *dir)
{
	struct errs errs = { 0 };
	struct daemon_cfg *dc = xcalloc(1, sizeof(*dc));
	struct cfg_ctx ctx = { .arena = &dc->arena, .errs = &errs };
	struct snapshot *s;

	ctx.cfg = dc->cfg = cfg_parse("fuzz.yaml", dir, slice_str(text), &errs);
	conf_must_be_right(&errs);
	atomic_init(&dc->refs, 1);
	arena_init(&dc->arena, 4096);
	commoncfg_bind(&ctx, &dc->common);
	dc->own = arena_calloc(&dc->arena, 1, httpcfg_schema.size);
	cfg_bind(&ctx, &httpcfg_schema, cfg_get(dc->cfg->root, "http"), "http", NULL, dc->own);
	config_check(&ctx, dc);
	conf_must_be_right(&errs);
	s = snapshot_new(dc, 1, &errs);
	conf_must_be_right(&errs);
	errs_fini(&errs);
	return s;
}

#endif
