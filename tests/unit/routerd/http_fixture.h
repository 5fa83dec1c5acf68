/*
 * http_fixture: configuration text in, what routerd's tests need out: a bound configuration with
 * its findings, or a compiled snapshot whose pools are made up.
 */
#ifndef TESTS_HTTP_FIXTURE_H
#define TESTS_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/sbuf.h"
#include "routerd/backend.h"
#include "routerd/snapshot.h"

static inline struct daemon_cfg *
fixture_bind(const char *text, struct errs *errs)
{
	struct cfg *cfg = cfg_parse("t.yaml", "/conf", slice_str(text), errs);

	if (!cfg)
		return NULL;

	struct daemon_cfg *dc = xcalloc(1, sizeof(*dc));
	struct cfg_ctx ctx = { .cfg = cfg, .arena = &dc->arena, .errs = errs };

	dc->cfg = cfg;
	atomic_init(&dc->refs, 1);
	arena_init(&dc->arena, 4096);
	commoncfg_bind(&ctx, &dc->common);
	dc->own = arena_calloc(&dc->arena, 1, httpcfg_schema.size);
	cfg_bind(&ctx, &httpcfg_schema, cfg_get(cfg->root, "http"), "http", NULL, dc->own);
	config_check(&ctx, dc);
	return dc;
}

/* Aborts the test when the text is wrong. */
static inline struct snapshot *
fixture_snapshot(const char *text)
{
	struct errs errs = { 0 };
	struct daemon_cfg *dc = fixture_bind(text, &errs);
	struct sbuf out = { 0 };

	errs_format(&errs, &out);
	if (errs.error_count)
		fail_msg("%s", out.p);

	struct snapshot *s = snapshot_new(dc, 1, &errs);

	assert_non_null(s);
	sbuf_fini(&out);
	errs_fini(&errs);
	return s;
}

#endif
