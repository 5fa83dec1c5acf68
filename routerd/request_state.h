/*
 * request_state: a request's own struct, shared by the files that conduct it: request.c (the
 * client's side and the states), request_route.c (where it goes) and attempt.c (one try at one
 * server). Nobody else looks inside.
 */
#ifndef ROUTERD_REQUEST_STATE_H
#define ROUTERD_REQUEST_STATE_H

#include "routerd/acme.h"
#include "routerd/codec.h"
#include "routerd/conn.h"
#include "routerd/exchange_h1.h"
#include "routerd/forward.h"
#include "routerd/kept.h"
#include "routerd/lb.h"
#include "routerd/request.h"
#include "routerd/respond.h"
#include "routerd/upstream.h"
#include "routerd/vars.h"
#include "routerd/worker_state.h"

#define REQUEST_MAGIC 0x72657175u

/* Where the work is. What the peers did stands in flows and flags. */
enum req_state {
	REQ_NEW,
	REQ_ROUTE,   /* which route, and may it pass at all? */
	REQ_TOKEN,   /* the answer to an ACME challenge is looked for */
	REQ_COLLECT, /* a small body is waited for, so that a slow sender does not hold a server */
	REQ_PICK,    /* which server? */
	REQ_CONNECT, /* a connection to it */
	REQ_SEND,    /* the head, and what there is of the body */
	REQ_WAIT,    /* for the response head */
	REQ_FLOW,    /* two flows, up and down */
	REQ_LOCAL,   /* an answer of our own is on its way */
	REQ_DONE,
	/* what a step returns besides the next state */
	REQ_STAY,
};

enum flow { FLOW_NONE, FLOW_OPEN, FLOW_ENDED, FLOW_ABORTED };

/* A sink that keeps a small body until a server is taken: in front of the pick, where buffering
 * lives. */
struct collect {
	struct sink sink;
	struct buf *b;
};

struct request {
	uint32_t magic;
	enum req_state state;
	struct worker *w;
	struct client *cl;
	struct wsnap *pin;
	struct buf *head; /* what m points into */
	const struct route *route;
	struct pool *pool;
	struct server *server; /* of the attempt that is running */
	struct exchange *x;
	struct acme_ask *ask_token; /* while it is under way */
	struct collect collect;
	struct kept kept;
	struct sink discard;
	enum flow up_flow;
	enum flow down_flow;
	uint16_t status;     /* of the final response head; 0: none yet */
	uint16_t req_fields; /* of m's, those that the client has sent */
	bool head_sent;      /* the final head was given to the client's sink */
	bool interim_sent;
	bool is_collected;
	bool is_streamed; /* the body flows from the client to the server as it comes */
	bool is_reused;   /* the attempt runs on a connection that was idle */
	bool wants_fresh; /* the next attempt must not reuse one */
	bool was_sent;    /* bytes of this attempt may have reached the server */
	bool has_retry;   /* holds a share of the pool's retry budget */
	bool is_tunnel;
	bool is_looked_at; /* since the last byte, see STREAM_LOOK_MS */
	bool knows_token;  /* it was looked for, and is not there */
	bool is_counted;   /* in the pool's active requests */
	bool is_own_answer;
	uint8_t interims; /* of this attempt */
	uint8_t tries;
	uint8_t races;        /* tries that met a server closing an idle connection */
	uint16_t last_status; /* what the last failed attempt would have answered */
	const char *last_reason;
	enum req_state last_state;
	const char *reason; /* why it ended early; NULL: it did not */
	char term[3];
	/* For the log, once route, pool and server are let go; a tunnel's own copies. */
	const char *route_name;
	const char *pool_name;
	const char *server_name;
	struct slice client; /* a tunnel's: who it is for the log; else it is looked up there */
	uint64_t generation; /* likewise */
	struct field *kept_fields; /* of the server's answer, for the log; in the arena */
	uint16_t kept_count;
	uint64_t first_us;
	uint64_t up_progress;      /* bytes either way when the server's deadline was set last */
	uint32_t up_ms;            /* what it was set to; 0: nothing was waited for */
	struct client_bytes bytes; /* when all is over */
	struct access_times t;
	uint64_t id;
	char id_text[17];
	struct timeouts timeouts; /* a copy, so that a tunnel needs no snapshot */
	struct forward_info fwd;
	struct slice path;
	struct slice authority; /* for the server */
	struct lb_ask ask;
	struct exchange_h1 h1;
	struct arena arena;
	struct msg m;
	struct msg resp;
	struct field fields[REQUEST_FIELDS];
	struct field resp_fields[REQUEST_FIELDS];
	_Alignas(16) char arena_first[2048];
};

/* Go on with `state` until a step waits. r may be gone afterwards. */
void request_run(struct request *r, enum req_state state);
/* Every early end goes through here: answers if it still can, cuts the connection if not, and
 * records why. who is the first letter of the termination code. */
void request_fail(struct request *r, uint16_t status, const char *reason, char who);
/* The same without an answer, and without blaming the server in our log: clients that leave, and
 * tunnels. */
void request_end(struct request *r, const char *reason, char who, enum client_end how);
/* Both flows may have ended: if so, finish. */
void request_check_done(struct request *r);
/* Put what the client's sink was given on the wire; false when the client has gone, and the request
 * with it. */
bool request_flush_client(struct request *r);
/* The final head goes to the client's sink. */
void request_send_head(struct request *r, struct msg *m);
uint32_t request_us(const struct request *r);
/* What the log and error answers call it. */
struct slice request_id(struct request *r);
/* An answer of our own: it goes out, and what is left of the request's body is seen to. */
struct respond_info request_info(struct request *r);
void request_answer(struct request *r, struct answer *a);

/* request_headers.c: what rules do to its fields, once forward.c has had them; false: it has
 * failed.
 */
bool request_set_headers(struct request *r);
/* The same for a final answer, whose first `sent` fields are a server's. false: too much. */
bool request_answer_headers(struct request *r, struct msg *m, uint16_t sent);
void request_interim_headers(struct request *r, struct msg *m);
/* The same for an answer of our own; m's fields are moved. */
void request_own_headers(struct request *r, struct msg *m);
/* Good until the next step. */
struct var_source request_vars(struct request *r);

/* request_log.c: its line. */
void request_log(struct request *r);
/* A server's final head is there: what the line will want of it is kept. */
void request_log_answer(struct request *r);

/* The client has a body, but sends none of it before the server says so. */
static inline bool
request_awaits_continue(const struct request *r)
{
	return r->cl->awaits_continue && (r->x == NULL || r->x->ops->given(r->x) == 0);
}

/* request_route.c: the step that decides where it goes. */
enum req_state request_route(struct request *r);
/* Steps of the table that deal with a server. */
enum req_state attempt_pick(struct request *r);
enum req_state attempt_connect(struct request *r);
enum req_state attempt_send(struct request *r);
enum req_state attempt_wait(struct request *r);
/* The request body has ended, or its sink has gone. */
void attempt_body_ended(struct request *r);
void attempt_body_refused(struct request *r);
/* Do bytes wait because the server does not take them? */
bool attempt_owes(const struct request *r);
/* Let go of the server with a reset, before attempt_end. Fine without one. */
void attempt_cut(struct request *r);
/* Let go of the server: how it went is an enum server_outcome. Fine without one. */
void attempt_end(struct request *r, unsigned how);

#endif
