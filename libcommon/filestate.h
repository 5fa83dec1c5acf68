/*
 * filestate: have files changed? Told by what stat(2) says of them (device, inode, size, times),
 * mixed into one number: nothing is opened or read.
 */
#ifndef LIBCOMMON_FILESTATE_H
#define LIBCOMMON_FILESTATE_H

#include <stdint.h>

/* Of no file. */
#define FILESTATE_NONE 14695981039346656037u

/* The file's path and state, into the number; one that is not there has a state, too. */
void filestate_add(uint64_t *state, const char *path);

#endif
