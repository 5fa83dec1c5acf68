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
#include "libcommon/units.h"
#include "tlsd/certfiles.h"
#include "tlsd/certwait.h"
#include "tlsd/selfsigned.h"
#include "tlsd/site.h"

static int
passed_fd(void *arg, const char *path)
{
	return daemon_passed_fd(arg, path);
}

/* In the generation before. */
static struct certheld
find_held(const struct site *old, const char *cert, const char *key)
{
	return certheld_find(old != NULL ? &old->held : NULL, cert, key);
}

/* What was read from the files the last time. */
static struct cert *
last_of(const struct certheld *h)
{
	return h->waiting != NULL ? h->waiting : h->served;
}

/* It is what would be read from the files now. */
static bool
is_current(const struct cert *c, const struct certfile *f)
{
	return c != NULL && c->ocsp_path != NULL && strcmp(c->ocsp_path, f->ocsp) == 0 &&
		cert_is_unchanged(c);
}

/* Listeners that name the same files share what was read from them. */
static struct cert *
load_files(const struct certfile *f, const struct certheld *held, const struct site *s,
	const struct site_env *env, struct err *err)
{
	struct pem_error e;
	struct daemon *d = (struct daemon *)(uintptr_t)env->daemon;
	struct certheld twin = certheld_find(&s->held, f->cert, f->key);
	struct cert *old = last_of(held);

	if (is_current(last_of(&twin), f))
		return cert_ref(last_of(&twin));
	if (is_current(old, f))
		return cert_ref(old);

	struct cert *c = cert_load(f->cert, f->key, d != NULL ? passed_fd : NULL, d, &e);

	if (c == NULL && old != NULL && (e.no == EACCES || e.no == EPERM)) {
		struct pem_error renew;

		c = cert_renew(old, &renew);
		if (c == NULL)
			err_set(err,
				"%s, and the certificate has changed; reload as a user who may "
				"read it (`proxyctl reload` passes it on). The certificate in "
				"force stays",
				e.err.text);
	} else if (c == NULL) {
		*err = e.err;
	}
	if (c != NULL)
		cert_load_staple(c, f->ocsp);
	return c;
}

static struct cert *
load_self_signed(const struct certcfg *cfg, const struct site *s, const struct daemon_cfg *dc,
	const struct site_env *env, struct err *err)
{
	bool made;
	struct cert *c =
		selfsigned_get(dc->common.state_dir, &cfg->self_signed, env->uid, &made, err);

	if (c == NULL)
		return NULL;
	if (made)
		LOG_WARN("cert_self_signed", L_STR("path", c->cert_path),
			L_STR("text",
				"a certificate was made that nobody trusts, for trials only"));

	struct cert *twin = certheld_find(&s->held, c->cert_path, c->key_path).served;
	struct cert *old =
		twin != NULL ? twin : find_held(env->old, c->cert_path, c->key_path).served;

	if (old != NULL && strcmp(old->fingerprint, c->fingerprint) == 0) {
		cert_unref(c);
		c = cert_ref(old);
	}
	return c;
}

/* One listener's certificates being loaded. */
struct loading {
	struct site *s;
	struct site_listener *l;
	const struct daemon_cfg *dc;
	const struct site_env *env;
	struct errs *errs;
	bool has_failed;
};

static void
due_at(struct site *s, int64_t when_s)
{
	if (when_s < s->due_s)
		s->due_s = when_s;
}

/* c, or the one before in its place: then true. */
static bool
add_cert(struct loading *g, const struct certcfg *cfg, struct cert *c, struct cert *before)
{
	struct site_listener *l = g->l;
	struct cert *waiting = NULL;

	if (certwait_must(c, before, g->s->at_s)) {
		waiting = c;
		c = cert_ref(before);
		due_at(g->s, certwait_until(c));
	} else if (c->wants_staple && !certwait_lacks_staple(c, g->s->at_s)) {
		due_at(g->s, c->staple.times.next_update); /* then others come before it */
	}
	l->waiting = xreallocarray(l->waiting, l->ncerts + 1, sizeof(struct cert *));
	l->waiting[l->ncerts] = waiting;
	l->certs = xreallocarray(l->certs, l->ncerts + 1, sizeof(struct cert *));
	l->cert_cfgs = xreallocarray(l->cert_cfgs, l->ncerts + 1, sizeof(struct certcfg *));
	l->cert_cfgs[l->ncerts] = cfg;
	l->certs[l->ncerts++] = c;
	certheld_add(&g->s->held, c, waiting);
	return waiting != NULL;
}

/* c NULL: it could not be loaded, says err; what there was goes on if it may. */
static void
take_cert(struct loading *g, const struct certcfg *cfg, const char *path, struct cert *c,
	struct certheld held, const struct err *err)
{
	struct err_at at = cfg_at(g->dc->cfg, cfg->node);

	if (c != NULL) {
		cert_warn(c, at, path, g->errs);
		if (add_cert(g, cfg, c, held.served))
			errs_add(g->errs, FINDING_WARNING, at, path,
				"%s: waits for its staple, and the certificate in force stays",
				c->cert_path);
		return;
	}
	errs_add(g->errs, FINDING_ERROR, at, path, "%s", err->text);
	if (g->env->keeps_old && held.served != NULL)
		(void)add_cert(g, cfg, cert_ref(last_of(&held)), held.served);
	else if (!g->env->keeps_old || cfg->dir == NULL)
		g->has_failed = true; /* a new file in a folder may be broken without harm */
}

static void
load_entry(struct loading *g, const struct certcfg *cfg, const char *path)
{
	struct certfiles all = { .n = 0 };
	struct err err = { "" };

	if (cfg->self_signed.n > 0) {
		struct cert *c = load_self_signed(cfg, g->s, g->dc, g->env, &err);

		take_cert(g, cfg, path, c, (struct certheld){ NULL, NULL }, &err);
		return;
	}
	if (certfiles_add(&all, cfg, &err) < 0) {
		take_cert(g, cfg, path, NULL, (struct certheld){ NULL, NULL }, &err);
		g->has_failed = true; /* a folder that cannot be read is not an empty one */
	}
	for (size_t i = 0; i < all.n; i++) {
		const struct certfile *f = &all.v[i];
		struct certheld held = find_held(g->env->old, f->cert, f->key);

		take_cert(g, cfg, path, load_files(f, &held, g->s, g->env, &err), held, &err);
	}
	certfiles_fini(&all);
}

static int
load_certs(struct site *s, const struct daemon_cfg *dc, size_t index, const struct site_env *env,
	struct errs *errs)
{
	struct site_listener *l = &s->listeners[index];
	struct loading g = {
		.s = s,
		.l = l,
		.dc = dc,
		.env = env,
		.errs = errs,
	};

	for (size_t i = 0; i < l->cfg->certificates.n; i++) {
		char path[96];

		snprintf(path, sizeof(path), "tls.listen[%zu].certificates[%zu]", index, i);
		load_entry(&g, CFG_AT(struct certcfg, l->cfg->certificates, i), path);
	}
	return g.has_failed || l->ncerts == 0 ? -1 : 0;
}

/* What the generation before asks its clients for, on the same listener. */
static struct clientauth *
find_old_auth(const struct site *old, const struct tlslistencfg *cfg)
{
	for (size_t i = 0; old != NULL && i < old->nlisteners; i++)
		if (strcmp(old->listeners[i].cfg->address_text, cfg->address_text) == 0 &&
			old->listeners[i].auth != NULL &&
			old->listeners[i].cfg->client_auth.mode == cfg->client_auth.mode)
			return old->listeners[i].auth;
	return NULL;
}

static int
load_auth(struct site_listener *l, const struct daemon_cfg *dc, size_t index,
	const struct site_env *env, struct errs *errs)
{
	const struct clientauthcfg *cfg = &l->cfg->client_auth;
	struct clientauth *old = find_old_auth(env->old, l->cfg);
	struct err err = { "" };
	char path[96];

	if (cfg->node == NULL)
		return 0;
	if (old != NULL && clientauth_is_current(old, cfg)) {
		l->auth = clientauth_ref(old);
		return 0;
	}
	snprintf(path, sizeof(path), "tls.listen[%zu].client_auth", index);
	l->auth = clientauth_load(cfg, &err);
	if (l->auth != NULL) {
		clientauth_warn(l->auth, cfg_at(dc->cfg, cfg->node), path, errs);
		return 0;
	}
	errs_add(errs, FINDING_ERROR, cfg_at(dc->cfg, cfg->node), path, "%s", err.text);
	if (!env->keeps_old || old == NULL)
		return -1;
	l->auth = clientauth_ref(old);
	return 0;
}

static int
build_ctx(struct site_listener *l, const struct site *s, const struct daemon_cfg *dc, size_t index,
	const struct site_env *env, struct errs *errs)
{
	struct err err = { "" };
	size_t bad = l->ncerts;
	char path[96];

	const struct tlsctx_env tls = {
		.auth = l->auth,
		.tickets = s->cfg->tickets.enabled ? env->tickets : NULL,
		.ticket_life_ms = s->cfg->tickets.rotate_ms,
		.cache = s->cfg->session_cache.size > 0 ? env->cache : NULL,
		.cache_life_ms = s->cfg->session_cache.timeout_ms,
		.at_s = s->at_s,
	};

	l->ctx = tlsctx_new(l->cfg, l->certs, l->ncerts, &tls, &bad, &err);
	if (l->ctx != NULL)
		return 0;

	const struct cfg_node *node = l->cfg->node;

	snprintf(path, sizeof(path), "tls.listen[%zu]", index);
	if (bad < l->ncerts) {
		node = l->cert_cfgs[bad]->node;
		snprintf(path, sizeof(path), "tls.listen[%zu].certificates[%zu]", index,
			(size_t)(l->cert_cfgs[bad] -
				(const struct certcfg *)l->cfg->certificates.v));
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

static void
index_passes(const struct site *s, struct site_listener *l)
{
	l->passes = sni_new();
	l->npass = l->cfg->passthrough.n;
	for (size_t i = 0; i < l->npass; i++) {
		const struct passcfg *p = CFG_AT(struct passcfg, l->cfg->passthrough, i);

		for (size_t j = 0; j < p->names.n; j++)
			(void)sni_add(l->passes, *CFG_AT(char *, p->names, j), (uint32_t)i);
	}
	l->has_to_peek = l->npass > 0 || s->cfg->acme_challenges != NULL;
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
	index_passes(s, l);
	if (load_certs(s, dc, index, env, errs) < 0)
		return -1;
	if (load_auth(l, dc, index, env, errs) < 0)
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
	s->due_s = INT64_MAX;
	s->at_s = (int64_t)time(NULL) + SITE_LOOK_S; /* a look later nothing is too late */
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
	certheld_fini(&s->held); /* before what it points to */
	for (size_t i = 0; i < s->nlisteners; i++) {
		struct site_listener *l = &s->listeners[i];

		tlsctx_free(l->ctx);
		sni_free(l->passes);
		clientauth_unref(l->auth);
		for (size_t j = 0; j < l->ncerts; j++) {
			cert_unref(l->certs[j]);
			cert_unref(l->waiting[j]);
		}
		free(l->certs);
		free(l->waiting);
		free(l->cert_cfgs);
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

bool
site_serves_same_certs(const struct site *a, const struct site *b)
{
	if (a->nlisteners != b->nlisteners)
		return false;
	for (size_t i = 0; i < a->nlisteners; i++) {
		const struct site_listener *x = &a->listeners[i];
		const struct site_listener *y = &b->listeners[i];

		if (x->ncerts != y->ncerts || x->auth != y->auth ||
			memcmp(x->certs, y->certs, x->ncerts * sizeof(struct cert *)) != 0)
			return false;
	}
	return true;
}

bool
site_has_same_waiting(const struct site *a, const struct site *b)
{
	if (a->nlisteners != b->nlisteners)
		return false;
	for (size_t i = 0; i < a->nlisteners; i++) {
		const struct site_listener *x = &a->listeners[i];
		const struct site_listener *y = &b->listeners[i];

		if (x->ncerts != y->ncerts ||
			memcmp(x->waiting, y->waiting, x->ncerts * sizeof(struct cert *)) != 0)
			return false;
	}
	return true;
}

bool
site_is_due(const struct site *s, int64_t now_s)
{
	return s->due_s <= now_s + SITE_LOOK_S;
}

/* ---- events ---- */

static void
log_staple_over(const struct site_listener *l, const struct cert *c)
{
	char when[UNITS_TIME];

	units_format_time(c->staple.times.next_update, when);
	LOG_WARN("staple_expired", L_STR("path", c->ocsp_path),
		L_STR("listen", l->cfg->address_text), L_STR("next_update", when));
}

struct certuse
site_use(const struct site *s, const struct site_listener *l)
{
	return (struct certuse){
		.kind = "listen",
		.name = l->cfg->address_text,
		.warning_ms = s->cfg->expiry_warning_ms,
	};
}

static void
log_time(const struct site *s, const struct site_listener *l, const struct cert *c, int64_t since_s,
	int64_t now_s)
{
	const struct certuse use = site_use(s, l);

	certlife_passed(c, &use, since_s, now_s);
	if (c->staple_state == STAPLE_OK && !staple_is_valid(&c->staple, now_s) &&
		staple_is_valid(&c->staple, since_s))
		log_staple_over(l, c);
}

static void
log_crl(const struct site_listener *l)
{
	char when[UNITS_TIME];

	units_format_time(l->auth->next_update, when);
	LOG_ERROR("crl_expired", L_STR("path", l->auth->crl_path),
		L_STR("listen", l->cfg->address_text), L_STR("next_update", when),
		L_STR("text", "clients with a certificate are refused until it is renewed"));
}

void
site_log_time(const struct site *s, int64_t since_s, int64_t now_s)
{
	for (size_t i = 0; i < s->nlisteners; i++) {
		const struct site_listener *l = &s->listeners[i];

		if (l->auth != NULL && clientauth_is_over(l->auth, now_s) &&
			!clientauth_is_over(l->auth, since_s))
			log_crl(l);
	}
	for (size_t i = 0; i < s->nlisteners; i++)
		for (size_t j = 0; j < s->listeners[i].ncerts; j++)
			log_time(s, &s->listeners[i], s->listeners[i].certs[j], since_s, now_s);
}

static void
log_staple(const struct site_listener *l, const struct cert *c)
{
	if (c->staple_state == STAPLE_REVOKED)
		LOG_ERROR("cert_revoked", L_STR("path", c->cert_path),
			L_STR("listen", l->cfg->address_text), L_STR("text", c->staple_err.text));
	else if (c->staple_state == STAPLE_BAD)
		LOG_WARN("staple_refused", L_STR("path", c->ocsp_path),
			L_STR("listen", l->cfg->address_text), L_STR("text", c->staple_err.text));
	if (c->wants_staple && c->staple_state != STAPLE_OK)
		LOG_WARN("cert_must_staple", L_STR("path", c->cert_path),
			L_STR("listen", l->cfg->address_text),
			L_STR("text",
				"the certificate must come with a staple and there is none to "
				"show: clients may refuse it"));
}

static void
log_cert(const struct site *s, const struct site_listener *l, const struct cert *c,
	const struct cert *old)
{
	const struct certuse use = site_use(s, l);
	bool is_same = old != NULL && strcmp(old->fingerprint, c->fingerprint) == 0;

	certlife_loaded(c, old, &use);
	if (c != old)
		log_staple(l, c);
	if (c->is_self_signed_own && !is_same)
		LOG_WARN("cert_for_trials", L_STR("path", c->cert_path),
			L_STR("listen", l->cfg->address_text),
			L_STR("text", "self-signed: clients have no reason to trust it"));
}

static void
log_auth(const struct site_listener *l, const struct site *old, int64_t now)
{
	const struct clientauth *a = l->auth;
	char when[UNITS_TIME] = "";

	if (a == NULL || a == find_old_auth(old, l->cfg))
		return;
	if (a->next_update != 0)
		units_format_time(a->next_update, when);
	LOG_INFO("client_auth", L_STR("listen", l->cfg->address_text),
		L_STR("mode", clientauth_mode_word(a->mode)), L_INT("authorities", a->ncas),
		L_INT("revocation_lists", a->ncrls), L_STR("next_update", when));
	if (clientauth_is_over(a, now))
		log_crl(l);
}

void
site_log_certs(const struct site *s, const struct site *old)
{
	int64_t now = (int64_t)time(NULL);

	for (size_t i = 0; i < s->nlisteners; i++)
		log_auth(&s->listeners[i], old, now);
	for (size_t i = 0; i < s->nlisteners; i++)
		for (size_t j = 0; j < s->listeners[i].ncerts; j++) {
			const struct site_listener *l = &s->listeners[i];
			const struct cert *c = l->certs[j];
			const struct cert *waiting = l->waiting[j];
			const struct certheld held = find_held(old, c->cert_path, c->key_path);
			const struct certuse use = site_use(s, l);

			log_cert(s, l, c, held.served);
			if (waiting != NULL && waiting != held.waiting)
				certlife_waits(waiting, c, &use);
		}
}
