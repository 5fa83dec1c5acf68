/*
 * accesslog: one line when the last byte of a request is gone. Workers format
 * into a ring of their own; one thread writes. A full ring drops lines and
 * counts them, never traffic. Nothing a client sends can forge a line.
 */
#ifndef ROUTERD_ACCESSLOG_H
#define ROUTERD_ACCESSLOG_H

#include "libcommon/err.h"
#include "libcommon/msg.h"
#include "libcommon/proxyproto.h"

struct accesslog;
struct accesslog_ring; /* one per worker */
struct logformat;      /* logformat.h */
struct var_source;

/* How a request went, in microseconds from its first byte; 0 when the phase was
 * not reached. */
struct access_times {
	uint64_t start_us;     /* monotonic */
	uint32_t head_us;      /* request head complete */
	uint32_t picked_us;    /* server chosen */
	uint32_t connected_us; /* connection to the server ready */
	uint32_t sent_us;      /* request's last byte handed to the kernel */
	uint32_t response_us;  /* response head complete */
	uint64_t end_us;       /* 32 bits are 71 minutes: too little for tunnels */
};

struct access_entry {
	int64_t wall_s; /* at the end of the request, as nginx has it */
	int64_t wall_start_s;
	struct slice client; /* address that forward_client found */
	struct slice peer;   /* who was connected */
	struct slice method, target, host, referer, user_agent, request_id;
	uint8_t version_major, version_minor;
	uint16_t status;        /* 0: none was sent (logged as 499 when the client left first) */
	uint64_t body_bytes;    /* sent to the client */
	uint64_t request_bytes; /* request body received */
	const char *listener, *route, *pool, *server; /* NULL: none */
	const char *termination; /* two characters as in HAProxy's: "--", "CD", "sH" ... */
	const char *reason;      /* stable word why it failed, or NULL */
	uint8_t tries;
	bool is_tls, is_reused, is_cert_verified;
	const struct proxy_cert *cert; /* what the client has shown; NULL: none */
	struct access_times t;
};

/* path NULL: off (NULL is returned without err text). "-": stdout. Starts the
 * thread. `workers` rings of `buffer` bytes, rounded up to a power of two. */
struct accesslog *accesslog_new(const char *path, size_t buffer, unsigned workers, struct err *err);
struct accesslog_ring *accesslog_ring(struct accesslog *l, unsigned worker);
/* From the worker's thread: formats straight into the ring; never blocks. s is
 * looked at only by formats with words of the operator's. */
void accesslog_write(struct accesslog_ring *r, const struct logformat *f,
	const struct access_entry *e, const struct var_source *s);
/* From the main thread: another path after a reload; NULL switches it off, and a
 * later path on again. On failure everything stays as it was. Reopen on SIGUSR1
 * (errors are logged, the old file stays). */
int accesslog_set(struct accesslog *l, const char *path, struct err *err);
void accesslog_reopen(struct accesslog *l);
/* Lines that were lost: no room in a ring, or the file could not be written. */
uint64_t accesslog_dropped(const struct accesslog *l);
/* Writes what is left, for at most a second if whoever reads it does not; ends
 * the thread. Workers have ended before. */
void accesslog_free(struct accesslog *l);

/* No line is longer: what clients send is cut. */
#define ACCESSLOG_LINE_MAX (120u << 10)

/* The pure part: one line, newline included, into out; 0 when it does not fit. */
size_t accesslog_format(char *out, size_t cap, int format, const struct access_entry *e);
/* The members of its JSON, ends with NULL. */
extern const char *const accesslog_json_keys[];

#endif
