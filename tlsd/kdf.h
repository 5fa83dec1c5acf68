/*
 * kdf: the key schedule of TLS 1.3 (RFC 8446 §7.1) as a provider of OpenSSL's, in the place of its
 * own. It has two reasons: OpenSSL has no call that tells traffic secrets but a key log, which
 * formats five of them as text, and fetches its algorithms anew for each of some twenty
 * derivations.
 */
#ifndef TLSD_KDF_H
#define TLSD_KDF_H

#include <openssl/ssl.h>
#include <stdint.h>

/* A context whose connections derive their keys here; else as SSL_CTX_new. NULL: no memory. */
SSL_CTX *kdf_ctx_new(const SSL_METHOD *method);

/* Secrets by which application data are protected first. */
enum kdf_secret { KDF_CLIENT_TRAFFIC, KDF_SERVER_TRAFFIC };
typedef void (*kdf_fn)(void *arg, enum kdf_secret which, const uint8_t *secret, size_t n);
/* From now on tell of those that this thread derives; fn NULL: no more. */
void kdf_listen(kdf_fn fn, void *arg);
/* At a thread's end. */
void kdf_thread_stop(void);

#endif
