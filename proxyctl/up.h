/*
 * up: what up.c (what is started and told), up_reload.c (its control socket, by which `proxyctl
 * reload` changes what runs), up_older.c (daemons that run by another configuration than their file
 * holds) and up_staples.c (when staples are fetched) share. Nobody else includes it.
 */
#ifndef PROXYCTL_UP_H
#define PROXYCTL_UP_H

#include "proxyctl/plan.h"
#include "proxyctl/supervise.h"

struct ctl;
struct ctl_req;
struct older;
struct loop_timer;
struct staples;

/* A configuration that was prepared and not yet committed. */
struct candidate {
	bool is_there;
	struct site site;
	struct plan plan;
	struct conftexts texts;
};

struct up {
	const char *file; /* as the caller named it */
	const char *instance;
	struct site site;
	struct plan plan;
	struct conftexts texts; /* of the configuration in force, one of each file of the plan */
	struct loop *loop;
	struct supervisor *supervisor;
	struct ctl *ctl; /* NULL until there is a run_dir */
	uint64_t generation;
	struct candidate candidate;
	struct loop_timer *expiry;
	struct staples *staples; /* NULL until all are ready */
	struct older *older;     /* NULL until there was one */
	int64_t check_ms;        /* what a check beside us may take */
	struct ctl_req *waiting; /* whom the end of a change is told; NULL: nobody */
};

/* How long processes may take to end before they are killed. */
static inline int64_t
up_end_ms(const struct site *s)
{
	return s->common.shutdown_timeout_ms + 3000;
}

/* Give a process to the supervisor. Its file is among u->texts. */
void up_add(struct up *u, struct planned *p);

/* A command of ours beside us, which says itself what came of it: its process, or -1. c may be
 * NULL. out: where its output goes; -1: where ours does. */
pid_t up_run(const struct up *u, const char *a, const char *b, const char *c, int out);

/* Of struct supervisor_ops. */
void up_older_restarted(void *up, struct child *c);
void up_older_told(void *up, struct child *c, const char *hash);
void up_older_refused(void *up, struct child *c);
/* The configuration in force is what the files held. */
void up_older_forget(struct up *u);
/* {"hash", "on_disk", "reason"} of a process whose file held something else when it was started
 * again, a new reference; else NULL. */
struct json_t *up_older_json(const struct up *u, const char *name);
void up_older_free(struct up *u);

/* All are ready, or the configuration in force is another: staples are fetched now, and from then
 * on as it says. */
void up_staples_configure(struct up *u);
/* false: that process is none of these. */
bool up_staples_ended(struct up *u, pid_t pid, int status);
void up_staples_free(struct up *u);

/* -1 with err when somebody else has the socket. Fine to call again; does nothing while there is no
 * run_dir. */
int up_reload_open(struct up *u, struct err *err);
void up_reload_close(struct up *u);
/* Of struct supervisor_ops. */
void up_reload_settled(void *up);

#endif
