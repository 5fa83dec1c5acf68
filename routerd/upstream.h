/*
 * upstream: a connection to a server: connecting, busy with one request, or idle. Who uses it is
 * told of events by a callback; idle ones look after themselves (the server closed, the timeout
 * came, bytes that nobody asked for).
 */
#ifndef ROUTERD_UPSTREAM_H
#define ROUTERD_UPSTREAM_H

#include "libcommon/loop.h"
#include "libcommon/tlsasker.h"
#include "routerd/backend.h"
#include "libcommon/stream.h"

struct worker;
struct upstream;

enum upstream_state {
	UPSTREAM_CONNECTING,
	UPSTREAM_SHAKING, /* connected; tlsd makes the TLS handshake, or is waited for */
	UPSTREAM_BUSY,
	UPSTREAM_IDLE,
	UPSTREAM_CLOSED,
};

/* What upstream_connected says. */
enum upstream_progress {
	UPSTREAM_READY = 1,
	UPSTREAM_NOT_YET = 0,
	UPSTREAM_FAILED = -1,     /* errno: there is no connection */
	UPSTREAM_TLS_FAILED = -2, /* upstream_tls_reason: no TLS, and it is the server's fault */
	UPSTREAM_NO_TLSD = -3,    /* nobody made the handshake: no evidence against the server */
};

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
	uint64_t tls_id;      /* poolcfg's: only requests of the same may use it; 0: clear text */
	struct tls_call call; /* while shaking */
	bool is_h2;           /* what it is for */
	const char *why;      /* the handshake failed: a stable word */
	bool is_unmade;       /* and it is not the server's fault */
	bool is_unknown;      /* its policy was not known to who makes handshakes */
	bool is_heard;        /* it has said something that nobody had asked for */
	uint8_t redials;      /* connections that were lost with whoever shook hands on them */
	/* While connecting and shaking: the pool's, "" for clear text. Its own copy: who began it
	 * may leave, and the configuration that he came with goes, while others wait for it. */
	char policy[TLSPOLICY_NAME];
};

/*
 * An idle connection to the server that seems alive, or NULL. max_idle_ms limits how long it may
 * have been idle: requests that may not be sent twice take only just-used ones, and those are
 * looked at once more.
 */
struct upstream *upstream_reuse(
	struct worker *w, struct server *s, const struct poolcfg *pool, uint64_t max_idle_ms);
/* Begin a new connection; errno tells when NULL. It may be connected at once: ask
 * upstream_connected. */
struct upstream *upstream_connect(struct worker *w, struct server *s, const struct poolcfg *pool);
/* After an event on one that is not busy yet: how far is it? The first part of it, the connection,
 * may have come about without that it is READY: then other deadlines hold. */
enum upstream_progress upstream_connected(struct upstream *u);
/* Is what is waited for the server's part of the TLS handshake? Else it is the connection, or
 * whoever makes handshakes: upstream_waits_for_tlsd. */
bool upstream_is_shaking(const struct upstream *u);
bool upstream_waits_for_tlsd(const struct upstream *u);
/* Changes when something else is waited for. */
uint64_t upstream_steps(const struct upstream *u);
/* After TLS_FAILED and NO_TLSD: tls_verify_failed tls_no_protocol tls_handshake_failed
 * tls_early_bytes tls_unavailable. */
const char *upstream_tls_reason(const struct upstream *u);
/* The word for why a connection did not come about: an errno of the two above. */
const char *upstream_reason(int error);
/* Something of this process or machine ran out: no server is to blame. */
bool upstream_is_ours(int error);
/* The request is over and the connection is clean: keep it for others, at most `keep` per server.
 * What looks readable is looked at: it may just have been emptied. */
void upstream_keep(struct upstream *u, unsigned keep, int64_t idle_timeout_ms);
void upstream_close(struct upstream *u);
/* Asks the kernel: nothing to read, neither bytes nor the server's end. */
bool upstream_is_quiet(struct upstream *u);
/* For upstream_tls.c: a stream's event; and a connection's first or next socket: -1 with errno. */
void upstream_on_stream(struct stream *s);
int upstream_dial(struct upstream *u);
/* upstream_tls.c: the connection stands: have the handshake made; and give that up. */
void upstream_tls_begin(struct upstream *u);
void upstream_tls_cancel(struct upstream *u);
/* Every idle connection to a server id; those that carry many take no more. */
void upstream_close_idle(struct worker *w, uint32_t server_id);
/* To any server. */
void upstream_close_all(struct worker *w);

#endif
