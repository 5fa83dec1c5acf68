/*
 * http1_int: what the files of http1 share among themselves; nobody else includes it.
 *
 * Everything that reads a head goes strictly from left to right and stops at the first wrong byte,
 * so that a refusal never depends on what follows: bytes that come in pieces are judged as the same
 * bytes in one.
 */
#ifndef LIBCOMMON_HTTP1_INT_H
#define LIBCOMMON_HTTP1_INT_H

#include "libcommon/http1.h"

/* What a byte may be part of. */
enum {
	HTTP1_TCHAR = 1,   /* token, RFC 9110 §5.6.2 */
	HTTP1_PATH = 2,    /* path without '%': pchar and '/' of RFC 3986, and "[]" */
	HTTP1_QUERY = 4,   /* query: the visible ones but '#' */
	HTTP1_VISIBLE = 8, /* 0x21 to 0x7e */
	HTTP1_HEX = 16,
	HTTP1_NAME = 32, /* registered name, as http1_host has it */
};

extern const uint8_t http1_class[256];

static inline bool
http1_is(char c, unsigned classes)
{
	return http1_class[(unsigned char)c] & classes;
}

/* A head on its way through the parser. */
struct http1_head {
	const char *at;  /* next byte to look at */
	const char *end; /* of what may be looked at: input or limit, whichever comes first */
	struct msg *m;
	struct http1_error *err;
	bool is_response;
	enum method asked; /* of a response's request */
	unsigned field_max;
};

/* Refuse: a bad response is the gateway's 502, whatever was wrong. Returns HTTP1_BAD. */
enum http1_result http1_refuse(struct http1_head *h, unsigned status, const char *reason);
/* The same with 400, or with a better word when byte c tells more than that it is not allowed. */
enum http1_result http1_refuse_byte(struct http1_head *h, char c, const char *reason);

/* Read the target at h->at up to the space behind it, where h->at is left. */
enum http1_result http1_target(struct http1_head *h);
/* What Host says, and whether that agrees with the target. All fields are in. */
enum http1_result http1_authority(struct http1_head *h);

/* What the fields say: Connection, Upgrade, Expect, and how long the body is. */
enum http1_result http1_request_fields(struct http1_head *h);
enum http1_result http1_response_fields(struct http1_head *h);

/* One line "name: value" CRLF at h->at, which is left behind it. */
enum http1_result http1_field_line(struct http1_head *h, struct field *f);

#endif
