/*
 * resolve: host names to addresses, by their time to live, without ever blocking the loop (c-ares;
 * /etc/hosts counts). The last good answer stays in force while DNS fails; failures are repeated
 * with back-off. One resolver per loop; names watched more than once are asked for once.
 */
#ifndef LIBCOMMON_RESOLVE_H
#define LIBCOMMON_RESOLVE_H

#include "libcommon/addr.h"

struct loop;
struct resolver;
struct resolve_watch;

#define RESOLVE_TTL_MIN_MS (5 * 1000)
#define RESOLVE_TTL_MAX_MS (3600 * 1000)
#define RESOLVE_ADDRS_MAX  64

struct resolve_answer {
	const struct addr *addrs; /* with the watch's port; IPv4 first, then by bytes, so that the
				     order only changes when the set does */
	size_t n;                 /* 0 while there has never been a good answer */
	const char
		*error;  /* NULL when the last question was answered; a word such as "nxdomain",
			    "timeout", "dns_failed", "no_data" otherwise, with the last good addrs */
	uint64_t age_ms; /* of the last good answer */
};

/* The set of addresses, or whether there is an error, has changed. The answer is good until fn
 * returns. */
typedef void (*resolve_fn)(void *arg, const struct resolve_answer *answer);

/* NULL with err when c-ares cannot start. */
struct resolver *resolve_new(struct loop *l, struct err *err);
/* Watches must have been closed. */
void resolve_free(struct resolver *r);

/*
 * Watch a name. fn runs from the loop, never from inside this call; a name that is already known is
 * told at the end of this turn. Closing is allowed from inside fn.
 */
struct resolve_watch *resolve_watch(
	struct resolver *r, const char *name, uint16_t port, resolve_fn fn, void *arg);
void resolve_unwatch(struct resolve_watch *w);
/* What is known now. */
void resolve_get(const struct resolve_watch *w, struct resolve_answer *out);

/* Ask these servers ("127.0.0.1:5353,10.0.0.1") rather than those of /etc/resolv.conf. -1 with err
 * for a list that is not right. */
int resolve_set_servers(struct resolver *r, const char *servers, struct err *err);

struct resolve_stats {
	uint64_t queries;
	uint64_t failures;
	uint32_t names;
};
void resolve_stats(const struct resolver *r, struct resolve_stats *out);

#endif
