/*
 * log: formats a record into one buffer and writes it with one call, so that lines of several
 * threads and processes never mix.
 *
 * A worker that logs must not wait for who reads the log: a pipe or terminal is opened once more,
 * for us alone, and without blocking; the flag on the one we were given would be everybody's.
 */
#include "libcommon/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum log_level log_threshold = LOG_LEVEL_INFO;

static const char *const level_names[] = { "debug", "info", "warn", "error" };
static const char *log_name;

struct hook {
	void (*fn)(void *arg, const struct log_record *rec);
	void *arg;
};

static struct hook hook;

enum way { WAY_WRITE, WAY_SEND, WAY_ASK };

/* Set before there are threads. */
static enum way out_way;
static int out_fd = STDERR_FILENO;

static _Atomic uint64_t lost;
static _Atomic uint64_t lost_reported;
static _Atomic bool is_torn; /* the end of the last line is missing */

/* A line that does not fit is cut: a log line is for people, not a container. */
struct line {
	char buf[2048]; /* the first byte is a newline, written only behind half a line */
	size_t n;
};

void
log_set_level(enum log_level level)
{
	__atomic_store_n(&log_threshold, level, __ATOMIC_RELAXED);
}

const char *
log_level_name(enum log_level level)
{
	return level_names[level];
}

bool
log_level_parse(struct slice s, enum log_level *out)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(*level_names); i++) {
		if (slice_eq(s, slice_str(level_names[i]))) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void
log_set_name(const char *name)
{
	log_name = name;
}

void
log_set_hook(void (*fn)(void *arg, const struct log_record *rec), void *arg)
{
	hook = (struct hook){ fn, arg };
}

static void
put(struct line *l, const char *p, size_t n)
{
	size_t room = sizeof(l->buf) - 1 - l->n;

	if (n > room)
		n = room;
	memcpy(l->buf + l->n, p, n);
	l->n += n;
}

static bool
is_plain(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= 0x20 || c == '"' || c == '\\' || c == '=' || c >= 0x7f)
			return false;
	}
	return s.n > 0;
}

/* Bare when it needs no quotes, else quoted with \" \\ and \xHH. */
static void
put_value(struct line *l, struct slice s)
{
	if (is_plain(s)) {
		put(l, s.p, s.n);
		return;
	}
	put(l, "\"", 1);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		char hex[5];

		if (c == '"' || c == '\\') {
			put(l, "\\", 1);
			put(l, (const char *)&c, 1);
		} else if (c < 0x20 || c >= 0x7f) {
			snprintf(hex, sizeof(hex), "\\x%02x", c);
			put(l, hex, 4);
		} else {
			put(l, (const char *)&c, 1);
		}
	}
	put(l, "\"", 1);
}

void
log_never_wait(void)
{
	struct stat st;

	if (out_fd != STDERR_FILENO)
		close(out_fd);
	out_fd = STDERR_FILENO;
	out_way = WAY_WRITE;
	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	if (S_ISSOCK(st.st_mode)) {
		out_way = WAY_SEND;
	} else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		/* Not ours to open: asking first leaves a race with other writers, and no better.
		 */
		if (fd < 0)
			out_way = WAY_ASK;
		else
			out_fd = fd;
	}
}

uint64_t
log_lost(void)
{
	return atomic_load_explicit(&lost, memory_order_relaxed);
}

static ssize_t
write_some(const char *p, size_t n)
{
	struct pollfd ask = { .fd = out_fd, .events = POLLOUT };

	switch (out_way) {
	case WAY_SEND: return send(out_fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	case WAY_ASK:
		if (poll(&ask, 1, 0) != 1)
			return -1;
		break;
	case WAY_WRITE: break;
	}
	return write(out_fd, p, n);
}

static bool
put_out(struct line *l)
{
	bool was_torn = atomic_exchange(&is_torn, false);
	size_t all = l->n - !was_torn;
	ssize_t n = write_some(l->buf + !was_torn, all);

	if (n < (ssize_t)all && (n > 0 || was_torn))
		atomic_store(&is_torn, true);
	return n == (ssize_t)all;
}

static void
begin_line(struct line *l, const struct timespec *ts, enum log_level level, const char *event)
{
	struct tm tm;
	char stamp[40];

	gmtime_r(&ts->tv_sec, &tm);

	int n = snprintf(stamp, sizeof(stamp), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ ",
		tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		ts->tv_nsec / 1000000);

	put(l, "\n", 1);
	put(l, stamp, (size_t)n);
	if (log_name != NULL) {
		put(l, log_name, strlen(log_name));
		put(l, " ", 1);
	}
	put(l, level_names[level], strlen(level_names[level]));
	put(l, " ", 1);
	put(l, event, strlen(event));
}

/* Lines are lost between the last one that was written and this one: say how many. */
static bool
report_lost(const struct timespec *ts, uint64_t seen)
{
	struct line l = { .n = 0 };
	char count[48];

	begin_line(&l, ts, LOG_LEVEL_WARN, "log_lost");

	int n = snprintf(count, sizeof(count), " lines=%" PRIu64,
		seen - atomic_load_explicit(&lost_reported, memory_order_relaxed));

	put(&l, count, (size_t)n);
	l.buf[l.n++] = '\n';
	if (!put_out(&l))
		return false;
	atomic_store_explicit(&lost_reported, seen, memory_order_relaxed);
	return true;
}

void
log_write(enum log_level level, const char *event, const struct log_field *fields, unsigned count)
{
	struct line l = { .n = 0 };
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	begin_line(&l, &ts, level, event);
	for (unsigned i = 0; i < count; i++) {
		char num[24];

		put(&l, " ", 1);
		put(&l, fields[i].key, strlen(fields[i].key));
		put(&l, "=", 1);
		if (fields[i].kind == LOG_KIND_STR) {
			put_value(&l, fields[i].str);
		} else {
			int n = snprintf(num, sizeof(num), "%" PRId64, fields[i].num);

			put(&l, num, (size_t)n);
		}
	}
	l.buf[l.n++] = '\n';

	/* A log that cannot be written must not stop the work: it is said when it can be again. */
	uint64_t seen = log_lost();
	bool is_open = seen == atomic_load_explicit(&lost_reported, memory_order_relaxed) ||
		report_lost(&ts, seen);

	if (!is_open || !put_out(&l))
		atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
	if (hook.fn != NULL && level >= LOG_LEVEL_INFO) {
		struct log_record rec = {
			.level = level,
			.event = event,
			.fields = fields,
			.count = count,
			.wall_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000,
		};

		hook.fn(hook.arg, &rec);
	}
}

bool
log_allow(struct log_limit *limit, uint32_t *dropped)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	*dropped = 0;
	if (ts.tv_sec != limit->second) {
		limit->second = ts.tv_sec;
		limit->used = 0;
		*dropped = limit->dropped;
		limit->dropped = 0;
	}
	if (limit->used >= limit->burst) {
		limit->dropped++;
		return false;
	}
	limit->used++;
	return true;
}
