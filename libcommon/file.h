/*
 * file: what write(2) and rename(2) leave to their callers.
 */
#ifndef LIBCOMMON_FILE_H
#define LIBCOMMON_FILE_H

#include "libcommon/slice.h"

/* All of it, to a file that blocks; -1 with errno. */
int file_write(int fd, struct slice text);
/* So that what was renamed in it is there after a crash, too; -1 with errno. */
int file_sync_folder(const char *dir);

#endif
