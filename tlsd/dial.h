/*
 * dial: one handshake with a server, as its client, on a socket that somebody else has connected.
 * It ends in keys or in a reason. One thread's own.
 */
#ifndef TLSD_DIAL_H
#define TLSD_DIAL_H

#include "libcommon/handoffmsg.h"
#include "libcommon/loop.h"
#include "tlsd/keys.h"
#include "tlsd/policy.h"
#include "tlsd/wire.h"

struct dial;

enum dial_result {
	DIAL_DONE,   /* `done` holds all that the asker needs, good until fn returns */
	DIAL_FAILED, /* see why and detail */
	DIAL_LEFT,   /* the asker has shut the socket down */
};

struct dial_end {
	enum dial_result result;
	const struct handoff *done;
	enum tlsask_why why;
	const char *detail;
};

/* The last that is heard of it: the dial is gone when this returns. */
typedef void (*dial_fn)(struct dial *d, const struct dial_end *end);

/* What all dials of a thread share. */
struct dial_env {
	struct loop *loop;
	struct wire_bufs bufs;
	uint64_t timeout_ms;
	unsigned open;
};

/* For the owner's lists. */
struct dial {
	struct dial *next;
	struct dial *prev;
	void *owner;
	uint8_t serial;
	uint8_t protocols;
	int first; /* byte that the server sent; -1: none yet */
	struct dial_env *env;
	dial_fn fn;
	struct policies *policies; /* one reference */
	const struct policy *policy;
	struct wire wire;
	struct keys keys;
	struct policy_finding finding;
	struct loop_io *io;
	struct deadline deadline;
	char host[TLSPOLICY_HOST];
};

/* Takes fd over, and begins, as the last of the list. fn, which takes it off, may run before this
 * returns. */
void dial_start(struct dial_env *env, struct policies *all, const struct policy *p,
	const struct tlsask *ask, int fd, struct dial **list, void *owner, dial_fn fn);
/* Give it up without a word to the owner; the server meets the end of the connection. */
void dial_cancel(struct dial *d);

#endif
