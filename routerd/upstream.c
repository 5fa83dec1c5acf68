/*
 * upstream: opening, keeping, reusing and closing connections to servers.
 */
#include "routerd/upstream.h"

#include <errno.h>
#include <sys/socket.h>

#include "libcommon/sock.h"
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
	if (!u->s.readable)
		return;
	idlepool_remove(&u->w->idle, u->server_id, u);
	upstream_close(u);
}

static void
on_stream(struct stream *s)
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

struct upstream *
upstream_connect(struct worker *w, struct server *s)
{
	/* Before the address: a change in between must not go unseen. */
	uint32_t addr_seq = atomic_load_explicit(&s->addr_seq, memory_order_acquire);
	struct addr to;
	int fd;

	if (!server_addr(s, &to)) {
		errno = EDESTADDRREQ;
		return NULL;
	}
	fd = sock_connect(&to);
	if (fd < 0)
		return NULL;

	bool is_now = errno == 0;
	struct upstream *u = freelist_take(&w->upstreams);

	*u = (struct upstream){
		.w = w,
		.server = s,
		.server_id = s->id,
		.addr_seq = addr_seq,
		.state = is_now ? UPSTREAM_BUSY : UPSTREAM_CONNECTING,
	};
	stream_init(&u->s, loop_base(w->loop), fd, &stream_plain, on_stream);
	u->s.writable = is_now;
	deadline_init(&u->dl, on_idle_deadline);
	worker_count(w, STAT_UPSTREAM_CONNECTS);
	return u;
}

int
upstream_connected(struct upstream *u)
{
	if (u->state == UPSTREAM_BUSY)
		return 1;
	if (!u->s.writable && !u->s.readable)
		return 0;

	int error = sock_error(u->s.fd);

	if (error != 0) {
		errno = error;
		return -1;
	}
	u->state = UPSTREAM_BUSY;
	u->s.writable = true;
	return 1;
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
	default: return "connect_failed";
	}
}

bool
upstream_is_quiet(const struct upstream *u)
{
	char c;

	return recv(u->s.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

struct upstream *
upstream_reuse(struct worker *w, struct server *s, uint64_t max_idle_ms)
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
		if (u->s.readable || ((is_careful || u->is_suspect) && !upstream_is_quiet(u))) {
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
	if (keep == 0 || u->w->is_draining || addr_seq != u->addr_seq ||
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

void
upstream_close_idle(struct worker *w, uint32_t server_id)
{
	struct upstream *u;

	while ((u = idlepool_take_oldest(&w->idle, server_id)) != NULL)
		upstream_close(u);
}
