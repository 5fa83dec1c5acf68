/* pump: see the header. */
#include "tlsd/pump.h"

#include <errno.h>
#include <poll.h>

#include "tlsd/session.h"

#define TURN_BYTES (1u << 20) /* moved before others have their turn */

/* A Unix socket says ECONNRESET when the server closed without having read all; what it sent has
 * been read by then, so this is its end like any other. */
bool
pump_is_end(const struct session *s, ssize_t n)
{
	return n == 0 || (s->b_is_unix && errno == ECONNRESET);
}

/* A server that has closed both ways will read nothing more: waiting for the client's end is then
 * lingering. Asked once, at the server's FIN. */
static bool
backend_gone(const struct session *s)
{
	struct pollfd p = { .fd = s->bfd };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static enum pump_result
ended(const struct session *s)
{
	if (!s->down_shut || s->wire.held.n > 0)
		return PUMP_WAIT;
	if (s->up_shut)
		return s->up_deaf ? PUMP_LINGER : PUMP_DONE;
	return backend_gone(s) ? PUMP_LINGER : PUMP_WAIT;
}

enum pump_result
pump_run(struct session *s, pump_step_fn up, pump_step_fn down)
{
	struct pump_turn t = { .bytes = 0 };

	for (;;) {
		enum pump_step u = up(s, &t);

		if (u == PUMP_STOPPED)
			return t.stop;

		enum pump_step d = down(s, &t);

		if (d == PUMP_STOPPED)
			return t.stop;
		if (u == PUMP_IDLE && d == PUMP_IDLE)
			return ended(s);
		if (t.bytes >= TURN_BYTES)
			return PUMP_AGAIN;
	}
}
