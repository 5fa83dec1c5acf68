/*
 * acme: answers to http-01 challenges (RFC 8555 §8.3), as an ACME client has put them into a
 * folder: one small file a token. A thread of its own reads them, so that no disk holds up a
 * worker.
 */
#ifndef ROUTERD_ACME_H
#define ROUTERD_ACME_H

#include "libcommon/err.h"
#include "libcommon/slice.h"

struct acme;
struct acme_ask;
struct loop;

enum acme_result {
	ACME_FOUND,
	ACME_NONE, /* no such file, or none that can be read: then an event says why */
};

/* text is good during the call. */
typedef void (*acme_fn)(void *arg, enum acme_result r, struct slice text);

#define ACME_TOKEN_MAX 128
#define ACME_TEXT_MAX  1024

/* Is this, as the client spelled it, the path of a challenge? Then *token is what it asks for:
 * letters, digits, - and _ only, so it is a file's name and nothing else. Pure. */
bool acme_token(struct slice path, struct slice *token);

/* NULL with err. */
struct acme *acme_new(struct err *err);
/* Ends the thread; what was asked stays unanswered. Before any loop that asked is freed. */
void acme_stop(struct acme *a);
/* After the last user. */
void acme_free(struct acme *a);

/* fn runs on `loop`, whose thread this is. NULL when too many are waiting. */
struct acme_ask *acme_ask(struct acme *a, struct loop *loop, const char *folder, struct slice token,
	acme_fn fn, void *arg);
/* fn is not to run any more. On the same thread, before it ran. */
void acme_forget(struct acme_ask *ask);

#endif
