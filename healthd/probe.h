/*
 * probe: one look at one server: connect, perhaps ask, judge, close. One deadline covers all of it.
 * Servers are untrusted: what is read is bounded and parsed strictly.
 *
 * probe.c owns descriptor, deadline and outcome; a kind (one file each) says what to do once
 * connected.
 */
#ifndef HEALTHD_PROBE_H
#define HEALTHD_PROBE_H

#include "libcommon/addr.h"
#include "libcommon/loop.h"
#include "libcommon/poolcfg.h"

enum probe_outcome {
	PROBE_GOOD,
	PROBE_FAILED,
	PROBE_NOT_MADE, /* our own trouble (no descriptor, no route's permission): no evidence */
};

struct probe;
typedef void (*probe_done_fn)(
	void *arg, enum probe_outcome outcome, const char *reason, uint64_t took_us);

/*
 * Begin. `done` runs exactly once, never from inside this call, unless the probe is cancelled. The
 * check and host_text (for the Host field when the check has none) are needed during this call
 * only.
 */
struct probe *probe_start(struct loop *l, const struct checkcfg *check, const char *host_text,
	const struct addr *to, probe_done_fn done, void *arg);
/* Close without a word; for one whose `done` has not run. */
void probe_cancel(struct probe *p);
/* Sockets open now, those included that only wait for the end of an answer's body. */
unsigned probe_open_count(void);
/* Close those too: before the loop goes. */
void probe_close_all(void);

/* --- for the kinds -----------------------------------------------------------------------------
 */

struct probe_kind {
	/* Take what is needed from the check. */
	void *(*new)(const struct checkcfg *check, const char *host_text);
	void (*free)(void *state);
	/* Connected, or ready as asked for: go on, until probe_finish or probe_wait. */
	void (*step)(struct probe *p, void *state, int fd);
};

extern const struct probe_kind probe_tcp;
extern const struct probe_kind probe_http;

/* Come back with `step` when the descriptor is ready for LOOP_READ or LOOP_WRITE. */
void probe_wait(struct probe *p, int events);
/*
 * The verdict is clear. With drain, what the server still sends is read for a moment before the
 * close, so that it does not meet a reset.
 */
void probe_finish(struct probe *p, enum probe_outcome outcome, const char *reason, bool drain);

#endif
