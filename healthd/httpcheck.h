/*
 * httpcheck: what an HTTP probe asks for and what it expects, whatever the version that it is asked
 * in.
 */
#ifndef HEALTHD_HTTPCHECK_H
#define HEALTHD_HTTPCHECK_H

#include "healthd/probe.h"

/* The statuses that are good: a copy, since a reload may take the check away. */
struct httpcheck {
	struct cfg_range *good;
	size_t good_count;
};

void httpcheck_init(struct httpcheck *h, const struct checkcfg *c);
void httpcheck_fini(struct httpcheck *h);
/* The verdict for an answer with this status. drain: as in probe_finish. */
void httpcheck_judge(struct probe *p, const struct httpcheck *h, unsigned status, bool drain);

/* Whom the probe asks: `host` of the check, or the server's address without its scheme. */
const char *httpcheck_host(const struct probe_to *to);
/* Call fn for each field but those of the protocol itself: ours that the check has not, at most
 * HTTPCHECK_OURS, then the check's. */
#define HTTPCHECK_OURS 2
void httpcheck_fields(const struct checkcfg *c,
	void (*fn)(void *arg, const char *name, const char *value), void *arg);

#endif
