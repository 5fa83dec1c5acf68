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

static int
make_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *parent;
	int rc;

	if (slash == NULL || slash == path) {
		errno = ENOENT;
		return -1;
	}
	parent = xstrndup(path, (size_t)(slash - path));
	rc = folder_make(parent, PARENT_MODE);
	if (rc == 0)
		rc = chmod(parent, PARENT_MODE); /* umask is ours, the folder the system's */
	else if (errno == EEXIST)
		rc = 0;
	free(parent);
	return rc;
}

int
folder_make(const char *path, mode_t mode)
{
	int rc = mkdir(path, mode);

	if (rc < 0 && errno == ENOENT && make_parent(path) == 0)
		rc = mkdir(path, mode);
	return rc;
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
