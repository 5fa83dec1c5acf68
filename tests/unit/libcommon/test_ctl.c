/*
 * ctl and ctlclient: a real socket, the server on a thread of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/ctl.h"
#include "libcommon/loop.h"
#include "tests/unit/libcommon/ctl_ask.h"

struct fixture {
	char dir[64];
	char path[96];
	struct loop *loop;
	struct ctl *ctl;
	pthread_t thread;
	struct loop_timer *timer;
	struct ctl_req *later;
	unsigned cancelled;
};

static struct fixture fx;

static void
cmd_echo(struct ctl_req *req)
{
	for (size_t i = 0; i < req->nargs; i++)
		sbuf_addf(&req->out, "[%s]", req->args[i]);
	if (req->nargs > 0)
		sbuf_addc(&req->out, '\n');
	ctl_done(req);
}

static void
cmd_fail(struct ctl_req *req)
{
	ctl_fail(req, "no such \"%s\"", req->nargs ? req->args[0] : "thing");
}

static void
on_later(void *arg)
{
	struct ctl_req *req = fx.later;

	(void)arg;
	fx.later = NULL;
	if (req != NULL) {
		sbuf_adds(&req->out, ctl_req_data(req));
		ctl_done(req);
	}
}

static void
on_cancel(struct ctl_req *req, void *arg)
{
	(void)req;
	(void)arg;
	fx.later = NULL;
	__atomic_add_fetch(&fx.cancelled, 1, __ATOMIC_SEQ_CST);
}

static char later_text[] = "late\n";

static void
cmd_later(struct ctl_req *req)
{
	fx.later = req;
	ctl_req_set_data(req, later_text);
	ctl_on_cancel(req, on_cancel, NULL);
	if (req->nargs == 0)
		loop_timer_set(fx.timer, 300, false);
}

static void
cmd_fds(struct ctl_req *req)
{
	for (size_t i = 0; i < req->nfds; i++) {
		char text[32] = "";
		ssize_t n = pread(req->fds[i], text, sizeof(text) - 1, 0);

		sbuf_addf(&req->out, "%s=%.*s\n", req->args[i], (int)n, text);
	}
	ctl_done(req);
}

static void
cmd_big(struct ctl_req *req)
{
	for (size_t i = 0; i < 1 << 20; i++)
		sbuf_adds(&req->out, "12345678");
	ctl_done(req);
}

static const struct ctl_command table[] = {
	{ "echo", "WORD...", "says it", CTL_VIEW, cmd_echo },
	{ "fail", "[WHAT]", "fails", CTL_VIEW, cmd_fail },
	{ "later", "[HOW]", "answers later", CTL_OPERATE, cmd_later },
	{ "fds", "NAME...", "reads descriptors", CTL_ADMIN, cmd_fds },
	{ "show big", "", "8 MB", CTL_VIEW, cmd_big },
	{ "show", "[WHAT]", "less words", CTL_VIEW, cmd_echo },
	{ 0 },
};

static void *
run(void *arg)
{
	loop_run(arg);
	return NULL;
}

static int
set_up(void **state)
{
	struct err err = { 0 };

	(void)state;
	fx = (struct fixture){ 0 };
	strcpy(fx.dir, "/tmp/ctl.XXXXXX");
	assert_non_null(mkdtemp(fx.dir));
	snprintf(fx.path, sizeof(fx.path), "%s/x.0.sock", fx.dir);
	fx.loop = loop_new();
	fx.ctl = ctl_new(fx.loop, fx.path, NULL, &err);
	if (fx.ctl == NULL)
		fail_msg("%s", err.text);
	ctl_add(fx.ctl, table, NULL);
	fx.timer = loop_timer_new(fx.loop, on_later, NULL);
	pthread_create(&fx.thread, NULL, run, fx.loop);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	loop_stop(fx.loop);
	pthread_join(fx.thread, NULL);
	ctl_free(fx.ctl);
	loop_timer_free(fx.timer);
	loop_free(fx.loop);
	assert_int_equal(access(fx.path, F_OK), -1);
	rmdir(fx.dir);
	return 0;
}

static void
expect(const char *line, const char *answer)
{
	struct sbuf out = { 0 };
	struct err err = { 0 };

	if (ctl_ask(fx.path, line, NULL, 0, 5000, &out, &err) < 0)
		fail_msg("%s: %s", line, err.text);
	assert_string_equal(out.p, answer);
	sbuf_fini(&out);
}

static void
test_answers(void **state)
{
	(void)state;
	expect("echo a 'b c'", "[a][b c]\n");
	expect("echo", "ok\n");
	expect("json echo", "{\"ok\":true}\n");
	expect("fail x", "error: no such \"x\"\n");
	expect("json fail", "{\"error\":\"no such \\\"thing\\\"\"}\n");
	expect("show x", "[x]\n");
	expect("show big x", "error: usage: show big, without anything behind it\n");
	expect("json help x", "{\"error\":\"usage: help, without anything behind it\"}\n");
	expect("later", "late\n");
	expect("echo 'x", "error: a quote is not closed\n");
	expect("", "error: the line has no command; try: help\n");
	expect("ecoh",
		"error: unknown command `ecoh`, expected one of: help, events, echo, fail, later, "
		"fds, show big, show; did you mean `echo`?\n");
}

static void
test_big(void **state)
{
	struct sbuf out = { 0 };

	(void)state;
	assert_int_equal(ctl_ask(fx.path, "show big", NULL, 0, 20000, &out, NULL), 0);
	assert_int_equal(out.n, 8 << 20);
	sbuf_fini(&out);
}

static void
test_help(void **state)
{
	struct sbuf out = { 0 };

	(void)state;
	assert_int_equal(ctl_ask(fx.path, "help", NULL, 0, 5000, &out, NULL), 0);
	assert_non_null(strstr(out.p, "echo WORD..."));
	sbuf_clear(&out);
	assert_int_equal(ctl_ask(fx.path, "json help", NULL, 0, 5000, &out, NULL), 0);

	json_t *all = json_loadb(out.p, out.n, 0, NULL);

	assert_int_equal(json_array_size(all), 8);
	json_decref(all);
	sbuf_fini(&out);
}

static void
test_fds(void **state)
{
	char path[2][128];
	int fds[2];
	struct sbuf out = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/%d", fx.dir, i);
		fds[i] = open(path[i], O_RDWR | O_CREAT, 0600);
		assert_int_equal(write(fds[i], i ? "two" : "one", 3), 3);
	}
	assert_int_equal(ctl_ask(fx.path, "fds a b", fds, 2, 5000, &out, NULL), 0);
	assert_string_equal(out.p, "a=one\nb=two\n");
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		unlink(path[i]);
	}
	sbuf_fini(&out);
}

/* All that comes until the end, or until n bytes are there. */
static size_t
read_some(int fd, char *buf, size_t n)
{
	size_t got = 0;

	while (got < n) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t r;

		if (poll(&p, 1, 10000) != 1)
			break;
		r = recv(fd, buf + got, n - got, 0);
		if (r <= 0)
			break;
		got += (size_t)r;
	}
	return got;
}

/* A line that came in pieces, with more behind it, and a client that has already said its last. */
static void
test_half_closed(void **state)
{
	char buf[64] = "";
	int fd = ctl_open(fx.path, "later\necho never", NULL, 0, 5000, NULL);

	(void)state;
	assert_true(fd >= 0);
	shutdown(fd, SHUT_WR);
	assert_int_equal(read_some(fd, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "late\n");
	close(fd);
}

static void
wait_cancelled(unsigned n)
{
	for (int i = 0; i < 500; i++) {
		if (__atomic_load_n(&fx.cancelled, __ATOMIC_SEQ_CST) == n)
			return;
		usleep(10000);
	}
	fail_msg("was not cancelled");
}

static void
test_gone(void **state)
{
	(void)state;

	int fd = ctl_open(fx.path, "later never", NULL, 0, 5000, NULL);

	usleep(50000);
	close(fd);
	wait_cancelled(1);
	fd = ctl_open(fx.path, "later never", NULL, 0, 5000, NULL);
	shutdown(fd, SHUT_WR);
	usleep(50000);
	close(fd);
	wait_cancelled(2);
}

static void
test_too_long(void **state)
{
	char line[CTL_LINE_MAX + 100];

	(void)state;
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	expect(line, "error: the line is too long\n");
}

static void
log_one(const char *event, int64_t n)
{
	struct log_field f = { .key = "n", .kind = LOG_KIND_INT, .num = n };
	struct log_record rec = {
		.level = LOG_LEVEL_INFO,
		.event = event,
		.fields = &f,
		.count = 1,
		.wall_ms = 1234567,
	};

	ctl_event(fx.ctl, &rec);
}

/* Until the subscriber is served: the ring is empty before and after. */
static int
subscribe(const char *line)
{
	int fd = ctl_open(fx.path, line, NULL, 0, 5000, NULL);

	assert_true(fd >= 0);
	expect("echo", "ok\n"); /* the loop has seen the earlier line by then */
	usleep(100000);
	return fd;
}

static void
test_events(void **state)
{
	static const char want[] = "{\"time\":\"1970-01-01T00:20:34.567Z\",\"daemon\":\"x.0\","
				   "\"seq\":2,\"level\":\"info\",\"type\":\"second\",\"n\":7}\n";
	char buf[sizeof(want)] = "";

	(void)state;
	log_one("first", 6);

	int fd = subscribe("events");

	log_one("second", 7);
	assert_int_equal(read_some(fd, buf, sizeof(want) - 1), sizeof(want) - 1);
	assert_string_equal(buf, want);
	close(fd);

	fd = subscribe("events recent");
	memset(buf, 0, sizeof(buf));
	read_some(fd, buf, 60);
	assert_non_null(strstr(buf, "\"seq\":1"));
	close(fd);
}

/* Who does not read misses lines, is told so, and holds nobody up. */
static void
test_slow_subscriber(void **state)
{
	enum { EVENTS = 20000 };
	int fd = subscribe("events");
	struct sbuf all = { 0 };
	char last[32];

	(void)state;
	for (int i = 0; i < EVENTS; i++)
		log_one("flood", i);
	expect("echo still here", "[still][here]\n");
	snprintf(last, sizeof(last), "\"n\":%d}", EVENTS - 1);
	while (all.p == NULL || strstr(all.p, last) == NULL) {
		char *at = sbuf_reserve(&all, 65536);
		struct pollfd p = { .fd = fd, .events = POLLIN };

		assert_int_equal(poll(&p, 1, 10000), 1);

		ssize_t n = recv(fd, at, 65536, 0);

		assert_true(n > 0);
		all.n += (size_t)n;
		all.p[all.n] = '\0';
	}
	assert_non_null(strstr(all.p, "\"type\":\"events_lost\",\"count\":"));
	sbuf_fini(&all);
	close(fd);
}

static void *
log_many(void *arg)
{
	for (int i = 0; i < 2000; i++)
		log_one(arg, i);
	return NULL;
}

static char thread_name[] = "thread";

static void
test_threads(void **state)
{
	pthread_t threads[3];
	int fd = subscribe("events");

	(void)state;
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, log_many, thread_name);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);

	char buf[1000];

	assert_int_equal(read_some(fd, buf, sizeof(buf)), sizeof(buf));
	close(fd);
}

/* More clients than there is room for are told so; the others are served when some have left. */
static void
test_crowd(void **state)
{
	enum { MANY = CTL_CLIENTS_MAX };
	int fds[MANY];
	char buf[64] = "";

	(void)state;
	for (int i = 0; i < MANY; i++)
		fds[i] = ctl_open(fx.path, "events", NULL, 0, 5000, NULL);

	int one = ctl_open(fx.path, "echo", NULL, 0, 5000, NULL);

	read_some(one, buf, sizeof(buf));
	assert_string_equal(buf, "error: too many control connections, try again\n");
	close(one);
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	for (int i = 0; i < 500; i++) {
		struct sbuf out = { 0 };
		int rc = ctl_ask(fx.path, "echo", NULL, 0, 5000, &out, NULL);
		bool ok = rc == 0 && strcmp(out.p, "ok\n") == 0;

		sbuf_fini(&out);
		if (ok)
			return;
		usleep(10000);
	}
	fail_msg("never served again");
}

static void
test_live_holder(void **state)
{
	struct loop *l = loop_new();
	struct err err = { 0 };

	(void)state;
	assert_null(ctl_new(l, fx.path, NULL, &err));
	assert_non_null(strstr(err.text, fx.path));
	assert_null(ctl_new(l, "/tmp/x", "no-such-group-here", &err));
	assert_non_null(strstr(err.text, "no-such-group-here"));
	loop_free(l);
	expect("echo", "ok\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_big, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_help, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_half_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_long, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_events, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_slow_subscriber, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_crowd, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_live_holder, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
