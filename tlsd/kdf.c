/*
 * kdf: HKDF-Extract and HKDF-Expand-Label of one block each, by two hashes over keyed blocks (HMAC,
 * RFC 2104). Digests are OpenSSL's, fetched once; what they work in is the thread's.
 */
#include "tlsd/kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAME      "weir-tls13"
#define PROPERTY  "weir.kdf=yes" /* names of others than OpenSSL need a dot */
#define HASH_MAX  48
#define BLOCK_MAX 128
#define LABEL_MAX 32 /* with its prefix */

enum hash { SHA_256, SHA_384, HASHES };

static const char *const hash_names[HASHES] = { "SHA256", "SHA384" };
static const uint8_t hash_lens[HASHES] = { 32, 48 };
static const uint8_t block_lens[HASHES] = { 64, 128 };
static EVP_MD *hashes[HASHES];
static uint8_t of_nothing[HASHES][HASH_MAX]; /* what they make of no bytes */
static OSSL_PROVIDER *provider;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static _Thread_local struct {
	EVP_MD_CTX *digest[HASHES];
	kdf_fn fn;
	void *arg;
} mine;

/* What a derivation is made of: pointers into the caller's parameters, gone when it returns. */
struct job {
	int mode;
	int hash;
	const uint8_t *key;
	size_t key_n;
	const uint8_t *salt;
	size_t salt_n;
	const uint8_t *prefix;
	size_t prefix_n;
	const uint8_t *label;
	size_t label_n;
	const uint8_t *data;
	size_t data_n;
};

/* ---- HKDF ---- */

static EVP_MD_CTX *
digest_of(int hash)
{
	if (mine.digest[hash] == NULL)
		mine.digest[hash] = EVP_MD_CTX_new();
	return mine.digest[hash];
}

/* hash(key ^ pad, p[0..n)) */
static bool
hash_keyed(int hash, const uint8_t *key, size_t key_n, uint8_t pad, const uint8_t *p, size_t n,
	uint8_t *out)
{
	EVP_MD_CTX *digest = digest_of(hash);
	uint8_t block[BLOCK_MAX] = { 0 };

	memcpy(block, key, key_n);
	for (size_t i = 0; i < sizeof(block); i++) /* all of it: a few vectors */
		block[i] ^= pad;

	bool ok = digest != NULL && EVP_DigestInit_ex2(digest, hashes[hash], NULL) == 1 &&
		EVP_DigestUpdate(digest, block, block_lens[hash]) == 1 &&
		EVP_DigestUpdate(digest, p, n) == 1 && EVP_DigestFinal_ex(digest, out, NULL) == 1;

	OPENSSL_cleanse(block, sizeof(block));
	return ok;
}

static bool
hmac(int hash, const uint8_t *key, size_t key_n, const uint8_t *p, size_t n, uint8_t *out)
{
	uint8_t inner[HASH_MAX];
	bool ok = key_n <= block_lens[hash] && hash_keyed(hash, key, key_n, 0x36, p, n, inner) &&
		hash_keyed(hash, key, key_n, 0x5c, inner, hash_lens[hash], out);

	OPENSSL_cleanse(inner, sizeof(inner));
	return ok;
}

/* RFC 8446 §7.1; of HKDF-Expand (RFC 5869 §2.3) the first block: nothing here is longer. */
static bool
expand(const struct job *j, const uint8_t *secret, size_t secret_n, const uint8_t *data,
	size_t data_n, uint8_t *out, size_t n)
{
	const size_t label_n = j->prefix_n + j->label_n;
	uint8_t info[3 + LABEL_MAX + 1 + HASH_MAX + 1] = { 0, (uint8_t)n, (uint8_t)label_n };
	uint8_t full[HASH_MAX];
	uint8_t *to = info + 3;

	if (n > hash_lens[j->hash] || label_n > LABEL_MAX || data_n > HASH_MAX)
		return false;
	memcpy(to, j->prefix, j->prefix_n);
	memcpy(to + j->prefix_n, j->label, j->label_n);
	to += label_n;
	*to++ = (uint8_t)data_n;
	if (data_n > 0)
		memcpy(to, data, data_n);
	to += data_n;
	*to++ = 1;

	bool ok = hmac(j->hash, secret, secret_n, info, (size_t)(to - info), full);

	if (ok)
		memcpy(out, full, n);
	OPENSSL_cleanse(full, sizeof(full));
	return ok;
}

/* The next secret of the schedule: the one before, through "derived", is the salt. */
static bool
extract(const struct job *j, uint8_t *out, size_t n)
{
	static const uint8_t zeros[HASH_MAX];
	const size_t hash_n = hash_lens[j->hash];
	const uint8_t *key = j->key != NULL ? j->key : zeros;
	size_t key_n = j->key != NULL ? j->key_n : hash_n;
	uint8_t salt[HASH_MAX] = { 0 };
	bool ok = n == hash_n;

	if (ok && j->salt != NULL)
		ok = expand(j, j->salt, j->salt_n, of_nothing[j->hash], hash_n, salt, hash_n);
	ok = ok && hmac(j->hash, salt, hash_n, key, key_n, out);
	OPENSSL_cleanse(salt, sizeof(salt));
	return ok;
}

/* ---- listening ---- */

void
kdf_listen(kdf_fn fn, void *arg)
{
	mine.fn = fn;
	mine.arg = arg;
}

static bool
is_label(const struct job *j, const char *label)
{
	return j->label_n == strlen(label) && memcmp(j->label, label, j->label_n) == 0;
}

static void
tell(const struct job *j, const uint8_t *secret, size_t n)
{
	if (mine.fn == NULL)
		return;
	if (is_label(j, "c ap traffic"))
		mine.fn(mine.arg, KDF_CLIENT_TRAFFIC, secret, n);
	else if (is_label(j, "s ap traffic"))
		mine.fn(mine.arg, KDF_SERVER_TRAFFIC, secret, n);
}

/* ---- OpenSSL's side (provider-kdf(7)) ---- */

static void *
new_ctx(void *provctx)
{
	(void)provctx;
	return OPENSSL_zalloc(1); /* a derivation has all it needs in its parameters */
}

static void
free_ctx(void *ctx)
{
	OPENSSL_free(ctx);
}

static void
reset(void *ctx)
{
	(void)ctx;
}

static void
take_bytes(const OSSL_PARAM *p, const char *key, const uint8_t **at, size_t *n)
{
	if (strcmp(p->key, key) != 0)
		return;
	*at = p->data;
	*n = p->data_size;
}

/* By the names that OpenSSL uses for them itself first: to ask it takes as long as a hash. */
static int
find_hash(const char *name)
{
	static const char *const others[HASHES] = { "SHA2-256", "SHA2-384" };

	for (int i = 0; i < HASHES; i++)
		if (strcmp(name, hash_names[i]) == 0 || strcmp(name, others[i]) == 0)
			return i;
	for (int i = 0; i < HASHES; i++)
		if (EVP_MD_is_a(hashes[i], name))
			return i;
	return -1;
}

/* By their first letters: comparing each with all of them is hundreds of comparisons a handshake.
 */
static void
take(struct job *j, const OSSL_PARAM *p)
{
	switch (p->key[0]) {
	case 'k': take_bytes(p, OSSL_KDF_PARAM_KEY, &j->key, &j->key_n); break;
	case 's': take_bytes(p, OSSL_KDF_PARAM_SALT, &j->salt, &j->salt_n); break;
	case 'p': take_bytes(p, OSSL_KDF_PARAM_PREFIX, &j->prefix, &j->prefix_n); break;
	case 'l': take_bytes(p, OSSL_KDF_PARAM_LABEL, &j->label, &j->label_n); break;
	case 'd':
		take_bytes(p, OSSL_KDF_PARAM_DATA, &j->data, &j->data_n);
		if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0)
			j->hash = find_hash(p->data);
		break;
	case 'm':
		if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0 && p->data_type == OSSL_PARAM_INTEGER)
			(void)OSSL_PARAM_get_int(p, &j->mode);
		break;
	}
}

static int
derive(void *ctx, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
	struct job j = { .mode = -1, .hash = -1 };
	bool ok;

	(void)ctx;
	for (const OSSL_PARAM *p = params; p != NULL && p->key != NULL; p++)
		take(&j, p);
	if (j.hash < 0 || j.prefix == NULL || j.label == NULL)
		return 0;
	if (j.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
		return extract(&j, out, n);
	ok = j.mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY && j.key != NULL &&
		expand(&j, j.key, j.key_n, j.data, j.data_n, out, n);
	if (ok)
		tell(&j, out, n);
	return ok;
}

static const OSSL_ALGORITHM *
query(void *provctx, int operation, int *no_cache)
{
#define FN(id, fn)                       \
	{                                \
		id, (void (*)(void))(fn) \
	}
	static const OSSL_DISPATCH functions[] = {
		FN(OSSL_FUNC_KDF_NEWCTX, new_ctx),
		FN(OSSL_FUNC_KDF_FREECTX, free_ctx),
		FN(OSSL_FUNC_KDF_RESET, reset),
		FN(OSSL_FUNC_KDF_DERIVE, derive),
		{ 0, NULL },
	};
	static const OSSL_ALGORITHM kdfs[] = {
		{ OSSL_KDF_NAME_TLS1_3_KDF, PROPERTY, functions, "TLS 1.3's key schedule" },
		{ NULL, NULL, NULL, NULL },
	};

	(void)provctx;
	*no_cache = 0;
	return operation == OSSL_OP_KDF ? kdfs : NULL;
}

static int
init_provider(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
	void **provctx)
{
	static const OSSL_DISPATCH functions[] = {
		FN(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
		{ 0, NULL },
	};

	(void)in;
	*out = functions;
	*provctx = (void *)(uintptr_t)handle;
	return 1;
}

void
kdf_thread_stop(void)
{
	for (int i = 0; i < HASHES; i++) {
		EVP_MD_CTX_free(mine.digest[i]);
		mine.digest[i] = NULL;
	}
}

/* While OpenSSL is still there: a destructor would come too late for a provider. */
static void
free_all(void)
{
	kdf_thread_stop();
	OSSL_PROVIDER_unload(provider);
	for (int i = 0; i < HASHES; i++)
		EVP_MD_free(hashes[i]);
}

/* The providers that are there without a word stay: ours is one more. */
static void
init_once(void)
{
	for (int i = 0; i < HASHES; i++) {
		hashes[i] = EVP_MD_fetch(NULL, hash_names[i], NULL);
		if (hashes[i] == NULL ||
			EVP_Digest(NULL, 0, of_nothing[i], NULL, hashes[i], NULL) != 1)
			abort();
	}
	if (OSSL_PROVIDER_add_builtin(NULL, NAME, init_provider) != 1)
		abort();
	provider = OSSL_PROVIDER_try_load(NULL, NAME, 1);
	if (provider == NULL || OPENSSL_atexit(free_all) != 1)
		abort();
}

SSL_CTX *
kdf_ctx_new(const SSL_METHOD *method)
{
	pthread_once(&once, init_once);
	return SSL_CTX_new_ex(NULL, "?" PROPERTY, method);
}
