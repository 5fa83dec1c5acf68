/*
 * up_older: a check that never ends is not waited for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <jansson.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/loop.h"
#include "proxyctl/supervise_parts.h"
#include "proxyctl/up.h"

static char folder[] = "/tmp/weir-older.XXXXXX";

static void
put(const char *path, mode_t mode, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void
stop(void *loop)
{
	loop_stop(loop);
}

/* What is said of the daemon within 30 s, or "". */
static char *
reason(struct up *u)
{
	struct loop_timer *t = loop_timer_new(u->loop, stop, u->loop);
	char *text = NULL;

	for (int i = 0; i < 3000 && text == NULL; i++) {
		json_t *o = up_older_json(u, "a.0");
		const char *s = json_string_value(json_object_get(o, "reason"));

		if (s != NULL)
			text = xstrdup(s);
		json_decref(o);
		loop_timer_set(t, 10, false);
		loop_run(u->loop);
	}
	loop_timer_free(t);
	return text != NULL ? text : xstrdup("");
}

static bool
is_there_in_time(const char *path)
{
	for (int i = 0; i < 3000 && access(path, F_OK) < 0; i++)
		usleep(10000);
	return access(path, F_OK) == 0;
}

static bool
one_was_killed(void)
{
	int status;
	pid_t pid = 0;

	for (int i = 0; i < 3000 && pid == 0; i++) {
		pid = waitpid(-1, &status, WNOHANG);
		if (pid == 0)
			usleep(10000);
	}
	return pid > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/* It, and what it runs. */
static void
a_check_that_never_ends_is_killed(void **state)
{
	char *file = xasprintf("%s/w.yaml", folder);
	char *program = xasprintf("%s/proxyctl", folder);
	char *asleep = xasprintf("%s/asleep", folder);
	char *script = xasprintf("#!/bin/sh\nsleep 30 &\n: >%s\nwait\n", asleep);
	char *path = xasprintf("%s:%s", folder, getenv("PATH"));
	struct up u = { .file = file, .check_ms = 300, .loop = loop_new() };
	struct err err = { 0 };
	struct child c = { .name = (char[]){ "a.0" } };
	char *text;

	(void)state;
	put(file, 0600, "a: 1\n");
	put(program, 0700, script);
	assert_int_equal(setenv("PATH", path, 1), 0);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	c.text = conftext_read(file, &err);
	assert_non_null(c.text);
	put(file, 0600, "a: 2\n");
	up_older_restarted(&u, &c);
	/* Both run before our loop does, which ends its time. */
	assert_true(is_there_in_time(asleep));
	text = reason(&u);
	assert_string_equal(text, "it could not be checked");
	assert_true(one_was_killed());
	assert_true(one_was_killed());
	up_older_free(&u);
	conftext_free(c.text);
	loop_free(u.loop);
	unlink(file);
	unlink(program);
	unlink(asleep);
	free(text);
	free(path);
	free(script);
	free(asleep);
	free(program);
	free(file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_that_never_ends_is_killed),
	};

	if (mkdtemp(folder) == NULL)
		return 1;

	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	rmdir(folder);
	return rc;
}
