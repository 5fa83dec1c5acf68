/*
 * ctl_serve: one client of the control socket, a small state machine on the daemon's loop: reading
 * a line, running its command, writing the answer, or streaming events. It costs at most a line, an
 * answer and a slot, and cannot keep the slot without making progress, except to watch events.
 *
 * A client may close its sending half at once (`echo status | socat stdio x.sock`): the answer
 * still goes out. That it is gone for good shows as POLLHUP, which is looked for once a second
 * where reading can no longer tell.
 */
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/ctl_parts.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"

enum {
	LINE_TIMEOUT_MS = 30000,
	WRITE_TIMEOUT_MS = 30000,
	GONE_CHECK_MS = 1000,
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

static void client_flush(struct client *cl);

/* ---- the end ---- */

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

/* The command's own time begins. */
static void
client_start(struct client *cl, const struct ctl_command *cmd, size_t taken, void *arg)
{
	const struct ctlproto_line *line = &cl->line;
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
		.ctl = cl->ctl,
	};
	cl->req = r;
	cl->state = CLIENT_RUN;
	loop_timer_set(cl->timer, GONE_CHECK_MS, true);
	loop_io_set(cl->io, cl->is_read_closed ? 0 : LOOP_READ);
	cmd->fn(&r->pub);
}

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

	/* `stop app/a` must not stop everything. */
	if (cmd->usage[0] == '\0' && taken < line->n) {
		struct sbuf why = { 0 };

		sbuf_addf(&why, "usage: %s, without anything behind it", cmd->words);
		client_refuse(cl, why.p);
		sbuf_fini(&why);
		return;
	}
	client_start(cl, cmd, taken, arg);
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

void
ctl_serve_watch(struct ctl_req *req)
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

/* Clients may close while we walk: each one only itself. */
void
ctl_serve_events(struct ctl *c)
{
	struct client *next;

	for (struct client *cl = c->clients; cl != NULL; cl = next) {
		next = cl->next;
		if (cl->state == CLIENT_EVENTS)
			client_pump_events(cl);
	}
}

/* ---- its life ---- */

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

void
ctl_serve(struct ctl *c, int fd, enum ctl_level level, uid_t uid)
{
	struct client *cl = xcalloc(1, sizeof(*cl));

	cl->magic = CLIENT_MAGIC;
	cl->ctl = c;
	cl->fd = fd;
	cl->level = level;
	cl->uid = uid;
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

void
ctl_serve_close_all(struct ctl *c)
{
	while (c->clients != NULL)
		client_close(c->clients);
}
