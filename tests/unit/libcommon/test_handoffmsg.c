/*
 * handoffmsg: what is written reads back as it was, for every suite and role; whatever is not
 * exactly a message is refused with its word, and leaves no secret behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/handoffmsg.h"

static void
fill(uint8_t *p, size_t n, uint8_t from)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(from + i);
}

static struct proxy_info
some_info(void)
{
	struct proxy_info info = { .has_tls = true, .has_addr = true };
	struct sockaddr_in *src = (struct sockaddr_in *)&info.src;
	struct sockaddr_in *dst = (struct sockaddr_in *)&info.dst;

	src->sin_family = dst->sin_family = AF_INET;
	src->sin_port = htons(40000);
	dst->sin_port = htons(443);
	src->sin_addr.s_addr = htonl(0xc0000201);
	dst->sin_addr.s_addr = htonl(0xc0000202);
	info.alpn = SLICE("http/1.1");
	info.authority = SLICE("www.example.com");
	info.tls_version = SLICE("TLSv1.3");
	info.cipher = SLICE("TLS_AES_128_GCM_SHA256");
	info.unique_id = SLICE("0123456789abcdef");
	info.has_client_cert = true;
	info.is_client_cert_verified = true;
	info.cert.cn = SLICE("somebody");
	info.cert.subject = SLICE("CN=somebody");
	info.cert.der = SLICE("0\0");
	return info;
}

static struct handoff
some_message(const struct handoff_suite *suite, enum handoff_role role)
{
	struct handoff h = { .serial = 200, .is_resumed = true, .info = some_info() };
	struct handoff_side *sides[] = { &h.keys.read, &h.keys.write };

	h.keys.suite = suite;
	h.keys.role = role;
	for (unsigned i = 0; i < 2; i++) {
		fill(sides[i]->secret, suite->secret_len, (uint8_t)(16 + 100 * i));
		fill(sides[i]->iv, suite->iv_len, (uint8_t)(80 + 100 * i));
		sides[i]->seq = 1 + ((uint64_t)i << 63);
		sides[i]->limit = i ? 512 : 16384;
	}
	if (suite->version == HANDOFF_TLS12 && suite->iv_len == 4)
		h.keys.nonce = UINT64_MAX - 5;
	h.in = SLICE("\x17\x03\x03\0\x01!");
	h.out = SLICE("\x16\x03\x03");
	return h;
}

static void
assert_side(const struct handoff_side *a, const struct handoff_side *b)
{
	assert_true(a->seq == b->seq);
	assert_int_equal(a->limit, b->limit);
	assert_memory_equal(a->secret, b->secret, sizeof(a->secret));
	assert_memory_equal(a->iv, b->iv, sizeof(a->iv));
}

static void
assert_slice(struct slice a, struct slice b)
{
	assert_true(slice_eq(a, b));
}

static void
assert_same(const struct handoff *a, const struct handoff *b)
{
	assert_int_equal(a->serial, b->serial);
	assert_int_equal(a->is_resumed, b->is_resumed);
	assert_ptr_equal(a->keys.suite, b->keys.suite);
	assert_int_equal(a->keys.role, b->keys.role);
	assert_true(a->keys.nonce == b->keys.nonce);
	assert_side(&a->keys.read, &b->keys.read);
	assert_side(&a->keys.write, &b->keys.write);
	assert_slice(a->in, b->in);
	assert_slice(a->out, b->out);
	assert_slice(a->info.alpn, b->info.alpn);
	assert_slice(a->info.authority, b->info.authority);
	assert_slice(a->info.tls_version, b->info.tls_version);
	assert_slice(a->info.cipher, b->info.cipher);
	assert_slice(a->info.unique_id, b->info.unique_id);
	assert_slice(a->info.cert.cn, b->info.cert.cn);
	assert_int_equal(a->info.has_client_cert, b->info.has_client_cert);
	assert_int_equal(a->info.is_client_cert_verified, b->info.is_client_cert_verified);
	assert_int_equal(a->info.has_addr, b->info.has_addr);
	assert_memory_equal(&a->info.src, &b->info.src, sizeof(a->info.src));
	assert_memory_equal(&a->info.dst, &b->info.dst, sizeof(a->info.dst));
}

static bool
is_zero(const void *p, size_t n)
{
	const unsigned char *u = p;

	while (n-- > 0)
		if (*u++ != 0)
			return false;
	return true;
}

/* From an exact-size heap copy; NULL when it was read, else the reason word. */
static const char *
refusal(const char *p, size_t n)
{
	char *copy = malloc(n ? n : 1);
	const char *reason = "unset";
	struct handoff h;

	assert_non_null(copy);
	memcpy(copy, p, n);
	memset(&h, 0xee, sizeof(h));

	bool is_read = handoff_decode(copy, n, &h, &reason);

	free(copy);
	assert_int_equal(is_read, reason == NULL);
	if (!is_read)
		assert_true(is_zero(&h, sizeof(h)));
	return reason;
}

static void
reads_back(void **state)
{
	char out[HANDOFF_MAX];
	const struct handoff_suite *suite;

	(void)state;
	for (size_t i = 0; (suite = handoff_suite_at(i)) != NULL; i++) {
		for (enum handoff_role r = HANDOFF_SERVER; r <= HANDOFF_CLIENT; r++) {
			struct handoff h = some_message(suite, r);
			size_t n = handoff_encode(&h, out, sizeof(out));
			struct handoff again;
			const char *reason;

			assert_true(n > 48);
			assert_true(handoff_decode(out, n, &again, &reason));
			assert_same(&h, &again);
			handoff_wipe(&again.keys);
			assert_true(is_zero(&again.keys, sizeof(again.keys)));
		}
	}
}

static void
knows_the_suites_that_can_be_handed_over(void **state)
{
	(void)state;
	assert_int_equal(handoff_suite_find(0x1302)->secret_len, 48);
	assert_int_equal(handoff_suite_find(0xc02f)->iv_len, 4);
	assert_int_equal(handoff_suite_find(0xcca9)->aead, HANDOFF_CHACHA20_POLY1305);
	assert_null(handoff_suite_find(0x1304)); /* CCM */
	assert_null(handoff_suite_find(0xc013)); /* CBC */
	assert_null(handoff_suite_find(0x009c)); /* no forward secrecy */
	assert_null(handoff_suite_at(9));
	assert_int_equal(handoff_block_len(handoff_suite_find(0xc02f)), 40);
	assert_int_equal(handoff_block_len(handoff_suite_find(0xc030)), 72);
	assert_int_equal(handoff_block_len(handoff_suite_find(0xcca8)), HANDOFF_BLOCK_MAX);
}

static void
cuts_a_key_block_by_role(void **state)
{
	uint8_t block[40];
	struct handoff_keys server = { .suite = handoff_suite_find(0xc02f),
		.role = HANDOFF_SERVER };
	struct handoff_keys client = { .suite = server.suite, .role = HANDOFF_CLIENT };

	(void)state;
	fill(block, sizeof(block), 1);
	handoff_set_block(&server, block);
	handoff_set_block(&client, block);
	assert_memory_equal(server.read.secret, block, 16);
	assert_memory_equal(server.write.secret, block + 16, 16);
	assert_memory_equal(server.read.iv, block + 32, 4);
	assert_memory_equal(server.write.iv, block + 36, 4);
	assert_side(&server.read, &client.write);
	assert_side(&server.write, &client.read);
}

static void
refuses_every_other_length(void **state)
{
	char out[HANDOFF_MAX];
	struct handoff h = some_message(handoff_suite_find(0x1301), HANDOFF_SERVER);
	size_t n = handoff_encode(&h, out, sizeof(out));

	(void)state;
	assert_null(refusal(out, n));
	for (size_t i = 0; i < n; i++)
		assert_string_equal(refusal(out, i), i < 48 ? "short_message" : "bad_length");
	out[n] = 0;
	assert_string_equal(refusal(out, n + 1), "bad_length");
}

struct bad_case {
	const char *name;
	size_t at;
	struct slice bytes;
	const char *reason;
};

#define TEXT(lit)                       \
	{                               \
		"" lit, sizeof(lit) - 1 \
	}

static const struct bad_case bad_cases[] = {
	{ "first byte", 0, TEXT("w"), "not_a_handoff" },
	{ "second byte", 1, TEXT("\0"), "not_a_handoff" },
	{ "format 0", 2, TEXT("\0"), "unknown_version" },
	{ "format 2", 2, TEXT("\2"), "unknown_version" },
	{ "kind 0", 3, TEXT("\0"), "unknown_kind" },
	{ "role 0", 5, TEXT("\0"), "bad_role" },
	{ "role 3", 5, TEXT("\3"), "bad_role" },
	{ "role below zero", 5, TEXT("\x81"), "bad_role" },
	{ "a flag that nobody knows", 6, TEXT("\2"), "bad_flags" },
	{ "the highest flag", 6, TEXT("\x80"), "bad_flags" },
	{ "reserved byte", 7, TEXT("\1"), "bad_flags" },
	{ "CCM", 8, TEXT("\x13\x04"), "unknown_suite" },
	{ "no suite", 8, TEXT("\0\0"), "unknown_suite" },
	{ "secrets of another length", 8, TEXT("\x13\x02"), "bad_length" },
	{ "read limit 63", 10, TEXT("\0\x3f"), "bad_limit" },
	{ "read limit 16385", 10, TEXT("\x40\1"), "bad_limit" },
	{ "write limit 0", 12, TEXT("\0\0"), "bad_limit" },
	{ "write limit 65535", 12, TEXT("\xff\xff"), "bad_limit" },
	{ "metadata too long", 14, TEXT("\x30\1"), "too_long" },
	{ "metadata one byte longer", 14, TEXT("\0\0"), "bad_length" },
	{ "a nonce in TLS 1.3", 39, TEXT("\1"), "bad_nonce" },
	{ "more received than allowed", 40, TEXT("\0\0\x80\1"), "too_long" },
	{ "more unsent than allowed", 44, TEXT("\xff\xff\xff\xff"), "too_long" },
	{ "a byte more", 43, TEXT("\7"), "bad_length" },
	{ "metadata that are none", 112, TEXT("\r\r"), "bad_metadata" },
	{ "metadata of version 3", 124, TEXT("\x31"), "bad_metadata" },
	{ "metadata that are local", 124, TEXT("\x20"), "bad_metadata" },
	{ "metadata that end before their part", 126, TEXT("\0\0"), "bad_metadata" },
};

static void
refuses_fields_out_of_range(void **state)
{
	char good[HANDOFF_MAX];
	char out[HANDOFF_MAX];
	struct handoff h = some_message(handoff_suite_find(0x1301), HANDOFF_SERVER);
	size_t n = handoff_encode(&h, good, sizeof(good));

	(void)state;
	for (size_t i = 0; i < sizeof(bad_cases) / sizeof(*bad_cases); i++) {
		const struct bad_case *c = &bad_cases[i];

		memcpy(out, good, n);
		memcpy(out + c->at, c->bytes.p, c->bytes.n);

		const char *reason = refusal(out, n);

		if (reason == NULL || strcmp(reason, c->reason) != 0)
			fail_msg("%s: %s", c->name, reason ? reason : "was read");
	}
}

/* One length grows by what the other shrinks: the sum alone must not decide. */
static void
metadata_must_fill_their_part(void **state)
{
	char out[HANDOFF_MAX];
	struct handoff h = some_message(handoff_suite_find(0x1301), HANDOFF_SERVER);
	size_t n = handoff_encode(&h, out, sizeof(out));

	(void)state;
	assert_int_equal(out[43], 6);
	out[43] = 5;
	out[15]++;
	assert_string_equal(refusal(out, n), "bad_metadata");
	out[43] = 7;
	out[15] = (char)(out[15] - 2);
	assert_string_equal(refusal(out, n), "bad_metadata");
}

static void
writes_nothing_out_of_range(void **state)
{
	char out[HANDOFF_MAX];
	char bytes[HANDOFF_BYTES_MAX + 1] = { 0 };
	const struct handoff good = some_message(handoff_suite_find(0xc030), HANDOFF_CLIENT);
	struct handoff h = good;
	size_t n = handoff_encode(&h, out, sizeof(out));

	(void)state;
	assert_true(n > 0);
	assert_int_equal(handoff_encode(&h, out, n), n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(handoff_encode(&h, out, i), 0);
	h.in = slice_make(bytes, HANDOFF_BYTES_MAX);
	h.out = h.in;
	assert_true(handoff_encode(&h, out, sizeof(out)) > 2 * HANDOFF_BYTES_MAX);
	h.in.n++;
	assert_int_equal(handoff_encode(&h, out, sizeof(out)), 0);
	h = good;
	h.out = slice_make(bytes, sizeof(bytes));
	assert_int_equal(handoff_encode(&h, out, sizeof(out)), 0);
	h = good;
	h.info.has_tls = false;
	assert_int_equal(handoff_encode(&h, out, sizeof(out)), 0);
	h = good;
	h.info.cert.cn = slice_make(bytes, PROXY_MAX);
	assert_int_equal(handoff_encode(&h, out, sizeof(out)), 0);
	h = good;
	h.keys.write.limit = 63;
	assert_int_equal(handoff_encode(&h, out, sizeof(out)), 0);
	h = some_message(handoff_suite_find(0xcca8), HANDOFF_SERVER);
	h.keys.nonce = 1;
	assert_int_equal(handoff_encode(&h, out, sizeof(out)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_back),
		cmocka_unit_test(knows_the_suites_that_can_be_handed_over),
		cmocka_unit_test(cuts_a_key_block_by_role),
		cmocka_unit_test(refuses_every_other_length),
		cmocka_unit_test(refuses_fields_out_of_range),
		cmocka_unit_test(metadata_must_fill_their_part),
		cmocka_unit_test(writes_nothing_out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
