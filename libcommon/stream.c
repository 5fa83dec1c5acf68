/*
 * stream: plain sockets, and what all streams share.
 */
#include "libcommon/stream.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/pipe.h"

/* What a call gave, as streams say it. */
static ssize_t
outcome(ssize_t n, bool *is_ready)
{
	if (n >= 0)
		return n;
	if (errno != EAGAIN)
		return STREAM_ERROR;
	*is_ready = false;
	return STREAM_AGAIN;
}

static ssize_t
plain_read(struct stream *s, void *p, size_t n)
{
	ssize_t got;

	do
		got = recv(s->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	/* A short read has emptied the socket; a new edge will tell of more. Not so at the end,
	 * which was told already. */
	if (got > 0 && (size_t)got < n && !s->peer_closed)
		s->readable = false;
	return outcome(got, &s->readable);
}

static ssize_t
plain_write(struct stream *s, const struct iovec *v, int n)
{
	int flags = MSG_NOSIGNAL | (s->is_ending ? MSG_MORE : 0);
	ssize_t sent;

	do {
		if (n == 1) {
			sent = send(s->fd, v[0].iov_base, v[0].iov_len, flags);
		} else {
			struct msghdr mh = { .msg_iov = (struct iovec *)(uintptr_t)v,
				.msg_iovlen = (size_t)n };

			sent = sendmsg(s->fd, &mh, flags);
		}
	} while (sent < 0 && errno == EINTR);
	return outcome(sent, &s->writable);
}

/* A short read says nothing here: the pipe may have been full. */
static ssize_t
plain_read_pipe(struct stream *s, int pipe_fd, size_t n)
{
	return outcome(pipe_move(s->fd, pipe_fd, n), &s->readable);
}

static ssize_t
plain_write_pipe(struct stream *s, int pipe_fd, size_t n)
{
	return outcome(pipe_move(pipe_fd, s->fd, n), &s->writable);
}

static void
plain_shutdown(struct stream *s)
{
	shutdown(s->fd, SHUT_WR);
}

/* What waits for the end goes with it; where bytes were left unread, close alone would drop it. */
static void
plain_close(struct stream *s)
{
	if (s->is_ending && !s->is_cut)
		shutdown(s->fd, SHUT_WR);
}

const struct stream_ops stream_plain = {
	.read = plain_read,
	.write = plain_write,
	.shutdown = plain_shutdown,
	.close = plain_close,
	.read_pipe = plain_read_pipe,
	.write_pipe = plain_write_pipe,
};

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	if (what & (EV_READ | EV_CLOSED))
		s->readable = true;
	if (what & EV_CLOSED)
		s->peer_closed = true;
	if (what & EV_WRITE)
		s->writable = true;
	if (s->ops->ready != NULL)
		s->ops->ready(s, what);
	s->fn(s);
}

void
stream_init(struct stream *s, struct event_base *base, int fd, const struct stream_ops *ops,
	stream_fn fn)
{
	s->ops = ops;
	s->fn = fn;
	s->fd = fd;
	s->readable = false;
	s->writable = true;
	s->peer_closed = false;
	s->is_cut = false;
	s->is_last = false;
	s->is_ending = false;
	s->layer = NULL;
	event_assign(
		&s->ev, base, fd, EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, s);
	s->is_registered = event_add(&s->ev, NULL) == 0;
}

void
stream_shutdown(struct stream *s)
{
	if (s->fd >= 0)
		s->ops->shutdown(s);
}

int
stream_detach(struct stream *s)
{
	int fd = s->fd;

	if (fd < 0)
		return -1;
	/* Out of epoll before the close: another process may hold a copy, and the registration
	 * would outlive ours. */
	if (s->is_registered)
		event_del(&s->ev);
	s->is_registered = false;
	s->fd = -1;
	s->readable = false;
	s->writable = false;
	return fd;
}

void
stream_close(struct stream *s)
{
	if (s->fd < 0)
		return;
	s->ops->close(s);
	close(stream_detach(s));
}

void
stream_reset(struct stream *s)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (s->fd < 0)
		return;
	s->is_cut = true;
	setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	stream_close(s);
}

bool
stream_is_dead(const struct stream *s)
{
	struct pollfd p = { .fd = s->fd, .events = 0 };

	return s->fd < 0 || (poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP | POLLNVAL)));
}
