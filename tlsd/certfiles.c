/*
 * certfiles: see the header. What has changed is told by filestate.h: files are read only
 * when that number is another one.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "libcommon/filestate.h"
#include "libcommon/folder.h"
#include "libcommon/mem.h"
#include "tlsd/certfiles.h"

#define FILES_MAX 65536

static void
add(struct certfiles *all, const struct certcfg *cfg, char *cert, char *key, const char *ocsp)
{
	all->v = xreallocarray(all->v, all->n + 1, sizeof(*all->v));
	all->v[all->n++] = (struct certfile){
		.cert = cert,
		.key = key,
		.ocsp = ocsp != NULL ? xstrdup(ocsp) : xasprintf("%s.ocsp", cert),
		.cfg = cfg,
	};
}

void
certfiles_fini(struct certfiles *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->v[i].cert);
		free(all->v[i].key);
		free(all->v[i].ocsp);
	}
	free(all->v);
	*all = (struct certfiles){ .n = 0 };
}

/* Also when it cannot be told: opening it will say why. */
static bool
is_there(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static void
add_file(struct certfiles *all, const struct certcfg *cfg, const char *name)
{
	char *cert = xasprintf("%s/%s", cfg->dir, name);
	char *key = xasprintf("%.*s.key", (int)(strlen(cert) - 4), cert);

	if (!is_there(key)) {
		free(key);
		key = xstrdup(cert);
	}
	add(all, cfg, cert, key, NULL);
}

static void
add_folder(struct certfiles *all, const struct certcfg *cfg, const char *name)
{
	char *cert = xasprintf("%s/%s/fullchain.pem", cfg->dir, name);
	char *key = xasprintf("%s/%s/privkey.pem", cfg->dir, name);

	if (is_there(cert)) {
		add(all, cfg, cert, key, NULL);
		return;
	}
	free(cert);
	free(key);
}

static int
add_dir(struct certfiles *all, const struct certcfg *cfg, struct err *err)
{
	size_t before = all->n;
	struct dirent **list;
	int n = folder_list(cfg->dir, &list);

	if (n < 0)
		return err_set(err, "%s: cannot be listed: %s", cfg->dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		size_t len = strlen(name);
		bool is_file = len > 4 &&
			(strcmp(name + len - 4, ".pem") == 0 ||
				strcmp(name + len - 4, ".crt") == 0);

		if (all->n >= FILES_MAX)
			;
		else if (is_file)
			add_file(all, cfg, name);
		else
			add_folder(all, cfg, name);
		free(list[i]);
	}
	free(list);
	if (all->n == before)
		return err_set(err,
			"%s: has no certificate, expected NAME.pem, NAME.crt with NAME.key, or "
			"NAME/fullchain.pem with NAME/privkey.pem",
			cfg->dir);
	return 0;
}

int
certfiles_add(struct certfiles *all, const struct certcfg *cfg, struct err *err)
{
	if (cfg->dir != NULL)
		return add_dir(all, cfg, err);
	if (cfg->cert != NULL)
		add(all, cfg, xstrdup(cfg->cert), xstrdup(cfg->key != NULL ? cfg->key : cfg->cert),
			cfg->ocsp);
	return 0;
}

uint64_t
certfiles_state(const struct tlscfg *cfg)
{
	uint64_t state = FILESTATE_NONE;

	for (size_t i = 0; i < cfg->listen.n; i++) {
		const struct tlslistencfg *l = CFG_AT(struct tlslistencfg, cfg->listen, i);
		struct certfiles all = { .n = 0 };
		struct err err;

		for (size_t j = 0; j < l->certificates.n; j++)
			(void)certfiles_add(&all, CFG_AT(struct certcfg, l->certificates, j), &err);
		for (size_t j = 0; j < all.n; j++) {
			filestate_add(&state, all.v[j].cert);
			filestate_add(&state, all.v[j].key);
			filestate_add(&state, all.v[j].ocsp);
		}
		certfiles_fini(&all);
		if (l->client_auth.ca != NULL)
			filestate_add(&state, l->client_auth.ca);
		if (l->client_auth.crl != NULL)
			filestate_add(&state, l->client_auth.crl);
	}
	return state;
}
