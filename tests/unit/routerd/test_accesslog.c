/*
 * The log thread against real files and pipes: every line once and whole, or counted as lost.
 * Conditions are waited for, with a deadline.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"
#include "routerd/accesslog.h"
#include "routerd/logformat.h"

static const struct logformat combined = { .kind = ACCESSLOG_COMBINED };
static char dir[] = "/tmp/accesslog.XXXXXX";

static char *
path_of(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static struct accesslog *
open_log(const char *path, size_t buffer, unsigned workers)
{
	struct err err;
	struct accesslog *l = accesslog_new(path, buffer, workers, &err);

	if (!l)
		fail_msg("%s", err.text);
	return l;
}

static void
write_line(struct accesslog_ring *r, const char *target, unsigned number)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s%u", target, number);
	struct access_entry e = {
		.wall_s = 1700000000,
		.client = SLICE("192.0.2.7"),
		.method = SLICE("GET"),
		.target = slice_make(text, (size_t)n),
		.version_major = 1,
		.version_minor = 1,
		.status = 200,
	};

	accesslog_write(r, &combined, &e, NULL);
}

static void
read_all(const char *path, struct sbuf *out)
{
	FILE *f = fopen(path, "r");
	size_t n;

	sbuf_clear(out);
	sbuf_adds(out, "");
	if (!f)
		return;
	while ((n = fread(sbuf_reserve(out, 65536), 1, 65536, f)) > 0)
		out->n += n;
	sbuf_adds(out, "");
	out->p[out->n] = '\0';
	fclose(f);
}

static unsigned
count(const struct sbuf *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = text->p, *end = p + text->n;
		(p = memmem(p, (size_t)(end - p), what, strlen(what))); p++)
		n++;
	return n;
}

/* For long texts: sanitizers look at all that is left for each memmem. */
static unsigned
count_lines(const struct sbuf *text)
{
	unsigned n = 0;

	for (size_t i = 0; i < text->n; i++)
		n += text->p[i] == '\n';
	return n;
}

static void
nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* Until the file has that many lines with `what`. */
static void
wait_for(const char *path, const char *what, unsigned want)
{
	struct sbuf text = { 0 };
	unsigned found = 0;

	for (unsigned i = 0; i < 2500 && found < want; i++) {
		read_all(path, &text);
		found = count(&text, what);
		if (found < want)
			nap();
	}
	sbuf_fini(&text);
	assert_int_equal(found, want);
}

static void
wait_lost(const struct accesslog *l, uint64_t want)
{
	for (unsigned i = 0; i < 2500 && accesslog_dropped(l) < want; i++)
		nap();
	assert_true(accesslog_dropped(l) >= want);
}

/* Each line that begins as ours ends as ours. */
static void
check_whole(const struct sbuf *text)
{
	const char *p = text->p;

	while (*p) {
		const char *end = strchr(p, '\n');

		assert_non_null(end);
		if (strncmp(p, "192.0.2.7 - - [", 15) != 0 ||
			memcmp(end - 7, "\"-\" \"-\"", 7) != 0)
			fail_msg("torn: %.*s", (int)(end - p), p);
		p = end + 1;
	}
}

static void
test_off(void **state)
{
	struct err err = { "untouched" };

	(void)state;
	assert_null(accesslog_new(NULL, 1 << 20, 1, &err));
	assert_string_equal(err.text, "untouched");
	accesslog_free(NULL);
}

static void
test_cannot_open(void **state)
{
	struct err err;

	(void)state;
	assert_null(accesslog_new("/nonexistent/x", 1 << 20, 1, &err));
	assert_non_null(strstr(err.text, "/nonexistent/x cannot be opened: No such file"));
}

/* A line appears by itself, whether the thread naps or sleeps. */
static void
test_appears(void **state)
{
	char *path = path_of("appears");
	struct accesslog *l = open_log(path, 128 << 10, 1);

	(void)state;
	for (unsigned i = 1; i <= 12; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = (long)i % 4 * 40000000 }, NULL);
		write_line(accesslog_ring(l, 0), "/n", i);
		wait_for(path, "GET /n", i);
	}
	accesslog_free(l);
	free(path);
}

struct writer {
	struct accesslog_ring *ring;
	unsigned count;
	char name[8];
};

static void *
writer_run(void *arg)
{
	struct writer *w = arg;

	for (unsigned i = 0; i < w->count; i++) {
		write_line(w->ring, w->name, i);
		if (i % 64 == 0)
			nap();
	}
	return NULL;
}

/* Numbers of one worker rise. One pass: the text is long. */
static void
check_order(const struct sbuf *text)
{
	long before[10] = { 0 };

	for (const char *p = text->p; (p = strchr(p, '\n')) && p[1]; p++) {
		const char *w = memchr(p, '"', 100);
		unsigned worker = (unsigned)(w[strlen("\"GET /w")] - '0');
		long number = atol(w + strlen("\"GET /w0/")) + 1;

		assert_true(worker < 10 && number > before[worker]);
		before[worker] = number;
	}
}

/* Several workers, rings that wrap many times: every line once, whole, in its worker's order. */
static void
test_workers(void **state)
{
	enum { WORKERS = 4, LINES = 8000 };
	char *path = path_of("workers");
	struct accesslog *l = open_log(path, 128 << 10, WORKERS);
	struct writer w[WORKERS];
	pthread_t threads[WORKERS];
	struct sbuf text = { 0 };

	(void)state;
	for (unsigned i = 0; i < WORKERS; i++) {
		w[i] = (struct writer){ accesslog_ring(l, i), LINES, "" };
		snprintf(w[i].name, sizeof(w[i].name), "/w%u/", i);
		pthread_create(&threads[i], NULL, writer_run, &w[i]);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);

	uint64_t lost = accesslog_dropped(l);

	accesslog_free(l);
	read_all(path, &text);
	check_whole(&text);
	assert_int_equal(count_lines(&text) + lost, WORKERS * LINES);
	check_order(&text);
	sbuf_fini(&text);
	free(path);
}

/* --- who reads too slowly, or not at all --- */

/* Nobody reads a pipe: lines are dropped and counted, the worker goes on, the end comes soon. */
static void
test_full_pipe(void **state)
{
	char *path = path_of("fifo");
	struct timespec t0, t1;
	int reader;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);

	struct accesslog *l = open_log(path, 128 << 10, 1);

	for (unsigned i = 0; i < 20000; i++)
		write_line(accesslog_ring(l, 0), "/x", i);
	assert_true(accesslog_dropped(l) > 1000);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	accesslog_free(l);
	clock_gettime(CLOCK_MONOTONIC, &t1);
	assert_true(t1.tv_sec - t0.tv_sec <= 3);
	close(reader);
	free(path);
}

/* A slow reader of a pipe gets whole lines, each once. */
static void
test_slow_pipe(void **state)
{
	char *path = path_of("slow");
	struct sbuf text = { 0 };
	ssize_t n;
	int reader;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);

	struct accesslog *l = open_log(path, 256 << 10, 2);

	sbuf_adds(&text, "");
	for (unsigned i = 0; i < 1200; i++)
		write_line(accesslog_ring(l, i % 2), "/x", i);
	while (count(&text, "\n") < 1200) {
		n = read(reader, sbuf_reserve(&text, 3000), 3000);
		text.n += n > 0 ? (size_t)n : 0;
		text.p[text.n] = '\0';
		if (n <= 0)
			nap();
	}
	assert_int_equal(accesslog_dropped(l), 0);
	check_whole(&text);
	accesslog_free(l);
	close(reader);
	sbuf_fini(&text);
	free(path);
}

static void
test_fifo_without_reader(void **state)
{
	char *path = path_of("alone");
	struct err err;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(accesslog_new(path, 1 << 17, 1, &err));
	assert_non_null(strstr(err.text, "cannot be opened"));
	free(path);
}

/* Reader gone: EPIPE, not SIGPIPE; counted, and workers go on. */
static void
test_broken_pipe(void **state)
{
	char *path = path_of("broken");
	int reader;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);

	struct accesslog *l = open_log(path, 1 << 17, 1);

	close(reader);
	for (unsigned i = 0; i < 10; i++)
		write_line(accesslog_ring(l, 0), "/x", i);
	wait_lost(l, 10);
	accesslog_free(l);
	free(path);
}

static unsigned warnings;

static void
count_warnings(void *arg, const struct log_record *rec)
{
	(void)arg;
	if (strcmp(rec->event, "access_log_lost") == 0)
		__atomic_add_fetch(&warnings, 1, __ATOMIC_SEQ_CST);
}

/* A full disk: lines are counted, and said once. */
static void
test_full_disk(void **state)
{
	struct accesslog *l = open_log("/dev/full", 1 << 17, 1);

	(void)state;
	log_set_hook(count_warnings, NULL);
	for (unsigned i = 0; i < 5; i++) {
		write_line(accesslog_ring(l, 0), "/x", i);
		wait_lost(l, i + 1);
	}
	accesslog_free(l);
	log_set_hook(NULL, NULL);
	assert_int_equal(warnings, 1);
}

static void
limit_files(rlim_t max)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = max < limit.rlim_max ? max : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* What ran full in the middle of a line goes on with a new line. */
static void
test_torn(void **state)
{
	char *path = path_of("torn");
	struct accesslog *l = open_log(path, 1 << 17, 1);
	struct sbuf text = { 0 };
	const char *torn;

	(void)state;
	write_line(accesslog_ring(l, 0), "/one", 1);
	wait_for(path, "\n", 1);
	read_all(path, &text);
	limit_files(text.n + 20);
	write_line(accesslog_ring(l, 0), "/two", 2);
	wait_lost(l, 1);
	limit_files(RLIM_INFINITY);
	write_line(accesslog_ring(l, 0), "/three", 3);
	wait_for(path, "/three", 1);
	accesslog_free(l);
	read_all(path, &text);
	torn = strchr(text.p, '\n') + 1;
	assert_int_equal(strchr(torn, '\n') - torn, 20);
	assert_memory_equal(torn + 21, "192.0.2.7 - - [", 15);
	assert_int_equal(count(&text, "/two"), 0);
	assert_int_equal(count(&text, "\n"), 3);
	sbuf_fini(&text);
	free(path);
}

/* --- reload and rotation --- */

static void
test_reopen(void **state)
{
	char *path = path_of("rotate");
	char *old = path_of("rotate.1");
	struct accesslog *l = open_log(path, 1 << 17, 1);

	(void)state;
	write_line(accesslog_ring(l, 0), "/before", 0);
	wait_for(path, "/before", 1);
	assert_int_equal(rename(path, old), 0);
	write_line(accesslog_ring(l, 0), "/still", 0);
	accesslog_reopen(l);
	wait_for(old, "/still", 1);
	for (unsigned i = 0; access(path, F_OK) != 0 && i < 2500; i++)
		nap();
	write_line(accesslog_ring(l, 0), "/after", 0);
	wait_for(path, "/after", 1);
	wait_for(old, "GET", 2);
	accesslog_free(l);
	free(old);
	free(path);
}

/* The folder is gone: the old file stays in use. */
static void
test_reopen_fails(void **state)
{
	char *sub = path_of("sub");
	char *moved = path_of("moved");
	char *path = path_of("sub/log");
	char *now = path_of("moved/log");
	struct accesslog *l;

	(void)state;
	assert_int_equal(mkdir(sub, 0700), 0);
	l = open_log(path, 1 << 17, 1);
	assert_int_equal(rename(sub, moved), 0);
	accesslog_reopen(l);
	write_line(accesslog_ring(l, 0), "/x", 0);
	wait_for(now, "/x", 1);
	accesslog_free(l);
	free(sub);
	free(moved);
	free(path);
	free(now);
}

/* Orders are obeyed soon, not at once: until a line lands there. */
static void
write_until(struct accesslog_ring *r, const char *path, const char *target)
{
	struct sbuf text = { 0 };

	for (unsigned i = 0;; i++) {
		write_line(r, target, i);
		read_all(path, &text);
		if (count(&text, target) > 0)
			break;
		assert_true(i < 2500);
		nap();
	}
	sbuf_fini(&text);
}

static void
test_set(void **state)
{
	char *a = path_of("set.a");
	char *b = path_of("set.b");
	struct accesslog *l = open_log(a, 1 << 17, 1);
	struct accesslog_ring *r = accesslog_ring(l, 0);
	struct err err;

	(void)state;
	write_line(r, "/one", 0);
	assert_int_equal(accesslog_set(l, b, &err), 0);
	wait_for(a, "/one", 1);
	write_until(r, b, "/two");
	/* on failure all stays */
	assert_int_equal(accesslog_set(l, "/nonexistent/x", &err), -1);
	write_line(r, "/three", 0);
	wait_for(b, "/three", 1);
	/* the same file is not opened again: here it could be, but as another one */
	assert_int_equal(unlink(b), 0);
	assert_int_equal(accesslog_set(l, b, &err), 0);
	assert_int_equal(access(b, F_OK), -1);
	/* off, and on again */
	assert_int_equal(accesslog_set(l, NULL, &err), 0);
	assert_int_equal(accesslog_set(l, a, &err), 0);
	write_until(r, a, "/again");
	accesslog_free(l);
	free(a);
	free(b);
}

/* Orders that come faster than the thread obeys: nothing leaks, the last one holds. */
static void
test_many_orders(void **state)
{
	char *a = path_of("many.a");
	char *b = path_of("many.b");
	struct accesslog *l = open_log(a, 1 << 17, 1);
	struct err err;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(accesslog_set(l, i % 2 ? a : b, &err), 0);
		accesslog_reopen(l);
		write_line(accesslog_ring(l, 0), "/x", i);
	}
	assert_int_equal(accesslog_dropped(l), 0);
	accesslog_free(l);

	struct sbuf text = { 0 };
	unsigned lines;

	read_all(a, &text);
	check_whole(&text);
	lines = count(&text, "\n");
	read_all(b, &text);
	check_whole(&text);
	assert_int_equal(lines + count(&text, "\n"), 200);
	sbuf_fini(&text);
	free(a);
	free(b);
}

static int
make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int
remove_dir(void **state)
{
	char *command = xasprintf("rm -r '%s'", dir);
	int r = system(command);

	(void)state;
	free(command);
	return r;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_cannot_open),
		cmocka_unit_test(test_appears),
		cmocka_unit_test(test_workers),
		cmocka_unit_test(test_full_pipe),
		cmocka_unit_test(test_slow_pipe),
		cmocka_unit_test(test_fifo_without_reader),
		cmocka_unit_test(test_broken_pipe),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_reopen),
		cmocka_unit_test(test_reopen_fails),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_many_orders),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
