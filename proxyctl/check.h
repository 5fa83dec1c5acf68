/*
 * check: what a program says of its part of a file.
 */
#ifndef PROXYCTL_CHECK_H
#define PROXYCTL_CHECK_H

#include "proxyctl/site.h"

/* Run `PROGRAM -t -c FILE`, in this role (enum instance_role), with the environment of `in` (may be
 * NULL); what it prints goes into errs, and so does its not being there. Waits for it. */
void check_part(const char *program, int role, const char *file, const struct instancecfg *in,
	struct errs *errs);
/* What all programs say of the file and of those of its instances, and what lies between their
 * parts; sorted into s->errs, where the findings of what is bound here stand already. */
void check_all(struct site *s, const char *file);

#endif
