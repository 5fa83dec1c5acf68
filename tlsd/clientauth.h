/*
 * clientauth: whom a listener asks for a certificate, and whose are believed: certification
 * authorities, revocation lists, depth. Loaded on the main thread, then immutable; shared by
 * generations, counted.
 */
#ifndef TLSD_CLIENTAUTH_H
#define TLSD_CLIENTAUTH_H

#include <openssl/ssl.h>
#include <sys/stat.h>

#include "libcommon/err.h"
#include "tlsd/config.h"

#define CLIENTAUTH_DIGEST 32

struct clientauth {
	_Atomic unsigned refs;
	int mode; /* enum client_auth_mode */
	int depth;
	char *ca_path; /* NULL: none is believed */
	char *crl_path;
	struct stat ca_st;
	struct stat crl_st;
	X509_STORE *store;
	STACK_OF(X509_NAME) * names; /* whom clients are told that we believe */
	size_t ncas;
	size_t ncrls;
	int64_t next_update; /* when the first of the lists is over, seconds; 0: without lists */
	/* Of all that decides: sessions that began under another one are not resumed. */
	uint8_t digest[CLIENTAUTH_DIGEST];
};

/* NULL with err, which names the file. Blocks on files. */
struct clientauth *clientauth_load(const struct clientauthcfg *cfg, struct err *err);
struct clientauth *clientauth_ref(struct clientauth *a);
void clientauth_unref(struct clientauth *a);
/* It is what clientauth_load would make of cfg, as far as names and times of the files tell. */
bool clientauth_is_current(const struct clientauth *a, const struct clientauthcfg *cfg);
/* A warning for lists that are over. */
void clientauth_warn(
	const struct clientauth *a, struct err_at at, const char *path, struct errs *errs);
bool clientauth_is_over(const struct clientauth *a, int64_t now_s);

/* Ask for certificates in ctx's handshakes. */
int clientauth_apply(struct clientauth *a, SSL_CTX *ctx, struct err *err);
/* A session that was verified then is still good: its certificate has not expired since. a NULL:
 * nothing was asked for. */
bool clientauth_is_session_good(const struct clientauth *a, const SSL_SESSION *session);
/* "require", ... */
const char *clientauth_mode_word(int mode);

#endif
