/*
 * exchange_h1: an exchange on an HTTP/1 connection, which is its own for as long as it lasts.
 */
#ifndef ROUTERD_EXCHANGE_H1_H
#define ROUTERD_EXCHANGE_H1_H

#include "routerd/exchange.h"
#include "routerd/h1_in.h"
#include "routerd/h1_out.h"

struct upstream;

struct exchange_h1 {
	struct exchange x;
	struct worker *w;
	struct upstream *u;
	const struct poolcfg *pool;
	uint8_t phase;
	struct http1_scan scan;
	struct h1_in in;
	struct h1_out out;
};

/*
 * On an idle connection, or a new one. x is memory of the caller's, good until the turn of the loop
 * in which done is called has ended. 1: opened already; 0: `opened` or `failed` will come; -1 with
 * errno: there is no exchange.
 */
int exchange_h1_open(struct exchange_h1 *x, const struct exchange_open *how);

#endif
