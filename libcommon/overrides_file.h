/*
 * overrides_file: the file behind overrides.h, for overrides*.c and their tests alone.
 */
#ifndef LIBCOMMON_OVERRIDES_FILE_H
#define LIBCOMMON_OVERRIDES_FILE_H

#include "libcommon/overrides.h"
#include "libcommon/sbuf.h"

#define OVERRIDES_NAME "overrides.yaml"

void override_fini(struct override *v);
/* The whole file; one that is not there is empty. */
int overrides_slurp(const char *path, struct sbuf *text, struct err *err);

#endif
