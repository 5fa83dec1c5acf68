/*
 * tls_peer: OpenSSL on one end, our record layer on the other, and byte queues between them. The
 * handshake is OpenSSL's on both ends; then the keys of one are taken as tlsd takes them, and
 * tlsrec goes on in its place.
 */
#ifndef TESTS_ROUTERD_TLS_PEER_H
#define TESTS_ROUTERD_TLS_PEER_H

#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include "libcommon/tlsrec.h"
#include "tests/unit/libcommon/tls_end.h"

struct peer {
	SSL_CTX *server_ctx;
	SSL_CTX *client_ctx;
	struct queue queues[2];
	struct end server;
	struct end client;
	enum handoff_role role; /* which end is ours */
	struct handoff_keys keys;
	struct tlsrec rec;
};

static inline struct end *
peer_theirs(struct peer *p)
{
	return p->role == HANDOFF_SERVER ? &p->client : &p->server;
}

static inline struct end *
peer_ours(struct peer *p)
{
	return p->role == HANDOFF_SERVER ? &p->server : &p->client;
}

/* --- what the callbacks tell -------------------------------------------------------------- */

static inline size_t
peer_unhex(const char *text, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n / 2; i++) {
		unsigned v;

		assert_int_equal(sscanf(text + 2 * i, "%2x", &v), 1);
		out[i] = (uint8_t)v;
	}
	return n / 2;
}

static inline void
on_keylog(const SSL *ssl, const char *line)
{
	struct end *e = SSL_get_app_data(ssl);
	bool is_server = strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0;

	if (!is_server && strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) != 0)
		return;

	const char *hex = strrchr(line, ' ') + 1;

	peer_unhex(hex, strlen(hex), e->secrets[is_server]);
	if (is_server == (bool)SSL_is_server(ssl))
		e->write_seq = 0;
	else
		e->read_seq = 0;
}

static inline void
on_message(int is_write, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
{
	struct end *e = arg;
	uint64_t *seq = is_write ? &e->write_seq : &e->read_seq;
	const uint8_t *header = p;

	(void)version;
	if (type != SSL3_RT_HEADER || n < 5)
		return;
	if (header[0] == SSL3_RT_CHANGE_CIPHER_SPEC) {
		if (SSL_version(ssl) == TLS1_2_VERSION)
			*seq = 0;
		return;
	}
	++*seq;
}

/* --- keys --------------------------------------------------------------------------------- */

static inline void
derive_block(SSL *ssl, const struct handoff_suite *suite, uint8_t *block)
{
	uint8_t master[48];
	uint8_t seed[13 + 64] = "key expansion";
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	char *md = (char *)(uintptr_t)EVP_MD_get0_name(SSL_CIPHER_get_handshake_digest(cipher));

	assert_int_equal(SSL_SESSION_get_master_key(SSL_get_session(ssl), master, 48), 48);
	SSL_get_server_random(ssl, seed + 13, 32);
	SSL_get_client_random(ssl, seed + 45, 32);

	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, md, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, 48),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof(seed)),
		OSSL_PARAM_construct_end(),
	};

	assert_int_equal(EVP_KDF_derive(ctx, block, handoff_block_len(suite), params), 1);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

/* The explicit nonce of our Finished, the last record of the handshake that we wrote. */
static inline uint64_t
finished_nonce(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t at = 0; at + 5 <= n; at += 5 + (size_t)(p[at + 3] << 8 | p[at + 4]))
		if (p[at] == SSL3_RT_HANDSHAKE)
			for (unsigned i = 0; i < 8; i++)
				v = v << 8 | p[at + 5 + i];
	return v;
}

static inline void
take_keys(struct peer *p)
{
	struct end *e = peer_ours(p);
	struct handoff_keys *k = &p->keys;
	unsigned limit = SSL_SESSION_get_max_fragment_length(SSL_get_session(e->ssl));

	*k = (struct handoff_keys){ .role = p->role };
	k->suite = handoff_suite_find(
		(uint16_t)SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(e->ssl)));
	assert_non_null(k->suite);
	k->read.seq = e->read_seq;
	k->write.seq = e->write_seq;
	k->read.limit = k->write.limit = (uint16_t)(limit ? 256u << limit : 16384);
	if (k->suite->version == HANDOFF_TLS13) {
		bool is_server = p->role == HANDOFF_SERVER;

		memcpy(k->read.secret, e->secrets[!is_server], k->suite->secret_len);
		memcpy(k->write.secret, e->secrets[is_server], k->suite->secret_len);
		return;
	}

	uint8_t block[HANDOFF_BLOCK_MAX];

	derive_block(e->ssl, k->suite, block);
	handoff_set_block(k, block);
	if (k->suite->iv_len == 4)
		k->nonce = e->nonce + 1;
}

/* --- a connection ------------------------------------------------------------------------- */

struct peer_options {
	uint16_t suite;
	enum handoff_role role;
	uint8_t fragment; /* max_fragment_length, as RFC 6066 numbers it */
	bool offers_ktls;
};

static inline SSL_CTX *
make_ctx(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	assert_non_null(ctx);
	SSL_CTX_set_keylog_callback(ctx, on_keylog);
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	return ctx;
}

static inline void
watch_end(struct end *e)
{
	SSL_set_app_data(e->ssl, e);
	SSL_set_msg_callback(e->ssl, on_message);
	SSL_set_msg_callback_arg(e->ssl, e);
}

static inline void
shake(struct end *e)
{
	size_t before = e->out->w;

	if (SSL_is_init_finished(e->ssl))
		return;

	int rc = SSL_do_handshake(e->ssl);

	assert_true(rc == 1 || SSL_get_error(e->ssl, rc) == SSL_ERROR_WANT_READ);
	if (e->out->w > before)
		e->nonce = finished_nonce(e->out->p + before, e->out->w - before);
}

static inline void
peer_open(struct peer *p, struct tlsrec_worker *w, const struct peer_options *o)
{
	const struct handoff_suite *suite = handoff_suite_find(o->suite);

	memset(p, 0, sizeof(*p));
	p->role = o->role;
	p->server_ctx = make_ctx(TLS_server_method());
	p->client_ctx = make_ctx(TLS_client_method());
	end_certificate(p->server_ctx, o->suite);
	SSL_CTX_set_session_id_context(p->server_ctx, (const uint8_t *)"x", 1);
	for (unsigned i = 0; i < 2; i++)
		p->queues[i].p = malloc(QUEUE_MAX);
	make_end(&p->server, p->server_ctx, &p->queues[0], &p->queues[1]);
	make_end(&p->client, p->client_ctx, &p->queues[1], &p->queues[0]);
	watch_end(&p->server);
	watch_end(&p->client);
	choose_suite(p->client.ssl, suite);
	if (o->fragment != 0)
		assert_int_equal(SSL_set_tlsext_max_fragment_length(p->client.ssl, o->fragment), 1);
	if (o->offers_ktls)
		SSL_set_options(peer_ours(p)->ssl, SSL_OP_ENABLE_KTLS);
	SSL_set_accept_state(p->server.ssl);
	SSL_set_connect_state(p->client.ssl);
	for (int i = 0; i < 6; i++) {
		shake(&p->client);
		shake(&p->server);
	}
	assert_true(SSL_is_init_finished(p->server.ssl) && SSL_is_init_finished(p->client.ssl));
	take_keys(p);
	assert_ptr_equal(p->keys.suite, suite);
	assert_true(tlsrec_init(&p->rec, w, &p->keys));
}

static inline void
peer_close(struct peer *p)
{
	tlsrec_fini(&p->rec);
	SSL_free(p->server.ssl);
	SSL_free(p->client.ssl);
	SSL_CTX_free(p->server_ctx);
	SSL_CTX_free(p->client_ctx);
	free(p->queues[0].p);
	free(p->queues[1].p);
}

#endif
