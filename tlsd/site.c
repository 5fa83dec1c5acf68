/*
 * site: from a bound configuration to something that workers can serve. Everything that can fail
 * does so here, with the place in the file; the sites before are not touched.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "tlsd/selfsigned.h"
#include "tlsd/site.h"

static int
passed_fd(void *arg, const char *path)
{
	return daemon_passed_fd(arg, path);
}

/* The certificate that the generation before has from the same files. */
static struct cert *
find_old(const struct site *old, const struct certcfg *cfg)
{
	const char *key = cfg->key != NULL ? cfg->key : cfg->cert;

	for (size_t i = 0; old != NULL && i < old->nlisteners; i++)
		for (size_t j = 0; j < old->listeners[i].ncerts; j++) {
			struct cert *c = old->listeners[i].certs[j];

			if (strcmp(c->cert_path, cfg->cert) == 0 && strcmp(c->key_path, key) == 0)
				return c;
		}
	return NULL;
}

static struct cert *
load_files(const struct certcfg *cfg, const struct site_env *env, struct err *err)
{
	struct cert_error e;
	struct daemon *d = (struct daemon *)(uintptr_t)env->daemon;
	struct cert *c = cert_load(cfg->cert, cfg->key, d != NULL ? passed_fd : NULL, d, &e);

	if (c != NULL)
		return c;

	struct cert *old = e.no == EACCES || e.no == EPERM ? find_old(env->old, cfg) : NULL;

	if (old == NULL) {
		*err = e.err;
		return NULL;
	}

	struct cert_error renew;

	c = cert_renew(old, &renew);
	if (c == NULL)
		err_set(err,
			"%s, and the certificate has changed; reload as a user who may read it "
			"(`proxyctl reload` passes it on). The certificate in force stays",
			e.err.text);
	return c;
}

static struct cert *
load_self_signed(const struct certcfg *cfg, const struct daemon_cfg *dc, const struct site_env *env,
	struct err *err)
{
	bool made;
	struct cert *c =
		selfsigned_get(dc->common.state_dir, &cfg->self_signed, env->uid, &made, err);

	if (c != NULL && made)
		LOG_WARN("cert_self_signed", L_STR("path", c->cert_path),
			L_STR("text",
				"a certificate was made that nobody trusts, for trials only"));
	return c;
}

static int
load_certs(struct site_listener *l, const struct daemon_cfg *dc, size_t index,
	const struct site_env *env, struct errs *errs)
{
	size_t before = errs->error_count;

	l->certs = xcalloc(l->cfg->certificates.n, sizeof(struct cert *));
	for (size_t i = 0; i < l->cfg->certificates.n; i++) {
		const struct certcfg *cfg = CFG_AT(struct certcfg, l->cfg->certificates, i);
		struct err_at at = cfg_at(dc->cfg, cfg->node);
		struct err err = { "" };
		char path[96];

		snprintf(path, sizeof(path), "tls.listen[%zu].certificates[%zu]", index, i);

		struct cert *c = cfg->cert != NULL ? load_files(cfg, env, &err)
						   : load_self_signed(cfg, dc, env, &err);

		if (c == NULL) {
			errs_add(errs, FINDING_ERROR, at, path, "%s", err.text);
			continue;
		}
		cert_warn_dates(c, at, path, errs);
		l->certs[l->ncerts++] = c;
	}
	return errs->error_count > before ? -1 : 0;
}

static int
build_ctx(struct site_listener *l, const struct site *s, const struct daemon_cfg *dc, size_t index,
	const struct site_env *env, struct errs *errs)
{
	struct err err = { "" };
	size_t bad = l->ncerts;
	char path[96];

	l->ctx = tlsctx_new(l->cfg, l->certs, l->ncerts,
		s->cfg->tickets.enabled ? env->tickets : NULL, s->cfg->tickets.rotate_ms, &bad,
		&err);
	if (l->ctx != NULL)
		return 0;

	const struct cfg_node *node = l->cfg->node;

	snprintf(path, sizeof(path), "tls.listen[%zu]", index);
	if (bad < l->ncerts) {
		node = CFG_AT(struct certcfg, l->cfg->certificates, bad)->node;
		snprintf(path, sizeof(path), "tls.listen[%zu].certificates[%zu]", index, bad);
	}
	errs_add(errs, FINDING_ERROR, cfg_at(dc->cfg, node), path, "%s", err.text);
	return -1;
}

static bool
is_wildcard(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ((const struct sockaddr_in *)sa)->sin_addr.s_addr == htonl(INADDR_ANY);
	return sa->sa_family != AF_INET6 ||
		IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

static int
open_listener(struct site_listener *l, const struct site *s, const struct daemon_cfg *dc,
	size_t index, const struct site_env *env, struct errs *errs)
{
	struct err err = { "" };
	unsigned k = 0;
	char path[64];

	for (size_t i = 0; i < index; i++)
		k += strcmp(s->listeners[i].cfg->address_text, l->cfg->address_text) == 0;
	l->listen = listens_get(env->listens, &l->cfg->address, l->cfg->address_text, k,
		(int)l->cfg->backlog, &err);
	if (l->listen == NULL) {
		snprintf(path, sizeof(path), "tls.listen[%zu].address", index);
		errs_add(errs, FINDING_ERROR, cfg_at(dc->cfg, l->cfg->node), path, "%s", err.text);
		return -1;
	}
	l->has_local = !is_wildcard(&l->listen->bound.sa);
	l->local = l->listen->bound.ss;
	return 0;
}

static int
build_listener(struct site *s, size_t index, const struct daemon_cfg *dc,
	const struct site_env *env, struct errs *errs)
{
	struct site_listener *l = &s->listeners[index];

	l->cfg = CFG_AT(struct tlslistencfg, s->cfg->listen, index);
	if (!l->cfg->is_foreign)
		l->folder = xasprintf("%s/%s", dc->common.run_dir, l->cfg->to);
	s->nlisteners = index + 1;
	if (load_certs(l, dc, index, env, errs) < 0)
		return -1;
	if (build_ctx(l, s, dc, index, env, errs) < 0)
		return -1;
	return open_listener(l, s, dc, index, env, errs);
}

struct site *
site_new(struct daemon_cfg *dc, const struct site_env *env, struct errs *errs)
{
	struct site *s = xcalloc(1, sizeof(*s));
	int rc = 0;

	atomic_init(&s->refs, 1);
	s->cfg = dc->own;
	s->generation = env->old != NULL ? env->old->generation + 1 : 1;
	s->listeners = xcalloc(s->cfg->listen.n, sizeof(*s->listeners));
	for (size_t i = 0; i < s->cfg->listen.n; i++)
		if (build_listener(s, i, dc, env, errs) < 0)
			rc = -1;
	if (rc < 0) {
		site_retire(s, env->listens);
		site_unref(s);
		return NULL;
	}
	s->dc = dc;
	return s;
}

struct site *
site_ref(struct site *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void
site_unref(struct site *s)
{
	if (s == NULL || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	for (size_t i = 0; i < s->nlisteners; i++) {
		struct site_listener *l = &s->listeners[i];

		tlsctx_free(l->ctx);
		for (size_t j = 0; j < l->ncerts; j++)
			cert_unref(l->certs[j]);
		free(l->certs);
		free(l->folder);
	}
	free(s->listeners);
	if (s->dc != NULL)
		daemon_cfg_free(s->dc);
	free(s);
}

void
site_retire(struct site *s, struct listens *listens)
{
	for (size_t i = 0; i < s->nlisteners; i++)
		if (s->listeners[i].listen != NULL)
			listen_put(s->listeners[i].listen);
	listens_sweep(listens);
}

static void
log_expired(const struct site_listener *l, const struct cert *c)
{
	char when[32];

	cert_format_time(c->not_after, when);
	LOG_WARN("cert_expired", L_STR("path", c->cert_path), L_STR("listen", l->cfg->address_text),
		L_STR("not_after", when));
}

void
site_log_expired(const struct site *s, int64_t since_s, int64_t now_s)
{
	for (size_t i = 0; i < s->nlisteners; i++)
		for (size_t j = 0; j < s->listeners[i].ncerts; j++) {
			const struct cert *c = s->listeners[i].certs[j];

			if (cert_is_expired(c, now_s) && !cert_is_expired(c, since_s))
				log_expired(&s->listeners[i], c);
		}
}

static void
log_cert(const struct site_listener *l, const struct cert *c, int64_t now)
{
	char when[32];

	cert_format_time(c->not_after, when);
	if (cert_is_expired(c, now))
		log_expired(l, c);
	else
		LOG_INFO("cert_loaded", L_STR("path", c->cert_path),
			L_STR("listen", l->cfg->address_text), L_STR("key", c->key_type),
			L_STR("not_after", when));
	if (c->is_self_signed_own)
		LOG_WARN("cert_for_trials", L_STR("path", c->cert_path),
			L_STR("listen", l->cfg->address_text),
			L_STR("text", "self-signed: clients have no reason to trust it"));
}

void
site_log_certs(const struct site *s)
{
	int64_t now = (int64_t)time(NULL);

	for (size_t i = 0; i < s->nlisteners; i++)
		for (size_t j = 0; j < s->listeners[i].ncerts; j++)
			log_cert(&s->listeners[i], s->listeners[i].certs[j], now);
}
