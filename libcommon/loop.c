/*
 * loop: libevent waits and dispatches; everything that happens many times per second stays outside
 * of it. Deadlines are in a wheel (wheel.c); the timer that turns it sleeps until the next one may
 * be due. What is rare is in loop_watch.c.
 */
#include "libcommon/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "libcommon/mem.h"
#include "libcommon/wheel.h"

struct call {
	void (*fn)(void *arg);
	void *arg;
};

/* An array that keeps its memory. */
struct calls {
	struct call *v;
	size_t n;
	size_t cap;
};

struct signal_watch {
	struct signal_watch *next;
	struct event *ev;
	void (*fn)(void *arg, int signo);
	void *arg;
};

struct loop {
	struct event_base *base;
	uint64_t now_us; /* 0: not read in this turn */
	uint64_t now_ms;
	int64_t wall_s;
	bool is_running; /* outside of loop_run no clock is kept: nobody would renew it */
	bool has_posted;

	struct run_item *run_head;
	struct run_item **run_tail;
	struct run_item *running;
	struct calls deferred;
	struct calls freeing;

	struct wheel wheel;
	uint64_t armed_tick; /* what the timer waits for, or NO_TICK */
	struct event wheel_timer;

	struct signal_watch *signals;

	/* Shared with other threads. */
	int wake_fd;
	struct event wake;
	atomic_bool is_stopping;
	pthread_mutex_t lock;
	struct calls posted;
	struct calls posting; /* being run; the loop's thread only */
};

static void
calls_add(struct calls *c, void (*fn)(void *), void *arg)
{
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 64;
		c->v = xreallocarray(c->v, c->cap, sizeof(*c->v));
	}
	c->v[c->n++] = (struct call){ fn, arg };
}

static void
calls_swap(struct calls *a, struct calls *b)
{
	struct calls t = *a;

	*a = *b;
	*b = t;
}

static void
calls_run(struct calls *c)
{
	for (size_t i = 0; i < c->n; i++)
		c->v[i].fn(c->v[i].arg);
	c->n = 0;
}

/* --- clock ------------------------------------------------------------------------------------ */

static uint64_t
read_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t
loop_now_us(struct loop *l)
{
	if (l->now_us != 0)
		return l->now_us;

	uint64_t now_us = read_us(CLOCK_MONOTONIC);

	now_us += now_us == 0; /* 0 means "not read" */

	if (l->is_running) {
		l->now_us = now_us;
		l->now_ms = now_us / 1000;
	}
	return now_us;
}

uint64_t
loop_now_ms(struct loop *l)
{
	if (l->now_us != 0)
		return l->now_ms;
	return loop_now_us(l) / 1000;
}

int64_t
loop_wall_s(struct loop *l)
{
	if (l->wall_s != 0)
		return l->wall_s;

	int64_t wall_s = (int64_t)(read_us(CLOCK_REALTIME) / 1000000);

	if (l->is_running)
		l->wall_s = wall_s;
	return wall_s;
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void
arm_wheel(struct loop *l, uint64_t tick)
{
	uint64_t at_us = tick * LOOP_TICK_MS * 1000;
	uint64_t now_us = loop_now_us(l);
	/* Up to the next millisecond: libevent's coarse clock may run ahead of ours. */
	uint64_t delay_us = (at_us > now_us ? at_us - now_us : 0) + 1000;
	struct timeval tv = { (time_t)(delay_us / 1000000), (suseconds_t)(delay_us % 1000000) };

	event_add(&l->wheel_timer, &tv);
	l->armed_tick = tick;
}

static void
on_wheel_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t next;

	(void)fd;
	(void)what;
	wheel_turn(&l->wheel, loop_now_ms(l));
	next = wheel_next(&l->wheel);
	l->armed_tick = NO_TICK;
	if (next != NO_TICK)
		arm_wheel(l, next);
}

void
deadline_init(struct deadline *d, deadline_fn fn)
{
	*d = (struct deadline){ .fn = fn };
}

static void
deadline_relink(struct loop *l, struct deadline *d)
{
	if (d->link != NULL)
		wheel_unlink(d);
	/* With nothing linked the wheel has stood still; bring it to the present. */
	if (l->armed_tick == NO_TICK)
		l->wheel.tick = loop_now_ms(l) / LOOP_TICK_MS;
	wheel_link(&l->wheel, d);
	if (d->linked_tick < l->armed_tick)
		arm_wheel(l, d->linked_tick);
}

void
deadline_set(struct loop *l, struct deadline *d, uint64_t delay_ms)
{
	if (delay_ms == 0) {
		d->due_ms = 0;
		return;
	}
	/* + 1: now has been rounded down, and early is what must not be. */
	d->due_ms = loop_now_ms(l) + 1 + delay_ms;
	if (d->link == NULL || d->linked_tick * LOOP_TICK_MS > d->due_ms + LOOP_TICK_MS - 1)
		deadline_relink(l, d);
}

void
deadline_fini(struct deadline *d)
{
	d->due_ms = 0;
	if (d->link != NULL)
		wheel_unlink(d);
}

/* --- run queue, deferred calls ---------------------------------------------------------------- */

void
loop_run_soon(struct loop *l, struct run_item *item)
{
	if (item->is_queued)
		return;
	item->is_queued = true;
	item->next = NULL;
	item->link = l->run_tail;
	*l->run_tail = item;
	l->run_tail = &item->next;
}

void
loop_run_cancel(struct loop *l, struct run_item *item)
{
	if (!item->is_queued)
		return;
	item->is_queued = false;
	*item->link = item->next;
	if (item->next != NULL)
		item->next->link = item->link;
	else if (l->run_tail == &item->next)
		l->run_tail = item->link;
}

/* One round: what is queued meanwhile waits for the next turn, so that sockets get theirs. */
static void
run_queue(struct loop *l)
{
	l->running = l->run_head;
	l->running->link = &l->running;
	l->run_head = NULL;
	l->run_tail = &l->run_head;
	while (l->running != NULL) {
		struct run_item *item = l->running;

		loop_run_cancel(l, item);
		item->fn(item);
	}
}

void
loop_defer(struct loop *l, void (*fn)(void *p), void *p)
{
	calls_add(&l->deferred, fn, p);
}

static void
run_deferred(struct loop *l)
{
	/* A free may defer another one. */
	while (l->deferred.n > 0) {
		calls_swap(&l->deferred, &l->freeing);
		calls_run(&l->freeing);
	}
}

/* --- from other threads ----------------------------------------------------------------------- */

static void
wake_up(struct loop *l)
{
	uint64_t one = 1;

	/* Fails only when the counter is full: then it is awake already. */
	while (write(l->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t count;

	(void)what;
	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	l->has_posted = true;
}

void
loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&l->lock);

	bool was_empty = l->posted.n == 0;

	calls_add(&l->posted, fn, arg);
	pthread_mutex_unlock(&l->lock);
	if (was_empty)
		wake_up(l);
}

static void
run_posted(struct loop *l)
{
	l->has_posted = false;
	pthread_mutex_lock(&l->lock);
	calls_swap(&l->posted, &l->posting);
	pthread_mutex_unlock(&l->lock);
	calls_run(&l->posting);
}

void
loop_stop(struct loop *l)
{
	atomic_store(&l->is_stopping, true);
	wake_up(l);
}

/* --- life ------------------------------------------------------------------------------------- */

void
loop_run(struct loop *l)
{
	l->is_running = true;
	do {
		/* Callbacks begin after the wait: the clock they see is read after it. */
		l->now_us = 0;
		l->wall_s = 0;
		/* EVLOOP_NONBLOCK alone goes round for as long as any descriptor is ready: nothing
		 * else would have a turn beside one that stays so. */
		if (event_base_loop(l->base,
			    l->run_head != NULL ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE) < 0)
			abort(); /* epoll itself failed: there is nothing to go on with */
		if (l->has_posted)
			run_posted(l);
		if (l->run_head != NULL)
			run_queue(l);
		if (l->deferred.n > 0)
			run_deferred(l);
	} while (!atomic_load_explicit(&l->is_stopping, memory_order_relaxed));
	atomic_store(&l->is_stopping, false);
	l->is_running = false;
	l->now_us = 0;
	l->wall_s = 0;
}

static struct event_base *
new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config == NULL)
		return NULL;
	/* Edge-triggered, told of a peer's close without reading: only epoll does both. */
	if (event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) == 0 &&
		event_config_set_flag(
			config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

struct loop *
loop_new(void)
{
	int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (wake_fd < 0)
		return NULL;

	struct event_base *base = new_base();

	if (base == NULL) {
		int saved = errno ? errno : ENOSYS;

		close(wake_fd);
		errno = saved;
		return NULL;
	}

	struct loop *l = xcalloc(1, sizeof(*l));

	l->base = base;
	l->wake_fd = wake_fd;
	l->run_tail = &l->run_head;
	l->armed_tick = NO_TICK;
	pthread_mutex_init(&l->lock, NULL);
	event_assign(&l->wheel_timer, base, -1, 0, on_wheel_timer, l);
	event_assign(&l->wake, base, wake_fd, EV_READ | EV_PERSIST, on_wake, l);
	if (event_add(&l->wake, NULL) < 0) {
		loop_free(l);
		errno = ENOMEM;
		return NULL;
	}
	return l;
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	run_deferred(l);
	while (l->signals != NULL) {
		struct signal_watch *w = l->signals;

		l->signals = w->next;
		event_free(w->ev);
		free(w);
	}
	event_del(&l->wheel_timer);
	event_del(&l->wake);
	event_base_free(l->base);
	close(l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	free(l->posted.v);
	free(l->posting.v);
	free(l->deferred.v);
	free(l->freeing.v);
	free(l);
}

struct event_base *
loop_base(const struct loop *l)
{
	return l->base;
}

/* --- signals ---------------------------------------------------------------------------------- */

static void
on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct signal_watch *w = arg;

	(void)what;
	w->fn(w->arg, (int)signo);
}

int
loop_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
	struct signal_watch *w = xcalloc(1, sizeof(*w));

	w->fn = fn;
	w->arg = arg;
	w->ev = event_new(l->base, signo, EV_SIGNAL | EV_PERSIST, on_signal, w);
	if (w->ev == NULL || event_add(w->ev, NULL) < 0) {
		if (w->ev != NULL)
			event_free(w->ev);
		free(w);
		return -1;
	}
	w->next = l->signals;
	l->signals = w;
	return 0;
}
