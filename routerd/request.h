/*
 * request: the conductor. Its state table governs a request up to the response head; from there it
 * is two independent flows, up (client to server) and down (server to client), and done is when
 * both have ended. It asks route, lb, upstream and forward in turn; none of them calls it by name.
 */
#ifndef ROUTERD_REQUEST_H
#define ROUTERD_REQUEST_H

#include "routerd/codec.h"
#include "routerd/snapshot.h"

struct request;

/*
 * Fields a head may have, with room for ours: what limits.fields may ask for, FORWARD_FIELDS, and
 * CONFIG_HEADERS_MAX for rules.
 */
#define REQUEST_FIELDS 297
/* Of these, as many as a parser may fill. */
#define REQUEST_FIELDS_SENT (REQUEST_FIELDS - FORWARD_FIELDS - CONFIG_HEADERS_MAX)

/* Take a request object; its msg is where the codec parses into. */
struct request *request_new(struct worker *w);
struct msg *request_msg(struct request *r);
/* For text that its message points to. */
struct arena *request_arena(struct request *r);
/* Nothing came of it: give it back. */
void request_drop(struct request *r);

/* The head is complete: run it. `head_us` is when its first byte came. c->req is set. Keep `head`,
 * the buffer that msg points into, until done; NULL when that is the arena. */
void request_start(struct request *r, struct client *c, struct buf *head, uint64_t first_us);
/* A head that was refused: answer it, log it, close. */
void request_refuse(struct request *r, struct client *c, struct buf *head, uint64_t first_us,
	uint16_t status, const char *reason);

/* What the client's codec reports; each may end the request. */
enum body_end {
	BODY_END_OK,
	BODY_END_BAD,
	BODY_END_TOO_LARGE,
	BODY_END_LEFT,
	BODY_END_SINK,
	BODY_END_SHED
};
void request_body_ended(struct request *r, enum body_end how, const char *reason);
/* Everything in the sink is with the kernel. */
void request_flushed(struct request *r);
/* The client's connection failed. */
void request_client_left(struct request *r);
/* It closed its sending side and waits (a half-close, or it has gone): the request decides how to
 * find out. */
void request_client_half_closed(struct request *r);
/* The client was too slow: while sending its body, or while reading the answer. */
void request_client_timeout(struct request *r, bool is_body);
/* Memory in which its bytes wait for the server, or at the server's side; and: there is none for
 * it any more. */
size_t request_held(const struct request *r);
void request_shed(struct request *r);
/* The process ends: it gets a 503 while it still can, and is cut else. */
void request_cut(struct request *r);
/* Its connection is ended by us, for what it did; reason is a literal. */
void request_client_refused(struct request *r, const char *reason);

#endif
