/*
 * tlsrec alone, over the life of a connection: handshake messages between the data, new keys, ends,
 * and two record layers that talk to each other where a peer would need years.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/libcommon/tlsrec_forge.h"

/* --- what goes on between data ------------------------------------------------------------ */

static enum tlsrec_result
feed(struct tlsrec *t, uint8_t type, const char *inner, size_t n, struct tlsrec_piece *piece)
{
	uint8_t record[300];
	size_t len = forge(t, &t->read, t->read.seq, type, (const uint8_t *)inner, n, record);

	return open_copy(t, record, len, piece, NULL);
}
#define FEED(t, type, lit, piece) feed(t, type, lit, sizeof(lit) - 1, piece)

static void
barren_records_are_counted(void **state)
{
	static const struct slice inner[] = { TEXT("\x17"), TEXT("\1\x5a\x15"),
		TEXT("\x18\0\0\1\1\x16") };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct tlsrec_piece piece;
		struct tlsrec t;

		open_layer(&t, 0x1301, HANDOFF_SERVER);
		for (unsigned round = 0; round < 2; round++) {
			for (unsigned j = 0; j < 32; j++)
				assert_int_equal(feed(&t, 23, inner[i].p, inner[i].n, &piece),
					TLSREC_NOTHING);
			if (round == 0)
				assert_int_equal(FEED(&t, 23, "x\x17", &piece), TLSREC_DATA);
		}
		assert_int_equal(feed(&t, 23, inner[i].p, inner[i].n, &piece), TLSREC_BAD);
		assert_int_equal(piece.alert, TLSREC_UNEXPECTED_MESSAGE);
		assert_string_equal(piece.reason, "too_many_barren_records");
		tlsrec_fini(&t);
	}
}

/* However the message is cut, and only one answer whatever was asked before it. */
static void
key_updates_come_in_pieces_and_are_answered_once(void **state)
{
	static const char message[] = "\x18\0\0\1\1";

	(void)state;
	for (size_t cut = 1; cut < 5; cut++) {
		char part[8];
		char out[200];
		struct tlsrec_piece piece;
		struct pair p;

		open_pair(&p, 0x1302);
		for (unsigned round = 0; round < 3; round++) {
			memcpy(part, message, cut);
			part[cut] = 0x16;
			assert_int_equal(
				feed(&p.client, 23, part, cut + 1, &piece), TLSREC_NOTHING);
			memcpy(part, message + cut, 5 - cut);
			part[5 - cut] = 0x16;
			assert_int_equal(
				feed(&p.client, 23, part, 6 - cut, &piece), TLSREC_NOTHING);
		}
		assert_int_equal(p.client.read.seq, 0);
		assert_false(tlsrec_has_control(&p.client));

		/* The answer is a record of 5 bytes, then the data under the next key. */
		size_t n = say(&p, "hello", out);

		assert_int_equal(n, 27 + 27);
		open_all(&p.server, out, n, 7, (const uint8_t *)"hello", 5);
		assert_false(p.server.owes_update);
		assert_int_equal(say(&p, "again", out), 27);
		close_pair(&p);
	}
}

static void
messages_are_not_interleaved(void **state)
{
	struct tlsrec_piece piece;
	struct tlsrec t;

	(void)state;
	open_layer(&t, 0x1301, HANDOFF_SERVER);
	assert_int_equal(FEED(&t, 23, "\x18\0\x16", &piece), TLSREC_NOTHING);
	assert_int_equal(FEED(&t, 23, "x\x17", &piece), TLSREC_BAD);
	assert_int_equal(piece.alert, TLSREC_UNEXPECTED_MESSAGE);
	assert_string_equal(piece.reason, "interleaved");
	tlsrec_fini(&t);
}

static void
long_tickets_are_skipped(void **state)
{
	static const char head[] = "\4\0\1\0"; /* 256 bytes */
	char part[201] = { 0 };
	struct tlsrec_piece piece;
	struct tlsrec t;

	(void)state;
	open_layer(&t, 0x1301, HANDOFF_CLIENT);
	memcpy(part, head, 4);
	part[200] = 0x16;
	assert_int_equal(feed(&t, 23, part, 201, &piece), TLSREC_NOTHING);
	assert_int_equal(t.hs_left, 60);
	memset(part, 0, 60);
	part[60] = 0x16;
	assert_int_equal(feed(&t, 23, part, 61, &piece), TLSREC_NOTHING);
	assert_int_equal(FEED(&t, 23, "x\x17", &piece), TLSREC_DATA);
	tlsrec_fini(&t);
}

static void
renegotiation_is_refused_by_a_warning(void **state)
{
	char out[TLSREC_CONTROL_MAX];
	struct tlsrec_piece piece;
	struct pair p;

	(void)state;
	open_pair(&p, 0xc030);
	assert_int_equal(FEED(&p.server, 22, "\1\0\0\3ab", &piece), TLSREC_NOTHING);
	assert_false(tlsrec_has_control(&p.server));
	assert_int_equal(FEED(&p.server, 22, "c\1\0\0\0", &piece), TLSREC_NOTHING);
	assert_true(tlsrec_has_control(&p.server));
	assert_int_equal(tlsrec_control(&p.server, out, sizeof(out) - 1), 0);

	size_t n = tlsrec_control(&p.server, out, sizeof(out));

	assert_int_equal(n, 5 + 8 + 2 + 16);
	assert_false(tlsrec_has_control(&p.server));
	assert_int_equal(tlsrec_control(&p.server, out, sizeof(out)), 0);
	assert_int_equal(tlsrec_open(&p.client, out, n, NULL, 0, &piece), TLSREC_NOTHING);
	assert_int_equal(FEED(&p.server, 23, "x", &piece), TLSREC_DATA);
	close_pair(&p);
}

/* --- ends --------------------------------------------------------------------------------- */

static void
rekeys_before_the_cipher_is_worn_out(void **state)
{
	static uint8_t data[40000];
	static char out[50000];
	const struct iovec v = { data, sizeof(data) };

	(void)state;
	fill(data, sizeof(data));
	for (unsigned i = 0; i < 3; i++) {
		struct pair p;
		size_t taken;

		open_pair(&p, all_suites[i]);
		p.client.write.seq = p.server.read.seq = (1u << 24) - 2;

		ssize_t n = tlsrec_seal(&p.client, &v, 1, 0, out, sizeof(out), &taken);

		assert_int_equal(taken, sizeof(data));
		assert_int_equal(p.client.write.seq, 1);
		assert_int_equal(n, sizeof(data) + 3 * 22 + 27);
		open_all(&p.server, out, (size_t)n, 12345, data, taken);
		assert_int_equal(p.server.read.seq, 1);
		close_pair(&p);
	}
}

static void
stops_where_it_cannot_rekey(void **state)
{
	struct tlsrec_piece piece;
	struct iovec v = { (void *)(uintptr_t) "x", 1 };
	char out[200];
	struct pair p;
	size_t taken;

	(void)state;
	open_pair(&p, 0xc02f);
	p.server.write.seq = p.client.read.seq = (1u << 28) - 1;
	assert_int_equal(tlsrec_seal(&p.server, &v, 1, 0, out, sizeof(out), &taken), 30);
	assert_int_equal(tlsrec_seal(&p.server, &v, 1, 0, out + 30, 170, &taken), -1);
	assert_int_equal(taken, 0);
	/* The goodbye still goes. */
	assert_int_equal(tlsrec_close(&p.server, TLSREC_CLOSE_NOTIFY, out + 30, 170), 31);
	assert_int_equal(tlsrec_open(&p.client, out, 61, NULL, 0, &piece), TLSREC_DATA);
	assert_int_equal(tlsrec_open(&p.client, out + 30, 31, NULL, 0, &piece), TLSREC_END);
	close_pair(&p);
}

static void
sequence_numbers_do_not_wrap(void **state)
{
	struct iovec v = { (void *)(uintptr_t) "x", 1 };
	char out[200];
	size_t taken;

	(void)state;
	EACH_SUITE(i)
	{
		struct tlsrec_piece piece;
		struct pair p;

		open_pair(&p, all_suites[i]);
		p.server.read.seq = UINT64_MAX - 1;
		assert_int_equal(FEED(&p.server, 23, "x\x17", &piece), TLSREC_DATA);
		assert_int_equal(FEED(&p.server, 23, "x\x17", &piece), TLSREC_BAD);
		assert_string_equal(piece.reason, "sequence_overflow");
		assert_int_equal(piece.alert, TLSREC_INTERNAL_ERROR);
		p.client.write.seq = UINT64_MAX;
		assert_int_equal(tlsrec_seal(&p.client, &v, 1, 0, out, sizeof(out), &taken), -1);
		assert_int_equal(tlsrec_close(&p.client, TLSREC_CLOSE_NOTIFY, out, sizeof(out)), 0);
		assert_true(p.client.write.seq == UINT64_MAX);
		close_pair(&p);
	}
}

static void
nothing_follows_the_last_record(void **state)
{
	struct iovec v = { (void *)(uintptr_t) "x", 1 };
	char out[200];
	size_t taken;

	(void)state;
	EACH_SUITE(i)
	{
		struct tlsrec_piece piece;
		struct pair p;

		open_pair(&p, all_suites[i]);

		size_t n = tlsrec_close(&p.server, TLSREC_CLOSE_NOTIFY, out, sizeof(out));

		assert_true(n > 0);
		assert_int_equal(tlsrec_open(&p.client, out, n, NULL, 0, &piece), TLSREC_END);
		assert_int_equal(tlsrec_close(&p.server, TLSREC_CLOSE_NOTIFY, out, sizeof(out)), 0);
		assert_int_equal(tlsrec_seal(&p.server, &v, 1, 0, out, sizeof(out), &taken), -1);
		/* What comes behind it is ignored (RFC 8446 §6.1), and the other way is open. */
		assert_int_equal(tlsrec_open(&p.client, out, 9, NULL, 0, &piece), TLSREC_END);
		assert_int_equal(piece.used, 9);
		n = say(&p, "still here", out);
		assert_int_equal(tlsrec_open(&p.server, out, n, NULL, 0, &piece), TLSREC_DATA);
		/* An alert is the last word too. */
		n = tlsrec_close(&p.client, TLSREC_BAD_RECORD_MAC, out, sizeof(out));
		assert_int_equal(tlsrec_open(&p.server, out, n, NULL, 0, &piece), TLSREC_GIVEN_UP);
		assert_int_equal(piece.alert, TLSREC_BAD_RECORD_MAC);
		assert_int_equal(tlsrec_open(&p.server, out, n, NULL, 0, &piece), TLSREC_GIVEN_UP);
		close_pair(&p);
	}
}

static bool
has_bytes(const void *in, size_t n, const uint8_t *p, size_t len)
{
	return memmem(in, n, p, len) != NULL;
}

static void
keys_are_cleansed(void **state)
{
	char out[200];

	(void)state;
	EACH_SUITE(i)
	{
		struct tlsrec_piece piece;
		struct pair p;
		uint8_t key[16];

		open_pair(&p, all_suites[i]);
		memcpy(key, p.client.write.key, sizeof(key));
		assert_true(has_bytes(&p, sizeof(p), key, sizeof(key)));

		size_t n = say(&p, "x", out);

		assert_int_equal(tlsrec_open(&p.server, out, n, NULL, 0, &piece), TLSREC_DATA);
		close_pair(&p);
		assert_false(has_bytes(&p, sizeof(p), key, sizeof(key)));
		tlsrec_fini(&p.client); /* and again is fine */
	}
}

/* Far more connections than contexts, in an order in which each finds another's key. */
static void
connections_share_contexts(void **state)
{
	enum { MANY = 400 };
	struct pair *p = calloc(MANY, sizeof(*p));
	char out[200];

	(void)state;
	assert_non_null(p);
	for (unsigned i = 0; i < MANY; i++)
		open_pair(&p[i], all_suites[i % 6]);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			struct tlsrec_piece piece;
			struct pair *at = &p[i * 7 % MANY];
			size_t n = say(at, "hello", out);

			assert_int_equal(
				tlsrec_open(&at->server, out, n, NULL, 0, &piece), TLSREC_DATA);
			assert_int_equal(piece.n, 5);
		}
	}
	for (unsigned i = 0; i < MANY; i++)
		close_pair(&p[i]);
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(barren_records_are_counted),
		cmocka_unit_test(key_updates_come_in_pieces_and_are_answered_once),
		cmocka_unit_test(messages_are_not_interleaved),
		cmocka_unit_test(long_tickets_are_skipped),
		cmocka_unit_test(renegotiation_is_refused_by_a_warning),
		cmocka_unit_test(rekeys_before_the_cipher_is_worn_out),
		cmocka_unit_test(stops_where_it_cannot_rekey),
		cmocka_unit_test(sequence_numbers_do_not_wrap),
		cmocka_unit_test(nothing_follows_the_last_record),
		cmocka_unit_test(keys_are_cleansed),
		cmocka_unit_test(connections_share_contexts),
	};

	return cmocka_run_group_tests(tests, make_worker, free_worker);
}
