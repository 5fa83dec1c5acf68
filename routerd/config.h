/*
 * config: the `http` section as structs: what the schema binds. Nothing here is
 * compiled or looked up; snapshot.c does that.
 */
#ifndef ROUTERD_CONFIG_H
#define ROUTERD_CONFIG_H

#include "libcommon/daemon.h"

/* Milliseconds, at least 1. A route's own come over http's: 0 stands for "not
 * set here". */
struct timeoutcfg {
	int64_t head;      /* 10s: a whole request head, from its first byte (or from
			      accept) */
	int64_t body;      /* 60s: between two reads of a request body */
	int64_t connect;   /* 5s */
	int64_t tls;       /* 5s: the TLS handshake with a server, once connected */
	int64_t send;      /* 60s: between two writes, to either side */
	int64_t response;  /* 60s: from the request's last byte to the response head */
	int64_t read;      /* 60s: between two reads of a response body */
	int64_t keepalive; /* 75s: an idle client connection (http only, not per route) */
	int64_t tunnel;    /* 1h: an idle tunnel */
};

enum listen_from { LISTEN_TLSD, LISTEN_ADDRESS };

struct listencfg {
	const struct cfg_node *node;
	char *name;
	struct addr_spec address; /* LISTEN_ADDRESS */
	char *address_text;
	int from;     /* `from: tlsd`: Unix socket run_dir/NAME/INSTANCE.sock, PROXY v2
			 required */
	char *scheme; /* "http" or "https": what X-Forwarded-Proto says when no PROXY
			 TLV tells; NULL: http (tlsd: https) */
	struct cfg_list accept_proxy; /* struct addr_net: peers that must send a PROXY
					 v1/v2 header first; empty: none may */
	bool h2c;                     /* HTTP/2 on clear text, by prior knowledge; default on */
	int64_t backlog;
};

struct redirectcfg {
	bool is_set;
	char *scheme;   /* NULL: as it came */
	char *host;     /* NULL: as it came (port dropped when the scheme changes); may have
			   variables */
	char *path;     /* replaces path and query; NULL: both as they came; may have variables */
	int64_t status; /* 301 302 303 307 308; default 308: method and body stay */
	const struct cfg_node *node;
};

/* What is done with the fields of a message. For each name the innermost of http, host and route
 * that mentions it decides. */
struct headerset {
	struct cfg_list hide;      /* char * */
	struct cfg_list pass;      /* char *: outer levels' rules do not hold */
	struct cfg_list set;       /* struct cfg_pair; node is the value's */
	struct cfg_list add;       /* likewise */
	struct cfg_list otherwise; /* `default`: likewise */
};

/* Fields that a message may get in all. */
#define CONFIG_HEADERS_MAX 32

struct headerscfg {
	struct headerset request;
	struct headerset response;
};

#define CONFIG_RESPOND_HEADERS 10

struct respondcfg {
	bool is_set;
	int64_t status;
	/* NULL: none; for 400 and up the text of an error answer. May have variables */
	char *body;
	char *content_type;
	/* struct cfg_pair, at most CONFIG_RESPOND_HEADERS; may have variables */
	struct cfg_list headers;
	const struct cfg_node *body_node; /* where body stands */
};

struct routecfg {
	const struct cfg_node *node;
	char *path;  /* prefix on segment borders; begins with '/' */
	char *strip; /* prefix taken off before forwarding, on segment borders; without a
			slash at its end; NULL: none */
	char *pool;  /* exactly one of pool, redirect, respond, echo */
	struct redirectcfg redirect;
	struct respondcfg respond;
	bool echo;
	struct headerscfg headers;
	struct timeoutcfg timeouts;
	uint64_t max_body; /* 0: http's; UINT64_MAX: no limit (written as 0) */
};

struct hostcfg {
	const struct cfg_node *node;
	struct cfg_list names;  /* char *: "api.example.com", "*.example.com", "*"; lower
				   case, no dot at the end */
	struct cfg_list listen; /* char *: listener names; empty: all */
	struct headerscfg headers;
	struct cfg_list routes; /* struct routecfg */
};

/* What servers are told of clients' certificates: names of fields, "" for those that are not sent.
 */
struct clientcertcfg {
	const struct cfg_node *node; /* NULL: off */
	char *verify;                /* X-SSL-Client-Verify: SUCCESS, FAILED:why, NONE */
	char *subject;
	char *issuer;
	char *serial;
	char *fingerprint;
	char *san;
	char *not_before;
	char *not_after;
	char *cert;   /* PEM, percent-encoded */
	bool rfc9440; /* Client-Cert */
};

enum log_format {
	ACCESSLOG_COMBINED,
	ACCESSLOG_JSON,   /* with fields behind its own members */
	ACCESSLOG_FIELDS, /* JSON of these alone */
	ACCESSLOG_TEXT,   /* with variables */
};

struct httpcfg {
	char *user;
	int64_t workers;        /* 0: cores; CFG_RESTART */
	struct cfg_list listen; /* struct listencfg */
	struct cfg_list hosts;  /* struct hostcfg */
	struct timeoutcfg timeouts;
	struct {
		char *path; /* NULL: off; "-": stdout */
		char *format;
		enum log_format kind;
		const struct cfg_node *node; /* of a format that is a text */
		struct cfg_list fields;      /* struct cfg_pair */
		uint64_t buffer; /* bytes per worker before lines are dropped and counted; 1m */
	} access_log;
	char *acme_tokens;               /* NULL: challenges are like any other path */
	struct cfg_list trusted_proxies; /* struct addr_net */
	struct {
		bool x_forwarded; /* X-Forwarded-For/-Proto/-Host, default on */
		bool x_real_ip;   /* default on */
		bool forwarded;   /* RFC 7239, default off */
		bool via;         /* default off */
		struct clientcertcfg client_cert;
	} forward;
	struct headerscfg headers;
	struct cfg_list
		asserted; /* char *: what requests' rules set or hide, anywhere; not a key */
	struct {
		uint64_t head;           /* 32k */
		uint64_t request_line;   /* 8k */
		int64_t fields;          /* 128 */
		uint64_t body;           /* 100m; 0: no limit */
		uint64_t response_head;  /* 64k */
		int64_t connections;     /* per process; 0: from the descriptor limit */
		int64_t h2_streams;      /* requests in progress on one HTTP/2 connection; 128 */
		int64_t h2_resets;       /* cancelled in a burst, and again every 10 s; 200 */
		int64_t h2_frames;       /* frames that bring nothing, likewise; 2000 */
		uint64_t buffered;       /* per worker: all that is read and not yet sent; 512m */
		uint64_t h2_body_memory; /* per worker: bodies in HTTP/2 that nobody takes; 64m */
		uint64_t body_rate;      /* bytes per second that a request body must reach on
					    average, looked at from its 10th second on; 0: off;
					    default 64 */
	} limits;
};

/* Listeners are bits in a word (snapshot.h). */
#define CONFIG_LISTENERS_MAX 64
/* Segments of a route's path: bounds what one look-up costs. */
#define CONFIG_SEGMENTS_MAX 64

extern const struct cfg_schema httpcfg_schema;
/* What needs the whole configuration: pools that routes name exist, listeners
 * that hosts name exist, an address used twice, unreachable routes (warning).
 */
void config_check(struct cfg_ctx *ctx, struct daemon_cfg *dc);
/* The listeners that a host answers on: bit i is http->listen[i]. Unknown names
 * count for nothing. */
uint64_t config_host_listeners(const struct httpcfg *http, const struct hostcfg *host);
/* "http" or "https": what connections of a listener are when nothing else tells. */
const char *config_listen_scheme(const struct listencfg *l);

#endif
