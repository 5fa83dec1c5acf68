/*
 * poolcfg: what several programs read of the configuration: the top level (run_dir, state_dir, ...)
 * and the pools. One schema, so that routerd and healthd cannot disagree on what a server is.
 */
#ifndef LIBCOMMON_POOLCFG_H
#define LIBCOMMON_POOLCFG_H

#include "libcommon/addr.h"
#include "libcommon/cfgbind.h"
#include "libcommon/sock.h"
#include "libcommon/tlspolicy.h"

/* What an address begins with. */
enum server_scheme { SERVER_NO_SCHEME, SERVER_HTTP, SERVER_HTTPS };

struct servercfg {
	const struct cfg_node *node;
	char *name; /* default: the address as written */
	struct addr_spec address;
	char *address_text; /* as written; begins with https:// where the pool says TLS */
	enum server_scheme scheme;
	int64_t weight; /* 0..256, default 1; 0: no new requests */
	bool backup;
	bool down;
};

enum check_kind { CHECK_NONE, CHECK_TCP, CHECK_HTTP, CHECK_GRPC };

/* What fits in one byte of length. */
#define CHECKCFG_SERVICE_MAX 255

struct checkcfg {
	const struct cfg_node *node;
	enum check_kind kind;    /* from which of `http` / `grpc` / `tcp` is there */
	bool is_tcp;             /* tcp: on */
	bool is_h2;              /* the pool speaks h2 */
	char *method;            /* http.method, default GET */
	char *path;              /* http.path, default / */
	char *host;              /* http.host or grpc.host; NULL: the server's address as written */
	char *service;           /* grpc.service; NULL: the server as a whole */
	struct cfg_list headers; /* struct cfg_pair */
	struct cfg_list status;  /* struct cfg_range, default 200-399 */
	int64_t port;            /* 0: the server's */
	int64_t interval_ms;     /* 5s */
	int64_t fast_interval_ms; /* while changing; 0: interval */
	int64_t timeout_ms;       /* 2s */
	int64_t fall;             /* 3 */
	int64_t rise;             /* 2 */
	int64_t jitter_percent;   /* 10 */
};

struct passivecfg {
	int64_t max_fails;       /* 3; 0: off */
	int64_t fail_timeout_ms; /* 10s */
};

enum pool_protocol { PROTOCOL_HTTP1, PROTOCOL_H2 };

enum balance_method { BALANCE_ROUND_ROBIN };

struct poolcfg {
	const struct cfg_node *node;
	char *name;
	int balance;
	int protocol;                 /* enum pool_protocol */
	int64_t streams;              /* requests at a time on one connection of h2, 100 */
	char *tls;                    /* a policy of upstream_tls; NULL: clear text */
	uint64_t tls_id;              /* of what the policy says; 0: clear text */
	struct cfg_list servers;      /* struct servercfg */
	int64_t keepalive;            /* idle connections kept per worker, 32 */
	int64_t keepalive_requests;   /* 0: no limit */
	int64_t idle_timeout_ms;      /* 60s */
	int64_t retries;              /* further tries after the first, 2 */
	int64_t retry_budget_percent; /* 20 of the active requests */
	int64_t retry_budget_min;     /* 3 */
	struct checkcfg check;
	struct passivecfg passive;
};

/*
 * Under run_dir stand "/bus/healthd.INSTANCE.pub" and "/LISTENER/INSTANCE.handoff". This much of a
 * socket path is left for run_dir when both names have up to 8 bytes; longer ones are refused where
 * they are bound.
 */
#define COMMONCFG_RUN_DIR_MAX (SOCK_PATH_MAX - 1 - 26)

struct commoncfg {
	char *run_dir;   /* absolute; default "run" beside the file; at most COMMONCFG_RUN_DIR_MAX
			    bytes */
	char *state_dir; /* absolute; default "state" beside the file */
	char *control_group;
	int log_level;               /* enum log_level */
	bool debug_core;             /* off: no core dumps, no debugger of the same user */
	int64_t shutdown_timeout_ms; /* 30s: how long a graceful stop waits for what is in flight */
	struct cfg_list pools;       /* struct poolcfg */
	struct uptlscfg upstream_tls;
};

extern const struct cfg_schema
	commoncfg_schema; /* top level: run_dir, state_dir, control_group,
			     log, debug, shutdown_timeout, pools, upstream_tls */

/* A row's `parse` for names that stand in paths, logs and messages: letters, digits, '.', '_' and
 * '-', at most 64 bytes, no '.' at the front. field is a char *. */
void commoncfg_check_name(
	struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field);

/* Bind the top level. Checks what its schema says, plus: pools without servers, server names used
 * twice in a pool, policies that are not there, run_dir too long for the socket paths that will
 * stand in it. */
void commoncfg_bind(struct cfg_ctx *ctx, struct commoncfg *out);
const struct poolcfg *commoncfg_pool(const struct commoncfg *c, const char *name);

#endif
