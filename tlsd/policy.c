/*
 * policy: one SSL_CTX a policy, and the index of the servers that the pools have. What a
 * certificate is checked against comes from the configuration alone.
 */
#include "tlsd/policy.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>
#include <uthash.h>

#include "libcommon/addr.h"
#include "libcommon/filestate.h"
#include "libcommon/handoffmsg.h"
#include "libcommon/mem.h"
#include "tlsd/certs.h"
#include "tlsd/kdf.h"
#include "tlsd/tlsctx.h"
#include "tlsd/tlserror.h"

/* A server that a pool has: "policy NUL host". */
struct known {
	UT_hash_handle hh;
	const struct policy *policy;
	char key[];
};

struct policies {
	unsigned refs;
	struct daemon_cfg *dc; /* ours */
	struct policy *v;
	size_t n;
	uint64_t files_state; /* before they were read */
	struct known *known;
};

/* ---- building ---- */

static int
on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct policy_finding *f = SSL_get_app_data(ssl);
	X509 *cert = X509_STORE_CTX_get_current_cert(store);
	char name[128] = "?";

	if (ok)
		return 1;
	if (f == NULL || f->error != 0)
		return 0;
	f->error = X509_STORE_CTX_get_error(store);
	if (cert != NULL)
		X509_NAME_oneline(X509_get_subject_name(cert), name, sizeof(name));
	snprintf(f->detail, sizeof(f->detail), "certificate %d (%s): %s",
		X509_STORE_CTX_get_error_depth(store), name,
		X509_verify_cert_error_string(f->error));
	return 0;
}

static int
trust(SSL_CTX *ctx, const struct tlspolicycfg *cfg, struct err *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);

	if (!cfg->verify) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
		return 0;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
	if (cfg->ca == NULL && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return tlsctx_fail(err, "the system's authorities");
	if (cfg->ca != NULL && X509_STORE_load_file(store, cfg->ca) != 1)
		return tlsctx_fail(err, cfg->ca);
	if (cfg->crl == NULL)
		return 0;
	if (X509_load_crl_file(X509_STORE_add_lookup(store, X509_LOOKUP_file()), cfg->crl,
		    X509_FILETYPE_PEM) < 1)
		return tlsctx_fail(err, cfg->crl);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

/* Suites whose records the askers do not know are none of ours. */
static int
check_suites(const struct tlspolicycfg *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->ciphers.n; i++) {
		const char *name = *CFG_AT(char *, cfg->ciphers, i);

		if (handoff_suite_find(tlsctx_cipher_id(name)) == NULL)
			return err_set(err,
				"ciphers: `%s` is no suite that can be used here, expected names "
				"such as TLS_AES_128_GCM_SHA256 or ECDHE-RSA-AES128-GCM-SHA256 "
				"(ECDHE with AES-GCM or ChaCha20-Poly1305)",
				name);
	}
	return 0;
}

static int
set_protocol(SSL_CTX *ctx, const struct tlspolicycfg *cfg, struct err *err)
{
	int min = cfg->min_version == TLSPOLICY_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

	SSL_CTX_set_options(
		ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (SSL_CTX_set_min_proto_version(ctx, min) != 1)
		return tlsctx_fail(err, "min_version");
	if (check_suites(cfg, err) < 0)
		return -1;
	return tlsctx_set_ciphers(ctx, &cfg->ciphers, err);
}

/* Between two generations of one policy. */
static struct cert *
find_cert(const struct policies *old, const struct tlspolicycfg *cfg)
{
	for (size_t i = 0; old != NULL && i < old->n; i++) {
		struct cert *c = old->v[i].cert;

		if (c != NULL && strcmp(c->cert_path, cfg->cert) == 0 &&
			strcmp(c->key_path, cfg->key != NULL ? cfg->key : cfg->cert) == 0)
			return c;
	}
	return NULL;
}

static int
passed_fd(void *arg, const char *path)
{
	return daemon_passed_fd(arg, path);
}

static struct cert *
load_cert(const struct tlspolicycfg *cfg, const struct daemon *d, const struct policies *old,
	int *no, struct err *err)
{
	struct cert *before = find_cert(old, cfg);
	struct pem_error e = { .no = 0 };

	if (before != NULL && cert_is_unchanged(before))
		return cert_ref(before);

	struct cert *c = cert_load(cfg->cert, cfg->key, d != NULL ? passed_fd : NULL,
		(struct daemon *)(uintptr_t)d, &e);

	if (c == NULL && before != NULL && (e.no == EACCES || e.no == EPERM)) {
		struct pem_error renew;

		c = cert_renew(before, &renew);
	}
	*no = e.no;
	if (c == NULL)
		*err = e.err;
	return c;
}

static int
build(struct policy *p, const struct daemon *d, const struct policies *old, int *no,
	struct err *err)
{
	p->ctx = kdf_ctx_new(TLS_client_method());
	if (p->ctx == NULL)
		return tlsctx_fail(err, "SSL_CTX_new");
	if (set_protocol(p->ctx, p->cfg, err) < 0 || trust(p->ctx, p->cfg, err) < 0)
		return -1;
	if (p->cfg->cert == NULL)
		return 0;
	p->cert = load_cert(p->cfg, d, old, no, err);
	if (p->cert == NULL)
		return -1;
	if (SSL_CTX_use_cert_and_key(p->ctx, p->cert->leaf, p->cert->key, p->cert->chain, 1) != 1)
		return tlsctx_fail(err, p->cert->cert_path);
	return 0;
}

/* ---- the set ---- */

static void
know(struct policies *s, const struct policy *p, const char *host)
{
	size_t n = strlen(p->cfg->name) + strlen(host) + 2;
	struct known *k = xcalloc(1, sizeof(*k) + n);
	struct known *there;

	k->policy = p;
	memcpy(k->key, p->cfg->name, strlen(p->cfg->name) + 1);
	memcpy(k->key + strlen(p->cfg->name) + 1, host, strlen(host) + 1);
	HASH_FIND(hh, s->known, k->key, n, there);
	if (there != NULL)
		free(k);
	else
		HASH_ADD(hh, s->known, key, n, k);
}

static const struct policy *
by_name(const struct policies *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].cfg->name, name) == 0)
			return &s->v[i];
	return NULL;
}

static void
know_servers(struct policies *s, const struct commoncfg *common)
{
	for (size_t i = 0; i < common->pools.n; i++) {
		const struct poolcfg *pool = CFG_AT(struct poolcfg, common->pools, i);
		const struct policy *p = pool->tls != NULL ? by_name(s, pool->tls) : NULL;

		for (size_t k = 0; p != NULL && k < pool->servers.n; k++) {
			char host[TLSPOLICY_HOST];

			know(s, p,
				tlspolicy_host(&CFG_AT(struct servercfg, pool->servers, k)->address,
					host));
		}
	}
}

static struct err_at
place(const struct daemon_cfg *dc, const struct tlspolicycfg *cfg)
{
	return cfg->node != NULL ? cfg_at(dc->cfg, cfg->node)
				 : (struct err_at){ .file = dc->cfg->file };
}

static bool
is_used(const struct commoncfg *common, const char *name)
{
	for (size_t i = 0; i < common->pools.n; i++) {
		const char *tls = CFG_AT(struct poolcfg, common->pools, i)->tls;

		if (tls != NULL && strcmp(tls, name) == 0)
			return true;
	}
	return false;
}

uint64_t
policies_files(const struct policies *p)
{
	uint64_t state = FILESTATE_NONE;

	for (size_t i = 0; i < p->n; i++) {
		const struct tlspolicycfg *c = p->v[i].cfg;
		const char *const files[] = { c->ca, c->crl, c->cert, c->key };

		for (size_t k = 0; k < sizeof(files) / sizeof(*files); k++)
			if (files[k] != NULL)
				filestate_add(&state, files[k]);
	}
	return state;
}

static struct policies *
make(struct daemon_cfg *dc, const struct daemon *d, const struct policies *old, bool is_check,
	struct errs *errs)
{
	const struct uptlscfg *c = &dc->common.upstream_tls;
	struct policies *s = xcalloc(1, sizeof(*s));
	size_t errors = errs->error_count;

	s->refs = 1;
	s->v = xcalloc(c->policies.n + 1, sizeof(*s->v));
	for (size_t i = 0; i < c->policies.n; i++)
		s->v[s->n++].cfg = CFG_AT(struct tlspolicycfg, c->policies, i);
	if (is_used(&dc->common, TLSPOLICY_DEFAULT) && by_name(s, TLSPOLICY_DEFAULT) == NULL)
		s->v[s->n++].cfg = tlspolicy_find(c, TLSPOLICY_DEFAULT);
	s->files_state = policies_files(s); /* later changes show at the next look */
	for (size_t i = 0; i < s->n; i++) {
		struct policy *p = &s->v[i];
		struct err err = { .text = "" };
		char path[64 + TLSPOLICY_NAME];
		int no = 0;

		snprintf(path, sizeof(path), "upstream_tls.policies.%s", p->cfg->name);
		if (build(p, d, old, &no, &err) == 0) {
			if (p->cert != NULL)
				cert_warn(p->cert, place(dc, p->cfg), path, errs);
			continue;
		}
		if (is_check && no == EACCES && geteuid() != 0)
			errs_add(errs, FINDING_WARNING, place(dc, p->cfg), path, "not checked: %s",
				err.text);
		else
			errs_add(errs, FINDING_ERROR, place(dc, p->cfg), path, "%s", err.text);
	}
	know_servers(s, &dc->common);
	if (errs->error_count == errors)
		return s;
	policies_unref(s);
	return NULL;
}

struct policies *
policies_new(struct daemon_cfg *dc, const struct daemon *d, const struct policies *old,
	struct errs *errs)
{
	struct policies *s = make(dc, d, old, false, errs);

	if (s != NULL)
		s->dc = dc;
	return s;
}

/* Debian keeps a folder of authorities, others one file. */
static bool
has_system_ca(void)
{
	const char *file = getenv(X509_get_default_cert_file_env());
	const char *dir = getenv(X509_get_default_cert_dir_env());
	DIR *d = opendir(dir != NULL ? dir : X509_get_default_cert_dir());
	const struct dirent *e;
	bool is_there = access(file != NULL ? file : X509_get_default_cert_file(), R_OK) == 0;

	while (d != NULL && !is_there && (e = readdir(d)) != NULL)
		is_there = strlen(e->d_name) > 2 &&
			strcmp(e->d_name + strlen(e->d_name) - 2, ".0") == 0;
	if (d != NULL)
		closedir(d);
	return is_there;
}

void
policies_check(struct daemon_cfg *dc, struct errs *errs)
{
	struct policies *s = make(dc, NULL, NULL, true, errs);

	for (size_t i = 0; s != NULL && i < s->n; i++) {
		const struct tlspolicycfg *cfg = s->v[i].cfg;
		char path[64 + TLSPOLICY_NAME];

		snprintf(path, sizeof(path), "upstream_tls.policies.%s", cfg->name);
		if (cfg->verify && cfg->ca == NULL && !has_system_ca())
			errs_add(errs, FINDING_WARNING, place(dc, cfg), path,
				"this system has no authorities, so no server can be verified: "
				"expected `ca`, or the package ca-certificates");
	}
	policies_unref(s);
}

struct policies *
policies_ref(struct policies *p)
{
	p->refs++;
	return p;
}

void
policies_unref(struct policies *s)
{
	struct known *k;
	struct known *next;

	if (s == NULL || --s->refs > 0)
		return;
	HASH_ITER (hh, s->known, k, next) {
		HASH_DEL(s->known, k);
		free(k);
	}
	for (size_t i = 0; i < s->n; i++) {
		SSL_CTX_free(s->v[i].ctx);
		cert_unref(s->v[i].cert);
	}
	free(s->v);
	daemon_cfg_free(s->dc);
	free(s);
}

const struct daemon_cfg *
policies_dc(const struct policies *p)
{
	return p->dc;
}

size_t
policies_count(const struct policies *p)
{
	return p->n;
}

const struct policy *
policies_at(const struct policies *p, size_t i)
{
	return &p->v[i];
}

uint64_t
policies_files_read(const struct policies *p)
{
	return p->files_state;
}

const struct policy *
policies_find(const struct policies *p, struct slice name, struct slice host)
{
	char key[2 * TLSASK_TEXT_MAX + 2];
	struct known *k;

	if (name.n > TLSASK_TEXT_MAX || host.n > TLSASK_TEXT_MAX)
		return NULL;
	memcpy(key, name.p, name.n);
	key[name.n] = '\0';
	memcpy(key + name.n + 1, host.p, host.n);
	key[name.n + 1 + host.n] = '\0';
	HASH_FIND(hh, p->known, key, name.n + host.n + 2, k);
	return k != NULL ? k->policy : NULL;
}

/* ---- one connection ---- */

static bool
set_name(SSL *ssl, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	/* The subject's CN is no name of a host (RFC 9110 §4.3.4, RFC 9525 §6.3). */
	X509_VERIFY_PARAM_set_hostflags(
		param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (addr_is_ip(name))
		return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
	return name[0] != '\0' && X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

static bool
offer(SSL *ssl, unsigned protocols)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1";
	const unsigned char *p = protocols & TLSASK_HTTP2 ? both : both + 3;
	unsigned n = protocols == TLSASK_HTTP2 ? 3 : (unsigned)(both + sizeof(both) - 1 - p);

	return SSL_set_alpn_protos(ssl, p, n) == 0;
}

bool
policy_apply(const struct policy *p, SSL *ssl, const char *host, unsigned protocols)
{
	const struct tlspolicycfg *cfg = p->cfg;
	char name[TLSPOLICY_HOST];
	char sni[TLSPOLICY_HOST]; /* OpenSSL's macro casts const away */
	size_t n;

	snprintf(name, sizeof(name), "%s", cfg->server_name != NULL ? cfg->server_name : host);
	n = strlen(name);
	if (n > 1 && name[n - 1] == '.')
		name[n - 1] = '\0'; /* the root's dot is in no certificate (RFC 6066 §3) */
	snprintf(sni, sizeof(sni), "%s", strcmp(cfg->sni, "on") != 0 ? cfg->sni : name);
	if (cfg->verify && !set_name(ssl, name))
		return false;
	if (strcmp(sni, "off") != 0 && sni[0] != '\0' && !addr_is_ip(sni) &&
		SSL_set_tlsext_host_name(ssl, sni) != 1)
		return false;
	return offer(ssl, protocols);
}

bool
policy_has_protocol(SSL *ssl, unsigned protocols)
{
	const unsigned char *p;
	unsigned n;

	SSL_get0_alpn_selected(ssl, &p, &n);
	if (n == 0)
		return protocols & TLSASK_HTTP1;
	if (n == 2 && memcmp(p, "h2", 2) == 0)
		return protocols & TLSASK_HTTP2;
	return n == 8 && memcmp(p, "http/1.1", 8) == 0 && (protocols & TLSASK_HTTP1);
}

/* ---- why not ---- */

static enum tlsask_why
why_not_verified(int error)
{
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED: return TLSASK_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID: return TLSASK_NOT_YET_VALID;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH: return TLSASK_NAME_MISMATCH;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: return TLSASK_SELF_SIGNED;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_UNTRUSTED: return TLSASK_UNKNOWN_CA;
	case X509_V_ERR_CERT_REVOKED: return TLSASK_REVOKED;
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
	case X509_V_ERR_CRL_NOT_YET_VALID:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_CRL_SIGNATURE_FAILURE: return TLSASK_CRL;
	case X509_V_ERR_INVALID_PURPOSE: return TLSASK_WRONG_PURPOSE;
	case X509_V_ERR_EE_KEY_TOO_SMALL:
	case X509_V_ERR_CA_KEY_TOO_SMALL:
	case X509_V_ERR_CA_MD_TOO_WEAK: return TLSASK_WEAK;
	default: return TLSASK_BAD_CERTIFICATE;
	}
}

static enum tlsask_why
why_alert(int alert)
{
	switch (alert) {
	case SSL_AD_PROTOCOL_VERSION: return TLSASK_WRONG_VERSION;
	case SSL_AD_NO_APPLICATION_PROTOCOL: return TLSASK_NO_PROTOCOL;
	case SSL_AD_CERTIFICATE_REQUIRED: return TLSASK_CLIENT_CERTIFICATE;
	default: return TLSASK_PEER_ALERT;
	}
}

static enum tlsask_why
why_reason(int reason)
{
	if (reason == TLSERROR_OURS)
		return TLSASK_INTERNAL;
	if (reason > SSL_AD_REASON_OFFSET)
		return why_alert(reason - SSL_AD_REASON_OFFSET);
	switch (reason) {
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
	case SSL_R_WRONG_SSL_VERSION: return TLSASK_WRONG_VERSION;
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_WRONG_CIPHER_RETURNED:
	case SSL_R_UNKNOWN_CIPHER_RETURNED: return TLSASK_NO_SHARED_CIPHER;
	case SSL_R_UNEXPECTED_EOF_WHILE_READING: return TLSASK_CLOSED;
	case SSL_R_EE_KEY_TOO_SMALL:
	case SSL_R_CA_KEY_TOO_SMALL:
	case SSL_R_CA_MD_TOO_WEAK:
	case SSL_R_DH_KEY_TOO_SMALL: return TLSASK_WEAK;
	default: return TLSASK_PROTOCOL_ERROR;
	}
}

enum tlsask_why
policy_why(const struct policy_finding *f, int first, char detail[static TLSASK_TEXT_MAX + 1])
{
	unsigned long code = ERR_peek_error();
	const char *said = code != 0 ? ERR_reason_error_string(code) : NULL;
	enum tlsask_why why = TLSASK_CLOSED;

	if (code != 0)
		why = why_reason(tlserror_reason(code, ERR_peek_last_error()));

	snprintf(detail, TLSASK_TEXT_MAX + 1, "%s", said != NULL ? said : "");
	if (f->error != 0) {
		why = why_not_verified(f->error);
		snprintf(detail, TLSASK_TEXT_MAX + 1, "%s", f->detail);
	} else if (first >= 0 && first != SSL3_RT_HANDSHAKE && first != SSL3_RT_ALERT &&
		first != SSL3_RT_CHANGE_CIPHER_SPEC) {
		why = TLSASK_NOT_TLS;
	}
	ERR_clear_error();
	return why;
}
