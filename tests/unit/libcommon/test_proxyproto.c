/*
 * proxyproto: headers of both versions, exact bytes; every proper prefix of a good one asks for
 * more; what is written reads back as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "libcommon/proxyproto.h"

#define SIG   "\r\n\r\n\0\r\nQUIT\n"
#define ADDR4 "\xc0\x00\x02\x01\xc0\x00\x02\x02\xdc\x04\x01\xbb"
#define ADDR6                                        \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" \
	"\xdc\x04\x01\xbb"
#define TEXT(lit)                       \
	{                               \
		"" lit, sizeof(lit) - 1 \
	}

/* One read of an exact-size heap copy; slices of info are only good with `keep`, which is freed. */
static enum proxy_result
read_copy(struct slice text, struct proxy_info *info, size_t *used, const char **reason)
{
	char *copy = malloc(text.n ? text.n : 1);
	enum proxy_result r;

	assert_non_null(copy);
	memcpy(copy, text.p, text.n);
	*reason = "";
	r = proxy_read(copy, text.n, info, used, reason);
	free(copy);
	return r;
}

/* The result must not depend on how much had come when it was first asked. */
static enum proxy_result
read_all_ways(struct slice text, struct proxy_info *info, size_t *used, const char **reason)
{
	enum proxy_result whole = read_copy(text, info, used, reason);
	struct proxy_info early;
	const char *word;
	size_t n;

	for (size_t i = 0; i < text.n; i++) {
		enum proxy_result r = read_copy(slice_make(text.p, i), &early, &n, &word);

		if (r == PROXY_MORE)
			continue;
		assert_int_equal(r, whole);
		assert_string_equal(word, *reason);
		if (r == PROXY_DONE)
			assert_int_equal(n, *used);
	}
	/* Slices are compared by the caller against the text itself. */
	return proxy_read(text.p, text.n, info, used, reason);
}

struct good_case {
	const char *name;
	struct slice text;
	size_t rest; /* bytes behind the header */
	bool is_local;
	const char *src; /* NULL: no addresses */
	const char *dst;
};

static const struct good_case good_cases[] = {
	{ "v1 TCP4", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET"), 3, false,
		"192.0.2.1:56324", "192.0.2.2:443" },
	{ "v1 TCP6", TEXT("PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n"), 0, false,
		"2001:db8::1:0", "2001:db8::2:65535" },
	{ "v1 UNKNOWN", TEXT("PROXY UNKNOWN\r\n"), 0, true, NULL, NULL },
	{ "v1 UNKNOWN with words", TEXT("PROXY UNKNOWN ff:: x  y\r\n\r\n"), 2, true, NULL, NULL },
	{ "v1 longest",
		TEXT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
		0, true, NULL, NULL },
	{ "v2 TCP4", TEXT(SIG "\x21\x11\x00\x0c" ADDR4 "GET"), 3, false, "192.0.2.1:56324",
		"192.0.2.2:443" },
	{ "v2 TCP6", TEXT(SIG "\x21\x21\x00\x24" ADDR6), 0, false, "2001:db8::1:56324",
		"2001:db8::2:443" },
	{ "v2 UDP4", TEXT(SIG "\x21\x12\x00\x0c" ADDR4), 0, false, NULL, NULL },
	{ "v2 UDP6", TEXT(SIG "\x21\x22\x00\x24" ADDR6), 0, false, NULL, NULL },
	{ "v2 UNSPEC", TEXT(SIG "\x21\x00\x00\x00X"), 1, false, NULL, NULL },
	{ "v2 LOCAL", TEXT(SIG "\x20\x00\x00\x00X"), 1, true, NULL, NULL },
	{ "v2 LOCAL with addresses", TEXT(SIG "\x20\x11\x00\x0c" ADDR4), 0, true, NULL, NULL },
	{ "v2 LOCAL, any family, any bytes", TEXT(SIG "\x20\xff\x00\x03xyzX"), 1, true, NULL,
		NULL },
	{ "v2 NOOP TLV", TEXT(SIG "\x21\x11\x00\x11" ADDR4 "\x04\x00\x02zz"), 0, false,
		"192.0.2.1:56324", "192.0.2.2:443" },
	{ "v2 two TLVs nobody knows", TEXT(SIG "\x21\x11\x00\x12" ADDR4 "\xee\x00\x00\xee\x00\x00"),
		0, false, "192.0.2.1:56324", "192.0.2.2:443" },
};

static void
assert_address(const struct sockaddr_storage *a, const char *want)
{
	char ip[INET6_ADDRSTRLEN];
	char text[INET6_ADDRSTRLEN + 8];
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;

	if (a->ss_family == AF_INET)
		inet_ntop(AF_INET, &in4->sin_addr, ip, sizeof(ip));
	else
		inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
	snprintf(text, sizeof(text), "%s:%u", ip, ntohs(in4->sin_port));
	assert_string_equal(text, want);
}

static void
reads_good_headers(void **state)
{
	struct proxy_info info;
	const char *reason;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(good_cases) / sizeof(*good_cases); i++) {
		const struct good_case *c = &good_cases[i];

		print_message("  %s\n", c->name);
		assert_int_equal(read_all_ways(c->text, &info, &used, &reason), PROXY_DONE);
		assert_int_equal(used, c->text.n - c->rest);
		assert_int_equal(info.is_local, c->is_local);
		assert_int_equal(info.has_addr, c->src != NULL);
		assert_false(info.has_tls);
		if (c->src == NULL)
			continue;
		assert_address(&info.src, c->src);
		assert_address(&info.dst, c->dst);
	}
}

/* Two paths of 108 bytes say nothing of TCP, but the TLVs behind them count. */
static void
reads_unix_headers(void **state)
{
	struct proxy_info info;
	const char *reason;
	size_t used;

	(void)state;
	for (char family = 0x31; family <= 0x32; family++) {
		char text[16 + 216 + 5] = SIG "\x21";

		text[13] = family;
		text[15] = (char)(216 + 5);
		strcpy(text + 16, "/run/a.sock");
		memcpy(text + 16 + 216, "\x01\x00\x02h2", 5);
		assert_int_equal(
			read_all_ways(slice_make(text, sizeof(text)), &info, &used, &reason),
			PROXY_DONE);
		assert_int_equal(used, sizeof(text));
		assert_false(info.has_addr);
		assert_false(info.is_local);
		assert_true(slice_eq(info.alpn, SLICE("h2")));
	}
}

struct bad_case {
	const char *name;
	struct slice text;
	const char *reason;
};

static const struct bad_case bad_cases[] = {
	{ "HTTP", TEXT("GET / HTTP/1.1\r\n"), "no_proxy_header" },
	{ "TLS", TEXT("\x16\x03\x01"), "no_proxy_header" },
	{ "lower case", TEXT("proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n"), "no_proxy_header" },
	{ "signature broken", TEXT("\r\n\r\n\0\r\nQUIX\n"), "no_proxy_header" },
	{ "v1 nothing", TEXT("PROXY \r\n"), "bad_v1_line" },
	{ "v1 other word", TEXT("PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n"), "bad_v1_line" },
	{ "v1 UNKNOWN run on", TEXT("PROXY UNKNOWNX\r\n"), "bad_v1_line" },
	{ "v1 bare LF", TEXT("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n"), "bad_v1_line" },
	{ "v1 two spaces", TEXT("PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n"), "bad_v1_line" },
	{ "v1 space at the end", TEXT("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n"), "bad_v1_line" },
	{ "v1 word too many", TEXT("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n"), "bad_v1_line" },
	{ "v1 word missing", TEXT("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), "bad_v1_line" },
	{ "v1 wrong family", TEXT("PROXY TCP4 ::1 ::1 1 1\r\n"), "bad_v1_line" },
	{ "v1 octal address", TEXT("PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n"), "bad_v1_line" },
	{ "v1 short address", TEXT("PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n"), "bad_v1_line" },
	{ "v1 octal port", TEXT("PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n"), "bad_v1_line" },
	{ "v1 port too big", TEXT("PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n"), "bad_v1_line" },
	{ "v1 port sign", TEXT("PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n"), "bad_v1_line" },
	{ "v1 zone", TEXT("PROXY TCP6 fe80::1%lo fe80::1 1 1\r\n"), "bad_v1_line" },
	{ "v1 NUL in address", TEXT("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n"), "bad_v1_line" },
	{ "v1 too long",
		TEXT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 \r\n"),
		"v1_too_long" },
	{ "v2 version 1", TEXT(SIG "\x11\x11\x00\x0c" ADDR4), "bad_v2_version" },
	{ "v2 version 3", TEXT(SIG "\x31\x11\x00\x0c" ADDR4), "bad_v2_version" },
	{ "v2 command 2", TEXT(SIG "\x22\x11\x00\x0c" ADDR4), "bad_v2_command" },
	{ "v2 family only", TEXT(SIG "\x21\x10\x00\x0c" ADDR4), "bad_v2_family" },
	{ "v2 transport only", TEXT(SIG "\x21\x01\x00\x0c" ADDR4), "bad_v2_family" },
	{ "v2 family 4", TEXT(SIG "\x21\x41\x00\x0c" ADDR4), "bad_v2_family" },
	{ "v2 transport 3", TEXT(SIG "\x21\x13\x00\x0c" ADDR4), "bad_v2_family" },
	{ "v2 short for IPv4", TEXT(SIG "\x21\x11\x00\x0b" ADDR4), "bad_v2_length" },
	{ "v2 short for IPv6", TEXT(SIG "\x21\x21\x00\x23" ADDR6), "bad_v2_length" },
	{ "v2 short for AF_UNIX", TEXT(SIG "\x21\x31\x00\x0c" ADDR4), "bad_v2_length" },
	{ "v2 too long", TEXT(SIG "\x21\x11\x2f\xf1"), "v2_too_long" },
	{ "v2 LOCAL too long", TEXT(SIG "\x20\x00\xff\xff"), "v2_too_long" },
	{ "TLV of two bytes", TEXT(SIG "\x21\x11\x00\x0e" ADDR4 "\x04\x00"), "bad_tlv" },
	{ "TLV longer than the rest", TEXT(SIG "\x21\x11\x00\x10" ADDR4 "\x04\x00\x02x"),
		"bad_tlv" },
	{ "TLV behind UNSPEC", TEXT(SIG "\x21\x00\x00\x01x"), "bad_tlv" },
	{ "ALPN twice", TEXT(SIG "\x21\x11\x00\x14" ADDR4 "\x01\x00\x01x\x01\x00\x01y"),
		"dup_tlv" },
	{ "empty SNI twice", TEXT(SIG "\x21\x11\x00\x12" ADDR4 "\x02\x00\x00\x02\x00\x00"),
		"dup_tlv" },
	{ "TLS of four bytes", TEXT(SIG "\x21\x11\x00\x13" ADDR4 "\x20\x00\x04\x01\0\0\0"),
		"bad_ssl_tlv" },
	{ "TLS sub-TLV too long",
		TEXT(SIG "\x21\x11\x00\x18" ADDR4 "\x20\x00\x09\x01\0\0\0\0\x21\x00\x02x"),
		"bad_ssl_tlv" },
	{ "TLS version twice",
		TEXT(SIG "\x21\x11\x00\x1a" ADDR4
			 "\x20\x00\x0b\x01\0\0\0\0\x21\x00\x00\x21\x00\x00"),
		"dup_tlv" },
	{ "CRC of three bytes", TEXT(SIG "\x21\x11\x00\x12" ADDR4 "\x03\x00\x03\0\0\0"),
		"bad_crc" },
	{ "CRC wrong", TEXT(SIG "\x21\x11\x00\x13" ADDR4 "\x03\x00\x04\0\0\0\0"), "bad_crc" },
};

static void
refuses_bad_headers(void **state)
{
	struct proxy_info info;
	const char *reason;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_cases) / sizeof(*bad_cases); i++) {
		print_message("  %s\n", bad_cases[i].name);
		assert_int_equal(
			read_all_ways(bad_cases[i].text, &info, &used, &reason), PROXY_BAD);
		assert_string_equal(reason, bad_cases[i].reason);
	}
}

/* What HAProxy sends for a TLS connection with a client certificate: all TLVs that we know. */
static void
reads_tlvs(void **state)
{
	static const char text[] = SIG "\x21\x11\x00\x56" ADDR4 "\x01\x00\x02h2"
				       "\x02\x00\x07"
				       "a.b.org"
				       "\x05\x00\x03id1"
				       "\x30\x00\x02ns"
				       "\x20\x00\x2d\x07\0\0\0\0"
				       "\x21\x00\x07TLSv1.3"
				       "\x22\x00\x02me"
				       "\x23\x00\x10TLS_AES_256_GCM_"
				       "\x24\x00\x03RSA";
	struct proxy_info info;
	const char *reason = "";
	size_t used;

	(void)state;
	assert_int_equal(read_all_ways(slice_make(text, sizeof(text) - 1), &info, &used, &reason),
		PROXY_DONE);
	assert_string_equal(reason, "");
	assert_true(slice_eq(info.alpn, SLICE("h2")));
	assert_true(slice_eq(info.authority, SLICE("a.b.org")));
	assert_true(slice_eq(info.unique_id, SLICE("id1")));
	assert_true(info.has_tls);
	assert_true(info.has_client_cert);
	assert_true(info.is_client_cert_verified);
	assert_true(slice_eq(info.tls_version, SLICE("TLSv1.3")));
	assert_true(slice_eq(info.cert.cn, SLICE("me")));
	assert_true(slice_eq(info.cipher, SLICE("TLS_AES_256_GCM_")));
}

struct ssl_case {
	const char *name;
	unsigned char client;
	unsigned char verify;
	bool has_tls;
	bool has_cert;
	bool is_verified;
};

static const struct ssl_case ssl_cases[] = {
	{ "no TLS", 0, 0, false, false, false },
	{ "no TLS, yet a certificate", 6, 0, false, false, false },
	{ "TLS", 1, 0, true, false, false },
	{ "certificate now", 3, 0, true, true, true },
	{ "certificate of the session", 5, 0, true, true, true },
	{ "certificate not verified", 7, 1, true, true, false },
};

static void
reads_client_certificates(void **state)
{
	char text[] = SIG "\x21\x00\x00\x0d"
			  "\x20\x00\x0a\0\0\0\0\0\x21\x00\x02"
			  "ab";
	struct proxy_info info;
	const char *reason;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(ssl_cases) / sizeof(*ssl_cases); i++) {
		const struct ssl_case *c = &ssl_cases[i];

		print_message("  %s\n", c->name);
		text[19] = (char)c->client;
		text[20] = (char)c->verify;
		assert_int_equal(
			proxy_read(text, sizeof(text) - 1, &info, &used, &reason), PROXY_DONE);
		assert_int_equal(info.has_tls, c->has_tls);
		assert_int_equal(info.has_client_cert, c->has_cert);
		assert_int_equal(info.is_client_cert_verified, c->is_verified);
		assert_int_equal(info.tls_version.n, c->has_tls ? 2 : 0);
	}
}

struct fact_case {
	const char *name;
	struct slice tlv; /* behind an SSL TLV that tells of a certificate */
	bool has_cert;
	const char *reason; /* NULL: fine */
	const char *subject;
};

static const struct fact_case fact_cases[] = {
	{ "ours",
		TEXT("\xe0\x00\x0aweir\x02\x00\x03"
		     "a=b"),
		true, NULL, "a=b" },
	{ "unknown facts are skipped",
		TEXT("\xe0\x00\x0dweir\x09\x00\x00\x02\x00\x03"
		     "a=b"),
		true, NULL, "a=b" },
	{ "somebody else's",
		TEXT("\xe0\x00\x0awear\x02\x00\x03"
		     "a=b"),
		true, NULL, "" },
	{ "short", TEXT("\xe0\x00\x03wei"), true, NULL, "" },
	{ "of no certificate",
		TEXT("\xe0\x00\x0aweir\x02\x00\x03"
		     "a=b"),
		false, NULL, "" },
	{ "cut",
		TEXT("\xe0\x00\x0aweir\x02\x00\x04"
		     "a=b"),
		true, "bad_cert_tlv", "" },
	{ "twice",
		TEXT("\xe0\x00\x0cweir\x02\x00\x01"
		     "a\x02\x00\x01"
		     "b"),
		true, "bad_cert_tlv", "" },
	{ "a line end",
		TEXT("\xe0\x00\x0aweir\x02\x00\x03"
		     "a\nb"),
		true, "bad_cert_tlv", "" },
	{ "no ASCII",
		TEXT("\xe0\x00\x0aweir\x02\x00\x03"
		     "a\xff"
		     "b"),
		true, "bad_cert_tlv", "" },
	{ "two of them", TEXT("\xe0\x00\x04weir\xe0\x00\x04weir"), true, "dup_tlv", "" },
};

static void
reads_facts_of_certificates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fact_cases) / sizeof(*fact_cases); i++) {
		const struct fact_case *c = &fact_cases[i];
		char text[100] = SIG "\x21\x00\x00\x00\x20\x00\x05\x01\0\0\0\0";
		struct proxy_info info;
		const char *reason;
		size_t used;

		print_message("  %s\n", c->name);
		text[15] = (char)(8 + c->tlv.n);
		text[19] = c->has_cert ? 3 : 1;
		memcpy(text + 24, c->tlv.p, c->tlv.n);

		enum proxy_result r =
			read_copy(slice_make(text, 24 + c->tlv.n), &info, &used, &reason);

		assert_int_equal(r, c->reason ? PROXY_BAD : PROXY_DONE);
		assert_string_equal(reason, c->reason ? c->reason : "");
		if (r == PROXY_DONE)
			assert_int_equal(info.cert.subject.n, strlen(c->subject));
	}
}

/* Table-driven and reflected, unlike the one under test; "123456789" gives e3069283. */
static uint32_t
other_crc32c(const char *p, size_t n)
{
	uint32_t table[256];
	uint32_t crc = UINT32_MAX;

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t v = i;

		for (int bit = 0; bit < 8; bit++)
			v = v & 1 ? (v >> 1) ^ 0x82f63b78 : v >> 1;
		table[i] = v;
	}
	for (size_t i = 0; i < n; i++)
		crc = (crc >> 8) ^ table[(crc ^ (unsigned char)p[i]) & 0xff];
	return ~crc;
}

static void
checks_crc32c(void **state)
{
	char text[] = SIG "\x21\x11\x00\x18" ADDR4 "\x03\x00\x04\0\0\0\0\x01\x00\x02h2";
	size_t at = 16 + 12 + 3;
	struct proxy_info info;
	const char *reason;
	size_t used;
	uint32_t crc;

	(void)state;
	assert_int_equal(other_crc32c("123456789", 9), 0xe3069283);
	crc = htonl(other_crc32c(text, sizeof(text) - 1));
	memcpy(text + at, &crc, 4);
	assert_int_equal(read_all_ways(slice_make(text, sizeof(text) - 1), &info, &used, &reason),
		PROXY_DONE);
	/* Each bit that the checksum covers matters; elsewhere than in the sum other checks may
	 * hit. */
	for (size_t bit = 0; bit < (sizeof(text) - 1) * 8; bit++) {
		char copy[sizeof(text)];

		memcpy(copy, text, sizeof(text));
		copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
		/* LOCAL, of which all is skipped, or a type that is no checksum's. */
		if ((bit / 8 == 12 && copy[12] == 0x20) || bit / 8 == at - 3)
			continue;
		assert_int_not_equal(
			proxy_read(copy, sizeof(text) - 1, &info, &used, &reason), PROXY_DONE);
		if (bit / 8 >= at && bit / 8 < at + 4)
			assert_string_equal(reason, "bad_crc");
	}
}

static struct slice
random_text(char *room, size_t max)
{
	size_t n = (size_t)rand() % (max + 1);

	for (size_t i = 0; i < n; i++)
		room[i] = (char)rand();
	return slice_make(room, n);
}

static void
random_address(struct sockaddr_storage *a, int family)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)a;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)a;

	memset(a, 0, sizeof(*a));
	a->ss_family = (sa_family_t)family;
	in4->sin_port = (in_port_t)rand();
	if (family == AF_INET)
		in4->sin_addr.s_addr = (in_addr_t)rand();
	else
		for (int i = 0; i < 16; i++)
			in6->sin6_addr.s6_addr[i] = (uint8_t)rand();
}

static void
assert_same_cert(const struct proxy_cert *got, const struct proxy_cert *want)
{
	assert_true(slice_eq(got->cn, want->cn));
	assert_true(slice_eq(got->der, want->der));
	assert_true(slice_eq(got->failure, want->failure));
	assert_true(slice_eq(got->subject, want->subject));
	assert_true(slice_eq(got->issuer, want->issuer));
	assert_true(slice_eq(got->serial, want->serial));
	assert_true(slice_eq(got->fingerprint, want->fingerprint));
	assert_true(slice_eq(got->san, want->san));
	assert_true(slice_eq(got->not_before, want->not_before));
	assert_true(slice_eq(got->not_after, want->not_after));
}

static void
assert_same(const struct proxy_info *got, const struct proxy_info *want)
{
	assert_int_equal(got->is_local, want->is_local);
	if (want->is_local)
		return;
	assert_int_equal(got->has_addr, want->has_addr);
	if (want->has_addr) {
		assert_memory_equal(&got->src, &want->src, sizeof(got->src));
		assert_memory_equal(&got->dst, &want->dst, sizeof(got->dst));
	}
	assert_true(slice_eq(got->alpn, want->alpn));
	assert_true(slice_eq(got->authority, want->authority));
	assert_true(slice_eq(got->unique_id, want->unique_id));
	assert_int_equal(got->has_tls, want->has_tls);
	if (!want->has_tls)
		return;
	assert_int_equal(got->has_client_cert, want->has_client_cert);
	assert_int_equal(got->is_client_cert_verified, want->is_client_cert_verified);
	assert_true(slice_eq(got->tls_version, want->tls_version));
	assert_true(slice_eq(got->cipher, want->cipher));
	assert_int_equal(got->is_resumed, want->is_resumed);
	assert_same_cert(&got->cert, &want->cert);
}

/* All but the common name and the certificate itself must be printable. */
static void
random_cert(struct proxy_cert *c, char room[10][300])
{
	struct slice *facts[] = { &c->cn, &c->der, &c->failure, &c->subject, &c->issuer, &c->serial,
		&c->fingerprint, &c->san, &c->not_before, &c->not_after };

	for (unsigned i = 0; i < 10; i++) {
		*facts[i] = random_text(room[i], rand() % 2 ? 300 : 0);
		for (size_t j = 0; i > 1 && j < facts[i]->n; j++)
			room[i][j] = (char)(' ' + (unsigned char)room[i][j] % 95);
	}
}

static void
reads_back_what_was_written(void **state)
{
	char room[15][300];

	(void)state;
	srand(11);
	for (unsigned round = 0; round < 2000; round++) {
		int family = rand() % 2 ? AF_INET : AF_INET6;
		struct proxy_info want = {
			.is_local = rand() % 10 == 0,
			.has_addr = rand() % 4 != 0,
			.has_tls = rand() % 2,
			.alpn = random_text(room[0], rand() % 2 ? 8 : 0),
			.authority = random_text(room[1], rand() % 2 ? 255 : 0),
			.unique_id = random_text(room[2], rand() % 2 ? 128 : 0),
			.tls_version = random_text(room[3], rand() % 2 ? 8 : 0),
			.cipher = random_text(room[4], rand() % 2 ? 40 : 0),
		};
		struct proxy_info got;
		const char *reason = "";
		size_t used;
		size_t n;
		char big[PROXY_MAX];

		want.has_client_cert = want.has_tls && rand() % 2;
		want.is_client_cert_verified = want.has_client_cert && rand() % 2;
		want.is_resumed = want.has_client_cert && rand() % 2;
		if (want.has_client_cert)
			random_cert(&want.cert, room + 5);
		random_address(&want.src, family);
		random_address(&want.dst, family);
		n = proxy_write_v2(big, sizeof(big), &want);
		assert_in_range(n, 16, sizeof(big));

		/* Into exactly enough room, and into one byte less. */
		char *exact = malloc(n);

		assert_int_equal(proxy_write_v2(exact, n, &want), n);
		assert_memory_equal(exact, big, n);
		assert_int_equal(proxy_read(exact, n, &got, &used, &reason), PROXY_DONE);
		assert_int_equal(used, n);
		assert_same(&got, &want);

		/* Its text goes elsewhere, and the header may go. */
		char *text = malloc(proxy_text_len(&got) + 1);

		proxy_text_move(&got, text);
		free(exact);
		assert_same(&got, &want);
		free(text);
		exact = malloc(n - 1);
		assert_int_equal(proxy_write_v2(exact, n - 1, &want), 0);
		free(exact);
	}
}

static void
writes_exact_bytes(void **state)
{
	static const char want[] = SIG "\x21\x11\x00\x22" ADDR4 "\x01\x00\x02h2"
				       "\x20\x00\x0e\x01\0\0\0\x01\x23\x00\x06"
				       "cipher";
	struct proxy_info info = {
		.has_addr = true,
		.has_tls = true,
		.alpn = SLICE("h2"),
		.cipher = SLICE("cipher"),
	};
	struct sockaddr_in *src = (struct sockaddr_in *)&info.src;
	struct sockaddr_in *dst = (struct sockaddr_in *)&info.dst;
	char out[sizeof(want) - 1];

	(void)state;
	src->sin_family = dst->sin_family = AF_INET;
	src->sin_port = htons(56324);
	dst->sin_port = htons(443);
	inet_pton(AF_INET, "192.0.2.1", &src->sin_addr);
	inet_pton(AF_INET, "192.0.2.2", &dst->sin_addr);
	assert_int_equal(proxy_write_v2(out, sizeof(out), &info), sizeof(out));
	assert_memory_equal(out, want, sizeof(out));
}

static void
maps_mixed_families_to_ip6(void **state)
{
	struct proxy_info info = { .has_addr = true };
	struct proxy_info got;
	struct sockaddr_in *src = (struct sockaddr_in *)&info.src;
	const char *reason;
	char out[128];
	size_t used;
	size_t n;

	(void)state;
	src->sin_family = AF_INET;
	src->sin_port = htons(7);
	inet_pton(AF_INET, "192.0.2.1", &src->sin_addr);
	((struct sockaddr_in6 *)&info.dst)->sin6_family = AF_INET6;
	n = proxy_write_v2(out, sizeof(out), &info);
	assert_int_equal(proxy_read(out, n, &got, &used, &reason), PROXY_DONE);
	assert_true(got.has_addr);
	assert_address(&got.src, "::ffff:192.0.2.1:7");
	assert_address(&got.dst, ":::0");
	/* Not an IP address: the header says nothing of addresses. */
	info.dst.ss_family = AF_UNIX;
	n = proxy_write_v2(out, sizeof(out), &info);
	assert_int_equal(n, 16);
	assert_int_equal(proxy_read(out, n, &got, &used, &reason), PROXY_DONE);
	assert_false(got.has_addr);
	assert_false(got.is_local);
}

/* 128 bytes are an id, 129 are none (§2.2.4). */
static void
limits_unique_ids(void **state)
{
	char text[16 + 3 + 129] = SIG "\x21";
	struct proxy_info info;
	const char *reason;
	size_t used;

	(void)state;
	for (int n = 128; n <= 129; n++) {
		text[15] = (char)(3 + n);
		text[16] = 5;
		text[18] = (char)n;
		assert_int_equal(proxy_read(text, 19 + (size_t)n, &info, &used, &reason),
			n == 128 ? PROXY_DONE : PROXY_BAD);
	}
	assert_string_equal(reason, "bad_unique_id");
}

static void
writes_nothing_too_long(void **state)
{
	static char text[70000];
	static char out[70000];
	struct proxy_info info = { .unique_id = slice_make(text, 128) };

	(void)state;
	assert_int_equal(proxy_write_v2(out, sizeof(out), &info), 16 + 3 + 128);
	info.unique_id.n = 129;
	assert_int_equal(proxy_write_v2(out, sizeof(out), &info), 0);
	info.unique_id.n = 0;
	info.authority = slice_make(text, PROXY_MAX - 16 - 3);
	assert_int_equal(proxy_write_v2(out, sizeof(out), &info), PROXY_MAX);
	info.authority.n++;
	assert_int_equal(proxy_write_v2(out, sizeof(out), &info), 0);
	info.authority.n = sizeof(text);
	assert_int_equal(proxy_write_v2(out, sizeof(out), &info), 0);
	assert_int_equal(proxy_write_v2(out, 0, &info), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_good_headers),
		cmocka_unit_test(reads_unix_headers),
		cmocka_unit_test(refuses_bad_headers),
		cmocka_unit_test(reads_tlvs),
		cmocka_unit_test(reads_client_certificates),
		cmocka_unit_test(reads_facts_of_certificates),
		cmocka_unit_test(checks_crc32c),
		cmocka_unit_test(reads_back_what_was_written),
		cmocka_unit_test(writes_exact_bytes),
		cmocka_unit_test(maps_mixed_families_to_ip6),
		cmocka_unit_test(limits_unique_ids),
		cmocka_unit_test(writes_nothing_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
