/*
 * server: the daemon's life: what stands between daemon.c and the modules that do the work.
 */
#ifndef HEALTHD_SERVER_H
#define HEALTHD_SERVER_H

#include "healthd/publish.h"
#include "healthd/schedule.h"
#include "healthd/target.h"

/* What control.c reads. */
struct server {
	struct daemon *d;
	struct daemon_cfg *dc;
	struct loop *loop;
	struct resolver *resolver;
	struct target_set set;
	struct schedule *schedule;
	struct publish *publish;
	struct bus *bus;
	char *who;
	char *bus_dir;
	uint64_t evidence;      /* messages */
	uint64_t evidence_bad;  /* that could not be decoded */
	uint64_t evidence_idle; /* about servers that are not probed here */
};

void *server_start(struct daemon *d, struct daemon_cfg *dc, struct errs *errs);
int server_run(void *self, struct err *err);
void *server_prepare(void *self, struct daemon_cfg *dc, struct errs *errs);
void server_commit(void *self, void *candidate, struct daemon_cfg *dc);
void server_discard(void *self, void *candidate);
void server_drain(void *self);
void server_stop(void *self);

#endif
