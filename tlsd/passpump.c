/*
 * passpump: see the header. Per small exchange: recv, send, recv, send, through the worker's
 * buffer; a session holds memory only for what a full socket would not take. While much comes at a
 * time it goes from socket to socket by a pipe of the kernel's, without a copy into our memory
 * (100 MB each way at once: 80 ms of CPU instead of 110).
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
	pipe_give(&s->w->pipes, &s->up_pipe);
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

/* Less than this at a time is copied: that costs less than the calls that a pipe needs on top. */
#define PIPED_MIN (16u << 10)
#define PIPED_MAX (256u << 10)

/* What waits in the pipe to the socket; an empty pipe is given back. */
static enum spill_result
push(struct session *s, struct pipe **pipe, int to)
{
	struct pipe *p = *pipe;

	while (p->n > 0) {
		ssize_t n = pipe_move(p->rd, to, p->n);

		if (n <= 0)
			return n < 0 && errno == EAGAIN ? SPILL_BLOCKED : SPILL_FAILED;
		p->n -= (size_t)n;
	}
	pipe_give(&s->w->pipes, pipe);
	return SPILL_DONE;
}

/* From the socket into a pipe: as recv. ENOBUFS: there is none to be had. */
static ssize_t
pull(struct session *s, struct pipe **pipe, int from)
{
	struct pipe *p = pipe_take(&s->w->pipes);
	ssize_t n;

	if (p == NULL) {
		errno = ENOBUFS;
		return -1;
	}
	n = pipe_move(from, p->wr, PIPED_MAX);
	if (n <= 0) {
		int no = errno;

		pipe_give(&s->w->pipes, &p);
		errno = no;
		return n;
	}
	p->n = (size_t)n;
	*pipe = p;
	if (n < (ssize_t)PIPED_MIN)
		s->quota = PUMP_QUOTA_MIN;
	return n;
}

static bool
is_full_flow(const struct session *s)
{
	return s->quota >= WIRE_IN;
}

static enum pump_step
up_pull(struct session *s, struct pump_turn *t)
{
	ssize_t n = pull(s, &s->up_pipe, s->wire.fd);

	if (n < 0 && errno == ENOBUFS) {
		s->quota = PUMP_QUOTA_MIN;
		return PUMP_MOVED;
	}
	if (n < 0 && errno == EAGAIN) {
		s->wire.is_readable = false;
		return PUMP_IDLE;
	}
	if (n < 0)
		return pump_stop(t, PUMP_CLIENT_ERROR);
	if (n == 0) {
		s->wire.is_readable = false;
		s->wire.is_eof = true;
		s->up_ended = true;
		return PUMP_MOVED;
	}
	t->bytes += (size_t)n;
	stats_add(&s->w->stats.pass_up, (uint64_t)n);
	return up_sent(s, push(s, &s->up_pipe, s->bfd));
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
	if (s->up_pipe != NULL) {
		enum pump_step step =
			s->b_writable ? up_sent(s, push(s, &s->up_pipe, s->bfd)) : PUMP_IDLE;

		return s->up_pipe != NULL ? PUMP_IDLE : step;
	}
	if (s->up_ended) {
		shutdown(s->bfd, SHUT_WR);
		s->up_shut = true;
		return PUMP_MOVED;
	}
	if (!s->wire.is_readable)
		return PUMP_IDLE;
	return is_full_flow(s) ? up_pull(s, t) : up_read(s, t);
}

/* A read from the server gave nothing. */
static enum pump_step
down_stopped(struct session *s, struct pump_turn *t, ssize_t n)
{
	if (!pump_is_end(s, n) || s->b_is_reset)
		return pump_stop(t, PUMP_BACKEND_ERROR);
	s->down_ended = true;
	return PUMP_MOVED;
}

static enum pump_step
down_pull(struct session *s, struct pump_turn *t)
{
	ssize_t n = pull(s, &s->down_pipe, s->bfd);

	if (n < 0 && errno == ENOBUFS) {
		s->quota = PUMP_QUOTA_MIN;
		return PUMP_MOVED;
	}
	if (n < 0 && errno == EAGAIN) {
		s->b_readable = false;
		return PUMP_IDLE;
	}
	if (n <= 0)
		return down_stopped(s, t, n);
	t->bytes += (size_t)n;
	stats_add(&s->w->stats.pass_down, (uint64_t)n);
	return down_sent(s, t, push(s, &s->down_pipe, s->wire.fd));
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
	if (n <= 0)
		return down_stopped(s, t, n);
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
	if (s->down_pipe != NULL) {
		if (!s->wire.is_writable)
			return PUMP_IDLE;

		enum pump_step step = down_sent(s, t, push(s, &s->down_pipe, s->wire.fd));

		return s->down_pipe != NULL && step != PUMP_STOPPED ? PUMP_IDLE : step;
	}
	if (s->down_ended) {
		shutdown(s->wire.fd, SHUT_WR);
		s->down_shut = true;
		return PUMP_MOVED;
	}
	if (!s->b_readable)
		return PUMP_IDLE;
	return is_full_flow(s) ? down_pull(s, t) : down_read(s, t);
}

enum pump_result
passpump_run(struct session *s)
{
	return pump_run(s, step_up, step_down);
}
