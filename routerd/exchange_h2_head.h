/*
 * exchange_h2_head: heads between struct msg and HTTP/2 (RFC 9113 §8): a request's as nghttp2 wants
 * it, an answer's as HTTP/1's parser would have made it. Strict, one reading only: what HTTP/1
 * could read in another way is refused here, so that it never gets into a head that we write. No
 * socket, no clock.
 */
#ifndef ROUTERD_EXCHANGE_H2_HEAD_H
#define ROUTERD_EXCHANGE_H2_HEAD_H

#include <nghttp2/nghttp2.h>

#include "libcommon/http1.h"
#include "routerd/exchange.h"
#include "routerd/request.h"

/* Pseudo-headers and Content-Length, beside the fields of a message. */
#define EXCHANGE_H2_NVS (REQUEST_FIELDS + 6)

/*
 * The request of x as name-value pairs, which point into it and into text, with room for path,
 * query and EXCHANGE_H2_TEXT more; scheme is that of the way to the server. is_tunnel: an extended
 * CONNECT (RFC 8441). Returns how many.
 */
#define EXCHANGE_H2_TEXT 32
size_t exchange_h2_request(
	const struct exchange *x, struct slice scheme, bool is_tunnel, char *text, nghttp2_nv *out);

/* An upgrade that an extended CONNECT can ask for: to WebSocket, and nothing else. */
bool exchange_h2_is_websocket(const struct msg *m);

/* A section of an answer on its way: a head, or trailers. */
struct h2_answer {
	struct msg *m;
	char *text; /* where names and values are copied to */
	size_t cap;
	size_t used;
	size_t bytes; /* decoded, as limits.head counts them in HTTP/1 */
	const struct http1_limits *limits;
	const char *reason; /* the first fault; more fields are only counted then */
	bool is_trailer;
	bool has_fields; /* no pseudo-header may follow */
};

/* m is empty, from msg_init; text has room for limits->head_bytes. */
void h2_answer_init(struct h2_answer *a, struct msg *m, char *text, size_t cap,
	const struct http1_limits *limits, bool is_trailer);
/* The next field as HPACK gave it. False: see reason. */
bool h2_answer_field(struct h2_answer *a, struct slice name, struct slice value);
/*
 * The section of a head is complete; is_end: no DATA follows; asked: the request's method. True
 * when m is an answer, framed as HTTP/1 would have framed it: BODY_CHUNKED where no length is
 * known.
 *
 * Reasons: those of h2_field, bad_pseudo_header bad_status dup_content_length bad_content_length
 * content_length_mismatch unexpected_101 head_too_long too_many_fields; of trailers also
 * trailer_too_long.
 */
bool h2_answer_end(struct h2_answer *a, enum method asked, bool is_end);

/* The 101 that HTTP/1 would have sent for a WebSocket that the server has opened. text: room for
 * WSKEY_ACCEPT, good as long as m. */
void h2_answer_to_101(struct msg *m, const struct msg *asked, char *text);

#endif
