/*
 * resolve: against a name server of our own on the same loop, which answers what each case wants:
 * addresses with times to live, nothing, errors, silence.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "libcommon/loop.h"
#include "libcommon/mem.h"
#include "libcommon/resolve.h"

/* --- a name server ------------------------------------------------------------ */

enum { RCODE_OK = 0, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3, RCODE_SILENT = 99 };

static struct loop *loop;
static struct resolver *resolver;
static struct loop_io *dns_io;
static int dns_fd;
static int rcode;
static uint32_t ttl;
static const char *answers[8]; /* IPv4, in this order; NULL ends */
static unsigned questions;     /* for A */
static char servers[32];

static size_t
question_end(const uint8_t *q, size_t n)
{
	size_t at = 12;

	while (at < n && q[at])
		at += q[at] + 1u;
	return at + 5;
}

static size_t
add_answer(uint8_t *out, const char *ip)
{
	static const uint8_t head[] = { 0xc0, 12, 0, 1, 0, 1 };
	struct in_addr a;

	assert_int_equal(inet_pton(AF_INET, ip, &a), 1);
	memcpy(out, head, 6);
	out[6] = (uint8_t)(ttl >> 24);
	out[7] = (uint8_t)(ttl >> 16);
	out[8] = (uint8_t)(ttl >> 8);
	out[9] = (uint8_t)ttl;
	out[10] = 0;
	out[11] = 4;
	memcpy(out + 12, &a, 4);
	return 16;
}

static void
on_question(void *arg, int fd, int events)
{
	uint8_t q[512];
	uint8_t a[1024];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from, &len);

	(void)arg;
	(void)events;
	if (n < 17)
		return;

	size_t end = question_end(q, (size_t)n);
	bool is_a = q[end - 3] == 1;
	size_t out = end;
	uint8_t count = 0;

	if (is_a)
		questions++;
	if (rcode == RCODE_SILENT)
		return;
	memcpy(a, q, end);
	a[2] = 0x81;
	a[3] = (uint8_t)(0x80 | rcode);
	memset(a + 4, 0, 8);
	a[5] = 1;
	for (; rcode == RCODE_OK && is_a && answers[count]; count++)
		out += add_answer(a + out, answers[count]);
	a[7] = count;
	sendto(fd, a, out, 0, (struct sockaddr *)&from, len);
}

static void
answer(const char *a, const char *b, const char *c)
{
	rcode = RCODE_OK;
	answers[0] = a;
	answers[1] = b;
	answers[2] = c;
	answers[3] = NULL;
}

static int
setup(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(at);
	struct err err;

	(void)state;
	loop = loop_new();
	resolver = resolve_new(loop, &err);
	dns_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (!resolver || bind(dns_fd, (struct sockaddr *)&at, len) ||
		getsockname(dns_fd, (struct sockaddr *)&at, &len))
		return -1;
	dns_io = loop_io_new(loop, dns_fd, LOOP_READ, on_question, NULL);
	snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(at.sin_port));
	ttl = 60;
	questions = 0;
	return resolve_set_servers(resolver, servers, &err);
}

static int
teardown(void **state)
{
	(void)state;
	resolve_free(resolver);
	loop_io_free(dns_io);
	close(dns_fd);
	loop_free(loop);
	return 0;
}

/* --- a watcher ---------------------------------------------------------------- */

struct seen {
	struct resolve_watch *watch;
	unsigned calls;
	unsigned stop_at; /* calls after which the loop stops */
	bool close_inside;
	char text[256]; /* addresses, then the error */
};

static void
on_seen(void *arg, const struct resolve_answer *a)
{
	struct seen *s = arg;
	char addr[ADDR_TEXT];
	size_t n = 0;

	s->text[0] = '\0';
	for (size_t i = 0; i < a->n; i++)
		n += (size_t)snprintf(s->text + n, sizeof(s->text) - n, "%s ",
			addr_format(&a->addrs[i].sa, a->addrs[i].len, addr));
	snprintf(s->text + n, sizeof(s->text) - n, "%s", a->error ? a->error : "ok");
	if (++s->calls == s->stop_at)
		loop_stop(loop);
	if (s->close_inside) {
		resolve_unwatch(s->watch);
		s->watch = NULL;
	}
}

static void
on_late(void *arg)
{
	*(bool *)arg = true;
	loop_stop(loop);
}

/* Run until a watcher stops the loop; false after the time. */
static bool
run_for(uint64_t ms)
{
	bool is_late = false;
	struct loop_timer *t = loop_timer_new(loop, on_late, &is_late);

	loop_timer_set(t, ms, false);
	loop_run(loop);
	loop_timer_free(t);
	return !is_late;
}

static void
test_addresses_are_sorted_with_the_port(void **state)
{
	struct seen s = { .stop_at = 1 };
	struct resolve_answer a;

	(void)state;
	answer("10.0.0.2", "10.0.0.1", "10.0.0.2");
	s.watch = resolve_watch(resolver, "a.example", 3000, on_seen, &s);
	resolve_get(s.watch, &a);
	assert_int_equal(a.n, 0);
	assert_null(a.error);
	assert_true(run_for(5000));
	assert_string_equal(s.text, "10.0.0.1:3000 10.0.0.2:3000 ok");
	resolve_get(s.watch, &a);
	assert_int_equal(a.n, 2);
	resolve_unwatch(s.watch);
}

static void
test_a_name_is_asked_for_once_for_all_its_watchers(void **state)
{
	struct seen s[3] = { { .stop_at = 0 }, { .stop_at = 1 }, { .stop_at = 1 } };

	(void)state;
	answer("10.0.0.1", NULL, NULL);
	s[0].watch = resolve_watch(resolver, "a.example", 1, on_seen, &s[0]);
	s[1].watch = resolve_watch(resolver, "a.example", 2, on_seen, &s[1]);
	assert_true(run_for(5000));
	/* a third one comes late and is told from what is known, not from inside the call */
	s[2].watch = resolve_watch(resolver, "a.example", 3, on_seen, &s[2]);
	assert_int_equal(s[2].calls, 0);
	assert_true(run_for(5000));
	assert_string_equal(s[0].text, "10.0.0.1:1 ok");
	assert_string_equal(s[1].text, "10.0.0.1:2 ok");
	assert_string_equal(s[2].text, "10.0.0.1:3 ok");
	assert_int_equal(questions, 1);
	for (int i = 0; i < 3; i++)
		resolve_unwatch(s[i].watch);
}

/* A short time to live is raised to the floor: asked again after 5 s, not after each second. */
static void
test_refresh_after_the_floor_and_last_good_answer_kept(void **state)
{
	struct seen s = { .stop_at = 1 };
	struct resolve_answer a;

	(void)state;
	ttl = 1;
	answer("10.0.0.1", NULL, NULL);
	s.watch = resolve_watch(resolver, "a.example", 80, on_seen, &s);
	assert_true(run_for(5000));
	s.stop_at = 2;
	rcode = RCODE_NXDOMAIN;
	assert_false(run_for(2500));
	assert_int_equal(questions, 1);
	assert_true(run_for(10000));
	assert_string_equal(s.text, "10.0.0.1:80 nxdomain");
	/* asked again with back-off; the next good answer is told */
	s.stop_at = 3;
	answer("10.0.0.9", NULL, NULL);
	assert_true(run_for(15000));
	assert_string_equal(s.text, "10.0.0.9:80 ok");
	resolve_get(s.watch, &a);
	assert_null(a.error);
	resolve_unwatch(s.watch);
}

static void
test_failures(void **state)
{
	static const struct {
		const char *name;
		int rcode;
		const char *text;
	} rows[] = {
		{ "nxdomain.example", RCODE_NXDOMAIN, "nxdomain" },
		{ "servfail.example", RCODE_SERVFAIL, "dns_failed" },
		{ "nodata.example", RCODE_OK, "no_data" },
		{ "silent.example", RCODE_SILENT, "timeout" },
	};

	(void)state;
	answer(NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct seen s = { .stop_at = 1 };

		rcode = rows[i].rcode;
		s.watch = resolve_watch(resolver, rows[i].name, 1, on_seen, &s);
		if (!run_for(15000))
			fail_msg("%s: no answer", rows[i].name);
		if (strcmp(s.text, rows[i].text) != 0)
			fail_msg("%s: %s", rows[i].name, s.text);
		resolve_unwatch(s.watch);
	}
}

static void
test_hosts_file_counts(void **state)
{
	struct seen s = { .stop_at = 1 };

	(void)state;
	rcode = RCODE_NXDOMAIN;
	s.watch = resolve_watch(resolver, "localhost", 80, on_seen, &s);
	assert_true(run_for(5000));
	assert_memory_equal(s.text, "127.0.0.1:80 ", 13);
	assert_int_equal(questions, 0);
	resolve_unwatch(s.watch);
}

static void
test_closing_at_any_time(void **state)
{
	struct seen in = { .stop_at = 0, .close_inside = true };
	struct seen other = { .stop_at = 1 };
	struct seen never = { .stop_at = 0 };

	(void)state;
	answer("10.0.0.1", NULL, NULL);
	in.watch = resolve_watch(resolver, "a.example", 1, on_seen, &in);
	other.watch = resolve_watch(resolver, "a.example", 1, on_seen, &other);
	/* before it was asked for */
	never.watch = resolve_watch(resolver, "b.example", 1, on_seen, &never);
	resolve_unwatch(never.watch);
	/* while the question is open */
	rcode = RCODE_SILENT;
	never.watch = resolve_watch(resolver, "c.example", 1, on_seen, &never);
	assert_false(run_for(200));
	resolve_unwatch(never.watch);
	answer("10.0.0.1", NULL, NULL);
	assert_true(run_for(10000));
	assert_int_equal(in.calls, 1);
	assert_null(in.watch);
	assert_int_equal(never.calls, 0);
	resolve_unwatch(other.watch);
	/* with a question open, teardown ends it */
	rcode = RCODE_SILENT;
	never.watch = resolve_watch(resolver, "d.example", 1, on_seen, &never);
	assert_false(run_for(200));
	resolve_unwatch(never.watch);
}

/* Thousands of names: all answered, with a bounded number of questions open. */
static void
test_many_names(void **state)
{
	enum { NAMES = 3000 };
	struct seen *s = xcalloc(NAMES, sizeof(*s));
	struct resolve_stats st;
	unsigned told = 0;

	(void)state;
	answer("10.0.0.1", NULL, NULL);
	for (int i = 0; i < NAMES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "n%d.example", i);
		s[i].watch = resolve_watch(resolver, name, 1, on_seen, &s[i]);
	}
	for (int turn = 0; turn < 50 && told < NAMES; turn++) {
		told = 0;
		run_for(200);
		for (int i = 0; i < NAMES; i++)
			told += s[i].calls > 0;
	}
	assert_int_equal(told, NAMES);
	resolve_stats(resolver, &st);
	assert_int_equal(st.names, NAMES);
	assert_int_equal(st.failures, 0);
	for (int i = 0; i < NAMES; i++)
		resolve_unwatch(s[i].watch);
	resolve_stats(resolver, &st);
	assert_int_equal(st.names, 0);
	free(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_addresses_are_sorted_with_the_port),
		TEST(test_a_name_is_asked_for_once_for_all_its_watchers),
		TEST(test_refresh_after_the_floor_and_last_good_answer_kept),
		TEST(test_failures),
		TEST(test_hosts_file_counts),
		TEST(test_closing_at_any_time),
		TEST(test_many_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
