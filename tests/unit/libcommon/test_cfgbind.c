/*
 * cfgbind: a schema of every type: what is bound, and what is said about what cannot be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/libcommon/cfg_kinds.h"

static void
check_defaults(const struct all *a)
{
	assert_true(a->flag);
	assert_int_equal(a->count, 2);
	assert_int_equal(a->any, 0);
	assert_true(a->share == 0.5);
	assert_int_equal(a->wait_ms, 10000);
	assert_int_equal(a->age_ms, 0);
	assert_int_equal(a->size, 65536);
	assert_null(a->text);
	assert_string_equal(a->full, "f");
	assert_string_equal(a->path, "/etc/weir/run");
	assert_int_equal(a->color, 1);
	assert_int_equal(a->addr.port, 0);
	assert_int_equal(a->nets.n, 0);
	assert_int_equal(a->texts.n, 1);
	assert_string_equal(*CFG_AT(char *, a->texts, 0), "one");
	assert_int_equal(a->statuses.n, 1);
	assert_int_equal(CFG_AT(struct cfg_range, a->statuses, 0)->hi, 399);
	assert_int_equal(a->pairs.n, 0);
	assert_null(a->inner.node);
	assert_null(a->inner.must);
	assert_int_equal(a->inner.n, 5);
	assert_int_equal(a->level, 3);
	assert_int_equal(a->items.n, 0);
	assert_int_equal(a->named.n, 0);
	assert_int_equal(a->custom, 0);
	assert_null(a->password);
}

/* An empty file and an empty mapping: all defaults, nothing in absent mappings is required. */
static void
test_defaults(void **state)
{
	struct bound b;

	(void)state;
	bind_text(&b, "");
	assert_int_equal(b.errs.n, 0);
	check_defaults(&b.all);
	assert_null(b.all.node);
	unbind(&b);
	bind_text(&b, "{}");
	assert_int_equal(b.errs.n, 0);
	check_defaults(&b.all);
	assert_non_null(b.all.node);
	unbind(&b);
	/* Containers whose content is commented out. */
	bind_text(&b, "nets:\ntexts:\npairs:\nlog:\nnamed:\n");
	assert_int_equal(b.errs.n, 0);
	assert_int_equal(b.all.texts.n, 0);
	assert_int_equal(b.all.level, 3);
	unbind(&b);
}

static void
test_all_types(void **state)
{
	struct bound b;
	const struct all *a = &b.all;

	(void)state;
	bind_text(&b, full);
	assert_int_equal(b.errs.n, 0);
	assert_false(a->flag);
	assert_int_equal(a->count, 10);
	assert_int_equal(a->any, -4);
	assert_true(a->share == 0.25);
	assert_int_equal(a->wait_ms, 3600000);
	assert_int_equal(a->age_ms, 86400000);
	assert_int_equal(a->size, 1 << 20);
	assert_string_equal(a->text, "1.20");
	assert_string_equal(a->full, "007");
	assert_string_equal(a->path, "/etc/weir/x/y");
	assert_int_equal(a->color, 2);
	assert_int_equal(a->addr.kind, ADDR_IP);
	assert_int_equal(a->addr.port, 80);
	assert_int_equal(a->listen.kind, ADDR_UNIX);
	assert_string_equal(a->listen.addr.un.sun_path, "/etc/weir/run/x.sock");
	assert_int_equal(a->nets.n, 2);
	assert_int_equal(CFG_AT(struct addr_net, a->nets, 0)->family, AF_INET);
	assert_int_equal(CFG_AT(struct addr_net, a->nets, 1)->bits, 8);
	assert_int_equal(a->texts.n, 2);
	assert_string_equal(*CFG_AT(char *, a->texts, 1), "");
	assert_int_equal(a->statuses.n, 2);
	assert_int_equal(CFG_AT(struct cfg_range, a->statuses, 0)->hi, 200);
	assert_int_equal(CFG_AT(struct cfg_range, a->statuses, 1)->lo, 300);
	assert_int_equal(a->pairs.n, 2);
	assert_string_equal(CFG_AT(struct cfg_pair, a->pairs, 1)->name, "B");
	assert_string_equal(CFG_AT(struct cfg_pair, a->pairs, 1)->value, "two");
	assert_string_equal(a->inner.must, "x");
	assert_int_equal(a->inner.n, 5);
	assert_non_null(a->inner.node);
	assert_int_equal(a->level, 9);
	assert_int_equal(a->items.n, 2);
	assert_string_equal(CFG_AT(struct item, a->items, 0)->name, "short");
	assert_int_equal(CFG_AT(struct item, a->items, 0)->n, 7);
	assert_int_equal(CFG_AT(struct item, a->items, 1)->n, 1);
	assert_int_equal(a->named.n, 2);
	assert_string_equal(CFG_AT(struct item, a->named, 0)->name, "x");
	assert_int_equal(CFG_AT(struct item, a->named, 0)->n, 2);
	assert_string_equal(CFG_AT(struct item, a->named, 1)->name, "y");
	assert_int_equal(CFG_AT(struct item, a->named, 1)->n, 7);
	assert_int_equal(a->custom, 3);
	assert_string_equal(a->password, "pw");
	unbind(&b);
}

/* The key decides: quotes and variables change nothing. */
static void
test_spellings(void **state)
{
	static const char *const on[] = { "on", "On", "true", "TRUE", "yes", "'yes'" };
	static const char *const off[] = { "off", "false", "False", "no", "\"off\"" };
	struct bound b;
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(on) / sizeof(*on); i++) {
		snprintf(text, sizeof(text), "flag: %s", on[i]);
		bind_text(&b, text);
		assert_true(b.errs.n == 0 && b.all.flag);
		unbind(&b);
	}
	for (size_t i = 0; i < sizeof(off) / sizeof(*off); i++) {
		snprintf(text, sizeof(text), "flag: %s", off[i]);
		bind_text(&b, text);
		assert_true(b.errs.n == 0 && !b.all.flag);
		unbind(&b);
	}
	setenv("W_COUNT", "4", 1);
	bind_text(&b, "{count: '${W_COUNT}', any: \"8\", age: 0, size: 2048}");
	assert_int_equal(b.errs.n, 0);
	assert_int_equal(b.all.count, 4);
	assert_int_equal(b.all.any, 8);
	assert_int_equal(b.all.size, 2048);
	unbind(&b);
	/* One member needs no list. */
	bind_text(&b, "{texts: x, nets: 10.1.2.3, statuses: 204}");
	assert_int_equal(b.errs.n, 0);
	assert_int_equal(b.all.nets.n, 1);
	assert_int_equal(CFG_AT(struct cfg_range, b.all.statuses, 0)->lo, 204);
	unbind(&b);
}

static void
expect_rule(const struct bound *b, size_t i, const char *name, const char *value, size_t vars)
{
	const struct cfg_pair *p = CFG_AT(const struct cfg_pair, b->all.rules, i);

	assert_string_equal(p->name, name);
	assert_string_equal(p->value, value);
	assert_int_equal(p->node->var_count, vars);
}

/* A name with a list of texts stands there once for each. */
static void
test_repeated_pairs(void **state)
{
	struct bound b;

	(void)state;
	bind_text(&b, "rules: {a: [one, '${two} $${three}'], b: '', c: [e], d: x}");
	assert_int_equal(b.errs.n, 0);
	assert_int_equal(b.all.rules.n, 5);
	expect_rule(&b, 0, "a", "one", 0);
	expect_rule(&b, 1, "a", "${two} ${three}", 1);
	expect_rule(&b, 2, "b", "", 0);
	expect_rule(&b, 3, "c", "e", 0);
	expect_rule(&b, 4, "d", "x", 0);
	unbind(&b);
}

struct bad_case {
	const char *text;
	const char *errors;
};

#define KEYS                                                                                      \
	"flag, count, any, share, wait, age, size, text, full, path, color, addr, listen, nets, " \
	"texts, statuses, pairs, rules, inner, log, items, named, custom, password, foreign"

static const struct bad_case bad[] = {
	{ "[1]", "w.yaml:1:1: found a list, expected a mapping\n" },
	{ "text", "w.yaml:1:1: found \"text\", expected a mapping\n" },

	{ "colour: red", "w.yaml:1:1: colour: unknown key, did you mean \"color\"?\n" },
	{ "foreing: 1", "w.yaml:1:1: foreing: unknown key, did you mean \"foreign\"?\n" },
	{ "zzzzzz: 1", "w.yaml:1:1: zzzzzz: unknown key, expected one of " KEYS "\n" },
	{ "inner: {must: x, m: 1}", "w.yaml:1:18: inner.m: unknown key, did you mean \"n\"?\n" },
	{ "items: [{name: a, nam: b}]",
		"w.yaml:1:19: items[0].nam: unknown key, did you mean \"name\"?\n" },
	{ "named: {x: {zzz: 1}}", "w.yaml:1:13: named.x.zzz: unknown key, expected one of n\n" },

	{ "flag: maybe", "w.yaml:1:7: flag: \"maybe\" is not valid, expected on or off\n" },
	{ "flag: 1", "w.yaml:1:7: flag: \"1\" is not valid, expected on or off\n" },
	{ "flag:", "w.yaml:1:6: flag: empty, expected on or off\n" },
	{ "flag: [on]", "w.yaml:1:7: flag: found a list, expected on or off\n" },
	{ "flag: {a: 1}", "w.yaml:1:7: flag: found a mapping, expected on or off\n" },

	{ "count: 0",
		"w.yaml:1:8: count: \"0\" is out of range, expected a whole number from 1 to 10\n" },
	{ "count: 11",
		"w.yaml:1:8: count: \"11\" is out of range, expected a whole number from 1 to 10\n" },
	{ "count: x",
		"w.yaml:1:8: count: \"x\" is not valid, expected a whole number from 1 to 10\n" },
	{ "count: 1.5",
		"w.yaml:1:8: count: \"1.5\" is not valid, expected a whole number from 1 to 10\n" },
	{ "any: 010", "w.yaml:1:6: any: \"010\" has a leading zero, expected a whole number\n" },
	{ "any: -08", "w.yaml:1:6: any: \"-08\" has a leading zero, expected a whole number\n" },
	{ "any: 0x10", "w.yaml:1:6: any: \"0x10\" is not valid, expected a whole number\n" },
	{ "any: 1_000", "w.yaml:1:6: any: \"1_000\" is not valid, expected a whole number\n" },
	{ "any: 1:30", "w.yaml:1:6: any: \"1:30\" is not valid, expected a whole number\n" },
	{ "any: +1", "w.yaml:1:6: any: \"+1\" is not valid, expected a whole number\n" },
	{ "any: 9223372036854775808",
		"w.yaml:1:6: any: \"9223372036854775808\" is not valid, expected a whole number\n" },
	{ "any: 3", "w.yaml:1:1: any: odd, expected an even number\n" },

	{ "share: 1.5",
		"w.yaml:1:8: share: \"1.5\" is out of range, expected a number from 0 to 1\n" },
	{ "share: nan",
		"w.yaml:1:8: share: \"nan\" is not valid, expected a number from 0 to 1\n" },
	{ "share: 0x1",
		"w.yaml:1:8: share: \"0x1\" is not valid, expected a number from 0 to 1\n" },
	{ "share: 1.2.3",
		"w.yaml:1:8: share: \"1.2.3\" is not valid, expected a number from 0 to 1\n" },

	{ "wait: 10",
		"w.yaml:1:7: wait: \"10\" has no unit, expected a duration such as \"10s\"\n" },
	{ "wait: 10 s",
		"w.yaml:1:7: wait: \"10 s\" is not valid, expected a duration from 1ms to 1h\n" },
	{ "wait: -5s",
		"w.yaml:1:7: wait: \"-5s\" is not valid, expected a duration from 1ms to 1h\n" },
	{ "wait: 2h",
		"w.yaml:1:7: wait: \"2h\" is out of range, expected a duration from 1ms to 1h\n" },
	{ "wait: 0",
		"w.yaml:1:7: wait: \"0\" is out of range, expected a duration from 1ms to 1h\n" },
	{ "age: x", "w.yaml:1:6: age: \"x\" is not valid, expected a duration such as \"30s\"\n" },
	{ "size: 10", "w.yaml:1:7: size: \"10\" is out of range, expected a size from 1k to 1g\n" },
	{ "size: 10kb",
		"w.yaml:1:7: size: \"10kb\" is not valid, expected a size from 1k to 1g\n" },
	{ "size: 010k",
		"w.yaml:1:7: size: \"010k\" has a leading zero, expected a size from 1k to 1g\n" },

	{ "full: ''", "w.yaml:1:7: full: empty, expected text\n" },
	{ "full:", "w.yaml:1:6: full: empty, expected text\n" },
	{ "text: ~", "w.yaml:1:7: text: empty, expected text\n" },
	{ "text: [a]", "w.yaml:1:7: text: found a list, expected text\n" },
	{ "path: ''", "w.yaml:1:7: path: empty, expected a path\n" },
	{ "color: gren", "w.yaml:1:8: color: \"gren\" is not known, did you mean \"green\"?\n" },
	{ "color: light-blue",
		"w.yaml:1:8: color: \"light-blue\" is not known, did you mean \"light_blue\"?\n" },
	{ "color: mauve",
		"w.yaml:1:8: color: \"mauve\" is not known, expected one of red, green, "
		"light_blue\n" },

	{ "addr: \"a\\nb:80\"",
		"w.yaml:1:7: addr: \"a\\u000ab:80\" is not valid, expected an "
		"address such as \"127.0.0.1:8080\"\n" },
	{ "addr: 'unix:'",
		"w.yaml:1:7: addr: \"unix:\" has no path, expected an address such as "
		"\"127.0.0.1:8080\"\n" },
	{ "statuses: [200, abc, 99, 600, 300-200, 200-]",
		"w.yaml:1:17: statuses[1]: \"abc\" is not valid, expected a status such as 200 or "
		"\"200-399\"\n"
		"w.yaml:1:22: statuses[2]: \"99\" is not valid, expected a status such as 200 or "
		"\"200-399\"\n"
		"w.yaml:1:26: statuses[3]: \"600\" is not valid, expected a status such as 200 or "
		"\"200-399\"\n"
		"w.yaml:1:31: statuses[4]: \"300-200\" is the wrong way round, expected a status "
		"such as 200 or \"200-399\"\n"
		"w.yaml:1:40: statuses[5]: \"200-\" is not valid, expected a status such as 200 or "
		"\"200-399\"\n" },
	{ "statuses: []",
		"w.yaml:1:1: statuses: empty, expected a list of statuses such as 200 or "
		"\"200-399\"\n" },
	{ "texts: {a: 1}", "w.yaml:1:8: texts: found a mapping, expected a list of texts\n" },
	{ "texts: [a, [b]]", "w.yaml:1:12: texts[1]: found a list, expected a list of texts\n" },
	{ "pairs: [a]", "w.yaml:1:8: pairs: found a list, expected a mapping of names to texts\n" },
	{ "pairs: {a: [1]}", "w.yaml:1:12: pairs.a: found a list, expected text\n" },
	{ "rules: {a: []}", "w.yaml:1:12: rules.a: found an empty list, expected text\n" },
	{ "rules: {a: [{b: 1}]}", "w.yaml:1:13: rules.a: found a mapping, expected text\n" },
	{ "text: 'a ${b} c'",
		"w.yaml:1:7: text: ${b}: no variables are replaced here, expected $${b} for this "
		"text\n" },
	{ "count: '${b}'",
		"w.yaml:1:8: count: ${b}: no variables are replaced here, expected $${b} for this "
		"text\n" },
	{ "texts: [a, '${b}']",
		"w.yaml:1:12: texts[1]: ${b}: no variables are replaced here, expected $${b} for "
		"this text\n" },
	{ "pairs: {a: '${b}'}",
		"w.yaml:1:12: pairs.a: ${b}: no variables are replaced here, expected $${b} for "
		"this text\n" },

	{ "inner: {n: 1}", "w.yaml:1:1: inner.must: missing, expected text\n" },
	{ "inner:", "w.yaml:1:1: inner.must: missing, expected text\n" },
	{ "inner: 5", "w.yaml:1:8: inner: found \"5\", expected a mapping\n" },
	{ "log: [1]", "w.yaml:1:6: log: found a list, expected a mapping\n" },
	{ "items: []", "w.yaml:1:1: items: empty, expected a list of items\n" },
	{ "items:", "w.yaml:1:1: items: empty, expected a list of items\n" },
	{ "items: x", "w.yaml:1:8: items: found \"x\", expected a list of items\n" },
	{ "items: {a: 1}", "w.yaml:1:8: items: found a mapping, expected a list of items\n" },
	{ "items: [[a]]", "w.yaml:1:9: items[0]: found a list, expected a mapping\n" },
	{ "items: [{n: 1}]", "w.yaml:1:9: items[0].name: missing, expected text\n" },
	{ "items: [{name: a, n: 13}]", "w.yaml:1:9: items[0]: thirteen\n" },
	{ "named: [a]",
		"w.yaml:1:8: named: found a list, expected a mapping of names to things\n" },
	{ "named: {a: 1}", "w.yaml:1:12: named.a: found \"1\", expected a mapping\n" },
	{ "custom: 1", "w.yaml:1:1: custom: expected a list\n" },
	{ "password: [x]", "w.yaml:1:11: password: found a list, expected text\n" },

	/* Broken already: nothing more is said, and nothing is missing. */
	{ "inner: {must: '${W_UNSET}'}",
		"w.yaml:1:15: inner.must: ${W_UNSET}: the environment "
		"variable W_UNSET is not set\n" },
	{ "items: [*nope]", "w.yaml:1:9: items[0]: no anchor \"nope\" stands above this alias\n" },
	{ "log: !x {level: z}",
		"w.yaml:1:6: log: a YAML tag, expected none: the key decides what "
		"a value is\n" },

	/* All at once. */
	{ "flag: 3\ncolour: x\nitems:\n- {n: x}\n- {name: a, n: 13}\nwait: 5\n",
		"w.yaml:1:7: flag: \"3\" is not valid, expected on or off\n"
		"w.yaml:2:1: colour: unknown key, did you mean \"color\"?\n"
		"w.yaml:4:3: items[0].name: missing, expected text\n"
		"w.yaml:4:7: items[0].n: \"x\" is not valid, expected a whole number\n"
		"w.yaml:5:3: items[1]: thirteen\n"
		"w.yaml:6:7: wait: \"5\" has no unit, expected a duration such as \"5s\"\n" },
};

static void
test_messages(void **state)
{
	struct bound b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct sbuf got = { 0 };

		bind_text(&b, bad[i].text);
		errs_sort(&b.errs);
		errs_format(&b.errs, &got);
		if (strcmp(sbuf_str(&got), bad[i].errors) != 0)
			fail_msg("%s:\n got %s\nwant %s", bad[i].text, got.p, bad[i].errors);
		sbuf_fini(&got);
		unbind(&b);
	}
}

/* A long socket path names its limit; addr's own messages come through. */
static void
test_addresses(void **state)
{
	struct bound b;
	char text[300];
	char *deep = xmalloc(201);

	(void)state;
	memset(deep, 'd', 200);
	deep[200] = '\0';
	snprintf(text, sizeof(text), "listen: unix:%s", deep);
	bind_text(&b, text);
	assert_int_equal(b.errs.n, 1);
	assert_non_null(strstr(b.errs.v[0].text, "is too long as a socket path (/etc/weir/ddd"));
	assert_non_null(strstr(b.errs.v[0].text, "expected at most 107 bytes"));
	unbind(&b);
	bind_text(&b, "{listen: localhost, nets: [10.0.0.0/40, x], addr: '1.2.3.4.5'}");
	assert_int_equal(b.errs.n, 4);
	for (size_t i = 0; i < b.errs.n; i++)
		assert_int_equal(b.errs.v[i].text[0], '"');
	unbind(&b);
	free(deep);
}

/* After an error the default stands; a list keeps only members that are sound. */
static void
test_recovery(void **state)
{
	struct bound b;

	(void)state;
	checks_run = 0;
	bind_text(&b,
		"{count: 99, wait: 10, color: x, texts: [a, [b], c], statuses: [1],\n"
		"items: [{n: 1}, {name: a}, {name: b, n: x}], full: '', path: ''}");
	assert_int_equal(b.all.count, 2);
	assert_int_equal(b.all.wait_ms, 10000);
	assert_int_equal(b.all.color, 1);
	assert_int_equal(b.all.texts.n, 2);
	assert_string_equal(*CFG_AT(char *, b.all.texts, 1), "c");
	assert_int_equal(b.all.statuses.n, 0);
	assert_string_equal(b.all.full, "f");
	assert_string_equal(b.all.path, "/etc/weir/run");
	assert_int_equal(b.all.items.n, 2);
	assert_string_equal(CFG_AT(struct item, b.all.items, 0)->name, "a");
	assert_int_equal(CFG_AT(struct item, b.all.items, 1)->n, 7);
	/* Not for the one without a name. */
	assert_int_equal(checks_run, 2);
	unbind(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_all_types),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_repeated_pairs),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_recovery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
