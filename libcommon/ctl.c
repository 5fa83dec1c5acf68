/*
 * ctl: the control socket's server. Each client is a small state machine on the daemon's loop:
 * reading a line, running its command, writing the answer, or streaming events. One client costs
 * at most a line, an answer and a slot; none can keep a slot without making progress, except one
 * that watches events.
 *
 * A client may close its sending half at once (`echo status | socat stdio x.sock`): the answer
 * still goes out. That it is gone for good shows as POLLHUP, which is looked for once a second
 * where reading can no longer tell.
 */
#include "libcommon/ctl.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/ctl_events.h"
#include "libcommon/ctl_table.h"
#include "libcommon/loop.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"

enum {
	LINE_TIMEOUT_MS = 30000,
	WRITE_TIMEOUT_MS = 30000,
	GONE_CHECK_MS = 1000,
	ACCEPT_PAUSE_MS = 200,
	RESERVED_FOR_ADMIN = 8,
	EVENTS_CHUNK = 64 * 1024,
	DISCARD_MAX = 256 * 1024, /* bytes after the line that a client may send for nothing */
};

enum client_state { CLIENT_LINE, CLIENT_RUN, CLIENT_ANSWER, CLIENT_EVENTS, CLIENT_CLOSED };

#define CLIENT_MAGIC 0xc71c71u
#define REQ_MAGIC    0xc71e90u

struct client;

struct request {
	struct ctl_req pub;
	unsigned magic;
	struct client *client;
	void (*cancel)(struct ctl_req *req, void *arg);
	void *cancel_arg;
	void *data;
};

struct client {
	unsigned magic;
	struct ctl *ctl;
	struct client *next;
	struct client **link;
	int fd;
	struct loop_io *io;
	struct loop_timer *timer;
	enum client_state state;
	enum ctl_level level;
	uid_t uid;
	bool is_read_closed;
	bool is_json;
	size_t discarded;
	char in[CTL_LINE_MAX + 1];
	size_t in_n;
	int fds[CTL_FDS_MAX];
	size_t nfds;
	struct ctlproto_line line;
	struct request *req;
	struct sbuf out;
	size_t out_at;
	uint64_t event_at;
};

struct ctl {
	struct loop *loop;
	char *path;
	dev_t dev;
	ino_t ino;
	gid_t group;
	bool has_group;
	int fd;
	struct loop_io *io;
	struct loop_timer *accept_timer;
	struct ctl_table *tables;
	struct ctl_table builtin;
	struct client *clients;
	size_t nclients;
	struct ctl_events *events;
	int event_fd; /* rung by whoever adds an event while somebody watches */
	struct loop_io *event_io;
	_Atomic unsigned watchers;
};

static void client_on_io(void *arg, int fd, int events);
static void client_flush(struct client *cl);

/* ---- clients: end ---- */

static void
close_fds(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static void
request_free(struct request *r)
{
	if (r == NULL)
		return;
	r->magic = 0;
	sbuf_fini(&r->pub.out);
	free(r);
}

static void
client_release(void *p)
{
	free(p);
}

static void
client_close(struct client *cl)
{
	struct ctl *c = cl->ctl;

	if (cl->state == CLIENT_CLOSED)
		return;
	if (cl->state == CLIENT_EVENTS)
		atomic_fetch_sub(&c->watchers, 1);
	cl->state = CLIENT_CLOSED;
	loop_io_free(cl->io);
	loop_timer_free(cl->timer);
	if (cl->req != NULL) {
		if (cl->req->cancel != NULL)
			cl->req->cancel(&cl->req->pub, cl->req->cancel_arg);
		request_free(cl->req);
		cl->req = NULL;
	}
	close_fds(cl->fds, cl->nfds);
	close(cl->fd);
	sbuf_fini(&cl->out);
	*cl->link = cl->next;
	if (cl->next != NULL)
		cl->next->link = cl->link;
	c->nclients--;
	loop_defer(c->loop, client_release, cl);
}

/* What follows the line is not wanted, but closing with it unread would cost the peer its answer's
 * end (ECONNRESET). */
static void
client_drain_input(struct client *cl)
{
	char junk[4096];

	while (cl->discarded < DISCARD_MAX) {
		ssize_t n = recv(cl->fd, junk, sizeof(junk), MSG_DONTWAIT);

		if (n == 0)
			cl->is_read_closed = true;
		if (n <= 0)
			return;
		cl->discarded += (size_t)n;
	}
}

static bool
client_is_gone(const struct client *cl)
{
	struct pollfd p = { .fd = cl->fd, .events = 0 };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void
client_on_timer(void *arg)
{
	struct client *cl = arg;

	assert(cl->magic == CLIENT_MAGIC);
	if (cl->state == CLIENT_LINE || cl->state == CLIENT_ANSWER || client_is_gone(cl))
		client_close(cl);
}

/* ---- answers ---- */

static void
client_answer(struct client *cl)
{
	cl->state = CLIENT_ANSWER;
	loop_timer_set(cl->timer, WRITE_TIMEOUT_MS, false);
	client_flush(cl);
}

/* Write what there is; true when all of it is gone, false when the socket is full or broken (then
 * the client is closed). */
static bool
client_write(struct client *cl)
{
	while (cl->out_at < cl->out.n) {
		ssize_t n = send(cl->fd, cl->out.p + cl->out_at, cl->out.n - cl->out_at,
			MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				client_close(cl);
			return false;
		}
		cl->out_at += (size_t)n;
		if (cl->state == CLIENT_ANSWER)
			loop_timer_set(cl->timer, WRITE_TIMEOUT_MS, false);
	}
	cl->out_at = 0;
	sbuf_clear(&cl->out);
	return true;
}

static void
client_flush(struct client *cl)
{
	if (client_write(cl)) {
		shutdown(cl->fd, SHUT_WR);
		client_drain_input(cl);
		client_close(cl);
	} else if (cl->state != CLIENT_CLOSED) {
		loop_io_set(cl->io, LOOP_WRITE);
	}
}

static void
client_refuse(struct client *cl, const char *why)
{
	if (cl->is_json) {
		sbuf_adds(&cl->out, "{\"error\":");
		sbuf_add_json(&cl->out, slice_str(why));
		sbuf_adds(&cl->out, "}\n");
	} else {
		sbuf_addf(&cl->out, "error: %s\n", why);
	}
	client_answer(cl);
}

static struct request *
request_of(struct ctl_req *req)
{
	struct request *r = (struct request *)(void *)req;

	assert(r->magic == REQ_MAGIC);
	return r;
}

/* The request ends; the client it belonged to goes on to write. */
static struct client *
request_end(struct request *r)
{
	struct client *cl = r->client;

	close_fds(cl->fds, cl->nfds);
	cl->nfds = 0;
	cl->req = NULL;
	return cl;
}

void
ctl_done(struct ctl_req *req)
{
	struct request *r = request_of(req);
	struct client *cl = request_end(r);

	if (req->out.n == 0)
		sbuf_adds(&req->out, req->is_json ? "{\"ok\":true}\n" : "ok\n");
	sbuf_fini(&cl->out);
	cl->out = req->out;
	req->out = (struct sbuf){ 0 };
	request_free(r);
	client_answer(cl);
}

static int
add_json_bytes(const char *p, size_t n, void *out)
{
	sbuf_add(out, p, n);
	return 0;
}

void
ctl_done_json(struct ctl_req *req, struct json_t *json)
{
	json_dump_callback(json, add_json_bytes, &req->out, JSON_COMPACT);
	sbuf_addc(&req->out, '\n');
	json_decref(json);
	ctl_done(req);
}

void
ctl_fail(struct ctl_req *req, const char *fmt, ...)
{
	struct request *r = request_of(req);
	struct client *cl = request_end(r);
	struct sbuf why = { 0 };
	va_list ap;

	va_start(ap, fmt);
	sbuf_vaddf(&why, fmt, ap);
	va_end(ap);
	request_free(r);
	client_refuse(cl, why.p);
	sbuf_fini(&why);
}

void
ctl_on_cancel(struct ctl_req *req, void (*fn)(struct ctl_req *req, void *arg), void *arg)
{
	struct request *r = request_of(req);

	r->cancel = fn;
	r->cancel_arg = arg;
}

void *
ctl_req_data(const struct ctl_req *req)
{
	const struct request *r = (const struct request *)(const void *)req;

	assert(r->magic == REQ_MAGIC);
	return r->data;
}

void
ctl_req_set_data(struct ctl_req *req, void *data)
{
	request_of(req)->data = data;
}

/* ---- running a line ---- */

static void
client_run(struct client *cl)
{
	struct ctl *c = cl->ctl;
	const struct ctlproto_line *line = &cl->line;
	size_t taken = 0;
	void *arg = NULL;
	const struct ctl_command *cmd =
		ctl_table_find(c->tables, line->words, line->n, &taken, &arg);

	if (cmd == NULL) {
		struct sbuf why = { 0 };

		ctl_table_explain(c->tables, line->words, line->n, &why);
		client_refuse(cl, why.p);
		sbuf_fini(&why);
		return;
	}
	if (cl->level < cmd->level) {
		client_refuse(cl,
			cmd->level == CTL_ADMIN
				? "this is for root and the daemon's own user"
				: "this is for root, the daemon's own user and members of "
				  "control_group");
		return;
	}

	struct request *r = xcalloc(1, sizeof(*r));

	r->magic = REQ_MAGIC;
	r->client = cl;
	r->pub = (struct ctl_req){
		.args = line->words + taken,
		.nargs = line->n - taken,
		.is_json = line->is_json,
		.level = cl->level,
		.uid = cl->uid,
		.fds = cl->fds,
		.nfds = cl->nfds,
		.arg = arg,
		.ctl = c,
	};
	cl->req = r;
	cl->state = CLIENT_RUN;
	loop_timer_set(cl->timer, GONE_CHECK_MS, true);
	loop_io_set(cl->io, cl->is_read_closed ? 0 : LOOP_READ);
	cmd->fn(&r->pub);
}

static void
client_line(struct client *cl, size_t n)
{
	const char *why = ctlproto_parse(slice_make(cl->in, n), &cl->line);

	if (why != NULL) {
		client_refuse(cl, why);
		return;
	}
	cl->is_json = cl->line.is_json;
	client_run(cl);
}

static void
client_read_line(struct client *cl)
{
	size_t nfds = CTL_FDS_MAX - cl->nfds;
	ssize_t n = sock_recv_fds(
		cl->fd, cl->in + cl->in_n, sizeof(cl->in) - cl->in_n, cl->fds + cl->nfds, &nfds);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			client_close(cl);
		return;
	}
	cl->nfds += nfds;

	const char *newline = memchr(cl->in + cl->in_n, '\n', (size_t)n);

	cl->in_n += (size_t)n;
	if (n == 0)
		cl->is_read_closed = true;
	if (newline != NULL)
		client_line(cl, (size_t)(newline - cl->in));
	else if (n == 0 && cl->in_n == 0)
		client_close(cl);
	else if (n == 0)
		client_line(cl, cl->in_n); /* `printf status | socat`: the end is an end of line */
	else if (cl->in_n == sizeof(cl->in))
		client_refuse(cl, "the line is too long");
}

/* Bytes after the line are dropped; their end means that the client is gone or that it only
 * listens from now on. */
static void
client_read_rest(struct client *cl)
{
	client_drain_input(cl);
	if (cl->discarded >= DISCARD_MAX || client_is_gone(cl))
		client_close(cl);
	else if (cl->is_read_closed)
		loop_io_set(cl->io, cl->out.n > cl->out_at ? LOOP_WRITE : 0);
}

/* ---- events ---- */

static void
client_pump_events(struct client *cl)
{
	struct ctl *c = cl->ctl;

	for (;;) {
		if (cl->out.n == 0 &&
			!ctl_events_read(c->events, &cl->event_at, &cl->out, EVENTS_CHUNK))
			break;
		if (!client_write(cl)) {
			if (cl->state != CLIENT_CLOSED)
				loop_io_set(
					cl->io, LOOP_WRITE | (cl->is_read_closed ? 0 : LOOP_READ));
			return;
		}
	}
	loop_io_set(cl->io, cl->is_read_closed ? 0 : LOOP_READ);
}

static void
cmd_events(struct ctl_req *req)
{
	bool is_recent = req->nargs == 1 && strcmp(req->args[0], "recent") == 0;

	if (req->nargs > 0 && !is_recent) {
		ctl_fail(req, "usage: events [recent]");
		return;
	}

	struct request *r = request_of(req);
	struct ctl *c = req->ctl;
	struct client *cl = request_end(r);

	request_free(r);
	cl->state = CLIENT_EVENTS;
	atomic_fetch_add(&c->watchers, 1);
	cl->event_at = is_recent ? ctl_events_oldest(c->events) : ctl_events_next(c->events);
	client_pump_events(cl);
}

static void
cmd_help(struct ctl_req *req)
{
	ctl_table_help(req->ctl->tables, req->is_json, &req->out);
	ctl_done(req);
}

static const struct ctl_command builtin[] = {
	{ "help", "", "this list", CTL_VIEW, cmd_help },
	{ "events", "[recent]", "what happens from now on, one JSON object a line", CTL_VIEW,
		cmd_events },
	{ 0 },
};

/* Clients may close while we walk: each one only itself. */
static void
on_event_fd(void *arg, int fd, int events)
{
	struct ctl *c = arg;
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));
	struct client *next;

	(void)n;
	(void)events;
	for (struct client *cl = c->clients; cl != NULL; cl = next) {
		next = cl->next;
		if (cl->state == CLIENT_EVENTS)
			client_pump_events(cl);
	}
}

void
ctl_event(void *ctl, const struct log_record *rec)
{
	struct ctl *c = ctl;
	uint64_t one = 1;

	ctl_events_add(c->events, rec);
	if (atomic_load(&c->watchers) > 0) {
		ssize_t n = write(c->event_fd, &one, sizeof(one));

		(void)n; /* a counter that is full rings all the same */
	}
}

/* ---- accepting ---- */

static void
client_on_io(void *arg, int fd, int events)
{
	struct client *cl = arg;

	assert(cl->magic == CLIENT_MAGIC);
	(void)fd;
	switch (cl->state) {
	case CLIENT_LINE: client_read_line(cl); return;
	case CLIENT_RUN: client_read_rest(cl); return;
	case CLIENT_ANSWER: client_flush(cl); return;
	case CLIENT_EVENTS:
		if (events & LOOP_READ)
			client_read_rest(cl);
		if (cl->state == CLIENT_EVENTS)
			client_pump_events(cl);
		return;
	case CLIENT_CLOSED: return;
	}
}

static bool
peer_in_group(int fd, gid_t gid, gid_t group)
{
	gid_t groups[256];
	socklen_t len = sizeof(groups);

	if (gid == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false; /* more than 256 groups: view only, rather than a list from a peer */
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == group)
			return true;
	return false;
}

static enum ctl_level
peer_level(const struct ctl *c, int fd, uid_t *uid)
{
	gid_t gid;
	pid_t pid;

	*uid = (uid_t)-1;
	if (!sock_peer(fd, uid, &gid, &pid))
		return CTL_VIEW;
	if (*uid == 0 || *uid == geteuid())
		return CTL_ADMIN;
	return c->has_group && peer_in_group(fd, gid, c->group) ? CTL_OPERATE : CTL_VIEW;
}

static void
client_new(struct ctl *c, int fd)
{
	struct client *cl = xcalloc(1, sizeof(*cl));

	cl->magic = CLIENT_MAGIC;
	cl->ctl = c;
	cl->fd = fd;
	cl->level = peer_level(c, fd, &cl->uid);
	cl->next = c->clients;
	cl->link = &c->clients;
	if (cl->next != NULL)
		cl->next->link = &cl->next;
	c->clients = cl;
	c->nclients++;
	cl->io = loop_io_new(c->loop, fd, LOOP_READ, client_on_io, cl);
	cl->timer = loop_timer_new(c->loop, client_on_timer, cl);
	loop_timer_set(cl->timer, LINE_TIMEOUT_MS, false);
	if (c->nclients > CTL_CLIENTS_MAX ||
		(cl->level < CTL_ADMIN && c->nclients > CTL_CLIENTS_MAX - RESERVED_FOR_ADMIN))
		client_refuse(cl, "too many control connections, try again");
}

static void
on_accept_timer(void *arg)
{
	struct ctl *c = arg;

	loop_io_set(c->io, LOOP_READ);
}

static void
on_accept(void *arg, int fd, int events)
{
	struct ctl *c = arg;

	(void)events;
	for (int i = 0; i < 16; i++) {
		int s = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (s >= 0) {
			client_new(c, s);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			loop_io_set(c->io, 0);
			loop_timer_set(c->accept_timer, ACCEPT_PAUSE_MS, false);
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

/* ---- the socket ---- */

static int
find_group(struct ctl *c, const char *name, struct err *err)
{
	if (name == NULL)
		return 0;

	const struct group *g = getgrnam(name);

	if (g == NULL)
		return err_set(err, "control_group: there is no group `%s`", name);
	c->group = g->gr_gid;
	c->has_group = true;
	return 0;
}

static int
open_socket(struct ctl *c, struct err *err)
{
	struct addr_spec at = { .kind = ADDR_UNIX };
	struct sock_listen_opts opts = { .unix_mode = 0660 };
	size_t n = strlen(c->path);
	struct stat st;

	if (n >= sizeof(at.addr.un.sun_path))
		return err_set(err,
			"%s: the path is too long for a socket (%zu bytes, at most %zu)", c->path,
			n, sizeof(at.addr.un.sun_path) - 1);
	at.addr.un.sun_family = AF_UNIX;
	memcpy(at.addr.un.sun_path, c->path, n + 1);
	at.addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	c->fd = sock_listen(&at, &opts, err);
	if (c->fd < 0)
		return -1;
	if (c->has_group && chown(c->path, (uid_t)-1, c->group) < 0)
		return err_set(
			err, "%s: cannot give it to control_group: %s", c->path, strerror(errno));
	if (stat(c->path, &st) == 0) {
		c->dev = st.st_dev;
		c->ino = st.st_ino;
	}
	return 0;
}

static struct ctl_events *
events_for(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct slice name = slice_str(slash ? slash + 1 : path);

	if (slice_ends(name, SLICE(".sock")))
		name.n -= strlen(".sock");
	return ctl_events_new(name);
}

struct ctl *
ctl_new(struct loop *l, const char *path, const char *control_group, struct err *err)
{
	struct ctl *c = xcalloc(1, sizeof(*c));

	c->loop = l;
	c->path = xstrdup(path);
	c->fd = -1;
	c->event_fd = -1;
	c->events = events_for(path);
	c->builtin.rows = builtin;
	c->tables = &c->builtin;
	if (find_group(c, control_group, err) < 0 || open_socket(c, err) < 0) {
		ctl_free(c);
		return NULL;
	}
	c->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (c->event_fd < 0) {
		err_set(err, "eventfd: %s", strerror(errno));
		ctl_free(c);
		return NULL;
	}
	c->io = loop_io_new(l, c->fd, LOOP_READ, on_accept, c);
	c->event_io = loop_io_new(l, c->event_fd, LOOP_READ, on_event_fd, c);
	c->accept_timer = loop_timer_new(l, on_accept_timer, c);
	return c;
}

void
ctl_add(struct ctl *c, const struct ctl_command *commands, void *arg)
{
	struct ctl_table **last = &c->tables;
	struct ctl_table *t = xcalloc(1, sizeof(*t));

	t->rows = commands;
	t->arg = arg;
	while (*last != NULL)
		last = &(*last)->next;
	*last = t;
}

static void
free_tables(struct ctl_table *t)
{
	while (t != NULL) {
		struct ctl_table *next = t->next;

		free(t);
		t = next;
	}
}

/* The file may be somebody else's by now. */
static void
remove_socket(const struct ctl *c)
{
	struct stat st;

	if (c->ino != 0 && stat(c->path, &st) == 0 && st.st_dev == c->dev && st.st_ino == c->ino)
		unlink(c->path);
}

void
ctl_free(struct ctl *c)
{
	if (c == NULL)
		return;
	while (c->clients != NULL)
		client_close(c->clients);
	if (c->io != NULL) {
		loop_io_free(c->io);
		loop_io_free(c->event_io);
		loop_timer_free(c->accept_timer);
	}
	remove_socket(c);
	if (c->fd >= 0)
		close(c->fd);
	if (c->event_fd >= 0)
		close(c->event_fd);
	free_tables(c->builtin.next);
	ctl_events_free(c->events);
	free(c->path);
	free(c);
}
