/*
 * h2_field: what RFC 9113 §8.2 asks of a field line, requests and answers alike. Strict, one
 * reading only: what HTTP/1 could read in another way is refused here, so that it never gets into a
 * head that we write. Pure: no socket, no clock, no nghttp2.
 */
#ifndef ROUTERD_H2_FIELD_H
#define ROUTERD_H2_FIELD_H

#include "libcommon/http1.h"

/* Of a field line in HTTP/1, what is not name and value: ": " and CRLF. Limits count it, too. */
#define H2_FIELD_EXTRA 4

/* What is wrong, as a reason word, or NULL. §8.2.1: a token without capitals. */
const char *h2_name_fault(struct slice name);
/* §8.2.1: nothing that HTTP/1 would not take, and no blanks around it. */
const char *h2_value_fault(struct slice value);
/* §8.2.2: what speaks of the connection has no place here. TE may say "trailers", in requests. */
const char *h2_connection_fault(enum field_id id, struct slice value, bool is_answer);

/* Flags of struct field: what must not cross a proxy is marked MSG_FIELD_DROP, and so is what
 * others might take for framing; in trailers all that decides framing, routing or identity. */
uint16_t h2_field_flags(enum field_id id, struct slice name, bool is_trailer);

#endif
