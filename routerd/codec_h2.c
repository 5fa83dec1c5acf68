/*
 * codec_h2: an HTTP/2 connection from its first byte to its end: reading, deadlines, draining.
 * Always CONN_BUSY for conn.c; idle is what it is without streams. It holds no buffer then.
 */
#include "routerd/codec_h2.h"

#include <string.h>

#include "routerd/codec_h2_int.h"
#include "routerd/h2_mem.h"

/* How many bytes one turn may read before others get theirs. */
#define TURN_BYTES (64u << 10)
/* Between the notice that the connection ends and its last stream, if the peer does not answer. */
#define NOTICE_MS 1000

/* Of each kind, kept for the next. */
#define CONNS_KEEP   1024
#define STREAMS_KEEP 1024
#define HELDS_KEEP   64
#define OBJECTS_BASE 16

static const uint8_t notice_ping[8] = { 'd', 'r', 'a', 'i', 'n', 'i', 'n', 'g' };

/* --- what a worker's connections share --- */

static struct h2_env *
env_of(struct worker *w)
{
	struct h2_env *env = w->h2;

	if (env != NULL)
		return env;
	env = xcalloc(1, sizeof(*env));
	env->mem = h2_mem_new();
	if (nghttp2_session_callbacks_new(&env->callbacks) != 0 ||
		nghttp2_option_new(&env->option) != 0)
		abort(); /* out of memory */
	h2_recv_callbacks(env->callbacks);
	h2_out_callbacks(env->callbacks);
	nghttp2_option_set_no_auto_window_update(env->option, 1);
	/* The rules of HTTP are h2_head's and ours; one place, with reasons. */
	nghttp2_option_set_no_http_messaging(env->option, 1);
	nghttp2_option_set_no_closed_streams(env->option, 1);
	nghttp2_option_set_max_send_header_block_length(env->option, 1 << 20);
	nghttp2_option_set_builtin_recv_extension_type(env->option, NGHTTP2_PRIORITY_UPDATE);
	/* Budgets are ours (codec_h2_guard.c), with their counters. */
	nghttp2_option_set_stream_reset_rate_limit(env->option, UINT32_MAX, UINT32_MAX);
	nghttp2_option_set_max_continuations(env->option, 1000);
	freelist_init(&env->conns, sizeof(struct h2), CONNS_KEEP);
	freelist_init(&env->streams, sizeof(struct h2_stream), STREAMS_KEEP);
	freelist_init(&env->helds, sizeof(struct h2_held), HELDS_KEEP);
	env->stage.bytes = xmalloc(H2_STAGE_BYTES);
	w->h2 = env;
	return env;
}

void
codec_h2_env_free(struct h2_env *env)
{
	if (env == NULL)
		return;
	freelist_fini(&env->conns);
	freelist_fini(&env->streams);
	freelist_fini(&env->helds);
	nghttp2_option_del(env->option);
	nghttp2_session_callbacks_del(env->callbacks);
	h2_mem_free(env->mem);
	free(env->stage.bytes);
	free(env);
}

bool
codec_h2_env_trim(struct h2_env *env)
{
	bool more = false;

	if (env == NULL)
		return false;
	more |= freelist_trim(&env->conns, OBJECTS_BASE);
	more |= freelist_trim(&env->streams, OBJECTS_BASE);
	more |= freelist_trim(&env->helds, 1);
	more |= h2_mem_trim(env->mem);
	return more;
}

enum h2_preface
codec_h2_preface(const char *p, size_t n)
{
	/* The rest of it is nghttp2's to judge. */
	static const char line[] = "PRI * HTTP/2.0\r\n";
	size_t all = sizeof(line) - 1;

	if (memcmp(p, line, n < all ? n : all) != 0)
		return H2_PREFACE_NO;
	return n < all ? H2_PREFACE_MORE : H2_PREFACE_YES;
}

/* --- the end --- */

static void
release(void *p)
{
	struct h2 *x = p;

	freelist_give(&x->env->conns, x);
}

/* Nothing of HTTP/2 is left of the connection. */
static void
take_down(struct h2 *x)
{
	struct conn *c = x->c;
	struct h2_stream *st;

	x->is_dead = true;
	x->fed = NULL;
	for (st = x->streams; st != NULL; st = x->streams) {
		/* From here on they leave the list by themselves. */
		st->is_closed = true;
		if (st->is_done)
			h2_stream_free(st);
		else if (x->is_late)
			request_client_timeout(st->cl.req, false);
		else if (x->cut_for != NULL)
			request_client_refused(st->cl.req, x->cut_for);
		else
			request_client_left(st->cl.req);
	}
	if (x->req != NULL)
		request_drop(x->req);
	loop_run_cancel(c->w->loop, &x->out);
	h2_out_fini(x);
	nghttp2_session_del(x->session);
	worker_add(c->w, STAT_H2_OPEN, (uint64_t)-1);
	c->h2 = NULL;
	loop_defer(c->w->loop, release, x);
}

/* It has failed or was cut: requests hear that their client has left. */
static void
die(struct h2 *x, bool is_reset)
{
	struct conn *c = x->c;

	take_down(x);
	if (is_reset)
		conn_reset(c);
	else
		conn_close(c);
}

/* All has been said, goodbye included. */
static void
finish(struct h2 *x)
{
	struct conn *c = x->c;
	bool is_open = x->active > 0 || x->is_failed;

	take_down(x);
	/* CONN_HEAD tells conn_linger that the client may still be sending. */
	c->state = is_open ? CONN_HEAD : CONN_IDLE;
	conn_linger(c);
}

/* --- what there is to send, and what follows from it --- */

void
h2_soon(struct h2 *x)
{
	if (!x->is_dead)
		loop_run_soon(x->c->w->loop, &x->out);
}

void
h2_deadline(struct h2 *x, uint64_t ms)
{
	struct deadline *dl = &x->c->dl;
	struct loop *l = x->c->w->loop;

	if (dl->due_ms == 0 || dl->due_ms > loop_now_ms(l) + ms)
		deadline_set(l, dl, ms);
}

static void
final_goaway(struct h2 *x)
{
	x->drain = H2_FINAL;
	nghttp2_submit_goaway(x->session, NGHTTP2_FLAG_NONE,
		nghttp2_session_get_last_proc_stream_id(x->session), NGHTTP2_NO_ERROR, NULL, 0);
	h2_soon(x);
}

/* A client that has not said anything yet gets the chance to: what it asks may be on its way. */
static void
look_drained(struct h2 *x)
{
	uint64_t now_ms = loop_now_ms(x->c->w->loop);

	if (x->drain == H2_NOTICED && x->head_ms == 0 &&
		((x->is_acked && x->c->served > 0) || now_ms - x->since_ms >= NOTICE_MS))
		final_goaway(x);
}

static bool
is_over(const struct h2 *x)
{
	if (x->held != NULL)
		return false;
	if (x->drain == H2_FINAL && x->active == 0 && !nghttp2_session_want_write(x->session))
		return true;
	return !nghttp2_session_want_read(x->session) && !nghttp2_session_want_write(x->session);
}

void
h2_idle(struct h2 *x)
{
	struct worker *w = x->c->w;

	if (x->is_dead || x->drain != H2_OPEN)
		return;
	x->since_ms = loop_now_ms(w->loop);
	/* Later than what was set, or the same: that only writes a number. */
	deadline_set(w->loop, &x->c->dl, w->snap->s->timeouts.keepalive);
	if (x->head_ms != 0)
		h2_deadline(x, w->snap->s->timeouts.head);
	/* What a request left behind when it was given up. */
	if (x->held != NULL)
		h2_deadline(x, w->snap->s->timeouts.send);
}

/* The budget is overdrawn: say so, and goodbye. */
static bool
tell_abuse(struct h2 *x)
{
	bool is_told = x->is_failed;

	h2_guard_tell(x);
	if (is_told)
		return true;
	nghttp2_session_terminate_session(x->session, NGHTTP2_ENHANCE_YOUR_CALM);
	return h2_out_flush(x);
}

static void
on_out(struct run_item *item)
{
	struct h2 *x = (struct h2 *)((char *)item - offsetof(struct h2, out));
	struct conn *c = x->c;

	if (!h2_out_flush(x) || (x->abuse != NULL && !tell_abuse(x))) {
		die(x, false);
		return;
	}
	look_drained(x);
	if (is_over(x) || (x->is_failed && x->held == NULL)) {
		finish(x);
		return;
	}
	/* What was left unread while the socket took nothing. */
	if (x->held == NULL && c->s.readable)
		loop_run_soon(c->w->loop, &c->again);
}

/* --- reading --- */

/* nghttp2 gives up the connection: it has a word for why, or the budget has. */
static void
fail(struct h2 *x, int error)
{
	uint32_t code = NGHTTP2_INTERNAL_ERROR;

	x->is_failed = true;
	if (x->abuse != NULL || error == NGHTTP2_ERR_FLOODED)
		code = NGHTTP2_ENHANCE_YOUR_CALM;
	else if (x->error != 0)
		code = x->error;
	else if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		code = NGHTTP2_PROTOCOL_ERROR;
	if (error == NGHTTP2_ERR_FLOODED && x->abuse == NULL)
		x->abuse = "answers_unread";
	if (x->abuse == NULL && x->cut_for == NULL)
		x->cut_for = "h2_error";
	nghttp2_session_terminate_session(x->session, code);
	h2_soon(x);
}

/* False: no more may come. */
static bool
feed(struct h2 *x, const char *p, size_t n)
{
	ssize_t used;

	h2_guard_bytes(x, p, n);
	used = nghttp2_session_mem_recv(x->session, (const uint8_t *)p, n);
	h2_body_fed(x);
	if (x->head_ms != 0)
		h2_deadline(x, x->c->w->snap->s->timeouts.head);
	if (used >= 0 && !h2_guard_skipped(x))
		used = NGHTTP2_ERR_CALLBACK_FAILURE;
	if (used < 0) {
		fail(x, (int)used);
		return false;
	}
	if (nghttp2_session_want_write(x->session) || !nghttp2_session_want_read(x->session))
		h2_soon(x);
	return nghttp2_session_want_read(x->session);
}

/* Room for a read: an own buffer starts over when nobody else holds it, and grows when it was too
 * small for what came. */
static struct buf *
room(struct conn *c)
{
	struct buf *b = c->in;
	enum buf_class class = BUF_16K;

	if (b != NULL) {
		bool was_full = b->w == b->cap;

		if (b->refs == 1 && !was_full) {
			b->r = b->w = 0;
			return b;
		}
		class = was_full ? BUF_64K : (enum buf_class)b->class;
		buf_unref(b);
	}
	c->in = buf_get(&c->w->bufs, class);
	return c->in;
}

static void
drop_in(struct conn *c)
{
	buf_unref(c->in);
	c->in = NULL;
}

/* False: the connection is gone. */
static bool
read_some(struct h2 *x)
{
	struct conn *c = x->c;
	size_t got = 0;

	while (c->s.readable && x->held == NULL && !x->is_failed) {
		struct buf *b = room(c);
		ssize_t n = stream_read(&c->s, b->data, b->cap);

		if (n == STREAM_AGAIN)
			break;
		if (n <= 0) {
			die(x, false);
			return false;
		}
		b->w = (uint32_t)n;
		got += (size_t)n;
		if (!feed(x, b->data, (size_t)n)) {
			x->is_failed = true;
			break;
		}
		if (got >= TURN_BYTES && c->s.readable) {
			loop_run_soon(c->w->loop, &c->again);
			break;
		}
	}
	drop_in(c);
	return true;
}

static void
h2_event(struct conn *c)
{
	struct h2 *x = c->h2;

	if (x->held != NULL && c->s.writable)
		h2_soon(x);
	if (x->held == NULL && c->s.readable && !x->is_failed)
		(void)read_some(x);
	else if (c->s.peer_closed && stream_is_dead(&c->s))
		die(x, false);
}

/* --- deadlines --- */

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t
left_of(uint64_t since_ms, uint64_t ms, uint64_t now_ms)
{
	uint64_t due = since_ms + ms;

	return due > now_ms ? due - now_ms : 0;
}

/* Time is over for the connection as a whole: its reason, or NULL and *left. */
static const char *
connection_late(struct h2 *x, uint64_t now_ms, uint64_t *left)
{
	const struct timeouts *t = &x->c->w->snap->s->timeouts;

	*left = UINT64_MAX;
	if (x->head_ms != 0 || !x->has_settings) {
		*left = left_of(x->head_ms ? x->head_ms : x->since_ms, t->head, now_ms);
		if (*left == 0)
			return "head_timeout";
	}
	if (x->held != NULL) {
		uint64_t send = left_of(x->sent_ms, t->send, now_ms);

		if (send == 0)
			return "send_timeout";
		*left = least(*left, send);
	}
	return NULL;
}

/* The connection may be gone afterwards. */
static void
close_late(struct h2 *x, const char *reason)
{
	static _Thread_local struct log_limit limit = { .burst = 5 };
	uint32_t held;

	worker_count(x->c->w, STAT_CLIENT_TIMEOUT);
	if (log_allow(&limit, &held))
		LOG_INFO("h2_closed", L_SLICE("peer", conn_peer(x->c)), L_STR("reason", reason),
			L_INT("suppressed", held));
	if (x->held != NULL) {
		/* Nothing can be told to a client that takes nothing; the log knows who was slow.
		 */
		worker_count(x->c->w, STAT_H2_STALLS);
		x->is_late = true;
		die(x, true);
		return;
	}
	x->is_failed = true;
	nghttp2_session_terminate_session(x->session, NGHTTP2_ENHANCE_YOUR_CALM);
	h2_soon(x);
	deadline_set(x->c->w->loop, &x->c->dl, NOTICE_MS);
}

/* Streams whose time is over end, and only they. */
static uint64_t
look_at_streams(struct h2 *x, uint64_t now_ms)
{
	struct h2_stream *next;
	uint64_t left = STREAM_LOOK_MS;

	for (struct h2_stream *st = x->streams; st != NULL; st = next) {
		next = st->next;
		left = least(left, h2_stream_look(st, now_ms));
	}
	return left;
}

static void
h2_late(struct conn *c)
{
	struct h2 *x = c->h2;
	uint64_t now_ms = loop_now_ms(c->w->loop);
	uint64_t left;
	const char *reason = connection_late(x, now_ms, &left);

	if (x->is_failed) {
		die(x, true);
		return;
	}
	if (reason != NULL) {
		close_late(x, reason);
		return;
	}
	if (x->drain != H2_OPEN) {
		look_drained(x);
		left = least(left, NOTICE_MS);
	}
	if (x->streams != NULL) {
		if (stream_is_dead(&c->s)) {
			die(x, false);
			return;
		}
		left = least(left, look_at_streams(x, now_ms));
	} else if (left == UINT64_MAX) {
		left = left_of(x->since_ms, c->w->snap->s->timeouts.keepalive, now_ms);
		if (left == 0) {
			nghttp2_session_terminate_session(x->session, NGHTTP2_NO_ERROR);
			h2_soon(x);
			left = NOTICE_MS;
		}
	}
	deadline_set(c->w->loop, &c->dl, left > 0 ? left : 1);
}

/* --- start, drain, abort --- */

static void
h2_drain(struct conn *c)
{
	struct h2 *x = c->h2;

	if (x->drain != H2_OPEN)
		return;
	x->drain = H2_NOTICED;
	x->since_ms = loop_now_ms(c->w->loop);
	nghttp2_submit_shutdown_notice(x->session);
	nghttp2_submit_ping(x->session, NGHTTP2_FLAG_NONE, notice_ping);
	h2_deadline(x, NOTICE_MS);
	h2_soon(x);
}

static void
cut_streams(struct h2 *x)
{
	struct h2_stream *next;

	for (struct h2_stream *st = x->streams; st != NULL; st = next) {
		next = st->next;
		if (!st->is_done)
			request_cut(st->cl.req);
	}
}

/* Twice: a 503 that the client gives no window for is cut, too. What the socket does not take now
 * goes when it is ready. */
static void
h2_cut(struct conn *c)
{
	struct h2 *x = c->h2;

	if (x->is_failed)
		return;
	cut_streams(x);
	if (x->drain != H2_FINAL)
		final_goaway(x);
	if (!h2_out_flush(x)) {
		die(x, false);
		return;
	}
	cut_streams(x);
	on_out(&x->out);
}

static void
h2_abort(struct conn *c)
{
	die(c->h2, false);
}

static void
h2_shed(struct conn *c)
{
	struct h2 *x = c->h2;

	if (h2_held_shed(x))
		return;
	/* It takes nothing at all, and could not even be told what of it has ended. */
	worker_add(c->w, STAT_BUFFERED_SHED, x->active);
	x->cut_for = "buffer_memory";
	die(x, true);
}

static void
submit_settings(struct h2 *x)
{
	const struct httpcfg *http = x->c->w->snap->s->http;
	const nghttp2_settings_entry v[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, x->streams_max },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)http->limits.head },
		{ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	};

	nghttp2_submit_settings(x->session, NGHTTP2_FLAG_NONE, v, sizeof(v) / sizeof(v[0]));
	nghttp2_session_set_local_window_size(
		x->session, NGHTTP2_FLAG_NONE, 0, (int32_t)H2_CONN_WINDOW);
}

static void
feed_first(struct h2 *x)
{
	struct buf *b = x->c->in;

	if (b == NULL)
		return;
	/* Streams keep body bytes by reference. */
	if (!feed(x, b->data + b->r, buf_len(b)))
		x->is_failed = true;
	drop_in(x->c);
}

static const struct conn_codec codec_h2 = {
	.event = h2_event,
	.deadline = h2_late,
	.drain = h2_drain,
	.cut = h2_cut,
	.abort = h2_abort,
	.held = h2_untaken,
	.shed = h2_shed,
};

void
codec_h2_start(struct conn *c)
{
	struct worker *w = c->w;
	struct h2_env *env = env_of(w);
	struct h2 *x = freelist_take(&env->conns);

	*x = (struct h2){ .c = c, .env = env };
	x->ending_tail = &x->ending;
	x->out.fn = on_out;
	x->since_ms = loop_now_ms(w->loop);
	x->sent_ms = x->since_ms;
	if (nghttp2_session_server_new3(
		    &x->session, env->callbacks, x, env->option, h2_mem_of(env->mem)) != 0)
		abort(); /* out of memory */
	h2_guard_init(x);
	x->streams_max = (unsigned)w->snap->s->http->limits.h2_streams;
	c->codec = &codec_h2;
	c->state = CONN_BUSY;
	c->h2 = x;
	worker_count(w, STAT_H2_CONNECTIONS);
	worker_add(w, STAT_H2_OPEN, 1);
	submit_settings(x);
	h2_deadline(x, w->snap->s->timeouts.head);
	feed_first(x);
	h2_soon(x);
	if (w->is_draining)
		h2_drain(c);
	if (c->s.readable)
		loop_run_soon(w->loop, &c->again);
}
