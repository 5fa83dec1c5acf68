/*
 * handin: a channel is a list member and a descriptor on the loop; a message is received into one
 * buffer for all, acknowledged, and given to the callee, which must not keep it.
 *
 * A message that is not right ends its channel: whoever sends one does not speak our language, and
 * its connections are better offered elsewhere.
 */
#include "routerd/handin.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"

/* Messages in a row from one channel, before others on this loop have their turn. */
#define BATCH 16

struct channel {
	struct handin *in;
	struct channel *next;
	struct channel **link;
	struct loop_io *io;
	int fd;
};

struct handin {
	struct loop *loop;
	struct channel *channels;
	char *buf; /* HANDOFF_MAX */
	handin_fn fn;
	bool (*may_take)(void *arg);
	void *arg;
	uid_t uid;
	bool is_paused;
	struct handin_stats stats;
	struct log_limit log_refused;
};

enum step { STEP_TAKEN, STEP_EMPTY, STEP_CLOSED };

struct handin *
handin_new(struct loop *l, uid_t uid, handin_fn fn, void *arg)
{
	struct handin *in = xcalloc(1, sizeof(*in));

	in->loop = l;
	in->buf = xmalloc(HANDOFF_MAX);
	in->uid = uid;
	in->fn = fn;
	in->arg = arg;
	in->log_refused.burst = 5;
	return in;
}

static void
end_channel(struct channel *c)
{
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	c->in->stats.channels--;
	loop_io_free(c->io); /* out of epoll before the close */
	close(c->fd);
	free(c);
}

void
handin_free(struct handin *in)
{
	if (in == NULL)
		return;
	while (in->channels != NULL)
		end_channel(in->channels);
	free(in->buf);
	free(in);
}

static enum step
refuse(struct channel *c, const char *reason)
{
	struct handin *in = c->in;
	uint32_t held;

	in->stats.refused++;
	if (log_allow(&in->log_refused, &held))
		LOG_WARN("handoff_refused", L_STR("reason", reason), L_INT("suppressed", held));
	end_channel(c);
	return STEP_CLOSED;
}

/* A socket's mode is shared with whoever else holds it; ours must never block a worker. */
static bool
set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return false;
	return (flags & O_NONBLOCK) || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static bool
acknowledge(const struct channel *c, uint8_t serial)
{
	ssize_t n;

	do
		n = send(c->fd, &serial, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

/* The message is in in->buf[0..n). */
static enum step
take_message(struct channel *c, size_t n, int fd)
{
	struct handin *in = c->in;
	struct handoff h;
	const char *reason;

	if (!handoff_decode(in->buf, n, &h, &reason)) {
		close(fd);
		return refuse(c, reason);
	}
	if (h.keys.role != HANDOFF_SERVER) { /* of a connection to a server: none for clients */
		handoff_wipe(&h.keys);
		close(fd);
		return refuse(c, "bad_role");
	}
	if (!set_nonblocking(fd) || !acknowledge(c, h.serial)) {
		handoff_wipe(&h.keys);
		close(fd);
		end_channel(c);
		return STEP_CLOSED;
	}
	in->stats.taken++;
	in->fn(in->arg, fd, &h);
	handoff_wipe(&h.keys);
	return STEP_TAKEN;
}

static enum step
receive(struct channel *c)
{
	char *buf = c->in->buf;
	int fds[SOCK_FDS_MAX];
	size_t nfds = SOCK_FDS_MAX;
	ssize_t n = sock_recv_fds(c->fd, buf, HANDOFF_MAX, fds, &nfds);
	enum step r;

	if (n < 0 && errno == EAGAIN)
		return STEP_EMPTY;
	if (n < 0 && errno == EMSGSIZE)
		return refuse(c, "truncated");
	if (n > 0 && nfds == 1) {
		r = take_message(c, (size_t)n, fds[0]);
	} else {
		while (nfds > 0)
			close(fds[--nfds]);
		if (n > 0) {
			r = refuse(c, "no_socket");
		} else {
			end_channel(c);
			r = STEP_CLOSED;
		}
	}
	if (n > 0)
		explicit_bzero(buf, (size_t)n);
	return r;
}

static void
on_readable(void *arg, int fd, int events)
{
	struct channel *c = arg;
	struct handin *in = c->in;

	(void)fd;
	(void)events;
	for (int i = 0; i < BATCH && !in->is_paused; i++) {
		if (in->may_take != NULL && !in->may_take(in->arg))
			return;
		if (receive(c) != STEP_TAKEN)
			return;
	}
}

bool
handin_add(struct handin *in, int fd)
{
	struct channel *c;
	uid_t uid;
	gid_t gid;
	pid_t pid;
	uint32_t held;

	if (!sock_peer(fd, &uid, &gid, &pid) || (uid != in->uid && uid != 0 && uid != geteuid())) {
		if (log_allow(&in->log_refused, &held))
			LOG_WARN("handoff_refused", L_STR("reason", "wrong_user"),
				L_INT("suppressed", held));
		close(fd);
		return false;
	}
	c = xcalloc(1, sizeof(*c));
	c->in = in;
	c->fd = fd;
	(void)set_nonblocking(fd);
	c->next = in->channels;
	c->link = &in->channels;
	if (c->next != NULL)
		c->next->link = &c->next;
	in->channels = c;
	in->stats.channels++;
	c->io = loop_io_new(in->loop, fd, in->is_paused ? 0 : LOOP_READ, on_readable, c);
	return true;
}

void
handin_set_gate(struct handin *in, bool (*may_take)(void *arg))
{
	in->may_take = may_take;
}

void
handin_set_user(struct handin *in, uid_t uid)
{
	in->uid = uid;
}

void
handin_pause(struct handin *in, bool is_paused)
{
	if (in->is_paused == is_paused)
		return;
	in->is_paused = is_paused;
	for (struct channel *c = in->channels; c != NULL; c = c->next)
		loop_io_set(c->io, is_paused ? 0 : LOOP_READ);
}

void
handin_drain(struct handin *in)
{
	while (in->channels != NULL) {
		struct channel *c = in->channels;
		enum step r;

		/* Nothing more gets in; what waits can still be read. */
		shutdown(c->fd, SHUT_RD);
		do
			r = receive(c);
		while (r == STEP_TAKEN);
		if (r == STEP_EMPTY)
			end_channel(c);
	}
}

struct handin_stats
handin_stats(const struct handin *in)
{
	return in->stats;
}
