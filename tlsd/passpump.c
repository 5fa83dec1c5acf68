/*
 * passpump: see the header. Per small exchange: recv, send, recv, send, through the worker's
 * buffer; a session holds memory only for what a full socket would not take.
 */
#include "tlsd/passpump.h"

#include <errno.h>
#include <poll.h>

#include "tlsd/session.h"

#define TURN_BYTES  (1u << 20) /* moved before others have their turn */
#define QUOTA_SMALL (64u << 10)

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

/* After each write: read more at a time while the reader keeps up, less when it does not. */
static void
tune(struct session *s, enum spill_result r, bool was_full)
{
	if (r == SPILL_BLOCKED)
		s->quota = QUOTA_SMALL;
	else if (was_full && s->quota < WIRE_IN)
		s->quota *= 2;
}

/*
 * The server takes no more: what the client still says has no reader. What the server has sent
 * before is still read. A reset is told once, here, and looks like an end afterwards; EPIPE says
 * that the server had ended its side before.
 */
static enum step
backend_deaf(struct session *s)
{
	s->b_is_reset = !s->b_is_unix && errno != EPIPE;
	spill_fini(&s->up);
	s->up_shut = true;
	s->up_deaf = true;
	s->b_readable = true;
	return STEP_MOVED;
}

static enum step
up_sent(struct session *s, enum spill_result r)
{
	if (r == SPILL_FAILED)
		return backend_deaf(s);
	if (r == SPILL_BLOCKED) {
		s->b_writable = false;
		session_watch_backend_write(s);
	}
	return STEP_MOVED;
}

static enum step
down_sent(struct session *s, struct turn *t, enum spill_result r)
{
	if (r == SPILL_FAILED)
		return stop(t, PUMP_CLIENT_ERROR);
	if (r == SPILL_BLOCKED) {
		s->wire.is_writable = false;
		session_watch_client_write(s);
	}
	return STEP_MOVED;
}

static enum step
up_read(struct session *s, struct turn *t)
{
	ssize_t n = wire_recv(&s->wire, s->quota);
	bool was_full = n == (ssize_t)s->quota;

	if (n == -1)
		return STEP_IDLE;
	if (n == -2)
		return stop(t, PUMP_CLIENT_ERROR);
	s->wire.in_n = 0;
	if (n == 0) {
		s->up_ended = true;
		return STEP_MOVED;
	}
	t->bytes += (size_t)n;
	stats_add(&s->w->stats.pass_up, (uint64_t)n);

	enum spill_result r = spill_send_new(&s->up, s->bfd, s->wire.bufs->in, (size_t)n);

	tune(s, r, was_full);
	return up_sent(s, r);
}

static enum step
step_up(struct session *s, struct turn *t)
{
	if (s->up_shut)
		return STEP_IDLE;
	if (s->up.n > 0) {
		enum step step = s->b_writable ? up_sent(s, spill_send(&s->up, s->bfd)) : STEP_IDLE;

		return s->up.n > 0 ? STEP_IDLE : step;
	}
	if (s->up_ended) {
		shutdown(s->bfd, SHUT_WR);
		s->up_shut = true;
		return STEP_MOVED;
	}
	return s->wire.is_readable ? up_read(s, t) : STEP_IDLE;
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
	char *buf = s->wire.bufs->in;
	ssize_t n = recv(s->bfd, buf, s->quota, MSG_DONTWAIT);
	bool was_full = n == (ssize_t)s->quota;

	if (n < 0 && errno == EINTR)
		return STEP_MOVED;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		s->b_readable = false;
		return STEP_IDLE;
	}
	if (n <= 0) {
		if (!is_end(s, n) || s->b_is_reset)
			return stop(t, PUMP_BACKEND_ERROR);
		s->down_ended = true;
		return STEP_MOVED;
	}
	if (!was_full && !s->b_hup)
		s->b_readable = false;
	t->bytes += (size_t)n;
	stats_add(&s->w->stats.pass_down, (uint64_t)n);

	enum spill_result r = spill_send_new(&s->wire.held, s->wire.fd, buf, (size_t)n);

	tune(s, r, was_full);
	return down_sent(s, t, r);
}

static enum step
step_down(struct session *s, struct turn *t)
{
	if (s->down_shut)
		return STEP_IDLE;
	if (s->wire.held.n > 0) {
		if (!s->wire.is_writable)
			return STEP_IDLE;

		enum step step = down_sent(s, t, spill_send(&s->wire.held, s->wire.fd));

		return s->wire.held.n > 0 && step != STEP_STOP ? STEP_IDLE : step;
	}
	if (s->down_ended) {
		shutdown(s->wire.fd, SHUT_WR);
		s->down_shut = true;
		return STEP_MOVED;
	}
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
ended(const struct session *s)
{
	if (!s->down_shut)
		return PUMP_WAIT;
	if (s->up_shut)
		return s->up_deaf ? PUMP_LINGER : PUMP_DONE;
	return backend_gone(s) ? PUMP_LINGER : PUMP_WAIT;
}

enum pump_result
passpump_run(struct session *s)
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
