/*
 * kept: the beginning of a request body that flows to a server as it comes, for as long as it may
 * have to go to another: a server of HTTP/2 can say that it has not looked at a request (RFC 9113
 * §8.7), whatever its method. Also the sink of what comes between two servers.
 */
#ifndef ROUTERD_KEPT_H
#define ROUTERD_KEPT_H

#include "routerd/sink.h"

struct kept {
	struct sink sink;
	struct bufs *bufs;
	struct buf *b;
	bool is_on;
	bool is_lost; /* more than is kept, or trailers: it cannot be sent again */
	bool has_end;
};

void kept_init(struct kept *k, struct bufs *bufs);
/* Bytes, and the end, as they are given to a server. */
void kept_add(struct kept *k, const char *p, size_t n);
void kept_end(struct kept *k, uint16_t trailer_count);
/* Nothing will be sent again. Fine at any time after kept_init, or zeroed. */
void kept_drop(struct kept *k);

#endif
