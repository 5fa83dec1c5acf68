/*
 * certfiles: see the header. What has changed is told by filestate.h: files are read only
 * when that number is another one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/certdir.h"
#include "libcommon/filestate.h"
#include "libcommon/mem.h"
#include "tlsd/certfiles.h"

#define FILES_MAX 65536

static void
add(struct certfiles *all, const struct certcfg *cfg, const char *cert, const char *key,
	const char *ocsp)
{
	all->v = xreallocarray(all->v, all->n + 1, sizeof(*all->v));
	all->v[all->n++] = (struct certfile){
		.cert = xstrdup(cert),
		.key = xstrdup(key),
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

/* Of a folder. */
struct adding {
	struct certfiles *all;
	const struct certcfg *cfg;
};

static void
add_found(void *arg, const char *cert, const char *key)
{
	const struct adding *a = arg;

	if (a->all->n < FILES_MAX)
		add(a->all, a->cfg, cert, key, NULL);
}

static int
add_dir(struct certfiles *all, const struct certcfg *cfg, struct err *err)
{
	size_t before = all->n;
	struct adding a = { all, cfg };

	if (certdir_each(cfg->dir, add_found, &a) < 0)
		return err_set(err, "%s: cannot be listed: %s", cfg->dir, strerror(errno));
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
		add(all, cfg, cfg->cert, cfg->key != NULL ? cfg->key : cfg->cert, cfg->ocsp);
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
