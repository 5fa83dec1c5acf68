/*
 * The smuggling matrix: what the public literature (request smuggling in all its forms, advisories
 * of other proxies, desync of chunked bodies and of answers) sends to make two parsers disagree,
 * and the one reading it has here.
 *
 * A case is everything a peer sends on one connection. The reader goes on as a proxy would: head,
 * body, next head, and writes down what it saw: "POST /a 3=abc" a message and its body, "..." when
 * more is needed, "400 word" a refusal, which always ends it. A request hidden in a body would show
 * as a message of its own; one that is swallowed would be missing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/http1.h"
#include "libcommon/sbuf.h"

enum { FIELDS = 32 };

static const struct http1_limits limits = { 8192, 1024, FIELDS };

/* Somebody's connection, of which the first `avail` bytes have come. */
struct peer {
	char *p;
	size_t n;
	size_t at;
	size_t avail;
	size_t step;
	struct sbuf seen;
};

static bool
more_comes(struct peer *peer)
{
	if (peer->avail == peer->n)
		return false;
	peer->avail = peer->n - peer->avail < peer->step ? peer->n : peer->avail + peer->step;
	return true;
}

static void
note_body(struct peer *peer, const char *p, size_t n)
{
	sbuf_addf(&peer->seen, " %zu=", n);
	for (size_t i = 0; i < n; i++)
		sbuf_addc(&peer->seen, p[i] < ' ' ? '.' : p[i]);
}

static bool
read_length_body(struct peer *peer, uint64_t length)
{
	while (peer->avail - peer->at < length)
		if (!more_comes(peer))
			return false;
	note_body(peer, peer->p + peer->at, length);
	peer->at += length;
	return true;
}

/* Refusals and missing bytes are noted; true when the body ended well. */
static bool
read_chunked_body(struct peer *peer)
{
	struct http1_chunked c = { 0 };
	struct http1_error err = { 0, "" };
	char trailer[HTTP1_TRAILER_MAX];
	struct sbuf body = { 0 };
	enum http1_result r;
	struct field fields[FIELDS];
	uint16_t count;

	for (;;) {
		size_t n = peer->avail - peer->at;
		char *piece = malloc(n + 1);
		size_t used;
		size_t payload;

		memcpy(piece, peer->p + peer->at, n);
		r = http1_chunked_feed(&c, piece, n, trailer, &used, &payload, &err);
		sbuf_add(&body, piece, payload);
		free(piece);
		peer->at += used;
		if (r != HTTP1_MORE || !more_comes(peer))
			break;
	}
	if (r == HTTP1_DONE &&
		!http1_trailers(trailer, c.trailer_len, fields, FIELDS, &count, &err))
		r = HTTP1_BAD;
	if (r == HTTP1_BAD)
		sbuf_addf(&peer->seen, " %u %s", err.status, err.reason);
	else if (r == HTTP1_MORE)
		sbuf_adds(&peer->seen, " ...");
	else
		note_body(peer, body.p, body.n);
	sbuf_fini(&body);
	return r == HTTP1_DONE;
}

static bool
read_body(struct peer *peer, const struct msg *m)
{
	if (m->body == BODY_CHUNKED)
		return read_chunked_body(peer);
	if (m->body == BODY_UNTIL_CLOSE) {
		while (more_comes(peer))
			;
		note_body(peer, peer->p + peer->at, peer->n - peer->at);
		peer->at = peer->n;
		return true;
	}
	if (m->body == BODY_NONE || read_length_body(peer, m->content_length))
		return true;
	sbuf_adds(&peer->seen, " ...");
	return false;
}

/* The next head; asked is METHOD_OTHER when the peer is a client. */
static bool
read_head(struct peer *peer, enum method asked, struct msg *m, struct field *fields)
{
	struct http1_scan scan = { 0 };
	struct http1_error err = { 0, "" };
	enum http1_result r;

	do {
		const char *p = peer->p + peer->at;
		size_t n = peer->avail - peer->at;

		msg_init(m, fields, FIELDS);
		r = asked == METHOD_OTHER ? http1_request(&scan, p, n, &limits, m, &err)
					  : http1_response(&scan, p, n, &limits, asked, m, &err);
	} while (r == HTTP1_MORE && more_comes(peer));
	if (peer->seen.n > 0)
		sbuf_adds(&peer->seen, "; ");
	if (r == HTTP1_BAD)
		sbuf_addf(&peer->seen, "%u %s", err.status, err.reason);
	else if (r == HTTP1_MORE)
		sbuf_adds(&peer->seen, "...");
	else
		peer->at += m->head_len;
	return r == HTTP1_DONE;
}

static void
read_peer(struct peer *peer, enum method asked)
{
	while (peer->at < peer->n) {
		struct field fields[FIELDS];
		struct msg m;

		if (!read_head(peer, asked, &m, fields))
			return;
		if (asked == METHOD_OTHER)
			sbuf_addf(&peer->seen, "%.*s %.*s", SLICE_ARG(m.method_name),
				SLICE_ARG(m.target));
		else
			sbuf_addf(&peer->seen, "%u", m.status);
		if (!read_body(peer, &m))
			return;
		/* A proxy would tell the client to go away, or have no way back to HTTP. */
		if (m.is_bad_expect)
			sbuf_adds(&peer->seen, " 417");
		if (!m.keep_alive)
			sbuf_adds(&peer->seen, " close");
		if (!m.keep_alive || m.is_bad_expect || m.status == 101)
			return;
	}
}

struct smuggle {
	const char *name;
	struct slice bytes;
	const char *seen;
};

#define S(name, bytes, seen)                                \
	{                                                   \
		name, { "" bytes, sizeof(bytes) - 1 }, seen \
	}

/* A request up to the field in question, a body that is two, and a request to be smuggled. */
#define POST   "POST /a HTTP/1.1\r\nHost: h\r\n"
#define EVIL   "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define CHUNKS "\r\n0\r\n\r\n" EVIL
#define CL4    "Content-Length: 4\r\n"

static const struct smuggle requests[] = {
	/* the two framings at once */
	S("CL.TE", POST "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n" CHUNKS,
		"400 cl_and_te"),
	S("TE.CL", POST "Transfer-Encoding: chunked\r\n" CL4 CHUNKS, "400 cl_and_te"),
	S("CL zero and TE", POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n" CHUNKS,
		"400 cl_and_te"),
	S("CL and TE that is unknown", POST CL4 "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"400 cl_and_te"),
	S("CL and TE with fields between",
		POST CL4 "A: b\r\nTransfer-Encoding:\tchunked\r\n" CHUNKS, "400 cl_and_te"),
	S("TE alone is fine", POST "Transfer-Encoding: chunked\r\n" CHUNKS, "POST /a 0=; GET /x"),
	S("CL alone is fine", POST CL4 "\r\nabcd" EVIL, "POST /a 4=abcd; GET /x"),

	/* TE.TE: one coding, spelled so that only one side knows it */
	S("TE space before colon", POST CL4 "Transfer-Encoding : chunked\r\n" CHUNKS,
		"400 space_before_colon"),
	S("TE tab before colon", POST CL4 "Transfer-Encoding\t: chunked\r\n" CHUNKS,
		"400 space_before_colon"),
	S("TE behind a blank", POST " Transfer-Encoding: chunked\r\n" CHUNKS, "400 obs_fold"),
	S("TE behind a blank in front of all",
		"POST /a HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: h\r\n" CHUNKS,
		"400 obs_fold"),
	S("TE folded", POST CL4 "Transfer-Encoding:\r\n chunked\r\n" CHUNKS, "400 obs_fold"),
	S("TE folded by tab", POST CL4 "Transfer-Encoding:\r\n\tchunked\r\n" CHUNKS,
		"400 obs_fold"),
	S("TE behind bare LF", POST CL4 "A: b\nTransfer-Encoding: chunked\r\n" CHUNKS,
		"400 bare_lf"),
	S("TE behind bare CR", POST CL4 "A: b\rTransfer-Encoding: chunked\r\n" CHUNKS,
		"400 bare_cr"),
	S("TE ends in two CR", POST CL4 "Transfer-Encoding: chunked\r\r\n" CHUNKS, "400 bare_cr"),
	S("TE ends in bare LF", POST "Transfer-Encoding: chunked\n" CHUNKS, "400 bare_lf"),
	S("TE vertical tab in front",
		POST CL4 "Transfer-Encoding: \x0b"
			 "chunked\r\n" CHUNKS,
		"400 bad_field_value"),
	S("TE form feed behind", POST CL4 "Transfer-Encoding: chunked\x0c\r\n" CHUNKS,
		"400 bad_field_value"),
	S("TE NUL behind", POST CL4 "Transfer-Encoding: chunked\0\r\n" CHUNKS, "400 nul_byte"),
	S("TE NUL in the name", POST CL4 "Transfer-\0Encoding: chunked\r\n" CHUNKS, "400 nul_byte"),
	S("TE no-break space",
		POST "Transfer-Encoding: \xa0"
		     "chunked\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE no-break space in the name", POST CL4 "Transfer-Encoding\xa0: chunked\r\n" CHUNKS,
		"400 bad_field_name"),
	S("TE Kelvin sign",
		POST "Transfer-Encoding: chun\xe2\x84\xaa"
		     "ed\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE colon twice", POST "Transfer-Encoding:: chunked\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE xchunked", POST "Transfer-Encoding: xchunked\r\n" CHUNKS,
		"501 unknown_transfer_coding"),
	S("TE in single quotes", POST "Transfer-Encoding: 'chunked'\r\n" CHUNKS,
		"501 unknown_transfer_coding"),
	S("TE in double quotes", POST "Transfer-Encoding: \"chunked\"\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE in brackets", POST "Transfer-Encoding: [chunked]\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE with parameter", POST "Transfer-Encoding: chunked;q=1\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE chunked, identity", POST "Transfer-Encoding: chunked, identity\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE identity, chunked", POST "Transfer-Encoding: identity, chunked\r\n" CHUNKS,
		"501 unknown_transfer_coding"),
	S("TE identity, then chunked",
		POST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n" CHUNKS,
		"501 unknown_transfer_coding"),
	S("TE chunked, then x",
		POST "Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE chunked, chunked", POST "Transfer-Encoding: chunked,chunked\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE comma in front", POST "Transfer-Encoding: , chunked\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE comma behind", POST "Transfer-Encoding: chunked,\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE chunked x", POST "Transfer-Encoding: chunked x\r\n" CHUNKS,
		"400 bad_transfer_encoding"),
	S("TE empty", POST "Transfer-Encoding:\r\n" CHUNKS, "400 bad_transfer_encoding"),
	S("TE in 1.0",
		"POST /a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n" CHUNKS,
		"400 te_in_http10"),
	S("TE named by Connection",
		POST "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n" CHUNKS,
		"400 bad_connection"),
	S("TE in any case", POST "tRANSFER-eNCODING:cHUNKED \t\r\n" CHUNKS, "POST /a 0=; GET /x"),
	S("TE with underscore is another field",
		POST CL4 "Transfer_Encoding: chunked\r\n\r\nabcd" EVIL, "POST /a 4=abcd; GET /x"),

	/* Content-Length in all its forms */
	S("two CL", POST "Content-Length: 0\r\n" CL4 "\r\nabcd", "400 dup_content_length"),
	S("two equal CL", POST CL4 CL4 "\r\nabcd", "400 dup_content_length"),
	S("CL list", POST "Content-Length: 4, 4\r\n\r\nabcd", "400 bad_content_length"),
	S("CL list of two", POST "Content-Length: 4,0\r\n\r\nabcd", "400 bad_content_length"),
	S("CL empty", POST "Content-Length: \r\n\r\n" EVIL, "400 bad_content_length"),
	S("CL plus", POST "Content-Length: +4\r\n\r\nabcd", "400 bad_content_length"),
	S("CL minus", POST "Content-Length: -4\r\n\r\nabcd", "400 bad_content_length"),
	S("CL minus zero", POST "Content-Length: -0\r\n\r\n" EVIL, "400 bad_content_length"),
	S("CL hex", POST "Content-Length: 0x4\r\n\r\nabcd", "400 bad_content_length"),
	S("CL octal", POST "Content-Length: 010\r\n\r\nabcdefgh", "400 bad_content_length"),
	S("CL exponent", POST "Content-Length: 1e1\r\n\r\n", "400 bad_content_length"),
	S("CL underscore inside", POST "Content-Length: 1_0\r\n\r\n", "400 bad_content_length"),
	S("CL in quotes", POST "Content-Length: \"4\"\r\n\r\nabcd", "400 bad_content_length"),
	S("CL in other digits", POST "Content-Length: \xd9\xa4\r\n\r\nabcd",
		"400 bad_content_length"),
	S("CL and words", POST "Content-Length: 4 bytes\r\n\r\nabcd", "400 bad_content_length"),
	S("CL NUL",
		POST "Content-Length: 4\0"
		     "0\r\n\r\nabcd",
		"400 nul_byte"),
	S("CL wraps 32 bits is taken at its word",
		POST "Content-Length: 4294967300\r\n\r\nabcd" EVIL, "POST /a ..."),
	S("CL wraps 64 bits", POST "Content-Length: 18446744073709551620\r\n\r\nabcd",
		"400 bad_content_length"),
	S("CL space before colon", POST "Content-Length : 4\r\n\r\nabcd", "400 space_before_colon"),
	S("CL folded", POST "Content-Length:\r\n 4\r\n\r\nabcd", "400 obs_fold"),
	S("CL goes on by fold", POST "Content-Length: 4\r\n 0\r\n\r\nabcd", "400 obs_fold"),
	S("CL named by Connection", POST "Connection: content-length\r\n" CL4 "\r\nabcd",
		"400 bad_connection"),
	S("CL with underscore is another field", POST "Content_Length: 4\r\n\r\n" EVIL,
		"POST /a; GET /x"),
	S("CL with a long tail in its name",
		POST
		"Content-Length0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:\r\nContent-Length: 4\r\n\r\nabcd" EVIL,
		"POST /a 4=abcd; GET /x"),
	S("empty name hides CL", POST ": x\r\n" CL4 "\r\nabcd", "400 empty_field_name"),
	S("line without colon hides CL", POST "A\r\n" CL4 "\r\nabcd", "400 bad_field_name"),
	S("CL.0: GET with body", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nGET " EVIL,
		"GET /a 4=GET ; GET /x"),
	S("0.CL: OPTIONS with body",
		"OPTIONS /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd" EVIL,
		"OPTIONS /a 4=abcd; GET /x"),
	S("HEAD with chunked body",
		"HEAD /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n" EVIL,
		"HEAD /a 4=abcd; GET /x"),
	S("bodiless POST", POST "\r\n" EVIL, "POST /a; GET /x"),
	S("expectation and body", POST CL4 "Expect: 100-continue\r\n\r\nabcd" EVIL,
		"POST /a 4=abcd; GET /x"),
	S("expectation obfuscated", POST CL4 "Expect: y 100-continue\r\n\r\nabcd" EVIL,
		"POST /a 4=abcd 417"),
	S("expectation folded", POST CL4 "Expect:\r\n 100-continue\r\n\r\nabcd" EVIL,
		"400 obs_fold"),

	/* lines */
	S("bare LF everywhere", "GET /a HTTP/1.1\nHost: h\n\n" EVIL, "400 bare_lf"),
	S("head ends in LF LF", "GET /a HTTP/1.1\r\nHost: h\r\n\n" EVIL, "400 bare_lf"),
	S("head ends in CR CR LF", "GET /a HTTP/1.1\r\nHost: h\r\n\r\r\n" EVIL, "400 bare_cr"),
	S("head ends behind a blank", "GET /a HTTP/1.1\r\nHost: h\r\n \r\n" EVIL, "400 obs_fold"),
	S("request in a folded line",
		"GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n\tGET /x HTTP/1.1\r\n\r\n", "400 obs_fold"),
	S("request line with CR", "GET /a HTTP/1.1\rGET /x HTTP/1.1\r\nHost: h\r\n\r\n",
		"400 bare_cr"),
	S("HTTP/0.9 in the middle", POST "\r\nGET /x\r\n", "POST /a; 400 bad_request_line"),
	S("version in the target", "GET /a HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n",
		"400 bad_request_line"),
	S("version with vertical tab", "GET /a\x0bHTTP/1.1\r\nHost: h\r\n\r\n", "400 bad_target"),
	S("version of HTTP/2", "GET /a HTTP/2.0\r\nHost: h\r\n\r\n", "505 bad_version"),
	S("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 bad_target"),
	S("blank line behind a body", POST CL4 "\r\nabcd\r\n" EVIL, "POST /a 4=abcd; GET /x"),
	S("LF behind a body", POST CL4 "\r\nabcd\n" EVIL, "POST /a 4=abcd; 400 bare_lf"),
	S("body longer than said", POST CL4 "\r\nabcdG" EVIL, "POST /a 4=abcd; GGET /x"),
	S("pipelined behind close", POST "Connection: close\r\n\r\n" EVIL, "POST /a close"),
	S("pipelined behind 1.0", "GET /a HTTP/1.0\r\n\r\n" EVIL, "GET /a close"),

	/* who is meant */
	S("two Hosts", "GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", "400 dup_host"),
	S("second Host behind a blank", "GET /a HTTP/1.1\r\nHost: h\r\nHost : i\r\n\r\n",
		"400 space_before_colon"),
	S("second Host folded", "GET /a HTTP/1.1\r\nHost: h\r\n Host: i\r\n\r\n", "400 obs_fold"),
	S("Host and target differ", "GET http://i/ HTTP/1.1\r\nHost: h\r\n\r\n",
		"400 host_mismatch"),
	S("Host with another behind @", "GET /a HTTP/1.1\r\nHost: h:80@i\r\n\r\n", "400 bad_host"),
	S("Host with another behind #", "GET /a HTTP/1.1\r\nHost: h#i\r\n\r\n", "400 bad_host"),
	S("Host with another behind a comma", "GET /a HTTP/1.1\r\nHost: h,i\r\n\r\n",
		"400 bad_host"),
	S("Host with path", "GET /a HTTP/1.1\r\nHost: h/../i\r\n\r\n", "400 bad_host"),
	S("Host with two ports", "GET /a HTTP/1.1\r\nHost: h:80:81\r\n\r\n", "400 bad_host"),
	S("Host that is half an IPv6", "GET /a HTTP/1.1\r\nHost: [::1\r\n\r\n", "400 bad_host"),
	S("Host named by Connection", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Host\r\n\r\n",
		"400 bad_connection"),
	S("target @host", "GET @i/ HTTP/1.1\r\nHost: h\r\n\r\n", "400 bad_target"),
	S("target with userinfo", "GET http://h@i/ HTTP/1.1\r\nHost: i\r\n\r\n",
		"400 bad_authority"),
	S("target with fragment", "GET /a#.png HTTP/1.1\r\nHost: h\r\n\r\n", "400 bad_target"),
	S("target with backslash", "GET /a\\..\\b HTTP/1.1\r\nHost: h\r\n\r\n", "400 bad_target"),
	S("target with NUL", "GET /a%00.png HTTP/1.1\r\nHost: h\r\n\r\n", "400 bad_percent"),
	S("target is a file of the system", "GET unix:/run/x|http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
		"400 bad_target"),

/* chunked bodies; C is a head that has one */
#define C POST "Transfer-Encoding: chunked\r\n\r\n"
	S("chunk size wraps", C "10000000000000004\r\nabcd\r\n0\r\n\r\n" EVIL,
		"POST /a 400 chunk_too_big"),
	S("chunk size is negative", C "-4\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bad_chunk_size"),
	S("chunk size of 2^63", C "8000000000000000\r\nabcd", "POST /a 400 chunk_too_big"),
	S("chunk size 0x", C "0x4\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bad_chunk_size"),
	S("chunk size plus", C "+4\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bad_chunk_size"),
	S("chunk size in quotes", C "\"4\"\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bad_chunk_size"),
	S("chunk size missing", C "\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bad_chunk_size"),
	S("chunk size missing before extension", C ";4\r\nabcd", "POST /a 400 bad_chunk_size"),
	S("chunk size and blank", C "4 \r\nabcd\r\n0\r\n\r\n", "POST /a 400 bad_chunk_size"),
	S("chunk size and NUL", C "4\0\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bad_chunk_size"),
	S("chunk size ends in LF", C "4\nabcd\r\n0\r\n\r\n", "POST /a 400 bare_lf"),
	S("chunk size ends in CR", C "4\rabcd\r\n0\r\n\r\n", "POST /a 400 bare_cr"),
	S("chunk size ends in CR X", C "2\rX45\r\n0\r\n\r\n" EVIL, "POST /a 400 bare_cr"),
	S("chunk size with zeros", C "0000004\r\nabcd\r\n00\r\n\r\n" EVIL,
		"POST /a 4=abcd; GET /x"),
	S("extension ends in LF", C "4;\nxx\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bare_lf"),
	S("extension with LF inside", C "4;a\nb\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bare_lf"),
	S("extension with CR inside", C "4;a\rb\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bare_cr"),
	S("extension in quotes ends at CRLF", C "4;a=\"\r\nabcd\r\n0;\"\r\n\r\n" EVIL,
		"POST /a 4=abcd; GET /x"),
	S("extension behind a blank", C "4 ;a\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bad_chunk_size"),
	S("data end in LF", C "4\r\nabcd\n0\r\n\r\n", "POST /a 400 bare_lf"),
	S("data end in CR", C "4\r\nabcd\r0\r\n\r\n", "POST /a 400 bare_cr"),
	S("data end in XX", C "4\r\nabcdXX0\r\n\r\n", "POST /a 400 bad_chunk_end"),
	S("data longer than said", C "3\r\nabcd\r\n0\r\n\r\n", "POST /a 400 bad_chunk_end"),
	S("data shorter than said", C "6\r\nabcd\r\n0\r\n\r\n" EVIL, "POST /a 400 bad_chunk_end"),
	S("data that look like an end", C "5\r\n0\r\n\r\n\r\n0\r\n\r\n" EVIL,
		"POST /a 5=0....; GET /x"),
	S("last chunk ends in LF", C "0\n\r\n" EVIL, "POST /a 400 bare_lf"),
	S("trailers end in LF", C "0\r\n\n" EVIL, "POST /a 400 bare_lf"),
	S("trailers end in CR", C "0\r\n\r" EVIL, "POST /a 400 bare_cr"),
	S("request in the trailers", C "0\r\n" EVIL, "POST /a 400 space_before_colon"),
	S("framing in the trailers",
		C "0\r\nContent-Length: 30\r\nTransfer-Encoding: x\r\n\r\n" EVIL,
		"POST /a 0=; GET /x"),
	S("folded trailer", C "0\r\nA: b\r\n c\r\n\r\n" EVIL, "POST /a 400 obs_fold"),
	S("no last chunk", C "4\r\nabcd\r\n", "POST /a ..."),
};

struct answer {
	enum method asked;
	struct smuggle s;
};

#define OK    "HTTP/1.1 200 OK\r\n"
#define OTHER OK "Content-Length: 1\r\n\r\ny"

static const struct answer answers[] = {
	{ METHOD_GET,
		S("CL and TE", OK CL4 "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" OTHER,
			"502 cl_and_te") },
	{ METHOD_GET,
		S("two CL", OK CL4 "Content-Length: 5\r\n\r\nabcd" OTHER,
			"502 dup_content_length") },
	{ METHOD_GET,
		S("CL list", OK "Content-Length: 4, 4\r\n\r\nabcd" OTHER,
			"502 bad_content_length") },
	{ METHOD_GET,
		S("TE twice", OK "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
			"502 bad_transfer_encoding") },
	{ METHOD_GET,
		S("TE gzip", OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
			"502 unknown_transfer_coding") },
	{ METHOD_GET,
		S("TE in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"502 te_in_http10") },
	{ METHOD_GET,
		S("TE space before colon", OK "Transfer-Encoding : chunked\r\n\r\n",
			"502 space_before_colon") },
	{ METHOD_GET, S("folded", OK "A: b\r\n Content-Length: 0\r\n\r\n", "502 obs_fold") },
	{ METHOD_GET,
		S("blank in front of all", "HTTP/1.1 200 OK\r\n A: b\r\n\r\n", "502 obs_fold") },
	{ METHOD_GET, S("bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n" OTHER, "502 bare_lf") },
	{ METHOD_GET,
		S("split by a value", OK "Location: /\rSet-Cookie: a\r\n\r\n", "502 bare_cr") },
	{ METHOD_GET, S("NUL in a value", OK "Location: /\0x\r\n\r\n", "502 nul_byte") },
	{ METHOD_GET,
		S("no framing: until close", OK "\r\n" OTHER,
			"200 39=HTTP/1.1 200 OK..Content-Length: 1....y close") },
	{ METHOD_HEAD,
		S("HEAD: length says nothing", OK CL4 "\r\n" OTHER,
			"200; 200; 502 bad_status_line") },
	{ METHOD_GET,
		S("204 with length", "HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\n" OTHER,
			"204; 200 1=y") },
	{ METHOD_GET,
		S("204 with chunks",
			"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"502 te_without_body") },
	{ METHOD_GET,
		S("304 with length", "HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\n" OTHER,
			"304; 200 1=y") },
	{ METHOD_GET,
		S("100 with length", "HTTP/1.1 100 Go\r\nContent-Length: 4\r\n\r\n" OTHER,
			"100; 200 1=y") },
	{ METHOD_GET, S("101 ends HTTP", "HTTP/1.1 101 Go\r\n\r\n" OTHER, "101") },
	{ METHOD_GET, S("more than was said", OK CL4 "\r\nabcdHTTP/1.1 200", "200 4=abcd; ...") },
	{ METHOD_GET,
		S("other bytes behind", OK CL4 "\r\nabcdxyz", "200 4=abcd; 502 bad_status_line") },
	{ METHOD_GET,
		S("line end behind", OK CL4 "\r\nabcd\r\n" OTHER,
			"200 4=abcd; 502 bad_status_line") },
	{ METHOD_GET,
		S("status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "502 bad_status_line") },
	{ METHOD_GET,
		S("chunk extension with LF",
			OK "Transfer-Encoding: chunked\r\n\r\n1;\n\r\ny\r\n0\r\n\r\n",
			"200 400 bare_lf") },
};

/* Byte by byte, in sevens, and all at once. */
static void
check(const struct smuggle *s, enum method asked)
{
	const size_t steps[] = { 1, 7, s->bytes.n };

	print_message("  %s\n", s->name);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		struct peer peer = { .p = malloc(s->bytes.n), .n = s->bytes.n, .step = steps[i] };

		memcpy(peer.p, s->bytes.p, s->bytes.n);
		read_peer(&peer, asked);
		assert_string_equal(peer.seen.p, s->seen);
		sbuf_fini(&peer.seen);
		free(peer.p);
	}
}

static void
requests_have_one_reading(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		check(&requests[i], METHOD_OTHER);
}

static void
answers_have_one_reading(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
		check(&answers[i].s, answers[i].asked);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_have_one_reading),
		cmocka_unit_test(answers_have_one_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
