/*
 * session: one client connection from accept to close. Its state table in session.c is its
 * documentation; the pumps move the bytes while it is relayed or passed through. Used on its
 * worker's thread only.
 */
#ifndef TLSD_SESSION_H
#define TLSD_SESSION_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/socket.h>

#include "libcommon/loop.h"
#include "tlsd/channel.h"
#include "tlsd/hello.h"
#include "tlsd/keys.h"
#include "tlsd/spill.h"
#include "tlsd/tlsctx.h"
#include "tlsd/wire.h"
#include "tlsd/worker.h"

enum session_state {
	SESSION_HELLO, /* what the client asks for decides whose connection this is */
	SESSION_HANDSHAKE,
	SESSION_FIRST, /* done; the first bytes are likely on their way, and ride with the header */
	SESSION_CONNECT,  /* to a server; while none listens it waits */
	SESSION_HANDOVER, /* the whole connection goes to routerd; until it is acknowledged */
	SESSION_RELAY,
	SESSION_PASS_CONNECT, /* untouched to a server of its own */
	SESSION_PASS,
	SESSION_LINGER, /* we said all; read away what comes, so that no reset destroys it */
	SESSION_CLOSED,
};

/* What only the time before the relay needs. */
struct session_hello {
	struct tls_hello tls;
	struct keys keys; /* where it is to be handed over */
	struct hello_scan scan;
	const struct passcfg *pass; /* the name belongs to a server behind us */
	unsigned tries;
	struct challenge_ask *ask; /* its certificate is being looked for */
	bool is_challenge;         /* a handshake is all that this is for */
	struct sockaddr_storage peer;
	socklen_t peer_len;
	struct session_hello *next_free;
};

/* A step's answer when it can go no further. */
#define SESSION_WAIT (-1)

struct session {
	uint32_t magic;
	uint8_t state;
	bool is_waiting; /* on the worker's list */
	bool has_waited;
	bool is_looked_at; /* since the last event */
	bool is_retry;     /* it is this one's turn to try */
	bool has_header;   /* written: sent, or held in `up` */
	bool is_cut;       /* whatever ends it now is told to both sides by a reset */
	/* towards the server */
	bool up_ended;   /* the client said close_notify */
	bool up_shut;    /* and the server was told, or is gone */
	bool up_deaf;    /* it is gone: the client may still be talking */
	bool down_ended; /* the server closed its side */
	bool down_shut;  /* and the client was told */
	bool b_readable;
	bool b_writable;
	bool b_hup;
	bool b_is_unix;
	bool b_is_reset;      /* a write said so, and what is still to be read does not */
	bool c_watches_write; /* events are registered for writing only once a socket was full */
	bool b_watches_write;
	int bfd;
	uint32_t quota; /* how much is read from the server at a time */
	struct worker *w;
	struct session *prev;
	struct session *next;
	struct session *wait_prev;
	struct session *wait_next;
	struct wire wire;
	struct spill up; /* what the server's socket would not take; before: what was heard */
	/* while bytes that pass through untouched wait in them */
	struct pipe *up_pipe;
	struct pipe *down_pipe;
	struct backend *backend;
	struct session_hello *hello;
	struct handover over;
	struct worker_site *site; /* until it is relayed */
	struct site_listener *listener;
	struct listen_stat *counted;
	uint64_t idle_ms;
	uint64_t active_ms; /* the last event */
	uint32_t first_n;   /* decrypted bytes that wait in the worker's buffer for the header */
	uint32_t linger_n;
	struct deadline deadline;
	struct run_item again; /* more to do, after others had their turn */
	struct event cev;
	struct event bev;
};

/* Takes fd over. */
void session_new(struct worker *w, struct site_listener *l, int fd, const struct sockaddr *peer,
	socklen_t len);
/* Run the driver from this state on, a callback's doing. */
void session_drive(struct session *s, int next);
/* Somebody may listen now. */
void session_retry(struct session *s);
/* The process ends: in order, as far as that goes without waiting for anybody but the client. */
void session_cut(struct session *s);
/* At once, whatever it does. */
void session_kill(struct session *s);
/* Memory of sessions that ended. */
void session_free_list(struct worker *w);

/* For the files that have states of their own (peek.c, handshake.c, handover.c, relay.c,
 * relay_connect.c, pass.c). */

/* Starts TLS with the bytes that were received so far, as state SESSION_HANDSHAKE. */
int session_start_tls(struct session *s, SSL_CTX *ctx);
int session_handshake_failed(struct session *s, enum reason why, const char *detail);
/* Counts why, and the next state is the end. */
int session_closed_for(_Atomic uint64_t *counter);
/* Have the client's events again, after event_del. */
void session_watch_client(struct session *s);
/* bfd is a server's socket now: have its events. */
void session_watch_backend(struct session *s, bool is_write);
/* Where its listener's connections go; while it has a site. */
static inline struct target *
session_target(const struct session *s)
{
	return s->site->targets[s->listener - s->site->site->listeners];
}
/* Connecting has failed: close it, for the next attempt. */
void session_forget_socket(struct session *s);
/* What only the time before the relay needs. */
void session_forget_hello(struct session *s);

/* For pumps: have the socket's events tell of room to write from now on. */
void session_watch_client_write(struct session *s);
void session_watch_backend_write(struct session *s);

#endif
