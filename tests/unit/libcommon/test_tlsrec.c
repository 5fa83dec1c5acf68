/*
 * tlsrec alone, record by record: those of RFC 8448, those that are forged one by one, each with
 * the alert that it must end in, and what happens to good ones on their way.
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

struct inner_case {
	const char *name;
	uint16_t suite;
	enum handoff_role role;
	uint8_t type; /* of the record as it travels */
	struct slice inner;
	size_t zeros; /* behind it */
	enum tlsrec_result result;
	uint8_t alert;
	const char *reason;
};

#define S13 0x1301, HANDOFF_SERVER, 23
#define C13 0x1301, HANDOFF_CLIENT, 23
#define S12 0xc02f, HANDOFF_SERVER
#define C12 0xcca8, HANDOFF_CLIENT

static const struct inner_case inner_cases[] = {
	{ "data", S13, TEXT("hi\x17"), 0, TLSREC_DATA, 0, NULL },
	{ "data, padded", S13, TEXT("hi\x17"), 1000, TLSREC_DATA, 0, NULL },
	{ "data of zeros, padded", S13, TEXT("\0\0\x17"), 3, TLSREC_DATA, 0, NULL },
	{ "no data", S13, TEXT("\x17"), 0, TLSREC_NOTHING, 0, NULL },
	{ "no data, padded", S13, TEXT("\x17"), 16383, TLSREC_NOTHING, 0, NULL },
	{ "nothing at all", S13, TEXT(""), 0, TLSREC_BAD, 10, "no_content_type" },
	{ "padding only", S13, TEXT(""), 100, TLSREC_BAD, 10, "no_content_type" },
	{ "a type of its own", S13, TEXT("hi\x18"), 0, TLSREC_BAD, 10, "bad_content_type" },
	{ "change_cipher_spec inside", S13, TEXT("\1\x14"), 0, TLSREC_BAD, 10, "bad_content_type" },
	{ "close_notify", S13, TEXT("\1\0\x15"), 0, TLSREC_END, 0, NULL },
	{ "close_notify called fatal", S13, TEXT("\2\0\x15"), 5, TLSREC_END, 0, NULL },
	{ "user_canceled", S13, TEXT("\1\x5a\x15"), 0, TLSREC_NOTHING, 0, NULL },
	{ "bad_certificate called a warning", S13, TEXT("\1\x2a\x15"), 0, TLSREC_GIVEN_UP, 42,
		NULL },
	{ "internal_error", S13, TEXT("\2\x50\x15"), 0, TLSREC_GIVEN_UP, 80, NULL },
	{ "empty alert", S13, TEXT("\x15"), 0, TLSREC_BAD, 10, "empty_alert" },
	{ "half an alert", S13, TEXT("\1\x15"), 0, TLSREC_BAD, 50, "bad_alert" },
	{ "two alerts", S13, TEXT("\1\x5a\1\0\x15"), 0, TLSREC_BAD, 50, "bad_alert" },
	{ "KeyUpdate", S13, TEXT("\x18\0\0\1\0\x16"), 0, TLSREC_NOTHING, 0, NULL },
	{ "KeyUpdate, padded", S13, TEXT("\x18\0\0\1\1\x16"), 9, TLSREC_NOTHING, 0, NULL },
	{ "KeyUpdate with a bad value", S13, TEXT("\x18\0\0\1\2\x16"), 0, TLSREC_BAD, 47,
		"bad_key_update" },
	{ "KeyUpdate of two bytes", S13, TEXT("\x18\0\0\2\0\0\x16"), 0, TLSREC_BAD, 50,
		"bad_key_update" },
	{ "KeyUpdate of no byte", S13, TEXT("\x18\0\0\0\x16"), 0, TLSREC_BAD, 50,
		"bad_key_update" },
	{ "KeyUpdate not last", S13, TEXT("\x18\0\0\1\0\x18\x16"), 0, TLSREC_BAD, 10,
		"key_update_not_last" },
	{ "two KeyUpdates", S13, TEXT("\x18\0\0\1\0\x18\0\0\1\0\x16"), 0, TLSREC_BAD, 10,
		"key_update_not_last" },
	{ "empty handshake", S13, TEXT("\x16"), 0, TLSREC_BAD, 10, "empty_handshake" },
	{ "part of a KeyUpdate", S13, TEXT("\x18\0\0\x16"), 0, TLSREC_NOTHING, 0, NULL },
	{ "ClientHello", S13, TEXT("\1\0\0\0\x16"), 0, TLSREC_BAD, 10, "unexpected_handshake" },
	{ "Finished", S13, TEXT("\x14\0\0\1\0\x16"), 0, TLSREC_BAD, 10, "unexpected_handshake" },
	{ "a ticket from a client", S13, TEXT("\4\0\0\0\x16"), 0, TLSREC_BAD, 10,
		"unexpected_handshake" },
	{ "a ticket", C13, TEXT("\4\0\0\3abc\x16"), 0, TLSREC_NOTHING, 0, NULL },
	{ "two tickets and a KeyUpdate", C13, TEXT("\4\0\0\1a\4\0\0\0\x18\0\0\1\0\x16"), 0,
		TLSREC_NOTHING, 0, NULL },
	{ "a ticket beyond reason", C13, TEXT("\4\2\0\1\x16"), 0, TLSREC_BAD, 50,
		"handshake_too_long" },
	{ "CertificateRequest", C13, TEXT("\x0d\0\0\0\x16"), 0, TLSREC_BAD, 10,
		"unexpected_handshake" },
	{ "data as an alert outside", 0x1301, HANDOFF_SERVER, 21, TEXT("\1\0\x15"), 0, TLSREC_BAD,
		10, "bad_content_type" },
	{ "data as handshake outside", 0x1303, HANDOFF_SERVER, 22, TEXT("\x18\0\0\1\0\x16"), 0,
		TLSREC_BAD, 10, "bad_content_type" },
	{ "1.2: data", S12, 23, TEXT("hi"), 0, TLSREC_DATA, 0, NULL },
	{ "1.2: zeros are data", S12, 23, TEXT("\0"), 7, TLSREC_DATA, 0, NULL },
	{ "1.2: no data", S12, 23, TEXT(""), 0, TLSREC_NOTHING, 0, NULL },
	{ "1.2: close_notify", S12, 21, TEXT("\1\0"), 0, TLSREC_END, 0, NULL },
	{ "1.2: a warning", S12, 21, TEXT("\1\x2a"), 0, TLSREC_NOTHING, 0, NULL },
	{ "1.2: a fatal alert", S12, 21, TEXT("\2\x2a"), 0, TLSREC_GIVEN_UP, 42, NULL },
	{ "1.2: a level of its own", S12, 21, TEXT("\3\x2a"), 0, TLSREC_BAD, 47, "bad_alert" },
	{ "1.2: empty alert", S12, 21, TEXT(""), 0, TLSREC_BAD, 10, "empty_alert" },
	{ "1.2: change_cipher_spec", S12, 20, TEXT("\1"), 0, TLSREC_BAD, 10, "bad_content_type" },
	{ "1.2: heartbeat", S12, 24, TEXT("\1"), 0, TLSREC_BAD, 10, "not_a_record" },
	{ "1.2: ClientHello", S12, 22, TEXT("\1\0\0\2ab"), 0, TLSREC_NOTHING, 0, NULL },
	{ "1.2: HelloRequest from a client", S12, 22, TEXT("\0\0\0\0"), 0, TLSREC_BAD, 10,
		"unexpected_handshake" },
	{ "1.2: HelloRequest", C12, 22, TEXT("\0\0\0\0"), 0, TLSREC_NOTHING, 0, NULL },
	{ "1.2: HelloRequest with a body", C12, 22, TEXT("\0\0\0\1a"), 0, TLSREC_BAD, 50,
		"handshake_too_long" },
	{ "1.2: KeyUpdate", S12, 22, TEXT("\x18\0\0\1\0"), 0, TLSREC_BAD, 10,
		"unexpected_handshake" },
	{ "1.2: empty handshake", C12, 22, TEXT(""), 0, TLSREC_BAD, 10, "empty_handshake" },
};

static void
each_content_has_its_result(void **state)
{
	static uint8_t inner[20000];
	static uint8_t record[20100];

	(void)state;
	for (size_t i = 0; i < sizeof(inner_cases) / sizeof(*inner_cases); i++) {
		const struct inner_case *c = &inner_cases[i];
		struct tlsrec_piece piece;
		struct tlsrec t;

		open_layer(&t, c->suite, c->role);
		memset(inner, 0, sizeof(inner));
		memcpy(inner, c->inner.p, c->inner.n);

		size_t n = forge(
			&t, &t.read, t.read.seq, c->type, inner, c->inner.n + c->zeros, record);
		enum tlsrec_result r = open_copy(&t, record, n, &piece, NULL);

		if (r != c->result || piece.alert != c->alert ||
			(piece.reason == NULL) != (c->reason == NULL) ||
			(c->reason != NULL && strcmp(c->reason, piece.reason) != 0))
			fail_msg("%s: result %d alert %d %s", c->name, r, piece.alert,
				piece.reason ? piece.reason : "");
		if (r == TLSREC_BAD) /* and so it stays */
			assert_int_equal(open_copy(&t, record, n, &piece, NULL), TLSREC_BAD);
		else
			assert_int_equal(piece.used, n);
		tlsrec_fini(&t);
	}
}

struct header_case {
	const char *name;
	uint16_t suite;
	struct slice header;
	enum tlsrec_result result;
	uint8_t alert;
	const char *reason;
};

static const struct header_case header_cases[] = {
	{ "HTTP", 0x1301, TEXT("GET /"), TLSREC_BAD, 10, "not_a_record" },
	{ "SSLv2", 0x1301, TEXT("\x80\x2e\x01\3\1"), TLSREC_BAD, 10, "not_a_record" },
	{ "change_cipher_spec", 0x1301, TEXT("\x14\3\3\0\1"), TLSREC_BAD, 10, "bad_content_type" },
	{ "1.2: change_cipher_spec", 0xc02f, TEXT("\x14\3\3\0\1"), TLSREC_BAD, 10,
		"bad_content_type" },
	{ "an alert in the clear", 0x1301, TEXT("\x15\3\3\0\2"), TLSREC_BAD, 10,
		"bad_content_type" },
	{ "1.2: an alert in the clear", 0xc02f, TEXT("\x15\3\3\0\2"), TLSREC_BAD, 20,
		"bad_record_mac" },
	{ "TLS 1.0", 0x1301, TEXT("\x17\3\1\0\x30"), TLSREC_BAD, 70, "bad_version" },
	{ "1.2: TLS 1.3 outside", 0xc02f, TEXT("\x17\3\4\0\x30"), TLSREC_BAD, 70, "bad_version" },
	{ "shorter than a tag", 0x1301, TEXT("\x17\3\3\0\x0f"), TLSREC_BAD, 20, "bad_record_mac" },
	{ "the shortest", 0x1301, TEXT("\x17\3\3\0\x10"), TLSREC_MORE, 0, NULL },
	{ "the longest", 0x1301, TEXT("\x17\3\3\x40\x11"), TLSREC_MORE, 0, NULL },
	{ "too long", 0x1301, TEXT("\x17\3\3\x40\x12"), TLSREC_BAD, 22, "record_overflow" },
	{ "1.2: shorter than nonce and tag", 0xc02f, TEXT("\x17\3\3\0\x17"), TLSREC_BAD, 20,
		"bad_record_mac" },
	{ "1.2: the shortest", 0xc02f, TEXT("\x17\3\3\0\x18"), TLSREC_MORE, 0, NULL },
	{ "1.2: the longest", 0xc030, TEXT("\x17\3\3\x40\x18"), TLSREC_MORE, 0, NULL },
	{ "1.2: too long", 0xc030, TEXT("\x17\3\3\x40\x19"), TLSREC_BAD, 22, "record_overflow" },
	{ "1.2 ChaCha: the longest", 0xcca8, TEXT("\x17\3\3\x40\x10"), TLSREC_MORE, 0, NULL },
	{ "1.2 ChaCha: too long", 0xcca8, TEXT("\x17\3\3\x40\x11"), TLSREC_BAD, 22,
		"record_overflow" },
};

static void
each_header_has_its_result(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(header_cases) / sizeof(*header_cases); i++) {
		const struct header_case *c = &header_cases[i];
		const uint8_t *h = (const uint8_t *)c->header.p;
		struct tlsrec_piece piece;
		struct tlsrec t;

		open_layer(&t, c->suite, HANDOFF_SERVER);
		for (size_t n = 1; n < 5; n++) {
			assert_int_equal(open_copy(&t, h, n, &piece, NULL), TLSREC_MORE);
			assert_int_equal(piece.need, 5);
		}

		enum tlsrec_result r = open_copy(&t, h, 5, &piece, NULL);

		if (r != c->result || piece.alert != c->alert)
			fail_msg("%s: result %d alert %d", c->name, r, piece.alert);
		if (c->reason != NULL)
			assert_string_equal(piece.reason, c->reason);
		else
			assert_int_equal(piece.need, 5 + (size_t)(h[3] << 8 | h[4]));
		tlsrec_fini(&t);
	}
}

/* --- RFC 8448 §3 -------------------------------------------------------------------------- */

static void
open_rfc_layer(struct tlsrec *t, enum handoff_role role)
{
	struct handoff_keys k = { .suite = handoff_suite_find(0x1301), .role = role };
	struct handoff_side *client = role == HANDOFF_SERVER ? &k.read : &k.write;
	struct handoff_side *server = role == HANDOFF_SERVER ? &k.write : &k.read;

	client->limit = server->limit = 16384;
	server->seq = 1; /* a ticket came first */
	unhex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", client->secret);
	unhex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643", server->secret);
	assert_true(tlsrec_init(t, worker, &k));
}

static void
assert_hex(const void *p, size_t n, const char *hex)
{
	uint8_t want[256];

	assert_int_equal(unhex(hex, want), n);
	assert_memory_equal(p, want, n);
}

struct vector {
	enum handoff_role role; /* of who writes */
	const char *data;
	const char *end; /* close_notify */
};

static const struct vector vectors[] = {
	{ HANDOFF_CLIENT,
		"17030300 43a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b"
		"395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4",
		"1703030013c9872760655666b74d7ff1153efd6db6d0b0e3" },
	{ HANDOFF_SERVER,
		"17030300 432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6"
		"dffc602dcb501a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d",
		"1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9" },
};

static void
rfc_8448(void **state)
{
	uint8_t data[50];
	const struct iovec v = { data, sizeof(data) };

	(void)state;
	for (uint8_t i = 0; i < sizeof(data); i++)
		data[i] = i;
	for (unsigned i = 0; i < 2; i++) {
		const struct vector *c = &vectors[i];
		enum handoff_role other =
			c->role == HANDOFF_CLIENT ? HANDOFF_SERVER : HANDOFF_CLIENT;
		struct tlsrec_piece piece;
		struct tlsrec w;
		struct tlsrec r;
		char out[200];
		size_t taken;

		open_rfc_layer(&w, c->role);
		open_rfc_layer(&r, other);
		assert_hex(w.write.key, 16,
			i ? "9f02283b6c9c07efc26bb9f2ac92e356"
			  : "17422dda596ed5d9acd890e3c63f5051");
		assert_hex(w.write.iv, 12,
			i ? "cf782b88dd83549aadf1e984" : "5b78923dee08579033e523d9");
		assert_int_equal(tlsrec_seal(&w, &v, 1, 0, out, sizeof(out), &taken), 72);
		assert_hex(out, 72, c->data);
		assert_int_equal(tlsrec_open(&r, out, 72, NULL, 0, &piece), TLSREC_DATA);
		assert_int_equal(piece.n, 50);
		assert_memory_equal(piece.p, data, 50);
		assert_int_equal(tlsrec_close(&w, TLSREC_CLOSE_NOTIFY, out, sizeof(out)), 24);
		assert_hex(out, 24, c->end);
		assert_false(tlsrec_is_ended(&r));
		assert_int_equal(tlsrec_open(&r, out, 24, NULL, 0, &piece), TLSREC_END);
		assert_true(tlsrec_is_ended(&r));
		tlsrec_fini(&w);
		tlsrec_fini(&r);
	}
}

/* --- on the way --------------------------------------------------------------------------- */

static void
flipped_bytes_are_noticed(void **state)
{
	(void)state;
	EACH_SUITE(i)
	{
		char good[200];
		char bad[200];
		struct pair first;

		open_pair(&first, all_suites[i]);

		size_t n = say(&first, "the quick brown fox", good);

		close_pair(&first);
		for (size_t at = 0; at < n * 8; at++) {
			struct tlsrec_piece piece;
			struct pair p;

			open_pair(&p, all_suites[i]);
			memcpy(bad, good, n);
			bad[at / 8] = (char)(bad[at / 8] ^ 1 << at % 8);

			enum tlsrec_result r = tlsrec_open(&p.server, bad, n, NULL, 0, &piece);

			/* A longer length may ask for more; nothing is ever taken for data. */
			assert_true(r == TLSREC_BAD || (r == TLSREC_MORE && at / 8 < 5));
			if (at / 8 >= 5)
				assert_string_equal(piece.reason, "bad_record_mac");
			close_pair(&p);
		}
	}
}

static void
replayed_dropped_and_swapped_records_are_noticed(void **state)
{
	(void)state;
	EACH_SUITE(i)
	{
		static const uint8_t orders[][2] = { { 0, 0 }, { 1, 0 }, { 0, 2 } };

		for (unsigned o = 0; o < 3; o++) {
			char records[3][200];
			size_t n[3];
			struct tlsrec_piece piece;
			struct pair p;
			enum tlsrec_result r = TLSREC_DATA;

			open_pair(&p, all_suites[i]);
			for (unsigned j = 0; j < 3; j++)
				n[j] = say(&p, j ? "other" : "one", records[j]);
			for (unsigned j = 0; j < 2 && r == TLSREC_DATA; j++) {
				char copy[200];
				uint8_t which = orders[o][j];

				memcpy(copy, records[which], n[which]);
				r = tlsrec_open(&p.server, copy, n[which], NULL, 0, &piece);
			}
			assert_int_equal(r, TLSREC_BAD);
			assert_int_equal(piece.alert, TLSREC_BAD_RECORD_MAC);
			close_pair(&p);
		}
	}
}

/* Scattered data, every amount of room: what was taken is what arrives. */
static void
seals_from_scattered_pieces_into_any_room(void **state)
{
	static uint8_t data[100000];
	static char out[110000];
	const struct iovec v[] = { { data, 0 }, { data, 200 }, { data + 200, 1 },
		{ data + 201, 16384 }, { data, 0 }, { data + 16585, 3000 },
		{ data + 19585, sizeof(data) - 19585 }, { data, 0 } };
	static const size_t rooms[] = { 0, 5, 21, 30, 100, 1000, 1100, 16383, 16384, 16406, 16420,
		33000, 110000 };

	(void)state;
	fill(data, sizeof(data));
	EACH_SUITE(i)
	{
		for (size_t j = 0; j < sizeof(rooms) / sizeof(*rooms); j++) {
			struct pair p;
			size_t taken;

			open_pair(&p, all_suites[i]);

			ssize_t n = tlsrec_seal(&p.client, v, 8, 0, out, rooms[j], &taken);

			assert_true(n >= 0 && (size_t)n <= rooms[j]);
			assert_true(taken > 0 || rooms[j] <= 30);
			assert_true(taken + 2500 >= rooms[j] || rooms[j] == 110000);
			open_all(&p.server, out, (size_t)n, 16384, data, taken);
			close_pair(&p);
		}

		struct pair p;
		size_t taken;

		open_pair(&p, all_suites[i]);

		size_t room = tlsrec_room(&p.client, sizeof(data));
		ssize_t n = tlsrec_seal(&p.client, v, 8, 0, out, room, &taken);

		assert_int_equal(taken, sizeof(data));
		open_all(&p.server, out, (size_t)n, 777, data, taken);
		close_pair(&p);
	}
}

static void
opens_into_other_memory(void **state)
{
	static uint8_t data[16384];
	static char sealed[TLSREC_RECORD_MAX];
	static char copy[TLSREC_RECORD_MAX];

	(void)state;
	fill(data, sizeof(data));
	EACH_SUITE(i)
	{
		const struct iovec v = { data, sizeof(data) };
		struct tlsrec_piece piece;
		struct pair p;
		size_t taken;

		open_pair(&p, all_suites[i]);

		size_t n = (size_t)tlsrec_seal(&p.client, &v, 1, 0, sealed, sizeof(sealed), &taken);
		char *out = malloc(sizeof(data));

		assert_non_null(out);
		memcpy(copy, sealed, n);
		assert_int_equal(tlsrec_open(&p.server, copy, n, out, sizeof(data) - 1, &piece),
			TLSREC_ROOM);
		assert_true(piece.used == 0 && piece.need >= sizeof(data));
		assert_memory_equal(copy, sealed, n); /* and nothing was touched */
		assert_int_equal(
			tlsrec_open(&p.server, copy, n, out, sizeof(data), &piece), TLSREC_DATA);
		assert_ptr_equal(piece.p, out);
		assert_int_equal(piece.n, sizeof(data));
		assert_memory_equal(out, data, sizeof(data));
		free(out);
		close_pair(&p);
	}
}

static void
obeys_limits(void **state)
{
	static const uint16_t limits[] = { 64, 512, 1024, 4096, 16384 };
	static uint8_t data[30000];
	static char out[60000];

	(void)state;
	fill(data, sizeof(data));
	EACH_SUITE(i)
	{
		for (unsigned j = 0; j < 5; j++) {
			const struct iovec v = { data, sizeof(data) };
			struct tlsrec_piece piece;
			struct pair p;
			size_t taken;

			open_pair(&p, all_suites[i]);
			p.client.write.limit = p.server.read.limit = limits[j];

			ssize_t n = tlsrec_seal(&p.client, &v, 1, 0, out, sizeof(out), &taken);

			assert_int_equal(taken, sizeof(data));
			open_all(&p.server, out, (size_t)n, 50000, data, taken);
			p.client.write.limit++;
			n = tlsrec_seal(&p.client, &v, 1, 0, out, sizeof(out), &taken);
			assert_int_equal(tlsrec_open(&p.server, out, (size_t)n, NULL, 0, &piece),
				TLSREC_BAD);
			assert_int_equal(piece.alert, TLSREC_RECORD_OVERFLOW);
			close_pair(&p);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_8448),
		cmocka_unit_test(each_content_has_its_result),
		cmocka_unit_test(each_header_has_its_result),
		cmocka_unit_test(flipped_bytes_are_noticed),
		cmocka_unit_test(replayed_dropped_and_swapped_records_are_noticed),
		cmocka_unit_test(seals_from_scattered_pieces_into_any_room),
		cmocka_unit_test(opens_into_other_memory),
		cmocka_unit_test(obeys_limits),
	};

	return cmocka_run_group_tests(tests, make_worker, free_worker);
}
