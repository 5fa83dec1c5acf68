/*
 * loop_watch: what is rare, as libevent has it: timers of its precision, and descriptors whose
 * events tell a function.
 */
#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "libcommon/loop.h"
#include "libcommon/mem.h"

struct loop_timer {
	struct loop *l;
	struct event ev;
	void (*fn)(void *arg);
	void *arg;
};

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

struct loop_timer *
loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_timer *t = xcalloc(1, sizeof(*t));

	t->l = l;
	t->fn = fn;
	t->arg = arg;
	event_assign(&t->ev, loop_base(l), -1, 0, on_timer, t);
	return t;
}

void
loop_timer_set(struct loop_timer *t, uint64_t delay_ms, bool repeat)
{
	if (repeat && delay_ms == 0)
		delay_ms = 1;

	struct timeval tv = { (time_t)(delay_ms / 1000), (suseconds_t)(delay_ms % 1000 * 1000) };

	event_del(&t->ev);
	event_assign(&t->ev, loop_base(t->l), -1, repeat ? EV_PERSIST : 0, on_timer, t);
	event_add(&t->ev, &tv);
}

void
loop_timer_stop(struct loop_timer *t)
{
	event_del(&t->ev);
}

void
loop_timer_free(struct loop_timer *t)
{
	if (t == NULL)
		return;
	event_del(&t->ev);
	free(t);
}

struct loop_io {
	struct loop *l;
	int fd;
	int events; /* what it is registered for; 0: it is not */
	struct event ev;
	void (*fn)(void *arg, int fd, int events);
	void *arg;
};

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	struct loop_io *io = arg;

	io->fn(io->arg, fd, (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0));
}

struct loop_io *
loop_io_new(
	struct loop *l, int fd, int events, void (*fn)(void *arg, int fd, int events), void *arg)
{
	struct loop_io *io = xcalloc(1, sizeof(*io));

	io->l = l;
	io->fd = fd;
	io->fn = fn;
	io->arg = arg;
	loop_io_set(io, events);
	return io;
}

void
loop_io_set(struct loop_io *io, int events)
{
	if (events == io->events)
		return;
	if (io->events != 0)
		event_del(&io->ev);
	io->events = events;
	if (events == 0)
		return;
	event_assign(&io->ev, loop_base(io->l), io->fd,
		(short)(EV_PERSIST | (events & LOOP_READ ? EV_READ : 0) |
			(events & LOOP_WRITE ? EV_WRITE : 0)),
		on_io, io);
	event_add(&io->ev, NULL);
}

void
loop_io_free(struct loop_io *io)
{
	if (io == NULL)
		return;
	loop_io_set(io, 0);
	free(io);
}
