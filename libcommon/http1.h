/*
 * http1: HTTP/1.0 and 1.1 as bytes (RFC 9112): heads and chunked bodies, both directions. Strict,
 * one reading only: what two parsers could read in two ways is refused, never repaired. Pure: no
 * fd, no clock, no heap.
 */
#ifndef LIBCOMMON_HTTP1_H
#define LIBCOMMON_HTTP1_H

#include "libcommon/msg.h"

enum http1_result {
	HTTP1_MORE, /* everything so far is fine; feed more */
	HTTP1_DONE,
	HTTP1_BAD, /* see struct http1_error */
};

/* Why bytes were refused. `reason` is a stable word for logs and statistics, such as "cl_and_te".
 */
struct http1_error {
	uint16_t status; /* what to answer: 400, 414, 431, 501, 505; for a bad response 502 */
	const char *reason;
};

struct http1_limits {
	uint32_t head_bytes;   /* whole head */
	uint32_t target_bytes; /* request line */
	uint16_t fields;
};

/* Zero before each message; remembers how far an incomplete head was searched, so that byte-by-byte
 * input stays linear. */
struct http1_scan {
	uint32_t seen;  /* bytes searched for the end of the head */
	uint32_t line;  /* where the line being searched starts */
	uint32_t tried; /* bytes there were when the head was last parsed */
	bool has_line;  /* the start line has ended */
};

/*
 * Parse a request head from p[0..n), always from its first byte on; call again with more bytes (the
 * same ones in front) after HTTP1_MORE. m must come from msg_init; after HTTP1_DONE its slices
 * point into p, after the others it means nothing. On HTTP1_DONE, m->head_len tells where the body
 * starts. One or more CRLF before the request line are skipped (RFC 9112 §2.2) and counted in
 * head_len.
 *
 * - Target: RFC 3986, and "[]" anywhere; also any of "<>\^`{|} and a '%' without digits in the
 * query, where browsers send them, but never in the path. '#', controls, spaces and bytes from 0x80
 * on are refused. Percent-encodings of the path are well-formed and not %00; they are not decoded
 * and dot segments are left alone: what a path means is the router's business. path is the literal
 * "/" or "*" when an absolute-form leaves it out, empty for CONNECT.
 * - Host: exactly one for 1.1, at most one for 1.0; valid (http1_host), and equal
 * (case-insensitively) to an absolute target's authority. CONNECT's Host may leave out the port.
 * - Framing: "Content-Length: 0" is BODY_LENGTH, no framing field at all is BODY_NONE.
 * - Fields that are hop-by-hop by name, that Connection names, or that look like Content-Length or
 *   Transfer-Encoding with another byte for the dash, come marked MSG_FIELD_DROP.
 *   Connection may not name Host, Content-Length or Transfer-Encoding (refused), and is ignored
 * when it names others that decide what the message means (FIELD_FRAMING without HOP and IDENTITY).
 *
 * Reasons: bare_lf bare_cr nul_byte; bad_method bad_request_line bad_target bad_percent
 * bad_authority bad_version line_too_long; head_too_long too_many_fields obs_fold
 * space_before_colon empty_field_name bad_field_name bad_field_value dup_field; no_host dup_host
 * bad_host host_mismatch; cl_and_te dup_content_length bad_content_length bad_transfer_encoding
 * unknown_transfer_coding te_in_http10 bad_connection. A wrong start line is refused when it is
 * complete, what is wrong behind it perhaps only when more of the head arrives; a complete head is
 * judged the same however it came.
 */
enum http1_result http1_request(struct http1_scan *scan, const char *p, size_t n,
	const struct http1_limits *limits, struct msg *m, struct http1_error *err);

/*
 * The same for a response; `asked` is the method of its request, since HEAD decides framing. A 1xx
 * is a message of its own. 101 and 2xx to CONNECT have BODY_NONE: what follows is the tunnel's.
 * With BODY_NONE, content_length is still what Content-Length says (HEAD, 304). Nothing may stand
 * in front of the status line; its reason, and the space in front of that, may be left out.
 * Content-Length may have zeros in front. keep_alive is false for BODY_UNTIL_CLOSE. Further
 * reasons: bad_status_line bad_status te_without_body (1xx and 204 have no coding, RFC 9112 §6.1);
 * status is always 502.
 */
enum http1_result http1_response(struct http1_scan *scan, const char *p, size_t n,
	const struct http1_limits *limits, enum method asked, struct msg *m,
	struct http1_error *err);

/* The longest trailer section that is accepted, blank line included. */
#define HTTP1_TRAILER_MAX 8192

/* A chunked body on its way in (RFC 9112 §7.1). Zero before each body. */
struct http1_chunked {
	uint64_t left; /* payload bytes of the current chunk still to come */
	uint32_t ext;  /* extension bytes seen in this body: limited, then dropped */
	uint32_t trailer_len;
	uint8_t state;
	uint8_t digits;
};

/*
 * Decode p[0..n) in place: payload is moved to the front, *payload tells how much there is; *used
 * how many bytes were consumed (all, unless DONE or BAD). Trailer bytes, the blank line's included,
 * are appended to trailer[c->trailer_len..HTTP1_TRAILER_MAX); with trailer NULL they are checked
 * for length and line ends and dropped. DONE after the last CRLF, and again with nothing used for
 * whatever is fed then.
 *
 * A size is 1 to 16 hexadecimal digits, below 2^63, with nothing but a ';' or CRLF behind it.
 * Extensions have no controls and 4096 bytes in all. Reasons: bad_chunk_size chunk_too_big
 * bad_chunk_extension chunk_extensions bad_chunk_end bare_lf bare_cr; trailer_too_long. The status
 * is 400 or 431: whoever reads a response makes it 502.
 */
enum http1_result http1_chunked_feed(struct http1_chunked *c, char *p, size_t n, char *trailer,
	size_t *used, size_t *payload, struct http1_error *err);

/*
 * Fields of a trailer section that http1_chunked_feed collected; n may be 0 for none. Those that
 * decide framing, routing or identity (FIELD_FRAMING, FIELD_HOP) come marked MSG_FIELD_DROP.
 * Returns false for malformed ones, with the words of field lines, bad_trailer or
 * too_many_trailers.
 */
bool http1_trailers(const char *p, size_t n, struct field *fields, uint16_t cap, uint16_t *count,
	struct http1_error *err);

/*
 * For messages that did not come as HTTP/1: the same rules for what another version delimits.
 * The target p[0..n) of m->method, behind which a space stands at p[n]: sets target, target_form,
 * path and query. False with a reason of http1_request's.
 */
bool http1_request_target(struct msg *m, const char *p, size_t n, struct http1_error *err);
/* By name; they are case-sensitive (RFC 9110 §9.1). */
enum method http1_method(struct slice name);
/* What the Expect fields of m ask for: expect_continue, is_bad_expect. */
void http1_expect(struct msg *m);
/*
 * "Content_Length", "Transfer.Encoding": names that a server behind CGI and its like cannot tell
 * from the ones that frame the message. They are no framing here and must not become it further on.
 */
bool http1_is_framing_alike(struct slice name);

/* Is this a valid token (RFC 9110 §5.6.2), a valid field value (§5.5: no CR, LF, NUL, other
 * controls)? */
bool http1_is_token(struct slice s);
bool http1_is_value(struct slice s);
/*
 * uri-host [":" port] of RFC 9110 §7.2; splits it. host keeps an IPv6 literal's brackets; port 0
 * when absent. Narrower than the RFC: names are letters, digits, "-._~" without empty labels (one
 * dot at the end is fine), no percent-encoding, no sub-delims, no IPvFuture, no zone.
 */
bool http1_host(struct slice s, struct slice *host, uint16_t *port);

#endif
