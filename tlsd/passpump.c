/*
 * passpump: see the header. Per small exchange: recv, send, recv, send, through the worker's
 * buffer; a session holds memory only for what a full socket would not take.
 */
#include "tlsd/passpump.h"

#include <errno.h>

#include "tlsd/session.h"

/* After each write: read more at a time while the reader keeps up, less when it does not. */
static void
tune(struct session *s, enum spill_result r, bool was_full)
{
	if (r == SPILL_BLOCKED)
		s->quota = PUMP_QUOTA_MIN;
	else if (was_full && s->quota < WIRE_IN)
		s->quota *= 2;
}

/*
 * The server takes no more: what the client still says has no reader. What the server has sent
 * before is still read. A reset is told once, here, and looks like an end afterwards; EPIPE says
 * that the server had ended its side before.
 */
static enum pump_step
backend_deaf(struct session *s)
{
	s->b_is_reset = !s->b_is_unix && errno != EPIPE;
	spill_fini(&s->up);
	s->up_shut = true;
	s->up_deaf = true;
	s->b_readable = true;
	return PUMP_MOVED;
}

static enum pump_step
up_sent(struct session *s, enum spill_result r)
{
	if (r == SPILL_FAILED)
		return backend_deaf(s);
	if (r == SPILL_BLOCKED) {
		s->b_writable = false;
		session_watch_backend_write(s);
	}
	return PUMP_MOVED;
}

static enum pump_step
down_sent(struct session *s, struct pump_turn *t, enum spill_result r)
{
	if (r == SPILL_FAILED)
		return pump_stop(t, PUMP_CLIENT_ERROR);
	if (r == SPILL_BLOCKED) {
		s->wire.is_writable = false;
		session_watch_client_write(s);
	}
	return PUMP_MOVED;
}

static enum pump_step
up_read(struct session *s, struct pump_turn *t)
{
	ssize_t n = wire_recv(&s->wire, s->quota);
	bool was_full = n == (ssize_t)s->quota;

	if (n == -1)
		return PUMP_IDLE;
	if (n == -2)
		return pump_stop(t, PUMP_CLIENT_ERROR);
	s->wire.in_n = 0;
	if (n == 0) {
		s->up_ended = true;
		return PUMP_MOVED;
	}
	t->bytes += (size_t)n;
	stats_add(&s->w->stats.pass_up, (uint64_t)n);

	enum spill_result r = spill_send_new(&s->up, s->bfd, s->wire.bufs->in, (size_t)n);

	tune(s, r, was_full);
	return up_sent(s, r);
}

static enum pump_step
step_up(struct session *s, struct pump_turn *t)
{
	if (s->up_shut)
		return PUMP_IDLE;
	if (s->up.n > 0) {
		enum pump_step step =
			s->b_writable ? up_sent(s, spill_send(&s->up, s->bfd)) : PUMP_IDLE;

		return s->up.n > 0 ? PUMP_IDLE : step;
	}
	if (s->up_ended) {
		shutdown(s->bfd, SHUT_WR);
		s->up_shut = true;
		return PUMP_MOVED;
	}
	return s->wire.is_readable ? up_read(s, t) : PUMP_IDLE;
}

static enum pump_step
down_read(struct session *s, struct pump_turn *t)
{
	char *buf = s->wire.bufs->in;
	ssize_t n = recv(s->bfd, buf, s->quota, MSG_DONTWAIT);
	bool was_full = n == (ssize_t)s->quota;

	if (n < 0 && errno == EINTR)
		return PUMP_MOVED;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		s->b_readable = false;
		return PUMP_IDLE;
	}
	if (n <= 0) {
		if (!pump_is_end(s, n) || s->b_is_reset)
			return pump_stop(t, PUMP_BACKEND_ERROR);
		s->down_ended = true;
		return PUMP_MOVED;
	}
	if (!was_full && !s->b_hup)
		s->b_readable = false;
	t->bytes += (size_t)n;
	stats_add(&s->w->stats.pass_down, (uint64_t)n);

	enum spill_result r = spill_send_new(&s->wire.held, s->wire.fd, buf, (size_t)n);

	tune(s, r, was_full);
	return down_sent(s, t, r);
}

static enum pump_step
step_down(struct session *s, struct pump_turn *t)
{
	if (s->down_shut)
		return PUMP_IDLE;
	if (s->wire.held.n > 0) {
		if (!s->wire.is_writable)
			return PUMP_IDLE;

		enum pump_step step = down_sent(s, t, spill_send(&s->wire.held, s->wire.fd));

		return s->wire.held.n > 0 && step != PUMP_STOPPED ? PUMP_IDLE : step;
	}
	if (s->down_ended) {
		shutdown(s->wire.fd, SHUT_WR);
		s->down_shut = true;
		return PUMP_MOVED;
	}
	return s->b_readable ? down_read(s, t) : PUMP_IDLE;
}

enum pump_result
passpump_run(struct session *s)
{
	return pump_run(s, step_up, step_down);
}
