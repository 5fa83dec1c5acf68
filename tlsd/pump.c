/*
 * pump: see the header. Per small exchange: recv, send, recv, send. Buffers are the worker's; a
 * session holds memory only for what a full socket would not take.
 */
#include <errno.h>
#include <poll.h>

#include "tlsd/pump.h"
#include "tlsd/session.h"

#define TURN_BYTES  (1u << 20) /* moved before others have their turn */
#define QUOTA_SMALL (64u << 10)
#define UNIX_SNDBUF (1u << 20)

/* One step of one direction. */
enum step { STEP_IDLE, STEP_MOVED, STEP_STOP };

struct turn {
	enum pump_result stop;
	size_t bytes;
};

static enum step
stop(struct turn *t, enum pump_result why)
{
	t->stop = why;
	return STEP_STOP;
}

static char *
plain_of(const struct session *s)
{
	return s->wire.bufs->plain + WIRE_ROOM;
}

/* The server takes no more: what the client still says has no reader. What the server has sent
 * before is still read. */
static void
backend_deaf(struct session *s)
{
	spill_fini(&s->up);
	s->up_shut = true;
	s->up_deaf = true;
	s->b_readable = true; /* what it has sent before, and its end, with or without an edge */
}

/* Larger socket buffers pay only for bodies, so they are asked for when the first one shows. */
static void
backend_full(struct session *s)
{
	int size = UNIX_SNDBUF;

	s->b_writable = false;
	if (s->b_watches_write)
		return;
	if (s->b_is_unix)
		setsockopt(s->bfd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	session_watch_backend_write(s);
}

static enum step
up_held(struct session *s)
{
	if (!s->b_writable)
		return STEP_IDLE;
	switch (spill_send(&s->up, s->bfd)) {
	case SPILL_DONE: return STEP_MOVED;
	case SPILL_BLOCKED: backend_full(s); return STEP_IDLE;
	default: backend_deaf(s); return STEP_MOVED;
	}
}

static void
up_send(struct session *s, size_t n)
{
	enum spill_result r = spill_send_new(&s->up, s->bfd, plain_of(s), n);

	stats_add(&s->w->stats.bytes_up, n);
	if (r == SPILL_BLOCKED)
		backend_full(s);
	else if (r == SPILL_FAILED)
		backend_deaf(s);
}

/* Answers of the TLS layer to what was read: key updates, alerts. */
static bool
flush_answers(struct session *s)
{
	if (s->wire.bufs->out_n == 0)
		return true;

	enum spill_result r = wire_flush(&s->wire);

	if (r == SPILL_BLOCKED)
		session_watch_client_write(s);
	return r != SPILL_FAILED;
}

static enum step
up_read(struct session *s, struct turn *t)
{
	ssize_t got = wire_recv(&s->wire, WIRE_IN);
	size_t n;

	if (got == -1)
		return STEP_IDLE;
	if (got == -2)
		return stop(t, PUMP_CLIENT_ERROR);
	if (got == 0)
		return stop(t, PUMP_CUT);

	enum wire_result r = wire_read(&s->wire, plain_of(s), &n);

	t->bytes += n;
	if (n > 0)
		up_send(s, n);
	if (!flush_answers(s) || r == WIRE_FAILED)
		return stop(t, PUMP_CLIENT_ERROR);
	if (r == WIRE_CLOSED)
		s->up_ended = true;
	return STEP_MOVED;
}

static enum step
step_up(struct session *s, struct turn *t)
{
	if (s->up_shut)
		return STEP_IDLE;
	if (s->up.n > 0)
		return up_held(s);
	if (s->up_ended) {
		shutdown(s->bfd, SHUT_WR);
		s->up_shut = true;
		return STEP_MOVED;
	}
	return s->wire.is_readable ? up_read(s, t) : STEP_IDLE;
}

/* After each write: read more at a time while the client keeps up, less when it does not. */
static enum step
down_sent(struct session *s, struct turn *t, enum spill_result r, bool was_full)
{
	if (r == SPILL_FAILED)
		return stop(t, PUMP_CLIENT_ERROR);
	if (r == SPILL_BLOCKED) {
		s->quota = QUOTA_SMALL;
		session_watch_client_write(s);
	} else if (was_full && s->quota < WIRE_DOWN) {
		s->quota *= 2;
	}
	return STEP_MOVED;
}

/* A Unix socket says ECONNRESET when the server closed without having read all; what it sent has
 * been read by then, so this is its end like any other. */
static bool
is_end(const struct session *s, ssize_t n)
{
	return n == 0 || (s->b_is_unix && errno == ECONNRESET);
}

static enum step
down_read(struct session *s, struct turn *t)
{
	ssize_t n = recv(s->bfd, plain_of(s), s->quota, MSG_DONTWAIT);

	if (n < 0 && errno == EINTR)
		return STEP_MOVED;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		s->b_readable = false;
		return STEP_IDLE;
	}
	if (n <= 0) {
		if (!is_end(s, n))
			return stop(t, PUMP_BACKEND_ERROR);
		s->down_ended = true;
		return STEP_MOVED;
	}

	bool was_full = (size_t)n == s->quota;

	if (!was_full && !s->b_hup)
		s->b_readable = false;
	t->bytes += (size_t)n;
	stats_add(&s->w->stats.bytes_down, (uint64_t)n);
	if (wire_write(&s->wire, plain_of(s), (size_t)n) != WIRE_OK)
		return stop(t, PUMP_CLIENT_ERROR);
	return down_sent(s, t, wire_flush(&s->wire), was_full);
}

static enum step
down_end(struct session *s, struct turn *t)
{
	wire_close_notify(&s->wire);
	s->down_shut = true;
	if (down_sent(s, t, wire_flush(&s->wire), false) == STEP_STOP)
		return STEP_STOP;
	if (s->wire.held.n == 0)
		shutdown(s->wire.fd, SHUT_WR);
	return STEP_MOVED;
}

static enum step
step_down(struct session *s, struct turn *t)
{
	if (s->wire.held.n > 0) {
		if (!s->wire.is_writable)
			return STEP_IDLE;

		enum step step = down_sent(s, t, wire_flush(&s->wire), false);

		if (s->down_shut && s->wire.held.n == 0 && step != STEP_STOP)
			shutdown(s->wire.fd, SHUT_WR);
		return s->wire.held.n > 0 ? STEP_IDLE : step;
	}
	if (s->down_shut)
		return STEP_IDLE;
	if (s->down_ended)
		return down_end(s, t);
	return s->b_readable ? down_read(s, t) : STEP_IDLE;
}

/* A server that has closed both ways will read nothing more: waiting for the client's end is then
 * lingering. Asked once, at the server's FIN. */
static bool
backend_gone(const struct session *s)
{
	struct pollfd p = { .fd = s->bfd };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static enum pump_result
ended(struct session *s)
{
	if (!s->down_shut || s->wire.held.n > 0)
		return PUMP_WAIT;
	if (s->up_shut)
		return s->up_deaf ? PUMP_LINGER : PUMP_DONE;
	return backend_gone(s) ? PUMP_LINGER : PUMP_WAIT;
}

enum pump_result
pump_run(struct session *s)
{
	struct turn t = { .bytes = 0 };

	for (;;) {
		enum step up = step_up(s, &t);

		if (up == STEP_STOP)
			return t.stop;

		enum step down = step_down(s, &t);

		if (down == STEP_STOP)
			return t.stop;
		if (up == STEP_IDLE && down == STEP_IDLE)
			return ended(s);
		if (t.bytes >= TURN_BYTES)
			return PUMP_AGAIN;
	}
}
