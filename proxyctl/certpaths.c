/* certpaths: see the header. */
#include "proxyctl/certpaths.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/folder.h"
#include "libcommon/mem.h"

static char *
path_at(const struct cfg *cfg, struct arena *a, const struct cfg_node *map, const char *key)
{
	const struct cfg_node *n = cfg_get(map, key);

	return n != NULL && n->kind == CFG_SCALAR && n->text.n > 0 ? cfg_path(cfg, a, n->text)
								   : NULL;
}

/* NAME.pem, NAME.crt, NAME/fullchain.pem. */
static void
each_inside(const char *dir, struct arena *a, certpaths_fn fn, certpaths_unlisted_fn unlisted,
	void *arg)
{
	struct dirent **list;
	int n = folder_list(dir, &list);

	if (n < 0) {
		unlisted(arg, dir, strerror(errno));
		return;
	}
	for (int i = 0; i < n; i++) {
		struct slice name = slice_str(list[i]->d_name);
		bool is_file = slice_ends(name, SLICE(".pem")) || slice_ends(name, SLICE(".crt"));
		char *path = arena_printf(
			a, "%s/%s%s", dir, list[i]->d_name, is_file ? "" : "/fullchain.pem");

		if (is_file || access(path, F_OK) == 0)
			fn(arg, path, NULL);
		free(list[i]);
	}
	free(list);
}

void
certpaths_each(const struct cfg *cfg, certpaths_fn fn, certpaths_unlisted_fn unlisted, void *arg)
{
	const struct cfg_node *all = cfg_get(cfg_get(cfg->root, "tls"), "listen");
	struct arena a;

	arena_init(&a, 0);
	for (const struct cfg_node *l = all ? all->first : NULL; l != NULL; l = l->next) {
		const struct cfg_node *certs = cfg_get(l, "certificates");

		for (const struct cfg_node *c = certs ? certs->first : NULL; c != NULL;
			c = c->next) {
			const char *cert = path_at(cfg, &a, c, "cert");
			const char *dir = path_at(cfg, &a, c, "dir");

			if (cert != NULL)
				fn(arg, cert, path_at(cfg, &a, c, "ocsp"));
			else if (dir != NULL)
				each_inside(dir, &a, fn, unlisted, arg);
		}
	}
	arena_fini(&a);
}
