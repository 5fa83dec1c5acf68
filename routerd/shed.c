/*
 * shed: the bound of all that a worker holds in buffers (limits.buffered): what was read and nobody
 * takes. Driven by the run queue, when a buffer was lent beyond it.
 *
 * From half of the limit on (bufs_are_tight) each producer stops earlier: reads are small, nothing
 * goes into pipes, a stream of HTTP/2 has less ready, servers get smaller windows, fewer records
 * are sealed ahead. So nothing is lost by it, and who reads goes on reading. A few kB each are
 * left, and of any number of peers who do not read these are too much in the end: then those go
 * that stand still, the largest first.
 */
#include "routerd/shed.h"

#include <string.h>

#include "routerd/conn.h"
#include "routerd/worker_state.h"

/* Connections that may go after one look at all of them; and looks in one turn. */
#define AT_ONCE 64
#define LOOKS   8
/* Nobody is to blame: before looking again. */
#define AGAIN_MS 100

struct victim {
	struct conn *c;
	struct conn_held held;
};

struct victims {
	unsigned n;
	struct victim v[AT_ONCE];
};

/* In order; of equals the later one first: older connections stand later in the list. */
static void
consider(struct victims *vs, struct conn *c)
{
	struct conn_held h = c->codec->held(c);
	unsigned i = vs->n;

	if (h.bytes == 0)
		return;
	while (i > 0 && vs->v[i - 1].held.score <= h.score)
		i--;
	if (i == AT_ONCE)
		return;
	vs->n += vs->n < AT_ONCE;
	memmove(&vs->v[i + 1], &vs->v[i], (vs->n - i - 1) * sizeof(vs->v[0]));
	vs->v[i] = (struct victim){ c, h };
}

static void
tell(const struct worker *w, const struct victim *v)
{
	static _Thread_local struct log_limit rate = { .burst = 5 };
	uint32_t held;

	if (log_allow(&rate, &held))
		LOG_WARN("buffer_memory", L_SLICE("peer", conn_peer(v->c)),
			L_INT("held", v->held.bytes), L_INT("buffered", *w->bufs.out_bytes),
			L_INT("limit", w->bufs.limit), L_INT("suppressed", held));
}

static bool
is_over(const struct worker *w)
{
	return *w->bufs.out_bytes > w->bufs.limit;
}

/* One look at all connections. False: none of them holds anything that could go. */
static bool
shed_some(struct worker *w)
{
	struct victims vs = { .n = 0 };

	for (struct conn *c = w->conn_list; c != NULL; c = c->next)
		if (c->state == CONN_BUSY)
			consider(&vs, c);
	/* Not all of what the first ones have need go at once: the small ones are looked at again.
	 */
	for (unsigned i = 0; i < vs.n && is_over(w); i++) {
		if (vs.v[i].held.score < vs.v[0].held.score / 2)
			break;
		tell(w, &vs.v[i]);
		vs.v[i].c->codec->shed(vs.v[i].c);
	}
	return vs.n > 0;
}

static void
shed(struct run_item *item)
{
	struct worker *w = (struct worker *)((char *)item - offsetof(struct worker, shed));
	uint64_t now_ms = loop_now_ms(w->loop);

	if (now_ms < w->shed_again_ms)
		return;
	for (int i = 0; i < LOOKS && is_over(w); i++)
		if (!shed_some(w)) {
			w->shed_again_ms = now_ms + AGAIN_MS;
			return;
		}
	if (is_over(w))
		loop_run_soon(w->loop, &w->shed);
}

static void
over(void *arg)
{
	struct worker *w = arg;

	loop_run_soon(w->loop, &w->shed);
}

void
shed_init(struct worker *w)
{
	w->shed.fn = shed;
	w->bufs.over = over;
	w->bufs.arg = w;
}
