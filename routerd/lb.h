/*
 * lb: which server gets this request? One question, answered without I/O; a
 * method is one file (lb_rr.c, ...) behind struct lb_method.
 */
#ifndef ROUTERD_LB_H
#define ROUTERD_LB_H

#include "routerd/backend.h"

#define LB_TRIED_MAX 16

struct lb_ask {
	uint64_t now_ms;
	uint64_t key; /* hashing methods: of what the route hashes; else 0 */
	const struct server *tried[LB_TRIED_MAX]; /* never again while another is left */
	unsigned tried_count;
};

enum lb_miss {
	LB_NO_SERVER, /* all are down, blocked, drained or in maintenance: 503 no_server */
	LB_ALL_TRIED, /* every usable one was tried already */
};

/*
 * Primaries first, then the backup tier (all of it balanced); `unknown` ranks
 * with up during a pool's first round of probes, afterwards behind everything.
 * Servers blocked by passive marking are skipped until their time has come;
 * then exactly one request is let through as a trial (server->trial_ms). NULL
 * with *why. Any worker's thread; holds no lock; the pointer is good for as long
 * as the request keeps its snapshot. Each pick is followed by server_begin and,
 * in the end, server_end, which is given this ask's now_ms back.
 */
struct server *lb_pick(struct pool *p, const struct lb_ask *ask, enum lb_miss *why);

#endif
