/*
 * What crosses the proxy, as whole heads: what came in, what goes on.
 */
#include "tests/unit/routerd/http_fixture.h"

#include <time.h>

#include "routerd/forward.h"

#define GET  "GET /x HTTP/1.1\r\nHost: h.example:81\r\n"
#define FOR  "X-Forwarded-For: 192.0.2.7\n"
#define PH   "X-Forwarded-Proto: http\nX-Forwarded-Host: h.example:81\n"
#define REAL "X-Real-IP: 192.0.2.7\n"
#define OURS FOR PH REAL

enum {
	TRUSTED = 1,    /* the peer */
	UPGRADE = 2,    /* is_upgrade */
	NO_XF = 4,      /* x_forwarded: off */
	NO_REAL = 8,    /* x_real_ip: off */
	FORWARDED = 16, /* forwarded: on */
	VIA = 32,       /* via: on */
	PEER6 = 64,     /* 2001:db8::7 */
	UNIX = 128,     /* a Unix socket without PROXY header */
	HTTPS = 256,
	BARE = NO_XF | NO_REAL,
};

struct request {
	const char *name;
	unsigned how;
	const char *in;  /* head without the blank line */
	const char *out; /* fields that travel, but for the encoder's own */
};

static const struct request requests[] = {
	{ "plain", 0, GET "Accept: */*\r\nX-A: b\r\n", "Accept: */*\nX-A: b\n" OURS },
	{ "https", HTTPS, GET,
		FOR "X-Forwarded-Proto: https\nX-Forwarded-Host: h.example:81\n" REAL },
	{ "without host", 0, "GET / HTTP/1.0\r\n", FOR "X-Forwarded-Proto: http\n" REAL },
	{ "all off", BARE, GET "A: b\r\n", "A: b\n" },
	{ "ipv6", PEER6 | NO_REAL, GET, "X-Forwarded-For: 2001:db8::7\n" PH },
	{ "unix peer", UNIX, GET, PH },
	/* hop by hop */
	{ "hop by name", BARE,
		GET "Connection: close\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\n"
		    "Proxy-Authorization: Basic x\r\nUpgrade: foo\r\nHTTP2-Settings: x\r\nA: b\r\n",
		"A: b\n" },
	{ "te trailers", BARE, GET "TE: Trailers\r\n", "TE: Trailers\n" },
	{ "te more", BARE, GET "TE: trailers, deflate\r\n", "" },
	{ "nominated", BARE,
		GET "Connection: foo , Bar\r\nFoo: 1\r\nbar: 2\r\nBaz: 3\r\nFOO: 4\r\n",
		"Baz: 3\n" },
	{ "nominated twice", BARE,
		GET "Connection: keep-alive\r\nA: 1\r\nConnection: a\r\nB: 1\r\n", "B: 1\n" },
	{ "nominated in vain", BARE, GET "Cookie: x\r\nConnection: cookie\r\n", "Cookie: x\n" },
	{ "nominated known", BARE, GET "Accept: x\r\nConnection: accept\r\nAccept: y\r\n", "" },
	{ "nominated not there", BARE, GET "Connection: user-agent, x\r\nA: 1\r\n", "A: 1\n" },
	{ "nominated identity", 0,
		GET
		"Connection: X-Forwarded-For, x-real-ip, X-Forwarded-Host, X-Forwarded-Proto\r\n",
		OURS },
	{ "nominated identity of a trusted peer", TRUSTED,
		GET "Connection: x-forwarded-for, x-forwarded-host\r\nX-Forwarded-For: 1.1.1.1\r\n"
		    "X-Forwarded-Host: o\r\n",
		"X-Forwarded-Host: o\nX-Forwarded-For: 1.1.1.1, 192.0.2.7\nX-Forwarded-Proto: "
		"http\nX-Real-IP: 1.1.1.1\n" },
	{ "upgrade", BARE | UPGRADE,
		GET "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n",
		"Upgrade: websocket\nSec-WebSocket-Key: x\n" },
	{ "upgrade not wanted", BARE, GET "Connection: Upgrade\r\nUpgrade: websocket\r\n", "" },
	{ "h2c", BARE | UPGRADE,
		GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
		"" },
	{ "h2c in a list", BARE | UPGRADE, GET "Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n",
		"" },
	{ "httpoxy", BARE, GET "Proxy: http://evil\r\nPROXY: x\r\nProxy-X: y\r\n", "Proxy-X: y\n" },
	/* identity of strangers */
	{ "spoofed", 0,
		GET
		"X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\nX-Real-IP: 3.3.3.3\r\n"
		"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=1.1.1.1\r\n"
		"X-Forwarded-Port: 1\r\nX-Forwarded-Server: x\r\nX-Forwarded: y\r\n",
		OURS },
	{ "spoofed and off", BARE,
		GET "X-Forwarded-For: 1.1.1.1\r\nX-Real-IP: 3.3.3.3\r\nX-Forwarded-Proto: https\r\n"
		    "X-Forwarded-Host: evil\r\nForwarded: for=1.1.1.1\r\nX-Forwarded-Prefix: /\r\n",
		"" },
	{ "look-alikes", BARE,
		GET
		"X_Forwarded_For: 1\r\nX-Forwarded.For: 1\r\nx.forwarded.host: 1\r\n"
		"X_REAL_IP: 1\r\nX-Real_IP: 1\r\nx_forwarded-proto: 1\r\nX~Forwarded~Port: 1\r\n",
		"" },
	{ "look-alikes of a trusted peer", BARE | TRUSTED,
		GET "X_Forwarded_For: 1\r\nX-Real.IP: 1\r\nX-Forwarded-Port: 1\r\n"
		    "X-Forwarded_Port: 1\r\n",
		"X-Forwarded-Port: 1\n" },
	{ "others alike", BARE,
		GET "X-Forwardedfor: 1\r\nX-Real-IPs: 1\r\nX-Real: 1\r\nX_Custom: 1\r\nX-Fo: 1\r\n",
		"X-Forwardedfor: 1\nX-Real-IPs: 1\nX-Real: 1\nX_Custom: 1\nX-Fo: 1\n" },
	/* identity of trusted peers */
	{ "appended", TRUSTED, GET "X-Forwarded-For: 1.1.1.1\r\n",
		"X-Forwarded-For: 1.1.1.1, 192.0.2.7\n" PH "X-Real-IP: 1.1.1.1\n" },
	{ "several lines", TRUSTED,
		GET "X-Forwarded-For: 1.1.1.1\r\nA: b\r\nX-Forwarded-For:\r\n"
		    "X-Forwarded-For: 2.2.2.2, 10.0.0.9\r\n",
		"A: b\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.9, 192.0.2.7\n" PH
		"X-Real-IP: 2.2.2.2\n" },
	{ "empty list", TRUSTED, GET "X-Forwarded-For:\r\n", OURS },
	{ "kept", TRUSTED, GET "X-Forwarded-Proto: https\r\nX-Forwarded-Host: o.example\r\n",
		"X-Forwarded-Proto: https\nX-Forwarded-Host: o.example\n" FOR REAL },
	{ "real ip is ours", TRUSTED, GET "X-Real-IP: 9.9.9.9\r\n", OURS },
	{ "trusted and off", TRUSTED | BARE,
		GET "X-Forwarded-For: 1.1.1.1\r\nX-Real-IP: 3.3.3.3\r\nForwarded: for=1.1.1.1\r\n",
		"X-Forwarded-For: 1.1.1.1\nX-Real-IP: 3.3.3.3\nForwarded: for=1.1.1.1\n" },
	{ "unix peer appends nothing", TRUSTED | UNIX, GET "X-Forwarded-For: 1.1.1.1\r\n",
		"X-Forwarded-For: 1.1.1.1\n" PH "X-Real-IP: 1.1.1.1\n" },
	/* Forwarded */
	{ "forwarded", BARE | FORWARDED, GET,
		"Forwarded: for=192.0.2.7;host=\"h.example:81\";proto=http\n" },
	{ "forwarded by ipv6", BARE | FORWARDED | PEER6, GET,
		"Forwarded: for=\"[2001:db8::7]\";host=\"h.example:81\";proto=http\n" },
	{ "forwarded by unix", BARE | FORWARDED | UNIX, GET,
		"Forwarded: for=unknown;host=\"h.example:81\";proto=http\n" },
	{ "forwarded without port", BARE | FORWARDED | HTTPS, "GET / HTTP/1.1\r\nHost: h\r\n",
		"Forwarded: for=192.0.2.7;host=h;proto=https\n" },
	{ "forwarded replaced", BARE | FORWARDED, GET "Forwarded: for=1.1.1.1\r\n",
		"Forwarded: for=192.0.2.7;host=\"h.example:81\";proto=http\n" },
	{ "forwarded appended", BARE | FORWARDED | TRUSTED,
		GET "Forwarded: for=1.1.1.1\r\nForwarded: for=_x\r\n",
		"Forwarded: for=1.1.1.1, for=_x, for=192.0.2.7;host=\"h.example:81\";proto=http\n" },
	/* Via, Max-Forwards */
	{ "via", BARE | VIA, GET "Via: 1.0 a\r\n", "Via: 1.0 a\nVia: 1.1 weir\n" },
	{ "via of 1.0", BARE | VIA, "GET / HTTP/1.0\r\n", "Via: 1.0 weir\n" },
	{ "max-forwards", BARE, "OPTIONS / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 10\r\n",
		"Max-Forwards: 9\n" },
	{ "max-forwards of others", BARE, GET "Max-Forwards: 10\r\n", "Max-Forwards: 10\n" },
};

/* A head on the heap, parsed, with a configuration as `how` says. */
struct bench {
	char *head;
	struct msg m;
	struct field fields[64 + FORWARD_FIELDS];
	struct httpcfg http;
	struct addr_net nets[2];
	struct forward_info info;
	struct arena arena;
};

static void
bench_info(struct bench *b, unsigned how)
{
	assert_int_equal(addr_net_parse(SLICE("10.0.0.0/8"), &b->nets[0], NULL), 0);
	assert_int_equal(addr_net_parse(SLICE("192.0.2.0/24"), &b->nets[1], NULL), 0);
	b->http.trusted_proxies = (struct cfg_list){ b->nets, 2 };
	b->http.forward.x_forwarded = !(how & NO_XF);
	b->http.forward.x_real_ip = !(how & NO_REAL);
	b->http.forward.forwarded = how & FORWARDED;
	b->http.forward.via = how & VIA;
	b->info = (struct forward_info){
		.http = &b->http,
		.peer = how & PEER6  ? SLICE("2001:db8::7")
			: how & UNIX ? SLICE("unix:")
				     : SLICE("192.0.2.7"),
		.peer_is_trusted = how & TRUSTED,
		.peer_is_ipv6 = how & PEER6,
		.scheme = how & HTTPS ? SLICE("https") : SLICE("http"),
		.authority = b->m.authority,
		.via_name = SLICE("weir"),
		.is_upgrade = how & UPGRADE,
	};
}

static void
bench_start(struct bench *b, const char *name, const char *head, unsigned how)
{
	static const struct http1_limits limits = { 65536, 8192, 64 };
	struct http1_scan scan = { 0 };
	struct http1_error err = { 0 };
	size_t n = strlen(head);
	enum http1_result r;

	memset(b, 0, sizeof(*b));
	arena_init(&b->arena, 0);
	b->head = xmalloc(n + 2);
	memcpy(b->head, head, n);
	memcpy(b->head + n, "\r\n", 2);
	msg_init(&b->m, b->fields, 64);
	if (strncmp(head, "HTTP/", 5) == 0)
		r = http1_response(&scan, b->head, n + 2, &limits, METHOD_GET, &b->m, &err);
	else
		r = http1_request(&scan, b->head, n + 2, &limits, &b->m, &err);
	if (r != HTTP1_DONE)
		fail_msg("%s: no head: %s", name, err.reason ? err.reason : "more");
	b->m.field_cap = 64 + FORWARD_FIELDS;
	bench_info(b, how);
}

static void
bench_end(struct bench *b)
{
	arena_fini(&b->arena);
	free(b->head);
}

/* The fields that an encoder would take over. */
static void
bench_check(struct bench *b, const char *name, const char *want)
{
	struct sbuf out = { 0 };

	sbuf_adds(&out, "");
	for (unsigned i = 0; i < b->m.field_count; i++) {
		const struct field *f = &b->m.fields[i];

		if (f->flags & MSG_FIELD_DROP || f->id == FIELD_HOST ||
			f->id == FIELD_CONTENT_LENGTH || f->id == FIELD_TRANSFER_ENCODING ||
			f->id == FIELD_CONNECTION)
			continue;
		sbuf_addf(&out, "%.*s: %.*s\n", SLICE_ARG(f->name), SLICE_ARG(f->value));
		assert_true(http1_is_value(f->value));
	}
	if (strcmp(out.p, want) != 0)
		fail_msg("%s\nexpected:\n%sfound:\n%s", name, want, out.p);
	sbuf_fini(&out);
}

static void
test_requests(void **state)
{
	struct bench b;

	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
		const struct request *r = &requests[i];

		bench_start(&b, r->name, r->in, r->how);

		struct slice before = forward_client(&b.m, &b.info);

		forward_request(&b.m, &b.info, &b.arena);
		bench_check(&b, r->name, r->out);

		struct slice after = forward_client(&b.m, &b.info);

		if (!slice_eq(before, after))
			fail_msg("%s: client %.*s, then %.*s", r->name, SLICE_ARG(before),
				SLICE_ARG(after));
		bench_end(&b);
	}
}

static const struct request responses[] = {
	{ "plain", 0, "HTTP/1.1 200 OK\r\nServer: x\r\nDate: y\r\n", "Server: x\nDate: y\n" },
	{ "date added", 0, "HTTP/1.1 200 OK\r\nServer: x\r\n", "Server: x\nDate: now\n" },
	{ "no date on interim", 0, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n", "Link: x\n" },
	{ "hop", 0,
		"HTTP/1.1 200 OK\r\nDate: y\r\nConnection: close, foo\r\nFoo: 1\r\nKeep-Alive: 1\r\n"
		"Proxy-Authenticate: x\r\nUpgrade: h2\r\nTrailer: X-T\r\n",
		"Date: y\nTrailer: X-T\n" },
	{ "switching", UPGRADE,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Accept: x\r\n",
		"Upgrade: websocket\nSec-WebSocket-Accept: x\n" },
	{ "no switching", UPGRADE,
		"HTTP/1.1 200 OK\r\nDate: y\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
		"Date: y\n" },
	{ "via", VIA, "HTTP/1.0 200 OK\r\nDate: y\r\n", "Date: y\nVia: 1.0 weir\n" },
	{ "identity is not ours there", 0, "HTTP/1.1 200 OK\r\nDate: y\r\nX-Forwarded-For: 1\r\n",
		"Date: y\nX-Forwarded-For: 1\n" },
};

static void
test_responses(void **state)
{
	struct bench b;

	(void)state;
	for (size_t i = 0; i < sizeof(responses) / sizeof(*responses); i++) {
		const struct request *r = &responses[i];

		bench_start(&b, r->name, r->in, r->how);
		forward_response(&b.m, &b.info, SLICE("now"), &b.arena);
		bench_check(&b, r->name, r->out);
		bench_end(&b);
	}
}

struct client {
	unsigned how;
	const char *fields;
	const char *client;
};

static const struct client clients[] = {
	{ 0, "X-Forwarded-For: 1.1.1.1\r\n", "192.0.2.7" },
	{ TRUSTED, "", "192.0.2.7" },
	{ TRUSTED, "X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1" },
	{ TRUSTED, "X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\n", "1.1.1.1" },
	{ TRUSTED, "X-Forwarded-For: 6.6.6.6, 1.1.1.1,10.0.0.1 , 10.9.9.9\r\n", "1.1.1.1" },
	{ TRUSTED, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 10.0.0.1\r\n", "1.1.1.1" },
	{ TRUSTED, "X-Forwarded-For: 10.0.0.2, 10.0.0.1\r\n", "10.0.0.2" },
	{ TRUSTED, "X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.1\r\n", "10.0.0.1" },
	{ TRUSTED, "X-Forwarded-For: 1.1.1.1, <script>\r\n", "192.0.2.7" },
	{ TRUSTED, "X-Forwarded-For: ,, 1.1.1.1 ,,\r\n", "1.1.1.1" },
	{ TRUSTED, "X-Forwarded-For:\r\n", "192.0.2.7" },
	{ TRUSTED, "X-Forwarded-For: 1.1.1.1:4711\r\n", "1.1.1.1" },
	{ TRUSTED, "X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1" },
	{ TRUSTED, "X-Forwarded-For: [2001:db8::1]:80\r\n", "2001:db8::1" },
	{ TRUSTED, "X-Forwarded-For: [2001:db8::1\r\n", "2001:db8::1" },
	{ TRUSTED, "X-Forwarded-For: [\r\n", "192.0.2.7" },
	{ TRUSTED, "X-Forwarded-For: ::ffff:10.0.0.1\r\n", "::ffff:10.0.0.1" },
	{ TRUSTED, "X-Forwarded-For: 1.1.1.1, ::ffff:10.0.0.1\r\n", "1.1.1.1" },
	{ TRUSTED, "X-Forwarded-For: 1.1.1\r\n", "192.0.2.7" },
	{ TRUSTED | UNIX, "X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1" },
	{ UNIX, "X-Forwarded-For: 1.1.1.1\r\n", "unix:" },
	{ TRUSTED, "X_Forwarded_For: 1.1.1.1\r\n", "192.0.2.7" },
};

static void
test_client(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(clients) / sizeof(*clients); i++) {
		const struct client *c = &clients[i];
		char head[512];
		struct bench b;
		struct slice got;

		snprintf(head, sizeof(head), GET "%s", c->fields);
		bench_start(&b, c->fields, head, c->how);
		got = forward_client(&b.m, &b.info);
		if (!slice_eq(got, slice_str(c->client)))
			fail_msg("%s%.*s instead of %s", c->fields, SLICE_ARG(got), c->client);
		bench_end(&b);
	}
}

/* Prints only. */
static void
test_trailers(void **state)
{
	static const struct {
		const char *name;
		bool goes;
	} cases[] = {
		{ "Server-Timing", true },
		{ "grpc-status", true },
		{ "X-Real", true },
		{ "X-Forwarded-For", false },
		{ "x_forwarded_for", false },
		{ "X.Forwarded.Anything", false },
		{ "X_Real_IP", false },
		{ "Proxy", false },
		{ "Proxy-Status", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct field f = { .name = slice_str(cases[i].name), .value = SLICE("1") };

		forward_trailers(NULL, &f, 1);
		if (((f.flags & MSG_FIELD_DROP) == 0) != cases[i].goes)
			fail_msg("%s", cases[i].name);
	}
}

struct cert_case {
	const char *name;
	const char *head;
	const char *want;
	bool has_cert;
	bool is_verified;
	bool is_trusted;
};

static const struct cert_case cert_cases[] = {
	{ "none", GET, "V: NONE\n", false, false, false },
	{ "verified", GET,
		"V: SUCCESS\nS: CN=a\nF: ff\nPEM: -----BEGIN%20CERTIFICATE-----%0A%2B%2F%2B%2F%0A"
		"-----END%20CERTIFICATE-----%0A\nClient-Cert: :+/+/:\n",
		true, true, false },
	{ "not verified", GET,
		"V: FAILED:no good\nF: ff\nPEM: -----BEGIN%20CERTIFICATE-----%0A%2B%2F%2B%2F%0A"
		"-----END%20CERTIFICATE-----%0A\n",
		true, false, false },
	{ "claims",
		GET
		"v: SUCCESS\r\nS: x\r\nf: x\r\nPem: x\r\nclient_cert: x\r\nX.SSL.Client-Verify: x\r\n"
		"Client-Cert-Chain: x\r\nVV: mine\r\n",
		"VV: mine\nV: NONE\n", false, false, false },
	{ "claims of a trusted peer", GET "v: SUCCESS\r\nS: x\r\nX_SSL_Client_S: x\r\n",
		"v: SUCCESS\nS: x\n", true, true, true },
	{ "a trusted peer's, nominated", GET "Connection: v\r\nv: SUCCESS\r\n", "v: SUCCESS\n",
		false, false, true },
	{ "a trusted peer that does not say", GET "S: x\r\n", "V: NONE\n", false, false, true },
};

static void
test_client_certs(void **state)
{
	struct proxy_cert cert = { .subject = SLICE("CN=a"),
		.fingerprint = SLICE("ff"),
		.der = SLICE("\xfb\xff\xbf"),
		.failure = SLICE("no good") };
	char v[] = "V", s[] = "S", f[] = "F", pem[] = "PEM", off[] = "";
	struct cfg_node node = { 0 };
	struct bench b;

	(void)state;
	for (size_t i = 0; i < sizeof(cert_cases) / sizeof(*cert_cases); i++) {
		const struct cert_case *c = &cert_cases[i];

		bench_start(&b, c->name, c->head, BARE | (c->is_trusted ? TRUSTED : 0));
		b.http.forward.client_cert = (struct clientcertcfg){ .node = &node,
			.verify = v,
			.subject = s,
			.issuer = off,
			.serial = off,
			.fingerprint = f,
			.san = off,
			.not_before = off,
			.not_after = off,
			.cert = pem,
			.rfc9440 = true };
		b.info.cert = c->has_cert ? &cert : NULL;
		b.info.is_cert_verified = c->is_verified;
		forward_request(&b.m, &b.info, &b.arena);
		bench_check(&b, c->name, c->want);

		struct field t = { .name = SLICE("x_ssl-client_verify"), .value = SLICE("1") };

		forward_trailers(&b.http, &t, 1);
		assert_true(t.flags & MSG_FIELD_DROP);
		bench_end(&b);
	}
}

static void
test_speed(void **state)
{
	static const char head[] =
		GET "User-Agent: curl/7.88.1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
		    "Cookie: a=b\r\nX-Custom-Thing: 1\r\n";
	struct timespec t0, t1;
	struct bench b;
	unsigned n = 1000000;
	uint16_t count;

	(void)state;
	bench_start(&b, "speed", head, 0);
	count = b.m.field_count;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (unsigned i = 0; i < n; i++) {
		b.m.field_count = count;
		b.m.first[FIELD_X_FORWARDED_FOR] = 0;
		forward_request(&b.m, &b.info, &b.arena);
		__asm__ volatile("" ::: "memory");
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	assert_int_equal(b.m.field_count, count + 4);
	print_message("%.0f ns for a request of six fields\n",
		((double)(t1.tv_sec - t0.tv_sec) * 1e9 + (double)(t1.tv_nsec - t0.tv_nsec)) / n);
	bench_end(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_trailers),
		cmocka_unit_test(test_client_certs),
		cmocka_unit_test(test_speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
