/*
 * conftext: the bytes of a configuration as they were when it was accepted, in memory that nobody
 * can change: a daemon that dies is started again by these, whatever its file holds by then. They
 * are never written anywhere, as they may hold secrets, and are gone with us.
 */
#ifndef PROXYCTL_CONFTEXT_H
#define PROXYCTL_CONFTEXT_H

#include "libcommon/cfg.h"
#include "proxyctl/plan.h"

struct conftext {
	char *file; /* as daemons are given it by -c */
	char hash[CFG_HASH];
	int fd; /* of a sealed memory file */
	unsigned refs;
};

/* What the file holds now; NULL with err. */
struct conftext *conftext_read(const char *file, struct err *err);
struct conftext *conftext_ref(struct conftext *t);
void conftext_free(struct conftext *t);

/* One of each file that a plan names. */
struct conftexts { /* zero-initialised is empty */
	struct conftext **v;
	size_t n;
};

/* -1 with err when one cannot be read; those that can are there all the same. */
int conftexts_read(struct conftexts *all, const struct plan *p, struct err *err);
/* NULL when there is none. hash may be NULL: any. */
struct conftext *conftexts_find(const struct conftexts *all, const char *file, const char *hash);
/* Whether all that is there of that file has that hash. */
bool conftexts_agree(const struct conftexts *all, const char *file, const char *hash);
void conftexts_fini(struct conftexts *all);

#endif
