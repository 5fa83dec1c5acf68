/*
 * daemon: the whole life of a small daemon, in a process of its own, seen from outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/ctlproto.h"
#include "libcommon/daemon.h"
#include "tests/unit/libcommon/ctl_ask.h"
#include "tests/unit/libcommon/toy_daemon.h"

/* ---- the outside ---- */

struct fixture {
	char dir[64];
	char file[96];
	char socket[96];
	char out[96];
	pid_t pid;
};

static struct fixture fx;

static void
configure(const char *text)
{
	FILE *f = fopen(fx.file, "w");

	assert_non_null(f);
	fprintf(f, "run_dir: run\nlog: { level: warn }\n%s\n", text);
	fclose(f);
}

/* Its standard output and error go to a file. */
static pid_t
launch(const char *const *args)
{
	char *argv[12] = { NULL };
	int n = 0;

	argv[n++] = xstrdup("toy");
	for (; args[n - 1] != NULL; n++)
		argv[n] = xstrdup(args[n - 1]);

	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(fx.out, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		optind = 0;

		int code = daemon_main(&ops, n, argv);

		for (int i = 0; i < n; i++)
			free(argv[i]);
		exit(code); /* leak checkers look */
	}
	for (int i = 0; i < n; i++)
		free(argv[i]);
	return pid;
}

static int
wait_end(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static const char *
output(void)
{
	static char text[65536];
	int fd = open(fx.out, O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void
start_toy(void)
{
	int fds[2];
	char number[16];
	char word[8] = "";

	assert_int_equal(pipe(fds), 0);
	snprintf(number, sizeof(number), "%d", fds[1]);

	const char *const args[] = { "-c", fx.file, "-r", number, NULL };

	fx.pid = launch(args);
	close(fds[1]);

	ssize_t n = read(fds[0], word, sizeof(word) - 1);

	close(fds[0]);
	if (n != 6 || strcmp(word, "ready\n") != 0)
		fail_msg("not ready: %s", output());
}

static json_t *
ask_with(const char *line, const int *fds, size_t nfds)
{
	struct sbuf out = { 0 };
	struct err err = { 0 };
	char *asked = xasprintf("json %s", line);

	if (ctl_ask(fx.socket, asked, fds, nfds, 10000, &out, &err) < 0)
		fail_msg("%s: %s", line, err.text);

	json_t *o = json_loadb(out.p, out.n, 0, NULL);

	assert_non_null(o);
	free(asked);
	sbuf_fini(&out);
	return o;
}

/* A member of the answer as text: "7", "up"; "-" when it is not there. */
static const char *
ask(const char *line, const char *key)
{
	static char text[1024];
	json_t *o = ask_with(line, NULL, 0);
	const json_t *v = json_object_get(o, key);

	if (json_is_integer(v))
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else
		snprintf(text, sizeof(text), "%s",
			json_is_string(v) ? json_string_value(v)
				: v       ? "?"
					  : "-");
	json_decref(o);
	return text;
}

static void
end_toy(void)
{
	assert_string_equal(ask("stop", "ok"), "?");
	assert_int_equal(wait_end(fx.pid), 0);
	fx.pid = 0;
}

static int
set_up(void **state)
{
	(void)state;
	fx = (struct fixture){ 0 };
	strcpy(fx.dir, "/tmp/daemon.XXXXXX");
	assert_non_null(mkdtemp(fx.dir));
	chmod(fx.dir, 0755);
	snprintf(fx.file, sizeof(fx.file), "%s/weir.yaml", fx.dir);
	snprintf(fx.socket, sizeof(fx.socket), "%s/run/toy.0.sock", fx.dir);
	snprintf(fx.out, sizeof(fx.out), "%s/out", fx.dir);
	return 0;
}

static int
tear_down(void **state)
{
	char *command = xasprintf("rm -rf %s", fx.dir);

	(void)state;
	if (fx.pid > 0) {
		kill(fx.pid, SIGKILL);
		waitpid(fx.pid, NULL, 0);
	}
	assert_int_equal(system(command), 0);
	free(command);
	return 0;
}

struct args_case {
	const char *args[6];
	int code;
	const char *says;
};

static const struct args_case args_cases[] = {
	{ { "-h" }, 0, "usage: toy" },
	{ { "-v" }, 0, "toy " },
	{ { "-x" }, 2, "usage: toy" },
	{ { NULL }, 2, "-c FILE is required" },
	{ { "-c", "/nonexistent/x" }, 2, "/nonexistent/x" },
	{ { "-c", "x", "-i", "a b" }, 2, "an instance's name" },
	{ { "-c", "x", "-i", "" }, 2, "an instance's name" },
	{ { "-c", "x", "-l", "loud" }, 2, "expected debug, info, warn or error" },
	{ { "-c", "x", "-r", "99" }, 2, "open descriptor" },
	{ { "-c", "x", "y" }, 2, "unexpected argument `y`" },
	{ { "--schema" }, 0, "http.value" },
};

static void
test_arguments(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(args_cases) / sizeof(*args_cases); i++) {
		int code = wait_end(launch(args_cases[i].args));

		if (code != args_cases[i].code || strstr(output(), args_cases[i].says) == NULL)
			fail_msg("case %zu: exit %d: %s", i, code, output());
	}
}

static void
test_check(void **state)
{
	const char *const args[] = { "-c", fx.file, "-t", NULL };

	(void)state;
	configure("http: { value: 1 }");
	assert_int_equal(wait_end(launch(args)), 0);
	assert_string_equal(output(), "[]\n");
	configure(""); /* no section: nothing of ours to check */
	assert_int_equal(wait_end(launch(args)), 0);
	configure("http: { value: 13 }\nnonsense: 1");
	assert_int_equal(wait_end(launch(args)), 2);

	json_t *all = json_loads(output(), 0, NULL);

	assert_int_equal(json_array_size(all), 2);

	const json_t *first = json_array_get(all, 0);

	assert_string_equal(json_string_value(json_object_get(first, "path")), "toy.value");
	assert_string_equal(json_string_value(json_object_get(first, "level")), "error");
	assert_int_equal(json_integer_value(json_object_get(first, "line")), 3);
	json_decref(all);
}

static void
test_effective(void **state)
{
	const char *const args[] = { "-c", fx.file, "-T", NULL };

	(void)state;
	configure("http: { value: 1 }");
	assert_int_equal(wait_end(launch(args)), 0);

	json_t *all = json_loads(output(), 0, NULL);
	size_t i;
	const json_t *o;
	unsigned seen = 0;

	json_array_foreach(all, i, o)
	{
		const char *path = json_string_value(json_object_get(o, "path"));
		const char *origin = json_string_value(json_object_get(o, "origin"));

		if (strcmp(path, "http.port") == 0 && strcmp(origin, "default") == 0)
			seen |= 1;
		if (strcmp(path, "http.value") == 0 && strstr(origin, "weir.yaml:3") != NULL)
			seen |= 2;
	}
	assert_int_equal(seen, 3);
	json_decref(all);
}

static void
test_start_fails(void **state)
{
	const char *const args[] = { "-c", fx.file, NULL };

	(void)state;
	configure("http: { value: 14 }");
	assert_int_equal(wait_end(launch(args)), 1);
	assert_non_null(strstr(output(), "14 cannot start"));
	configure("pools: {}");
	assert_int_equal(wait_end(launch(args)), 2);
	assert_non_null(strstr(output(), "the section is missing"));
	configure("http: { value: 1 }\ncontrol_group: no-such-group");
	assert_int_equal(wait_end(launch(args)), 1);
	assert_non_null(strstr(output(), "no-such-group"));
}

static void
test_life(void **state)
{
	const char *const again[] = { "-c", fx.file, NULL };
	struct stat st;

	(void)state;
	configure("http: { value: 1 }");
	start_toy();
	assert_string_equal(ask("status", "program"), "toy");
	assert_string_equal(ask("status", "value"), "1");
	assert_string_equal(ask("version", "version"), WEIR_VERSION);
	assert_string_equal(ask("reopen", "ok"), "?");
	kill(fx.pid, SIGUSR1);
	for (int i = 0; i < 500 && strcmp(ask("status", "reopened"), "2") != 0; i++)
		usleep(10000);
	assert_string_equal(ask("status", "reopened"), "2");

	/* A second one names the first. */
	char holder[32];

	snprintf(holder, sizeof(holder), "pid %d", (int)fx.pid);
	assert_int_equal(wait_end(launch(again)), 1);
	assert_non_null(strstr(output(), holder));
	end_toy();
	assert_int_equal(stat(fx.socket, &st), -1);
}

static void
test_stale_socket(void **state)
{
	(void)state;
	configure("http: { value: 1 }");
	start_toy();
	kill(fx.pid, SIGKILL);
	waitpid(fx.pid, NULL, 0);
	assert_int_equal(access(fx.socket, F_OK), 0);
	start_toy();
	end_toy();
}

static void
test_reload(void **state)
{
	(void)state;
	configure("http: { value: 1 }");
	start_toy();
	configure("http: { value: 2 }");
	assert_string_equal(ask("reload", "generation"), "2");
	assert_string_equal(ask("status", "value"), "2");
	configure("http: { value: 13 }");
	assert_string_equal(ask("reload", "error"), "the configuration was refused");
	configure("http: { value: 14 }");
	assert_string_equal(ask("reload", "error"), "the configuration was refused");
	assert_string_equal(ask("status", "value"), "2");
	assert_string_equal(ask("status", "generation"), "2");

	/* What a reload cannot change is said. */
	configure("http: { value: 3, port: 9 }");

	json_t *o = ask_with("reload", NULL, 0);

	assert_int_equal(json_array_size(json_object_get(o, "warnings")), 1);
	json_decref(o);

	/* An answer comes when it is adopted. */
	configure("http: { value: 4, slow: on }");
	assert_string_equal(ask("reload", "generation"), "4");
	configure("http: { value: 5 }");
	kill(fx.pid, SIGHUP);
	for (int i = 0; i < 500 && strcmp(ask("status", "value"), "5") != 0; i++)
		usleep(10000);
	assert_string_equal(ask("status", "value"), "5");
	end_toy();
}

static char *
prepare_line(const char *hash, const char *file)
{
	return xasprintf("prepare %s %s", hash, file);
}

static char *
hash_of(const char *file)
{
	struct errs errs = { 0 };
	struct cfg *cfg = cfg_load(file, &errs);
	char *hash = xstrdup(cfg->hash);

	cfg_free(cfg);
	errs_fini(&errs);
	return hash;
}

static void
test_two_phases(void **state)
{
	(void)state;
	configure("http: { value: 1 }");
	start_toy();
	configure("http: { value: 2 }");

	char *hash = hash_of(fx.file);
	char *right = prepare_line(hash, fx.file);
	char *wrong_hash = prepare_line("0123", fx.file);
	char *wrong_file = prepare_line(hash, "/etc/passwd");

	assert_string_equal(ask("commit", "error"), "nothing is prepared");
	assert_string_equal(ask(wrong_hash, "error"), "the configuration was refused");
	assert_true(strncmp(ask(wrong_file, "error"), "this daemon runs by", 19) == 0);
	assert_string_equal(ask(right, "prepared"), hash);
	assert_string_equal(ask("status", "value"), "1");
	assert_string_equal(ask(right, "error"), "another reload is prepared");
	assert_string_equal(ask("reload", "error"), "another reload is prepared");
	assert_string_equal(ask("abort", "ok"), "?");
	assert_string_equal(ask("status", "discarded"), "1");
	assert_string_equal(ask(right, "prepared"), hash);
	assert_string_equal(ask("commit", "generation"), "2");
	assert_string_equal(ask("status", "value"), "2");
	/* What is prepared when the daemon ends is dropped. */
	assert_string_equal(ask(right, "prepared"), hash);
	free(hash);
	free(right);
	free(wrong_hash);
	free(wrong_file);
	end_toy();
}

/* As root: the daemon becomes somebody else, its files with it, and what it may no longer read
 * comes as a descriptor. */
static void
test_privileges(void **state)
{
	const struct passwd *pw = getpwnam("nobody");
	char key[96];
	struct stat st;

	(void)state;
	if (geteuid() != 0 || pw == NULL)
		skip();
	snprintf(key, sizeof(key), "%s/key", fx.dir);
	close(open(key, O_WRONLY | O_CREAT, 0600));
	configure("http: { value: 1, user: nobody }");
	start_toy();

	char uid[16];

	snprintf(uid, sizeof(uid), "%d", (int)pw->pw_uid);
	assert_string_equal(ask("status", "uid"), uid);
	assert_int_equal(stat(fx.socket, &st), 0);
	assert_int_equal(st.st_uid, pw->pw_uid);
	assert_int_equal(st.st_mode & 07777, 0660);

	configure("http: { value: 2, user: nobody, key: key }");
	assert_string_equal(ask("reload", "error"), "the configuration was refused");
	/* Neither the configuration nor the key can be opened by the daemon now. */
	chmod(fx.file, 0600);

	int fds[2] = { open(fx.file, O_RDONLY), open(key, O_RDONLY) };
	char *give = xasprintf("give %s %s", fx.file, key);

	json_decref(ask_with(give, fds, 2));

	char *hash = hash_of(fx.file);
	char *line = prepare_line(hash, fx.file);

	assert_string_equal(ask(line, "prepared"), hash);
	assert_string_equal(ask("commit", "generation"), "2");
	assert_string_equal(ask("status", "value"), "2");
	/* They are gone with the reload. */
	assert_string_equal(ask(line, "error"), "the configuration was refused");
	close(fds[0]);
	close(fds[1]);
	free(give);
	free(hash);
	free(line);
	end_toy();
}

static void
give(const char *paths, const int *fds, size_t n)
{
	char *line = xasprintf("give%s", paths);
	json_t *answer = ask_with(line, fds, n);

	assert_null(json_object_get(answer, "error"));
	json_decref(answer);
	free(line);
}

/* A folder of certificates is more than a line, and than 256: what comes last is there, too. */
static void
test_many_are_given(void **state)
{
	struct sbuf paths = { 0 };
	int fds[CTL_FDS_MAX];
	char other[96];

	(void)state;
	snprintf(other, sizeof(other), "%s/other", fx.dir);
	configure("http: { value: 2 }");
	assert_int_equal(rename(fx.file, other), 0);
	configure("http: { value: 1 }");
	start_toy();
	for (size_t i = 0; i < CTL_FDS_MAX; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	for (int line = 0; line < 20; line++) {
		sbuf_clear(&paths);
		for (size_t i = 0; i < CTL_FDS_MAX; i++)
			sbuf_addf(&paths, " /%d/%zu", line, i);
		give(paths.p, fds, CTL_FDS_MAX);
	}
	for (size_t i = 0; i < CTL_FDS_MAX; i++)
		close(fds[i]);
	fds[0] = open(other, O_RDONLY);
	sbuf_clear(&paths);
	sbuf_addf(&paths, " %s", fx.file);
	give(paths.p, fds, 1);
	close(fds[0]);

	char *hash = hash_of(other);
	char *line = prepare_line(hash, fx.file);

	assert_string_equal(ask(line, "prepared"), hash);
	assert_string_equal(ask("commit", "generation"), "2");
	assert_string_equal(ask("status", "value"), "2");
	sbuf_fini(&paths);
	free(hash);
	free(line);
	end_toy();
}

/* Daemons start together: whoever sees the folder sees it with its rights, and they never change.
 */
static void
test_run_dir_appears_whole(void **state)
{
	union {
		struct inotify_event event;
		char bytes[8192];
	} got;
	struct stat st;
	char run[96];
	int appeared = 0;
	int watch = inotify_init1(IN_NONBLOCK);

	(void)state;
	configure("http: { value: 1 }");
	assert_true(inotify_add_watch(watch, fx.dir,
			    IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_ATTRIB | IN_DELETE) >= 0);
	start_toy();

	ssize_t n = read(watch, got.bytes, sizeof(got.bytes));

	assert_true(n > 0);
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const void *)(got.bytes + at);

		if (e->len > 0 && strcmp(e->name, "run") == 0) {
			assert_true(e->mask & (IN_CREATE | IN_MOVED_TO));
			appeared++;
		}
		at += (ssize_t)(sizeof(*e) + e->len);
	}
	close(watch);
	assert_int_equal(appeared, 1);
	snprintf(run, sizeof(run), "%s/run", fx.dir);
	assert_int_equal(stat(run, &st), 0);
	assert_int_equal(st.st_mode & 07777, 02750);
	end_toy();
}

static void
test_drain(void **state)
{
	(void)state;
	/* The deadline ends it, after a while for goodbyes. */
	configure("shutdown_timeout: 200ms\nhttp: { value: 1, never_done: on }");
	start_toy();

	int64_t began_ms = clock_ms();

	kill(fx.pid, SIGTERM);
	assert_int_equal(wait_end(fx.pid), 0);
	assert_true(clock_ms() - began_ms > DAEMON_GOODBYE_MS);
	assert_non_null(strstr(output(), "drain_deadline"));
	assert_non_null(strstr(output(), "cut is called"));
	/* A second TERM ends it at once. */
	configure("shutdown_timeout: 1h\nhttp: { value: 1, never_done: on }");
	start_toy();
	kill(fx.pid, SIGTERM);
	for (int i = 0; i < 500 && strcmp(ask("status", "state"), "draining") != 0; i++)
		usleep(10000);
	assert_string_equal(ask("reload", "error"), "this daemon is ending");
	kill(fx.pid, SIGTERM);
	assert_int_equal(wait_end(fx.pid), 0);
	/* So does `shutdown`. */
	start_toy();
	assert_string_equal(ask("shutdown", "ok"), "?");
	assert_int_equal(wait_end(fx.pid), 0);
	fx.pid = 0;
}

static void
test_notify(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char text[64] = "";
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	(void)state;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/n", fx.dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	configure("http: { value: 1 }");
	start_toy();
	assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
	assert_string_equal(text, "READY=1");
	end_toy();
	memset(text, 0, sizeof(text));
	assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
	assert_string_equal(text, "STOPPING=1");
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}

static void
test_many_reloads(void **state)
{
	(void)state;
	configure("http: { value: 1 }");
	start_toy();
	for (int i = 2; i <= 300; i++) {
		char want[16];

		snprintf(want, sizeof(want), "%d", i);
		assert_string_equal(ask("reload", "generation"), want);
	}
	end_toy();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_arguments, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_check, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_effective, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_start_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stale_socket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_two_phases, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_privileges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_are_given, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_run_dir_appears_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_drain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_notify, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_reloads, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
