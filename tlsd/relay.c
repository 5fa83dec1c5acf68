/*
 * relay: see the header. Activity only moves the deadline: to the next look, or to idle_timeout
 * when that is nearer.
 */
#include "tlsd/relay.h"

#include <openssl/err.h>
#include <poll.h>

#include "tlsd/relaypump.h"
#include "tlsd/session.h"

#define LOOK_MS    200 /* quiet for so long: look at the sockets once */
#define LOOK_ON_MS 30000

void
relay_arm(struct session *s)
{
	uint64_t delay = s->is_looked_at ? LOOK_ON_MS : LOOK_MS;
	uint64_t quiet = loop_now_ms(s->w->loop) - s->active_ms;

	if (s->idle_ms > 0 && s->idle_ms - quiet < delay)
		delay = s->idle_ms > quiet ? s->idle_ms - quiet : 1;
	deadline_set(s->w->loop, &s->deadline, delay);
}

int
relay_step(struct session *s)
{
	struct stats *st = &s->w->stats;

	switch (relaypump_run(s)) {
	case PUMP_AGAIN: loop_run_soon(s->w->loop, &s->again); /* fallthrough */
	case PUMP_WAIT: relay_arm(s); return SESSION_WAIT;
	case PUMP_DONE: return SESSION_CLOSED;
	case PUMP_LINGER: return SESSION_LINGER;
	case PUMP_CUT: return session_closed_for(&st->client_cut);
	case PUMP_CLIENT_ERROR: ERR_clear_error(); return session_closed_for(&st->client_error);
	case PUMP_BACKEND_ERROR: return session_closed_for(&st->backend_error);
	}
	return SESSION_CLOSED;
}

/*
 * libevent says of EPOLLERR only that the socket is readable. When a reset comes together with
 * bytes, the short read that takes the bytes looks like the end of it, and no edge will follow. So
 * a relay that has become quiet is looked at once, and then now and then.
 */
static int
look(struct session *s)
{
	struct pollfd p[2] = { { .fd = s->wire.fd }, { .fd = s->bfd } };

	s->is_looked_at = true;
	if (poll(p, 2, 0) > 0) {
		if (p[0].revents & POLLERR)
			return session_closed_for(&s->w->stats.client_error);
		if (p[0].revents & POLLHUP)
			s->wire.is_readable = s->wire.is_hup = true;
		if (p[1].revents & (POLLERR | POLLHUP))
			s->b_readable = s->b_hup = true;
	}
	return s->state;
}

int
relay_late(struct session *s)
{
	if (s->idle_ms > 0 && loop_now_ms(s->w->loop) - s->active_ms >= s->idle_ms)
		return session_closed_for(&s->w->stats.idle_timeout);
	return look(s);
}
