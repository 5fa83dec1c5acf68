/*
 * tlsctx: builds the contexts and holds OpenSSL's callbacks. The certificate is chosen in the
 * client_hello callback, not in the servername one: so the session id context of the chosen
 * group is in force when a ticket is judged, and no ticket of one name resumes under another.
 */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>

#include "libcommon/clock.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"
#include "tlsd/certgroup.h"
#include "tlsd/certpick.h"
#include "tlsd/kdf.h"
#include "tlsd/tlsctx.h"

/* AEAD and forward secrecy only; cheap ones first, ECDSA first where the client can. */
#define CIPHERS_12                                                     \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:"   \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/* OpenSSL's macro wants it writable. */
static char groups_list[] = "X25519:P-256:P-384";

struct tlsctx {
	struct certgroups groups;
	SSL_CTX **ctx; /* per group */
	struct sni_index *index;
	struct ticket_keys *tickets;
	struct clientauth *auth; /* the site's */
	struct sesscache *cache;
	bool is_strict;
	uint8_t *alpn; /* as on the wire: length, name, ... */
	unsigned alpn_n;
};

/* Fetched once: an implicit fetch per ticket costs more than the ticket. */
static EVP_CIPHER *ticket_cipher;
static int cache_slot = -1; /* of a context's extra data: the cache of its sessions */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
fetch_once(void)
{
	ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	cache_slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	if (ticket_cipher == NULL || cache_slot < 0)
		abort();
}

static void __attribute__((destructor)) free_fetched(void)
{
	EVP_CIPHER_free(ticket_cipher);
}

static struct tlsctx *
of_ssl(SSL *ssl)
{
	return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* 1 with *name, 0 without, -1 when the bytes are malformed. */
static int
name_asked_for(SSL *ssl, struct slice *name)
{
	const unsigned char *ext;
	size_t n;
	int rc;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &n) != 1)
		return 0;
	rc = sni_parse_ext(ext, n, name);
	return rc == 1 && !sni_is_plain(*name) ? 0 : rc; /* as if it had asked for none */
}

static int
on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tlsctx *c = arg;
	struct tls_hello *hello = SSL_get_app_data(ssl);
	const struct sni_entry *e = NULL;
	struct slice name = { .n = 0 };
	int rc = name_asked_for(ssl, &name);

	if (rc < 0) {
		*alert = SSL_AD_DECODE_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	if (rc == 1) {
		e = sni_find(c->index, name);
		for (size_t i = 0; i < name.n; i++)
			hello->sni[i] = ascii_lower(name.p[i]);
		hello->sni_n = (uint8_t)name.n;
		hello->is_sni_known = e != NULL;
	}
	if (e == NULL && c->is_strict) {
		hello->is_sni_refused = true;
		*alert = SSL_AD_UNRECOGNIZED_NAME;
		return SSL_CLIENT_HELLO_ERROR;
	}
	if (e != NULL && e->group != 0 && SSL_set_SSL_CTX(ssl, c->ctx[e->group]) == NULL) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* The staple of the certificate that was chosen, while it holds. */
static int
on_status(SSL *ssl, void *arg)
{
	const struct cert *cert = cert_of_leaf(SSL_get_certificate(ssl));
	unsigned char *copy;

	(void)arg;
	if (cert == NULL || cert->staple_state != STAPLE_OK ||
		!staple_is_valid(&cert->staple, (int64_t)time(NULL)))
		return SSL_TLSEXT_ERR_NOACK;
	copy = OPENSSL_memdup(cert->staple.der, (size_t)cert->staple.n);
	if (copy == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	SSL_set_tlsext_status_ocsp_resp(ssl, copy, cert->staple.n); /* takes it */
	return SSL_TLSEXT_ERR_OK;
}

/* Only says whether the name was of use (RFC 6066 §3: an empty server_name in the answer). */
static int
on_servername(SSL *ssl, int *alert, void *arg)
{
	const struct tls_hello *hello = SSL_get_app_data(ssl);

	(void)alert;
	(void)arg;
	return hello->is_sni_known ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* Our order decides (RFC 7301 §3.2); no common protocol is a fatal alert. */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
	unsigned in_n, void *arg)
{
	const struct tlsctx *c = arg;
	unsigned char *chosen;

	(void)ssl;
	if (SSL_select_next_proto(&chosen, out_n, c->alpn, c->alpn_n, in, in_n) !=
		OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static bool
set_mac(EVP_MAC_CTX *mac, const struct ticket_key *k)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[2] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_init(mac, k->mac, sizeof(k->mac), params) == 1;
}

static int
seal_ticket(struct ticket_keys *keys, unsigned char *name, unsigned char *iv,
	EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct ticket_key k;

	ticket_key_seal(keys, &k);
	memcpy(name, k.name, sizeof(k.name));

	bool ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(ticket_cipher)) == 1 &&
		EVP_EncryptInit_ex2(cipher, ticket_cipher, k.aes, iv, NULL) == 1 &&
		set_mac(mac, &k);

	OPENSSL_cleanse(&k, sizeof(k));
	return ok ? 1 : -1;
}

static int
open_ticket(struct ticket_keys *keys, const unsigned char *name, const unsigned char *iv,
	EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	struct ticket_key k;
	int which = ticket_key_open(keys, name, &k);

	if (which == 0)
		return 0; /* a full handshake, then */

	bool ok = set_mac(mac, &k) &&
		EVP_DecryptInit_ex2(cipher, ticket_cipher, k.aes, iv, NULL) == 1;

	OPENSSL_cleanse(&k, sizeof(k));
	return ok ? which : -1;
}

static int
on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
	EVP_MAC_CTX *mac, int is_sealing)
{
	struct ticket_keys *keys = of_ssl(ssl)->tickets;

	if (is_sealing)
		return seal_ticket(keys, name, iv, cipher, mac);

	int which = open_ticket(keys, name, iv, cipher, mac);

	/* Clients use a ticket of TLS 1.3 once (RFC 8446 §C.4), so each resumption gives a new one.
	 */
	return which > 0 && SSL_version(ssl) == TLS1_3_VERSION ? 2 : which;
}

/* OpenSSL looks at a session's age alone; a certificate may have a shorter life. */
static SSL_TICKET_RETURN
on_ticket_session(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_n,
	SSL_TICKET_STATUS status, void *arg)
{
	(void)name;
	(void)name_n;
	(void)arg;
	switch (status) {
	case SSL_TICKET_SUCCESS:
	case SSL_TICKET_SUCCESS_RENEW:
		if (!clientauth_is_session_good(of_ssl(ssl)->auth, session))
			return SSL_TICKET_RETURN_IGNORE_RENEW;
		return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE
						    : SSL_TICKET_RETURN_USE_RENEW;
	default: return SSL_TICKET_RETURN_IGNORE_RENEW;
	}
}

int
tlsctx_fail(struct err *err, const char *what)
{
	unsigned long code = ERR_peek_last_error();

	err_set(err, "%s: %s", what, code != 0 ? ERR_reason_error_string(code) : "failed");
	ERR_clear_error();
	return -1;
}

/* OpenSSL's lists skip what they do not know, and take more than names. */
uint16_t
tlsctx_cipher_id(const char *name)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	bool is_13 = strncmp(name, "TLS_", 4) == 0;
	uint16_t id = 0;

	if (ctx != NULL &&
		(is_13 ? SSL_CTX_set_ciphersuites(ctx, name)
		       : SSL_CTX_set_cipher_list(ctx, name)) == 1) {
		const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);

		for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
			const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);

			if (strcmp(SSL_CIPHER_get_name(c), name) == 0)
				id = SSL_CIPHER_get_protocol_id(c);
		}
	}
	SSL_CTX_free(ctx);
	ERR_clear_error();
	return id;
}

/* Names that begin with TLS_ are suites of TLS 1.3; an empty side keeps our own list. */
int
tlsctx_set_ciphers(SSL_CTX *ctx, const struct cfg_list *names, struct err *err)
{
	struct sbuf v12 = { 0 };
	struct sbuf v13 = { 0 };
	int rc = 0;

	for (size_t i = 0; i < names->n; i++) {
		const char *name = *CFG_AT(char *, *names, i);
		struct sbuf *list = strncmp(name, "TLS_", 4) == 0 ? &v13 : &v12;

		sbuf_addf(list, "%s%s", list->n > 0 ? ":" : "", name);
	}
	if (SSL_CTX_set_cipher_list(ctx, v12.n > 0 ? v12.p : CIPHERS_12) != 1)
		rc = tlsctx_fail(err, "ciphers (TLS 1.2)");
	else if (SSL_CTX_set_ciphersuites(ctx, v13.n > 0 ? v13.p : CIPHERS_13) != 1)
		rc = tlsctx_fail(err, "ciphers (TLS 1.3)");
	sbuf_fini(&v12);
	sbuf_fini(&v13);
	return rc;
}

/* --- sessions that are remembered here --- */

/* Its id and what it holds are copied; OpenSSL keeps the session. */
static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
	const struct tlsctx *c = of_ssl(ssl);
	unsigned id_n;
	const unsigned char *id = SSL_SESSION_get_id(session, &id_n);
	unsigned char *der = NULL;
	int n;

	/* A ticket of TLS 1.3 has all of it. */
	if (c->tickets != NULL && SSL_version(ssl) == TLS1_3_VERSION)
		return 0;
	n = i2d_SSL_SESSION(session, &der);
	if (n > 0) {
		sesscache_put(c->cache, id, id_n, der, (size_t)n, clock_ms());
		OPENSSL_clear_free(der, (size_t)n);
	}
	return 0;
}

static SSL_SESSION *
on_get_session(SSL *ssl, const unsigned char *id, int id_n, int *is_shared)
{
	const struct tlsctx *c = of_ssl(ssl);
	SSL_SESSION *session;
	uint8_t *der;
	const unsigned char *p;
	size_t n;

	*is_shared = 0; /* it is OpenSSL's alone */
	der = id_n > 0 ? sesscache_get(c->cache, id, (size_t)id_n, &n, clock_ms()) : NULL;
	if (der == NULL)
		return NULL;
	p = der;
	session = d2i_SSL_SESSION(NULL, &p, (long)n);
	OPENSSL_cleanse(der, n);
	free(der);
	if (session != NULL && !clientauth_is_session_good(c->auth, session)) {
		SSL_SESSION_free(session);
		session = NULL;
	}
	return session;
}

/* After a fatal alert (RFC 5246 §7.2), which may come while a connection is relayed: it has its
 * context then, but ours may have gone with a reload. The cache outlives all of them. */
static void
on_remove_session(SSL_CTX *ctx, SSL_SESSION *session)
{
	struct sesscache *cache = SSL_CTX_get_ex_data(ctx, cache_slot);
	unsigned id_n;
	const unsigned char *id = SSL_SESSION_get_id(session, &id_n);

	if (cache != NULL)
		sesscache_drop(cache, id, id_n);
}

static void
set_cache(SSL_CTX *ctx, const struct tlsctx *c)
{
	if (c->cache == NULL) {
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		return;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_set_ex_data(ctx, cache_slot, c->cache);
	SSL_CTX_sess_set_new_cb(ctx, on_new_session);
	SSL_CTX_sess_set_get_cb(ctx, on_get_session);
	SSL_CTX_sess_set_remove_cb(ctx, on_remove_session);
}

/* With a cache and without tickets those of TLS 1.3 hold only a session's id. */
static void
set_resumption(SSL_CTX *ctx, const struct tlsctx *c, const struct tlsctx_env *env)
{
	int64_t life_ms = c->tickets != NULL ? env->ticket_life_ms : env->cache_life_ms;

	set_cache(ctx, c);
	if (c->tickets == NULL)
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_num_tickets(ctx, c->tickets != NULL || c->cache != NULL ? 1 : 0);
	SSL_CTX_set_timeout(ctx, (long)((life_ms + 999) / 1000));
	if (c->tickets == NULL)
		return;
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
	SSL_CTX_set_session_ticket_cb(ctx, NULL, on_ticket_session, NULL);
}

static int
set_policy(SSL_CTX *ctx, struct tlsctx *c, const struct tlslistencfg *cfg, struct err *err)
{
	int min = cfg->min_version == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

	SSL_CTX_set_options(ctx,
		SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
			SSL_OP_PRIORITIZE_CHACHA);
	/* NO_AUTO_CHAIN: what is not in the file is not searched for, at each handshake. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	if (SSL_CTX_set_min_proto_version(ctx, min) != 1 ||
		SSL_CTX_set1_groups_list(ctx, groups_list) != 1)
		return tlsctx_fail(err, "min_version");
	SSL_CTX_set_app_data(ctx, c);
	SSL_CTX_set_client_hello_cb(ctx, on_client_hello, c);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_servername);
	SSL_CTX_set_tlsext_status_cb(ctx, on_status);
	if (c->alpn_n > 0)
		SSL_CTX_set_alpn_select_cb(ctx, on_alpn, c);
	if (c->auth != NULL && clientauth_apply(c->auth, ctx, err) < 0)
		return -1;
	return tlsctx_set_ciphers(ctx, &cfg->ciphers, err);
}

/*
 * Sessions are bound to the listener, to the names that the group stands for (a renewed certificate
 * for the same names goes on resuming), and to what clients are asked for: where a certificate is
 * required, nothing resumes that began without one, or under other authorities or revocation lists.
 */
static int
set_session_context(SSL_CTX *ctx, const struct tlsctx *c, const struct tlslistencfg *cfg,
	struct cert *const *certs, const struct certgroup *g, struct err *err)
{
	struct sbuf text = { 0 };
	unsigned char md[SHA256_DIGEST_LENGTH];

	sbuf_addf(&text, "%s\n", cfg->address_text);
	for (uint32_t i = 0; i < g->count; i++)
		for (size_t j = 0; j < certs[g->certs[i]]->nnames; j++)
			sbuf_addf(&text, "%s\n", certs[g->certs[i]]->names[j]);
	if (c->auth != NULL) {
		sbuf_addc(&text, '\0'); /* stands in no name */
		sbuf_add(&text, (const char *)c->auth->digest, sizeof(c->auth->digest));
	}
	SHA256((const unsigned char *)text.p, text.n, md);
	sbuf_fini(&text);
	if (SSL_CTX_set_session_id_context(ctx, md, sizeof(md)) != 1)
		return tlsctx_fail(err, "session context");
	return 0;
}

/* The signatures that OpenSSL would take by itself, less SHA-1, by the kind of their keys. Lists
 * are arrays: OpenSSL's macro wants them writable. */
#define SIGNATURES_EC "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:ed448"
#define SIGNATURES_RSA                                                                    \
	"rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:rsa_pss_pss_sha256:" \
	"rsa_pss_pss_sha384:rsa_pss_pss_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512"

/* TLS 1.3 takes the first signature of our list that the client has and we have a key for; before,
 * the suite says whose turn it is. */
static int
put_first(SSL_CTX *ctx, enum certpick_first first, struct err *err)
{
	static char rsa_first[] = SIGNATURES_RSA ":" SIGNATURES_EC;
	static char ec_first[] = SIGNATURES_EC ":" SIGNATURES_RSA;
	char *list = first == CERTPICK_RSA ? rsa_first : ec_first;
	const char *last = first == CERTPICK_RSA ? "aECDSA" : "aRSA";
	const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
	struct sbuf suites = { 0 };
	bool ok;

	if (first == CERTPICK_ANY)
		return 0;
	for (int i = 0; i < sk_SSL_CIPHER_num(all); i++)
		sbuf_addf(&suites, "%s:", SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i)));
	sbuf_addf(&suites, "+%s", last);
	ok = SSL_CTX_set1_sigalgs_list(ctx, list) == 1 &&
		SSL_CTX_set_cipher_list(ctx, suites.p) == 1;
	sbuf_fini(&suites);
	return ok ? 0 : tlsctx_fail(err, "preference");
}

static int
use_certs(SSL_CTX *ctx, struct cert *const *certs, const struct certgroup *g, int64_t at_s,
	size_t *bad, struct err *err)
{
	if (put_first(ctx, certpick_first(certs, g->certs, g->count, at_s), err) < 0)
		return -1;
	for (uint32_t i = 0; i < g->count; i++) {
		struct cert *c = certs[g->certs[i]];

		if (!certpick_is_taken(certs, g->certs, g->count, i, at_s))
			continue;
		*bad = g->certs[i];
		if (SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->chain, 1) != 1)
			return tlsctx_fail(err, c->cert_path);
	}
	return 0;
}

static int
build_group(struct tlsctx *c, size_t i, const struct tlslistencfg *cfg, struct cert *const *certs,
	size_t ncerts, const struct tlsctx_env *env, size_t *bad, struct err *err)
{
	const struct certgroup *g = &c->groups.v[i];
	SSL_CTX *ctx = c->ctx[i] = kdf_ctx_new(TLS_server_method());

	*bad = ncerts;
	if (ctx == NULL)
		return tlsctx_fail(err, "SSL_CTX_new");
	if (set_policy(ctx, c, cfg, err) < 0 || set_session_context(ctx, c, cfg, certs, g, err) < 0)
		return -1;
	set_resumption(ctx, c, env);
	return use_certs(ctx, certs, g, env->at_s, bad, err);
}

static void
set_alpn(struct tlsctx *c, const struct cfg_list *names)
{
	struct sbuf wire = { 0 };

	for (size_t i = 0; i < names->n; i++) {
		const char *name = *CFG_AT(char *, *names, i);

		sbuf_addc(&wire, (char)strlen(name));
		sbuf_adds(&wire, name);
	}
	c->alpn_n = (unsigned)wire.n;
	c->alpn = (uint8_t *)sbuf_take(&wire);
}

struct tlsctx *
tlsctx_new(const struct tlslistencfg *cfg, struct cert *const *certs, size_t ncerts,
	const struct tlsctx_env *env, size_t *bad, struct err *err)
{
	struct tlsctx *c = xcalloc(1, sizeof(*c));

	pthread_once(&once, fetch_once);
	c->index = sni_new();
	c->tickets = env->tickets;
	c->cache = env->cache;
	c->auth = env->auth;
	c->is_strict = cfg->strict_sni;
	set_alpn(c, &cfg->alpn);
	certgroups_make(&c->groups, c->index, certs, ncerts);
	c->ctx = xcalloc(c->groups.n, sizeof(SSL_CTX *));
	for (size_t i = 0; i < c->groups.n; i++)
		if (build_group(c, i, cfg, certs, ncerts, env, bad, err) < 0) {
			tlsctx_free(c);
			return NULL;
		}
	return c;
}

void
tlsctx_free(struct tlsctx *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->groups.n; i++)
		SSL_CTX_free(c->ctx[i]);
	free(c->ctx);
	certgroups_fini(&c->groups);
	sni_free(c->index);
	free(c->alpn);
	free(c);
}

SSL_CTX *
tlsctx_default(const struct tlsctx *c)
{
	return c->ctx[0];
}
