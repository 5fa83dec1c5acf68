/*
 * cfg: what a file becomes as a tree, and every message that a bad one gets, word for word. Texts
 * are fed from exact-size heap copies.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcommon/cfg.h"

static struct cfg *
parse(struct slice text, struct errs *errs)
{
	char *copy = xmalloc(text.n);
	struct cfg *c;

	memcpy(copy, text.p, text.n);
	c = cfg_parse("w.yaml", "/etc/weir", slice_make(copy, text.n), errs);
	free(copy);
	return c;
}

/* The tree as one line: {key: [text, ...]}; quoted texts in quotes, nulls as ~, broken ones as !.
 */
static void
show(const struct cfg_node *n, struct sbuf *out)
{
	const char *open = n->kind == CFG_SEQUENCE ? "[" : "{";

	if (n->is_broken) {
		sbuf_adds(out, "!");
		return;
	}
	if (n->kind == CFG_SCALAR) {
		const char *quote = n->is_quoted ? "'" : "";

		sbuf_addf(out, "%s%.*s%s", quote, SLICE_ARG(n->text), quote);
		for (size_t i = 0; i < n->var_count; i++)
			sbuf_addf(out, "@%u", n->vars[i]);
		if (n->is_null)
			sbuf_addc(out, '~');
		assert_int_equal(n->text.p[n->text.n], '\0');
		return;
	}
	sbuf_adds(out, open);
	size_t count = 0;

	for (const struct cfg_node *c = n->first; c != NULL; c = c->next, count++) {
		sbuf_adds(out, count ? ", " : "");
		if (n->kind == CFG_MAPPING)
			sbuf_addf(out, "%.*s: ", SLICE_ARG(c->key));
		show(c, out);
	}
	assert_int_equal(count, n->count);
	sbuf_adds(out, *open == '[' ? "]" : "}");
}

struct yaml_case {
	const char *name;
	const char *text;
	const char *tree;   /* NULL: refused as a whole; "": empty */
	const char *errors; /* lines; "": none */
};

static const struct yaml_case cases[] = {
	{ "empty", "", "", "" },
	{ "comment only", "# nothing\n", "", "" },
	{ "null document", "--- ~\n", "", "" },
	{ "plain", "a: 1\nb: x y\n", "{a: 1, b: x y}", "" },
	{ "byte order mark",
		"\xef\xbb\xbf"
		"a: 1\n",
		"{a: 1}", "" },
	{ "markers and directive", "%YAML 1.1\n---\na: 1\n...\n", "{a: 1}", "" },
	{ "quotes", "a: '1'\nb: \"2\"\nc: |\n  3\n", "{a: '1', b: '2', c: '3\n'}", "" },
	{ "nulls", "a:\nb: ~\nc: null\nd: ''\n", "{a: ~, b: ~~, c: null~, d: ''}", "" },
	{ "nested", "a: [1, [2, {b: 3}]]\n", "{a: [1, [2, {b: 3}]]}", "" },
	{ "crlf", "a: 1\r\nb: 2\r\n", "{a: 1, b: 2}", "" },
	{ "utf-8", "a: caf\xc3\xa9\n", "{a: caf\xc3\xa9}", "" },

	{ "alias", "a: &x [1]\nb: *x\nc: *x\n", "{a: [1], b: [1], c: [1]}", "" },
	{ "alias of a key", "&k a: 1\nb: *k\n", "{a: 1, b: a}", "" },
	{ "anchor given again", "a: &x 1\nb: &x 2\nc: *x\n", "{a: 1, b: 2, c: 2}", "" },
	{ "inner anchor of the same name", "a: &x [&x 1]\nb: *x\n", "{a: [1], b: 1}", "" },
	{ "alias without anchor", "a: *nope\nb: 1\n", "{a: !, b: 1}",
		"w.yaml:1:4: a: no anchor \"nope\" stands above this alias\n" },
	{ "alias before its anchor", "a: *x\nb: &x 1\n", "{a: !, b: 1}",
		"w.yaml:1:4: a: no anchor \"x\" stands above this alias\n" },
	{ "alias in its own anchor", "a: &x [1, *x]\n", "{a: [1, !]}",
		"w.yaml:1:11: a[1]: the alias \"x\" stands within its own anchor\n" },

	{ "merge", "a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n", "{a: {p: 1, q: 2}, b: {q: 3, p: 1}}",
		"" },
	{ "merge after its own key", "a: &x {p: 1}\nb:\n  p: 2\n  <<: *x\n",
		"{a: {p: 1}, b: {p: 2}}", "" },
	{ "merge of several, earlier ones win",
		"a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc:\n  <<: [*x, *y]\n",
		"{a: {p: 1}, b: {p: 2, q: 2}, c: {p: 1, q: 2}}", "" },
	{ "merge of a merge", "a: &x {p: 1}\nb: &y {<<: *x}\nc: {<<: *y, q: 2}\n",
		"{a: {p: 1}, b: {p: 1}, c: {q: 2, p: 1}}", "" },
	{ "merge of an inline mapping", "a: {<<: {p: 1}, q: 2}\n", "{a: {q: 2, p: 1}}", "" },
	{ "what is merged stays what it is for others",
		"a: {<<: [&x {p: 1, q: 2, r: 3}, &y {s: 4}], q: 5}\nb: *x\nc: *y\n",
		"{a: {q: 5, p: 1, r: 3, s: 4}, b: {p: 1, q: 2, r: 3}, c: {s: 4}}", "" },
	{ "a quoted << is a key", "a: {'<<': 1}\n", "{a: {<<: 1}}", "" },
	{ "merge of text", "a: {<<: 1}\n", "{a: {}}",
		"w.yaml:1:9: a.<<: expected an alias of a mapping, or a list of such\n" },
	{ "merge of a list with text", "a: {<<: [{p: 1}, x]}\n", "{a: {p: 1}}",
		"w.yaml:1:18: a.<<: expected an alias of a mapping, or a list of such\n" },

	{ "duplicate key", "a:\n  b: 1\n  c: 2\n  b: 3\n", "{a: {b: 1, c: 2}}",
		"w.yaml:4:3: a.b: duplicate key, the first one is at 2:3\n" },
	{ "duplicate key, however quoted", "b: 1\n'b': 3\n", "{b: 1}",
		"w.yaml:2:1: b: duplicate key, the first one is at 1:1\n" },
	{ "three of a key", "b: 1\nb: 2\nb: 3\n", "{b: 1}",
		"w.yaml:2:1: b: duplicate key, the first one is at 1:1\n"
		"w.yaml:3:1: b: duplicate key, the first one is at 1:1\n" },
	{ "empty key", "'': 1\na: 2\n", "{a: 2}", "w.yaml:1:1: an empty key\n" },
	{ "list as a key", "? [1, 2]\n: 3\na: 2\n", "{a: 2}",
		"w.yaml:1:3: a key that is no plain text, expected a word\n" },
	{ "odd keys in paths", "\"a\\nb\":\n  x: 1\n  x: 2\n", "{a\nb: {x: 1}}",
		"w.yaml:3:3: \"a\\u000ab\".x: duplicate key, the first one is at 2:3\n" },

	{ "tag str", "a: !!str 1\n", "{a: '1'}", "" },
	{ "tag int", "a: !!int 1\n", "{a: !}",
		"w.yaml:1:4: a: a YAML tag, expected none: the key decides what a value is\n" },
	{ "tag of ours", "a: !x [1]\n", "{a: !}",
		"w.yaml:1:4: a: a YAML tag, expected none: the key decides what a value is\n" },
	{ "NUL", "a: \"x\\0y\"\n", "{a: !}", "w.yaml:1:4: a: a NUL byte within text\n" },

	{ "variable", "a: ${W_ONE}\nb: \"<${W_ONE}>\"\n", "{a: one, b: '<one>'}", "" },
	{ "variable in single quotes and in a flow", "{a: '${W_ONE}', b: [\"${W_ONE}\"]}\n",
		"{a: 'one', b: ['one']}", "" },
	{ "empty variable is text", "a: ${W_EMPTY}\n", "{a: }", "" },
	{ "variable is not looked at again", "a: ${W_DOLLAR}\n", "{a: ${W_ONE}}", "" },
	{ "variable adds no structure", "a: ${W_YAML}\n", "{a: x: [1, 2]}", "" },
	{ "dollars", "a: $$\nb: $${W_ONE}\nc: x$\nd: $1$\ne: $$$$\n",
		"{a: $, b: ${W_ONE}, c: x$, d: $1$, e: $$}", "" },
	{ "small letters stay", "a: ${cache_status} ${path}\n", "{a: ${cache_status} ${path}@0@16}",
		"" },
	{ "small letters behind others", "a: ${W_ONE}$$${b}\n", "{a: one$${b}@4}", "" },
	{ "six of them", "a: ${a}${b}${c}${d}${e}${f}\n",
		"{a: ${a}${b}${c}${d}${e}${f}@0@4@8@12@16@20}", "" },
	{ "small letters that are text", "a: $${path} ${W_VAR}\n", "{a: ${path} ${x}}", "" },
	{ "an alias has them, too", "a: &x ${b}\nc: *x\n", "{a: ${b}@0, c: ${b}@0}", "" },
	{ "keys are not substituted", "'${W_ONE}': 1\n", "{${W_ONE}: 1}", "" },
	{ "unset variables, all of them", "a: ${W_UNSET}\nb: [x, \"-${W_UNSET2}-\"]\n",
		"{a: !, b: [x, !]}",
		"w.yaml:1:4: a: ${W_UNSET}: the environment variable W_UNSET is not set\n"
		"w.yaml:2:8: b[1]: ${W_UNSET2}: the environment variable W_UNSET2 is not set\n" },
	{ "unclosed variable", "a: ${W_ONE\n", "{a: !}",
		"w.yaml:1:4: a: \"${W_ONE\": expected ${NAME} with letters, digits and _, or $$ for "
		"a dollar sign\n" },
	{ "no name", "a: x ${} y\n", "{a: !}",
		"w.yaml:1:4: a: \"${} y\": expected ${NAME} with letters, digits and _, or $$ for a "
		"dollar sign\n" },
	{ "odd name", "a: ${1X}\n", "{a: !}",
		"w.yaml:1:4: a: \"${1X}\": expected ${NAME} with letters, digits and _, or $$ for a "
		"dollar sign\n" },
	{ "default syntax of shells", "a: ${W_ONE:-x}\n", "{a: !}",
		"w.yaml:1:4: a: \"${W_ONE:-x}\": expected ${NAME} with letters, digits and _, or $$ "
		"for a dollar sign\n" },
	{ "variable that is not UTF-8", "a: ${W_BYTES}\n", "{a: !}",
		"w.yaml:1:4: a: ${W_BYTES}: the environment variable W_BYTES is not UTF-8\n" },

	{ "second document", "a: 1\n---\nb: 2\n", "{a: 1}",
		"w.yaml:2:1: a second document, expected one a file\n" },
	{ "tab", "a:\n\tb: 1\n", NULL, "w.yaml:2:1: a tab in the indentation, expected spaces\n" },
	{ "tab after spaces", "a:\n  b: 1\n \tc: 1\n", NULL,
		"w.yaml:3:2: a tab in the indentation, expected spaces\n" },
	{ "tab in a list", "a:\n- x\n\t- y: 1\n", NULL,
		"w.yaml:3:1: a tab in the indentation, expected spaces\n" },
	{ "tabs elsewhere are fine", "a:\t1\t# x\n", "{a: 1}", "" },
	{ "unclosed list", "a: [1\nb: 2\n", NULL,
		"w.yaml:2:2: not valid YAML: did not find expected ',' or ']', while parsing a "
		"flow sequence that begins at 1:4\n" },
	{ "two colons", "a: b: c\n", NULL,
		"w.yaml:1:5: not valid YAML: mapping values are not allowed in this context\n" },
	{ "bad indentation", "a:\n  b: 1\n c: 2\n", NULL,
		"w.yaml:3:2: not valid YAML: did not find expected key, while parsing a block "
		"mapping that begins at 1:1\n" },
	{ "not UTF-8", "a: 1\nb: x\xff\n", NULL,
		"w.yaml:2:5: not UTF-8 (byte 0xff), expected UTF-8 text\n" },
	{ "cut UTF-8", "a: \xc3", NULL,
		"w.yaml:1:4: not UTF-8 (byte 0xc3), expected UTF-8 text\n" },
	{ "UTF-16",
		"\xff\xfe"
		"a",
		NULL, "w.yaml:1:1: not UTF-8 (byte 0xff), expected UTF-8 text\n" },
	{ "control character", "a: \x07\n", NULL,
		"w.yaml:1:4: a control character (0x07), expected text\n" },
	{ "variable in a flow without quotes", "a: {b: ${W_ONE}}\n", NULL,
		"w.yaml:1:9: not valid YAML: did not find expected ',' or '}', while parsing a flow "
		"mapping that begins at 1:4 (${NAME} needs quotes within [] and {})\n" },
	{ "errors before the syntax error are kept", "a: ${W_UNSET}\nb: [\n", NULL,
		"w.yaml:1:4: a: ${W_UNSET}: the environment variable W_UNSET is not set\n"
		"w.yaml:3:1: not valid YAML: did not find expected node content, while parsing a "
		"flow node that begins at 3:1\n" },
};

static void
check_errors(const char *name, struct errs *errs, const char *want)
{
	struct sbuf got = { 0 };

	errs_sort(errs);
	errs_format(errs, &got);
	if (strcmp(sbuf_str(&got), want) != 0)
		fail_msg("%s:\n got %s\nwant %s", name, sbuf_str(&got), want);
	sbuf_fini(&got);
}

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct yaml_case *t = &cases[i];
		struct errs errs = { 0 };
		struct cfg *c = parse(slice_str(t->text), &errs);
		struct sbuf tree = { 0 };

		check_errors(t->name, &errs, t->errors);
		if ((c == NULL) != (t->tree == NULL))
			fail_msg("%s: %s", t->name, c ? "taken" : "refused");
		if (c != NULL && c->root != NULL)
			show(c->root, &tree);
		if (c != NULL && strcmp(sbuf_str(&tree), t->tree) != 0)
			fail_msg("%s:\n got %s\nwant %s", t->name, tree.p, t->tree);
		sbuf_fini(&tree);
		errs_fini(&errs);
		cfg_free(c);
	}
}

/* Every beginning of every case: nothing may be read past the end. */
static void
test_prefixes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (size_t n = 0; n < strlen(cases[i].text); n++) {
			struct errs errs = { 0 };
			struct cfg *c = parse(slice_make(cases[i].text, n), &errs);

			assert_true(c != NULL || errs.error_count > 0);
			errs_fini(&errs);
			cfg_free(c);
		}
	}
}

static void
expect_refused(const char *name, const struct sbuf *text, const char *want)
{
	struct errs errs = { 0 };
	struct cfg *c = parse(sbuf_slice(text), &errs);

	assert_null(c);
	check_errors(name, &errs, want);
	errs_fini(&errs);
}

static void
test_alias_bomb(void **state)
{
	struct sbuf text = { 0 };

	(void)state;
	sbuf_adds(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 10; i++) {
		sbuf_addf(&text, "a%d: &a%d [", i, i);
		for (int k = 0; k < 10; k++)
			sbuf_addf(&text, "%s*a%d", k ? ", " : "", i - 1);
		sbuf_adds(&text, "]\n");
	}
	expect_refused("bomb", &text,
		"w.yaml:6:45: a5[7]: the document has over 1000000 values, aliases counted where "
		"they are used\n");
	sbuf_fini(&text);
}

static void
test_depth(void **state)
{
	struct sbuf text = { 0 };
	struct errs errs = { 0 };
	struct cfg *c;

	(void)state;
	for (int i = 0; i < CFG_DEPTH_MAX - 1; i++)
		sbuf_adds(&text, "[");
	sbuf_adds(&text, "x");
	for (int i = 0; i < CFG_DEPTH_MAX - 1; i++)
		sbuf_adds(&text, "]");
	c = parse(sbuf_slice(&text), &errs);
	assert_non_null(c);
	assert_int_equal(errs.n, 0);
	cfg_free(c);

	sbuf_clear(&text);
	for (int i = 0; i < 100000; i++)
		sbuf_adds(&text, "[");
	errs_fini(&errs);
	c = parse(sbuf_slice(&text), &errs);
	assert_null(c);
	assert_int_equal(errs.n, 1);
	assert_string_equal(errs.v[0].text, "nested deeper than 32 levels");
	errs_fini(&errs);
	sbuf_fini(&text);
}

/* Each anchor is shallow, the use of one in another is not. */
static void
test_depth_by_alias(void **state)
{
	struct sbuf text = { 0 };

	(void)state;
	sbuf_adds(&text,
		"a: &a [[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]\n"
		"b: [[[[[[[[[[[[*a]]]]]]]]]]]]\n");
	expect_refused("depth", &text,
		"w.yaml:2:16: b[0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 32 levels "
		"through an alias\n");
	sbuf_fini(&text);
}

static void
test_size(void **state)
{
	struct sbuf text = { 0 };

	(void)state;
	memset(sbuf_reserve(&text, CFG_BYTES_MAX + 1), '#', CFG_BYTES_MAX + 1);
	text.n = CFG_BYTES_MAX + 1;
	expect_refused("size", &text, "w.yaml: larger than 32 MB\n");
	sbuf_fini(&text);
}

/* A small file and a large variable. */
static void
test_variable_bomb(void **state)
{
	struct sbuf text = { 0 };
	char *big = xmalloc(100001);

	(void)state;
	memset(big, 'x', 100000);
	big[100000] = '\0';
	setenv("W_BIG", big, 1);
	sbuf_adds(&text, "a:\n");
	for (int i = 0; i < 400; i++)
		sbuf_adds(&text, "- ${W_BIG}\n");
	expect_refused("many", &text,
		"w.yaml:337:3: a[335]: the document grows beyond 32 MB when variables are "
		"replaced\n");
	unsetenv("W_BIG");
	free(big);
	sbuf_fini(&text);
}

static void
test_findings_are_capped(void **state)
{
	struct sbuf text = { 0 };
	struct errs errs = { 0 };

	(void)state;
	for (int i = 0; i < 2000; i++)
		sbuf_addf(&text, "k%d: ${W_UNSET}\n", i);
	cfg_free(parse(sbuf_slice(&text), &errs));
	assert_int_equal(errs.n, CFG_FINDINGS_MAX + 1);
	errs_fini(&errs);
	sbuf_fini(&text);
}

/* Sorting, not comparing each with each: 200,000 keys take well under a second. */
static void
test_many_keys(void **state)
{
	struct sbuf text = { 0 };
	struct errs errs = { 0 };
	struct cfg *c;

	(void)state;
	for (int i = 0; i < 200000; i++)
		sbuf_addf(&text, "k%d: 1\n", i);
	c = parse(sbuf_slice(&text), &errs);
	assert_non_null(c);
	assert_int_equal(c->root->count, 200000);
	assert_int_equal(errs.n, 0);
	cfg_free(c);
	sbuf_fini(&text);
}

static void
test_places(void **state)
{
	struct errs errs = { 0 };
	struct cfg *c = parse(SLICE("a:\n  - b: caf\xc3\xa9\n    c: &x 2\nd: *x\n"), &errs);
	struct cfg_node *item = cfg_get(c->root, "a")->first;
	struct err_at at;

	(void)state;
	at = cfg_at(c, cfg_get(item, "c"));
	assert_string_equal(at.file, "w.yaml");
	assert_int_equal(at.line, 3);
	assert_int_equal(at.col, 8);
	at = cfg_key_at(c, cfg_get(item, "c"));
	assert_int_equal(at.col, 5);
	at = cfg_key_at(c, item);
	assert_int_equal(at.line, 2);
	assert_int_equal(at.col, 5);
	/* An alias: the value where it is written, the key where it is used. */
	at = cfg_at(c, cfg_get(c->root, "d"));
	assert_int_equal(at.line, 3);
	at = cfg_key_at(c, cfg_get(c->root, "d"));
	assert_int_equal(at.line, 4);
	assert_null(cfg_get(c->root, "nope"));
	assert_null(cfg_get(item->first, "scalar"));
	assert_null(cfg_get(NULL, "a"));
	cfg_free(c);
}

static void
test_paths(void **state)
{
	struct errs errs = { 0 };
	struct cfg *c = parse(SLICE("a: 1"), &errs);
	struct cfg *root = cfg_parse("w", "/", SLICE("a: 1"), &errs);

	(void)state;
	assert_string_equal(cfg_path(c, c->arena, SLICE("/abs/x")), "/abs/x");
	assert_string_equal(cfg_path(c, c->arena, SLICE("x/y")), "/etc/weir/x/y");
	assert_string_equal(cfg_path(c, c->arena, SLICE("././x")), "/etc/weir/x");
	assert_string_equal(cfg_path(c, c->arena, SLICE("../x")), "/etc/weir/../x");
	assert_string_equal(cfg_path(root, c->arena, SLICE("x")), "/x");
	cfg_free(c);
	cfg_free(root);
}

/* The reference values of FNV-1a, 128 bits. */
static void
test_hash(void **state)
{
	struct errs errs = { 0 };
	struct cfg *none = parse(SLICE(""), &errs);
	struct cfg *a = parse(SLICE("a"), &errs);

	(void)state;
	assert_string_equal(none->hash, "6c62272e07bb014262b821756295c58d");
	assert_string_equal(a->hash, "d228cb696f1a8caf78912b704e4a8964");
	cfg_free(none);
	cfg_free(a);
}

/* The keys of what is left, each with its line. */
static void
test_rest(void **state)
{
	static const struct {
		const char *name;
		const char *text;
		const char *keys;
	} rests[] = {
		{ "whole", "a: 1\nb: 2\n", "a1 b2" },
		{ "in the middle", "a: 1\nb:\n  c: [\n  d: 1\ne: 2\n", "a1" },
		{ "a value too much", "a: 1\nb: x: y\nc: 2\n", "a1 c3" },
		{ "indentation", "a: 1\nb:\n    c: 1\n  d: 2\ne: 2\n", "a1 e5" },
		{ "a quote that never ends", "a: 1\nb: \"x\nc: 2\n", "a1" },
		{ "a tab", "a: 1\nb:\n\tc: 1\nd: 2\n", "a1 d4" },
		{ "half a word at its end", "a: 1\nb: 2\ncc", "a1 b2" },
		{ "the first", "a: x: y\nb: 2\n", "b2" },
		{ "comments and a list at the margin", "# x\nl:\n- 1\n- b: c: d\ne: 1\n", "e5" },
		{ "nothing but that", "a: x: y\n", "" },
		{ "no text", "a: 1\n\xff\n", "a1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rests) / sizeof(*rests); i++) {
		size_t n = strlen(rests[i].text);
		char *exact = xmalloc(n);
		struct sbuf keys = { 0 };
		struct cfg *c;

		memcpy(exact, rests[i].text, n);
		c = cfg_parse_rest("w", "/", slice_make(exact, n));
		free(exact);
		sbuf_adds(&keys, "");
		for (const struct cfg_node *k = c && c->root ? c->root->first : NULL; k;
			k = k->next)
			sbuf_addf(&keys, "%s%.*s%u", keys.n > 0 ? " " : "", SLICE_ARG(k->key),
				k->key_line);
		if (c == NULL || strcmp(keys.p, rests[i].keys) != 0)
			fail_msg("%s: '%s'", rests[i].name, c ? keys.p : "none");
		sbuf_fini(&keys);
		cfg_free(c);
	}
}

/* From a descriptor that others share: from its beginning, and its place stays; from a pipe. */
static void
test_load_fd(void **state)
{
	struct errs errs = { 0 };
	char hash[CFG_HASH];
	FILE *f = tmpfile();
	struct cfg *c;
	int fds[2];

	(void)state;
	assert_non_null(f);
	fputs("a: 1\n", f);
	fflush(f);
	for (int i = 0; i < 2; i++) {
		c = cfg_load_fd(fileno(f), "/no/such/w.yaml", "/no/such", hash, &errs);
		assert_non_null(c);
		assert_string_equal(c->file, "/no/such/w.yaml");
		assert_string_equal(c->dir, "/no/such");
		assert_string_equal(c->hash, hash);
		cfg_free(c);
		assert_int_equal(lseek(fileno(f), 0, SEEK_CUR), 5);
	}
	assert_null(cfg_load_fd(fileno(f), "/no/such/w.yaml", NULL, hash, &errs));
	assert_string_equal(errs.v[0].text, "cannot read: No such file or directory");
	assert_string_equal(hash, "");
	fclose(f);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "a: 2\n", 5), 5);
	close(fds[1]);
	c = cfg_load_fd(fds[0], "w", "/", hash, &errs);
	assert_non_null(c);
	assert_true(slice_eq(cfg_get(c->root, "a")->text, SLICE("2")));
	cfg_free(c);
	close(fds[0]);
	errs_fini(&errs);
}

static void
test_load(void **state)
{
	char dir[] = "/tmp/test_cfg.XXXXXX";
	struct errs errs = { 0 };
	struct cfg *c;
	char *path;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	path = xasprintf("%s/./w.yaml", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("a: 1\n", f);
	fclose(f);
	c = cfg_load(path, &errs);
	assert_non_null(c);
	assert_string_equal(c->file, path);
	assert_string_equal(c->dir, dir);
	cfg_free(c);
	unlink(path);
	assert_null(cfg_load(path, &errs));
	assert_string_equal(errs.v[0].text, "cannot read: No such file or directory");
	assert_null(cfg_load(dir, &errs));
	assert_string_equal(errs.v[1].text, "cannot read: Is a directory");
	errs_fini(&errs);
	rmdir(dir);
	free(path);
}

/* Of a file as of the same bytes; "" and the reason of one that cannot be read, or is too long. */
static void
test_hash_file(void **state)
{
	char path[] = "/tmp/test_cfg.XXXXXX";
	int fd = mkstemp(path);
	char hash[CFG_HASH];

	(void)state;
	assert_int_equal(write(fd, "a", 1), 1);
	assert_int_equal(cfg_hash_file(path, hash), 0);
	assert_string_equal(hash, "d228cb696f1a8caf78912b704e4a8964");
	assert_int_equal(ftruncate(fd, CFG_BYTES_MAX + 1), 0);
	assert_int_equal(cfg_hash_file(path, hash), -1);
	assert_int_equal(errno, EFBIG);
	assert_string_equal(hash, "");
	close(fd);
	unlink(path);
	strcpy(hash, "x");
	assert_int_equal(cfg_hash_file(path, hash), -1);
	assert_int_equal(errno, ENOENT);
	assert_string_equal(hash, "");
	/* Nobody waits for who may write into a pipe. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(cfg_hash_file(path, hash), -1);
	assert_int_equal(errno, EINVAL);
	unlink(path);
	assert_int_equal(cfg_hash_file("/tmp", hash), -1);
	assert_int_equal(errno, EISDIR);
}

static void
test_quote(void **state)
{
	struct sbuf out = { 0 };
	char e[130];

	(void)state;
	cfg_quote(&out, SLICE("a\"\n"));
	assert_string_equal(out.p, "\"a\\\"\\u000a\"");
	/* Not cut within a character. */
	sbuf_clear(&out);
	e[0] = 'x';
	for (int i = 1; i < 129; i += 2)
		memcpy(e + i, "\xc3\xa9", 2);
	cfg_quote(&out, slice_make(e, 129));
	assert_int_equal(out.n, 1 + 63 + 1 + 3);
	assert_memory_equal(out.p + 62, "\xc3\xa9\"...", 6);
	sbuf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_alias_bomb),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_depth_by_alias),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_variable_bomb),
		cmocka_unit_test(test_findings_are_capped),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_load_fd),
		cmocka_unit_test(test_hash_file),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_quote),
	};

	setenv("W_ONE", "one", 1);
	setenv("W_EMPTY", "", 1);
	setenv("W_DOLLAR", "${W_ONE}", 1);
	setenv("W_VAR", "${x}", 1);
	setenv("W_YAML", "x: [1, 2]", 1);
	setenv("W_BYTES", "\xff", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
