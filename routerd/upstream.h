/*
 * upstream: a connection to a server: connecting, busy with one request, or idle. Who uses it is
 * told of events by a callback; idle ones look after themselves (the server closed, the timeout
 * came, bytes that nobody asked for).
 */
#ifndef ROUTERD_UPSTREAM_H
#define ROUTERD_UPSTREAM_H

#include "libcommon/loop.h"
#include "routerd/backend.h"
#include "libcommon/stream.h"

struct worker;
struct upstream;

enum upstream_state { UPSTREAM_CONNECTING, UPSTREAM_BUSY, UPSTREAM_IDLE, UPSTREAM_CLOSED };

/* Readiness changed on a connecting or busy connection. */
typedef void (*upstream_fn)(struct upstream *u);

struct upstream {
	struct upstream *newer; /* idle list */
	struct upstream *older;
	struct worker *w;
	struct stream s;
	struct deadline dl;
	struct server *server;
	struct buf *in; /* bytes read and not consumed */
	upstream_fn fn;
	upstream_fn expired; /* its deadline passed while connecting or busy */
	void *user;          /* the exchange that uses it */
	enum upstream_state state;
	uint32_t server_id;
	uint32_t served; /* requests that it has carried */
	bool is_suspect; /* its last answer had no body by rule: some servers send one all the same
			  */
	uint32_t addr_seq; /* the server's when it was connected: another one, another address */
	uint64_t idle_since_ms;
};

/*
 * An idle connection to the server that seems alive, or NULL. max_idle_ms limits how long it may
 * have been idle: requests that may not be sent twice take only just-used ones, and those are
 * looked at once more.
 */
struct upstream *upstream_reuse(struct worker *w, struct server *s, uint64_t max_idle_ms);
/* Begin a new connection; errno tells when NULL. It may be connected at once: ask
 * upstream_connected. */
struct upstream *upstream_connect(struct worker *w, struct server *s);
/* After an event on a connecting one: 1 connected (busy now), 0 not yet, -1 failed with errno. */
int upstream_connected(struct upstream *u);
/* The word for why a connection did not come about: an errno of the two above. */
const char *upstream_reason(int error);
/* The request is over and the connection is clean: keep it for others, at most `keep` per server.
 * What looks readable is looked at: it may just have been emptied. */
void upstream_keep(struct upstream *u, unsigned keep, int64_t idle_timeout_ms);
void upstream_close(struct upstream *u);
/* Asks the kernel: nothing to read, neither bytes nor the server's end. */
bool upstream_is_quiet(const struct upstream *u);
/* Every idle connection to a server id. */
void upstream_close_idle(struct worker *w, uint32_t server_id);

#endif
