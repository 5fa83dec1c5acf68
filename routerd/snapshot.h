/*
 * snapshot: one generation of the configuration, compiled and immutable.
 * Workers pin it once each and count their own requests; it dies when the last
 * worker lets go. Runtime state (health, in flight, idle connections) is not in
 * here: it sits beside it, keyed by name, so that a reload never resets it.
 */
#ifndef ROUTERD_SNAPSHOT_H
#define ROUTERD_SNAPSHOT_H

#include "libcommon/http1.h"
#include "routerd/config.h"

struct header_rules; /* header_rules.h */
struct logformat;    /* logformat.h */
struct answer_texts; /* answer_texts.h */
struct pool;         /* backend.h */
struct route_table;  /* route.c */

enum action { ACTION_POOL, ACTION_REDIRECT, ACTION_RESPOND, ACTION_ECHO };

/* Milliseconds, all set. */
struct timeouts {
	uint32_t head, body, connect, tls, send, response, read, keepalive, tunnel;
};

struct route {
	const char *name; /* for logs: host pattern + path, "api.example.com/api/" */
	struct slice path;
	struct slice strip;
	enum action action;
	struct pool *pool; /* ACTION_POOL */
	const struct routecfg *cfg;
	struct timeouts timeouts;
	uint64_t max_body; /* UINT64_MAX: no limit */
	/* NULL: none */
	const struct header_rules *request_rules;
	const struct header_rules *response_rules;
	const struct answer_texts *texts; /* of redirect or respond; NULL: no variables in them */
};

/* A listener as requests see it. The index is stable over reloads for the same
 * name (worker.c matches sockets to it by name). */
struct listener {
	const struct listencfg *cfg;
	const char *name;
	unsigned index;      /* in snapshot->listeners: bit in host tables */
	struct slice scheme; /* "http" / "https" when the connection does not tell */
	bool needs_proxy;    /* from tlsd: a PROXY v2 header must come first */
};

struct snapshot {
	struct daemon_cfg *dc; /* owned */
	const struct httpcfg *http;
	uint64_t generation;
	_Atomic unsigned refs;
	struct arena arena;
	struct listener *listeners;
	unsigned listener_count;
	struct route_table *routes;
	struct route *route_v; /* every route, hosts in the configuration's order */
	unsigned route_count;
	struct pool **pools; /* by order in the configuration */
	unsigned pool_count;
	struct timeouts timeouts; /* http's own: what holds before a route is known */
	const struct header_rules *response_rules; /* likewise; NULL: none */
	const struct logformat *log_format;
	struct http1_limits request_limits;
	struct http1_limits response_limits;
	uint64_t max_body;
};

/* Compile; pools are not looked up yet: snapshot_set_pools does. dc is owned by the snapshot from
 * then on (also on failure: it is freed). NULL with errs. refs is 1. */
struct snapshot *snapshot_new(struct daemon_cfg *dc, uint64_t generation, struct errs *errs);
/*
 * Fill s->pools and the pool of every route: get(arg, cfg) gives one reference
 * for each pool of the configuration (backends_pool), and snapshot_unref gives
 * it back (pool_unref). Once, before any worker sees the snapshot.
 */
void snapshot_set_pools(
	struct snapshot *s, struct pool *(*get)(void *arg, const struct poolcfg *cfg), void *arg);
void snapshot_ref(struct snapshot *s);
/* Thread-safe; the last one frees. */
void snapshot_unref(struct snapshot *s);
const struct listener *snapshot_listener(const struct snapshot *s, const char *name);

#endif
