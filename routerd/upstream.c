/*
 * upstream: opening, keeping, reusing and closing connections to servers.
 */
#include "routerd/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "libcommon/sock.h"
#include "routerd/exchange_h2.h"
#include "routerd/worker_state.h"

static void
release(void *p)
{
	struct upstream *u = p;

	freelist_give(&u->w->upstreams, u);
}

void
upstream_close(struct upstream *u)
{
	if (u->state == UPSTREAM_CLOSED)
		return;
	if (u->state == UPSTREAM_IDLE)
		worker_add(u->w, STAT_UPSTREAM_IDLE, (uint64_t)-1);
	upstream_tls_cancel(u);
	u->state = UPSTREAM_CLOSED;
	stream_close(&u->s);
	deadline_fini(&u->dl);
	buf_unref(u->in);
	u->in = NULL;
	loop_defer(u->w->loop, release, u);
}

/* An idle connection has nothing to say: bytes or the end mean that it is of no use any more. */
static void
idle_event(struct upstream *u)
{
	if (!u->s.readable || (u->s.layer != NULL && upstream_is_quiet(u)))
		return;
	idlepool_remove(&u->w->idle, u->server_id, u);
	upstream_close(u);
}

void
upstream_on_stream(struct stream *s)
{
	struct upstream *u = (struct upstream *)((char *)s - offsetof(struct upstream, s));

	if (u->state == UPSTREAM_IDLE)
		idle_event(u);
	else if (u->state != UPSTREAM_CLOSED)
		u->fn(u);
}

static void
on_idle_deadline(struct deadline *d)
{
	struct upstream *u = (struct upstream *)((char *)d - offsetof(struct upstream, dl));

	if (u->state != UPSTREAM_IDLE) {
		if (u->state != UPSTREAM_CLOSED)
			u->expired(u);
		return;
	}
	idlepool_remove(&u->w->idle, u->server_id, u);
	upstream_close(u);
}

int
upstream_dial(struct upstream *u)
{
	/* Before the address: a change in between must not go unseen. */
	uint32_t addr_seq = atomic_load_explicit(&u->server->addr_seq, memory_order_acquire);
	struct addr to;
	int fd;

	if (!server_addr(u->server, &to)) {
		errno = EDESTADDRREQ;
		return -1;
	}
	fd = sock_connect(&to);
	if (fd < 0)
		return -1;

	bool is_now = errno == 0;

	u->addr_seq = addr_seq;
	u->state = is_now && u->policy[0] == '\0' ? UPSTREAM_BUSY : UPSTREAM_CONNECTING;
	stream_init(&u->s, loop_base(u->w->loop), fd, &stream_plain, upstream_on_stream);
	u->s.writable = is_now;
	worker_count(u->w, STAT_UPSTREAM_CONNECTS);
	return 0;
}

struct upstream *
upstream_connect(struct worker *w, struct server *s, const struct poolcfg *pool)
{
	struct upstream *u = freelist_take(&w->upstreams);

	*u = (struct upstream){
		.w = w,
		.server = s,
		.server_id = s->id,
		.tls_id = pool->tls_id,
		.is_h2 = pool->protocol == PROTOCOL_H2,
	};
	if (pool->tls != NULL)
		snprintf(u->policy, sizeof(u->policy), "%s", pool->tls);
	if (upstream_dial(u) < 0) {
		freelist_give(&w->upstreams, u);
		return NULL;
	}
	deadline_init(&u->dl, on_idle_deadline);
	return u;
}

enum upstream_progress
upstream_connected(struct upstream *u)
{
	if (u->state == UPSTREAM_BUSY)
		return UPSTREAM_READY;
	if (u->why != NULL)
		return u->is_unmade ? UPSTREAM_NO_TLSD : UPSTREAM_TLS_FAILED;
	if (u->state == UPSTREAM_SHAKING || (!u->s.writable && !u->s.readable))
		return UPSTREAM_NOT_YET;

	int error = sock_error(u->s.fd);

	if (error != 0) {
		errno = error;
		return UPSTREAM_FAILED;
	}
	if (u->policy[0] != '\0') {
		upstream_tls_begin(u);
		return UPSTREAM_NOT_YET;
	}
	u->state = UPSTREAM_BUSY;
	u->s.writable = true;
	return UPSTREAM_READY;
}

const char *
upstream_reason(int error)
{
	switch (error) {
	case ECONNREFUSED: return "connect_refused";
	case ETIMEDOUT: return "connect_timeout";
	case EHOSTUNREACH:
	case ENETUNREACH: return "unreachable";
	case EDESTADDRREQ: return "no_address";
	case EMFILE:
	case ENFILE: return "no_descriptors";
	case ENOBUFS:
	case ENOMEM: return "no_buffers";
	default: return "connect_failed";
	}
}

bool
upstream_is_ours(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

bool
upstream_is_quiet(struct upstream *u)
{
	char c;

	/* Records may be there that say nothing: tickets, new keys. */
	if (u->s.layer != NULL && u->s.readable && stream_read(&u->s, &c, 1) != STREAM_AGAIN)
		u->is_heard = true;
	if (u->is_heard)
		return false;
	return recv(u->s.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

struct upstream *
upstream_reuse(struct worker *w, struct server *s, const struct poolcfg *pool, uint64_t max_idle_ms)
{
	struct upstream *u;

	while ((u = idlepool_take(&w->idle, s->id)) != NULL) {
		bool is_careful = max_idle_ms != UINT64_MAX;

		if (is_careful && loop_now_ms(w->loop) - u->idle_since_ms > max_idle_ms) {
			/* The newest is too old: so are the others. It stays for those who may use
			 * it. */
			idlepool_put(&w->idle, s->id, u, UINT32_MAX);
			return NULL;
		}
		if (u->tls_id != pool->tls_id || u->s.readable ||
			((is_careful || u->is_suspect) && !upstream_is_quiet(u))) {
			upstream_close(u);
			continue;
		}
		worker_add(w, STAT_UPSTREAM_IDLE, (uint64_t)-1);
		worker_count(w, STAT_UPSTREAM_REUSED);
		u->state = UPSTREAM_BUSY;
		u->server = s;
		deadline_clear(&u->dl);
		return u;
	}
	return NULL;
}

void
upstream_keep(struct upstream *u, unsigned keep, int64_t idle_timeout_ms)
{
	uint32_t addr_seq = atomic_load_explicit(&u->server->addr_seq, memory_order_relaxed);
	struct upstream *oldest;

	/* Idle ones are closed when the address changes; this one was busy then. */
	if (keep == 0 || u->w->is_draining || addr_seq != u->addr_seq || u->is_heard ||
		(u->s.readable && !upstream_is_quiet(u))) {
		upstream_close(u);
		return;
	}
	u->s.readable = false;
	buf_unref(u->in);
	u->in = NULL;
	u->user = NULL;
	u->state = UPSTREAM_IDLE;
	u->idle_since_ms = loop_now_ms(u->w->loop);
	deadline_set(u->w->loop, &u->dl, (uint64_t)idle_timeout_ms);
	worker_count(u->w, STAT_UPSTREAM_IDLE);
	oldest = idlepool_put(&u->w->idle, u->server_id, u, keep);
	if (oldest != NULL)
		upstream_close(oldest);
}

static void
close_pooled(struct worker *w, uint32_t server_id)
{
	struct upstream *u;

	while ((u = idlepool_take_oldest(&w->idle, server_id)) != NULL)
		upstream_close(u);
}

void
upstream_close_idle(struct worker *w, uint32_t server_id)
{
	close_pooled(w, server_id);
	exchange_h2_close_idle(w, server_id);
}

void
upstream_close_all(struct worker *w)
{
	for (uint32_t id = 0; id < w->idle.cap; id++)
		close_pooled(w, id);
	exchange_h2_drain(w);
}
