/*
 * exchange: one request and its answer at a server, as an attempt sees it: the mirror image of
 * codec.h. The request goes into a sink, the heads and the body of the answer come back; which
 * version of HTTP carries them, and on which connection, is nobody's business above. HTTP/1 has one
 * at a time per connection (exchange_h1.c); a version with streams has many.
 *
 * Its life: open, then `opened` (or open said so at once), send, any number of interim heads and
 * one final head, body_to or tunnel, `ended`, done. At most one `failed` instead of what was still
 * to come; then only done is called. done may be called at any time, also from within an event, and
 * x is gone afterwards: events are the last thing that an exchange does with itself.
 */
#ifndef ROUTERD_EXCHANGE_H
#define ROUTERD_EXCHANGE_H

#include "libcommon/http1.h"
#include "libcommon/mem.h"
#include "routerd/sink.h"

struct exchange;
struct kept;
struct poolcfg;
struct server;
struct worker;

/* Why no answer will come. */
enum exchange_failure {
	EXCHANGE_CONNECT, /* no connection came about */
	EXCHANGE_OURS,    /* because something of ours ran out: no evidence against the server */
	EXCHANGE_TLS,     /* or no TLS on it, and that is the server's fault */
	EXCHANGE_NO_TLSD, /* nobody made the handshake: no evidence against the server */
	EXCHANGE_BROKEN,  /* the server closed or reset it, or our end of it failed */
	EXCHANGE_BAD,     /* what came is no HTTP */
	EXCHANGE_REFUSED, /* the server says that it has not looked at it */
	EXCHANGE_GONE,    /* the same, and its connection ends */
	EXCHANGE_UNFIT,   /* it cannot be said in the server's version of HTTP */
};

/* What becomes of the connection when an exchange is over. */
enum exchange_end {
	EXCHANGE_KEEP,   /* all went well: others may use it, if the server wishes, too */
	EXCHANGE_CANCEL, /* given up, or failed: nothing of it is of use any more */
	EXCHANGE_RESET,  /* half of a tunnel: what the server got must not be taken for whole */
};

/* What the server is waited for. */
enum exchange_wait {
	EXCHANGE_QUIET,   /* nothing */
	EXCHANGE_SENDING, /* it does not take what was sent */
	EXCHANGE_READING, /* the rest of its answer */
	EXCHANGE_SHAKING, /* its part of the TLS handshake; not opened yet */
	EXCHANGE_TLSD,    /* not the server: somebody who makes the handshake */
};

struct exchange_state {
	uint64_t progress; /* grows, or falls, with each byte either way */
	enum exchange_wait wait;
};

/* What the attempt is told. All but failed can come only after send. */
struct exchange_events {
	/* The connection stands: send may be called. */
	void (*opened)(struct exchange *x);
	/* A head is in x->resp: interim (then others follow), 101, or final. */
	void (*head)(struct exchange *x);
	/* The sink has the whole answer, trailers and end included. */
	void (*ended)(struct exchange *x);
	/* The sink said that nobody takes the answer any more. */
	void (*refused)(struct exchange *x);
	void (*failed)(
		struct exchange *x, enum exchange_failure why, uint16_t status, const char *reason);
	/* Something may have moved: deadlines, and whether all is done. */
	void (*moved)(struct exchange *x);
	/* The deadline x->dl has passed. */
	void (*expired)(struct exchange *x);
};

struct exchange_ops {
	/* Send the head of x->m into x->sink; body and end are the caller's. */
	void (*send)(struct exchange *x);
	/* Look for an answer now, without an event: the sink may have found the connection closed.
	 */
	void (*read)(struct exchange *x);
	/* After the final head: let its body flow into `to`, which is flushed within this turn of
	 * the loop. May end in an event before it returns. */
	void (*body_to)(struct exchange *x, struct sink *to);
	/* After a 101: bytes go as they are in both directions; the server's into `to`, not before
	 * the caller has returned. */
	void (*tunnel)(struct exchange *x, struct sink *to);
	struct exchange_state (*state)(const struct exchange *x);
	/* Bytes of the request's body that were given to the sink. */
	uint64_t (*given)(const struct exchange *x);
	/* Memory in which bytes wait, either way. */
	size_t (*held)(const struct exchange *x);
	/* Its answer is whole: does it still want the rest of the request? */
	bool (*wants_rest)(const struct exchange *x);
	/* It has been quiet for STREAM_LOOK_MS: has it gone without an event? */
	void (*look)(struct exchange *x);
	void (*done)(struct exchange *x, enum exchange_end how);
};

struct exchange {
	const struct exchange_ops *ops;
	const struct exchange_events *events;
	void *user;
	struct sink *sink;   /* the request; once opened */
	struct deadline *dl; /* the caller's to set; `expired` comes */
	bool is_reused;      /* on a connection that others have used */
	bool heard;          /* bytes of an answer came */
	bool is_spent; /* with its answer: the server reads no more of the request behind it */
	/* Set by the caller before send; good until done. */
	bool is_upgrade;
	struct kept *kept; /* also gets what the sink is given; NULL: nobody keeps it */
	struct slice path;
	struct slice authority; /* instead of m's */
	struct msg *m;
	struct msg *resp; /* heads of the answer: fields go into resp_fields, text lives until the
			     event returns */
	struct field *resp_fields;
	uint16_t resp_field_cap;
	const struct http1_limits *limits; /* of the answer's heads; until the final one */
};

/* What an exchange is opened with. */
struct exchange_open {
	struct worker *w;
	struct server *server;
	const struct poolcfg *pool; /* until done, but for tunnels */
	const struct exchange_events *events;
	void *user;
	bool is_repeatable; /* the request may be sent twice: any connection will do */
	bool wants_fresh;   /* not one that others have used */
	bool is_websocket;  /* the request is an upgrade to it */
};

#endif
