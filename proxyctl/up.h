/*
 * up: what up.c (what is started and told) and up_reload.c (its control socket, by which `proxyctl
 * reload` changes what runs) share. Nobody else includes it.
 */
#ifndef PROXYCTL_UP_H
#define PROXYCTL_UP_H

#include "proxyctl/plan.h"
#include "proxyctl/supervise.h"

struct ctl;
struct ctl_req;
struct loop_timer;

/* A configuration that was prepared and not yet committed. */
struct candidate {
	bool is_there;
	struct site site;
	struct plan plan;
};

struct up {
	const char *file; /* as the caller named it */
	const char *instance;
	struct site site;
	struct plan plan;
	struct loop *loop;
	struct supervisor *supervisor;
	struct ctl *ctl; /* NULL until there is a run_dir */
	uint64_t generation;
	struct candidate candidate;
	struct loop_timer *expiry;
	struct loop_timer *ocsp; /* the next `ocsp refresh`; NULL until all are ready */
	struct ctl_req *waiting; /* whom the end of a change is told; NULL: nobody */
};

/* How long processes may take to end before they are killed. */
static inline int64_t
up_end_ms(const struct site *s)
{
	return s->common.shutdown_timeout_ms + 3000;
}

/* Give a process to the supervisor. */
void up_add(struct up *u, struct planned *p);

/* Staples are fetched now, and then as the configuration in force says. */
void up_refresh_ocsp(struct up *u);

/* -1 with err when somebody else has the socket. Fine to call again; does nothing while there is no
 * run_dir. */
int up_reload_open(struct up *u, struct err *err);
void up_reload_close(struct up *u);
/* Of struct supervisor_ops. */
void up_reload_settled(void *up);

#endif
