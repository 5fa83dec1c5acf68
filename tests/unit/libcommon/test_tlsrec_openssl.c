/*
 * tlsrec against OpenSSL, each suite in each role: data both ways in pieces of any size, key
 * updates, padding, fragment limits, tickets, renegotiation, both kinds of end; and the self-check
 * that the keys are those which OpenSSL would give the kernel.
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
#include <openssl/err.h>

#include "libcommon/ktls.h"
#include "tests/unit/libcommon/tls_peer.h"

enum { PIECE_RANDOM = 0, DATA_MAX = 70000 };

static struct tlsrec_worker *worker;
static uint8_t data[DATA_MAX];

static int
make_all(void **state)
{
	uint32_t x = 4711;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
	worker = tlsrec_worker_new();
	return worker == NULL;
}

static int
free_all(void **state)
{
	(void)state;
	tlsrec_worker_free(worker);
	return 0;
}

static size_t
next_piece(size_t piece)
{
	static uint32_t x = 1;

	if (piece != PIECE_RANDOM)
		return piece;
	x = x * 1664525 + 1013904223;
	return 1 + (x >> 16) % ((x & 0x8000) ? 40000 : 50);
}

/* Our end reads what is under way, in pieces; want[0..n) must come. The last result but MORE. */
static enum tlsrec_result
hear(struct peer *p, const uint8_t *want, size_t n, size_t piece, struct tlsrec_piece *last)
{
	static char buf[QUEUE_MAX];
	static char out[TLSREC_RECORD_MAX];
	static bool is_in_place;
	enum tlsrec_result r = TLSREC_MORE;
	enum tlsrec_result kept = TLSREC_MORE;
	size_t have = 0;
	size_t got = 0;
	size_t more;

	is_in_place = !is_in_place;
	while ((more = queue_take(peer_ours(p)->in, buf + have, next_piece(piece))) > 0) {
		have += more;
		for (size_t at = 0;; at += last->used) {
			r = tlsrec_open(&p->rec, buf + at, have - at, is_in_place ? NULL : out,
				sizeof(out), last);
			if (r == TLSREC_MORE) {
				have -= at;
				memmove(buf, buf + at, have);
				break;
			}
			kept = r;
			if (r != TLSREC_DATA && r != TLSREC_NOTHING)
				return r;
			assert_true(got + last->n <= n);
			assert_memory_equal(last->p, want + got, last->n);
			got += last->n;
		}
	}
	assert_int_equal(have, 0);
	assert_int_equal(got, n);
	return kept;
}

static void
say(struct peer *p, const uint8_t *what, size_t n, size_t room)
{
	static char out[200000];
	struct iovec v[2] = { { (void *)(uintptr_t)what, n / 3 },
		{ (void *)(uintptr_t)(what + n / 3), n - n / 3 } };
	size_t taken = 0;

	while (n > 0) {
		ssize_t len = tlsrec_seal(&p->rec, v, 2, 0, out, room, &taken);

		assert_true(len > 0 && taken > 0);
		queue_put(peer_ours(p)->out, out, (size_t)len);
		n -= taken;
		for (unsigned i = 0; i < 2; i++) {
			size_t part = taken < v[i].iov_len ? taken : v[i].iov_len;

			v[i].iov_base = (char *)v[i].iov_base + part;
			v[i].iov_len -= part;
			taken -= part;
		}
	}
}

static void
they_say(struct peer *p, const uint8_t *what, size_t n)
{
	assert_int_equal(SSL_write(peer_theirs(p)->ssl, what, (int)n), (int)n);
}

static void
they_hear(struct peer *p, const uint8_t *want, size_t n)
{
	uint8_t buf[20000];
	size_t got = 0;
	int rc;

	while ((rc = SSL_read(peer_theirs(p)->ssl, buf, sizeof(buf))) > 0) {
		assert_true(got + (size_t)rc <= n);
		assert_memory_equal(buf, want + got, (size_t)rc);
		got += (size_t)rc;
	}
	assert_int_equal(SSL_get_error(peer_theirs(p)->ssl, rc), SSL_ERROR_WANT_READ);
	assert_int_equal(got, n);
}

/* Both ways, twice, so that the second round finds every number moved. */
static void
talk(struct peer *p, size_t piece)
{
	static const size_t lengths[] = { 1, 100, 16383, 16384, 16385, DATA_MAX };
	struct tlsrec_piece last;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		they_say(p, data, lengths[i]);
		(void)hear(p, data, lengths[i], piece, &last);
		say(p, data, lengths[i], i & 1 ? 131072 : 20000);
		they_hear(p, data, lengths[i]);
	}
}

#define EACH_SUITE(s)                                                    \
	for (size_t s##_i = 0; handoff_suite_at(s##_i) != NULL; s##_i++) \
		for (uint16_t s = handoff_suite_at(s##_i)->id, s##_once = 1; s##_once; s##_once = 0)
#define EACH_ROLE(r) for (enum handoff_role r = HANDOFF_SERVER; r <= HANDOFF_CLIENT; r++)

static bool
is_13(uint16_t suite)
{
	return handoff_suite_find(suite)->version == HANDOFF_TLS13;
}

static void
talks_with_every_suite_in_both_roles(void **state)
{
	static const size_t pieces[] = { 1, 7, 100, PIECE_RANDOM, QUEUE_MAX };

	(void)state;
	EACH_SUITE(suite)
	{
		EACH_ROLE(role)
		{
			const struct peer_options o = { .suite = suite, .role = role };
			struct peer p;

			peer_open(&p, worker, &o);
			for (unsigned i = 0; i < 5; i++)
				talk(&p, pieces[i]);
			peer_close(&p);
		}
	}
}

/* What came with the client's last flight was not read by the handshake. */
static void
goes_on_where_the_handshake_stopped(void **state)
{
	(void)state;
	EACH_SUITE(suite)
	{
		const struct peer_options o = { .suite = suite, .role = HANDOFF_SERVER };
		struct tlsrec_piece last;
		struct peer p;

		peer_open(&p, worker, &o);
		assert_int_equal(p.keys.read.seq, is_13(suite) ? 0 : 1);
		assert_int_equal(p.keys.write.seq, is_13(suite) ? 2 : 1); /* two tickets */
		they_say(&p, data, 500);
		assert_int_equal(hear(&p, data, 500, QUEUE_MAX, &last), TLSREC_DATA);
		say(&p, data, 500, 1000);
		they_hear(&p, data, 500);
		peer_close(&p);
	}
}

static void
key_updates_go_both_ways(void **state)
{
	static const uint16_t suites[] = { 0x1301, 0x1302, 0x1303 };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		const struct peer_options o = { .suite = suites[i % 3],
			.role = i < 3 ? HANDOFF_SERVER : HANDOFF_CLIENT };
		struct tlsrec_piece last;
		struct peer p;

		peer_open(&p, worker, &o);
		they_hear(&p, NULL, 0);
		for (unsigned round = 0; round < 5; round++) {
			uint8_t before[32];
			bool is_asked = round % 2;

			memcpy(before, p.rec.write.key, sizeof(before));
			assert_int_equal(SSL_key_update(peer_theirs(&p)->ssl,
						 is_asked ? SSL_KEY_UPDATE_REQUESTED
							  : SSL_KEY_UPDATE_NOT_REQUESTED),
				1);
			they_say(&p, data, 3000);
			(void)hear(&p, data, 3000, round + 1, &last);
			say(&p, data, 40000, 131072);
			they_hear(&p, data, 40000);
			assert_true(
				is_asked == (memcmp(before, p.rec.write.key, sizeof(before)) != 0));
		}
		/* ours, because the cipher is worn out: their side follows */
		p.rec.owes_update = true;
		say(&p, data, 100, 1000);
		they_hear(&p, data, 100);
		talk(&p, PIECE_RANDOM);
		peer_close(&p);
	}
}

static size_t
pad(SSL *ssl, int type, size_t n, void *arg)
{
	(void)ssl;
	(void)type;
	(void)arg;
	return n < 16000 ? 300 : 16384 - n;
}

static void
takes_padded_records(void **state)
{
	static const uint16_t suites[] = { 0x1301, 0x1302, 0x1303 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		const struct peer_options o = { .suite = suites[i], .role = HANDOFF_SERVER };
		struct peer p;

		peer_open(&p, worker, &o);
		SSL_set_record_padding_callback(p.client.ssl, pad);
		talk(&p, PIECE_RANDOM);
		peer_close(&p);
	}
}

static void
keeps_to_the_fragment_length(void **state)
{
	(void)state;
	EACH_SUITE(suite)
	{
		for (uint8_t code = 1; code <= 4; code++) {
			const struct peer_options o = { .suite = suite,
				.role = code & 1 ? HANDOFF_SERVER : HANDOFF_CLIENT,
				.fragment = code };
			struct peer p;

			peer_open(&p, worker, &o);
			assert_int_equal(p.keys.write.limit, 256 << code);
			talk(&p, PIECE_RANDOM);
			peer_close(&p);
		}
	}
}

static void
ends_are_told_apart(void **state)
{
	(void)state;
	EACH_SUITE(suite)
	{
		EACH_ROLE(role)
		{
			const struct peer_options o = { .suite = suite, .role = role };
			struct tlsrec_piece last;
			char out[TLSREC_CONTROL_MAX];
			uint8_t byte;
			struct peer p;

			peer_open(&p, worker, &o);
			they_say(&p, data, 10);
			(void)hear(&p, data, 10, QUEUE_MAX, &last);
			/* the socket's end here would be a truncation */
			assert_false(tlsrec_is_ended(&p.rec));
			assert_true(SSL_shutdown(peer_theirs(&p)->ssl) >= 0);
			assert_int_equal(hear(&p, NULL, 0, 1, &last), TLSREC_END);
			assert_true(tlsrec_is_ended(&p.rec));
			say(&p, data, 5000, 10000); /* half-closed */

			size_t n = tlsrec_close(&p.rec, TLSREC_CLOSE_NOTIFY, out, sizeof(out));

			queue_put(peer_ours(&p)->out, out, n);
			/* OpenSSL throws away what comes after its own end. */
			assert_int_equal(SSL_read(peer_theirs(&p)->ssl, &byte, 0), 0);
			peer_close(&p);

			peer_open(&p, worker, &o);
			n = tlsrec_close(&p.rec, TLSREC_CLOSE_NOTIFY, out, sizeof(out));
			queue_put(peer_ours(&p)->out, out, n);

			int rc = SSL_read(peer_theirs(&p)->ssl, &byte, 1);

			assert_int_equal(
				SSL_get_error(peer_theirs(&p)->ssl, rc), SSL_ERROR_ZERO_RETURN);
			they_say(&p, data, 10); /* the other way is still open */
			assert_int_equal(hear(&p, data, 10, 3, &last), TLSREC_DATA);
			peer_close(&p);
		}
	}
}

static int
error_of(SSL *ssl)
{
	uint8_t byte;
	int rc;

	ERR_clear_error();
	rc = SSL_read(ssl, &byte, 1);
	assert_int_equal(SSL_get_error(ssl, rc), SSL_ERROR_SSL);

	int reason = ERR_GET_REASON(ERR_peek_error());

	ERR_clear_error();
	return reason;
}

static void
they_understand_our_alerts(void **state)
{
	(void)state;
	EACH_SUITE(suite)
	{
		const struct peer_options o = { .suite = suite, .role = HANDOFF_SERVER };
		struct tlsrec_piece last;
		char out[TLSREC_CONTROL_MAX];
		struct peer p;

		peer_open(&p, worker, &o);
		they_say(&p, data, 100);
		p.client.out->p[40] ^= 1;
		assert_int_equal(hear(&p, data, 100, 100000, &last), TLSREC_BAD);
		assert_int_equal(last.alert, TLSREC_BAD_RECORD_MAC);

		size_t n = tlsrec_close(&p.rec, (enum tlsrec_alert)last.alert, out, sizeof(out));

		queue_put(p.server.out, out, n);
		assert_int_equal(error_of(p.client.ssl), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
		peer_close(&p);
	}
}

static void
they_may_not_renegotiate(void **state)
{
	static const uint16_t suites[] = { 0xc02b, 0xc030, 0xcca8 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		const struct peer_options o = { .suite = suites[i], .role = HANDOFF_SERVER };
		struct tlsrec_piece last;
		char out[TLSREC_CONTROL_MAX];
		struct peer p;

		peer_open(&p, worker, &o);
		assert_int_equal(SSL_renegotiate(p.client.ssl), 1);
		(void)SSL_do_handshake(p.client.ssl);
		assert_int_equal(hear(&p, NULL, 0, 50, &last), TLSREC_NOTHING);
		assert_true(tlsrec_has_control(&p.rec));

		size_t n = tlsrec_control(&p.rec, out, sizeof(out));

		assert_true(n > 0);
		queue_put(p.server.out, out, n);
		assert_int_equal(error_of(p.client.ssl), SSL_R_NO_RENEGOTIATION);
		peer_close(&p);
	}
}

/* A TLS 1.2 server that asks for it gets the same answer. */
static void
we_do_not_renegotiate(void **state)
{
	const struct peer_options o = { .suite = 0xc02f, .role = HANDOFF_CLIENT };
	struct tlsrec_piece last;
	struct peer p;

	(void)state;
	peer_open(&p, worker, &o);
	assert_int_equal(SSL_renegotiate(p.server.ssl), 1);
	assert_int_equal(SSL_do_handshake(p.server.ssl), 1); /* sends HelloRequest */
	assert_int_equal(hear(&p, NULL, 0, 50, &last), TLSREC_NOTHING);
	assert_true(tlsrec_has_control(&p.rec));
	peer_close(&p);
}

/* --- the self-check ----------------------------------------------------------------------- */

static void
check_offer(const struct peer *p, const struct tlsrec_side *s, const uint8_t *offer, bool is_write)
{
	const struct tls_crypto_info *info = (const struct tls_crypto_info *)(const void *)offer;
	const uint8_t *iv = offer + sizeof(*info);
	bool is_chacha = p->keys.suite->aead == HANDOFF_CHACHA20_POLY1305;
	const size_t iv_n = is_chacha ? 12 : 8;
	const size_t salt_n = is_chacha ? 0 : 4;
	const uint8_t *key = iv + iv_n;
	const uint8_t *salt = key + p->keys.suite->key_len;
	const uint8_t *seq = salt + salt_n;
	uint64_t offered_seq = 0;
	uint64_t nonce = 0;

	assert_int_equal(info->version,
		p->keys.suite->version == HANDOFF_TLS13 ? TLS_1_3_VERSION : TLS_1_2_VERSION);
	assert_memory_equal(key, s->key, p->keys.suite->key_len);
	assert_memory_equal(salt, s->iv, salt_n);
	for (unsigned i = 0; i < 8; i++) {
		offered_seq = offered_seq << 8 | seq[i];
		nonce = nonce << 8 | iv[i];
	}
	if (is_chacha || p->keys.suite->version == HANDOFF_TLS13)
		assert_memory_equal(iv, s->iv + salt_n, iv_n);
	else if (is_write) /* it is offered before Finished, which we count already */
		assert_true(nonce == p->keys.nonce - 1);
	assert_int_equal(offered_seq, 0);
}

/* And what we would tell the kernel is what OpenSSL would, byte for byte. */
static void
check_info(const struct peer *p, const uint8_t *offer)
{
	struct tlsrec then = p->rec;
	uint8_t info[KTLS_INFO_MAX];

	/* It is offered before the first record (TLS 1.2: Finished), which we count already. */
	then.write.seq = 0;
	if (p->keys.suite->version == HANDOFF_TLS12 &&
		p->keys.suite->aead != HANDOFF_CHACHA20_POLY1305)
		then.nonce--;

	size_t n = ktls_info(&then, info);

	assert_true(n <= OFFER_LENGTH);
	assert_memory_equal(info, offer, n);
	/* The next record's number is the last field of all. */
	then.write.seq = 0x0102030405060708;
	assert_int_equal(ktls_info(&then, info), n);
	assert_memory_equal(info, offer, n - 8);
	assert_memory_equal(info + n - 8, "\1\2\3\4\5\6\7\10", 8);
}

static void
keys_are_those_that_openssl_offers_the_kernel(void **state)
{
	(void)state;
	EACH_SUITE(suite)
	{
		EACH_ROLE(role)
		{
			const struct peer_options o = {
				.suite = suite, .role = role, .offers_ktls = true
			};
			struct peer p;

			peer_open(&p, worker, &o);
			assert_true(peer_ours(&p)->has_offer[1]);
			check_offer(&p, &p.rec.write, peer_ours(&p)->offer[1], true);
			check_info(&p, peer_ours(&p)->offer[1]);
			/* OpenSSL 3.0 leaves receiving of TLS 1.3 to user space. */
			assert_true(peer_ours(&p)->has_offer[0] == !is_13(suite));
			if (!is_13(suite))
				check_offer(&p, &p.rec.read, peer_ours(&p)->offer[0], false);
			peer_close(&p);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(talks_with_every_suite_in_both_roles),
		cmocka_unit_test(goes_on_where_the_handshake_stopped),
		cmocka_unit_test(key_updates_go_both_ways),
		cmocka_unit_test(takes_padded_records),
		cmocka_unit_test(keeps_to_the_fragment_length),
		cmocka_unit_test(ends_are_told_apart),
		cmocka_unit_test(they_understand_our_alerts),
		cmocka_unit_test(they_may_not_renegotiate),
		cmocka_unit_test(we_do_not_renegotiate),
		cmocka_unit_test(keys_are_those_that_openssl_offers_the_kernel),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
