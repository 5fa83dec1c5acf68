/*
 * challenge: see the header. Asks are on one list from the first to the last, so that those whose
 * loop never runs again are freed, too. Nothing is kept: a challenge is asked for a few times in
 * three months.
 */
#include "tlsd/challenge.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "tlsd/certs.h"
#include "tlsd/sni.h"

#define ASKED_MAX      64
#define ACME_EXTENSION "1.3.6.1.5.5.7.1.31"

struct challenge_ask {
	struct challenges *owner;
	struct challenge_ask *prev;
	struct challenge_ask *next;
	struct loop *loop;
	challenge_fn fn; /* NULL: forgotten; the asking thread's */
	void *arg;
	char *folder;
	char *name;
	SSL_CTX *ctx;
};

struct challenges {
	struct loop *main_loop;
	pthread_mutex_t lock;
	struct challenge_ask *first;
	unsigned count;
	struct log_limit refused; /* the main thread's */
	struct log_limit shown;
};

struct challenges *
challenges_new(struct loop *main_loop)
{
	struct challenges *c = xcalloc(1, sizeof(*c));

	c->main_loop = main_loop;
	c->refused.burst = 5;
	c->shown.burst = 5;
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

static void
free_ask(struct challenge_ask *ask)
{
	SSL_CTX_free(ask->ctx);
	free(ask->folder);
	free(ask->name);
	free(ask);
}

void
challenges_free(struct challenges *c)
{
	if (c == NULL)
		return;
	while (c->first != NULL) {
		struct challenge_ask *gone = c->first;

		c->first = gone->next;
		free_ask(gone);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* ---- on the main thread ---- */

/* The only protocol that such a certificate is for. */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
	unsigned in_n, void *arg)
{
	static const unsigned char ours[] = "\12" CHALLENGE_ALPN;
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_n, ours, sizeof(ours) - 1, in, in_n) !=
		OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* One that is meant for this and nothing else says so, and that it must be understood. */
static bool
is_challenge(const X509 *leaf)
{
	ASN1_OBJECT *id = OBJ_txt2obj(ACME_EXTENSION, 1);
	int at = id != NULL ? X509_get_ext_by_OBJ(leaf, id, -1) : -1;

	ASN1_OBJECT_free(id);
	return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(leaf, at)) == 1;
}

static SSL_CTX *
make_ctx(const struct cert *c)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_options(
		ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	if (SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
		SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
		SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->chain, 1) == 1)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static void
refuse(struct challenges *c, const struct challenge_ask *ask, const char *why)
{
	uint32_t held;

	if (log_allow(&c->refused, &held))
		LOG_WARN("acme_challenge_refused", L_STR("name", ask->name), L_STR("text", why),
			L_INT("not_logged", held));
}

static void
load(struct challenges *c, struct challenge_ask *ask, const char *cert_path, const char *key_path)
{
	struct pem_error e;
	struct cert *cert = cert_load(cert_path, key_path, NULL, NULL, &e);
	uint32_t held;

	if (cert == NULL) {
		refuse(c, ask, e.err.text);
		return;
	}
	if (is_challenge(cert->leaf))
		ask->ctx = make_ctx(cert);
	if (ask->ctx == NULL)
		refuse(c, ask, "the certificate is none for a challenge");
	else if (log_allow(&c->shown, &held)) /* anybody may ask as often as he likes */
		LOG_INFO("acme_challenge", L_STR("name", ask->name), L_STR("path", cert_path),
			L_INT("not_logged", held));
	ERR_clear_error();
	cert_unref(cert);
}

/* Also when it cannot be told: loading it will say why. */
static bool
is_there(const char *path)
{
	return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static void answer(void *arg);

static void
look(void *arg)
{
	struct challenge_ask *ask = arg;
	char *one = xasprintf("%s/%s.pem", ask->folder, ask->name);
	char *cert = xasprintf("%s/%s.crt.pem", ask->folder, ask->name);
	char *key = xasprintf("%s/%s.key.pem", ask->folder, ask->name);

	if (is_there(one))
		load(ask->owner, ask, one, NULL);
	else if (is_there(cert))
		load(ask->owner, ask, cert, key);
	free(one);
	free(cert);
	free(key);
	loop_post(ask->loop, answer, ask);
}

/* ---- on the thread that asked ---- */

static void
answer(void *arg)
{
	struct challenge_ask *ask = arg;
	struct challenges *c = ask->owner;
	SSL_CTX *ctx = ask->ctx;

	pthread_mutex_lock(&c->lock);
	*(ask->prev != NULL ? &ask->prev->next : &c->first) = ask->next;
	if (ask->next != NULL)
		ask->next->prev = ask->prev;
	c->count--;
	pthread_mutex_unlock(&c->lock);
	if (ask->fn != NULL) {
		ask->ctx = NULL;
		ask->fn(ask->arg, ctx);
	}
	free_ask(ask);
}

struct challenge_ask *
challenge_ask(struct challenges *c, struct loop *loop, const char *folder, struct slice name,
	challenge_fn fn, void *arg)
{
	struct challenge_ask *ask = xcalloc(1, sizeof(*ask));
	bool may_ask;

	*ask = (struct challenge_ask){ .owner = c, .loop = loop, .fn = fn, .arg = arg };
	ask->folder = xstrdup(folder);
	ask->name = xstrndup(name.p, name.n);
	pthread_mutex_lock(&c->lock);
	may_ask = c->count < ASKED_MAX && sni_name_ok(ask->name) && ask->name[0] != '*';
	if (may_ask) {
		ask->next = c->first;
		if (c->first != NULL)
			c->first->prev = ask;
		c->first = ask;
		c->count++;
	}
	pthread_mutex_unlock(&c->lock);
	if (!may_ask) {
		free_ask(ask);
		return NULL;
	}
	loop_post(c->main_loop, look, ask);
	return ask;
}

void
challenge_forget(struct challenge_ask *ask)
{
	ask->fn = NULL;
}
