/*
 * header: the PROXY v2 header that stands before a relayed connection's bytes.
 */
#ifndef TLSD_HEADER_H
#define TLSD_HEADER_H

#include <stddef.h>

#include "libcommon/proxyproto.h"
#include "tlsd/clientfacts.h"

struct session;

/* Room for text that is made for it. */
struct header_text {
	char id[32];
	struct clientfacts facts;
};

/* What the handshake found out. Slices point into the session, its SSL, and room. */
void header_info(const struct session *s, struct proxy_info *info, struct header_text *room);
/*
 * The same as a header, into out[0..cap); its length, at most PROXY_MAX. Others than routerd get
 * what the protocol's specification has a place for, and the certificate itself only when nginx's
 * limit has room for it.
 */
size_t header_write(const struct session *s, char *out, size_t cap);
/* For a connection that is passed through: addresses, the name asked for, the id. */
size_t header_write_pass(const struct session *s, char *out, size_t cap);

#endif
