/*
 * busmsg: the messages that travel on the bus <-> bytes. `topic SP json`; topics are health.POOL,
 * evidence.POOL and hello.PROGRAM. A message carries state, not change: losing one hurts until the
 * next heartbeat. Pure: no fd, no clock, no log. Whatever is decoded is hostile until it has
 * passed.
 *
 * Times are ages ("how long ago when it was sent"), so that the sender's clock never matters; the
 * receiver subtracts them from its own monotonic clock.
 */
#ifndef LIBCOMMON_BUSMSG_H
#define LIBCOMMON_BUSMSG_H

#include "libcommon/err.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"

#define BUSMSG_VERSION     1
#define BUSMSG_BYTES_MAX   (64u << 10) /* topic and body */
#define BUSMSG_SERVERS_MAX 256         /* in one shard */
#define BUSMSG_SHARDS_MAX  4096
#define BUSMSG_NAME_MAX    320 /* bytes of a pool's, server's or sender's name, and of an address */
#define BUSMSG_WORD_MAX    40  /* bytes of a reason word */
#define BUSMSG_TTL_MAX     (10 * 60 * 1000)

enum busmsg_kind { BUSMSG_HEALTH, BUSMSG_EVIDENCE, BUSMSG_HELLO };

/* What probes say of a server. */
enum probe_state { PROBE_UNKNOWN, PROBE_UP, PROBE_DOWN };

struct busmsg_server {
	const char *name;
	const char *address; /* as configured: "127.0.0.1:9001", "app1.internal:3000" */
	enum probe_state state;
	const char
		*reason;   /* a word such as "http_503", "connect_refused"; "" when there is none */
	uint64_t since_ms; /* how long it has been in this state */
	uint64_t failing_ms;   /* how long ago the present run of failed probes began; 0 while none
				  fails */
	uint64_t probe_age_ms; /* how long ago the last probe ended; 0 when is_probed is false */
	uint32_t rise;         /* successes in a row */
	uint32_t fall;         /* failures in a row */
	bool is_probed;        /* at least one probe has ended */
};

struct busmsg_evidence {
	const char *name;
	const char *address;
	const char *reason; /* of the last failure */
	uint32_t fails;     /* passive failures since the last message */
};

struct busmsg {
	enum busmsg_kind kind;
	const char *subject; /* the topic's second part: the pool, or the program */
	const char *who;     /* "healthd.0" */
	const char *epoch;   /* boot id and random: differs after each start of the sender */
	uint64_t seq;        /* grows with each message of this sender, over all topics */
	uint32_t ttl_ms;     /* counted from receipt */
	/* health, evidence */
	uint32_t shard; /* 0 .. shards - 1 */
	uint32_t shards;
	bool is_round_done; /* health: every probed server of the pool has had its first probe */
	struct busmsg_server *servers;    /* health */
	struct busmsg_evidence *evidence; /* evidence */
	size_t count;                     /* of servers or evidence */
	/* hello */
	const char *version;
	const char *config; /* hash of the configuration in force */
};

/*
 * Append `topic SP json` to out. -1 with err, and nothing appended, when a limit above is broken or
 * a name is not valid: healthd then makes smaller shards.
 */
int busmsg_encode(const struct busmsg *m, struct sbuf *out, struct err *err);

/*
 * Decode one message; its strings and arrays live in the arena. -1 with err on anything that is not
 * exactly such a message: unknown versions, missing or mistyped members, text that is too long or
 * has control characters, more servers than allowed. Members that are not known are ignored, so
 * that a newer sender can add some.
 */
int busmsg_decode(struct slice bytes, struct arena *a, struct busmsg *m, struct err *err);

/* Upper bound of what one server adds to a health message: for cutting shards. */
size_t busmsg_server_bytes(const char *name, const char *address);

/* Is it a word of a-z, 0-9 and _, at most BUSMSG_WORD_MAX long (may be empty)? */
bool busmsg_is_word(const char *s);

const char *probe_state_name(enum probe_state s); /* "unknown" "up" "down" */

#endif
