/*
 * codec: the client's side of one request, as the conductor sees it: where the answer goes, where
 * the body comes from, who is asking. HTTP/1 has one at a time per connection (h1_client.c); a
 * version with streams has many.
 */
#ifndef ROUTERD_CODEC_H
#define ROUTERD_CODEC_H

#include "libcommon/msg.h"
#include "routerd/sink.h"

struct client;
struct conn;
struct request;
struct worker;
struct timeouts;

/* What becomes of the client's side when a request is over. */
enum client_end {
	CLIENT_KEEP,  /* the next request may come, if both sides wish; else goodbye (lingering) */
	CLIENT_ABORT, /* cut it: what was sent must not be taken for whole */
	CLIENT_CUT,   /* the same, because we end: goodbye (lingering) wherever that is no lie */
};

/* Payload so far, of a tunnel too: received, and taken by the kernel. */
struct client_bytes {
	uint64_t in;
	uint64_t out;
};

struct client_ops {
	/* Let the request body flow into `to`, from where it stands; another sink than before is
	 * fine. */
	void (*body_to)(struct client *c, struct sink *to);
	/* An interim response (1xx) in front of the final one; dropped for HTTP/1.0. */
	void (*interim)(struct client *c, struct msg *m);
	/* Before the response head: the connection will not serve another request. */
	void (*close_after)(struct client *c);
	/*
	 * Send m, a 101; bytes go as they are in both directions from then on: the client's into
	 * `to`.
	 */
	void (*tunnel)(struct client *c, struct msg *m, struct sink *to);
	/*
	 * What holds for it from now on (a route was found). t must live as long as the request.
	 */
	void (*limits)(struct client *c, const struct timeouts *t, uint64_t max_body);
	/* Has everything that the sink was given left for the kernel, the end included? */
	bool (*is_flushed)(const struct client *c);
	struct client_bytes (*bytes)(const struct client *c);
	/* The request is over; c is gone afterwards. */
	void (*done)(struct client *c, enum client_end how);
};

struct client {
	const struct client_ops *ops;
	struct worker *w;
	struct conn *conn; /* who is asking: conn.h */
	struct request *req;
	struct sink *out; /* the response */
	bool is_http10;
	bool body_ended;      /* the whole request body has been given to its sink */
	bool awaits_continue; /* sends no body before it is told to (or begins to send) */
};

#endif
