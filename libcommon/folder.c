/*
 * folder: reads the directory anew each time; who calls decides how often.
 */
#include "libcommon/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcommon/mem.h"
#include "libcommon/sock.h"

enum { PARENT_MODE = 0755 };

int
folder_make_each(const char *path, folder_make_fn make, void *arg)
{
	struct stat st;
	const char *slash = strrchr(path, '/');

	if (stat(path, &st) < 0 && slash != NULL && slash != path) {
		char *parent = xstrndup(path, (size_t)(slash - path));
		int rc = folder_make_each(parent, make, arg);

		free(parent);
		if (rc < 0)
			return -1;
	}
	return make(arg, path);
}

struct plain {
	const char *path; /* what is asked for; all others are above it */
	mode_t mode;
};

static int
make_plain(void *arg, const char *folder)
{
	const struct plain *p = arg;

	if (strcmp(folder, p->path) == 0)
		return mkdir(folder, p->mode);
	if (mkdir(folder, PARENT_MODE) == 0)
		return chmod(folder, PARENT_MODE); /* umask is ours, the folder the system's */
	return errno == EEXIST ? 0 : -1;
}

int
folder_make(const char *path, mode_t mode)
{
	struct plain p = { .path = path, .mode = mode };

	return folder_make_each(path, make_plain, &p);
}

static int
is_visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

int
folder_list(const char *folder, struct dirent ***list)
{
	return scandir(folder, list, is_visible, alphasort);
}

static bool
is_instance(const char *name, const char *suffix)
{
	size_t n = strlen(name);
	size_t end = strlen(suffix);

	return n > end && name[0] != '.' && strcmp(name + n - end, suffix) == 0;
}

void
folder_each(
	const char *folder, const char *suffix, void (*fn)(void *arg, const char *path), void *arg)
{
	DIR *d = opendir(folder);
	const struct dirent *e;
	unsigned count = 0;

	if (d == NULL)
		return;
	while (count < FOLDER_MAX && (e = readdir(d)) != NULL) {
		char path[SOCK_PATH_MAX];
		int n;

		if (!is_instance(e->d_name, suffix))
			continue;
		n = snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (n < 0 || (size_t)n >= sizeof(path))
			continue;
		count++;
		fn(arg, path);
	}
	closedir(d);
}
