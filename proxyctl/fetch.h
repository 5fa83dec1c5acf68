/*
 * fetch: one HTTP POST to a stranger, with a deadline and a bound on what is taken. The only place
 * from which this project goes out by itself.
 */
#ifndef PROXYCTL_FETCH_H
#define PROXYCTL_FETCH_H

#include <stddef.h>
#include <stdint.h>

#include "libcommon/err.h"

struct fetch {
	const char *url;  /* http://HOST[:PORT]/PATH */
	const char *type; /* of what is sent */
	const char *want; /* of what may come back */
	const unsigned char *body;
	size_t body_n;
	int64_t timeout_ms; /* for all of it, but for what the resolver takes */
};

/* The response's body into out[0..cap); its length. With err: FETCH_WRONG for an answer that is not
 * taken, FETCH_SILENT when there was none to wait for. Redirects are not followed, and no proxy is
 * asked. */
enum { FETCH_WRONG = -1, FETCH_SILENT = -2 };
long fetch_post(const struct fetch *f, unsigned char *out, size_t cap, struct err *err);

/* "http://host:port" of a URL: what is not asked again when it did not answer. NULL when it is no
 * such URL; for free(). */
char *fetch_origin(const char *url);

#endif
