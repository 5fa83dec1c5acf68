/*
 * probe: one look at one server: connect, perhaps ask, judge, close. One deadline covers all of it.
 * Servers are untrusted: what is read is bounded and parsed strictly.
 *
 * probe.c owns descriptor, deadline and outcome; a kind (one file each) says what to do once
 * connected.
 */
#ifndef HEALTHD_PROBE_H
#define HEALTHD_PROBE_H

#include <sys/types.h>

#include "libcommon/addr.h"
#include "libcommon/loop.h"
#include "libcommon/poolcfg.h"

enum probe_outcome {
	PROBE_GOOD,
	PROBE_FAILED,
	PROBE_NOT_MADE, /* our own trouble (no descriptor, no route's permission, nobody who makes
			   TLS handshakes): no evidence */
};

struct probe;
typedef void (*probe_done_fn)(
	void *arg, enum probe_outcome outcome, const char *reason, uint64_t took_us);

/* Where to, and how. All of it is needed during the call of probe_start only. */
struct probe_to {
	const struct checkcfg *check;
	const char *host_text; /* for the Host field when the check has none */
	const struct addr *addr;
	const char *tls;  /* policy of an HTTP probe; NULL: clear text */
	const char *host; /* whom the certificate must name */
	const char *run_dir;
};

/* Begin. `done` runs exactly once, never from inside this call, unless the probe is cancelled. */
struct probe *probe_start(struct loop *l, const struct probe_to *to, probe_done_fn done, void *arg);
/* Close without a word; for one whose `done` has not run. */
void probe_cancel(struct probe *p);
/* Sockets open now, those included that only wait for the end of an answer's body. */
unsigned probe_open_count(void);
/* Close those too: before the loop goes. */
void probe_close_all(void);

/* --- for the kinds --- */

struct probe_kind {
	/* Take what is needed. */
	void *(*new)(const struct probe_to *to);
	void (*free)(void *state);
	/* Connected, or ready as asked for: go on, until probe_finish, or until probe_send or
	 * probe_recv says PROBE_WAITS. */
	void (*step)(struct probe *p, void *state);
};

extern const struct probe_kind probe_tcp;
extern const struct probe_kind probe_http;
extern const struct probe_kind probe_h2;

/* How it goes on: the bytes went, or came; `step` is called when more can; there is a verdict. */
enum probe_io { PROBE_DONE, PROBE_WAITS, PROBE_OVER };

/*
 * All of from[*sent..n), the same each time until it is done; and some of what has come: *got of
 * it, up to n. A connection that fails, or ends before there is a verdict, is one. Over TLS the end
 * is told from a connection that was cut off.
 */
enum probe_io probe_send(struct probe *p, const void *from, size_t n, size_t *sent);
enum probe_io probe_recv(struct probe *p, void *to, size_t n, size_t *got);
/*
 * The verdict is clear. With drain, what the server still sends is read for a moment before the
 * close, so that it does not meet a reset.
 */
void probe_finish(struct probe *p, enum probe_outcome outcome, const char *reason, bool drain);

#endif
