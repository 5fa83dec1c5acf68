/*
 * http1_request: what is accepted and how it reads, what is refused and with which word. Every case
 * is fed whole, byte by byte and split at each point.
 */
#include "http1_feed.h"

#define OK  "GET / HTTP/1.1\r\nHost: a\r\n"
#define END "\r\n"

static const struct http1_limits limits = { 4096, 64, FEED_FIELDS };

struct bad_case {
	const char *name;
	struct slice text;
	unsigned status;
	const char *reason;
};

#define B(name, text, status, reason)                               \
	{                                                           \
		name, { "" text, sizeof(text) - 1 }, status, reason \
	}

static const struct bad_case bad_cases[] = {
	/* start line */
	B("no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_method"),
	B("method not a token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_method"),
	B("tab after method", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_method"),
	B("TLS hello", "\x16\x03\x01\x02\r\n\r\n", 400, "bad_method"),
	B("NUL in method", "G\0T / HTTP/1.1\r\n\r\n", 400, "nul_byte"),
	B("two spaces first", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
	B("two spaces second", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
	B("space at end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "bad_request_line"),
	B("extra word", "GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
	B("HTTP/0.9", "GET /\r\n\r\n", 400, "bad_request_line"),
	B("HTTP/0.9 with host", "GET http://a/\r\n\r\n", 400, "bad_request_line"),
	B("lower case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
	B("version 1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
	B("version 01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
	B("version +1.1", "GET / HTTP/+1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"),
	B("version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "bad_version"),
	B("version 2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_target"),
	B("version 2.0 path", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_version"),
	B("version 0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "bad_version"),
	B("bare LF start line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare_lf"),
	B("bare LF in target", "GET /\n HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_lf"),
	B("bare CR start line", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400, "bare_cr"),
	B("LF first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_lf"),
	B("CR first", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare_cr"),
	/* target */
	B("fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("fragment in query", "GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("tab in target", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("DEL in target", "GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("UTF-8 in path", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("UTF-8 in query", "GET /?\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("NUL in target", "GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "nul_byte"),
	B("quote in path", "GET /\" HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("less in path", "GET /< HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("backslash in path", "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("brace in path", "GET /{a} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("percent without digits", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_percent"),
	B("percent at end", "GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_percent"),
	B("percent one digit", "GET /%a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_percent"),
	B("percent NUL", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_percent"),
	B("relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("asterisk with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("asterisk and more", "OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("authority with GET", "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400, "bad_target"),
	B("path with CONNECT", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_authority"),
	B("CONNECT without port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_authority"),
	B("CONNECT elsewhere", "CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", 400, "host_mismatch"),
	B("CONNECT other port", "CONNECT a:1 HTTP/1.1\r\nHost: a:2\r\n\r\n", 400, "host_mismatch"),
	B("absolute ftp", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("absolute one slash", "GET http:/a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	B("absolute no host", "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_authority"),
	B("absolute userinfo", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_authority"),
	B("absolute other host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_mismatch"),
	B("absolute other port", "GET http://a:1/ HTTP/1.1\r\nHost: a\r\n\r\n", 400,
		"host_mismatch"),
	B("absolute 1.1 no Host", "GET http://a/ HTTP/1.1\r\n\r\n", 400, "no_host"),
	B("absolute fragment", "GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_authority"),
	B("absolute bad path", "GET http://a/<b> HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
	/* limits */
	B("long target",
		"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n"
		"Host: a\r\n\r\n",
		414, "line_too_long"),
	B("long garbage",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		414, "line_too_long"),
	B("too many fields",
		OK "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n"
		   "A:\r\nA:\r\nA:\r\n\r\n",
		431, "too_many_fields"),
	/* field lines */
	B("obs-fold", OK "A: b\r\n c\r\n\r\n", 400, "obs_fold"),
	B("obs-fold tab", OK "A: b\r\n\tc\r\n\r\n", 400, "obs_fold"),
	B("fold of the start line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "obs_fold"),
	B("space before colon", OK "A : b\r\n\r\n", 400, "space_before_colon"),
	B("tab before colon", OK "A\t: b\r\n\r\n", 400, "space_before_colon"),
	B("empty name", OK ": b\r\n\r\n", 400, "empty_field_name"),
	B("name not a token", OK "A(b): c\r\n\r\n", 400, "bad_field_name"),
	B("name with 8 bits", OK "A\xe4: c\r\n\r\n", 400, "bad_field_name"),
	B("name with NUL", OK "A\0: c\r\n\r\n", 400, "nul_byte"),
	B("no colon", OK "Abc\r\n\r\n", 400, "bad_field_name"),
	B("bare LF after name", OK "Abc\n: d\r\n\r\n", 400, "bare_lf"),
	B("bare LF after value", OK "A: b\nC: d\r\n\r\n", 400, "bare_lf"),
	B("bare LF ends head", OK "A: b\r\n\nrest", 400, "bare_lf"),
	B("two bare LF", OK "A: b\n\n", 400, "bare_lf"),
	B("bare CR in value", OK "A: b\rC: d\r\n\r\n", 400, "bare_cr"),
	B("bare CR ends head", OK "A: b\r\n\rX\r\n\r\n", 400, "bare_cr"),
	B("two CR", OK "A: b\r\r\n\r\n", 400, "bare_cr"),
	B("NUL in value", OK "A: b\0c\r\n\r\n", 400, "nul_byte"),
	B("control in value",
		OK "A: b\x01"
		   "c\r\n\r\n",
		400, "bad_field_value"),
	B("DEL in value",
		OK "A: b\x7f"
		   "c\r\n\r\n",
		400, "bad_field_value"),
	B("control far behind", OK "A: 0123456789abcdefghi\x0b\r\n\r\n", 400, "bad_field_value"),
	/* Host */
	B("no Host", "GET / HTTP/1.1\r\n\r\n", 400, "no_host"),
	B("two Hosts", OK "Host: a\r\n\r\n", 400, "dup_host"),
	B("two Hosts 1.0", "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400, "dup_host"),
	B("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad_host"),
	B("Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "bad_host"),
	B("Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "bad_host"),
	B("Host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad_host"),
	B("Host with bad port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "bad_host"),
	B("Host with big port", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "bad_host"),
	B("Host with blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad_host"),
	B("Host with percent", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", 400, "bad_host"),
	/* framing */
	B("CL and TE", OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
		"cl_and_te"),
	B("TE and CL", OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400,
		"cl_and_te"),
	B("two CL", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "dup_content_length"),
	B("two equal CL", OK "Content-Length: 5\r\ncontent-length: 5\r\n\r\n", 400,
		"dup_content_length"),
	B("CL list", OK "Content-Length: 5, 5\r\n\r\n", 400, "bad_content_length"),
	B("CL empty", OK "Content-Length:\r\n\r\n", 400, "bad_content_length"),
	B("CL plus", OK "Content-Length: +5\r\n\r\n", 400, "bad_content_length"),
	B("CL minus", OK "Content-Length: -1\r\n\r\n", 400, "bad_content_length"),
	B("CL hex", OK "Content-Length: 0x5\r\n\r\n", 400, "bad_content_length"),
	B("CL octal", OK "Content-Length: 010\r\n\r\n", 400, "bad_content_length"),
	B("CL blank inside", OK "Content-Length: 1 0\r\n\r\n", 400, "bad_content_length"),
	B("CL fraction", OK "Content-Length: 1.0\r\n\r\n", 400, "bad_content_length"),
	B("CL above int63", OK "Content-Length: 9223372036854775808\r\n\r\n", 400,
		"bad_content_length"),
	B("CL wraps", OK "Content-Length: 18446744073709551621\r\n\r\n", 400, "bad_content_length"),
	B("TE unknown", OK "Transfer-Encoding: gzip\r\n\r\n", 501, "unknown_transfer_coding"),
	B("TE identity", OK "Transfer-Encoding: identity\r\n\r\n", 501, "unknown_transfer_coding"),
	B("TE gzip, chunked", OK "Transfer-Encoding: gzip, chunked\r\n\r\n", 501,
		"unknown_transfer_coding"),
	B("TE chunked, gzip", OK "Transfer-Encoding: chunked, gzip\r\n\r\n", 400,
		"bad_transfer_encoding"),
	B("TE twice", OK "Transfer-Encoding: chunked, chunked\r\n\r\n", 400,
		"bad_transfer_encoding"),
	B("TE in two fields", OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		400, "bad_transfer_encoding"),
	B("TE with parameter", OK "Transfer-Encoding: chunked;a=b\r\n\r\n", 400,
		"bad_transfer_encoding"),
	B("TE quoted", OK "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, "bad_transfer_encoding"),
	B("TE empty", OK "Transfer-Encoding:\r\n\r\n", 400, "bad_transfer_encoding"),
	B("TE empty member", OK "Transfer-Encoding: ,chunked\r\n\r\n", 400,
		"bad_transfer_encoding"),
	B("TE in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
		"te_in_http10"),
	/* Connection */
	B("Connection: host", OK "Connection: close, host\r\n\r\n", 400, "bad_connection"),
	B("Connection: CL", OK "Connection: Content-Length\r\n\r\n", 400, "bad_connection"),
	B("Connection: TE", OK "Connection: transfer-encoding\r\n\r\n", 400, "bad_connection"),
	B("Connection not a token", OK "Connection: a b\r\n\r\n", 400, "bad_connection"),
	B("Connection too long",
		OK "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a"
		   "\r\n\r\n",
		400, "bad_connection"),
};

static void
run(struct feed *f, const char *name, struct slice text)
{
	memset(f, 0, sizeof(*f));
	f->limits = limits;
	print_message("  %s\n", name);
	feed(f, text.p, text.n);
}

static void
refuses_bad_heads(void **state)
{
	struct feed f;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_cases) / sizeof(*bad_cases); i++) {
		run(&f, bad_cases[i].name, bad_cases[i].text);
		assert_int_equal(f.result, HTTP1_BAD);
		assert_string_equal(f.err.reason, bad_cases[i].reason);
		assert_int_equal(f.err.status, bad_cases[i].status);
		feed_fini(&f);
	}
}

static void
assert_slice(struct slice s, const char *want)
{
	if (!slice_eq(s, slice_str(want)))
		fail_msg("\"%.*s\", expected \"%s\"", SLICE_ARG(s), want);
}

struct target_case {
	const char *line;
	enum method method;
	enum target_form form;
	const char *authority;
	const char *path;
	const char *query; /* NULL: none */
};

static const struct target_case target_cases[] = {
	{ "GET /", METHOD_GET, TARGET_ORIGIN, "a", "/", NULL },
	{ "HEAD /b/c", METHOD_HEAD, TARGET_ORIGIN, "a", "/b/c", NULL },
	{ "POST /?", METHOD_POST, TARGET_ORIGIN, "a", "/", "" },
	{ "PUT /x?a=b?c", METHOD_PUT, TARGET_ORIGIN, "a", "/x", "a=b?c" },
	{ "DELETE //x//", METHOD_DELETE, TARGET_ORIGIN, "a", "//x//", NULL },
	{ "PATCH /a%20b%2F", METHOD_PATCH, TARGET_ORIGIN, "a", "/a%20b%2F", NULL },
	{ "TRACE /../.", METHOD_TRACE, TARGET_ORIGIN, "a", "/../.", NULL },
	{ "get /", METHOD_OTHER, TARGET_ORIGIN, "a", "/", NULL },
	{ "PROPFIND /-._~!$&'()*+,;=:@[]", METHOD_OTHER, TARGET_ORIGIN, "a", "/-._~!$&'()*+,;=:@[]",
		NULL },
	{ "GET /?\"<>\\^`{|}%%zz[]", METHOD_GET, TARGET_ORIGIN, "a", "/", "\"<>\\^`{|}%%zz[]" },
	{ "OPTIONS *", METHOD_OPTIONS, TARGET_ASTERISK, "a", "*", NULL },
	{ "OPTIONS /x", METHOD_OPTIONS, TARGET_ORIGIN, "a", "/x", NULL },
	{ "OPTIONS http://A", METHOD_OPTIONS, TARGET_ABSOLUTE, "A", "*", NULL },
	{ "GET http://a", METHOD_GET, TARGET_ABSOLUTE, "a", "/", NULL },
	{ "GET HTTPS://a?q", METHOD_GET, TARGET_ABSOLUTE, "a", "/", "q" },
	{ "GET http://a/b?c", METHOD_GET, TARGET_ABSOLUTE, "a", "/b", "c" },
	{ "CONNECT a:443", METHOD_CONNECT, TARGET_AUTHORITY, "a:443", "", NULL },
};

static void
reads_targets(void **state)
{
	struct feed f;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(target_cases) / sizeof(*target_cases); i++) {
		const struct target_case *c = &target_cases[i];
		int n = snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: a\r\n\r\n", c->line);

		run(&f, c->line, slice_make(text, (size_t)n));
		assert_int_equal(f.result, HTTP1_DONE);
		assert_int_equal(f.m.method, c->method);
		assert_int_equal(f.m.target_form, c->form);
		assert_slice(f.m.authority, c->authority);
		assert_slice(f.m.path, c->path);
		assert_int_equal(f.m.has_query, c->query != NULL);
		assert_slice(f.m.query, c->query ? c->query : "");
		assert_slice(f.m.target, strchr(c->line, ' ') + 1);
		assert_int_equal(f.m.head_len, n);
		feed_fini(&f);
	}
}

struct ask_case {
	const char *name;
	const char *version;
	const char *fields;
	bool keep_alive;
	bool expect_continue;
	bool is_bad_expect;
	bool has_upgrade;
	enum body_kind body;
	uint64_t length;
};

static const struct ask_case ask_cases[] = {
	{ "1.1", "1.1", "", true, false, false, false, BODY_NONE, 0 },
	{ "1.0", "1.0", "", false, false, false, false, BODY_NONE, 0 },
	{ "1.1 close", "1.1", "Connection: Close\r\n", false, false, false, false, BODY_NONE, 0 },
	{ "1.0 keep-alive", "1.0", "Connection: x, Keep-Alive\r\n", true, false, false, false,
		BODY_NONE, 0 },
	{ "close wins", "1.0", "Connection: keep-alive\r\nConnection: close\r\n", false, false,
		false, false, BODY_NONE, 0 },
	{ "length", "1.1", "Content-Length: 12\r\n", true, false, false, false, BODY_LENGTH, 12 },
	{ "length 0", "1.1", "content-length:0\r\n", true, false, false, false, BODY_LENGTH, 0 },
	{ "longest", "1.1", "Content-Length:\t9223372036854775807 \t\r\n", true, false, false,
		false, BODY_LENGTH, INT64_MAX },
	{ "chunked", "1.1", "Transfer-Encoding: Chunked\r\n", true, false, false, false,
		BODY_CHUNKED, 0 },
	{ "expect", "1.1", "Expect: 100-Continue\r\n", true, true, false, false, BODY_NONE, 0 },
	{ "expect in 1.0", "1.0", "Expect: 100-continue\r\n", false, false, false, false, BODY_NONE,
		0 },
	{ "bad expect", "1.1", "Expect: 200-ok\r\n", true, false, true, false, BODY_NONE, 0 },
	{ "second expect is bad", "1.1", "Expect: 100-continue\r\nExpect: x\r\n", true, true, true,
		false, BODY_NONE, 0 },
	{ "upgrade", "1.1", "Upgrade: websocket\r\nConnection: Upgrade\r\n", true, false, false,
		true, BODY_NONE, 0 },
	{ "upgrade with version", "1.1", "Connection: upgrade\r\nUpgrade: a/1, b\r\n", true, false,
		false, true, BODY_NONE, 0 },
	{ "upgrade not nominated", "1.1", "Upgrade: websocket\r\n", true, false, false, false,
		BODY_NONE, 0 },
	{ "upgrade in 1.0", "1.0", "Upgrade: websocket\r\nConnection: upgrade\r\n", false, false,
		false, false, BODY_NONE, 0 },
	{ "upgrade empty", "1.1", "Upgrade:\r\nConnection: upgrade\r\n", true, false, false, false,
		BODY_NONE, 0 },
	{ "upgrade nonsense", "1.1", "Upgrade: a b\r\nConnection: upgrade\r\n", true, false, false,
		false, BODY_NONE, 0 },
	{ "two upgrades", "1.1", "Upgrade: a\r\nUpgrade: b\r\nConnection: upgrade\r\n", true, false,
		false, false, BODY_NONE, 0 },
};

static void
reads_connection_and_framing(void **state)
{
	struct feed f;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(ask_cases) / sizeof(*ask_cases); i++) {
		const struct ask_case *c = &ask_cases[i];
		int n = snprintf(text, sizeof(text), "GET / HTTP/%s\r\nHost: a\r\n%s\r\nbody",
			c->version, c->fields);

		run(&f, c->name, slice_make(text, (size_t)n));
		assert_int_equal(f.result, HTTP1_DONE);
		assert_int_equal(f.m.version_minor, c->version[2] - '0');
		assert_int_equal(f.m.keep_alive, c->keep_alive);
		assert_int_equal(f.m.expect_continue, c->expect_continue);
		assert_int_equal(f.m.is_bad_expect, c->is_bad_expect);
		assert_int_equal(f.m.has_upgrade, c->has_upgrade);
		assert_int_equal(f.m.body, c->body);
		assert_int_equal(f.m.content_length, c->length);
		assert_int_equal(f.m.head_len, n - 4);
		feed_fini(&f);
	}
}

/* Does this field travel on? */
static bool
travels(const struct feed *f, const char *name)
{
	const struct field *field = msg_find(&f->m, slice_str(name));

	assert_non_null(field);
	return !(field->flags & MSG_FIELD_DROP);
}

static void
marks_what_must_not_travel(void **state)
{
	struct feed f;

	(void)state;
	run(&f, "nominated",
		SLICE(OK
			"Connection: x-one, X-Forwarded-For, cookie, te\r\nX-One: 1\r\nX-Two: 2\r\n"
			"X-Forwarded-For: 1.2.3.4\r\nCookie: a\r\nTE: trailers\r\nKeep-Alive: 5\r\n"
			"Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nx-ONE: 3\r\n\r\n"));
	assert_int_equal(f.result, HTTP1_DONE);
	assert_false(travels(&f, "Connection"));
	assert_false(travels(&f, "x-one"));
	assert_true(f.m.fields[f.m.field_count - 1].flags & MSG_FIELD_DROP);
	assert_true(travels(&f, "x-two"));
	assert_false(travels(&f, "X-Forwarded-For"));
	assert_true(travels(&f, "Cookie"));
	assert_false(travels(&f, "TE"));
	assert_false(travels(&f, "Keep-Alive"));
	assert_false(travels(&f, "Proxy-Connection"));
	assert_false(travels(&f, "Upgrade"));
	assert_true(travels(&f, "Host"));
	feed_fini(&f);
}

/* What a CGI would read as framing is not framing here, and does not travel on. */
static void
marks_framing_alikes(void **state)
{
	struct feed f;

	(void)state;
	run(&f, "alikes",
		SLICE(OK "Content_Length: 5\r\ncontent.LENGTH: 6\r\nTransfer~Encoding: chunked\r\n"
			 "Content_Lengths: 7\r\nContentxLength: 8\r\nContent_Digest: 9\r\n\r\n"));
	assert_int_equal(f.result, HTTP1_DONE);
	assert_int_equal(f.m.body, BODY_NONE);
	assert_false(travels(&f, "Content_Length"));
	assert_false(travels(&f, "content.LENGTH"));
	assert_false(travels(&f, "Transfer~Encoding"));
	assert_true(travels(&f, "Content_Lengths"));
	assert_true(travels(&f, "ContentxLength"));
	assert_true(travels(&f, "Content_Digest"));
	feed_fini(&f);
}

static void
reads_fields_in_order(void **state)
{
	struct feed f;

	(void)state;
	run(&f, "fields",
		SLICE("\r\n\r\nGET / HTTP/1.0\r\nA:b\r\nUSER-agent: \t x\ty \xe4 \t\r\nEmpty:\r\n"
		      "Accept: 1\r\nAccept: 2\r\nBlank: \t \r\n\r\n"));
	assert_int_equal(f.result, HTTP1_DONE);
	assert_int_equal(f.m.field_count, 6);
	assert_slice(f.m.fields[0].name, "A");
	assert_slice(f.m.fields[0].value, "b");
	assert_int_equal(f.m.fields[0].id, FIELD_OTHER);
	assert_int_equal(f.m.fields[1].id, FIELD_USER_AGENT);
	assert_slice(f.m.fields[1].name, "USER-agent");
	assert_slice(f.m.fields[1].value, "x\ty \xe4");
	assert_slice(f.m.fields[2].value, "");
	assert_slice(f.m.fields[5].value, "");
	assert_ptr_equal(msg_field(&f.m, FIELD_ACCEPT), &f.m.fields[3]);
	assert_ptr_equal(msg_find(&f.m, SLICE("EMPTY")), &f.m.fields[2]);
	assert_null(msg_find(&f.m, SLICE("missing")));
	assert_null(msg_field(&f.m, FIELD_HOST));
	assert_int_equal(f.m.authority.n, 0);
	feed_fini(&f);
}

/* A head that never ends is refused at the limit, not a byte later, however it comes. */
static void
limits_the_head(void **state)
{
	struct feed f;
	char text[512];
	int n = snprintf(text, sizeof(text), OK "A: %0200d", 0);

	(void)state;
	for (uint32_t limit = 1; limit <= (uint32_t)n; limit++) {
		memset(&f, 0, sizeof(f));
		f.limits = (struct http1_limits){ limit, 64, FEED_FIELDS };
		feed(&f, text, limit);
		assert_int_equal(f.result, HTTP1_BAD);
		assert_string_equal(f.err.reason, "head_too_long");
		assert_int_equal(f.err.status, 431);
		feed_fini(&f);
		f.limits.head_bytes++;
		feed(&f, text, limit);
		assert_int_equal(f.result, HTTP1_MORE);
		feed_fini(&f);
	}
}

/* 32 kB byte by byte: a parser that starts again with each byte would need half a gigabyte. */
static void
stays_linear(void **state)
{
	enum { N = 32000 };
	const struct http1_limits wide = { 65536, 8192, FEED_FIELDS };
	struct field fields[FEED_FIELDS];
	struct http1_scan scan = { 0 };
	struct http1_error err;
	struct msg m;
	unsigned tries = 0;
	char *text = malloc(N + 64);
	size_t n = strlen(OK "A: ");

	(void)state;
	memcpy(text, OK "A: ", n);
	memset(text + n, 'a', N);
	memcpy(text + n + N, "\r\n\r\n", 4);
	for (size_t i = 1; i < n + N + 4; i++) {
		uint32_t before = scan.tried;

		msg_init(&m, fields, FEED_FIELDS);
		assert_int_equal(http1_request(&scan, text, i, &wide, &m, &err), HTTP1_MORE);
		tries += scan.tried != before;
	}
	assert_int_equal(http1_request(&scan, text, n + N + 4, &wide, &m, &err), HTTP1_DONE);
	assert_in_range(tries, 1, 20);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_bad_heads),
		cmocka_unit_test(reads_targets),
		cmocka_unit_test(reads_connection_and_framing),
		cmocka_unit_test(marks_what_must_not_travel),
		cmocka_unit_test(marks_framing_alikes),
		cmocka_unit_test(reads_fields_in_order),
		cmocka_unit_test(limits_the_head),
		cmocka_unit_test(stays_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
