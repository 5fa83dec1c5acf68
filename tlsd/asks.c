/*
 * asks: see the header. An answer that the asker's queue has no room for waits in the channel, and
 * nothing more is read from it then: so there are never more of them than serials.
 */
#include "tlsd/asks.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"

#define BATCH     16  /* messages in a row, before others on this loop have their turn */
#define RESUME_MS 100 /* no descriptor or memory for another channel: so long none is taken */

/* An answer that waits. */
struct held {
	struct held *next;
	struct held *prev;
	size_t n;
	char bytes[];
};

struct channel {
	struct channel *next;
	struct channel *prev;
	struct asks *all;
	struct loop_io *io;
	struct dial *dials;
	struct held *held;
	int fd;
	bool has_serial[256];
};

struct asks {
	struct loop *loop;
	struct loop_io *io;
	int fd;
	struct channel *channels;
	unsigned nchannels;
	struct dial_env env;
	unsigned max_dials;
	bool is_paused;
	bool is_draining;
	struct policies *policies;
	uid_t *uids;
	size_t nuids;
	char *out; /* HANDOFF_MAX */
	void (*drained)(void *arg);
	void *drained_arg;
	struct asks_stats stats;
	struct run_item ended;
	struct deadline resume;
	struct log_limit log_failed;
	struct log_limit log_refused;
};

/* ---- channels ---- */

static void
watch(struct channel *c)
{
	bool reads = !c->all->is_paused && !c->all->is_draining && c->held == NULL;

	loop_io_set(c->io, (reads ? LOOP_READ : 0) | (c->held != NULL ? LOOP_WRITE : 0));
}

static void
set_paused(struct asks *a, bool is_paused)
{
	if (a->is_paused == is_paused)
		return;
	a->is_paused = is_paused;
	a->stats.pauses += is_paused;
	for (struct channel *c = a->channels; c != NULL; c = c->next)
		watch(c);
}

static void
look_drained(struct asks *a)
{
	void (*drained)(void *arg) = a->drained;

	if (!a->is_draining || drained == NULL || a->env.open > 0)
		return;
	for (const struct channel *c = a->channels; c != NULL; c = c->next)
		if (c->held != NULL)
			return;
	a->drained = NULL;
	drained(a->drained_arg);
}

static void
free_held(struct channel *c, struct held *h)
{
	DL_DELETE(c->held, h);
	OPENSSL_cleanse(h->bytes, h->n);
	free(h);
}

static void
end_channel(struct channel *c)
{
	struct asks *a = c->all;

	while (c->dials != NULL) {
		struct dial *d = c->dials;

		DL_DELETE(c->dials, d);
		a->stats.left++;
		dial_cancel(d);
	}
	while (c->held != NULL)
		free_held(c, c->held);
	loop_io_free(c->io);
	close(c->fd);
	DL_DELETE(a->channels, c);
	a->nchannels--;
	free(c);
	if (a->env.open < a->max_dials)
		set_paused(a, false);
	look_drained(a);
}

/* ---- answers ---- */

/* 1 sent, 0 no room now, -1 the channel is of no use. */
static int
send_packet(int fd, const char *p, size_t n)
{
	ssize_t sent;

	do
		sent = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent == (ssize_t)n)
		return 1;
	return sent < 0 && (errno == EAGAIN || errno == ENOBUFS) ? 0 : -1;
}

/* A channel that failed ends by its own event, not under the feet of who answers. */
static void
answer(struct channel *c, const char *p, size_t n)
{
	struct held *h;

	if (c->held == NULL && send_packet(c->fd, p, n) != 0)
		return;
	h = xmalloc(sizeof(*h) + n);
	h->n = n;
	memcpy(h->bytes, p, n);
	DL_APPEND(c->held, h);
	watch(c);
}

/* Whether the channel is still there. */
static bool
send_held(struct channel *c)
{
	while (c->held != NULL) {
		int sent = send_packet(c->fd, c->held->bytes, c->held->n);

		if (sent < 0) {
			end_channel(c);
			return false;
		}
		if (sent == 0)
			return true;
		free_held(c, c->held);
	}
	watch(c);
	look_drained(c->all);
	return true;
}

static void
refuse(struct channel *c, uint8_t serial, enum tlsask_why why, const char *detail)
{
	struct asks *a = c->all;
	struct tlsask_refusal r = { .serial = serial, .why = why, .detail = slice_str(detail) };
	size_t n = tlsask_encode_refusal(&r, a->out, TLSASK_MAX);

	answer(c, a->out, n);
}

static void
log_failed(struct asks *a, const struct dial *d, const struct dial_end *end)
{
	uint32_t dropped = 0;

	if (log_allow(&a->log_failed, &dropped))
		LOG_INFO("upstream_handshake_failed", L_STR("reason", tlsask_word(end->why)),
			L_STR("policy", d->policy->cfg->name), L_STR("host", d->host),
			L_STR("detail", end->detail), L_INT("not_logged", dropped));
}

static void
hand_back(struct asks *a, struct channel *c, const struct dial *d, const struct handoff *h)
{
	size_t n = handoff_encode(h, a->out, HANDOFF_MAX);

	if (n == 0) {
		a->stats.refused++;
		a->stats.whys[TLSASK_INTERNAL]++;
		refuse(c, d->serial, TLSASK_INTERNAL, "the answer does not fit");
		return;
	}
	a->stats.handshakes++;
	a->stats.tls13 += h->keys.suite->version == HANDOFF_TLS13;
	answer(c, a->out, n);
	OPENSSL_cleanse(a->out, n);
}

static void
on_end(struct dial *d, const struct dial_end *end)
{
	struct channel *c = d->owner;
	struct asks *a = c->all;

	loop_run_soon(a->loop, &a->ended);

	DL_DELETE(c->dials, d);
	c->has_serial[d->serial] = false;
	if (end->result == DIAL_DONE) {
		hand_back(a, c, d, end->done);
	} else if (end->result == DIAL_LEFT) {
		/* The serial is free again. */
		a->stats.left++;
		refuse(c, d->serial, TLSASK_CLOSED, "");
	} else {
		a->stats.refused++;
		a->stats.whys[end->why]++;
		log_failed(a, d, end);
		refuse(c, d->serial, end->why, end->detail);
	}
}

/* Once dials have ended, and are no longer counted. */
static void
after_ends(struct run_item *item)
{
	struct asks *a = (struct asks *)(void *)((char *)item - offsetof(struct asks, ended));

	if (a->env.open < a->max_dials)
		set_paused(a, false);
	look_drained(a);
}

/* ---- asks ---- */

static void
bad_message(struct channel *c, const char *reason)
{
	struct asks *a = c->all;
	uint32_t dropped = 0;

	a->stats.bad_messages++;
	if (log_allow(&a->log_refused, &dropped))
		LOG_WARN("ask_refused", L_STR("reason", reason), L_INT("not_logged", dropped));
	end_channel(c);
}

/* Whether the channel is still there. */
static bool
take_ask(struct channel *c, const struct tlsask *ask, int fd)
{
	struct asks *a = c->all;
	const struct policy *p = policies_find(a->policies, ask->policy, ask->host);

	if (c->has_serial[ask->serial]) {
		close(fd);
		bad_message(c, "serial_in_use");
		return false;
	}
	a->stats.asked++;
	if (p == NULL) {
		close(fd);
		a->stats.refused++;
		a->stats.whys[TLSASK_UNKNOWN_POLICY]++;
		refuse(c, ask->serial, TLSASK_UNKNOWN_POLICY, "");
		return true;
	}
	c->has_serial[ask->serial] = true;
	dial_start(&a->env, a->policies, p, ask, fd, &c->dials, c, on_end);
	if (a->env.open >= a->max_dials)
		set_paused(a, true);
	return true;
}

/* One message; false: none now, or the channel is gone. */
static bool
receive(struct channel *c)
{
	char buf[TLSASK_MAX];
	int fds[SOCK_FDS_MAX];
	size_t nfds = SOCK_FDS_MAX;
	ssize_t n = sock_recv_fds(c->fd, buf, sizeof(buf), fds, &nfds);
	struct tlsask ask;
	const char *reason = "no_socket";

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0) {
		if (errno == EMSGSIZE)
			bad_message(c, "truncated");
		else
			end_channel(c);
		return false;
	}
	if (n > 0 && nfds == 1 && tlsask_decode(buf, (size_t)n, &ask, &reason))
		return take_ask(c, &ask, fds[0]);
	/* Descriptors come with an empty packet as well, which looks like the end. */
	while (nfds > 0)
		close(fds[--nfds]);
	if (n > 0)
		bad_message(c, reason);
	else
		end_channel(c);
	return false;
}

static void
on_channel(void *arg, int fd, int events)
{
	struct channel *c = arg;
	struct asks *a = c->all;

	(void)fd;
	if ((events & LOOP_WRITE) && !send_held(c))
		return;
	if (!(events & LOOP_READ))
		return;
	for (int i = 0; i < BATCH && !a->is_paused && receive(c); i++)
		if (c->held != NULL)
			return;
}

static bool
may_ask(const struct asks *a, int fd)
{
	uid_t uid;
	gid_t gid;
	pid_t pid;

	if (!sock_peer(fd, &uid, &gid, &pid))
		return false;
	for (size_t i = 0; i < a->nuids; i++)
		if (a->uids[i] == uid)
			return true;
	return uid == 0 || uid == geteuid();
}

/* The queue stays readable: it is left alone for a while. */
static void
accept_failed(struct asks *a, int error)
{
	if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
		return;
	loop_io_set(a->io, 0);
	deadline_set(a->loop, &a->resume, RESUME_MS);
}

static void
on_resume(struct deadline *d)
{
	struct asks *a = (struct asks *)(void *)((char *)d - offsetof(struct asks, resume));

	if (a->io != NULL)
		loop_io_set(a->io, LOOP_READ);
}

static void
on_accept(void *arg, int listen_fd, int events)
{
	struct asks *a = arg;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	uint32_t dropped = 0;
	struct channel *c;

	(void)events;
	if (fd < 0) {
		accept_failed(a, errno);
		return;
	}

	bool is_full = a->nchannels >= ASKS_CHANNELS_MAX;

	if (is_full || !may_ask(a, fd)) {
		a->stats.channels_refused++;
		if (log_allow(&a->log_refused, &dropped))
			LOG_WARN("ask_refused",
				L_STR("reason", is_full ? "too_many_channels" : "wrong_user"),
				L_INT("not_logged", dropped));
		close(fd);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->all = a;
	c->fd = fd;
	DL_APPEND(a->channels, c);
	a->nchannels++;
	c->io = loop_io_new(a->loop, fd, a->is_paused ? 0 : LOOP_READ, on_channel, c);
}

/* ---- all ---- */

struct asks *
asks_new(struct loop *l, int fd, unsigned max_dials)
{
	struct asks *a = xcalloc(1, sizeof(*a));

	a->loop = l;
	a->fd = fd;
	a->max_dials = max_dials;
	a->env.loop = l;
	wire_bufs_init(&a->env.bufs);
	a->out = xmalloc(HANDOFF_MAX);
	a->ended.fn = after_ends;
	deadline_init(&a->resume, on_resume);
	a->log_failed.burst = 10;
	a->log_refused.burst = 5;
	a->io = loop_io_new(l, fd, LOOP_READ, on_accept, a);
	return a;
}

void
asks_use(struct asks *a, struct policies *p, const uid_t *uids, size_t n)
{
	policies_unref(a->policies);
	a->policies = policies_ref(p);
	a->env.timeout_ms = (uint64_t)policies_dc(p)->common.upstream_tls.handshake_timeout_ms;
	free(a->uids);
	a->uids = xmalloc((n + 1) * sizeof(*a->uids));
	if (n > 0)
		memcpy(a->uids, uids, n * sizeof(*a->uids));
	a->nuids = n;
}

static void
stop_listening(struct asks *a)
{
	loop_io_free(a->io);
	a->io = NULL;
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

static void
take_waiting(struct channel *c)
{
	int fd = c->fd;
	char byte;

	while (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		if (!receive(c))
			return;
	watch(c);
}

void
asks_drain(struct asks *a, void (*done)(void *arg), void *arg)
{
	struct channel *next;

	a->is_draining = true;
	a->drained = done;
	a->drained_arg = arg;
	stop_listening(a);
	for (struct channel *c = a->channels; c != NULL; c = next) {
		next = c->next;
		/* Nothing more gets in; what waits is ours to do. */
		shutdown(c->fd, SHUT_RD);
		take_waiting(c);
	}
	look_drained(a);
}

void
asks_free(struct asks *a)
{
	if (a == NULL)
		return;
	a->drained = NULL;
	stop_listening(a);
	while (a->channels != NULL)
		end_channel(a->channels);
	loop_run_cancel(a->loop, &a->ended);
	deadline_fini(&a->resume);
	policies_unref(a->policies);
	wire_bufs_fini(&a->env.bufs);
	free(a->uids);
	free(a->out);
	free(a);
}

const struct asks_stats *
asks_stats(const struct asks *a)
{
	return &a->stats;
}

unsigned
asks_open(const struct asks *a)
{
	return a->env.open;
}

unsigned
asks_channels(const struct asks *a)
{
	return a->nchannels;
}
