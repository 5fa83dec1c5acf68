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
	struct site *leaving; /* those before, while workers adopt the next */
	struct listens *listens;
	struct ticket_keys *tickets;
	struct sesscache *cache;
	int64_t ticket_warned_ms; /* when the file could not be used; 0: it could */
	bool is_sharing_tickets;  /* the keys in use are those of the file */
	struct announce *announce;
	struct loop_timer *ticket_timer;
	struct loop_timer *cert_timer;
	struct loop_timer *watch_timer;
	uint64_t
		files_state; /* of certificates' files when they were loaded, see certfiles_state */
	uint64_t files_last; /* at the last look */
	uint64_t candidate_state; /* when those of the prepared candidate were loaded */
	struct ctl_req *waiting;  /* whom the adoption of new certificates answers */
	int64_t certs_seen_s;     /* when expiry was last looked at */
	int64_t due_failed_s;     /* when loading what was due last failed */
	struct pool pool;
	struct worker *workers;
	unsigned nworkers;
	unsigned nstarted;
	unsigned pending;   /* orders to adopt a site that workers have not answered */
	unsigned undrained; /* workers that have sessions left */
	bool is_prepared;   /* a candidate waits for its commit */
	bool is_committing;
};

void *server_start(struct daemon *d, struct daemon_cfg *dc, struct errs *errs);
int server_run(void *self, struct err *err);
void *server_prepare(void *self, struct daemon_cfg *dc, struct errs *errs);
void server_commit(void *self, void *candidate, struct daemon_cfg *dc);
void server_discard(void *self, void *candidate);
void server_drain(void *self);
void server_cut(void *self);
void server_stop(void *self);

/*
 * Load the certificates of the configuration in force anew and serve them; where one cannot be
 * loaded, or has to wait for its staple, the old one goes on, and errs says why it could not. True
 * when workers are adopting what was loaded; *has_changed when other certificates are served then.
 */
bool server_reload_certs(struct server *s, bool *has_changed, struct errs *errs);

#endif
