/*
 * verdict: is this server to be used? One pure function merges what is known: probe facts from any
 * number of probers, passive evidence, the operator's decisions, the configuration and DNS.
 * Everyone who shows or applies a verdict uses it, so all agree. No clock, no fd, no heap: times
 * are monotonic milliseconds of the caller's clock.
 */
#ifndef LIBCOMMON_VERDICT_H
#define LIBCOMMON_VERDICT_H

#include "libcommon/busmsg.h"
#include "libcommon/overrides.h"

enum verdict { VERDICT_UNKNOWN, VERDICT_UP, VERDICT_DOWN, VERDICT_DRAIN, VERDICT_MAINT };
const char *verdict_name(enum verdict v); /* "unknown" "up" "down" "drain" "maint" */

/* Of a pool's servers, those with the lowest rank are picked from; NEVER ones are not. */
enum verdict_rank {
	VERDICT_BEST,        /* up, or unknown while the first round of probes goes on */
	VERDICT_LAST_RESORT, /* unknown afterwards: only if nothing better is there */
	VERDICT_NEVER,
};

/* One prober's word on one server, as last heard. Zero: never heard of. */
#define VERDICT_REASON_MAX 48
struct verdict_fact {
	uint64_t who;        /* hash of the prober's name; 0: this place is free */
	uint64_t heard_ms;   /* when the message came */
	uint64_t since_ms;   /* state since, in our clock */
	uint64_t failing_ms; /* first failure of the present run, in our clock; 0: none */
	uint64_t probe_ms;   /* last probe, in our clock */
	uint32_t ttl_ms;
	uint32_t rise;
	uint32_t fall;
	enum probe_state state;
	bool is_probed;
	bool is_round_done; /* the pool's first round, as this prober says */
	char reason[VERDICT_REASON_MAX];
};

/* Probers remembered per server; a fifth replaces the one that has been silent the longest, if past
 * its ttl. */
#define VERDICT_PROBERS 4
struct verdict_probes {
	struct verdict_fact v[VERDICT_PROBERS];
};

/*
 * Take over what message m, received at now_ms, says of server s. A prober that does not know (yet:
 * it has just started) never overwrites what was known: that stands and goes on ageing.
 */
void verdict_adopt(struct verdict_probes *p, const struct busmsg *m, const struct busmsg_server *s,
	uint64_t now_ms);

/* What requests themselves say; the caller counts, this judges. */
struct verdict_passive {
	uint64_t fail_timeout_ms;  /* of the pool, also the distance between trial requests */
	uint64_t blocked_until_ms; /* too many failures: skipped until then, then one trial
				      request decides; 0: not blocked */
	uint64_t last_success_ms;  /* when the youngest request that succeeded was (best: its
				      start); 0: never */
	uint64_t last_trial_ms;    /* when the last trial request was let through; 0: never */
};

struct verdict_in {
	uint64_t now_ms;
	bool is_checked; /* the pool has a check */
	const struct verdict_probes *probes;
	struct verdict_passive passive;
	struct override_effect override;
	bool is_config_down;
	bool has_address; /* DNS has, or had, an answer; true for literal addresses */
	uint32_t weight;  /* configured, 0..256 */
};

struct verdict_out {
	enum verdict verdict;
	enum verdict_rank rank;
	/* Down, but one request may go there now to find out: the caller picks it for one request,
	 * sets last_trial_ms, and asks again. rank is BEST then. */
	bool is_trial;
	bool is_stale;      /* probes said so, but every prober has been silent past its ttl */
	uint32_t weight;    /* effective; 0: no new requests, whatever the rank */
	const char *reason; /* a word; static or into in->probes / in->override */
	uint64_t age_ms;    /* how old the newest probe fact is; 0 when none counts */
	uint64_t next_ms;   /* when to ask again though nothing new was heard; 0: no need */
};

/*
 * The rules, strongest first:
 *  - `down` in the configuration, or disabled by the operator: maint. Drained: drain. Neither gets
 *    new requests.
 *  - No address: down (no_address).
 *  - Blocked by passive evidence: down (passive), whatever probes say. Once the block has passed, a
 *    trial, unless probes that are still heard say down.
 *  - No check: up.
 *  - Probers that are heard (within their ttl) and know vote; down needs more than half of them.
 * When none is left, what was heard last stands (is_stale); a server that is down then gets one
 * trial request per fail_timeout.
 *  - Fresh successes (within fail_timeout) overrule a down that probes alone report (reason
 *    passive_veto): when probes cannot connect while requests, begun since the first of these
 *    failures, succeed, the fault is the prober's view. An answer that says "not well" (http_503,
 *    timeout) is the server's own word and is never overruled; a stale down of any kind is.
 *  - Unknown ranks with up until the pool's first round of probes has ended.
 */
void verdict_merge(const struct verdict_in *in, struct verdict_out *out);

#endif
