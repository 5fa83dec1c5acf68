/*
 * folder: reads the directory anew each time; who calls decides how often.
 */
#include "libcommon/folder.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/sock.h"

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
