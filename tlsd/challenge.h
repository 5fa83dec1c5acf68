/*
 * challenge: certificates for tls-alpn-01 challenges (RFC 8737), as an ACME client has put them
 * into a folder: NAME.pem, or NAME.crt.pem with NAME.key.pem. They are looked for when a CA asks,
 * by the main thread, which may wait for a disk; a worker is told when it is done.
 */
#ifndef TLSD_CHALLENGE_H
#define TLSD_CHALLENGE_H

#include <openssl/ssl.h>

#include "libcommon/loop.h"
#include "libcommon/slice.h"

#define CHALLENGE_ALPN "acme-tls/1"

struct challenges;
struct challenge_ask;

/* ctx is the callee's to free; NULL: there is none for this name. */
typedef void (*challenge_fn)(void *arg, SSL_CTX *ctx);

struct challenges *challenges_new(struct loop *main_loop);
/* After the last loop that asked has ended. */
void challenges_free(struct challenges *c);

/* fn runs on `loop`, whose thread this is. NULL when the name can have none, or too many wait. */
struct challenge_ask *challenge_ask(struct challenges *c, struct loop *loop, const char *folder,
	struct slice name, challenge_fn fn, void *arg);
/* fn is not to run any more. On the same thread, before it ran. */
void challenge_forget(struct challenge_ask *ask);

#endif
