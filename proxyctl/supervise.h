/*
 * supervise: child processes in the foreground: started in stages, each waiting for the one before
 * to be ready; restarted with a growing pause when they die; ended together. Listeners that a child
 * gives us (fdstore.h) are kept for the next process, for some seconds.
 */
#ifndef PROXYCTL_SUPERVISE_H
#define PROXYCTL_SUPERVISE_H

#include <sys/types.h>

#include "libcommon/err.h"
#include "proxyctl/child.h"

struct loop;
struct supervisor;

struct supervisor_ops {
	/* Every child is ready for the first time. */
	void (*ready)(void *arg);
	/* Told to reload. */
	void (*reload)(void *arg);
	/* After supervisor_change: all that were added are ready or have failed. */
	void (*settled)(void *arg);
	/* A process of ours that is no child of the supervisor's, with what waitpid says. */
	void (*ended)(void *arg, pid_t pid, int status);
	/* A child says that it runs by other bytes than it was started by. */
	void (*other_config)(void *arg, struct child *c, const char *hash);
	/* One that was ready and died is there again. */
	void (*restarted)(void *arg, struct child *c);
	/* One that was ready and died cannot be started by its configuration. */
	void (*refused)(void *arg, struct child *c);
};

/*
 * end_ms: how long children may take to end before they are killed. The loop is the caller's; it is
 * stopped when no child is left.
 */
struct supervisor *supervisor_new(
	struct loop *l, int64_t end_ms, const struct supervisor_ops *ops, void *arg);
void supervisor_free(struct supervisor *s);
/* argv (taken over, with its strings) runs in stage `stage`; env (may be NULL) is for it alone, and
 * is read again when it is started again; so is text. */
struct child *supervisor_add(struct supervisor *s, const char *name, unsigned stage, char **argv,
	const struct instancecfg *env, struct conftext *text);
/* Watch signals and start the first stage. */
int supervisor_start(struct supervisor *s, struct err *err);
/*
 * While all run: remove children (they are told to end, and killed end_ms later), add others, and
 * then start these: each when no other of its name is left. One of these that cannot be started is
 * not tried again, and the others go on. Those that pause before they are started again are started
 * at once.
 */
void supervisor_remove(struct supervisor *s, struct child *c);
void supervisor_change(struct supervisor *s, int64_t end_ms);
/* As SIGTERM, but a second time is no more than the first. */
void supervisor_end(struct supervisor *s);
/* All have been ready once, and nobody said to end. */
bool supervisor_is_ready(const struct supervisor *s);
size_t supervisor_count(const struct supervisor *s);
/* After the loop has ended: 0, or 1 or 2 when a child could not be started at first (its code). */
int supervisor_code(const struct supervisor *s);

#endif
