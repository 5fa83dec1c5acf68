/*
 * tlsrec_crypt: keys and AEAD. The only file of the record layer that knows OpenSSL.
 *
 * A context with its key schedule takes 1.2 kB, so connections do not have their own: a worker has
 * a small table of them, and a key's owner number says in which place it may be found. Whoever
 * finds another's key there sets its own with the nonce, in one call: 120 ns more than the nonce
 * alone. Keys are derived by hand: HKDF-Expand of one block is one HMAC, a quarter of the time that
 * the library's own derivation takes with its parameters.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "libcommon/mem.h"
#include "libcommon/tlsrec_int.h"

/* By connections that are busy at the same time, not by those that are open. */
enum { PLACES = 128, AEADS = 3, HASHES = 2, HASH_MAX = 48, BLOCK_MAX = 128 };

struct place {
	EVP_CIPHER_CTX *ctx;
	uint64_t owner;
};

struct tlsrec_worker {
	EVP_CIPHER *ciphers[AEADS];
	EVP_MD *hashes[HASHES];
	EVP_MD_CTX *digest;
	uint64_t last_owner[2];
	struct place places[2][AEADS][PLACES]; /* [0] opens, [1] seals */
};

static const char *const cipher_names[AEADS] = {
	[HANDOFF_AES_128_GCM] = "AES-128-GCM",
	[HANDOFF_AES_256_GCM] = "AES-256-GCM",
	[HANDOFF_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
};
static const char *const hash_names[HASHES] = {
	[HANDOFF_SHA256] = "SHA256",
	[HANDOFF_SHA384] = "SHA384",
};

struct tlsrec_worker *
tlsrec_worker_new(void)
{
	struct tlsrec_worker *w = xcalloc(1, sizeof(*w));
	bool ok = true;

	for (int i = 0; i < AEADS; i++) {
		w->ciphers[i] = EVP_CIPHER_fetch(NULL, cipher_names[i], NULL);
		ok = ok && w->ciphers[i] != NULL;
	}
	for (int i = 0; i < HASHES; i++) {
		w->hashes[i] = EVP_MD_fetch(NULL, hash_names[i], NULL);
		ok = ok && w->hashes[i] != NULL;
	}
	w->digest = EVP_MD_CTX_new();
	if (ok && w->digest != NULL)
		return w;
	ERR_clear_error();
	tlsrec_worker_free(w);
	return NULL;
}

void
tlsrec_worker_free(struct tlsrec_worker *w)
{
	if (w == NULL)
		return;
	for (int side = 0; side < 2; side++)
		for (int i = 0; i < AEADS; i++)
			for (int j = 0; j < PLACES; j++)
				EVP_CIPHER_CTX_free(w->places[side][i][j].ctx);
	for (int i = 0; i < AEADS; i++)
		EVP_CIPHER_free(w->ciphers[i]);
	for (int i = 0; i < HASHES; i++)
		EVP_MD_free(w->hashes[i]);
	EVP_MD_CTX_free(w->digest);
	free(w);
}

/* --- keys --------------------------------------------------------------------------------- */

/* One half of HMAC (RFC 2104): hash(key ^ pad, p[0..n)). */
static bool
hash_keyed(struct tlsrec_worker *w, const EVP_MD *md, const uint8_t *key, size_t key_n, uint8_t pad,
	const uint8_t *p, size_t n, uint8_t *out)
{
	size_t block_n = (size_t)EVP_MD_get_block_size(md);
	uint8_t block[BLOCK_MAX] = { 0 };

	memcpy(block, key, key_n);
	for (size_t i = 0; i < sizeof(block); i++) /* all of it: a few vectors */
		block[i] ^= pad;

	bool ok = EVP_DigestInit_ex2(w->digest, md, NULL) == 1 &&
		EVP_DigestUpdate(w->digest, block, block_n) == 1 &&
		EVP_DigestUpdate(w->digest, p, n) == 1 &&
		EVP_DigestFinal_ex(w->digest, out, NULL) == 1;

	OPENSSL_cleanse(block, sizeof(block));
	return ok;
}

/*
 * HKDF-Expand-Label(secret, label, "", n) of RFC 8446 §7.1, n up to the hash's length: of
 * HKDF-Expand (RFC 5869 §2.3) its first block, HMAC(secret, info | 1).
 */
static bool
expand_label(struct tlsrec *t, const uint8_t *secret, const char *label, uint8_t *out, size_t n)
{
	const EVP_MD *md = t->w->hashes[t->suite->hash];
	const size_t hash_n = t->suite->secret_len;
	const size_t label_n = strlen(label);
	uint8_t info[32] = { 0, (uint8_t)n, (uint8_t)(6 + label_n), 't', 'l', 's', '1', '3', ' ' };
	uint8_t inner[HASH_MAX];
	uint8_t full[HASH_MAX];

	memcpy(info + 9, label, label_n);
	info[10 + label_n] = 1;

	bool ok = hash_keyed(t->w, md, secret, hash_n, 0x36, info, 11 + label_n, inner) &&
		hash_keyed(t->w, md, secret, hash_n, 0x5c, inner, hash_n, full);

	if (ok)
		memcpy(out, full, n);
	else
		ERR_clear_error();
	OPENSSL_cleanse(inner, sizeof(inner));
	OPENSSL_cleanse(full, sizeof(full));
	return ok;
}

bool
tlsrec_crypt_start(struct tlsrec *t, struct tlsrec_side *s)
{
	s->owner = ++t->w->last_owner[s == &t->write];
	if (!tlsrec_is_13(t))
		return true;
	return expand_label(t, s->secret, "key", s->key, t->suite->key_len) &&
		expand_label(t, s->secret, "iv", s->iv, HANDOFF_IV_MAX);
}

bool
tlsrec_crypt_next(struct tlsrec *t, struct tlsrec_side *s)
{
	tlsrec_crypt_forget(t, s);
	s->seq = 0;
	return expand_label(t, s->secret, "traffic upd", s->secret, t->suite->secret_len) &&
		tlsrec_crypt_start(t, s);
}

/* --- contexts ----------------------------------------------------------------------------- */

static struct place *
place_of(struct tlsrec *t, const struct tlsrec_side *s)
{
	return &t->w->places[s == &t->write][t->suite->aead][s->owner % PLACES];
}

/* A key of zeros in its place: quicker than freeing the context, and as good. */
void
tlsrec_crypt_forget(struct tlsrec *t, struct tlsrec_side *s)
{
	static const uint8_t zeros[HANDOFF_KEY_MAX];
	struct place *at = place_of(t, s);

	if (at->ctx == NULL || at->owner != s->owner)
		return;
	at->owner = 0;
	if (EVP_CipherInit_ex2(at->ctx, NULL, zeros, zeros, s == &t->write, NULL) == 1)
		return;
	EVP_CIPHER_CTX_free(at->ctx);
	at->ctx = NULL;
	ERR_clear_error();
}

/* A context with the side's key and this nonce, or NULL. */
static EVP_CIPHER_CTX *
prepare(struct tlsrec *t, const struct tlsrec_side *s, const uint8_t *nonce)
{
	struct place *at = place_of(t, s);
	const EVP_CIPHER *cipher = NULL;
	const uint8_t *key = NULL;

	if (at->ctx == NULL) {
		at->ctx = EVP_CIPHER_CTX_new();
		if (at->ctx == NULL)
			return NULL;
		cipher = t->w->ciphers[t->suite->aead];
	}
	if (at->owner != s->owner)
		key = s->key;
	if (EVP_CipherInit_ex2(at->ctx, cipher, key, nonce, s == &t->write, NULL) != 1) {
		EVP_CIPHER_CTX_free(at->ctx);
		*at = (struct place){ .owner = 0 };
		return NULL;
	}
	at->owner = s->owner;
	return at->ctx;
}

static bool
update(EVP_CIPHER_CTX *ctx, uint8_t *out, const uint8_t *in, size_t n)
{
	int given;

	return n == 0 || EVP_CipherUpdate(ctx, out, &given, in, (int)n) == 1;
}

/*
 * Make the tag, or compare it. Not by EVP_Cipher, which saves 25 ns a record: whether that comes to
 * the tag at all is left to each cipher and release of OpenSSL. ChaCha20-Poly1305 of 3.0.19 takes a
 * call without input for nothing to do, and any bytes would pass for a record.
 */
static bool
finish(EVP_CIPHER_CTX *ctx)
{
	uint8_t none[16]; /* AEADs have nothing left to give */
	int given;

	return EVP_CipherFinal_ex(ctx, none, &given) == 1;
}

bool
tlsrec_crypt_seal(struct tlsrec *t, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
	const uint8_t *in, size_t n, int last, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = prepare(t, &t->write, nonce);
	const uint8_t byte = (uint8_t)last;
	size_t tag_at = n + (last >= 0);
	OSSL_PARAM tag[2] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, out + tag_at, TLSREC_TAG),
		OSSL_PARAM_END,
	};
	bool ok = ctx != NULL && update(ctx, NULL, aad, aad_n) && update(ctx, out, in, n) &&
		update(ctx, out + n, &byte, last >= 0) && finish(ctx) &&
		EVP_CIPHER_CTX_get_params(ctx, tag) == 1;

	if (!ok)
		ERR_clear_error();
	return ok;
}

bool
tlsrec_crypt_open(struct tlsrec *t, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
	const uint8_t *in, size_t n, uint8_t *out, uint8_t *last)
{
	EVP_CIPHER_CTX *ctx = prepare(t, &t->read, nonce);
	size_t own_n = n - (last != NULL);
	uint8_t *tag_at = (uint8_t *)(uintptr_t)(in + n);
	OSSL_PARAM tag[2] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag_at, TLSREC_TAG),
		OSSL_PARAM_END,
	};
	bool ok = ctx != NULL && EVP_CIPHER_CTX_set_params(ctx, tag) == 1 &&
		update(ctx, NULL, aad, aad_n) && update(ctx, out, in, own_n) &&
		(last == NULL || update(ctx, last, in + own_n, 1)) && finish(ctx);

	if (!ok)
		ERR_clear_error();
	return ok;
}
