/* certpaths: see the header. */
#include "proxyctl/certpaths.h"

#include <errno.h>
#include <string.h>

#include "libcommon/certdir.h"

static char *
path_at(const struct cfg *cfg, struct arena *a, const struct cfg_node *map, const char *key)
{
	const struct cfg_node *n = cfg_get(map, key);

	return n != NULL && n->kind == CFG_SCALAR && n->text.n > 0 ? cfg_path(cfg, a, n->text)
								   : NULL;
}

struct found {
	certpaths_fn fn;
	void *arg;
};

static void
tell(void *arg, const char *cert, const char *key)
{
	const struct found *f = arg;

	f->fn(f->arg, &(struct certpath){ .cert = cert, .key = key });
}

void
certpaths_each(const struct cfg *cfg, certpaths_fn fn, certpaths_unlisted_fn unlisted, void *arg)
{
	const struct cfg_node *all = cfg_get(cfg_get(cfg->root, "tls"), "listen");
	struct found inside = { fn, arg };
	struct arena a;

	arena_init(&a, 0);
	for (const struct cfg_node *l = all ? all->first : NULL; l != NULL; l = l->next) {
		const struct cfg_node *certs = cfg_get(l, "certificates");

		for (const struct cfg_node *c = certs ? certs->first : NULL; c != NULL;
			c = c->next) {
			struct certpath p = {
				.cert = path_at(cfg, &a, c, "cert"),
				.key = path_at(cfg, &a, c, "key"),
				.staple = path_at(cfg, &a, c, "ocsp"),
			};
			const char *dir = path_at(cfg, &a, c, "dir");

			if (p.key == NULL)
				p.key = p.cert;
			if (p.cert != NULL)
				fn(arg, &p);
			else if (dir != NULL && certdir_each(dir, tell, &inside) < 0)
				unlisted(arg, dir, strerror(errno));
		}
	}
	arena_fini(&a);
}
