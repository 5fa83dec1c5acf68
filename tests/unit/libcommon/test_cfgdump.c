/*
 * cfgdump: a schema of every type: what is dumped of a file and of the schema itself, and what a
 * reload cannot change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/unit/libcommon/cfg_kinds.h"

static json_t *
entry_of(const json_t *array, const char *path)
{
	json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)array, i,
		entry) if (strcmp(json_string_value(json_object_get(entry, "path")), path) ==
		0) return entry;
	fail_msg("no entry %s", path);
	return NULL;
}

static void
check_entry(const json_t *array, const char *path, const char *value, const char *origin)
{
	json_t *entry = entry_of(array, path);
	char *got = json_dumps(json_object_get(entry, "value"), JSON_ENCODE_ANY | JSON_COMPACT);

	if (strcmp(got, value) != 0)
		fail_msg("%s: got %s, want %s", path, got, value);
	assert_string_equal(json_string_value(json_object_get(entry, "origin")), origin);
	free(got);
}

static void
test_dump(void **state)
{
	json_t *array = json_array();
	struct bound b;

	(void)state;
	bind_text(&b, full);
	cfg_dump(b.cfg, &schema, b.cfg->root, "", array);
	check_entry(array, "flag", "false", "w.yaml:1");
	check_entry(array, "count", "10", "w.yaml:2");
	check_entry(array, "share", "0.25", "w.yaml:4");
	check_entry(array, "wait", "\"1h\"", "w.yaml:5");
	check_entry(array, "size", "\"1m\"", "w.yaml:7");
	check_entry(array, "text", "\"1.20\"", "w.yaml:8");
	check_entry(array, "path", "\"/etc/weir/x/y\"", "w.yaml:10");
	check_entry(array, "color", "\"light_blue\"", "w.yaml:11");
	check_entry(array, "nets", "[\"10.0.0.0/8\",\"fd00::/8\"]", "w.yaml:14");
	check_entry(array, "pairs", "{\"A\":\"1\",\"B\":\"two\"}", "w.yaml:17");
	check_entry(array, "inner.n", "5", "default");
	check_entry(array, "log.level", "9", "w.yaml:19");
	check_entry(array, "items[0].name", "\"short\"", "w.yaml:20");
	check_entry(array, "items[0].n", "7", "default");
	check_entry(array, "named.x.n", "2", "w.yaml:21");
	check_entry(array, "named.y.n", "7", "default");
	check_entry(array, "custom", "[\"1\",\"2\",\"3\"]", "w.yaml:22");
	check_entry(array, "password", "\"***\"", "w.yaml:23");
	json_decref(array);
	unbind(&b);

	array = json_array();
	bind_text(&b, "");
	cfg_dump(b.cfg, &schema, b.cfg->root, "top", array);
	check_entry(array, "top.flag", "true", "default");
	check_entry(array, "top.wait", "\"10s\"", "default");
	check_entry(array, "top.text", "null", "default");
	check_entry(array, "top.texts", "[\"one\"]", "default");
	check_entry(array, "top.path", "\"/etc/weir/run\"", "default");
	check_entry(array, "top.inner", "null", "default");
	check_entry(array, "top.log.level", "3", "default");
	check_entry(array, "top.items", "[]", "default");
	check_entry(array, "top.named", "{}", "default");
	json_decref(array);
	unbind(&b);
}

/* A file that says what is shown says the same: a dollar sign that begins nothing is told from one
 * that begins a variable. */
static void
test_dump_dollars(void **state)
{
	json_t *array = json_array();
	struct bound b;

	(void)state;
	bind_text(&b,
		"text: 'a$$$$b$'\npath: 'x$${y}'\ntexts: ['$${a}', '$5']\n"
		"rules: {A: '$${a} ${a} $$${a}', B: ['$${a}', '$${']}\n");
	cfg_dump(b.cfg, &schema, b.cfg->root, "", array);
	check_entry(array, "text", "\"a$$$b$\"", "w.yaml:1");
	check_entry(array, "path", "\"/etc/weir/x$${y}\"", "w.yaml:2");
	check_entry(array, "texts", "[\"$${a}\",\"$5\"]", "w.yaml:3");
	check_entry(array, "rules", "{\"A\":\"$${a} ${a} $$${a}\",\"B\":[\"$${a}\",\"$${\"]}",
		"w.yaml:4");
	json_decref(array);
	unbind(&b);
}

struct diff_case {
	const char *before;
	const char *after;
	const char *warnings;
};

#define WARNS "a reload cannot change this, the old value stays until a restart\n"

static const struct diff_case diffs[] = {
	{ "count: 3", "count: 3", "" },
	{ "count: 3", "{count: '3', flag: off}", "" },
	/* A default that is spelled out is no change. */
	{ "", "count: 2", "" },
	{ "count: 3", "count: 4", "w.yaml:1:1: warning: count: " WARNS },
	{ "count: 3", "flag: on", "w.yaml: warning: count: " WARNS },
	/* Members are found by name, wherever they stand. */
	{ "items: [{name: a, n: 1}, {name: b, n: 2}]", "items: [{name: b, n: 2}, {name: a, n: 1}]",
		"" },
	{ "items: [a, b]", "items: [c, {name: b, n: 8}]",
		"w.yaml:1:22: warning: items[1].n: " WARNS },
	{ "named: {a: {n: 1}, b: {n: 2}}", "named: {b: {n: 3}, c: {n: 4}}",
		"w.yaml:1:13: warning: named.b.n: " WARNS },
	{ "named: {a: {n: 1}}", "flag: on", "" },
};

static void
test_restart_diff(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(diffs) / sizeof(*diffs); i++) {
		struct bound a;
		struct bound b;
		struct errs errs = { 0 };
		struct sbuf got = { 0 };

		bind_text(&a, diffs[i].before);
		bind_text(&b, diffs[i].after);
		cfg_restart_diff(a.cfg, b.cfg, &schema, a.cfg->root, b.cfg->root, "", &errs);
		errs_sort(&errs);
		errs_format(&errs, &got);
		if (strcmp(sbuf_str(&got), diffs[i].warnings) != 0)
			fail_msg("%s -> %s:\n got %s\nwant %s", diffs[i].before, diffs[i].after,
				got.p, diffs[i].warnings);
		assert_int_equal(errs.error_count, 0);
		sbuf_fini(&got);
		errs_fini(&errs);
		unbind(&a);
		unbind(&b);
	}
}

static void
check_schema_entry(const json_t *array, const char *path, const char *want)
{
	char *got = json_dumps(entry_of(array, path), JSON_COMPACT);

	if (strcmp(got, want) != 0)
		fail_msg("%s:\n got %s\nwant %s", path, got, want);
	free(got);
}

static void
test_schema_dump(void **state)
{
	json_t *array = json_array();

	(void)state;
	cfg_schema_dump(&schema, "", array);
	check_schema_entry(array, "count",
		"{\"path\":\"count\",\"type\":\"integer\",\"unit\":\"percent\",\"default\":\"2\","
		"\"choices\":null,\"min\":1,\"max\":10,\"required\":false,\"restart\":true,"
		"\"help\":null}");
	check_schema_entry(array, "wait",
		"{\"path\":\"wait\",\"type\":\"duration\",\"unit\":\"ms, s, m, h or d\","
		"\"default\":\"10s\",\"choices\":null,\"min\":\"1ms\",\"max\":\"1h\","
		"\"required\":false,\"restart\":false,\"help\":null}");
	check_schema_entry(array, "color",
		"{\"path\":\"color\",\"type\":\"choice\",\"unit\":null,\"default\":\"green\","
		"\"choices\":[\"red\",\"green\",\"light_blue\"],\"min\":null,\"max\":null,"
		"\"required\":false,\"restart\":false,\"help\":null}");
	check_schema_entry(array, "addr",
		"{\"path\":\"addr\",\"type\":\"address\",\"unit\":null,\"default\":null,"
		"\"choices\":null,\"min\":null,\"max\":null,\"default_port\":80,\"required\":false,"
		"\"restart\":false,\"help\":null}");
	entry_of(array, "inner.must");
	entry_of(array, "log.level");
	entry_of(array, "items[].name");
	entry_of(array, "named.NAME.n");
	json_decref(array);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dump),
		cmocka_unit_test(test_dump_dollars),
		cmocka_unit_test(test_restart_diff),
		cmocka_unit_test(test_schema_dump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
