/*
 * program: our other programs, found beside this one's own file or else on PATH, and what they
 * print.
 */
#ifndef PROXYCTL_PROGRAM_H
#define PROXYCTL_PROGRAM_H

#include "libcommon/err.h"
#include "libcommon/sbuf.h"

/* A path for execvp; the caller frees it. */
char *program_path(const char *name);
/*
 * Run argv and collect its standard output; standard error is ours. Returns the exit code, or -1
 * with err when it could not be run or was killed.
 */
int program_run(char *const *argv, struct sbuf *out, struct err *err);

#endif
