/* area: libcommon */
/*
 * yaml: a configuration file of anybody's: read, bound by the common schema, dumped and compared
 * with itself. What is taken must be dumped whole, and a file never differs from itself.
 */
#include <jansson.h>
#include <stdlib.h>

#include "libcommon/poolcfg.h"

static void
dump(const struct cfg *cfg)
{
	json_t *array = json_array();
	struct errs differences = { 0 };

	cfg_dump(cfg, &commoncfg_schema, cfg->root, "", array);
	if (json_array_size(array) == 0)
		abort();
	json_decref(array);
	cfg_restart_diff(cfg, cfg, &commoncfg_schema, cfg->root, cfg->root, "", &differences);
	if (differences.n > 0)
		abort();
	errs_fini(&differences);
}

/* What a check promises about what it let pass. */
static void
verify(const struct commoncfg *common)
{
	if (strlen(common->run_dir) > COMMONCFG_RUN_DIR_MAX)
		abort();
	for (size_t i = 0; i < common->pools.n; i++) {
		const struct poolcfg *pool = CFG_AT(struct poolcfg, common->pools, i);

		if (pool->servers.n == 0 || commoncfg_pool(common, pool->name) != pool)
			abort();
		for (size_t k = 0; k < pool->servers.n; k++)
			if (CFG_AT(struct servercfg, pool->servers, k)->name[0] == '\0')
				abort();
	}
}

static void
bind_all(const struct cfg *cfg, struct errs *errs)
{
	struct commoncfg common;
	struct arena arena;
	struct cfg_ctx ctx = { .cfg = cfg, .arena = &arena, .errs = errs };

	arena_init(&arena, 0);
	commoncfg_bind(&ctx, &common);
	if (errs->error_count == 0)
		verify(&common);
	dump(cfg);
	arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct errs errs = { 0 };
	struct sbuf text = { 0 };
	struct cfg *cfg =
		cfg_parse("w.yaml", "/etc/weir", slice_make((const char *)data, size), &errs);

	if (cfg == NULL && errs.error_count == 0)
		abort();
	/* What is left of one that cannot be read. */
	if (cfg == NULL)
		cfg = cfg_parse_rest("w.yaml", "/etc/weir", slice_make((const char *)data, size));
	if (cfg != NULL)
		bind_all(cfg, &errs);
	errs_sort(&errs);
	errs_format(&errs, &text);
	sbuf_fini(&text);
	errs_fini(&errs);
	cfg_free(cfg);
	return 0;
}
