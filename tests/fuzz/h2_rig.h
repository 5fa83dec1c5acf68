/*
 * h2_rig: a whole router in one thread, for fuzzers of sessions: configuration, snapshot, pools, a
 * worker whose loop is turned by hand. Its clients are socket pairs, its servers a Unix socket on
 * which the fuzzer itself answers. What must hold when all have gone is asked at the end of each
 * input: no request, no connection, no buffer is left.
 */
#ifndef TESTS_FUZZ_H2_RIG_H
#define TESTS_FUZZ_H2_RIG_H

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "routerd/conn.h"
#include "routerd/listen.h"
#include "routerd/worker_state.h"
#include "tests/fuzz/http_conf.h"

struct rig {
	struct loop *main_loop;
	struct workers *ws;
	struct worker *w;
	struct backends *b;
	int server; /* listening: what pools lead to */
};

static char rig_dir[] = "/tmp/weir.fuzz.XXXXXX";
static char rig_path[64];

static void
rig_clean(void)
{
	unlink(rig_path);
	rmdir(rig_dir);
}

static struct pool *
rig_pool(void *arg, const struct poolcfg *cfg)
{
	return backends_pool(arg, cfg);
}

static void
rig_listen(struct rig *r)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (mkdtemp(rig_dir) == NULL)
		abort();
	snprintf(rig_path, sizeof(rig_path), "%s/s", rig_dir);
	memcpy(at.sun_path, rig_path, strlen(rig_path) + 1);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 64) < 0)
		abort();
	atexit(rig_clean);
	r->server = fd;
}

/* One turn of the worker's loop, whatever there is to do. */
static void
rig_turn(struct rig *r)
{
	loop_stop(r->w->loop);
	loop_run(r->w->loop);
}

/* The path that the configuration's servers have is rig_path: good from rig_listen on. */
static void
rig_start(struct rig *r, const char *text)
{
	struct errs errs = { 0 };
	struct listen_set *set = xcalloc(1, sizeof(*set));
	struct listen_plan *plan;
	struct snapshot *s;
	struct err err;

	log_set_level(LOG_LEVEL_ERROR);
	r->main_loop = loop_new();
	r->b = backends_new(r->main_loop, &err);
	r->ws = workers_new(r->main_loop, 1, 0, &err);
	s = conf_snapshot(text, rig_dir);
	snapshot_set_pools(s, rig_pool, r->b);
	backends_commit(r->b, s->pools, s->pool_count);
	plan = listen_prepare(set, s, 1, NULL, NULL, &errs);
	if (plan == NULL)
		abort();
	listen_commit(set, plan);
	workers_adopt(r->ws, s, set, plan, NULL, NULL, NULL);
	listen_plan_free(plan);
	r->w = r->ws->v[0];
}

/* A client's end of a connection that has just been accepted. */
static int
rig_client(struct rig *r)
{
	struct sockaddr_un peer = { .sun_family = AF_UNIX };
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		abort();
	atomic_fetch_add(&r->ws->connections, 1);
	worker_count_new(r->w->listeners[0]);
	conn_new(r->w, r->w->listeners[0], fd[1], (struct sockaddr *)&peer);
	return fd[0];
}

/* What the peer has not taken is lost: it has gone, or does not read. */
static void
rig_send(int fd, const void *p, size_t n)
{
	if (n > 0)
		(void)!send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Everything that is there; false at the end. */
static bool
rig_drain(int fd)
{
	static char waste[65536];
	ssize_t n;

	while ((n = recv(fd, waste, sizeof(waste), MSG_DONTWAIT)) > 0)
		;
	return n < 0 && errno == EAGAIN;
}

/* The server's end of a connection that the router has opened; -1: none. */
static int
rig_accept(const struct rig *r)
{
	return accept4(r->server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* When every client and server has gone nothing may be left. */
static void
rig_check(struct rig *r)
{
	int fd;

	for (int i = 0; i < 50 && (r->w->conn_list != NULL || r->w->stats[STAT_ACTIVE] > 0); i++)
		rig_turn(r);
	while ((fd = rig_accept(r)) >= 0)
		close(fd);
	rig_turn(r);
	assert(r->w->conn_list == NULL);
	assert(r->w->stats[STAT_ACTIVE] == 0);
	assert(r->w->stats[STAT_H2_OPEN] == 0);
	assert(r->w->stats[STAT_TUNNELS] == 0);
	assert(r->w->snap->active == 0);
}

/*
 * The input as frames, so that mutations keep lengths right: kind, flags, stream, length, payload.
 * Streams and kinds are small numbers; their high bits say what else happens. Of the kind: 0x80, a
 * turn of the loop first; 0x40, bytes as they are without a frame around them. Of the stream: 0x80,
 * on the second connection.
 */
struct rig_frame {
	uint8_t bytes[9 + 255];
	size_t n;
	bool turns;
	bool is_second;
};

static bool
rig_frame(const uint8_t **p, size_t *left, struct rig_frame *f)
{
	const uint8_t *at = *p;
	size_t n;

	if (*left < 4)
		return false;
	n = at[3] < *left - 4 ? at[3] : *left - 4;
	f->turns = at[0] & 0x80;
	f->is_second = at[2] & 0x80;
	f->n = 0;
	if (!(at[0] & 0x40)) {
		const uint8_t head[9] = { 0, 0, (uint8_t)n, at[0] & 0x3f, at[1], 0, 0, 0,
			at[2] & 0x7f };

		memcpy(f->bytes, head, sizeof(head));
		f->n = sizeof(head);
	}
	memcpy(f->bytes + f->n, at + 4, n);
	f->n += n;
	*p += 4 + n;
	*left -= 4 + n;
	return true;
}

#endif
