/*
 * codec_h2_wait: bodies that nobody takes now: their bytes wait in pieces of their streams.
 *
 * A stream's window bounds what waits in it. The connection's window bounds nothing: it is given
 * back as bytes come, so that streams which stand still hold no other stream of their connection.
 * (nginx does the same; where a connection's streams share what it may keep, as in HAProxy, its
 * slowest ones decide for all.) What is left to bound is the sum, limits.h2_streams windows per
 * connection and any number of connections, and that is done where the memory is: all that waits
 * in one worker has a limit. Windows cannot be taken back once they are given, and narrower ones
 * from the start would slow down everybody for the sake of a few; so whoever keeps most pays: the
 * connection that has most waiting loses the stream that has most of it, with a 503.
 */
#include <assert.h>
#include <string.h>

#include "routerd/codec_h2_int.h"

/* Memory is counted, not bytes: a piece costs the same with one byte in it. */
static void
more(struct h2 *x, size_t n)
{
	if (x->waiting == 0) {
		x->next_waiting = x->env->waiters;
		x->link_waiting = &x->env->waiters;
		if (x->next_waiting != NULL)
			x->next_waiting->link_waiting = &x->next_waiting;
		x->env->waiters = x;
	}
	x->waiting += n;
	x->env->waiting += n;
	worker_add(x->c->w, STAT_H2_BODY_MEMORY, n);
}

static void
less(struct h2 *x, size_t n)
{
	x->waiting -= n;
	x->env->waiting -= n;
	worker_add(x->c->w, STAT_H2_BODY_MEMORY, -(uint64_t)n);
	if (x->waiting > 0)
		return;
	*x->link_waiting = x->next_waiting;
	if (x->next_waiting != NULL)
		x->next_waiting->link_waiting = x->link_waiting;
}

static struct h2_stream *
largest(const struct h2_env *env)
{
	struct h2 *x = env->waiters;
	struct h2_stream *most = NULL;

	for (struct h2 *other = x->next_waiting; other != NULL; other = other->next_waiting)
		if (other->waiting > x->waiting)
			x = other;
	for (struct h2_stream *st = x->streams; st != NULL; st = st->next)
		if (st->in_count > 0 && (most == NULL || st->in_count > most->in_count))
			most = st;
	return most;
}

static void
shed(struct h2_stream *st, uint64_t limit)
{
	static _Thread_local struct log_limit rate = { .burst = 5 };
	struct h2 *x = st->x;
	uint32_t held;

	worker_count(x->c->w, STAT_H2_BODIES_SHED);
	if (log_allow(&rate, &held))
		LOG_WARN("h2_body_memory", L_SLICE("peer", conn_peer(x->c)),
			L_INT("waiting", x->waiting), L_INT("limit", limit),
			L_INT("suppressed", held));
	h2_wait_drop(st);
	h2_body_shed(st);
}

void
h2_wait_put(struct h2_stream *st, const char *p, size_t n)
{
	struct h2 *x = st->x;
	uint64_t limit = x->c->w->snap->s->http->limits.h2_body_memory;

	while (n > 0) {
		struct buf *b = st->in_count > 0 ? st->in[st->in_count - 1] : NULL;
		size_t part;

		if (b == NULL || buf_room(b) == 0 || b->refs > 1) {
			assert(st->in_count < H2_IN_PIECES);
			b = buf_get(&st->cl.w->bufs, BUF_16K);
			st->in[st->in_count++] = b;
			more(x, b->cap);
		}
		part = n < buf_room(b) ? n : buf_room(b);
		memcpy(b->data + b->w, p, part);
		b->w += (uint32_t)part;
		p += part;
		n -= part;
	}
	while (x->env->waiting > limit)
		shed(largest(x->env), limit);
}

struct buf *
h2_wait_take(struct h2_stream *st)
{
	struct buf *b = st->in[0];

	memmove(st->in, st->in + 1, --st->in_count * sizeof(st->in[0]));
	less(st->x, b->cap);
	return b;
}

void
h2_wait_drop(struct h2_stream *st)
{
	while (st->in_count > 0)
		buf_unref(h2_wait_take(st));
}
