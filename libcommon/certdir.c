/* certdir: see the header. */
#include "libcommon/certdir.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "libcommon/folder.h"
#include "libcommon/mem.h"
#include "libcommon/slice.h"

/* Also when it cannot be told: opening it will say why. */
static bool
is_there(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static void
give_file(const char *dir, const char *name, certdir_fn fn, void *arg)
{
	char *cert = xasprintf("%s/%s", dir, name);
	char *key = xasprintf("%.*s.key", (int)(strlen(cert) - 4), cert);

	fn(arg, cert, is_there(key) ? key : cert);
	free(cert);
	free(key);
}

static void
give_folder(const char *dir, const char *name, certdir_fn fn, void *arg)
{
	char *cert = xasprintf("%s/%s/fullchain.pem", dir, name);
	char *key = xasprintf("%s/%s/privkey.pem", dir, name);

	if (is_there(cert))
		fn(arg, cert, key);
	free(cert);
	free(key);
}

int
certdir_each(const char *dir, certdir_fn fn, void *arg)
{
	struct dirent **list;
	int n = folder_list(dir, &list);

	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		struct slice s = slice_str(name);

		if (s.n > 4 && (slice_ends(s, SLICE(".pem")) || slice_ends(s, SLICE(".crt"))))
			give_file(dir, name, fn, arg);
		else
			give_folder(dir, name, fn, arg);
		free(list[i]);
	}
	if (n < 0)
		return -1;
	free(list);
	return 0;
}
