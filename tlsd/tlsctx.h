/*
 * tlsctx: what a listener's handshakes obey: one SSL_CTX per group of certificates (those that
 * serve the same names, of different key types), chosen by SNI before OpenSSL looks at anything
 * else of the ClientHello; ALPN; tickets; whether clients must show a certificate. Immutable once
 * made; shared by workers.
 */
#ifndef TLSD_TLSCTX_H
#define TLSD_TLSCTX_H

#include <openssl/ssl.h>

#include "tlsd/certs.h"
#include "tlsd/clientauth.h"
#include "tlsd/config.h"
#include "tlsd/sesscache.h"
#include "tlsd/sni.h"
#include "tlsd/ticket.h"

/* What a handshake found out; the session keeps one until its connection is relayed. Zeroed by the
 * session, written by the callbacks. */
struct tls_hello {
	uint8_t sni_n;
	bool is_sni_known;   /* a certificate of ours has that name */
	bool is_sni_refused; /* none has, and strict_sni is on */
	char sni[SNI_NAME_MAX + 1];
};

struct tlsctx;

/* What outlives it. */
struct tlsctx_env {
	struct clientauth *auth;     /* NULL: clients are not asked for certificates */
	struct ticket_keys *tickets; /* NULL: no tickets */
	int64_t ticket_life_ms;
	struct sesscache *cache; /* NULL: no stateful resumption */
	int64_t cache_life_ms;
	int64_t at_s; /* staples are judged then, seconds since 1970 */
};

/*
 * NULL with err; *bad is the number of the certificate at fault, or
 * ncerts when it is not a certificate's. Of several for the same name certpick.h chooses.
 */
struct tlsctx *tlsctx_new(const struct tlslistencfg *cfg, struct cert *const *certs, size_t ncerts,
	const struct tlsctx_env *env, size_t *bad, struct err *err);
void tlsctx_free(struct tlsctx *c);
/* The number (IANA's) of the cipher suite with this name, as OpenSSL writes it; 0: none has it. */
uint16_t tlsctx_cipher_id(const char *name);
/* Suites by name, best first, of both versions; where none is of a version: AEAD with forward
 * secrecy. -1 with err. */
int tlsctx_set_ciphers(SSL_CTX *ctx, const struct cfg_list *names, struct err *err);
/* -1, with "what" and what OpenSSL says of it. Empties its error queue. */
int tlsctx_fail(struct err *err, const char *what);
/* The context that a connection begins with. */
SSL_CTX *tlsctx_default(const struct tlsctx *c);

#endif
