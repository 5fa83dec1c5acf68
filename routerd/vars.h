/*
 * vars: what a request, its client and its answer are called in the configuration: ${name}. The
 * table is vars.def; besides those in it there are families, whose names go on with what is asked
 * for: ${http_NAME}, ${cookie_NAME}, ${arg_NAME} and ${upstream_http_NAME}, as in nginx. Pure; what
 * has to be put together lives in the arena.
 */
#ifndef ROUTERD_VARS_H
#define ROUTERD_VARS_H

#include "libcommon/mem.h"
#include "libcommon/msg.h"
#include "routerd/forward.h"

/* When a text is put together, and from when on a variable is known. */
enum var_when {
	VAR_REQUEST,  /* a request is routed */
	VAR_RESPONSE, /* the head of its answer is there */
	VAR_LOG       /* it is over */
};

/* What a variable's values are, whatever a request brings. */
enum var_kind { VAR_IS_TEXT, VAR_IS_NUMBER, VAR_IS_FLAG, VAR_IS_TIME };

struct var {
	uint16_t id;       /* row of vars.def, or a family behind them */
	uint16_t field_id; /* of name, for families of fields */
	struct slice name; /* what is asked for in a family; fields with '-' for '_' */
};

struct access_entry; /* accesslog.h */
struct conn_tls;

/* Where values come from. Pointers may be NULL where there is nothing. */
struct var_source {
	const struct msg *req;
	uint16_t req_fields;    /* of its fields, those that the client has sent */
	const struct msg *resp; /* a server's */
	uint16_t resp_fields;   /* of its fields, those that the server has sent */
	const struct forward_info *from;
	const struct conn_tls *tls;
	struct slice client; /* forward_client() */
	struct slice request_id;
	const char *listener;
	const char *route;
	const char *pool;
	const char *server;
	const char *reason;
	uint16_t status;
	unsigned tries;
	uint32_t response_us;     /* from the request's first byte to the head of its answer */
	int64_t (*wall_ms)(void); /* the time of day, since 1970: asked where it is wanted */
	/* Of a request that is over; log is NULL else. */
	const struct access_entry *log;
	bool is_own_answer; /* no server's */
	unsigned connection_requests;
	unsigned worker;
	uint64_t generation;
};

/*
 * The variable of this name, when it is known by then; var->name is in a. NULL, or a message for
 * the configuration's author, in a, too.
 */
const char *var_parse(struct slice name, enum var_when when, struct var *var, struct arena *a);

enum var_kind var_kind(const struct var *var);
/* Something that a peer has sent, which may be there and empty. */
bool var_may_be_empty(const struct var *var);
/* A field of a server's answer. */
bool var_is_of_answer(const struct var *var);
/* Those of the fields that are asked for, in order, copied into a; how many. out has room for all.
 */
uint16_t var_keep_fields(const struct var *vars, size_t count, const struct field *fields,
	uint16_t field_count, struct field *out, struct arena *a);

/* Empty where there is nothing to tell. Good as long as the source and the arena. Bytes are those
 * that were received: see template.h for what makes a field's value of them. */
struct slice var_value(const struct var *var, const struct var_source *s, struct arena *a);

#endif
