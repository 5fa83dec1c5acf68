/*
 * channel: who listens is looked up when it is needed and at most once a second; a channel is
 * opened at the first offer and kept. What was not acknowledged when it ends goes back to its owner
 * at once.
 */
#include "tlsd/channel.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcommon/handoffmsg.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"
#include "libcommon/folder.h"

#define SERIALS   256
#define BATCH     64   /* acknowledgements read at once */
#define RESCAN_MS 1000 /* a new instance is seen after this long at the latest */
#define LEAVE_MS  500  /* one that refused or ended is not asked for this long */

struct channel {
	struct channels *all;
	struct channel *next;
	struct backend *stat;
	struct sockaddr_un at;
	int fd;
	struct event ev;
	uint64_t left_until_ms;
	unsigned offers;
	uint64_t offered_at; /* the set's count of offers when it got its last one */
	bool is_seen;
	uint8_t next_serial;
	struct handover *by_serial[SERIALS];
};

struct channels {
	struct channels *next;
	struct loop *loop;
	struct backends *stats;
	char *folder;
	struct channel *list;
	uint64_t scanned_ms;
	uint64_t offered;
};

/* Stands for one whose owner did not wait: its serial is not free yet. */
static struct handover forgotten;

/* --- one channel --- */

static void
taken(struct channel *c, uint8_t serial)
{
	struct handover *h = c->by_serial[serial];

	c->by_serial[serial] = NULL;
	c->offers--;
	atomic_fetch_add_explicit(&c->stat->connected, 1, memory_order_relaxed);
	if (h == &forgotten)
		return;
	h->channel = NULL;
	h->fn(h, true);
}

/* Its offers are free again. Their owners may offer them at once, to others, and so free this
 * channel: it is not looked at after the first of them. */
static void
end_channel(struct channel *c)
{
	struct handover *offered[SERIALS];

	event_del(&c->ev);
	close(c->fd);
	c->fd = -1;
	c->left_until_ms = loop_now_ms(c->all->loop) + LEAVE_MS;
	c->offers = 0;
	memcpy(offered, c->by_serial, sizeof(offered));
	memset(c->by_serial, 0, sizeof(c->by_serial));
	for (unsigned i = 0; i < SERIALS; i++)
		if (offered[i] != NULL && offered[i] != &forgotten)
			offered[i]->channel = NULL;
	for (unsigned i = 0; i < SERIALS; i++)
		if (offered[i] != NULL && offered[i] != &forgotten)
			offered[i]->fn(offered[i], false);
}

/*
 * Serials of what was taken; false: the channel is over. Each is a packet of its own, and as many
 * are read at once as may have come in one turn of the loop: fewer, and those that were given away
 * would pile up.
 */
static bool
read_serials(struct channel *c)
{
	uint8_t serials[BATCH];
	struct iovec v[BATCH];
	struct mmsghdr m[BATCH];
	int n;

	memset(m, 0, sizeof(m));
	for (unsigned i = 0; i < BATCH; i++) {
		v[i] = (struct iovec){ &serials[i], 1 };
		m[i].msg_hdr.msg_iov = &v[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(c->fd, m, BATCH, MSG_DONTWAIT, NULL);
	/* A reset is not the end: it is told before the serials that were sent earlier, and what
	 * they say decides whose the connections are. */
	if (n < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNRESET;
	for (int i = 0; i < n; i++) {
		/* The end; or nothing that we said: whoever that is, no more of it. */
		if (m[i].msg_len == 0 || c->by_serial[serials[i]] == NULL)
			return false;
		taken(c, serials[i]);
	}
	return true;
}

static void
on_channel(evutil_socket_t fd, short what, void *arg)
{
	struct channel *c = arg;

	(void)fd;
	(void)what;
	if (!read_serials(c))
		end_channel(c);
}

static bool
open_channel(struct channel *c)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&c->at, sizeof(c->at)) < 0) {
		c->left_until_ms = loop_now_ms(c->all->loop) + LEAVE_MS;
		atomic_fetch_add_explicit(&c->stat->failed, 1, memory_order_relaxed);
		if (fd >= 0)
			close(fd);
		return false;
	}
	c->fd = fd;
	event_assign(&c->ev, loop_base(c->all->loop), fd, EV_READ | EV_PERSIST, on_channel, c);
	event_add(&c->ev, NULL);
	return true;
}

static bool
send_offer(struct channel *c, struct handover *h)
{
	uint8_t serial = c->next_serial;

	if (c->offers == SERIALS)
		return false;
	while (c->by_serial[serial] != NULL)
		serial++;
	handoff_set_serial(h->msg, serial);
	if (sock_send_fds(c->fd, h->msg, h->msg_n, &h->fd, 1) != (ssize_t)h->msg_n) {
		/* Full (EAGAIN, ETOOMANYREFS) is a matter of time; the rest ends it, and its event
		 * will say so. */
		return false;
	}
	c->next_serial = (uint8_t)(serial + 1);
	c->by_serial[serial] = h;
	c->offers++;
	c->offered_at = ++c->all->offered;
	h->serial = serial;
	h->channel = c;
	return true;
}

/* --- all of a worker's --- */

struct channels *
channels_get(struct channels **list, struct loop *l, struct backends *all, const char *folder)
{
	struct channels *cs;

	for (cs = *list; cs != NULL; cs = cs->next)
		if (strcmp(cs->folder, folder) == 0)
			return cs;
	cs = xcalloc(1, sizeof(*cs));
	cs->loop = l;
	cs->stats = all;
	cs->folder = xstrdup(folder);
	cs->next = *list;
	*list = cs;
	return cs;
}

static void
channels_free(struct channels *cs)
{
	while (cs->list != NULL) {
		struct channel *c = cs->list;

		cs->list = c->next;
		if (c->fd >= 0) {
			event_del(&c->ev);
			close(c->fd);
		}
		free(c);
	}
	free(cs->folder);
	free(cs);
}

void
channels_free_all(struct channels **list)
{
	while (*list != NULL) {
		struct channels *cs = *list;

		*list = cs->next;
		channels_free(cs);
	}
}

static void
see(void *arg, const char *path)
{
	struct channels *cs = arg;
	struct channel *c;

	for (c = cs->list; c != NULL; c = c->next)
		if (strcmp(c->at.sun_path, path) == 0) {
			c->is_seen = true;
			return;
		}
	c = xcalloc(1, sizeof(*c));
	c->all = cs;
	c->fd = -1;
	c->is_seen = true;
	c->at.sun_family = AF_UNIX;
	memcpy(c->at.sun_path, path, strlen(path) + 1);
	c->stat = backends_get(cs->stats, path);
	c->next = cs->list;
	cs->list = c;
}

/* Instances come and go with their sockets; one that still has a channel is kept until it ends. */
static void
scan(struct channels *cs, uint64_t now_ms)
{
	struct channel **at = &cs->list;

	for (struct channel *c = cs->list; c != NULL; c = c->next)
		c->is_seen = false;
	folder_each(cs->folder, ".handoff", see, cs);
	cs->scanned_ms = now_ms;
	while (*at != NULL) {
		struct channel *c = *at;

		atomic_store_explicit(
			&c->stat->is_listed, c->is_seen || c->fd >= 0, memory_order_relaxed);
		if (c->is_seen || c->fd >= 0) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free(c);
	}
}

/* The fewest offers under way; of equals, which is all when it is quiet, whose turn is longest ago.
 */
static bool
is_better(const struct channel *a, const struct channel *b)
{
	return a->offers != b->offers ? a->offers < b->offers : a->offered_at < b->offered_at;
}

/* The best one that may be asked and was not in this round. Whose socket is gone is about to end.
 */
static struct channel *
pick(struct channels *cs, uint64_t now_ms, const struct channel *const *tried, unsigned ntried)
{
	struct channel *best = NULL;

	for (struct channel *c = cs->list; c != NULL; c = c->next) {
		bool is_tried = !c->is_seen || (c->fd < 0 && c->left_until_ms > now_ms);

		for (unsigned i = 0; i < ntried; i++)
			is_tried |= tried[i] == c;
		if (!is_tried && (best == NULL || is_better(c, best)))
			best = c;
	}
	return best;
}

bool
channels_offer(struct channels *cs, struct handover *h)
{
	const struct channel *tried[FOLDER_MAX];
	unsigned ntried = 0;
	uint64_t now_ms = loop_now_ms(cs->loop);
	struct channel *c;

	if (now_ms - cs->scanned_ms >= (cs->list != NULL ? RESCAN_MS : 1))
		scan(cs, now_ms);
	while (ntried < FOLDER_MAX && (c = pick(cs, now_ms, tried, ntried)) != NULL) {
		if ((c->fd >= 0 || open_channel(c)) && send_offer(c, h))
			return true;
		tried[ntried++] = c;
	}
	/* The next attempt looks at the folder first: who restarted may have another name. */
	cs->scanned_ms = 0;
	return false;
}

void
handover_fini(struct handover *h)
{
	if (h->channel != NULL)
		h->channel->by_serial[h->serial] = &forgotten;
	h->channel = NULL;
	if (h->msg != NULL)
		OPENSSL_cleanse(h->msg, h->msg_n);
	free(h->msg);
	h->msg = NULL;
}
