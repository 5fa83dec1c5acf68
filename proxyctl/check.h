/*
 * check: what a program says of its part of a file.
 */
#ifndef PROXYCTL_CHECK_H
#define PROXYCTL_CHECK_H

#include "proxyctl/site.h"

/* Run `PROGRAM -t -c FILE`, with the environment of `in` (may be NULL); what it prints goes into
 * errs, and so does its not being there. Waits for it. */
void check_part(
	const char *program, const char *file, const struct instancecfg *in, struct errs *errs);

#endif
