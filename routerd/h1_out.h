/*
 * h1_out: a sink that writes one HTTP/1 message to a stream, either way: a request to a server, a
 * response to a client, or raw bytes once a connection is a tunnel. Every head is written from the
 * parsed form, never copied from the peer's bytes; head and first body bytes ride in one write.
 * Write first, wait later: what the kernel does not take stays queued by reference. A large body of
 * known length may pass from socket to socket through a pipe instead, which then stands in front of
 * all segments.
 */
#ifndef ROUTERD_H1_OUT_H
#define ROUTERD_H1_OUT_H

#include "routerd/sink.h"
#include "libcommon/stream.h"

#define H1_OUT_SEGS 24

struct h1_seg {
	struct buf *b; /* NULL: memory that outlives the message */
	const char *p;
	size_t n;
};

/* n bytes of these were sent: lets go of the segments they came from, returns how many. */
unsigned h1_seg_consume(struct h1_seg *seg, unsigned count, size_t n);

/* The memory that these keep, which is more than their bytes. */
size_t h1_segs_held(const struct h1_seg *seg, unsigned count);

struct h1_out {
	struct sink sink;
	struct loop *loop;
	struct stream *s;
	struct bufs *bufs;
	struct buf *scratch; /* heads, chunk lines and small bodies are put together here */
	enum body_kind framing;
	bool is_response;
	bool is_raw;         /* no framing at all */
	bool peer_is_http10; /* response: no chunked coding, no 1xx */
	bool asked_head;     /* response to HEAD: fields as for GET, no body */
	bool close_after;    /* say Connection: close */
	bool asked_all;      /* response: its request has come whole, so nothing outlasts it */
	bool head_done;
	bool ended; /* end() was called; done once the queue is empty */
	bool is_gone;
	bool is_shut; /* raw: the end was passed on */
	uint8_t seg_first;
	uint8_t seg_count;
	uint64_t left;       /* BODY_LENGTH: bytes still to come */
	uint64_t body_bytes; /* payload handed to us */
	size_t queued;       /* not in the socket yet: in the pipe, then in the segments */
	struct pipe *pipe;   /* while bytes wait in it */
	uint64_t full_ms;    /* bytes wait, and none has left since then; 0: none wait */
	int error;           /* errno of what broke the stream */
	/* response: the wish for Upgrade to pass; request: Connection: upgrade is written */
	struct slice upgrade;
	bool sends_te;          /* request: a TE field travels, Connection must nominate it */
	struct slice authority; /* request: Host */
	struct slice
		path; /* request: what stands in the request line, query included when in `query` */
	struct slice query;
	bool has_query;
	struct h1_seg seg[H1_OUT_SEGS];
};

/* Common start; the caller then sets what its kind of message needs. */
void h1_out_init(
	struct h1_out *o, struct loop *l, struct stream *s, struct bufs *bufs, bool is_response);
/* Drops what is queued. */
void h1_out_fini(struct h1_out *o);
/* From now on bytes go as they are (a tunnel); what is queued still goes first. */
void h1_out_raw(struct h1_out *o);
/* Memory that it keeps; 0 when nothing waits. */
size_t h1_out_held(const struct h1_out *o);
/* The message has ended and all of it is in the kernel. */
static inline bool
h1_out_done(const struct h1_out *o)
{
	return o->ended && o->queued == 0;
}
/* An interim response head (1xx) in front of the final one. */
enum sink_result h1_out_interim(struct h1_out *o, struct msg *m);
/* The stream can be written again: flush; when there is room now, the producer is put on the run
 * queue of l. */
void h1_out_writable(struct h1_out *o, struct loop *l);

#endif
