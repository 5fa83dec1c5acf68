/*
 * tlsrec_forge: record layers with keys that are known, records made for them one by one, and two
 * layers that talk to each other. Forging uses the cipher's plain interface, so that it shares no
 * code with what is tested.
 */
#ifndef TESTS_LIBCOMMON_TLSREC_FORGE_H
#define TESTS_LIBCOMMON_TLSREC_FORGE_H

#include <openssl/evp.h>

#include "libcommon/tlsrec.h"

static struct tlsrec_worker *worker;

static inline int
make_worker(void **state)
{
	(void)state;
	worker = tlsrec_worker_new();
	return worker == NULL;
}

static inline int
free_worker(void **state)
{
	(void)state;
	tlsrec_worker_free(worker);
	return 0;
}

/* --- hexadecimal -------------------------------------------------------------------------- */

static inline size_t
unhex(const char *text, uint8_t *out)
{
	size_t n = 0;
	int used;
	unsigned v;

	for (; sscanf(text, " %2x%n", &v, &used) == 1; text += used)
		out[n++] = (uint8_t)v;
	return n;
}

/* Bytes and how many, NULs and all. */
#define TEXT(lit)                       \
	{                               \
		"" lit, sizeof(lit) - 1 \
	}

/* --- forged records ----------------------------------------------------------------------- */

static inline struct handoff_keys
some_keys(uint16_t suite, enum handoff_role role)
{
	struct handoff_keys k = { .suite = handoff_suite_find(suite), .role = role };
	struct handoff_side *client = role == HANDOFF_SERVER ? &k.read : &k.write;
	struct handoff_side *server = role == HANDOFF_SERVER ? &k.write : &k.read;

	assert_non_null(k.suite);
	for (uint8_t i = 0; i < HANDOFF_SECRET_MAX; i++) {
		client->secret[i] = (uint8_t)(1 + i);
		server->secret[i] = (uint8_t)(101 + i);
	}
	for (uint8_t i = 0; i < HANDOFF_IV_MAX; i++) {
		client->iv[i] = (uint8_t)(51 + i);
		server->iv[i] = (uint8_t)(201 + i);
	}
	client->limit = server->limit = 16384;
	if (k.suite->version == HANDOFF_TLS12)
		client->seq = server->seq = 1;
	return k;
}

static inline void
open_layer(struct tlsrec *t, uint16_t suite, enum handoff_role role)
{
	struct handoff_keys k = some_keys(suite, role);

	assert_true(tlsrec_init(t, worker, &k));
}

static const EVP_CIPHER *
cipher_of(const struct handoff_suite *suite)
{
	switch (suite->aead) {
	case HANDOFF_AES_128_GCM: return EVP_aes_128_gcm();
	case HANDOFF_AES_256_GCM: return EVP_aes_256_gcm();
	default: return EVP_chacha20_poly1305();
	}
}

/* in[0..n) sealed as record `seq`, header and all; for TLS 1.3 the inner type is in in. */
static inline size_t
forge(const struct tlsrec *t, const struct tlsrec_side *s, uint64_t seq, uint8_t type,
	const uint8_t *in, size_t n, uint8_t *out)
{
	const bool is_13 = t->suite->version == HANDOFF_TLS13;
	const size_t own = is_13 || t->suite->iv_len == 12 ? 0 : 8;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[12];
	uint8_t aad[13];
	size_t len = own + n + 16;
	int got;

	memcpy(nonce, s->iv, 12);
	for (unsigned i = 0; i < 8; i++) {
		uint8_t byte = (uint8_t)(seq >> (56 - 8 * i));

		aad[i] = byte;
		out[5 + i] = (uint8_t)(own ? 0xa0 + i : 0);
		nonce[4 + i] = own ? out[5 + i] : nonce[4 + i] ^ byte;
	}
	memcpy(out, (uint8_t[]){ type, 3, 3, (uint8_t)(len >> 8), (uint8_t)len }, 5);
	if (is_13)
		memcpy(aad, out, 5);
	else
		memcpy(aad + 8, (uint8_t[]){ type, 3, 3, (uint8_t)(n >> 8), (uint8_t)n }, 5);
	assert_int_equal(EVP_EncryptInit_ex(ctx, cipher_of(t->suite), NULL, s->key, nonce), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &got, aad, is_13 ? 5 : 13), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, out + 5 + own, &got, in, (int)n), 1);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, out + 5 + own + n, &got), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + 5 + own + n), 1);
	EVP_CIPHER_CTX_free(ctx);
	return 5 + len;
}

/* From an exact-size heap copy, with room for exactly the inner bytes. */
static inline enum tlsrec_result
open_copy(struct tlsrec *t, const uint8_t *p, size_t n, struct tlsrec_piece *piece, uint8_t *out)
{
	char *copy = malloc(n);
	size_t room = n > 5 + 16 ? n - 5 - 16 : 1;
	char *plain = malloc(room);

	assert_true(copy != NULL && plain != NULL);
	memcpy(copy, p, n);

	enum tlsrec_result r = tlsrec_open(t, copy, n, plain, room, piece);

	if (r == TLSREC_DATA && out != NULL)
		memcpy(out, piece->p, piece->n);
	free(copy);
	free(plain);
	return r;
}

/* --- two layers --------------------------------------------------------------------------- */

static const uint16_t all_suites[] = { 0x1301, 0x1302, 0x1303, 0xc02f, 0xc030, 0xcca8 };
#define EACH_SUITE(i) for (size_t i = 0; i < sizeof(all_suites) / sizeof(*all_suites); i++)

struct pair {
	struct tlsrec client;
	struct tlsrec server;
};

static inline void
open_pair(struct pair *p, uint16_t suite)
{
	open_layer(&p->client, suite, HANDOFF_CLIENT);
	open_layer(&p->server, suite, HANDOFF_SERVER);
}

static inline void
close_pair(struct pair *p)
{
	tlsrec_fini(&p->client);
	tlsrec_fini(&p->server);
}

/* One short record from the client. */
static inline size_t
say(struct pair *p, const char *text, char *out)
{
	struct iovec v = { (void *)(uintptr_t)text, strlen(text) };
	size_t taken;
	ssize_t n = tlsrec_seal(&p->client, &v, 1, 0, out, 200, &taken);

	assert_true(n > 0 && taken == v.iov_len);
	return (size_t)n;
}

static inline void
fill(uint8_t *p, size_t n)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24);
	}
}

/* Everything in in[0..n) is opened by t and compared. */
static inline void
open_all(struct tlsrec *t, const char *in, size_t n, size_t piece_n, const uint8_t *want,
	size_t want_n)
{
	char *buf = malloc(n + 1);
	size_t have = 0;
	size_t fed = 0;
	size_t got = 0;

	assert_non_null(buf);
	while (fed < n || have > 0) {
		struct tlsrec_piece piece;
		size_t more = n - fed < piece_n ? n - fed : piece_n;

		memcpy(buf + have, in + fed, more);
		fed += more;
		have += more;
		for (;;) {
			enum tlsrec_result r = tlsrec_open(t, buf, have, NULL, 0, &piece);

			assert_true(r == TLSREC_DATA || r == TLSREC_NOTHING || r == TLSREC_MORE);
			if (r == TLSREC_MORE) {
				assert_true(piece.need > have);
				break;
			}
			assert_true(got + piece.n <= want_n);
			assert_memory_equal(piece.p, want + got, piece.n);
			got += piece.n;
			have -= piece.used;
			memmove(buf, buf + piece.used, have);
		}
		assert_true(fed < n || have == 0);
	}
	assert_int_equal(got, want_n);
	free(buf);
}

#endif
