/*
 * exchange_h2_pick: which connection an exchange goes on. The first exchange of a new one goes at
 * once; others wait for the server's SETTINGS, which say how many it takes at a time, and go
 * elsewhere when they are too many.
 */
#include <errno.h>

#include "routerd/exchange_h2_int.h"

/* A connection that was quiet for so long is read before it is used again: its end may be there. */
#define JUST_USED_MS 1000

/* --- one that is there --- */

/* What a pool wishes of its connections may change with a reload. */
static void
heed(struct h2up *c, const struct poolcfg *pool)
{
	c->limit = (uint32_t)pool->streams;
	c->max_requests = (uint32_t)pool->keepalive_requests;
	c->keep = (unsigned)pool->keepalive;
	c->idle_timeout_ms = (uint64_t)pool->idle_timeout_ms;
}

static uint32_t
limit_of(const struct h2up *c)
{
	return c->limit < c->peer_limit ? c->limit : c->peer_limit;
}

static bool
has_room(const struct h2up *c)
{
	return c->active < limit_of(c);
}

/* A quiet one is read first: what it says then is its end, more often than not. */
static bool
is_alive(struct h2up *c)
{
	if (c->active > 0 || c->state != H2UP_OPEN || c->is_receiving ||
		loop_now_ms(c->w->loop) - c->heard_ms <= JUST_USED_MS)
		return c->state != H2UP_DEAD;
	c->u->s.readable = true;
	h2up_read(c);
	return c->state == H2UP_OPEN;
}

static bool
is_worn(const struct h2up *c)
{
	return c->max_requests > 0 && c->u->served + c->waiting >= c->max_requests;
}

static struct h2up *
find(const struct exchange_open *how)
{
	struct h2up_list *l = h2up_list_of(how->w->up_h2, how->server->id);
	uint32_t addr_seq = atomic_load_explicit(&how->server->addr_seq, memory_order_acquire);
	struct h2up *next;

	for (struct h2up *c = l->first; c != NULL; c = next) {
		next = c->next;
		c->limit = (uint32_t)how->pool->streams;
		if (c->state > H2UP_OPEN || !has_room(c))
			continue;
		if (c->u->tls_id != how->pool->tls_id)
			continue;
		if (how->wants_fresh && c->u->served > 0)
			continue;
		if (c->u->addr_seq != addr_seq || is_worn(c)) {
			h2up_retire(c);
			continue;
		}
		if (is_alive(c))
			return c;
	}
	return NULL;
}

int
exchange_h2_open(struct exchange **x, const struct exchange_open *how)
{
	struct h2up *c = find(how);
	struct h2s *s;
	bool is_reused = c != NULL && c->u->served > 0;
	bool is_unfit;

	if (c == NULL)
		c = h2up_new(how->w, how->server, how->pool);
	if (c == NULL)
		return -1;
	is_unfit = how->is_websocket && c->has_settings && !c->may_connect;
	heed(c, how->pool);
	if (c->is_idle) {
		h2up_set_idle(c, false);
		deadline_clear(&c->u->dl);
	}
	s = h2s_new(c->env, how);
	s->x.is_reused = is_reused;
	s->is_tunnel = how->is_websocket;
	s->is_beside = c->active > 0;
	h2s_link(s, c);
	c->active++;
	*x = &s->x;
	if (!is_unfit && !c->is_connecting &&
		(c->has_settings || (c->u->served == 0 && !how->is_websocket))) {
		if (is_reused)
			worker_count(c->w, STAT_UPSTREAM_REUSED);
		c->u->served++;
		return 1;
	}
	s->is_waiting = true;
	c->waiting++;
	/* It hears why as those do that were there before the settings. */
	if (is_unfit) {
		c->is_settling = true;
		h2up_soon(c);
	}
	return 0;
}

/* --- those that wait --- */

/* The first exchange goes at once; the others when it is known how many the server takes: those
 * that are too many would only be refused. */
void
h2up_open_waiting(struct h2up *c)
{
	struct h2s *next;

	/* The settings came with the connection itself: h2up_settle() opens what they allow. */
	if (c->is_settling)
		return;
	for (struct h2s *s = c->streams; s != NULL && c->state != H2UP_DEAD; s = next) {
		next = s->next;
		if (!s->is_waiting || s->is_done || (s->is_tunnel && !c->has_settings))
			continue;
		if (!c->has_settings && c->u->served > 0)
			return;
		h2s_opened(s);
		/* It may have taken others along. */
		next = c->streams;
	}
}

void
h2up_settled(struct h2up *c)
{
	uint32_t streams = nghttp2_session_get_remote_settings(
		c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	c->has_settings = true;
	c->peer_limit = streams;
	h2up_list_of(c->env, c->u->server_id)->peer_limit = streams;
	c->may_connect = nghttp2_session_get_remote_settings(
				 c->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
	/* Not from within nghttp2: an exchange that cannot go on this connection leaves it. */
	c->is_settling = true;
	h2up_soon(c);
}

static void
lost_unopened(struct h2s *s, int error)
{
	bool is_ours = upstream_is_ours(error);

	h2s_lost(s, is_ours ? EXCHANGE_OURS : EXCHANGE_CONNECT, is_ours ? 500 : 502,
		upstream_reason(error));
}

/* The server takes fewer at a time than wait here: it goes on another connection. */
static void
move_away(struct h2s *s)
{
	struct h2up *from = s->c;
	struct h2up_list *l = h2up_list_of(from->env, from->u->server_id);
	struct h2up *to = l->first;

	while (to != NULL &&
		(to == from || to->state > H2UP_OPEN || !has_room(to) ||
			to->u->tls_id != from->u->tls_id || to->has_settings))
		to = to->next;
	if (to == NULL)
		to = h2up_new(from->w, from->u->server, s->pool);
	h2s_unlink(s);
	from->active--;
	from->waiting--;
	if (to == NULL) {
		lost_unopened(s, errno);
		return;
	}
	heed(to, s->pool);
	h2s_link(s, to);
	to->active++;
	to->waiting++;
	if (!to->is_connecting)
		h2up_open_waiting(to);
}

void
h2up_settle(struct h2up *c)
{
	struct h2s *next;

	c->is_settling = false;
	for (struct h2s *s = c->streams; s != NULL; s = next) {
		next = s->next;
		if (!s->is_waiting || s->is_done)
			continue;
		if (s->is_tunnel && !c->may_connect) {
			h2s_lost(s, EXCHANGE_UNFIT, 502, "no_extended_connect");
			next = c->streams;
		} else if (c->peer_limit == 0) {
			/* Nor would it take any on another connection. */
			h2s_lost(s, EXCHANGE_REFUSED, 502, "refused_by_server");
			next = c->streams;
		} else if (c->active > limit_of(c)) {
			move_away(s);
			next = c->streams;
		}
	}
	h2up_open_waiting(c);
}
