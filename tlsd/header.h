/*
 * header: the PROXY v2 header that stands before a relayed connection's bytes.
 */
#ifndef TLSD_HEADER_H
#define TLSD_HEADER_H

#include <stddef.h>

#include "libcommon/proxyproto.h"

struct session;

#define HEADER_ID 32

/* What the handshake found out. Slices point into the session, its SSL, and id[HEADER_ID]. */
void header_info(const struct session *s, struct proxy_info *info, char *id);
/* The same as a header, into out[0..cap); its length, at most PROXY_MAX. */
size_t header_write(const struct session *s, char *out, size_t cap);
/* For a connection that is passed through: addresses, the name asked for, the id. */
size_t header_write_pass(const struct session *s, char *out, size_t cap);

#endif
