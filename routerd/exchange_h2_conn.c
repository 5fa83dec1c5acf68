/*
 * exchange_h2_conn: connections to servers: connecting, reading, and how they end.
 */
#include <errno.h>
#include <string.h>

#include "routerd/exchange_h2_int.h"

/* What one turn of a connection may read before others get theirs. */
#define TURN_BYTES (256u << 10)

static void run(struct run_item *item);

/* --- what a worker has --- */

struct exchange_h2_env *
exchange_h2_env_new(struct worker *w)
{
	struct exchange_h2_env *env = xcalloc(1, sizeof(*env));

	env->w = w;
	env->mem = h2_mem_new();
	freelist_init(&env->conns, sizeof(struct h2up), 256);
	freelist_init(&env->streams, sizeof(struct h2s), 1024);
	if (nghttp2_session_callbacks_new(&env->callbacks) != 0 ||
		nghttp2_option_new(&env->option) != 0)
		abort();
	h2up_recv_callbacks(env->callbacks);
	h2up_out_callbacks(env->callbacks);
	nghttp2_option_set_no_auto_window_update(env->option, 1);
	/* The rules of HTTP are ours, in exchange_h2_head.c and exchange_h2_answer.c: with reasons.
	 */
	nghttp2_option_set_no_http_messaging(env->option, 1);
	nghttp2_option_set_no_closed_streams(env->option, 1);
	nghttp2_option_set_max_settings(env->option, 32);
	/* exchange_h2_recv.c has a limit, with its word. */
	nghttp2_option_set_max_continuations(env->option, 1000);
	/* What limits.head let in, and our own fields. */
	nghttp2_option_set_max_send_header_block_length(env->option, 1 << 20);
	return env;
}

bool
exchange_h2_env_trim(struct exchange_h2_env *env)
{
	bool more = freelist_trim(&env->conns, 4);

	more = h2_mem_trim(env->mem) || more;
	return freelist_trim(&env->streams, 16) || more;
}

void
exchange_h2_env_free(struct exchange_h2_env *env)
{
	freelist_fini(&env->conns);
	freelist_fini(&env->streams);
	nghttp2_session_callbacks_del(env->callbacks);
	nghttp2_option_del(env->option);
	h2_mem_free(env->mem);
	free(env->by_server);
	free(env);
}

struct h2up_list *
h2up_list_of(struct exchange_h2_env *env, uint32_t id)
{
	if (id >= env->cap) {
		uint32_t cap = env->cap ? env->cap : 16;

		while (cap <= id)
			cap *= 2;
		env->by_server = xreallocarray(env->by_server, cap, sizeof(*env->by_server));
		memset(env->by_server + env->cap, 0, (cap - env->cap) * sizeof(*env->by_server));
		for (uint32_t i = 0; i < env->cap; i++)
			if (env->by_server[i].first != NULL)
				env->by_server[i].first->link = &env->by_server[i].first;
		env->cap = cap;
	}
	return &env->by_server[id];
}

/* --- the end --- */

void
h2up_set_idle(struct h2up *c, bool is_idle)
{
	if (c->is_idle == is_idle)
		return;
	c->is_idle = is_idle;
	worker_add(c->w, STAT_UPSTREAM_IDLE, is_idle ? 1 : (uint64_t)-1);
	h2up_list_of(c->env, c->u->server_id)->idle += is_idle ? 1u : (unsigned)-1;
}

static void
release(void *p)
{
	struct h2up *c = p;

	freelist_give(&c->env->conns, c);
}

/* Not from within nghttp2. Exchanges hear of it. */
static void
die(struct h2up *c, enum exchange_failure why, uint16_t status, const char *reason)
{
	if (c->state == H2UP_DEAD)
		return;
	h2up_set_idle(c, false);
	c->state = H2UP_DEAD;
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	loop_run_cancel(c->w->loop, &c->run);
	worker_add(c->w, STAT_H2_UPSTREAM_CONNECTIONS, (uint64_t)-1);
	while (c->streams != NULL) {
		struct h2s *s = c->streams;

		h2s_unlink(s);
		if (s->is_done)
			h2s_free(s);
		else
			h2s_lost(s, why, status, reason);
	}
	nghttp2_session_del(c->session);
	h2up_out_fini(c);
	buf_unref(c->text);
	c->text = NULL;
	c->u->user = NULL;
	upstream_close(c->u);
	loop_defer(c->w->loop, release, c);
}

static void
tell_bad(struct h2up *c)
{
	static _Thread_local struct log_limit limit = { .burst = 5 };
	uint32_t held;

	worker_count(c->w, c->is_flood ? STAT_H2_UPSTREAM_FLOODS : STAT_H2_UPSTREAM_ERRORS);
	if (log_allow(&limit, &held))
		LOG_WARN("upstream_h2_error", L_STR("pool", c->u->server->pool_name),
			L_STR("server", c->u->server->name), L_STR("reason", c->bad),
			L_STR("detail", c->detail), L_INT("suppressed", held));
}

/* The server has broken the protocol, or floods: it is told, and that is all. */
static void
die_bad(struct h2up *c, uint32_t error)
{
	tell_bad(c);
	nghttp2_session_terminate_session(c->session, error);
	(void)h2up_flush(c);
	die(c, EXCHANGE_BAD, 502, c->bad);
}

void
h2up_soon(struct h2up *c)
{
	loop_run_soon(c->w->loop, &c->run);
}

void
h2up_retire(struct h2up *c)
{
	if (c->state != H2UP_OPEN)
		return;
	c->state = H2UP_RETIRED;
	h2up_set_idle(c, false);
	h2up_soon(c);
}

void
h2up_left(struct h2up *c)
{
	if (--c->active > 0 || c->state == H2UP_DEAD)
		return;
	/* While it connects the deadlines are those of its exchanges. */
	if (c->state != H2UP_OPEN || c->is_connecting || c->keep == 0 || c->w->is_draining ||
		(c->max_requests > 0 && c->u->served >= c->max_requests) ||
		h2up_list_of(c->env, c->u->server_id)->idle >= c->keep) {
		h2up_retire(c);
		h2up_soon(c);
		return;
	}
	h2up_set_idle(c, true);
	deadline_set(c->w->loop, &c->u->dl, c->idle_timeout_ms);
}

/* --- frames both ways --- */

const char *
h2up_reason_of(uint32_t error)
{
	switch (error) {
	case NGHTTP2_FLOW_CONTROL_ERROR: return "h2_flow_control_error";
	case NGHTTP2_FRAME_SIZE_ERROR: return "h2_frame_size_error";
	case NGHTTP2_COMPRESSION_ERROR: return "h2_compression_error";
	default: return "h2_protocol_error";
	}
}

uint32_t
h2up_error_of(ssize_t nghttp2_error)
{
	switch (nghttp2_error) {
	case NGHTTP2_ERR_FLOW_CONTROL: return NGHTTP2_FLOW_CONTROL_ERROR;
	case NGHTTP2_ERR_FRAME_SIZE_ERROR: return NGHTTP2_FRAME_SIZE_ERROR;
	case NGHTTP2_ERR_HEADER_COMP: return NGHTTP2_COMPRESSION_ERROR;
	default: return NGHTTP2_PROTOCOL_ERROR;
	}
}

/* False: the connection is dead. */
static bool
take(struct h2up *c, struct buf *b, size_t n)
{
	ssize_t used;

	c->heard += n;
	c->heard_ms = loop_now_ms(c->w->loop);
	h2_frames_walk(&c->seen, b->data, n);
	c->is_receiving = true;
	used = nghttp2_session_mem_recv(c->session, (const uint8_t *)b->data, n);
	if (c->fed != NULL)
		h2s_fed(c);
	c->is_receiving = false;
	if (used >= 0 && !h2up_skipped(c))
		used = NGHTTP2_ERR_CALLBACK_FAILURE;
	if (used < 0) {
		bool is_ours = c->bad != NULL;
		uint32_t error = is_ours ? NGHTTP2_ENHANCE_YOUR_CALM : h2up_error_of(used);

		if (used == NGHTTP2_ERR_FLOODED) {
			c->bad = "h2_flood";
			c->is_flood = true;
		} else if (!is_ours) {
			c->bad = h2up_reason_of(error);
		}
		die_bad(c, error);
		return false;
	}
	return true;
}

void
h2up_read(struct h2up *c)
{
	struct upstream *u = c->u;
	size_t total = 0;

	while (c->state != H2UP_DEAD && u->s.readable) {
		ssize_t n;

		if (total >= TURN_BYTES) {
			c->wants_read = true;
			h2up_soon(c);
			return;
		}
		if (u->in == NULL)
			u->in = buf_get(&c->w->bufs,
				total > 0 && !bufs_are_tight(&c->w->bufs) ? BUF_64K : BUF_16K);
		n = stream_read(&u->s, u->in->data, u->in->cap);
		if (n == 0 || n == STREAM_ERROR) {
			die(c, EXCHANGE_BROKEN, 502, n == 0 ? "closed_early" : "reset_by_server");
			return;
		}
		if (n > 0) {
			if (!take(c, u->in, (size_t)n))
				return;
			total += (size_t)n;
		}
		/* What a sink has kept is its own now; a full read means that more is coming. */
		buf_unref(u->in);
		u->in = NULL;
		if (n == STREAM_AGAIN)
			break;
	}
	if (c->state != H2UP_DEAD && nghttp2_session_want_write(c->session))
		h2up_soon(c);
}

static void
run(struct run_item *item)
{
	struct h2up *c = (struct h2up *)((char *)item - offsetof(struct h2up, run));

	if (c->is_connecting) {
		if (c->state == H2UP_RETIRED && c->active == 0)
			die(c, EXCHANGE_CONNECT, 502, "connect_failed");
		return;
	}
	if (c->is_settling)
		h2up_settle(c);
	if (c->wants_read) {
		c->wants_read = false;
		h2up_read(c);
		if (c->state == H2UP_DEAD)
			return;
	}
	if (c->state == H2UP_RETIRED && c->active == 0 && !c->is_told)
		nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
	if (!h2up_flush(c)) {
		/* What it said before it went may still be there. */
		c->u->s.readable = true;
		h2up_read(c);
		if (c->state != H2UP_DEAD)
			die(c, EXCHANGE_BROKEN, 502, "reset_by_server");
		return;
	}
	if (c->state == H2UP_RETIRED && c->active == 0) {
		die(c, EXCHANGE_BROKEN, 502, "closed_early");
	} else if (c->goaway_error != 0) {
		/* nghttp2 has ended the session, for what the server sent. */
		c->bad = h2up_reason_of(c->goaway_error);
		tell_bad(c);
		die(c, EXCHANGE_BAD, 502, c->bad);
	}
}

/* --- connecting --- */

static uint32_t
window_now(const struct h2up *c)
{
	return bufs_are_tight(&c->w->bufs) ? H2UP_WINDOW_TIGHT : H2UP_WINDOW;
}

/* What was given cannot be taken back; but from here on servers send less ahead, on streams that
 * are open, too. */
void
h2up_fit_window(struct h2up *c)
{
	const nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
		window_now(c) } };
	uint64_t now_ms = loop_now_ms(c->w->loop);

	if (settings[0].value == c->window ||
		(settings[0].value > c->window && now_ms - c->window_ms < H2UP_WINDOW_MS))
		return;
	c->window = settings[0].value;
	c->window_ms = now_ms;
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 1);
}

static void
begin_session(struct h2up *c)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window_now(c) },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
			c->w->snap->s->response_limits.head_bytes },
	};

	nghttp2_submit_settings(
		c->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(*settings));
	nghttp2_session_set_local_window_size(
		c->session, NGHTTP2_FLAG_NONE, 0, (int32_t)H2UP_CONN_WINDOW);
	c->window = settings[1].value;
	c->window_ms = loop_now_ms(c->w->loop);
	c->is_connecting = false;
	h2up_soon(c);
}

/* A step of what leads to a connection: other deadlines hold. */
static void
moved_on(struct h2up *c)
{
	struct h2s *next;

	for (struct h2s *s = c->streams; s != NULL; s = next) {
		next = s->next;
		if (!s->is_done)
			s->x.events->moved(&s->x);
	}
}

static void
connected(struct h2up *c)
{
	switch (upstream_connected(c->u)) {
	case UPSTREAM_NOT_YET: moved_on(c); break;
	case UPSTREAM_READY:
		begin_session(c);
		/* What came before anything was asked is heard first: no answer can be in it. */
		h2up_read(c);
		h2up_open_waiting(c);
		break;
	case UPSTREAM_TLS_FAILED: die(c, EXCHANGE_TLS, 502, upstream_tls_reason(c->u)); break;
	case UPSTREAM_NO_TLSD: die(c, EXCHANGE_NO_TLSD, 502, upstream_tls_reason(c->u)); break;
	case UPSTREAM_FAILED:
		die(c, EXCHANGE_CONNECT, errno == ETIMEDOUT ? 504 : 502, upstream_reason(errno));
		break;
	}
}

static void
on_upstream(struct upstream *u)
{
	struct h2up *c = u->user;

	if (c->is_connecting) {
		connected(c);
		return;
	}
	if (u->s.readable)
		h2up_read(c);
	if (c->state != H2UP_DEAD && u->s.writable && c->queued > 0)
		h2up_soon(c);
}

/* Idle for long enough. */
static void
on_expired(struct upstream *u)
{
	struct h2up *c = u->user;

	if (c->is_idle)
		h2up_retire(c);
}

struct h2up *
h2up_new(struct worker *w, struct server *server, const struct poolcfg *pool)
{
	struct exchange_h2_env *env = w->up_h2;
	struct upstream *u = upstream_connect(w, server, pool);
	struct h2up_list *l;
	struct h2up *c;

	if (u == NULL)
		return NULL;
	c = freelist_take(&env->conns);
	memset(c, 0, offsetof(struct h2up, seg));
	c->env = env;
	c->w = w;
	c->u = u;
	c->run.fn = run;
	c->is_connecting = true;
	h2up_budget_init(c);
	c->heard_ms = c->budget_ms;
	l = h2up_list_of(env, server->id);
	c->peer_limit = l->peer_limit > 0 ? l->peer_limit : 100;
	if (nghttp2_session_client_new3(
		    &c->session, env->callbacks, c, env->option, h2_mem_of(env->mem)) != 0)
		abort();
	u->user = c;
	u->fn = on_upstream;
	u->expired = on_expired;
	c->next = l->first;
	c->link = &l->first;
	if (c->next != NULL)
		c->next->link = &c->next;
	l->first = c;
	worker_count(w, STAT_H2_UPSTREAM_CONNECTIONS);
	if (upstream_connected(u) > 0)
		begin_session(c);
	return c;
}

/* --- all of them --- */

void
exchange_h2_close_idle(struct worker *w, uint32_t server_id)
{
	struct exchange_h2_env *env = w->up_h2;
	struct h2up *next;

	if (server_id >= env->cap)
		return;
	for (struct h2up *c = env->by_server[server_id].first; c != NULL; c = next) {
		next = c->next;
		if (c->active > 0)
			h2up_retire(c);
		else
			die(c, EXCHANGE_BROKEN, 502, "closed_early");
	}
	env->by_server[server_id].peer_limit = 0;
}

void
exchange_h2_drain(struct worker *w)
{
	for (uint32_t id = 0; id < w->up_h2->cap; id++)
		exchange_h2_close_idle(w, id);
}
