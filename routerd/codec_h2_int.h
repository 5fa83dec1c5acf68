/*
 * codec_h2_int: what the files of codec_h2 share among themselves; nobody else includes it.
 *
 *   codec_h2.c         a connection's life: start, reading, deadlines, draining, the end
 *   codec_h2_recv.c    what nghttp2 tells of frames that have come
 *   codec_h2_out.c     frames on their way out: many per send, DATA by reference
 *   codec_h2_stream.c  one stream: the request's client side
 *   codec_h2_body.c    its body, to whoever takes it
 *   codec_h2_wait.c    bodies that nobody takes, and the memory that all of them may have
 *   codec_h2_held.c    the memory of all that is not taken, either way
 *   codec_h2_answer.c  its response, until there are frames for it
 *   codec_h2_guard.c   what peers may cost: budgets of frames and resets
 *
 * Invariant: nghttp2 is never entered twice: what is called from its callbacks only submits, and
 * frames leave from the run queue (h2_soon). So a stream or a connection never goes away under
 * nghttp2's feet, and the frames of a turn leave in one send.
 */
#ifndef ROUTERD_CODEC_H2_INT_H
#define ROUTERD_CODEC_H2_INT_H

#include <nghttp2/nghttp2.h>

#include "routerd/codec.h"
#include "routerd/codec_h2.h"
#include "routerd/h1_out.h"
#include "routerd/h2_frames.h"
#include "routerd/h2_head.h"
#include "routerd/request.h"
#include "routerd/worker_state.h"

/* Windows: what a stream may send ahead of its server; and what a connection may send in one go:
 * it is given back as bytes come (codec_h2_wait.c says why). */
#define H2_STREAM_WINDOW (128u << 10)
#define H2_CONN_WINDOW   (1u << 20)
/* Body bytes that wait in a stream, 16 kB pieces: a window, and edges. */
#define H2_IN_PIECES 10
/* Of a response, waiting for frames: more, and the producer stops. */
#define H2_OUT_HIGH (32u << 10)
#define H2_OUT_SEGS 8
/* Of all responses of a connection: more, or memory is tight, and each stops at so little. They
 * leave one after the other, so what others have ready only costs memory, and has left the caches
 * by then. What came with a head in one read is enough. */
#define H2_CONN_OUT_HIGH (256u << 10)
#define H2_OUT_LOW       (12u << 10)
/* One send: so many segments and bytes. */
#define H2_STAGE_SEGS  64
#define H2_STAGE_BYTES (128u << 10)

struct h2_mem;
struct h2_stream;

/* Bytes of frames that the socket has not taken. */
struct h2_held {
	struct buf *copy; /* of what was put together in the worker's memory */
	unsigned first;
	unsigned count;
	struct h1_seg seg[H2_STAGE_SEGS];
};

/* Frames put together for one send. Empty between calls. */
struct h2_stage {
	char *bytes; /* frame headers, header sections, small DATA */
	size_t used;
	size_t total;
	unsigned count;
	struct h1_seg seg[H2_STAGE_SEGS]; /* b NULL: in bytes, or the request's own */
};

/* What the connections of one worker share. */
struct h2_env {
	struct h2_mem *mem;
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	struct freelist conns;
	struct freelist streams;
	struct freelist helds;
	struct h2 *waiters; /* connections with bodies that nobody takes */
	size_t waiting;     /* memory of all of these */
	struct h2_stage stage;
};

/* A token bucket: `left` is what may still be spent. */
struct h2_budget {
	int64_t left;
	uint64_t since_ms;
};

enum h2_drain {
	H2_OPEN,
	H2_NOTICED, /* the client was told that this connection ends: streams may still come */
	H2_FINAL,   /* the last stream was named */
};

struct h2 {
	struct conn *c;
	struct h2_env *env;
	nghttp2_session *session;
	struct run_item out; /* there may be frames to send */
	struct h2_stream *streams;
	unsigned active;      /* streams whose request is in progress */
	unsigned streams_max; /* as it was told */
	enum h2_drain drain;
	bool is_dead;      /* it is being taken down */
	bool is_acked;     /* the ping behind the notice came back */
	bool has_settings; /* the client's preface is complete */
	bool is_failed;    /* nothing more is read */
	bool is_late;      /* cut off because the client took nothing */
	bool has_reset;    /* we have reset a stream */
	uint32_t error;    /* what a callback has to say of the connection; 0: nothing */
	int32_t last_id;   /* the highest stream that was opened */
	/* Streams whose last byte is staged, in that order: told when it is sent. */
	struct h2_stream *ending;
	struct h2_stream **ending_tail;
	struct h2_held *held;
	size_t queued;   /* of responses, in all streams */
	uint64_t staged; /* bytes of frames ever */
	uint64_t sent;
	uint64_t sent_ms;  /* when the socket took bytes last, or had none to take */
	uint64_t since_ms; /* idle, or draining, since */
	/* The header section that is being received. */
	struct request *req;
	struct h2_head head;
	uint64_t head_ms; /* since when; 0: none */
	uint64_t head_us;
	unsigned continuations;
	size_t section; /* decoded bytes of it */
	bool has_priority;
	nghttp2_extpri priority;
	/* The stream whose body sink has bytes that were not flushed. */
	struct h2_stream *fed;
	unsigned fed_count;
	size_t waiting; /* memory of bodies that nobody takes, in all streams; 0: in no list */
	struct h2 *next_waiting;
	struct h2 **link_waiting;
	struct h2_budget resets;
	struct h2_budget frames;
	struct h2_frames seen; /* what came, by our own count */
	const char *abuse;     /* the budget that is overdrawn; why it was */
	const char *cut_for;   /* it is we who end it, for this, and that was told */
};

struct h2_trailing {
	struct arena arena;
	struct h2_trailers t;
};

struct h2_stream {
	struct client cl;
	struct h2 *x;
	struct h2_stream *next;
	struct h2_stream **link;
	struct h2_stream *next_ending;
	const struct timeouts *timeouts;
	int32_t id;
	bool is_done;      /* the request has let go */
	bool is_closed;    /* nghttp2 has */
	bool is_gone;      /* nobody takes the response any more */
	bool is_malformed; /* a stream error follows the answer */
	bool is_reset;     /* RST_STREAM was submitted */
	bool is_late;      /* a deadline has passed */
	bool is_connect;   /* extended CONNECT */
	bool bad_accept;   /* the server's answer to its handshake is not the right one */
	bool is_tunnel;
	bool asked_head;
	/* the body, from the client */
	bool in_ended;   /* END_STREAM */
	bool is_paused;  /* its sink is full */
	bool is_told;    /* the request knows how the body ended */
	const char *bad; /* what was wrong with it */
	struct sink *to;
	struct run_item again;
	struct h2_trailing *trailing;
	enum body_kind kind;
	uint64_t length;
	uint64_t in_bytes;
	uint64_t max_body;
	uint64_t body_since_ms;
	uint64_t since_ms; /* last progress, either way */
	unsigned in_count;
	struct buf *in[H2_IN_PIECES];
	/* the response */
	struct sink out;
	bool head_done;
	bool drops_body;
	bool out_ended; /* end() was called */
	bool is_deferred;
	bool is_ending; /* in the list of the connection */
	bool is_sent;
	uint8_t seg_first;
	uint8_t seg_count;
	size_t queued;
	uint64_t out_bytes; /* payload staged */
	uint64_t end_at;
	nghttp2_nv *trailers; /* and their text behind them; heap */
	size_t trailer_count;
	char ws_key[25]; /* Sec-WebSocket-Key that we made */
	struct h1_seg seg[H2_OUT_SEGS];
};

/* codec_h2.c */
/* There may be frames to send, or the end to see to: later in this turn. */
void h2_soon(struct h2 *x);
/* Something waits that may take no longer than ms. */
void h2_deadline(struct h2 *x, uint64_t ms);
/* The last request has ended. */
void h2_idle(struct h2 *x);

/* codec_h2_recv.c */
void h2_recv_callbacks(nghttp2_session_callbacks *cb);

/* codec_h2_out.c */
void h2_out_callbacks(nghttp2_session_callbacks *cb);
/* False: the connection has failed. */
bool h2_out_flush(struct h2 *x);
void h2_out_fini(struct h2 *x);
ssize_t h2_out_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
	nghttp2_data_source *source, void *arg);

/* codec_h2_stream.c */
/* A request's header section is complete. */
void h2_stream_start(struct h2 *x, int32_t id, bool is_end);
/* nghttp2 has closed it. */
void h2_stream_closed(struct h2_stream *st);
/* What was staged last is with the kernel. */
void h2_stream_sent(struct h2_stream *st);
/* How long it may still take, in ms; 0: its time is over and it was told. UINT64_MAX: any. */
uint64_t h2_stream_look(struct h2_stream *st, uint64_t now_ms);
void h2_stream_free(struct h2_stream *st);
void h2_stream_reset(struct h2_stream *st, uint32_t error);

/* codec_h2_body.c */
void h2_body_data(struct h2_stream *st, const char *p, size_t n);
/* END_STREAM, in DATA or behind trailers. */
void h2_body_end(struct h2_stream *st);
void h2_body_bad(struct h2_stream *st, const char *reason);
/* The bytes that the connection's sinks were given may go. */
void h2_body_fed(struct h2 *x);
/* The request takes it from here on: what waits, and what comes. */
void h2_body_to(struct client *cl, struct sink *to);
/* Its sink takes more. */
void h2_body_again(struct run_item *item);
/* There is no memory for what of it waits. */
void h2_body_shed(struct h2_stream *st);

/* codec_h2_wait.c */
/* n bytes that nobody takes now. A request, this one or another, may be over then. */
void h2_wait_put(struct h2_stream *st, const char *p, size_t n);
/* The piece that has waited longest; the caller's. There is one. */
struct buf *h2_wait_take(struct h2_stream *st);
/* What waits is not wanted any more. */
void h2_wait_drop(struct h2_stream *st);

/* codec_h2_held.c */
struct conn_held h2_untaken(const struct conn *c);
/* End the streams that hold most. False: it is the connection as a whole that takes nothing. */
bool h2_held_shed(struct h2 *x);

/* codec_h2_answer.c */
extern const struct sink_ops h2_sink_ops;
/* So much of it waits that its producer has to. */
bool h2_answer_is_full(const struct h2_stream *st);
void h2_answer_interim(struct client *cl, struct msg *m);
/* The head of a tunnel: m is the server's 101. */
void h2_answer_switched(struct h2_stream *st, const struct msg *m);

/* codec_h2_guard.c */
void h2_guard_init(struct h2 *x);
/* A frame has begun to arrive. False: enough. */
bool h2_guard_frame(struct h2 *x, const nghttp2_frame_hd *hd);
/* DATA without a byte, and without the end. */
bool h2_guard_empty(struct h2 *x);
/* A stream was cancelled, or we were made to reset it. */
bool h2_guard_reset(struct h2 *x);
/* n bytes more of a decoded header section. False: more than is bearable. */
bool h2_guard_section(struct h2 *x, size_t n);
/* The next n bytes; once nghttp2 has taken them, false: enough of frames that nobody takes. */
void h2_guard_bytes(struct h2 *x, const char *p, size_t n);
bool h2_guard_skipped(struct h2 *x);
/* A stream was reset while its body was on its way. */
void h2_guard_cut(struct h2 *x);
/* Useful work, which is paid with frames of the other side. */
void h2_guard_earn(struct h2 *x, unsigned frames);
/* Tell and count why the connection ends. */
void h2_guard_tell(struct h2 *x);

#endif
