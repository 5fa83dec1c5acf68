/*
 * status: what is known of pools, servers, workers and listeners, as JSON and as
 * text. Reads only; main thread.
 */
#ifndef ROUTERD_STATUS_H
#define ROUTERD_STATUS_H

#include "libcommon/sbuf.h"
#include "routerd/backend.h"
#include "routerd/busio.h"
#include "routerd/config.h"
#include "routerd/worker.h"

struct json_t;

/* What a status is made of; busio may be NULL. */
struct status_of {
	const struct backends *backends;
	const struct workers *workers;
	const struct busio *busio;
	const struct httpcfg *http;
	uint64_t log_dropped;
};

void status_json(const struct status_of *s, struct json_t *object);
void status_text(const struct status_of *s, struct sbuf *out);

/* One pool: an object as in status' "pools"; a new reference. */
struct json_t *status_pool_json(const struct pool *p);
void status_pool_text(const struct pool *p, struct sbuf *out);

/* HAProxy's `show servers state`, format 1: its head, and the lines of one pool;
 * be_id counts from 1. */
void status_state_head(struct sbuf *out);
void status_state_pool(const struct pool *p, unsigned be_id, struct sbuf *out);

#endif
