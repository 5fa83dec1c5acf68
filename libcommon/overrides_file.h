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
/* Replaces *o when the text is right; leaves it alone and returns -1 when not. */
int overrides_parse(struct overrides *o, const char *name, struct slice text, struct err *err);
/* As it is written: YAML that people can read, and overrides_parse reads back. */
void overrides_format(const struct overrides *o, struct sbuf *out);

#endif
