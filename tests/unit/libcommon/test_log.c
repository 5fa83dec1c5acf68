/*
 * log: a record is one line whatever is in it, threads do not mix, levels and limits hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/log.h"

static FILE *capture;
static int real_stderr;

static int
setup(void **state)
{
	(void)state;
	capture = tmpfile();
	real_stderr = dup(STDERR_FILENO);
	dup2(fileno(capture), STDERR_FILENO);
	log_set_level(LOG_LEVEL_INFO);
	log_set_name(NULL);
	log_set_hook(NULL, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	fclose(capture);
	return 0;
}

/* All that was logged; the caller frees it. */
static char *
captured(void)
{
	off_t n = lseek(fileno(capture), 0, SEEK_END);
	char *text = malloc((size_t)n + 1);

	assert_int_equal(pread(fileno(capture), text, (size_t)n, 0), n);
	text[n] = '\0';
	return text;
}

/* The one line without its time, which has a fixed form. */
static void
assert_line(const char *want)
{
	char *text = captured();
	static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";

	for (size_t i = 0; i < sizeof(form) - 1; i++) {
		if (form[i] == 'd')
			assert_in_range(text[i], '0', '9');
		else
			assert_int_equal(text[i], form[i]);
	}
	assert_string_equal(text + sizeof(form) - 1, want);
	free(text);
}

static void
writes_keys_and_values(void **state)
{
	(void)state;
	log_set_name("routerd.0");
	LOG_WARN("upstream_timeout", L_STR("req", "7f3a"), L_INT("waited_ms", 3000),
		L_INT("low", INT64_MIN), L_SLICE("part", slice_make("abcdef", 3)));
	assert_line("routerd.0 warn upstream_timeout req=7f3a waited_ms=3000 "
		    "low=-9223372036854775808 part=abc\n");
}

static void
cannot_be_forged(void **state)
{
	(void)state;
	LOG_ERROR("x", L_STR("a", "1\nerror fake b=2"), L_STR("b", "q\"\\"), L_STR("c", ""),
		L_STR("d", "k=v"), L_SLICE("e", SLICE("\0\x1b\x7f\x80\xff")), L_STR("f", "a b"),
		L_STR("g", NULL));
	assert_line("error x a=\"1\\x0aerror fake b=2\" b=\"q\\\"\\\\\" c=\"\" d=\"k=v\" "
		    "e=\"\\x00\\x1b\\x7f\\x80\\xff\" f=\"a b\" g=\"\"\n");
}

/* However long the value and whatever it ends on: one line, with its end. */
static void
cuts_long_lines(void **state)
{
	char value[5000];

	(void)state;
	for (size_t n = 1900; n < 2100; n++) {
		memset(value, n % 2 ? '\n' : 'x', sizeof(value));
		assert_int_equal(ftruncate(fileno(capture), 0), 0);
		lseek(fileno(capture), 0, SEEK_SET);
		LOG_WARN("long", L_SLICE("v", slice_make(value, n)), L_STR("w", "after"));

		char *text = captured();
		size_t len = strlen(text);

		assert_in_range(len, 1000, 2048);
		assert_ptr_equal(strchr(text, '\n'), text + len - 1);
		free(text);
	}
}

static unsigned evaluated;

static const char *
expensive(void)
{
	evaluated++;
	return "x";
}

static void
is_silent_below_the_level(void **state)
{
	enum log_level level;

	(void)state;
	evaluated = 0;
	LOG_DEBUG("no", L_STR("v", expensive()));
	assert_int_equal(evaluated, 0);
	log_set_level(LOG_LEVEL_ERROR);
	LOG_WARN("no", L_STR("v", expensive()));
	assert_int_equal(evaluated, 0);
	log_set_level(LOG_LEVEL_DEBUG);
	LOG_DEBUG("yes", L_STR("v", expensive()));
	assert_int_equal(evaluated, 1);
	assert_line("debug yes v=x\n");
	for (unsigned i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_ERROR; i++) {
		const char *name = log_level_name((enum log_level)i);

		assert_true(log_level_parse(slice_str(name), &level));
		assert_int_equal(level, i);
	}
	assert_false(log_level_parse(SLICE("Warn"), &level));
	assert_false(log_level_parse(SLICE(""), &level));
}

static unsigned hook_calls;

static void
on_record(void *arg, const struct log_record *rec)
{
	hook_calls++;
	assert_ptr_equal(arg, &hook_calls);
	assert_int_equal(rec->level, LOG_LEVEL_WARN);
	assert_string_equal(rec->event, "seen");
	assert_int_equal(rec->count, 2);
	assert_string_equal(rec->fields[0].key, "a");
	assert_true(slice_eq(rec->fields[0].str, SLICE("1\n")));
	assert_int_equal(rec->fields[1].num, 2);
	assert_true(rec->wall_ms > 1600000000000);
}

static void
tells_the_hook(void **state)
{
	(void)state;
	hook_calls = 0;
	log_set_level(LOG_LEVEL_DEBUG);
	log_set_hook(on_record, &hook_calls);
	LOG_WARN("seen", L_STR("a", "1\n"), L_INT("b", 2));
	LOG_DEBUG("unseen", L_STR("a", "1"));
	assert_int_equal(hook_calls, 1);
}

static void *
log_much(void *arg)
{
	for (int i = 0; i < 2000; i++)
		LOG_INFO("thread", L_STR("id", arg), L_INT("i", i), L_STR("fill", "0123456789"));
	return NULL;
}

/* While the level changes under them, which must be safe. */
static void
keeps_threads_apart(void **state)
{
	static char names[4][2] = { "a", "b", "c", "d" };
	pthread_t threads[4];
	unsigned lines = 0;
	char *save = NULL;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_much, names[i]), 0);
	for (unsigned i = 0; i < 1000; i++)
		log_set_level(i % 2 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);

	char *text = captured();

	for (char *line = strtok_r(text, "\n", &save); line != NULL;
		line = strtok_r(NULL, "\n", &save)) {
		char id;
		int i;
		int end = 0;

		assert_int_equal(sscanf(line + 25, "info thread id=%c i=%d fill=0123456789%n", &id,
					 &i, &end),
			2);
		assert_int_equal(line[25 + end], '\0');
		lines++;
	}
	assert_int_equal(lines, 8000);
	free(text);
}

/* The count starts again with a second of the clock, so the test begins right behind such a border.
 */
static void
limits_what_peers_trigger(void **state)
{
	struct log_limit limit = { .burst = 3 };
	uint32_t dropped;
	bool is_same_second;

	(void)state;
	do {
		struct timespec ts;
		int64_t second;
		unsigned allowed = 0;

		clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
		second = ts.tv_sec;
		limit = (struct log_limit){ .burst = 3 };
		for (unsigned i = 0; i < 10; i++)
			allowed += log_allow(&limit, &dropped);
		clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
		is_same_second = ts.tv_sec == second;
		if (is_same_second)
			assert_int_equal(allowed, 3);
	} while (!is_same_second);
	/* As if the last second had been another one. */
	limit.second--;
	assert_true(log_allow(&limit, &dropped));
	assert_int_equal(dropped, 7);
	assert_true(log_allow(&limit, &dropped));
	assert_int_equal(dropped, 0);
}

/* What a full pipe or socket costs is lines, and where they are missing stands how many. */
static void
fill_and_drain(int reader, int writer)
{
	static char text[1 << 20];
	size_t n = 0;
	unsigned lines = 0;
	unsigned lost = 0;
	bool seen_after = false;
	char *save = NULL;
	uint64_t before = log_lost();

	dup2(writer, STDERR_FILENO);
	close(writer);
	log_never_wait();
	for (int i = 0; i < 10000; i++)
		LOG_INFO("fill", L_INT("i", i), L_STR("with", "0123456789 0123456789 0123456789"));
	assert_true(log_lost() - before > 1000);
	/* Half of it is read: it goes on. */
	for (int turn = 0; turn < 2; turn++) {
		ssize_t got;

		do {
			got = read(reader, text + n, sizeof(text) - 1 - n);
			n += got > 0 ? (size_t)got : 0;
		} while (got > 0);
		if (turn == 0)
			LOG_INFO("after", L_INT("i", 0));
	}
	text[n] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line != NULL;
		line = strtok_r(NULL, "\n", &save)) {
		int end = 0;

		if (sscanf(line + 25, "warn log_lost lines=%u%n", &lost, &end) == 1) {
			assert_int_equal(line[25 + end], '\0');
			continue;
		}
		seen_after = seen_after || strcmp(line + 25, "info after i=0") == 0;
		lines++;
	}
	assert_int_equal(lost, log_lost() - before);
	/* A stream socket may have taken half of the last line before it was full. */
	assert_in_range(lines, 10001 - lost, 10001 - lost + 1);
	assert_true(seen_after);
	close(reader);
	dup2(real_stderr, STDERR_FILENO);
	log_never_wait();
}

static void
never_waits_for_a_reader(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	fill_and_drain(ends[0], ends[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	fill_and_drain(ends[0], ends[1]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(writes_keys_and_values),
		TEST(cannot_be_forged),
		TEST(cuts_long_lines),
		TEST(is_silent_below_the_level),
		TEST(tells_the_hook),
		TEST(keeps_threads_apart),
		TEST(never_waits_for_a_reader),
		TEST(limits_what_peers_trigger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
