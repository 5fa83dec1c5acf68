/*
 * relaypump: see the header. Per small exchange: recv, send, recv, send. Buffers are the worker's;
 * a session holds memory only for what a full socket would not take.
 */
#include "tlsd/relaypump.h"

#include <errno.h>

#include "tlsd/session.h"

#define UNIX_SNDBUF (1u << 20)

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

static enum pump_step
up_held(struct session *s)
{
	if (!s->b_writable)
		return PUMP_IDLE;
	switch (spill_send(&s->up, s->bfd)) {
	case SPILL_DONE: return PUMP_MOVED;
	case SPILL_BLOCKED: backend_full(s); return PUMP_IDLE;
	default: backend_deaf(s); return PUMP_MOVED;
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

static enum pump_step
up_read(struct session *s, struct pump_turn *t)
{
	ssize_t got = wire_recv(&s->wire, WIRE_IN);
	size_t n;

	if (got == -1)
		return PUMP_IDLE;
	if (got == -2)
		return pump_stop(t, PUMP_CLIENT_ERROR);
	if (got == 0)
		return pump_stop(t, PUMP_CUT);

	enum wire_result r = wire_read(&s->wire, plain_of(s), &n);

	t->bytes += n;
	if (n > 0)
		up_send(s, n);
	if (!flush_answers(s) || r == WIRE_FAILED)
		return pump_stop(t, PUMP_CLIENT_ERROR);
	if (r == WIRE_CLOSED)
		s->up_ended = true;
	return PUMP_MOVED;
}

static enum pump_step
step_up(struct session *s, struct pump_turn *t)
{
	if (s->up_shut)
		return PUMP_IDLE;
	if (s->up.n > 0)
		return up_held(s);
	if (s->up_ended) {
		shutdown(s->bfd, SHUT_WR);
		s->up_shut = true;
		return PUMP_MOVED;
	}
	return s->wire.is_readable ? up_read(s, t) : PUMP_IDLE;
}

/* After each write: read more at a time while the client keeps up, less when it does not. */
static enum pump_step
down_sent(struct session *s, struct pump_turn *t, enum spill_result r, bool was_full)
{
	if (r == SPILL_FAILED)
		return pump_stop(t, PUMP_CLIENT_ERROR);
	if (r == SPILL_BLOCKED) {
		s->quota = PUMP_QUOTA_MIN;
		session_watch_client_write(s);
	} else if (was_full && s->quota < WIRE_DOWN) {
		s->quota *= 2;
	}
	return PUMP_MOVED;
}

static enum pump_step
down_read(struct session *s, struct pump_turn *t)
{
	ssize_t n = recv(s->bfd, plain_of(s), s->quota, MSG_DONTWAIT);

	if (n < 0 && errno == EINTR)
		return PUMP_MOVED;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		s->b_readable = false;
		return PUMP_IDLE;
	}
	if (n <= 0) {
		if (!pump_is_end(s, n))
			return pump_stop(t, PUMP_BACKEND_ERROR);
		s->down_ended = true;
		return PUMP_MOVED;
	}

	bool was_full = (size_t)n == s->quota;

	if (!was_full && !s->b_hup)
		s->b_readable = false;
	t->bytes += (size_t)n;
	stats_add(&s->w->stats.bytes_down, (uint64_t)n);
	if (wire_write(&s->wire, plain_of(s), (size_t)n) != WIRE_OK)
		return pump_stop(t, PUMP_CLIENT_ERROR);
	return down_sent(s, t, wire_flush(&s->wire), was_full);
}

static enum pump_step
down_end(struct session *s, struct pump_turn *t)
{
	wire_close_notify(&s->wire);
	s->down_shut = true;
	if (down_sent(s, t, wire_flush(&s->wire), false) == PUMP_STOPPED)
		return PUMP_STOPPED;
	if (s->wire.held.n == 0)
		shutdown(s->wire.fd, SHUT_WR);
	return PUMP_MOVED;
}

static enum pump_step
step_down(struct session *s, struct pump_turn *t)
{
	if (s->wire.held.n > 0) {
		if (!s->wire.is_writable)
			return PUMP_IDLE;

		enum pump_step step = down_sent(s, t, wire_flush(&s->wire), false);

		if (s->down_shut && s->wire.held.n == 0 && step != PUMP_STOPPED)
			shutdown(s->wire.fd, SHUT_WR);
		return s->wire.held.n > 0 ? PUMP_IDLE : step;
	}
	if (s->down_shut)
		return PUMP_IDLE;
	if (s->down_ended)
		return down_end(s, t);
	return s->b_readable ? down_read(s, t) : PUMP_IDLE;
}

enum pump_result
relaypump_run(struct session *s)
{
	return pump_run(s, step_up, step_down);
}
