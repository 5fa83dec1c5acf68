/*
 * codec_h2_held: the memory of what a client of HTTP/2 asked for and does not take, or sends and
 * its servers do not take, and what goes when a worker has too much of that (shed.c).
 */
#include "routerd/codec_h2_int.h"

/* The socket has taken nothing for so long: it is no use to tell of a stream. */
#define STUCK_MS 1000

static struct conn_held
stream_held(const struct h2_stream *st, uint64_t now_ms)
{
	size_t n = 0;

	if (!st->is_done)
		n = h1_segs_held(st->seg + st->seg_first, st->seg_count) + request_held(st->cl.req);
	for (unsigned i = 0; i < st->in_count; i++)
		n += st->in[i]->cap;
	return (struct conn_held){ n, conn_score(n, now_ms - st->since_ms) };
}

/* What is staged and waits for the socket: by reference, and copied. */
static struct conn_held
staged_held(const struct h2 *x, uint64_t now_ms)
{
	const struct h2_held *d = x->held;
	size_t n = 0;

	if (d != NULL)
		n = h1_segs_held(d->seg + d->first, d->count) +
			(d->copy != NULL ? d->copy->cap : 0);
	return (struct conn_held){ n, conn_score(n, now_ms - x->sent_ms) };
}

struct conn_held
h2_untaken(const struct conn *c)
{
	const struct h2 *x = c->h2;
	uint64_t now_ms = loop_now_ms(c->w->loop);
	struct conn_held all = staged_held(x, now_ms);

	for (const struct h2_stream *st = x->streams; st != NULL; st = st->next) {
		struct conn_held h = stream_held(st, now_ms);

		all.bytes += h.bytes;
		all.score += h.score;
	}
	return all;
}

/* Those with at least half of what the first to go has, until there is room. False: there is none.
 */
static bool
shed_streams(struct h2 *x, uint64_t now_ms)
{
	const struct bufs *b = &x->c->w->bufs;
	uint64_t most = 0;
	struct h2_stream *next;

	for (const struct h2_stream *st = x->streams; st != NULL; st = st->next) {
		struct conn_held h = stream_held(st, now_ms);

		most = h.score > most ? h.score : most;
	}
	if (most == 0)
		return false;
	for (struct h2_stream *st = x->streams; st != NULL && *b->out_bytes > b->limit; st = next) {
		next = st->next;
		if (stream_held(st, now_ms).score < most / 2 + 1)
			continue;
		/* It pays from its budget of resets, too. */
		st->is_late = true;
		h2_wait_drop(st);
		request_shed(st->cl.req);
	}
	return true;
}

bool
h2_held_shed(struct h2 *x)
{
	uint64_t now_ms = loop_now_ms(x->c->w->loop);
	bool is_stuck = x->held != NULL && now_ms - x->sent_ms >= STUCK_MS;

	return !is_stuck && shed_streams(x, now_ms);
}
