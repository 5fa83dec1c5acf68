/*
 * certlife: what there is to tell of certificates that are in use, in a listener or in a policy for
 * servers: events as they come and as their time passes, and lists.
 */
#ifndef TLSD_CERTLIFE_H
#define TLSD_CERTLIFE_H

#include <jansson.h>
#include <stdint.h>

#include "libcommon/sbuf.h"
#include "tlsd/certs.h"

/* What a certificate is used for. */
struct certuse {
	const char *kind; /* "listen" or "policy" */
	const char *name;
	int64_t warning_ms; /* so long before its end it is told each day; 0: never */
	bool is_waiting;    /* not served yet: another one is, until it has its staple */
};

/* It is in use now, instead of `old` (NULL: none): events. */
void certlife_loaded(const struct cert *c, const struct cert *old, const struct certuse *use);
/* It is not in use yet, for want of a staple, and `before` goes on: an event. */
void certlife_waits(const struct cert *c, const struct cert *before, const struct certuse *use);
/* Time has passed: events for what has come to pass since then. */
void certlife_passed(
	const struct cert *c, const struct certuse *use, int64_t since_s, int64_t now_s);

/* What its staple is worth at that time, a word; a good one holds. */
const char *certlife_staple_word(const struct cert *c, int64_t now_s);

/* One line of `cert list`. */
json_t *certlife_json(const struct cert *c, const struct certuse *use);
void certlife_text(const struct cert *c, const struct certuse *use, struct sbuf *out);

/* Many in a few numbers. */
struct certlife_sum {
	int64_t now_s;
	unsigned loaded;
	unsigned waiting; /* not among the others */
	unsigned expired;
	unsigned expiring;
	int64_t next; /* when the next one ends, seconds; 0: none */
};

void certlife_add(struct certlife_sum *sum, const struct cert *c, const struct certuse *use);
json_t *certlife_sum_json(const struct certlife_sum *sum);

#endif
