/*
 * respond: answers that we make ourselves: fixed ones, redirects, the echo of a
 * request, and error answers. Pure: a message and a body in the request's
 * arena; request.c plays them into the client's sink like any other.
 */
#ifndef ROUTERD_RESPOND_H
#define ROUTERD_RESPOND_H

#include "libcommon/mem.h"
#include "libcommon/msg.h"
#include "routerd/forward.h"
#include "routerd/snapshot.h"

struct var_source; /* vars.h */

struct answer {
	struct msg head; /* status, fields, BODY_LENGTH */
	struct slice body;
	struct field fields[16];
};

/* What an answer may tell of its request. */
struct respond_info {
	const struct forward_info *forward;
	struct slice client; /* forward_client() */
	struct slice request_id;
	struct slice listener;
	struct slice date;             /* IMF-fixdate, for the Date field */
	const struct var_source *vars; /* for a route that has texts with variables; else NULL */
};

/* ACTION_REDIRECT, ACTION_RESPOND, ACTION_ECHO. */
void respond_route(struct answer *out, const struct route *r, const struct msg *req,
	const struct respond_info *info, struct arena *a);

/* The answer to an ACME challenge. */
void respond_token(
	struct answer *out, struct slice text, const struct respond_info *info, struct arena *a);

/*
 * An error answer: small text with status and request id. extra may name the
 * allowed methods etc. in later versions; Retry-After is set on 503. `close` is
 * the caller's to decide.
 */
void respond_error(
	struct answer *out, uint16_t status, const struct respond_info *info, struct arena *a);

/* Does the message speak gRPC? */
bool respond_is_grpc(const struct msg *m);
/* The same for one that does: 200, and the status that gRPC knows for it (gRPC's mapping of HTTP
 * status codes), in a head without a body. reason: a word for the message. */
void respond_grpc_error(struct answer *out, uint16_t status, const char *reason,
	const struct respond_info *info, struct arena *a);

/* "Not Found" for 404; "" for codes without a phrase. */
struct slice respond_phrase(uint16_t status);

#endif
