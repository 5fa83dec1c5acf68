/*
 * file: what write(2) leaves to its callers.
 */
#ifndef LIBCOMMON_FILE_H
#define LIBCOMMON_FILE_H

#include "libcommon/slice.h"

/* All of it, to a file that blocks; -1 with errno. */
int file_write(int fd, struct slice text);

#endif
