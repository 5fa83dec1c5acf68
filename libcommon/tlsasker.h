/*
 * tlsasker: asks for TLS handshakes on sockets that we have connected to servers (tlsask.h): one
 * channel to each process that listens in RUN_DIR/upstream_tls. One loop's own.
 *
 * A call that nobody takes waits: who may be asked is looked for again and again, and the caller's
 * deadline decides. What was asked and is not answered when its channel ends is lost, connection
 * and all.
 */
#ifndef LIBCOMMON_TLSASKER_H
#define LIBCOMMON_TLSASKER_H

#include "libcommon/handoffmsg.h"
#include "libcommon/tlsask.h"

/* The folder in run_dir, and how sockets in it end. */
#define TLSASKER_FOLDER "upstream_tls"
#define TLSASKER_SUFFIX ".ask"

struct loop;
struct tls_call;
struct tlsasker;

enum tls_result {
	TLS_DONE,    /* the connection is ours: `done` has its keys, good until fn returns */
	TLS_REFUSED, /* `refusal` says why; the socket is of no use any more */
	TLS_LOST,    /* whoever was asked is gone: the same, and the server is not to blame */
};

struct tls_answer {
	enum tls_result result;
	const struct handoff *done;
	const struct tlsask_refusal *refusal;
};

typedef void (*tls_call_fn)(struct tls_call *c, const struct tls_answer *a);

struct tls_channel;

/* The owner embeds it, and sets the first five. */
struct tls_call {
	tls_call_fn fn;
	int fd; /* connected; the owner's, in no event loop until fn runs */
	uint8_t protocols;
	const char *policy; /* both must stay until fn runs */
	const char *host;
	/* not looked at by the owner */
	struct tls_call *next; /* those that wait */
	struct tls_call *prev;
	struct tls_channel *channel; /* asked there */
	uint8_t serial;
	uint8_t waits; /* enum of tlsasker.c */
};

struct tlsasker *tlsasker_new(struct loop *l, const char *run_dir);
/* No call may be open. NULL is fine. */
void tlsasker_free(struct tlsasker *a);

/* fn runs once, never from within this call, unless it is cancelled. */
void tlsasker_ask(struct tlsasker *a, struct tls_call *c);
/* The same, not at once: whoever was asked did not know what that is, and soon may. From within fn,
 * too. */
void tlsasker_ask_later(struct tlsasker *a, struct tls_call *c);
/* The answer is not wanted any more. Who was asked is told by shutting the socket down, which the
 * caller closes. Fine when it was answered. */
void tlsasker_cancel(struct tlsasker *a, struct tls_call *c);
/* Somebody makes the handshake now: what is waited for is the server. */
static inline bool
tls_call_is_taken(const struct tls_call *c)
{
	return c->channel != NULL;
}
/* Processes that there is a channel to. */
unsigned tlsasker_channels(const struct tlsasker *a);

#endif
