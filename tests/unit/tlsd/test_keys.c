/*
 * keys: what is gathered during a handshake is what OpenSSL uses: the keys equal those it offers
 * for kernel TLS through a BIO's ctrl, and the record numbers are those of the next record. Every
 * suite that can be handed over, full and resumed handshakes, with no, one and two tickets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/tls.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include "tests/unit/libcommon/tls_end.h"
#include "tlsd/kdf.h"
#include "tlsd/keys.h"

struct pair {
	SSL_CTX *server_ctx;
	SSL_CTX *client_ctx;
	struct queue queues[2];
	struct end server;
	struct end client;
	struct keys keys;
	struct keys client_keys;
	struct handoff_keys client_got; /* before the client has read any ticket */
	bool has_client_got;
};

static SSL_SESSION *ticket; /* the last that a client got */

static int
on_ticket(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(ticket);
	ticket = session;
	return 1;
}

static void
open_ctxs(struct pair *p, const struct handoff_suite *suite, size_t tickets)
{
	memset(p, 0, sizeof(*p));
	p->server_ctx = kdf_ctx_new(TLS_server_method());
	p->client_ctx = kdf_ctx_new(TLS_client_method());
	end_certificate(p->server_ctx, suite->id);
	for (unsigned i = 0; i < 2; i++)
		p->queues[i].p = malloc(QUEUE_MAX);
	SSL_CTX_set_num_tickets(p->server_ctx, tickets);
	SSL_CTX_set_session_id_context(p->server_ctx, (const uint8_t *)"x", 1);
	SSL_CTX_set_session_cache_mode(
		p->client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(p->client_ctx, on_ticket);
}

static void
shake(struct pair *p, const struct handoff_suite *suite, uint8_t fragment)
{
	uint8_t byte;

	for (unsigned i = 0; i < 2; i++)
		p->queues[i].r = p->queues[i].w = 0;
	p->server = p->client = (struct end){ .ssl = NULL };
	make_end(&p->server, p->server_ctx, &p->queues[0], &p->queues[1]);
	make_end(&p->client, p->client_ctx, &p->queues[1], &p->queues[0]);
	choose_suite(p->client.ssl, suite);
	SSL_set_options(p->server.ssl, SSL_OP_ENABLE_KTLS);
	SSL_set_options(p->client.ssl, SSL_OP_ENABLE_KTLS);
	if (ticket != NULL)
		assert_int_equal(SSL_set_session(p->client.ssl, ticket), 1);
	if (fragment != 0)
		SSL_set_tlsext_max_fragment_length(p->client.ssl, fragment);
	SSL_set_accept_state(p->server.ssl);
	SSL_set_connect_state(p->client.ssl);
	keys_watch(&p->keys, p->server.ssl);
	keys_watch(&p->client_keys, p->client.ssl);
	for (int i = 0; i < 6 && !SSL_is_init_finished(p->server.ssl); i++) {
		size_t said = p->queues[0].w;
		size_t before;

		(void)keys_do_handshake(p->client.ssl);
		keys_saw_output(&p->client_keys, (const char *)p->queues[0].p + said,
			p->queues[0].w - said);
		before = p->queues[1].w; /* the client has emptied it */
		(void)keys_do_handshake(p->server.ssl);
		keys_saw_output(
			&p->keys, (const char *)p->queues[1].p + before, p->queues[1].w - before);
	}
	assert_true(SSL_is_init_finished(p->server.ssl));
	(void)keys_do_handshake(p->client.ssl);
	p->has_client_got = keys_take(&p->client_keys, p->client.ssl, &p->client_got);
	(void)SSL_read(p->client.ssl, &byte, 1); /* tickets */
}

static void
close_ends(struct pair *p)
{
	SSL_set_shutdown(p->client.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(p->server.ssl);
	SSL_free(p->client.ssl);
}

static void
close_ctxs(struct pair *p)
{
	SSL_CTX_free(p->server_ctx);
	SSL_CTX_free(p->client_ctx);
	free(p->queues[0].p);
	free(p->queues[1].p);
	SSL_SESSION_free(ticket);
	ticket = NULL;
}

/* --- comparing ---------------------------------------------------------------------------- */

static void
derive(const struct handoff_suite *suite, const uint8_t *secret, const char *label, uint8_t *out,
	size_t n)
{
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	char md[8];
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, md, 0),
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, suite->secret_len),
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_PREFIX, (void *)(uintptr_t) "tls13 ", 6),
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};

	strcpy(md, suite->hash == HANDOFF_SHA384 ? "SHA384" : "SHA256");
	assert_int_equal(EVP_KDF_derive(ctx, out, n, params), 1);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
}

/* An offer holds the IV's changing part, the key, its fixed part, the record number. */
static void
check_offer(const struct handoff_keys *k, const struct handoff_side *s, const uint8_t *offer,
	bool is_write)
{
	bool is_13 = k->suite->version == HANDOFF_TLS13;
	bool is_chacha = k->suite->aead == HANDOFF_CHACHA20_POLY1305;
	const size_t iv_n = is_chacha ? 12 : 8;
	const size_t salt_n = 12 - iv_n;
	const uint8_t *iv = offer + sizeof(struct tls_crypto_info);
	uint8_t key[HANDOFF_KEY_MAX];
	uint8_t all[12];
	uint64_t nonce = 0;

	memcpy(key, s->secret, k->suite->key_len);
	memcpy(all, s->iv, sizeof(all));
	if (is_13) {
		derive(k->suite, s->secret, "key", key, k->suite->key_len);
		derive(k->suite, s->secret, "iv", all, sizeof(all));
	}
	assert_memory_equal(iv + iv_n, key, k->suite->key_len);
	assert_memory_equal(iv + iv_n + k->suite->key_len, all, salt_n);
	for (unsigned i = 0; i < 8; i++)
		nonce = nonce << 8 | iv[i];
	if (is_13 || is_chacha)
		assert_memory_equal(iv, all + salt_n, iv_n);
	else if (is_write) /* offered before Finished used it */
		assert_true(k->nonce == nonce + 1);
}

/* What one end seals with the other opens with, from the record after the handshake on. */
static void
check_client(const struct pair *p, const struct handoff_keys *server)
{
	const struct handoff_keys *k = &p->client_got;
	bool is_13 = server->suite->version == HANDOFF_TLS13;

	assert_true(p->has_client_got);
	assert_ptr_equal(k->suite, server->suite);
	assert_int_equal(k->role, HANDOFF_CLIENT);
	assert_int_equal(k->read.seq, is_13 ? 0 : 1);
	assert_int_equal(k->write.seq, is_13 ? 0 : 1);
	assert_int_equal(k->write.limit, server->read.limit);
	assert_memory_equal(k->read.secret, server->write.secret, sizeof(k->read.secret));
	assert_memory_equal(k->write.secret, server->read.secret, sizeof(k->read.secret));
	assert_memory_equal(k->read.iv, server->write.iv, sizeof(k->read.iv));
	assert_memory_equal(k->write.iv, server->read.iv, sizeof(k->read.iv));
	assert_true(p->client.has_offer[1]);
	check_offer(k, &k->write, p->client.offer[1], true);
}

static void
check(const struct pair *p, const struct handoff_suite *suite, size_t tickets)
{
	struct handoff_keys k;
	bool is_13 = suite->version == HANDOFF_TLS13;

	assert_true(keys_take(&p->keys, p->server.ssl, &k));
	assert_ptr_equal(k.suite, suite);
	assert_int_equal(k.role, HANDOFF_SERVER);
	assert_int_equal(k.read.seq, is_13 ? 0 : 1);
	assert_int_equal(k.write.seq, is_13 ? tickets : 1);
	/* OpenSSL 3.0 offers the kernel the sending half of TLS 1.3 only. */
	assert_true(p->server.has_offer[1] && p->server.has_offer[0] == !is_13);
	check_offer(&k, &k.write, p->server.offer[1], true);
	if (!is_13)
		check_offer(&k, &k.read, p->server.offer[0], false);
	check_client(p, &k);
	handoff_wipe(&k);
}

static void
keys_are_those_of_openssl(void **state)
{
	static struct pair p;
	const struct handoff_suite *suite;

	(void)state;
	for (size_t i = 0; (suite = handoff_suite_at(i)) != NULL; i++) {
		for (size_t tickets = 0; tickets < 3; tickets++) {
			open_ctxs(&p, suite, tickets);
			shake(&p, suite, 0);
			assert_false(SSL_session_reused(p.server.ssl));
			check(&p, suite, tickets);
			close_ends(&p);
			if (ticket != NULL) {
				size_t again = tickets > 0 ? 1 : 0; /* one for the one used */

				shake(&p, suite, 0);
				assert_true(SSL_session_reused(p.server.ssl));
				check(&p, suite, again);
				close_ends(&p);
			} else {
				assert_true(tickets == 0);
			}
			close_ctxs(&p);
		}
	}
}

static void
the_fragment_length_is_told(void **state)
{
	static struct pair p;
	const uint16_t suites[] = { 0x1301, 0xc02f };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		for (uint8_t code = 0; code <= 4; code++) {
			const struct handoff_suite *suite = handoff_suite_find(suites[i]);
			struct handoff_keys k;

			open_ctxs(&p, suite, 1);
			shake(&p, suite, code);
			assert_true(keys_take(&p.keys, p.server.ssl, &k));
			assert_int_equal(k.write.limit, code ? 256 << code : 16384);
			assert_int_equal(k.read.limit, k.write.limit);
			close_ends(&p);
			close_ctxs(&p);
		}
	}
}

/* CBC, and no forward secrecy: these are relayed. */
static void
other_suites_are_not_taken(void **state)
{
	static const char *const names[] = { "ECDHE-RSA-AES128-SHA256", "AES128-GCM-SHA256" };
	static struct pair p;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct handoff_suite other = *handoff_suite_find(0xc02f);
		struct handoff_keys k;

		other.id = i == 0 ? 0xc027 : 0x009c;
		open_ctxs(&p, &other, 1);
		assert_int_equal(SSL_CTX_set_cipher_list(p.server_ctx, names[i]), 1);
		shake(&p, &other, 0);
		assert_false(keys_take(&p.keys, p.server.ssl, &k));
		close_ends(&p);
		close_ctxs(&p);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_those_of_openssl),
		cmocka_unit_test(the_fragment_length_is_told),
		cmocka_unit_test(other_suites_are_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
