/*
 * h2_head: the fields of an HTTP/2 header section become a struct msg as HTTP/1's parser would have
 * made it (RFC 9113 §8). Strict, one reading only: what HTTP/1 could read in another way is refused
 * here, so that it never gets into a head that we write. Pure: no socket, no clock, no nghttp2.
 */
#ifndef ROUTERD_H2_HEAD_H
#define ROUTERD_H2_HEAD_H

#include "libcommon/http1.h"
#include "libcommon/mem.h"

/* A request's header section on its way. Text is copied into the arena. */
struct h2_head {
	struct msg *m;
	struct arena *arena;
	struct http1_limits limits; /* a section may take longer than a configuration lives */
	/* The first fault; more fields are only counted then. */
	const char *reason;
	uint16_t status;
	bool is_malformed; /* RFC 9113 §8.1.1: a stream error, whatever is answered */
	bool has_fields;   /* no pseudo-header may follow */
	bool has_host;     /* the client sent Host beside :authority */
	unsigned cookies;
	size_t bytes; /* decoded so far, as limits.head counts them in HTTP/1 */
	struct slice method;
	struct slice scheme;
	struct slice authority;
	struct slice path; /* a space stands behind it */
	struct slice protocol;
};

/* What h2_head_end adds to a message that has as many fields as limits allow. */
#define H2_HEAD_FIELDS 3

/* m is empty, from msg_init, with room for limits->fields and H2_HEAD_FIELDS more. */
void h2_head_init(
	struct h2_head *h, struct msg *m, struct arena *arena, const struct http1_limits *limits);
/* The next field as HPACK gave it. */
void h2_head_field(struct h2_head *h, struct slice name, struct slice value);
/*
 * The section is complete; is_end: no DATA follows. True when m is a request: the same message that
 * HTTP/1 would have given, with a Host field, one Cookie field, and canonical names where they are
 * known. An extended CONNECT for a WebSocket (RFC 8441) is the upgrade that HTTP/1 would have asked
 * for, still without Sec-WebSocket-Key. False: see reason, status and is_malformed.
 *
 * Reasons besides http1's: bad_pseudo_header missing_pseudo_header connection_field bad_te
 * bad_scheme unknown_protocol content_length_mismatch.
 */
bool h2_head_end(struct h2_head *h, bool is_end);
/* Is it an extended CONNECT? */
static inline bool
h2_head_is_connect(const struct h2_head *h)
{
	return h->protocol.n > 0;
}

/* One more field, its text good for as long as m; the caller has left room. */
void h2_head_add(struct msg *m, enum field_id id, struct slice name, struct slice value);

/* A trailer section on its way, either direction. */
#define H2_TRAILERS_MAX 32
struct h2_trailers {
	struct field fields[H2_TRAILERS_MAX];
	uint16_t count;
	size_t bytes;
	const char *reason; /* the first fault */
};

/*
 * Text is copied into the arena. Fields that decide framing, routing or identity come marked
 * MSG_FIELD_DROP, as http1_trailers has it. Reasons: those of field lines, bad_pseudo_header,
 * connection_field, too_many_trailers, trailer_too_long.
 */
void h2_trailers_field(
	struct h2_trailers *t, struct arena *arena, struct slice name, struct slice value);

#endif
