/*
 * folder: making one, listing one, and what programs' instances have in theirs:
 * RUN_DIR/NAME/<instance><suffix>.
 */
#ifndef LIBCOMMON_FOLDER_H
#define LIBCOMMON_FOLDER_H

#include <sys/types.h>

/* mkdir(2), and those above it that are missing, with mode 0755: they belong to the system. No
 * slash at the end of path. */
int folder_make(const char *path, mode_t mode);
/* The same by `make`, which makes one folder: those above that are missing, from the top, and then
 * path, be it there or not. -1 at the first that fails. */
typedef int (*folder_make_fn)(void *arg, const char *folder);
int folder_make_each(const char *path, folder_make_fn make, void *arg);

/* Its entries, sorted, without those that begin with a dot: scandir(3), whose the memory is. */
struct dirent;
int folder_list(const char *folder, struct dirent ***list);

/* Instances of one listener at most. */
#define FOLDER_MAX 256

/* fn gets the path of each socket whose name ends so; a folder that is not there has none. Names
 * that begin with a dot, and paths too long for a socket, are passed over. */
void folder_each(
	const char *folder, const char *suffix, void (*fn)(void *arg, const char *path), void *arg);

#endif
