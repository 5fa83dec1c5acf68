/*
 * folder: the sockets of a program's instances: RUN_DIR/NAME/<instance><suffix>.
 */
#ifndef LIBCOMMON_FOLDER_H
#define LIBCOMMON_FOLDER_H

/* Instances of one listener at most. */
#define FOLDER_MAX 256

/* fn gets the path of each socket whose name ends so; a folder that is not there has none. Names
 * that begin with a dot, and paths too long for a socket, are passed over. */
void folder_each(
	const char *folder, const char *suffix, void (*fn)(void *arg, const char *path), void *arg);

#endif
