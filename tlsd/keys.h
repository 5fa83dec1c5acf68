/*
 * keys: what another process needs to go on with a connection's records, gathered while OpenSSL
 * shakes hands: traffic secrets and record numbers (TLS 1.3), or the key block and the nonce that
 * our Finished left off at (TLS 1.2). OpenSSL has no call that tells these, but it has callbacks
 * that pass by all of them.
 *
 * The contents are secrets: end with keys_wipe.
 */
#ifndef TLSD_KEYS_H
#define TLSD_KEYS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcommon/handoffmsg.h"

struct keys {
	uint64_t read_seq; /* records under the present keys */
	uint64_t write_seq;
	uint64_t nonce; /* explicit one of the last handshake record that we wrote */
	uint8_t client_secret[HANDOFF_SECRET_MAX];
	uint8_t server_secret[HANDOFF_SECRET_MAX];
	uint8_t client_n; /* bytes of the secrets; 0: not known yet */
	uint8_t server_n;
};

/* From the connection's first byte to keys_unwatch, where all contexts that it may end up with are
 * kdf_ctx_new's. The application data of ssl is not used. */
void keys_watch(struct keys *k, SSL *ssl);
/* As SSL_do_handshake, also where nothing is watched. */
int keys_do_handshake(SSL *ssl);
void keys_unwatch(SSL *ssl);
/* Records on their way to the peer, whole ones: before each flush of the handshake. */
void keys_saw_output(struct keys *k, const char *p, size_t n);
/*
 * The handshake is done and nothing was read after it. False when the connection cannot be handed
 * over: a cipher suite that the record layer does not know, or OpenSSL kept something back.
 */
bool keys_take(const struct keys *k, SSL *ssl, struct handoff_keys *out);
void keys_wipe(struct keys *k);

#endif
