/*
 * accesslog: a byte ring per worker, and one thread that writes them out. A worker publishes whole
 * lines and never waits; what finds no room is dropped and counted. The thread looks every NAP_MS
 * while there is traffic, so that a busy worker makes no system call per line, and sleeps on an
 * eventfd when there is none.
 *
 * A ring has one writer and one reader. head and the thread's state are stored and read in one
 * total order (seq_cst): either the worker sees that the thread is about to sleep and wakes it, or
 * the thread sees the new line.
 */
#include "routerd/accesslog.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "routerd/accesslog_file.h"
#include "routerd/logformat.h"

enum {
	NAP_MS = 20,
	NAPS_IDLE = 3, /* naps without a line before the thread sleeps */
	STOP_MS = 1000,
	REPORT_MS = 60000,
};

enum thread_state { AWAKE, NAPPING, SLEEPING };

struct accesslog_ring {
	/* the worker's */
	_Alignas(64) _Atomic uint64_t head;
	uint64_t tail_seen; /* no newer than tail: spares reading the thread's line */
	_Atomic uint64_t dropped;
	char *line; /* where a line is made, ACCESSLOG_LINE_MAX; behind it LOGFORMAT_SCRATCH */
	/* the thread's */
	_Alignas(64) _Atomic uint64_t tail;
	/* nobody's: never changes */
	_Alignas(64) struct accesslog *log;
	char *bytes;
	uint64_t cap; /* a power of two */
};

/* What the main thread wants done; taken by the thread. */
struct order {
	bool has_file;  /* file is the new one, fd -1: off */
	bool is_reopen; /* open the same path again */
	struct logfile file;
};

struct accesslog {
	_Atomic int state; /* enum thread_state */
	_Atomic bool stop;
	_Atomic uint64_t lost; /* lines that could not be written */
	int wake_fd;
	unsigned count;
	struct accesslog_ring **rings;
	pthread_t thread;
	pthread_mutex_t lock; /* of order */
	struct order order;
	char *path; /* the main thread's: what was asked for last */
	/* the thread's alone */
	struct logfile file;
	unsigned current; /* ring that is being written */
	uint64_t reported;
	int64_t report_at_ms; /* not again before */
	int error;            /* of the last write that failed since the last report */
};

/* --- worker --- */

static void
wake(struct accesslog *l)
{
	uint64_t one = 1;

	/* It fails only when the counter is full: then it is awake. */
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN || errno == EINTR);
}

static void
ring_put(struct accesslog_ring *r, uint64_t at, const char *p, size_t n)
{
	size_t offset = (size_t)(at & (r->cap - 1));
	size_t first = n < r->cap - offset ? n : (size_t)(r->cap - offset);

	memcpy(r->bytes + offset, p, first);
	memcpy(r->bytes, p + first, n - first);
}

static bool
ring_has_room(struct accesslog_ring *r, uint64_t head, size_t n)
{
	if (r->cap - (head - r->tail_seen) >= n)
		return true;
	r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
	return r->cap - (head - r->tail_seen) >= n;
}

/* The thread naps: only a ring that fills up is worth a system call. */
static bool
is_urgent(struct accesslog_ring *r, uint64_t head)
{
	int state = atomic_load(&r->log->state);

	if (state != NAPPING || head - r->tail_seen <= r->cap / 2)
		return state == SLEEPING;
	r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
	return head - r->tail_seen > r->cap / 2;
}

void
accesslog_write(struct accesslog_ring *r, const struct logformat *f, const struct access_entry *e,
	const struct var_source *s)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	size_t n =
		logformat_line(f, r->line, ACCESSLOG_LINE_MAX, e, s, r->line + ACCESSLOG_LINE_MAX);

	if (n == 0 || !ring_has_room(r, head, n)) {
		atomic_fetch_add_explicit(&r->dropped, 1, memory_order_relaxed);
		return;
	}
	ring_put(r, head, r->line, n);
	atomic_store(&r->head, head + n);
	if (is_urgent(r, head + n) && atomic_exchange(&r->log->state, AWAKE) != AWAKE)
		wake(r->log);
}

struct accesslog_ring *
accesslog_ring(struct accesslog *l, unsigned worker)
{
	assert(worker < l->count);
	return l->rings[worker];
}

/* --- thread: writing --- */

enum drained { DRAINED_NOTHING, DRAINED_SOME, DRAINED_BLOCKED };

/* What a ring still holds is given up; both ends are ends of lines. */
static void
lose(struct accesslog *l, struct accesslog_ring *r, int error)
{
	uint64_t head = atomic_load(&r->head);
	uint64_t lines = 0;

	for (uint64_t at = atomic_load_explicit(&r->tail, memory_order_relaxed); at != head; at++)
		lines += r->bytes[at & (r->cap - 1)] == '\n';
	atomic_store_explicit(&r->tail, head, memory_order_release);
	l->file.is_torn = l->file.is_mid_line;
	l->error = error;
	atomic_fetch_add_explicit(&l->lost, lines, memory_order_relaxed);
}

/* [tail, head) as it lies in the ring: to its end, and from its beginning on. */
static void
halves(const struct accesslog_ring *r, uint64_t tail, uint64_t head, struct iovec v[2])
{
	size_t offset = (size_t)(tail & (r->cap - 1));
	size_t n = (size_t)(head - tail);
	size_t first = n < r->cap - offset ? n : (size_t)(r->cap - offset);

	v[0] = (struct iovec){ r->bytes + offset, first };
	v[1] = (struct iovec){ r->bytes, n - first };
}

static enum drained
drain(struct accesslog *l, struct accesslog_ring *r)
{
	uint64_t head = atomic_load(&r->head);
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	enum drained result = tail == head ? DRAINED_NOTHING : DRAINED_SOME;

	while (tail != head) {
		struct iovec v[2];
		ssize_t done = (ssize_t)(head - tail);

		halves(r, tail, head, v);
		if (l->file.fd >= 0)
			done = logfile_write(&l->file, v);
		if (done == 0)
			return DRAINED_BLOCKED;
		if (done < 0) {
			lose(l, r, errno);
			break;
		}
		tail += (uint64_t)done;
		atomic_store_explicit(&r->tail, tail, memory_order_release);
	}
	return result;
}

/* All rings, from the one on that was being written: no line of another gets into its middle. */
static enum drained
drain_all(struct accesslog *l)
{
	enum drained result = DRAINED_NOTHING;

	for (unsigned i = 0; i < l->count; i++) {
		enum drained d = drain(l, l->rings[l->current]);

		if (d == DRAINED_BLOCKED)
			return d;
		if (d == DRAINED_SOME)
			result = d;
		l->current = (l->current + 1) % l->count;
	}
	return result;
}

static bool
is_empty(const struct accesslog *l)
{
	for (unsigned i = 0; i < l->count; i++)
		if (atomic_load(&l->rings[i]->head) !=
			atomic_load_explicit(&l->rings[i]->tail, memory_order_relaxed))
			return false;
	return true;
}

static const char *
loss_text(int error)
{
	if (error == 0)
		return "buffer full";
	return error == EAGAIN ? "its reader is too slow" : strerror(error);
}

/* At once when it begins, then once a minute. */
static void
report(struct accesslog *l, int64_t now)
{
	uint64_t lost = accesslog_dropped(l);

	if (lost == l->reported || now < l->report_at_ms)
		return;
	LOG_WARN("access_log_lost", L_INT("lines", lost - l->reported),
		L_STR("path", l->file.path ? l->file.path : "-"),
		L_STR("error", loss_text(l->error)));
	l->reported = lost;
	l->report_at_ms = now < INT64_MAX ? now + REPORT_MS : now;
	l->error = 0;
}

/* --- thread: orders --- */

/* The half of a line that the old file has not got is not for the new one. */
static void
skip_line(struct accesslog *l)
{
	struct accesslog_ring *r = l->rings[l->current];
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	while (r->bytes[tail++ & (r->cap - 1)] != '\n')
		;
	atomic_store_explicit(&r->tail, tail, memory_order_release);
	atomic_fetch_add_explicit(&l->lost, 1, memory_order_relaxed);
}

static void
use_file(struct accesslog *l, struct logfile *f)
{
	if (l->file.is_mid_line && !l->file.is_torn)
		skip_line(l);
	logfile_close(&l->file);
	l->file = *f;
}

static void
reopen(struct accesslog *l)
{
	struct logfile f;
	struct err err;

	if (!l->file.path || strcmp(l->file.path, "-") == 0)
		return;
	if (logfile_open(&f, l->file.path, &err) == 0)
		use_file(l, &f);
	else
		LOG_ERROR("access_log_reopen_failed", L_STR("error", err.text));
}

/* What was logged before an order goes where it was meant to go. */
static void
obey(struct accesslog *l)
{
	struct order order;

	pthread_mutex_lock(&l->lock);
	order = l->order;
	l->order = (struct order){ .file = { .fd = -1 } };
	pthread_mutex_unlock(&l->lock);
	if (!order.has_file && !order.is_reopen)
		return;
	drain_all(l);
	if (order.has_file)
		use_file(l, &order.file);
	if (order.is_reopen)
		reopen(l);
}

/* --- thread: life --- */

static void
pause_for(struct accesslog *l, enum drained last, int timeout_ms)
{
	struct pollfd fds[2] = { { .fd = l->wake_fd, .events = POLLIN },
		{ .fd = l->file.fd, .events = POLLOUT } };
	uint64_t count;

	poll(fds, last == DRAINED_BLOCKED ? 2 : 1, timeout_ms);
	atomic_store(&l->state, AWAKE);
	if ((fds[0].revents & POLLIN) && read(l->wake_fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN || errno == EINTR);
}

static void
rest(struct accesslog *l, enum drained last, unsigned idle)
{
	if (idle < NAPS_IDLE) {
		atomic_store(&l->state, NAPPING);
		pause_for(l, last, NAP_MS);
		return;
	}
	atomic_store(&l->state, SLEEPING);
	pause_for(l, last, is_empty(l) ? -1 : 0);
}

/* The end, and somebody does not read: what is left is lost, and said to be. */
static void
give_up(struct accesslog *l)
{
	if (is_empty(l))
		return;
	for (unsigned i = 0; i < l->count; i++)
		lose(l, l->rings[i], EAGAIN);
	report(l, INT64_MAX);
}

static void *
run(void *arg)
{
	struct accesslog *l = arg;
	int64_t deadline = INT64_MAX;
	unsigned idle = 0;

	pthread_setname_np(pthread_self(), "accesslog");
	for (;;) {
		int64_t now = clock_ms();
		enum drained last;

		if (atomic_load(&l->stop) && deadline == INT64_MAX)
			deadline = now + STOP_MS;
		obey(l);
		last = drain_all(l);
		report(l, now);
		if (deadline != INT64_MAX && (last == DRAINED_NOTHING || now > deadline))
			break;
		idle = last == DRAINED_NOTHING ? idle + 1 : 0;
		if (deadline == INT64_MAX || last == DRAINED_BLOCKED)
			rest(l, last, idle);
	}
	give_up(l);
	return NULL;
}

/* --- main thread --- */

static struct accesslog_ring *
ring_new(struct accesslog *l, size_t size)
{
	struct accesslog_ring *r = xaligned(64, sizeof(*r));

	memset(r, 0, sizeof(*r));
	r->log = l;
	r->cap = 4096;
	while (r->cap < size)
		r->cap *= 2;
	r->bytes = xmalloc(r->cap);
	r->line = xmalloc(ACCESSLOG_LINE_MAX + LOGFORMAT_SCRATCH);
	return r;
}

static void
log_free(struct accesslog *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		free(l->rings[i]->bytes);
		free(l->rings[i]->line);
		free(l->rings[i]);
	}
	logfile_close(&l->file);
	logfile_close(&l->order.file);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	free(l->path);
	free(l->rings);
	free(l);
}

/* Signals are for the main thread; EPIPE instead of SIGPIPE. */
static int
start(struct accesslog *l)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&l->thread, NULL, run, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

struct accesslog *
accesslog_new(const char *path, size_t buffer, unsigned workers, struct err *err)
{
	struct accesslog *l;
	int error;

	if (!path)
		return NULL;
	l = xcalloc(1, sizeof(*l));
	l->file.fd = l->order.file.fd = -1;
	pthread_mutex_init(&l->lock, NULL);
	l->rings = xcalloc(workers, sizeof(struct accesslog_ring *));
	for (; l->count < workers; l->count++)
		l->rings[l->count] = ring_new(l, buffer);
	l->path = xstrdup(path);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0)
		err_set(err, "eventfd: %s", strerror(errno));
	else if (logfile_open(&l->file, path, err) == 0) {
		error = start(l);
		if (error == 0)
			return l;
		err_set(err, "the access log's thread: %s", strerror(error));
	}
	log_free(l);
	return NULL;
}

static bool
same_path(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

int
accesslog_set(struct accesslog *l, const char *path, struct err *err)
{
	struct logfile f;

	/* An old path is not opened again: after dropping privileges that may be impossible. */
	if (same_path(l->path, path))
		return 0;
	if (logfile_open(&f, path, err) < 0)
		return -1;
	pthread_mutex_lock(&l->lock);
	logfile_close(&l->order.file);
	l->order.file = f;
	l->order.has_file = true;
	pthread_mutex_unlock(&l->lock);
	free(l->path);
	l->path = path ? xstrdup(path) : NULL;
	wake(l);
	return 0;
}

void
accesslog_reopen(struct accesslog *l)
{
	pthread_mutex_lock(&l->lock);
	l->order.is_reopen = true;
	pthread_mutex_unlock(&l->lock);
	wake(l);
}

uint64_t
accesslog_dropped(const struct accesslog *l)
{
	uint64_t n = atomic_load_explicit(&l->lost, memory_order_relaxed);

	for (unsigned i = 0; i < l->count; i++)
		n += atomic_load_explicit(&l->rings[i]->dropped, memory_order_relaxed);
	return n;
}

void
accesslog_free(struct accesslog *l)
{
	if (!l)
		return;
	atomic_store(&l->stop, true);
	wake(l);
	pthread_join(l->thread, NULL);
	log_free(l);
}
