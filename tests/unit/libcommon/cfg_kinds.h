/*
 * cfg_kinds: a schema of every type, and texts bound by it: what test_cfgbind and test_cfgdump have
 * in common.
 */
#ifndef TESTS_LIBCOMMON_CFG_KINDS_H
#define TESTS_LIBCOMMON_CFG_KINDS_H

#include "libcommon/addr.h"
#include "libcommon/cfgbind.h"

struct item {
	const struct cfg_node *node;
	char *name;
	int64_t n;
};

struct inner {
	const struct cfg_node *node;
	char *must;
	int64_t n;
};

struct all {
	const struct cfg_node *node;
	bool flag;
	int64_t count;
	int64_t any;
	double share;
	int64_t wait_ms;
	int64_t age_ms;
	uint64_t size;
	char *text;
	char *full;
	char *path;
	int color;
	struct addr_spec addr;
	struct addr_spec listen;
	struct cfg_list nets;
	struct cfg_list texts;
	struct cfg_list statuses;
	struct cfg_list pairs;
	struct cfg_list rules;
	struct inner inner;
	int64_t level;
	struct cfg_list items;
	struct cfg_list named;
	int custom;
	char *password;
};

static int checks_run;

static void
check_item(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct item *item = obj;

	checks_run++;
	assert_non_null(item->name);
	assert_ptr_equal(item->node, node);
	if (item->n == 13)
		cfg_error(ctx, node, path, "thirteen");
}

static const struct cfg_row item_rows[] = {
	CFG_ROW(struct item, name, "name", CFGT_STRING, .flags = CFG_REQUIRED),
	CFG_ROW(struct item, n, "n", CFGT_INT, .def = "7", .flags = CFG_RESTART),
	CFG_NODE_ROW(struct item, node),
	CFG_END,
};
static const struct cfg_schema item_schema = {
	.name = "item",
	.size = sizeof(struct item),
	.rows = item_rows,
	.short_key = "name",
	.check = check_item,
};

static const struct cfg_row named_rows[] = {
	CFG_KEY_ROW(struct item, name),
	CFG_ROW(struct item, n, "n", CFGT_INT, .def = "7", .flags = CFG_RESTART),
	CFG_NODE_ROW(struct item, node),
	CFG_END,
};
static const struct cfg_schema named_schema = {
	.name = "thing",
	.size = sizeof(struct item),
	.rows = named_rows,
	.check = check_item,
};

static const struct cfg_row inner_rows[] = {
	CFG_ROW(struct inner, must, "must", CFGT_STRING, .flags = CFG_REQUIRED),
	CFG_ROW(struct inner, n, "n", CFGT_INT, .def = "5"),
	CFG_NODE_ROW(struct inner, node),
	CFG_END,
};
static const struct cfg_schema inner_schema = {
	.name = "inner",
	.size = sizeof(struct inner),
	.rows = inner_rows,
};

static const struct cfg_row log_rows[] = {
	CFG_ROW(struct all, level, "level", CFGT_INT, .def = "3"),
	CFG_END,
};
static const struct cfg_schema log_schema = {
	.name = "log",
	.size = sizeof(struct all),
	.rows = log_rows,
};

static void
parse_custom(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	if (node->kind != CFG_SEQUENCE)
		cfg_error(ctx, node, path, "expected a list");
	else
		*(int *)field = (int)node->count;
}

static void
parse_even(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	if (*(int64_t *)field % 2 != 0)
		cfg_error(ctx, node, path, "odd, expected an even number");
}

static const char *const colors[] = { "red", "green", "light_blue", NULL };

static const struct cfg_row rows[] = {
	CFG_ROW(struct all, flag, "flag", CFGT_BOOL, .def = "on", .help = "a flag"),
	CFG_ROW(struct all, count, "count", CFGT_INT, .def = "2", .min = 1, .max = 10,
		.unit = "percent", .flags = CFG_RESTART),
	CFG_ROW(struct all, any, "any", CFGT_INT, .parse = parse_even),
	CFG_ROW(struct all, share, "share", CFGT_DECIMAL, .def = "0.5", .max = 1),
	CFG_ROW(struct all, wait_ms, "wait", CFGT_DURATION, .def = "10s", .min = 1, .max = 3600000),
	CFG_ROW(struct all, age_ms, "age", CFGT_DURATION),
	CFG_ROW(struct all, size, "size", CFGT_SIZE, .def = "64k", .min = 1024, .max = 1 << 30),
	CFG_ROW(struct all, text, "text", CFGT_STRING),
	CFG_ROW(struct all, full, "full", CFGT_STRING, .def = "f", .flags = CFG_NONEMPTY),
	CFG_ROW(struct all, path, "path", CFGT_PATH, .def = "run"),
	CFG_ROW(struct all, color, "color", CFGT_ENUM, .def = "green", .choices = colors),
	CFG_ROW(struct all, addr, "addr", CFGT_ADDR, .min = 80),
	CFG_ROW(struct all, listen, "listen", CFGT_ADDR),
	CFG_ROW(struct all, nets, "nets", CFGT_NET_LIST),
	CFG_ROW(struct all, texts, "texts", CFGT_STRING_LIST, .def = "one"),
	CFG_ROW(struct all, statuses, "statuses", CFGT_STATUS_LIST, .def = "200-399",
		.flags = CFG_NONEMPTY),
	CFG_ROW(struct all, pairs, "pairs", CFGT_PAIRS),
	CFG_ROW(struct all, rules, "rules", CFGT_PAIRS, .flags = CFG_VARS | CFG_REPEAT),
	CFG_ROW(struct all, inner, "inner", CFGT_MAP, .sub = &inner_schema),
	CFG_SUB_ROW("log", &log_schema),
	CFG_ROW(struct all, items, "items", CFGT_LIST, .sub = &item_schema, .flags = CFG_NONEMPTY),
	CFG_ROW(struct all, named, "named", CFGT_NAMED, .sub = &named_schema),
	CFG_ROW(struct all, custom, "custom", CFGT_CUSTOM, .parse = parse_custom),
	CFG_ROW(struct all, password, "password", CFGT_STRING, .flags = CFG_SECRET),
	CFG_NODE_ROW(struct all, node),
	CFG_END,
};
static const struct cfg_schema schema = {
	.name = "test",
	.size = sizeof(struct all),
	.rows = rows,
};

/* One of each. */
static const char full[] = "flag: no\ncount: 10\nany: -4\nshare: 0.25\nwait: 1h\nage: 1d\n"
			   "size: 1m\ntext: 1.20\nfull: 007\npath: ./x/y\ncolor: light_blue\n"
			   "addr: '[::1]'\nlisten: unix:run/x.sock\nnets: [10.0.0.0/8, fd00::/8]\n"
			   "texts: [a, '']\nstatuses: [200, 300-399]\npairs: {A: 1, B: two}\n"
			   "inner: {must: x}\nlog: {level: 9}\n"
			   "items: [short, {name: long, n: 1}]\nnamed: {x: {n: 2}, y: }\n"
			   "custom: [1, 2, 3]\npassword: pw\nforeign: {anything: [goes]}\n";

static const char *const others[] = { "foreign", NULL };

struct bound {
	struct errs errs;
	struct cfg *cfg;
	struct arena arena;
	struct all all;
};

static void
bind_text(struct bound *b, const char *text)
{
	*b = (struct bound){ 0 };
	arena_init(&b->arena, 0);
	b->cfg = cfg_parse("w.yaml", "/etc/weir", slice_str(text), &b->errs);
	assert_non_null(b->cfg);

	struct cfg_ctx ctx = { .cfg = b->cfg, .arena = &b->arena, .errs = &b->errs };

	/* Zeroing is the binder's. */
	memset(&b->all, 0xa5, sizeof(b->all));
	cfg_bind(&ctx, &schema, b->cfg->root, "", others, &b->all);
}

static void
unbind(struct bound *b)
{
	errs_fini(&b->errs);
	arena_fini(&b->arena);
	cfg_free(b->cfg);
}

#endif
