/*
 * plan: which processes a configuration needs. Pure: `up` starts them, and when the configuration
 * changes, the difference of two plans is what it starts and ends.
 */
#ifndef PROXYCTL_PLAN_H
#define PROXYCTL_PLAN_H

#include "proxyctl/site.h"

struct child;

struct planned {
	char *name; /* "routerd.app1" */
	const char *program;
	const char *instance;         /* of the site */
	int role;                     /* enum instance_role */
	const char *file;             /* its configuration, of the site */
	const struct instancecfg *in; /* of the site; NULL: the configuration needs it by itself */
	unsigned stage;               /* those of one stage start together, when the one before is
					 ready */
	struct child *child;          /* whoever runs it; not looked at here */
};

struct plan {
	struct planned *v;
	size_t n;
};

/* Borrows from the site, which must outlive it. */
void plan_make(struct plan *p, const struct site *s);
void plan_fini(struct plan *p);
/* The entry that is the same process as `like`: same name, same role, same file, same
 * environment. NULL when
 * there is none. */
struct planned *plan_find(const struct plan *p, const struct planned *like);

#endif
