/*
 * h1_in: the body of one HTTP/1 message on its way from a stream into a sink, either way: a
 * request's from the client, a response's from a server, raw bytes of a tunnel. It reads only while
 * the sink takes, and tells its owner how it ended.
 */
#ifndef ROUTERD_H1_IN_H
#define ROUTERD_H1_IN_H

#include "libcommon/http1.h"
#include "routerd/sink.h"
#include "libcommon/stream.h"

enum h1_in_state {
	H1_IN_OPEN,
	H1_IN_PAUSED, /* the sink is full; on the run queue when it is ready again */
	H1_IN_ENDED,  /* the whole body was given to the sink */
	H1_IN_FAILED, /* see `why` */
};

enum h1_in_why {
	H1_IN_OK,
	H1_IN_EARLY_END, /* the stream ended inside the body */
	H1_IN_BROKEN,    /* the stream failed */
	H1_IN_BAD,       /* framing that is not HTTP: err tells */
	H1_IN_SINK_GONE, /* nobody takes it any more */
	H1_IN_TOO_LARGE, /* more than max_bytes */
};

struct h1_in;
struct httpcfg;
/* ENDED or FAILED was reached; called at most once, never from within h1_in_start. May free the
 * h1_in. */
typedef void (*h1_in_fn)(struct h1_in *in);

struct h1_in {
	struct run_item again; /* "ready again" of the sink */
	struct loop *loop;
	struct stream *s;
	struct bufs *bufs;
	struct buf **inbuf; /* where the stream's owner keeps bytes that were read and not consumed;
			       may hold NULL */
	struct sink *to;
	h1_in_fn fn;
	const struct httpcfg *http; /* of a request's body: what its trailers may not claim */
	enum h1_in_state state;
	enum h1_in_why why;
	enum body_kind kind;
	bool is_raw;        /* tunnel: every byte, the end is the stream's */
	bool is_bulk;       /* bytes come faster than we read: worth a pipe */
	bool progressed;    /* bytes came since the owner last looked: moves its deadline */
	uint64_t left;      /* BODY_LENGTH */
	uint64_t bytes;     /* payload so far */
	uint64_t max_bytes; /* H1_IN_TOO_LARGE above it */
	struct http1_chunked chunked;
	struct buf *trailer_buf;
	struct http1_error err;
};

/* The message's framing decides; bytes of the body that were read with the head are in *inbuf
 * already. */
void h1_in_init(
	struct h1_in *in, struct loop *l, struct stream *s, struct bufs *bufs, struct buf **inbuf);
void h1_in_body(struct h1_in *in, enum body_kind kind, uint64_t length, uint64_t max_bytes);
/* Raw bytes until the stream ends. */
void h1_in_raw(struct h1_in *in);
void h1_in_fini(struct h1_in *in);

/*
 * Move what is there: until the stream has nothing, the sink is full, or the body ends. The
 * stream's event callback calls it, and so does the run queue. Ends with at most one call of fn.
 */
void h1_in_pump(struct h1_in *in);

#endif
