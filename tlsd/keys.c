/*
 * keys: what the key schedule derives, OpenSSL's message callback, and TLS 1.2's key block (RFC
 * 5246 §6.3). The connection's struct keys hangs on the SSL as extra data.
 */
#include "tlsd/keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tlsd/kdf.h"

#define RECORD_HEAD 5

static int slot = -1; /* of our extra data */
static EVP_KDF *prf;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
init_once(void)
{
	slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	prf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
	if (slot < 0 || prf == NULL)
		abort();
}

static void __attribute__((destructor)) free_fetched(void)
{
	EVP_KDF_free(prf);
}

/* A secret is derived when it comes into use, so its records count from there. */
static void
on_secret(void *arg, enum kdf_secret which, const uint8_t *secret, size_t n)
{
	SSL *ssl = arg;
	struct keys *k = SSL_get_ex_data(ssl, slot);
	bool is_client = which == KDF_CLIENT_TRAFFIC;

	if (n > HANDOFF_SECRET_MAX)
		return;
	memcpy(is_client ? k->client_secret : k->server_secret, secret, n);
	*(is_client ? &k->client_n : &k->server_n) = (uint8_t)n;
	*(is_client == SSL_is_server(ssl) ? &k->read_seq : &k->write_seq) = 0;
}

/* Numbers count all records of a direction under one key; a CCS brings TLS 1.2 the next one and
 * means nothing in TLS 1.3 (RFC 8446 §5). */
static void
on_message(int is_write, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
{
	struct keys *k = arg;
	uint64_t *seq = is_write ? &k->write_seq : &k->read_seq;
	const uint8_t *head = p;

	(void)version;
	if (type != SSL3_RT_HEADER || n < RECORD_HEAD)
		return;
	if (head[0] != SSL3_RT_CHANGE_CIPHER_SPEC)
		++*seq;
	else if (SSL_version(ssl) == TLS1_2_VERSION)
		*seq = 0;
}

void
keys_watch(struct keys *k, SSL *ssl)
{
	pthread_once(&once, init_once);
	memset(k, 0, sizeof(*k));
	SSL_set_ex_data(ssl, slot, k);
	SSL_set_msg_callback(ssl, on_message);
	SSL_set_msg_callback_arg(ssl, k);
}

void
keys_unwatch(SSL *ssl)
{
	SSL_set_ex_data(ssl, slot, NULL);
	SSL_set_msg_callback(ssl, NULL);
	SSL_set_msg_callback_arg(ssl, NULL);
}

int
keys_do_handshake(SSL *ssl)
{
	bool is_watched = slot >= 0 && SSL_get_ex_data(ssl, slot) != NULL;
	int rc;

	if (!is_watched)
		return SSL_do_handshake(ssl);
	kdf_listen(on_secret, ssl);
	rc = SSL_do_handshake(ssl);
	kdf_listen(NULL, NULL);
	return rc;
}

/* The explicit nonce stands right behind the record's head (RFC 5288 §3). */
void
keys_saw_output(struct keys *k, const char *p, size_t n)
{
	const uint8_t *at = (const uint8_t *)p;
	const uint8_t *end = at + n;

	while (end - at >= RECORD_HEAD + 8) {
		if (at[0] == SSL3_RT_HANDSHAKE) {
			k->nonce = 0;
			for (int i = 0; i < 8; i++)
				k->nonce = k->nonce << 8 | at[RECORD_HEAD + i];
		}
		at += RECORD_HEAD + (size_t)(at[3] << 8 | at[4]);
	}
}

static bool
derive_block(SSL *ssl, const struct handoff_suite *suite, uint8_t *block)
{
	static const char label[] = "key expansion";
	enum { LABEL_LEN = sizeof(label) - 1 };
	uint8_t master[SSL_MAX_MASTER_KEY_LENGTH];
	uint8_t seed[LABEL_LEN + 2 * SSL3_RANDOM_SIZE];
	size_t master_n = SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master));
	const EVP_MD *md = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(prf);

	memcpy(seed, label, LABEL_LEN);
	SSL_get_server_random(ssl, seed + LABEL_LEN, SSL3_RANDOM_SIZE);
	SSL_get_client_random(ssl, seed + LABEL_LEN + SSL3_RANDOM_SIZE, SSL3_RANDOM_SIZE);

	char *name = (char *)(uintptr_t)EVP_MD_get0_name(md);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, master_n),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof(seed)),
		OSSL_PARAM_construct_end(),
	};
	bool ok = ctx != NULL && EVP_KDF_derive(ctx, block, handoff_block_len(suite), params) == 1;

	EVP_KDF_CTX_free(ctx);
	OPENSSL_cleanse(master, sizeof(master));
	return ok;
}

static bool
take_12(const struct keys *k, SSL *ssl, struct handoff_keys *out)
{
	uint8_t block[HANDOFF_BLOCK_MAX];
	bool ok = derive_block(ssl, out->suite, block);

	if (ok)
		handoff_set_block(out, block);
	if (out->suite->aead != HANDOFF_CHACHA20_POLY1305)
		out->nonce = k->nonce + 1;
	OPENSSL_cleanse(block, sizeof(block));
	return ok;
}

static bool
take_13(const struct keys *k, struct handoff_keys *out)
{
	uint8_t n = out->suite->secret_len;

	if (k->client_n != n || k->server_n != n)
		return false;

	bool is_server = out->role == HANDOFF_SERVER;

	memcpy(out->read.secret, is_server ? k->client_secret : k->server_secret, n);
	memcpy(out->write.secret, is_server ? k->server_secret : k->client_secret, n);
	return true;
}

bool
keys_take(const struct keys *k, SSL *ssl, struct handoff_keys *out)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	unsigned fragment = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl));

	*out = (struct handoff_keys){
		.suite = handoff_suite_find((uint16_t)SSL_CIPHER_get_protocol_id(cipher)),
		.role = SSL_is_server(ssl) ? HANDOFF_SERVER : HANDOFF_CLIENT,
	};
	if (out->suite == NULL || SSL_has_pending(ssl) || fragment > 4)
		return false;
	out->read.seq = k->read_seq;
	out->write.seq = k->write_seq;
	out->read.limit = (uint16_t)(fragment > 0 ? 256u << fragment : HANDOFF_LIMIT_MAX);
	out->write.limit = out->read.limit;
	return out->suite->version == HANDOFF_TLS13 ? take_13(k, out) : take_12(k, ssl, out);
}

void
keys_wipe(struct keys *k)
{
	OPENSSL_cleanse(k, sizeof(*k));
}
