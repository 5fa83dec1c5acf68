/*
 * bus_peers.c: one struct peer per socket file, keyed by its name. A peer is idle (waits to try
 * again), connecting, or open. Whatever it sends that is not SP, or too long, ends its connection
 * and nothing else: the reason for having this beside nanomsg, which would end the process.
 */
#include "libcommon/bus_peers.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <utlist.h>

#include "libcommon/busmsg.h"
#include "libcommon/loop.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"
#include "libcommon/spwire.h"

#define SCAN_MS      250
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 1000
#define PEERS_MAX    64
#define NAME_ROOM    23 /* for "/healthd.INSTANCE.pub" and NUL, the least that can stand there */
#define IN_SIZE      (SPWIRE_HEADER + BUSMSG_BYTES_MAX)
#define OUT_MAX      (4 * BUSMSG_BYTES_MAX) /* waiting for a slow peer */
#define BATCH_MAX    64                     /* messages per turn of the loop and peer */

enum peer_state { PEER_IDLE, PEER_CONNECTING, PEER_OPEN };

struct peer {
	struct peer *prev;
	struct peer *next;
	struct bus_peers *all;
	struct sockaddr_un addr;
	struct loop_io *io;
	struct loop_timer *retry;
	struct run_item more; /* whole messages are left in `in` */
	struct spwire wire;
	char *in; /* IN_SIZE bytes while connected to a .pub */
	size_t in_len;
	struct sbuf out;
	size_t out_done;
	uint64_t delay_ms;
	enum peer_state state;
	int fd;
	bool is_reader; /* connected to a .pub */
	bool is_seen;   /* in the present scan */
};

struct bus_peers {
	struct loop *loop;
	struct peer *peers;
	struct loop_timer *scan;
	void (*got)(void *arg, struct slice message);
	void *arg;
	struct bus_stats *stats;
	char dir[];
};

static void
peer_close(struct peer *p)
{
	if (p->state == PEER_OPEN)
		p->all->stats->peers--;
	loop_run_cancel(p->all->loop, &p->more);
	loop_io_free(p->io);
	p->io = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	free(p->in);
	p->in = NULL;
	p->in_len = 0;
	sbuf_fini(&p->out);
	p->out_done = 0;
	p->state = PEER_IDLE;
}

static void
peer_retry(struct peer *p)
{
	peer_close(p);
	loop_timer_set(p->retry, p->delay_ms, false);
	p->delay_ms = p->delay_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : p->delay_ms * 2;
}

static void
peer_refuse(struct peer *p)
{
	p->all->stats->malformed++;
	p->delay_ms = RETRY_MAX_MS;
	peer_retry(p);
}

/* --- reading ----------------------------------------------------------------- */

/* A greeting opens the connection: only now does the peer count, and is written to. */
static void
peer_greeted(struct peer *p)
{
	p->state = PEER_OPEN;
	p->delay_ms = RETRY_MIN_MS;
	p->all->stats->peers++;
}

/* Hand over the whole messages of the buffer, at most `left`; false when the connection is gone. */
static bool
peer_parse(struct peer *p, unsigned *left)
{
	size_t done = 0;

	while (*left > 0) {
		struct slice msg;
		const char *reason;
		ssize_t used = spwire_next(&p->wire, p->in + done, p->in_len - done, &msg, &reason);

		if (used < 0 || (msg.p && !p->is_reader)) {
			peer_refuse(p);
			return false;
		}
		if (used == 0)
			break;
		done += (size_t)used;
		if (!msg.p) {
			peer_greeted(p);
			continue;
		}
		--*left;
		p->all->stats->received++;
		p->all->got(p->all->arg, msg);
	}
	p->in_len -= done;
	memmove(p->in, p->in + done, p->in_len);
	return true;
}

/* A batch per turn, so that no peer starves the loop. */
static void
peer_read(struct peer *p)
{
	unsigned left = BATCH_MAX;

	if (!peer_parse(p, &left))
		return;
	while (left > 0) {
		size_t room = IN_SIZE - p->in_len;
		ssize_t n = recv(p->fd, p->in + p->in_len, room, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			peer_retry(p);
			return;
		}
		p->in_len += (size_t)n;
		if (!peer_parse(p, &left) || ((size_t)n < room && left > 0))
			return;
	}
	loop_run_soon(p->all->loop, &p->more);
}

static void
on_more(struct run_item *item)
{
	peer_read((struct peer *)((char *)item - offsetof(struct peer, more)));
}

/* --- writing ----------------------------------------------------------------- */

static bool
peer_flush(struct peer *p)
{
	while (p->out_done < p->out.n) {
		ssize_t n =
			send(p->fd, p->out.p + p->out_done, p->out.n - p->out_done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			peer_retry(p);
			return false;
		}
		p->out_done += (size_t)n;
	}
	if (p->out_done == p->out.n) {
		sbuf_clear(&p->out);
		p->out_done = 0;
	}
	loop_io_set(p->io, LOOP_READ | (p->out.n ? LOOP_WRITE : 0));
	return true;
}

static void
peer_send(struct peer *p, struct slice message)
{
	char header[SPWIRE_HEADER];

	if (p->out.n - p->out_done + message.n + sizeof(header) > OUT_MAX) {
		p->all->stats->dropped++;
		return;
	}
	if (p->out_done > 0) {
		memmove(p->out.p, p->out.p + p->out_done, p->out.n - p->out_done);
		p->out.n -= p->out_done;
		p->out_done = 0;
	}
	spwire_header(message.n, header);
	sbuf_add(&p->out, header, sizeof(header));
	sbuf_add_slice(&p->out, message);
	p->all->stats->sent++;
	peer_flush(p);
}

/* --- connecting -------------------------------------------------------------- */

static void
on_peer(void *arg, int fd, int events)
{
	struct peer *p = arg;

	(void)fd;
	if (events & LOOP_WRITE && !peer_flush(p))
		return;
	if (events & LOOP_READ)
		peer_read(p);
}

static void
peer_greet(struct peer *p)
{
	char greeting[SPWIRE_GREETING];

	p->state = PEER_CONNECTING;
	p->in = xmalloc(IN_SIZE);
	p->wire = (struct spwire){
		.peer = p->is_reader ? SPWIRE_PUB : SPWIRE_SUB,
		.max = BUSMSG_BYTES_MAX,
	};
	p->io = loop_io_new(p->all->loop, p->fd, LOOP_READ, on_peer, p);
	spwire_greeting(p->is_reader ? SPWIRE_SUB : SPWIRE_PUB, greeting);
	sbuf_add(&p->out, greeting, sizeof(greeting));
	peer_flush(p);
}

/* A Unix connect is done at once, or fails (EAGAIN: the listener's backlog is full). */
static void
peer_connect(void *arg)
{
	struct peer *p = arg;

	if (p->state != PEER_IDLE)
		return;
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || connect(p->fd, (const struct sockaddr *)&p->addr, sizeof(p->addr)) < 0) {
		peer_retry(p);
		return;
	}
	peer_greet(p);
}

static void
peer_free(struct peer *p)
{
	peer_close(p);
	loop_timer_free(p->retry);
	DL_DELETE(p->all->peers, p);
	free(p);
}

/* --- looking for sockets ------------------------------------------------------ */

static bool
ends_with(const char *s, const char *tail)
{
	return slice_ends(slice_str(s), slice_str(tail));
}

static void
see_file(struct bus_peers *all, const char *name)
{
	struct peer *p;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int count = 0;
	int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", all->dir, name);

	if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
		return;
	DL_FOREACH (all->peers, p) {
		if (strcmp(p->addr.sun_path, addr.sun_path) == 0) {
			p->is_seen = true;
			return;
		}
		count++;
	}
	if (count >= PEERS_MAX)
		return;
	p = xcalloc(1, sizeof(*p));
	p->all = all;
	p->addr = addr;
	p->fd = -1;
	p->is_reader = ends_with(name, ".pub");
	p->is_seen = true;
	p->delay_ms = RETRY_MIN_MS;
	p->more.fn = on_more;
	p->retry = loop_timer_new(all->loop, peer_connect, p);
	DL_APPEND(all->peers, p);
	peer_connect(p);
}

static void
on_scan(void *arg)
{
	struct bus_peers *all = arg;
	struct peer *p;
	struct peer *tmp;
	DIR *dir = opendir(all->dir);

	DL_FOREACH (all->peers, p)
		p->is_seen = false;
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (ends_with(e->d_name, ".pub") || ends_with(e->d_name, ".sub"))
			see_file(all, e->d_name);
	if (dir)
		closedir(dir);
	/* a connection outlives the file; without both there is nothing to try again */
	DL_FOREACH_SAFE (all->peers, p, tmp)
		if (dir && !p->is_seen && p->state == PEER_IDLE)
			peer_free(p);
}

/* --- for bus.c --------------------------------------------------------------- */

void
bus_peers_send(struct bus_peers *all, struct slice message)
{
	struct peer *p;

	DL_FOREACH (all->peers, p)
		if (p->state == PEER_OPEN && !p->is_reader)
			peer_send(p, message);
}

struct bus_peers *
bus_peers_new(struct loop *l, const char *dir, void (*got)(void *arg, struct slice message),
	void *arg, struct bus_stats *stats, struct err *err)
{
	size_t len = strlen(dir);

	if (len + NAME_ROOM > sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		err_set(err, "%s: too long a path for sockets in it, at most %zu bytes fit", dir,
			sizeof(((struct sockaddr_un *)NULL)->sun_path) - NAME_ROOM);
		return NULL;
	}

	struct bus_peers *all = xcalloc(1, sizeof(*all) + len + 1);

	memcpy(all->dir, dir, len + 1);
	all->loop = l;
	all->got = got;
	all->arg = arg;
	all->stats = stats;
	all->scan = loop_timer_new(l, on_scan, all);
	loop_timer_set(all->scan, SCAN_MS, true);
	on_scan(all);
	return all;
}

void
bus_peers_free(struct bus_peers *all)
{
	struct peer *p;
	struct peer *tmp;

	if (!all)
		return;
	DL_FOREACH_SAFE (all->peers, p, tmp)
		peer_free(p);
	loop_timer_free(all->scan);
	free(all);
}
