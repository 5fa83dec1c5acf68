/*
 * supervise: child processes in the foreground: started in stages, each waiting for the one before
 * to be ready; restarted with a growing pause when they die; ended together.
 */
#ifndef PROXYCTL_SUPERVISE_H
#define PROXYCTL_SUPERVISE_H

#include "libcommon/err.h"
#include "proxyctl/site.h"

struct loop;
struct supervisor;

struct supervisor_ops {
	/* Every child is ready for the first time. */
	void (*ready)(void *arg);
	/* Told to end or to reload. */
	void (*reload)(void *arg);
};

/*
 * end_ms: how long children may take to end before they are killed. The loop is the caller's; it is
 * stopped when no child is left.
 */
struct supervisor *supervisor_new(
	struct loop *l, int64_t end_ms, const struct supervisor_ops *ops, void *arg);
void supervisor_free(struct supervisor *s);
/* argv (taken over, with its strings) runs in stage `stage`; env (may be NULL) is for it alone. */
void supervisor_add(struct supervisor *s, const char *name, unsigned stage, char **argv,
	const struct instancecfg *env);
/* Watch signals and start the first stage. */
int supervisor_start(struct supervisor *s, struct err *err);
size_t supervisor_count(const struct supervisor *s);
/* After the loop has ended: 0, or 1 or 2 when a child could not be started at first (its code). */
int supervisor_code(const struct supervisor *s);

#endif
