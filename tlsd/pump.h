/*
 * pump: what moves bytes between a client and a server, whatever they are: two directions, up
 * (client to server) and down, each of its own. One that is held up by a full socket does not read;
 * nothing else stops it. What a step of a direction does is its owner's (relaypump.c, passpump.c).
 */
#ifndef TLSD_PUMP_H
#define TLSD_PUMP_H

#include <stdbool.h>
#include <sys/types.h>

struct session;

/* What is read at a time from a sender whose reader does not keep up. */
#define PUMP_QUOTA_MIN (64u << 10)

enum pump_result {
	PUMP_WAIT,   /* until a socket is ready */
	PUMP_AGAIN,  /* much was moved; let others have their turn */
	PUMP_DONE,   /* both directions have ended and all is sent */
	PUMP_LINGER, /* the server is gone and all is sent; the client has not ended */
	PUMP_CUT,    /* the client is gone */
	PUMP_CLIENT_ERROR,
	PUMP_BACKEND_ERROR,
};

/* One step of one direction. */
enum pump_step { PUMP_IDLE, PUMP_MOVED, PUMP_STOPPED };

struct pump_turn {
	enum pump_result stop; /* why, when a step has stopped it */
	size_t bytes;          /* moved so far */
};

typedef enum pump_step (*pump_step_fn)(struct session *s, struct pump_turn *t);

/* Step in both directions until neither can, and then: what now? */
enum pump_result pump_run(struct session *s, pump_step_fn up, pump_step_fn down);

/* For the steps. */
static inline enum pump_step
pump_stop(struct pump_turn *t, enum pump_result why)
{
	t->stop = why;
	return PUMP_STOPPED;
}
/* A read from the server gave n, 0 or less, and errno: is that its end, or a failure? */
bool pump_is_end(const struct session *s, ssize_t n);

#endif
