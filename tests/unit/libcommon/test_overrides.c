/* overrides: what is written is read back, by a file that people can read; bad files change
 * nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/mem.h"
#include "libcommon/overrides_file.h"

static char dir[64];

static int
make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/overrides.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int
drop_dir(void **state)
{
	static const char *const names[] = { "overrides.yaml", "overrides.lock" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		char *path = xasprintf("%s/%s", dir, names[i]);

		unlink(path);
		free(path);
	}
	/* fails if a temporary was left behind */
	return rmdir(dir);
}

static void
put_file(const char *text)
{
	char *path = xasprintf("%s/overrides.yaml", dir);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	free(path);
}

static struct override
entry(char *pool, char *server, enum override_action action)
{
	return (struct override){ .pool = pool, .server = server, .action = action };
}

static void
set(struct override e)
{
	struct err err = { 0 };

	if (overrides_set(dir, NULL, &e, &err))
		fail_msg("%s", err.text);
}

static struct overrides
read_all(void)
{
	struct overrides o = { 0 };
	struct err err = { 0 };

	if (overrides_read(&o, dir, &err))
		fail_msg("%s", err.text);
	return o;
}

static void
test_no_file_is_no_decision(void **state)
{
	struct overrides o = read_all();

	(void)state;
	assert_int_equal(o.n, 0);
	assert_int_equal(overrides_find(&o, "app", "a", 0).action, OVERRIDE_NONE);
	overrides_fini(&o);
}

static void
test_set_and_read_back(void **state)
{
	char pool[] = "app";
	char server[] = "127.0.0.1:80 \"x\" ${HOME} $1";
	char actor[] = "root";
	char reason[] = "disk: full # not a comment";
	struct override e = entry(pool, server, OVERRIDE_DRAIN);

	(void)state;
	e.actor = actor;
	e.reason = reason;
	e.time_s = 1714557600;
	e.expires_s = 4102444800;
	set(e);

	struct overrides o = read_all();

	assert_int_equal(o.n, 1);
	assert_string_equal(o.v[0].pool, pool);
	assert_string_equal(o.v[0].server, server);
	assert_string_equal(o.v[0].actor, actor);
	assert_string_equal(o.v[0].reason, reason);
	assert_int_equal(o.v[0].time_s, 1714557600);
	assert_int_equal(o.v[0].expires_s, 4102444800);

	struct override_effect f = overrides_find(&o, pool, server, 1714557600);

	assert_int_equal(f.action, OVERRIDE_DRAIN);
	assert_false(f.has_weight);
	assert_string_equal(f.actor, actor);
	assert_int_equal(f.next_s, 4102444800);
	/* from the second of its expiry on it has no effect */
	assert_int_equal(overrides_find(&o, pool, server, 4102444800).action, OVERRIDE_NONE);
	assert_int_equal(overrides_find(&o, pool, server, 4102444799).action, OVERRIDE_DRAIN);
	overrides_fini(&o);
}

static void
test_drain_and_disable_replace_each_other_and_weight_stands(void **state)
{
	char pool[] = "app";
	char server[] = "a";
	struct override w = entry(pool, server, OVERRIDE_WEIGHT);

	(void)state;
	set(entry(pool, server, OVERRIDE_DRAIN));
	w.weight = 7;
	set(w);
	set(entry(pool, server, OVERRIDE_DISABLE));

	struct overrides o = read_all();
	struct override_effect f = overrides_find(&o, pool, server, 1);

	assert_int_equal(o.n, 2);
	assert_int_equal(f.action, OVERRIDE_DISABLE);
	assert_true(f.has_weight);
	assert_int_equal(f.weight, 7);
	overrides_fini(&o);
}

static void
test_remove(void **state)
{
	char pool[] = "app";
	char a[] = "a";
	char b[] = "b";
	struct override w = entry(pool, a, OVERRIDE_WEIGHT);
	struct err err;

	(void)state;
	set(entry(pool, a, OVERRIDE_DRAIN));
	set(w);
	set(entry(pool, b, OVERRIDE_DRAIN));
	assert_int_equal(overrides_remove(dir, NULL, pool, a, OVERRIDE_DISABLE, &err), 0);
	assert_int_equal(overrides_remove(dir, NULL, pool, a, OVERRIDE_DRAIN, &err), 1);
	assert_int_equal(overrides_remove(dir, NULL, pool, a, OVERRIDE_NONE, &err), 1);
	assert_int_equal(overrides_remove(dir, NULL, pool, "nobody", OVERRIDE_NONE, &err), 0);

	struct overrides o = read_all();

	assert_int_equal(o.n, 1);
	assert_int_equal(overrides_find(&o, pool, b, 1).action, OVERRIDE_DRAIN);
	overrides_fini(&o);
}

static void
test_expired_entries_are_dropped_on_the_way(void **state)
{
	char pool[] = "app";
	char a[] = "a";
	char b[] = "b";
	struct override old = entry(pool, a, OVERRIDE_DRAIN);

	(void)state;
	old.expires_s = time(NULL) - 1;
	set(old);
	set(entry(pool, b, OVERRIDE_DRAIN));

	struct overrides o = read_all();

	assert_int_equal(o.n, 1);
	assert_string_equal(o.v[0].server, "b");
	overrides_fini(&o);
}

static const struct bad_file {
	const char *name;
	const char *text;
	const char *says; /* part of the message */
} bad_files[] = {
	{ "no YAML", "overrides: [", "overrides.yaml" },
	{ "not a list", "overrides: 3\n", "overrides.yaml:1:12: overrides: a list expected" },
	{ "unknown key", "override: []\n", "only `overrides`" },
	{ "unknown member", "overrides:\n  - {pool: a, server: b, action: drain, when: now}\n",
		"unknown key" },
	{ "no pool", "overrides:\n  - {server: b, action: drain}\n", "pool: text expected" },
	{ "unknown action", "overrides:\n  - {pool: a, server: b, action: explode}\n",
		"drain, disable or weight" },
	{ "no action", "overrides:\n  - {pool: a, server: b}\n", "drain, disable or weight" },
	{ "weight out of range",
		"overrides:\n  - {pool: a, server: b, action: weight, weight: 257}\n", "0 to 256" },
	{ "weight for a drain", "overrides:\n  - {pool: a, server: b, action: drain, weight: 1}\n",
		"only with action weight" },
	{ "no time", "overrides:\n  - {pool: a, server: b, action: drain, expires: tomorrow}\n",
		"a time such as" },
	{ "second entry wrong",
		"overrides:\n  - {pool: a, server: b, action: drain}\n  - {pool: a}\n",
		"overrides.yaml:3" },
};

static void
test_bad_files_change_nothing(void **state)
{
	struct overrides o = { 0 };
	char pool[] = "a";
	char server[] = "b";
	struct override e = entry(pool, server, OVERRIDE_DRAIN);

	(void)state;
	set(e);
	o = read_all();
	for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++) {
		struct err err = { 0 };

		put_file(bad_files[i].text);
		if (overrides_read(&o, dir, &err) != -1)
			fail_msg("%s: was taken", bad_files[i].name);
		if (!strstr(err.text, bad_files[i].says))
			fail_msg("%s: says '%s'", bad_files[i].name, err.text);
		assert_int_equal(overrides_find(&o, "a", "b", 1).action, OVERRIDE_DRAIN);
		/* nor is it overwritten */
		assert_int_equal(overrides_set(dir, NULL, &e, &err), -1);
		assert_int_equal(overrides_remove(dir, NULL, "a", "b", OVERRIDE_NONE, &err), -1);
	}
	overrides_fini(&o);
}

static void
test_file_is_for_the_group_to_read(void **state)
{
	char pool[] = "a";
	char server[] = "b";
	char *path = xasprintf("%s/overrides.yaml", dir);
	struct stat st;

	(void)state;
	set(entry(pool, server, OVERRIDE_DRAIN));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	free(path);
}

/* Many writers at once: the lock keeps every decision. */
static void
test_writers_do_not_lose_each_other(void **state)
{
	enum { WRITERS = 8, EACH = 5 };
	pid_t pids[WRITERS];

	(void)state;
	for (int w = 0; w < WRITERS; w++) {
		pids[w] = fork();
		if (pids[w] == 0) {
			for (int i = 0; i < EACH; i++) {
				char pool[] = "p";
				char server[32];
				struct override e = entry(pool, server, OVERRIDE_DRAIN);

				snprintf(server, sizeof(server), "s%d.%d", w, i);
				if (overrides_set(dir, NULL, &e, NULL))
					_exit(1);
			}
			_exit(0);
		}
	}
	for (int w = 0; w < WRITERS; w++) {
		int status;

		assert_int_equal(waitpid(pids[w], &status, 0), pids[w]);
		assert_int_equal(status, 0);
	}

	struct overrides o = read_all();

	assert_int_equal(o.n, WRITERS * EACH);
	overrides_fini(&o);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_no_file_is_no_decision),
		TEST(test_set_and_read_back),
		TEST(test_drain_and_disable_replace_each_other_and_weight_stands),
		TEST(test_remove),
		TEST(test_expired_entries_are_dropped_on_the_way),
		TEST(test_bad_files_change_nothing),
		TEST(test_file_is_for_the_group_to_read),
		TEST(test_writers_do_not_lose_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
