/*
 * ctl: the control socket: listening, who comes in and what they may do, the tables of words, the
 * bell that events ring. A client's own life is in ctl_serve.c.
 */
#include "libcommon/ctl.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libcommon/ctl_parts.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"

enum { ACCEPT_PAUSE_MS = 200 };

/* ---- the words that every socket has ---- */

static void
cmd_help(struct ctl_req *req)
{
	ctl_table_help(req->ctl->tables, req->is_json, &req->out);
	ctl_done(req);
}

static const struct ctl_command builtin[] = {
	{ "help", "", "this list", CTL_VIEW, cmd_help },
	{ "events", "[recent]", "what happens from now on, one JSON object a line", CTL_VIEW,
		ctl_serve_watch },
	{ 0 },
};

/* ---- events ---- */

static void
on_event_fd(void *arg, int fd, int events)
{
	struct ctl *c = arg;
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));

	(void)n;
	(void)events;
	ctl_serve_events(c);
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
		uid_t uid;
		int s = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (s >= 0) {
			enum ctl_level level = peer_level(c, s, &uid);

			ctl_serve(c, s, level, uid);
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
	ctl_serve_close_all(c);
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
