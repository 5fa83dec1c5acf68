/*
 * plan: which processes a configuration needs, and which of them are the same after a change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "proxyctl/plan.h"

static char folder[] = "/tmp/weir-plan.XXXXXX";

struct planned_site {
	struct site site;
	struct plan plan;
};

static void
load(struct planned_site *ps, const char *text)
{
	char *path = xasprintf("%s/w.yaml", folder);
	FILE *f = fopen(path, "w");
	char hash[CFG_HASH];

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(site_read(&ps->site, path, hash), 0);
	assert_int_equal(ps->site.errs.error_count, 0);
	assert_string_equal(hash, ps->site.cfg->hash);
	assert_string_equal(ps->site.file, path);
	plan_make(&ps->plan, &ps->site);
	free(path);
}

static void
unload(struct planned_site *ps)
{
	plan_fini(&ps->plan);
	site_free(&ps->site);
}

/* "name stage, ..." */
static char *
names(const struct plan *p)
{
	struct sbuf out = { 0 };

	sbuf_adds(&out, "");
	for (size_t i = 0; i < p->n; i++)
		sbuf_addf(&out, "%s%s %u", i ? ", " : "", p->v[i].name, p->v[i].stage);
	return out.p;
}

#define POOLS "pools: { app: { servers: [\"127.0.0.1:1\"], check: { http: { path: / } } } }\n"

static void
test_needs(void **state)
{
	static const struct {
		const char *name, *text, *want;
	} cases[] = {
		{ "nothing", "run_dir: run\n", "" },
		{ "http alone", "http: {}\n", "routerd.0 1" },
		{ "tls alone", "tls: {}\n", "tlsd.0 2" },
		{ "checks", POOLS, "healthd.0 1" },
		{ "a pool without checks", "pools: { a: { servers: [\"127.0.0.1:1\"] } }\n", "" },
		{ "all, in the order of starting", "tls: {}\nhttp: {}\n" POOLS,
			"routerd.0 1, healthd.0 1, tlsd.0 2" },
		{ "instances of another file come first, of this one with their kind",
			"http: {}\nup: { instances: [{ name: a, config: x.yaml }, { name: b }, "
			"{ program: tlsd, name: c }] }\n",
			"routerd.a 0, routerd.b 1, tlsd.c 2, routerd.0 1" },
		{ "servers over TLS need who makes the handshakes, before those who ask",
			"http: {}\npools: { a: { servers: [\"https://app.example\"] } }\n",
			"tlsd.connect 0, routerd.0 1" },
		{ "by policy, too, and one more of them",
			"upstream_tls: { policies: { p: {} } }\n"
			"pools: { a: { tls: p, servers: [\"127.0.0.1:1\"] } }\n"
			"up: { instances: [{ program: tlsd, role: connect, name: c }] }\n",
			"tlsd.c 0, tlsd.connect 0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct planned_site ps;

		load(&ps, cases[i].text);

		char *got = names(&ps.plan);

		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s, expected %s", cases[i].name, got, cases[i].want);
		free(got);
		unload(&ps);
	}
}

#define UP(line) "http: {}\nup: { instances: [" line "] }\n"

static void
test_same(void **state)
{
	static const struct {
		const char *name, *before, *after;
		bool is_same; /* is the first of before still there? */
	} cases[] = {
		{ "nothing changed", UP("{ name: a, config: x.yaml }"),
			UP("{ name: a, config: x.yaml }"), true },
		{ "its place does not matter", UP("{ name: a }, { name: b }"),
			UP("{ name: b }, { name: a }"), true },
		{ "gone", UP("{ name: a }, { name: b }"), UP("{ name: b }"), false },
		{ "another program", UP("{ name: a }"), UP("{ name: a, program: healthd }"),
			false },
		{ "another file", UP("{ name: a, config: x.yaml }"),
			UP("{ name: a, config: y.yaml }"), false },
		{ "the order of its environment", UP("{ name: a, env: { X: 1, Y: 2 } }"),
			UP("{ name: a, env: { Y: 2, X: 1 } }"), true },
		{ "a value", UP("{ name: a, env: { X: 1 } }"), UP("{ name: a, env: { X: 2 } }"),
			false },
		{ "a name", UP("{ name: a, env: { X: 1 } }"), UP("{ name: a, env: { Y: 1 } }"),
			false },
		{ "one more", UP("{ name: a, env: { X: 1 } }"),
			UP("{ name: a, env: { X: 1, Y: 1 } }"), false },
		{ "none any more", UP("{ name: a, env: { X: 1 } }"), UP("{ name: a }"), false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct planned_site before;
		struct planned_site after;

		load(&before, cases[i].before);
		load(&after, cases[i].after);

		const struct planned *same = plan_find(&after.plan, &before.plan.v[0]);

		if ((same != NULL) != cases[i].is_same)
			fail_msg("%s: %s", cases[i].name, same ? "the same" : "another");
		if (same != NULL)
			assert_string_equal(same->name, before.plan.v[0].name);
		unload(&before);
		unload(&after);
	}
}

static void
test_environment_comes_back(void **state)
{
	struct planned_site ps;

	(void)state;
	load(&ps, UP("{ name: a, env: { WEIR_SET: new, WEIR_UNSET: new } }"));
	setenv("WEIR_SET", "old", 1);
	unsetenv("WEIR_UNSET");

	const struct instancecfg *in = CFG_AT(struct instancecfg, ps.site.up.instances, 0);
	char **before = site_set_env(in);

	assert_string_equal(getenv("WEIR_SET"), "new");
	assert_string_equal(getenv("WEIR_UNSET"), "new");
	site_restore_env(in, before);
	assert_string_equal(getenv("WEIR_SET"), "old");
	assert_null(getenv("WEIR_UNSET"));
	unload(&ps);
}

static int
make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) == NULL;
}

static int
remove_folder(void **state)
{
	char *path = xasprintf("%s/w.yaml", folder);

	(void)state;
	unlink(path);
	free(path);
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_needs),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_environment_comes_back),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
