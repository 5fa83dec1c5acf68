/*
 * tlsasker: see the header. Channels are opened when they are needed and kept; who listens is
 * looked up at most once a second while somebody does, and at each try while nobody does.
 */
#include "libcommon/tlsasker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <utlist.h>

#include "libcommon/folder.h"
#include "libcommon/loop.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"

#define SERIALS   256  /* calls under way on one channel */
#define RESCAN_MS 1000 /* a new instance is seen after this long at the latest */
#define LEAVE_MS  200  /* one that refused or ended is not asked for this long */

/* Where a call that nobody was asked for yet stands. */
enum { WAITS_NOT, WAITS_NOW, WAITS_LATER };

/* Stands for a call whose owner did not wait: its serial is not free yet. */
static struct tls_call forgotten;

struct tls_channel {
	struct tlsasker *all;
	struct tls_channel *next;
	struct loop_io *io;
	struct sockaddr_un at;
	int fd;
	uint64_t left_until_ms;
	unsigned calls;
	bool is_seen;
	bool is_full;   /* its queue was, at the last try */
	bool is_ending; /* its calls are being told */
	uint8_t next_serial;
	struct tls_call *by_serial[SERIALS];
};

struct tlsasker {
	struct loop *loop;
	struct tls_channel *list;
	struct tls_call *waiting; /* oldest first */
	struct tls_call *later;   /* not before the next round */
	struct deadline retry;
	char *folder;
	char *buf; /* HANDOFF_MAX */
	uint64_t scanned_ms;
};

/* --- answers ------------------------------------------------------------------------------ */

static void end_channel(struct tls_channel *c);
static void serve_waiting(struct tlsasker *a);

static struct tls_call *
take_call(struct tls_channel *c, uint8_t serial)
{
	struct tls_call *call = c->by_serial[serial];

	if (call == NULL)
		return NULL;
	c->by_serial[serial] = NULL;
	c->calls--;
	if (call != &forgotten)
		call->channel = NULL;
	return call;
}

static void
answer(struct tls_call *call, const struct tls_answer *a)
{
	if (call != &forgotten)
		call->fn(call, a);
}

/* false: nothing that an answer could be. */
static bool
take_refusal(struct tls_channel *c, const char *p, size_t n)
{
	struct tlsask_refusal r;
	const char *bad;
	struct tls_call *call =
		tlsask_decode_refusal(p, n, &r, &bad) ? take_call(c, r.serial) : NULL;

	if (call == NULL)
		return false;
	answer(call, &(struct tls_answer){ .result = TLS_REFUSED, .refusal = &r });
	return true;
}

static bool
take_connection(struct tls_channel *c, const char *p, size_t n)
{
	struct handoff h;
	const char *bad;
	struct tls_call *call = NULL;

	if (handoff_decode(p, n, &h, &bad) && h.keys.role == HANDOFF_CLIENT)
		call = take_call(c, h.serial);
	if (call != NULL)
		answer(call, &(struct tls_answer){ .result = TLS_DONE, .done = &h });
	handoff_wipe(&h.keys);
	return call != NULL;
}

/* One message; false: none now, or the channel is over, and freed perhaps. */
static bool
receive(struct tls_channel *c)
{
	struct tlsasker *a = c->all;
	ssize_t n;
	bool ok;

	do
		n = recv(c->fd, a->buf, HANDOFF_MAX, MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	/* A reset is told before the answers that were sent earlier: it is not the end yet. */
	if (n < 0 && errno == ECONNRESET)
		return true;
	if (n <= 0 || n > HANDOFF_MAX) {
		end_channel(c);
		return false;
	}
	ok = tlsask_is_refusal(a->buf, (size_t)n) ? take_refusal(c, a->buf, (size_t)n)
						  : take_connection(c, a->buf, (size_t)n);
	explicit_bzero(a->buf, (size_t)n);
	if (!ok)
		end_channel(c);
	return ok;
}

static void
on_channel(void *arg, int fd, int events)
{
	struct tls_channel *c = arg;
	struct tlsasker *a = c->all;

	(void)fd;
	(void)events;
	if (receive(c) && a->waiting != NULL)
		serve_waiting(a);
}

/* --- channels ----------------------------------------------------------------------------- */

/* Its calls are lost. Their owners may ask anew at once, but not here: it is left for a while. */
static void
end_channel(struct tls_channel *c)
{
	loop_io_free(c->io);
	close(c->fd);
	c->io = NULL;
	c->fd = -1;
	c->left_until_ms = loop_now_ms(c->all->loop) + LEAVE_MS;
	c->is_ending = true; /* an owner that asks anew may look through the folder */
	for (unsigned i = 0; i < SERIALS; i++) {
		struct tls_call *call = take_call(c, (uint8_t)i);

		if (call != NULL)
			answer(call, &(struct tls_answer){ .result = TLS_LOST });
	}
	c->is_ending = false;
}

static bool
open_channel(struct tls_channel *c)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&c->at, sizeof(c->at)) < 0) {
		c->left_until_ms = loop_now_ms(c->all->loop) + LEAVE_MS;
		if (fd >= 0)
			close(fd);
		return false;
	}
	c->fd = fd;
	c->next_serial = 0;
	c->io = loop_io_new(c->all->loop, fd, LOOP_READ, on_channel, c);
	return true;
}

static void
see(void *arg, const char *path)
{
	struct tlsasker *a = arg;
	struct tls_channel *c;

	for (c = a->list; c != NULL; c = c->next)
		if (strcmp(c->at.sun_path, path) == 0) {
			c->is_seen = true;
			return;
		}
	c = xcalloc(1, sizeof(*c));
	c->all = a;
	c->fd = -1;
	c->is_seen = true;
	c->at.sun_family = AF_UNIX;
	memcpy(c->at.sun_path, path, strlen(path) + 1);
	c->next = a->list;
	a->list = c;
}

static void
scan(struct tlsasker *a, uint64_t now_ms)
{
	struct tls_channel **at = &a->list;

	for (struct tls_channel *c = a->list; c != NULL; c = c->next)
		c->is_seen = false;
	folder_each(a->folder, TLSASKER_SUFFIX, see, a);
	a->scanned_ms = now_ms;
	while (*at != NULL) {
		struct tls_channel *c = *at;

		if (c->is_seen || c->fd >= 0 || c->is_ending) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free(c);
	}
}

static bool
may_ask(const struct tls_channel *c, uint64_t now_ms)
{
	return c->is_seen && !c->is_full && c->calls < SERIALS &&
		(c->fd >= 0 || c->left_until_ms <= now_ms);
}

static struct tls_channel *
pick(const struct tlsasker *a, uint64_t now_ms)
{
	struct tls_channel *best = NULL;

	for (struct tls_channel *c = a->list; c != NULL; c = c->next)
		if (may_ask(c, now_ms) && (best == NULL || c->calls < best->calls))
			best = c;
	return best;
}

/* --- asking ------------------------------------------------------------------------------- */

/* false: not there, not now. */
static bool
send_call(struct tls_channel *c, struct tls_call *call)
{
	char msg[TLSASK_MAX];
	uint8_t serial = c->next_serial;

	while (c->by_serial[serial] != NULL)
		serial++;

	struct tlsask ask = {
		.serial = serial,
		.protocols = call->protocols,
		.policy = slice_str(call->policy),
		.host = slice_str(call->host),
	};
	size_t n = tlsask_encode(&ask, msg, sizeof(msg));

	if (n == 0 || sock_send_fds(c->fd, msg, n, &call->fd, 1) != (ssize_t)n) {
		/* Full (EAGAIN, ETOOMANYREFS) is a matter of time; the rest ends the channel, and
		 * its event will say so. */
		c->is_full = true;
		return false;
	}
	c->next_serial = (uint8_t)(serial + 1);
	c->by_serial[serial] = call;
	c->calls++;
	call->serial = serial;
	call->channel = c;
	return true;
}

static bool
try_call(struct tlsasker *a, struct tls_call *call)
{
	uint64_t now_ms = loop_now_ms(a->loop);
	struct tls_channel *c;

	if (now_ms - a->scanned_ms >= (a->list != NULL ? RESCAN_MS : 1))
		scan(a, now_ms);
	while ((c = pick(a, now_ms)) != NULL)
		if (c->fd >= 0 || open_channel(c))
			if (send_call(c, call))
				return true;
	/* The next try looks at the folder first: who restarted may have another name. */
	if (tlsasker_channels(a) == 0)
		a->scanned_ms = 0;
	return false;
}

static void
serve_waiting(struct tlsasker *a)
{
	for (struct tls_channel *c = a->list; c != NULL; c = c->next)
		c->is_full = false;
	while (a->waiting != NULL) {
		struct tls_call *call = a->waiting;

		if (!try_call(a, call))
			break;
		DL_DELETE(a->waiting, call);
		call->waits = WAITS_NOT;
	}
	if (a->waiting != NULL && a->retry.due_ms == 0)
		deadline_set(a->loop, &a->retry, LOOP_TICK_MS);
}

static void
on_retry(struct deadline *d)
{
	struct tlsasker *a =
		(struct tlsasker *)(void *)((char *)d - offsetof(struct tlsasker, retry));

	while (a->later != NULL) {
		struct tls_call *c = a->later;

		DL_DELETE(a->later, c);
		DL_APPEND(a->waiting, c);
		c->waits = WAITS_NOW;
	}
	serve_waiting(a);
}

static void
wait_in(struct tlsasker *a, struct tls_call **list, struct tls_call *c, uint8_t waits)
{
	c->channel = NULL;
	c->waits = waits;
	DL_APPEND(*list, c);
	if (a->retry.due_ms == 0)
		deadline_set(a->loop, &a->retry, LOOP_TICK_MS);
}

void
tlsasker_ask(struct tlsasker *a, struct tls_call *c)
{
	c->channel = NULL;
	c->waits = WAITS_NOT;
	if (a->waiting != NULL || !try_call(a, c))
		wait_in(a, &a->waiting, c, WAITS_NOW);
}

void
tlsasker_ask_later(struct tlsasker *a, struct tls_call *c)
{
	wait_in(a, &a->later, c, WAITS_LATER);
}

void
tlsasker_cancel(struct tlsasker *a, struct tls_call *c)
{
	if (c->waits == WAITS_NOW)
		DL_DELETE(a->waiting, c);
	else if (c->waits == WAITS_LATER)
		DL_DELETE(a->later, c);
	c->waits = WAITS_NOT;
	if (c->channel == NULL)
		return;
	shutdown(c->fd, SHUT_RDWR);
	c->channel->by_serial[c->serial] = &forgotten;
	c->channel = NULL;
}

unsigned
tlsasker_channels(const struct tlsasker *a)
{
	unsigned n = 0;

	for (const struct tls_channel *c = a != NULL ? a->list : NULL; c != NULL; c = c->next)
		n += c->fd >= 0;
	return n;
}

struct tlsasker *
tlsasker_new(struct loop *l, const char *run_dir)
{
	struct tlsasker *a = xcalloc(1, sizeof(*a));

	a->loop = l;
	a->folder = xasprintf("%s/%s", run_dir, TLSASKER_FOLDER);
	a->buf = xmalloc(HANDOFF_MAX);
	deadline_init(&a->retry, on_retry);
	return a;
}

void
tlsasker_free(struct tlsasker *a)
{
	if (a == NULL)
		return;
	while (a->list != NULL) {
		struct tls_channel *c = a->list;

		a->list = c->next;
		loop_io_free(c->io);
		if (c->fd >= 0)
			close(c->fd);
		free(c);
	}
	deadline_fini(&a->retry);
	free(a->folder);
	free(a->buf);
	free(a);
}
