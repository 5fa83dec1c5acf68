/*
 * listen: opening, keeping and giving up listening sockets. Driven by start and reload on the main
 * thread.
 */
#include "routerd/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/daemon.h"
#include "libcommon/sock.h"

static struct listen_slot *
find(const struct listen_set *set, const char *name, const char *where)
{
	for (unsigned i = 0; i < set->count; i++) {
		struct listen_slot *s = set->slots[i];

		if (s->is_open && strcmp(s->name, name) == 0 && strcmp(s->where, where) == 0)
			return s;
	}
	return NULL;
}

/* Its path goes first, so that it is never another process's that is removed. Connecting is refused
 * from then on, and no channel is left behind that nobody will accept. */
static void
stop_handoff(struct listen_slot *s)
{
	if (s->handoff_path == NULL)
		return;
	unlink(s->handoff_path);
	free(s->handoff_path);
	s->handoff_path = NULL;
	shutdown(s->handoff_fd, SHUT_RDWR);
}

void
listen_stop(struct listen_slot *s)
{
	stop_handoff(s);
	if (s->path == NULL)
		return;
	unlink(s->path);
	free(s->path);
	s->path = NULL;
	shutdown(s->fds[0], SHUT_RDWR);
}

void
listen_close(struct listen_slot *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (s->fds[i] >= 0)
			close(s->fds[i]);
		s->fds[i] = -1;
	}
}

static void
slot_free(struct listen_slot *s)
{
	listen_stop(s);
	if (s->handoff_fd >= 0)
		close(s->handoff_fd);
	listen_close(s);
	free(s->path);
	free(s->fds);
	free(s->counts);
	free(s->name);
	free(s->where);
	free(s);
}

/* The port that the kernel gave to the first socket is everybody's. */
static void
settle_address(struct addr_spec *at, int fd, char text[static ADDR_TEXT])
{
	struct addr got = { .len = sizeof(got.ss) };

	if (getsockname(fd, &got.sa, &got.len) == 0) {
		addr_format(&got.sa, got.len, text);
		if (at->kind == ADDR_IP) {
			at->addr = got;
			at->port = addr_port(&got.sa);
			at->is_any = false;
		}
	}
}

/* Whoever opened it did not know what we want of it. */
static int
take_inherited(const struct addr_spec *at, int backlog)
{
	int fd = sock_inherited(at);
	int on = 1;

	if (fd >= 0 && at->kind == ADDR_IP)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (fd >= 0)
		listen(fd, backlog > 0 ? backlog : SOMAXCONN);
	return fd;
}

static bool
has_reuseport(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &len) == 0 && on != 0;
}

/* Another worker's: an inherited one, one of its own (only where the first one has SO_REUSEPORT,
 * too), or the first one once more. */
static int
open_next(struct listen_slot *slot, const struct addr_spec *at, const struct sock_listen_opts *opts,
	bool is_inherited, struct err *err)
{
	int fd = is_inherited ? take_inherited(at, opts->backlog) : -1;

	if (fd >= 0)
		return fd;
	if (opts->reuseport && has_reuseport(slot->fds[0])) {
		fd = sock_listen(at, opts, err);
		if (fd >= 0 || !is_inherited)
			return fd;
		err->text[0] = '\0'; /* it is another user's */
	}
	return fcntl(slot->fds[0], F_DUPFD_CLOEXEC, 0);
}

/* One socket per worker; Unix sockets and those of a single inherited one share it. */
static int
open_slot(struct listen_slot *slot, struct addr_spec at, int backlog, struct err *err)
{
	bool is_any = at.is_any;
	struct addr_spec wanted = at;
	struct sock_listen_opts opts = {
		.backlog = backlog,
		.reuseport = at.kind == ADDR_IP && slot->count > 1,
		.nodelay = at.kind == ADDR_IP,
		.unix_mode = 0660,
	};

	slot->fds[0] = take_inherited(&at, backlog);

	bool is_inherited = slot->fds[0] >= 0;

	if (!is_inherited)
		slot->fds[0] = sock_listen(&at, &opts, err);
	if (slot->fds[0] < 0)
		return -1;
	if (at.kind == ADDR_UNIX && !is_inherited)
		slot->path = xstrdup(at.addr.un.sun_path);
	settle_address(&at, slot->fds[0], slot->bound);
	slot->at = at.addr;
	for (unsigned i = 1; i < slot->count; i++) {
		wanted = at;
		wanted.is_any = is_any;
		slot->fds[i] = open_next(slot, &wanted, &opts, is_inherited, err);
		if (slot->fds[i] < 0)
			return err->text[0] ? -1 : err_set(err, "%s", strerror(errno));
	}
	return 0;
}

static struct listen_slot *
slot_new(const char *name, const char *where, unsigned workers)
{
	struct listen_slot *s = xcalloc(1, sizeof(*s));

	s->name = xstrdup(name);
	s->where = xstrdup(where);
	s->count = workers;
	s->handoff_fd = -1;
	s->fds = xcalloc(workers, sizeof(*s->fds));
	for (unsigned i = 0; i < workers; i++)
		s->fds[i] = -1;
	s->counts = xaligned(64, workers * sizeof(*s->counts));
	memset(s->counts, 0, workers * sizeof(*s->counts));
	s->is_open = true;
	return s;
}

static int
spec_of(const struct listencfg *cfg, listen_path_fn unix_path, void *arg, struct addr_spec *out,
	struct err *err)
{
	char *path;
	char text[ADDR_TEXT];
	int n;

	if (cfg->from == LISTEN_ADDRESS) {
		*out = cfg->address;
		return 0;
	}
	path = unix_path(arg, cfg->name, ".sock");
	if (path == NULL)
		return err_set(err, "the folder of its socket cannot be made: %s", strerror(errno));
	n = snprintf(text, sizeof(text), "unix:%s", path);
	free(path);
	if (n < 0 || (size_t)n >= sizeof(text))
		return err_set(err, "the path of its socket is too long for the system");
	return addr_parse(slice_str(text), 0, out, err);
}

/* Beside the socket for relayed connections. */
static int
open_handoff(struct listen_slot *slot, const struct listencfg *cfg, listen_path_fn unix_path,
	void *arg, struct err *err)
{
	struct sock_listen_opts opts = { .unix_mode = 0660 };
	char *path;

	if (cfg->from != LISTEN_TLSD)
		return 0;
	path = unix_path(arg, cfg->name, ".handoff");
	if (path == NULL)
		return err_set(err, "the folder of its socket cannot be made: %s", strerror(errno));
	slot->handoff_fd = sock_listen_seqpacket(path, &opts, err);
	if (slot->handoff_fd < 0) {
		free(path);
		return -1;
	}
	slot->handoff_path = path;
	return 0;
}

struct listen_plan *
listen_prepare(const struct listen_set *set, const struct snapshot *s, unsigned workers,
	listen_path_fn unix_path, void *arg, struct errs *errs)
{
	struct listen_plan *plan = xcalloc(1, sizeof(*plan));
	size_t before = errs->error_count;

	plan->count = s->listener_count;
	plan->slots = xcalloc(plan->count, sizeof(*plan->slots));
	plan->is_new = xcalloc(plan->count, sizeof(*plan->is_new));
	for (unsigned i = 0; i < plan->count; i++) {
		const struct listencfg *cfg = s->listeners[i].cfg;
		const char *where = cfg->from == LISTEN_ADDRESS ? cfg->address_text : "tlsd";
		struct addr_spec at;
		struct err err = { "" };

		plan->slots[i] = find(set, cfg->name, where);
		if (plan->slots[i] != NULL)
			continue;
		plan->slots[i] = slot_new(cfg->name, where, workers);
		plan->is_new[i] = true;
		if (spec_of(cfg, unix_path, arg, &at, &err) < 0 ||
			open_slot(plan->slots[i], at, (int)cfg->backlog, &err) < 0 ||
			open_handoff(plan->slots[i], cfg, unix_path, arg, &err) < 0)
			errs_add(errs, FINDING_ERROR, cfg_at(s->dc->cfg, cfg->node), "http.listen",
				"%s: %s", cfg->name, err.text);
	}
	if (errs->error_count == before)
		return plan;
	listen_discard(plan);
	return NULL;
}

void
listen_commit(struct listen_set *set, struct listen_plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++) {
		if (!plan->is_new[i])
			continue;
		set->slots = xreallocarray(set->slots, set->count + 1, sizeof(*set->slots));
		plan->slots[i]->index = set->count;
		set->slots[set->count++] = plan->slots[i];
		daemon_keep_listeners(plan->slots[i]->fds, plan->slots[i]->count);
	}
}

void
listen_give_up(const struct listen_set *set, struct listen_slot *gone)
{
	bool is_shared = false;

	gone->is_open = false;
	for (unsigned i = 0; i < set->count && !is_shared; i++)
		is_shared =
			set->slots[i]->is_open && strcmp(set->slots[i]->bound, gone->bound) == 0;
	if (!is_shared)
		daemon_forget_listener(&gone->at);
	listen_close(gone);
	if (gone->handoff_fd >= 0)
		close(gone->handoff_fd);
	gone->handoff_fd = -1;
}

void
listen_plan_free(struct listen_plan *plan)
{
	free(plan->slots);
	free(plan->is_new);
	free(plan);
}

void
listen_discard(struct listen_plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++)
		if (plan->is_new[i])
			slot_free(plan->slots[i]);
	listen_plan_free(plan);
}

void
listen_set_fini(struct listen_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		slot_free(set->slots[i]);
	free(set->slots);
	*set = (struct listen_set){ 0 };
}
