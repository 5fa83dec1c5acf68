/*
 * exchange_h2_int: what the files of exchange_h2 share among themselves; nobody else includes it.
 *
 *   exchange_h2.c         one exchange: what an attempt asks for, and its request
 *   exchange_h2_answer.c  its answer, into the sink that takes it
 *   exchange_h2_pick.c    which connection it goes on
 *   exchange_h2_conn.c    a connection's life: connecting, reading, the end
 *   exchange_h2_recv.c    what nghttp2 tells of frames that have come
 *   exchange_h2_out.c     frames on their way out: many per send, DATA by reference
 *   exchange_h2_head.c    heads, without any of this
 *
 * Invariant: nghttp2 is never entered twice: what is called from its callbacks only submits, and
 * frames leave from the run queue (h2up_soon). So neither a connection nor a stream goes away under
 * nghttp2's feet, and the frames of a turn leave in one send.
 */
#ifndef ROUTERD_EXCHANGE_H2_INT_H
#define ROUTERD_EXCHANGE_H2_INT_H

#include <nghttp2/nghttp2.h>

#include "routerd/exchange_h2.h"
#include "routerd/exchange_h2_head.h"
#include "routerd/h1_out.h"
#include "routerd/h2_frames.h"
#include "routerd/h2_mem.h"
#include "routerd/upstream.h"
#include "routerd/worker_state.h"
#include "routerd/wskey.h"

/* What a server may send of one answer ahead of its client: the memory that a stream can cost. */
#define H2UP_WINDOW (256u << 10)
/* The same while memory is tight: what the protocol has by itself, and servers get along with. */
#define H2UP_WINDOW_TIGHT 65535u
/* After a change of it, before it is made larger again. */
#define H2UP_WINDOW_MS 1000
/* All streams together; bytes are given back to it as they are read, so that an answer that stands
 * still takes nothing from its neighbours. */
#define H2UP_CONN_WINDOW (1u << 20)
/* Pieces that hold a window, when it neither begins nor ends with one: of BUF_64K, two of BUF_16K
 * among them. */
#define H2UP_KEPT (H2UP_WINDOW / 65536 + 2)
/* Of a request's body, waiting for frames: more, and the producer stops. */
#define H2UP_OUT_HIGH (128u << 10)
#define H2UP_OUT_SEGS 16
#define H2UP_TRAILERS 64
/* Frames put together for one send. */
#define H2UP_SEND_SEGS  64
#define H2UP_SEND_BYTES (256u << 10)

struct h2s;

struct h2up_list {
	struct h2up *first;
	unsigned idle;
	uint32_t peer_limit; /* what the server said last that it takes at a time; 0: nothing yet */
};

/* What the connections of one worker share. */
struct exchange_h2_env {
	struct worker *w;
	struct h2_mem *mem;
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	struct freelist conns;
	struct freelist streams;
	struct h2up_list *by_server; /* index: server id */
	uint32_t cap;
	nghttp2_nv nvs[EXCHANGE_H2_NVS];
};

enum h2up_state {
	H2UP_OPEN,    /* or not yet: is_connecting */
	H2UP_RETIRED, /* no new exchanges; ends with the last one */
	H2UP_DEAD,
};

/* A connection to a server. */
struct h2up {
	struct h2up *next;
	struct h2up **link;
	struct exchange_h2_env *env;
	struct worker *w;
	struct upstream *u;
	nghttp2_session *session;
	struct run_item run; /* frames to send, bytes to read, or the end to see to */
	enum h2up_state state;
	bool is_idle; /* counted as such */
	bool is_connecting;
	bool is_receiving;  /* inside nghttp2 */
	bool is_settling;   /* the server's SETTINGS came; what waits for them does not know yet */
	bool is_flood;      /* `bad` is one */
	bool is_in_section; /* of headers: nothing else can come before its end */
	bool has_settings;  /* the server's preface is complete */
	bool may_connect;   /* it takes extended CONNECTs */
	bool wants_read;
	bool is_told; /* our GOAWAY was sent, with this error */
	uint32_t goaway_error;
	char detail[80]; /* what nghttp2 says of it */
	uint32_t limit;  /* exchanges at a time, ours */
	uint32_t peer_limit;
	uint32_t active; /* exchanges that are not over */
	uint32_t waiting;
	uint32_t max_requests; /* 0: any */
	unsigned keep;         /* idle connections to the server */
	uint64_t idle_timeout_ms;
	uint64_t heard; /* bytes ever */
	uint64_t heard_ms;
	uint32_t window; /* of streams, as we said last; and when */
	uint64_t window_ms;
	struct h2s *streams;
	/* The section that is being received. */
	struct buf *text;
	struct h2_answer answer;
	struct http1_limits limits;
	struct msg trailers;
	unsigned continuations;
	/* What frames without use may cost. */
	int64_t budget;
	uint64_t budget_ms;
	struct h2_frames seen; /* what came, by our own count */
	const char *bad;       /* why it is ended */
	/* The stream whose sink was given bytes that are not flushed. */
	struct h2s *fed;
	unsigned fed_count;
	/* Frames that the socket has not taken. */
	struct buf *scratch;
	size_t queued;
	unsigned seg_first;
	unsigned seg_count;
	struct h1_seg seg[H2UP_SEND_SEGS];
	/* A section may come in pieces, those of other connections in between. */
	struct field trailer_fields[H2UP_TRAILERS];
};

/* One exchange. */
struct h2s {
	struct exchange x;
	struct h2s *next;
	struct h2s **link;
	struct exchange_h2_env *env;
	const struct poolcfg *pool; /* until it is opened */
	struct h2up *c;             /* NULL: the connection is gone */
	struct deadline dl;
	int32_t id;      /* 0: nothing was sent */
	bool is_waiting; /* for the connection */
	bool is_beside;  /* others were on the connection: that was not idle, and closed for it */
	bool is_tunnel;  /* an extended CONNECT, until it is declined */
	bool is_done;    /* the attempt has let go */
	bool is_ending;  /* only END_STREAM is left to be sent */
	bool is_closed;  /* nghttp2 has */
	bool head_sent;  /* HEADERS have left nghttp2 */
	bool end_sent;   /* and END_STREAM */
	bool peer_reset;
	bool unsent;     /* could not even be submitted */
	const char *bad; /* what is wrong with the answer */
	uint64_t heard;  /* the connection's, when it was opened */
	/* the answer */
	bool has_final;
	bool in_ended; /* END_STREAM */
	bool is_told;  /* and the attempt knows */
	bool is_paused;
	enum body_kind kind;
	uint64_t length;
	uint64_t in_bytes;
	size_t unfed; /* bytes of the window that are to be given back when the sink has taken them
		       */
	struct sink *to;
	struct run_item again;
	unsigned kept_count;
	struct buf *kept[H2UP_KEPT];
	struct field *trailers; /* one piece of heap with their text */
	uint16_t trailer_count;
	char accept[WSKEY_ACCEPT];
	/* the request */
	struct sink out;
	bool out_ended;
	bool is_deferred;
	uint8_t seg_first;
	uint8_t seg_count;
	size_t queued;
	uint64_t out_bytes; /* in frames */
	nghttp2_nv *out_trailers;
	size_t out_trailer_count;
	struct h1_seg seg[H2UP_OUT_SEGS];
};

/* exchange_h2.c */
struct h2s *h2s_new(struct exchange_h2_env *env, const struct exchange_open *how);
void h2s_link(struct h2s *s, struct h2up *c);
void h2s_unlink(struct h2s *s);
void h2s_free(struct h2s *s);
/* The connection stands. */
void h2s_opened(struct h2s *s);
/* nghttp2 has closed it. */
void h2s_closed(struct h2s *s, uint32_t error);
/* The connection is gone. */
void h2s_lost(struct h2s *s, enum exchange_failure why, uint16_t status, const char *reason);
/* How much of the request goes into the next DATA frame. */
ssize_t h2s_read_out(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
	nghttp2_data_source *source, void *arg);

/* exchange_h2_answer.c */
void h2s_in_init(struct h2s *s);
void h2s_drop_in(struct h2s *s);
/* A head is complete in c->answer. */
void h2s_head(struct h2s *s, bool is_end);
void h2s_trailers(struct h2s *s, const struct msg *m, bool is_end);
void h2s_data(struct h2s *s, struct buf *b, const char *p, size_t n);
/* END_STREAM. */
void h2s_in_end(struct h2s *s);
void h2s_fed(struct h2up *c);
/* Its sink has something that is to be flushed. */
void h2s_mark_fed(struct h2s *s);

/* exchange_h2_conn.c */
/* There may be frames to send, or the end to see to: later in this turn. */
void h2up_soon(struct h2up *c);
/* No new exchanges. */
void h2up_retire(struct h2up *c);
/* One exchange less. */
void h2up_left(struct h2up *c);
void h2up_read(struct h2up *c);
/* Connecting; NULL: see errno. */
struct h2up *h2up_new(struct worker *w, struct server *server, const struct poolcfg *pool);
/* HTTP/2's word for what nghttp2 found, and ours for that. */
uint32_t h2up_error_of(ssize_t nghttp2_error);
const char *h2up_reason_of(uint32_t error);
/* Before a request: what the server may send ahead of its client. */
void h2up_fit_window(struct h2up *c);
void h2up_set_idle(struct h2up *c, bool is_idle);
struct h2up_list *h2up_list_of(struct exchange_h2_env *env, uint32_t server_id);

/* exchange_h2_pick.c */
/* The server's SETTINGS are here: settle follows, not from within nghttp2. */
void h2up_settled(struct h2up *c);
void h2up_settle(struct h2up *c);
/* Exchanges that wait for the connection may go, as many as it takes now. */
void h2up_open_waiting(struct h2up *c);

/* exchange_h2_recv.c */
/* nghttp2 has taken all bytes. False: enough of frames that nobody takes. */
bool h2up_skipped(struct h2up *c);
/* The budget of its frames: full at first; useful work fills it, up to that. */
void h2up_budget_init(struct h2up *c);
void h2up_earn(struct h2up *c, int n);
void h2up_recv_callbacks(nghttp2_session_callbacks *cb);

/* exchange_h2_out.c */
void h2up_out_callbacks(nghttp2_session_callbacks *cb);
/* False: the connection has failed. */
bool h2up_flush(struct h2up *c);
void h2up_out_fini(struct h2up *c);

#endif
