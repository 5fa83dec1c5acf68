/*
 * addr: what is accepted, how it reads back, what is refused and with which words; networks.
 */
#include "libcommon/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* From an exact-size heap copy, so that the sanitizer sees a byte too far. */
static int
parse(const char *text, uint16_t default_port, struct addr_spec *out, struct err *err)
{
	size_t n = strlen(text);
	char *copy = malloc(n ? n : 1);

	memcpy(copy, text, n);
	err->text[0] = '\0';

	int code = addr_parse(slice_make(copy, n), default_port, out, err);

	free(copy);
	return code;
}

struct good {
	const char *text;
	uint16_t default_port;
	enum addr_kind kind;
	const char *formatted; /* of a name: the name */
	uint16_t port;
	bool is_any;
};

static const struct good goods[] = {
	{ "127.0.0.1:80", 0, ADDR_IP, "127.0.0.1:80", 80, false },
	{ "127.0.0.1", 8080, ADDR_IP, "127.0.0.1:8080", 8080, false },
	{ "0.0.0.0:0", 1, ADDR_IP, "0.0.0.0:0", 0, false },
	{ "[::1]:80", 0, ADDR_IP, "[::1]:80", 80, false },
	{ "[::1]", 81, ADDR_IP, "[::1]:81", 81, false },
	{ "[2001:DB8::A]:65535", 0, ADDR_IP, "[2001:db8::a]:65535", 65535, false },
	{ "[::]:80", 0, ADDR_IP, "[::]:80", 80, false },
	{ "[fe80::1%lo]:80", 0, ADDR_IP, "[fe80::1%lo]:80", 80, false },
	{ "[fe80::1%1]:80", 0, ADDR_IP, "[fe80::1%lo]:80", 80, false },
	{ "[::ffff:10.0.0.1]:80", 0, ADDR_IP, "10.0.0.1:80", 80, false },
	{ "*:443", 0, ADDR_IP, "[::]:443", 443, true },
	{ "*", 443, ADDR_IP, "[::]:443", 443, true },
	{ ":80", 0, ADDR_IP, "[::]:80", 80, true },
	{ "unix:/run/x.sock", 0, ADDR_UNIX, "unix:/run/x.sock", 0, false },
	{ "unix:a:b:c", 80, ADDR_UNIX, "unix:a:b:c", 0, false },
	{ "app1.internal:3000", 0, ADDR_NAME, "app1.internal", 3000, false },
	{ "APP-1.Internal", 3000, ADDR_NAME, "app-1.internal", 3000, false },
	{ "my_service:1", 0, ADDR_NAME, "my_service", 1, false },
	{ "localhost.:1", 0, ADDR_NAME, "localhost.", 1, false },
	{ "1a:80", 0, ADDR_NAME, "1a", 80, false },
	{ "3com.com:80", 0, ADDR_NAME, "3com.com", 80, false },
};

static void
good_addresses_read_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(goods) / sizeof(*goods); i++) {
		const struct good *g = &goods[i];
		struct addr_spec spec;
		struct err err;
		char text[ADDR_TEXT];

		if (parse(g->text, g->default_port, &spec, &err) < 0)
			fail_msg("%s: %s", g->text, err.text);
		assert_int_equal(spec.kind, g->kind);
		assert_int_equal(spec.is_any, g->is_any);
		assert_int_equal(spec.port, g->port);
		if (g->kind == ADDR_NAME) {
			assert_string_equal(spec.name, g->formatted);
			continue;
		}
		assert_string_equal(addr_format(&spec.addr.sa, spec.addr.len, text), g->formatted);
		assert_int_equal(addr_port(&spec.addr.sa), g->port);
	}
}

struct bad {
	const char *text;
	const char *says;
};

static const struct bad bads[] = {
	{ "", "empty" },
	{ "127.0.0.1", "port is missing" },
	{ "127.0.0.1:", "is not a port" },
	{ "127.0.0.1:65536", "is not a port" },
	{ "127.0.0.1:99999999999999999999999", "is not a port" },
	{ "127.0.0.1:-1", "is not a port" },
	{ "127.0.0.1:+1", "is not a port" },
	{ "127.0.0.1:8 0", "is not a port" },
	{ "127.0.0.1:http", "is not a port" },
	{ "127.0.0.256:80", "not an IPv4 address" },
	{ "127.0.0:80", "not an IPv4 address" },
	{ "127.0.0.1.:80", "not an IPv4 address" },
	{ "10:80", "not an IPv4 address" },
	{ "::1", "brackets" },
	{ "::1:80", "brackets" },
	{ "2001:db8::1:80", "brackets" },
	{ "a:b:c", "brackets" },
	{ "[::1", "\"]\" is missing" },
	{ "[::1]80", "only a port" },
	{ "[::1]:", "is not a port" },
	{ "[]:80", "not an IPv6 address" },
	{ "[127.0.0.1]:80", "not an IPv6 address" },
	{ "[::1%]:80", "interface" },
	{ "[fe80::1%no-such-if]:80", "interface" },
	{ "[fe80::1%a-name-that-is-too-long]:80", "interface" },
	{ "/run/x.sock", "unix:/path" },
	{ "unix:", "path is missing" },
	{ "a..b:80", "host name" },
	{ ".:80", "host name" },
	{ ".a:80", "host name" },
	{ "a..:80", "host name" },
	{ "-a:80", "host name" },
	{ "a-:80", "host name" },
	{ "a b:80", "host name" },
	{ "*.example.com:80", "host name" },
	{ "http://x:80", "brackets" },
	{ "\xc3\xa4:80", "host name" },
};

static void
bad_addresses_are_explained(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		struct addr_spec spec;
		struct err err;

		if (parse(bads[i].text, 0, &spec, &err) == 0)
			fail_msg("\"%s\" was accepted", bads[i].text);
		if (strstr(err.text, bads[i].says) == NULL)
			fail_msg("\"%s\": \"%s\" does not say \"%s\"", bads[i].text, err.text,
				bads[i].says);
	}
}

static void
lengths_are_checked(void **state)
{
	char text[400];
	char out[ADDR_TEXT];
	struct addr_spec spec;
	struct err err;

	(void)state;
	/* 107 bytes of path fit, 108 do not. */
	memset(text, 'x', sizeof(text));
	memcpy(text, "unix:/", 6);
	text[5 + 107] = '\0';
	assert_int_equal(parse(text, 0, &spec, &err), 0);
	assert_string_equal(addr_format(&spec.addr.sa, spec.addr.len, out), text);
	text[5 + 107] = 'x';
	text[5 + 108] = '\0';
	assert_int_equal(parse(text, 0, &spec, &err), -1);
	assert_non_null(strstr(err.text, "room for 107"));

	/* Labels of 63 and names of 253. */
	memset(text, 'x', sizeof(text));
	text[63] = text[127] = text[191] = '.';
	text[253] = '\0';
	assert_int_equal(parse(text, 80, &spec, &err), 0);
	text[253] = 'x';
	text[254] = '\0';
	assert_int_equal(parse(text, 80, &spec, &err), -1);
	text[63] = 'x';
	text[200] = '\0';
	assert_int_equal(parse(text, 80, &spec, &err), -1);

	assert_int_equal(addr_parse(SLICE("unix:/a\0b"), 0, &spec, &err), -1);
	assert_int_equal(addr_parse(SLICE("1.2.3.4\0:80"), 0, &spec, &err), -1);
}

static void
hosts_and_unix_peers_are_shown(void **state)
{
	struct addr_spec spec;
	struct err err;
	char out[ADDR_TEXT];
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	(void)state;
	parse("[::ffff:10.1.2.3]:80", 0, &spec, &err);
	assert_string_equal(addr_format_host(&spec.addr.sa, out), "10.1.2.3");
	parse("[2001:db8::1]:80", 0, &spec, &err);
	assert_string_equal(addr_format_host(&spec.addr.sa, out), "2001:db8::1");
	assert_string_equal(addr_format((void *)&un, sizeof(sa_family_t), out), "-");
	assert_string_equal(addr_format_host((void *)&un, out), "unix:");
	memcpy(un.sun_path, "\0name", 5);
	assert_string_equal(addr_format((void *)&un, sizeof(sa_family_t) + 5, out), "unix:@name");
	un.sun_family = AF_UNSPEC;
	assert_string_equal(addr_format((void *)&un, sizeof(un), out), "-");
}

static bool
eq(const char *a, const char *b)
{
	struct addr_spec x;
	struct addr_spec y;
	struct err err;

	assert_int_equal(parse(a, 0, &x, &err), 0);
	assert_int_equal(parse(b, 0, &y, &err), 0);
	return addr_eq(&x.addr, &y.addr);
}

static void
equality_is_by_meaning(void **state)
{
	struct addr_spec spec;
	struct err err;
	struct addr padded;

	(void)state;
	assert_true(eq("127.0.0.1:80", "127.0.0.1:80"));
	assert_false(eq("127.0.0.1:80", "127.0.0.1:81"));
	assert_false(eq("127.0.0.1:80", "127.0.0.2:80"));
	assert_true(eq("[::1]:80", "[0:0::1]:80"));
	assert_false(eq("[fe80::1%1]:80", "[fe80::1%2]:80"));
	assert_false(eq("[::]:80", "0.0.0.0:80"));
	assert_true(eq("unix:/a", "unix:/a"));
	assert_false(eq("unix:/a", "unix:/ab"));

	/* The kernel gives lengths of its own. */
	parse("unix:/a", 0, &spec, &err);
	padded = spec.addr;
	padded.len = sizeof(padded.un);
	assert_true(addr_eq(&padded, &spec.addr));
}

struct net_case {
	const char *net;
	const char *peer;
	bool is_in;
};

static const struct net_case nets[] = {
	{ "10.0.0.0/8", "10.255.1.2:1", true },
	{ "10.0.0.0/8", "11.0.0.0:1", false },
	{ "10.0.0.0/8", "[::ffff:10.9.9.9]:1", true },
	{ "10.0.0.0/8", "[2001:db8::1]:1", false },
	{ "192.0.2.128/25", "192.0.2.127:1", false },
	{ "192.0.2.128/25", "192.0.2.128:1", true },
	{ "192.0.2.1", "192.0.2.1:1", true },
	{ "192.0.2.1", "192.0.2.0:1", false },
	{ "192.0.2.1/32", "192.0.2.1:1", true },
	{ "0.0.0.0/0", "255.255.255.255:1", true },
	{ "0.0.0.0/0", "[::1]:1", false },
	{ "::/0", "[::1]:1", true },
	{ "::/0", "127.0.0.1:1", false },
	{ "fd00::/8", "[fdff::1]:1", true },
	{ "fd00::/8", "[fe00::1]:1", false },
	{ "[::1]", "[::1]:1", true },
	{ "2001:db8::/33", "[2001:db8:7fff::1]:1", true },
	{ "2001:db8::/33", "[2001:db8:8000::1]:1", false },
	{ "::ffff:10.0.0.0/104", "10.1.1.1:1", true },
	{ "::ffff:10.0.0.0/104", "11.1.1.1:1", false },
	{ "unix", "unix:/a", true },
	{ "unix", "127.0.0.1:1", false },
	{ "0.0.0.0/0", "unix:/a", false },
	{ "::/0", "unix:/a", false },
};

static void
networks_hold_their_peers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(nets) / sizeof(*nets); i++) {
		struct addr_net net;
		struct addr_spec peer;
		struct err err;

		if (addr_net_parse(slice_str(nets[i].net), &net, &err) < 0)
			fail_msg("%s: %s", nets[i].net, err.text);
		assert_int_equal(parse(nets[i].peer, 0, &peer, &err), 0);
		if (addr_net_has(&net, &peer.addr.sa) != nets[i].is_in)
			fail_msg("%s in %s", nets[i].peer, nets[i].net);
		assert_int_equal(addr_nets_have(&net, 1, &peer.addr.sa), nets[i].is_in);
		assert_false(addr_nets_have(&net, 0, &peer.addr.sa));
	}
}

static const struct bad bad_nets[] = {
	{ "", "not a network" },
	{ "10.0.0.0/", "prefix length" },
	{ "10.0.0.0/33", "up to 32" },
	{ "10.0.0.0/-1", "prefix length" },
	{ "::/129", "up to 128" },
	{ "10.0.0.1/8", "did you mean 10.0.0.0/8?" },
	{ "fd00::1/8", "did you mean fd00::/8?" },
	{ "10.0.0/8", "not a network" },
	{ "unix:/a", "not a network" },
	{ "localhost", "not a network" },
	{ "[]", "not a network" },
};

static void
bad_networks_are_explained(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_nets) / sizeof(*bad_nets); i++) {
		struct addr_net net;
		struct err err;

		if (addr_net_parse(slice_str(bad_nets[i].text), &net, &err) == 0)
			fail_msg("\"%s\" was accepted", bad_nets[i].text);
		if (strstr(err.text, bad_nets[i].says) == NULL)
			fail_msg("\"%s\": \"%s\"", bad_nets[i].text, err.text);
	}
}

static void
addresses_are_told_from_names(void **state)
{
	static const char *const names[] = { "", "localhost", "1.2.3", "127.0.0.1:80", "[::1]",
		"fe80::1%lo", "::1 ", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0001" };

	(void)state;
	assert_true(addr_is_ip("127.0.0.1"));
	assert_true(addr_is_ip("::1"));
	assert_true(addr_is_ip("0000:0000:0000:0000:0000:ffff:255.255.255.255"));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_false(addr_is_ip(names[i]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_addresses_read_back),
		cmocka_unit_test(bad_addresses_are_explained),
		cmocka_unit_test(lengths_are_checked),
		cmocka_unit_test(hosts_and_unix_peers_are_shown),
		cmocka_unit_test(equality_is_by_meaning),
		cmocka_unit_test(networks_hold_their_peers),
		cmocka_unit_test(bad_networks_are_explained),
		cmocka_unit_test(addresses_are_told_from_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
