/*
 * loop: one thread's event loop: libevent for readiness, and beside it what libevent would charge
 * too much for: deadlines in a coarse wheel, a run queue, deferred freeing, a clock read once per
 * turn. One loop belongs to one thread; only loop_post and loop_stop may be called from others.
 */
#ifndef LIBCOMMON_LOOP_H
#define LIBCOMMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct loop;

/* NULL with errno when epoll or eventfd cannot be had. */
struct loop *loop_new(void);
/* From its own thread, after loop_run. Frees that were deferred and not yet done are done. */
void loop_free(struct loop *l);
/* For event_assign; libevent's locks are off. Beware with EV_ET: libevent turns EPOLLERR (a reset)
 * into EV_READ|EV_WRITE without EV_CLOSED, so after a short read that came with a reset no edge
 * follows: look again (recv, poll) before waiting for the peer only. */
struct event_base *loop_base(const struct loop *l);
/* Until loop_stop; the turn in which it is called is completed. A stop before the run ends it
 * after one turn. */
void loop_run(struct loop *l);
/* Thread-safe. */
void loop_stop(struct loop *l);

/* Monotonic milliseconds and microseconds, read at most once per turn. Never 0. */
uint64_t loop_now_ms(struct loop *l);
uint64_t loop_now_us(struct loop *l);
/* Seconds since 1970, the same way. */
int64_t loop_wall_s(struct loop *l);

/*
 * A deadline: fn runs once `due_ms` has passed, up to LOOP_TICK_MS late, never early. Embed it,
 * deadline_init it once. Moving one that is armed to a later time only writes a number. Nothing is
 * allocated.
 */
#define LOOP_TICK_MS 50
struct deadline;
typedef void (*deadline_fn)(struct deadline *d);
struct deadline {
	struct deadline *next;
	struct deadline **link; /* NULL while not in the wheel */
	uint64_t linked_tick;   /* the tick it is looked at, at the latest when it is due */
	uint64_t due_ms;        /* 0: not armed */
	deadline_fn fn;
};

void deadline_init(struct deadline *d, deadline_fn fn);
/* delay_ms counts from the loop's now; 0 disarms. fn runs once, and may set, fini or free its own
 * deadline and any other. */
void deadline_set(struct loop *l, struct deadline *d, uint64_t delay_ms);
/* Disarms lazily: d may stay linked; call deadline_fini before its memory goes. */
static inline void
deadline_clear(struct deadline *d)
{
	d->due_ms = 0;
}
void deadline_fini(struct deadline *d);

/*
 * A turn: libevent's callbacks (deadlines among them), what was posted, the run queue, deferred
 * frees. Run items are work to do before the next wait: what "ready again" puts its producer on.
 * Queued at most once; one queued by a run item goes to the next turn, which then does not wait.
 */
struct run_item;
typedef void (*run_fn)(struct run_item *item);
struct run_item {
	struct run_item *next;
	struct run_item **link; /* what points to it while queued */
	run_fn fn;
	bool is_queued;
};

void loop_run_soon(struct loop *l, struct run_item *item);
/* Take it off again (its memory is about to go); fine when it is not queued. */
void loop_run_cancel(struct loop *l, struct run_item *item);

/* fn(p) after all callbacks and run items of this turn have returned. No allocation in steady
 * state. */
void loop_defer(struct loop *l, void (*fn)(void *p), void *p);

/* Thread-safe: fn(arg) runs on the loop's thread, in order of posting. What was posted after the
 * last turn runs when the loop runs again, or never. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* A repeating or one-shot timer with libevent's precision, for what is rare. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *t, uint64_t delay_ms, bool repeat);
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

/* A descriptor for what is rare: fn(arg, fd, events) with LOOP_READ / LOOP_WRITE, level-triggered.
 */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_io;
struct loop_io *loop_io_new(
	struct loop *l, int fd, int events, void (*fn)(void *arg, int fd, int events), void *arg);
void loop_io_set(struct loop_io *io, int events);
void loop_io_free(struct loop_io *io);

/* A signal, delivered to the loop; one loop per process may watch signals. */
int loop_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg);

#endif
