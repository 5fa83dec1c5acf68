/*
 * server: tlsd as a whole on the main thread: the site in force, the workers, the ticket keys. What
 * main's table of a daemon points to.
 */
#ifndef TLSD_SERVER_H
#define TLSD_SERVER_H

#include "libcommon/daemon.h"
#include "tlsd/site.h"
#include "tlsd/worker.h"

struct server {
	struct daemon *daemon;
	struct site *site;
	struct site *leaving; /* the one before, while workers adopt the next */
	struct listens *listens;
	struct ticket_keys *tickets;
	struct announce *announce;
	struct loop_timer *ticket_timer;
	struct loop_timer *cert_timer;
	int64_t certs_seen_s; /* when expiry was last looked at */
	struct pool pool;
	struct worker *workers;
	unsigned nworkers;
	unsigned nstarted;
	unsigned pending; /* workers that have not adopted, or not drained, yet */
	bool is_committing;
};

void *server_start(struct daemon *d, struct daemon_cfg *dc, struct errs *errs);
int server_run(void *self, struct err *err);
void *server_prepare(void *self, struct daemon_cfg *dc, struct errs *errs);
void server_commit(void *self, void *candidate, struct daemon_cfg *dc);
void server_discard(void *self, void *candidate);
void server_drain(void *self);
void server_stop(void *self);

/* Monotonic milliseconds, for the ticket keys' schedule. */
int64_t server_now_ms(void);

#endif
