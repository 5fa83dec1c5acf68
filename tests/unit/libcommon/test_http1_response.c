/*
 * http1_response: status lines, and how the request's method and the status decide framing.
 */
#include "http1_feed.h"

static const struct http1_limits limits = { 4096, 64, FEED_FIELDS };

struct answer_case {
	const char *name;
	enum method asked;
	const char *text;
	const char *reason; /* refused with this word, or NULL */
	unsigned status;
	enum body_kind body;
	uint64_t length;
	bool keep_alive;
};

#define A  "HTTP/1.1 200 OK\r\n"
#define CH "Transfer-Encoding: chunked\r\n"
#define CL "Content-Length: 5\r\n"
#define G  METHOD_GET

static const struct answer_case cases[] = {
	{ "length", G, A CL "\r\n", NULL, 200, BODY_LENGTH, 5, true },
	{ "length 0", G, A "Content-Length: 0\r\n\r\n", NULL, 200, BODY_LENGTH, 0, true },
	{ "length with zeros", G, A "Content-Length: 0010\r\n\r\n", NULL, 200, BODY_LENGTH, 10,
		true },
	{ "chunked", G, A CH "\r\n", NULL, 200, BODY_CHUNKED, 0, true },
	{ "until close", G, A "\r\n", NULL, 200, BODY_UNTIL_CLOSE, 0, false },
	{ "1.0", G, "HTTP/1.0 200 OK\r\n" CL "\r\n", NULL, 200, BODY_LENGTH, 5, false },
	{ "1.0 keep-alive", G, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" CL "\r\n", NULL, 200,
		BODY_LENGTH, 5, true },
	{ "close", G, A "Connection: close\r\n" CL "\r\n", NULL, 200, BODY_LENGTH, 5, false },
	{ "HEAD with length", METHOD_HEAD, A CL "\r\n", NULL, 200, BODY_NONE, 5, true },
	{ "HEAD chunked", METHOD_HEAD, A CH "\r\n", NULL, 200, BODY_NONE, 0, true },
	{ "HEAD with nothing", METHOD_HEAD, A "\r\n", NULL, 200, BODY_NONE, 0, true },
	{ "204", G, "HTTP/1.1 204 No Content\r\n\r\n", NULL, 204, BODY_NONE, 0, true },
	{ "204 length", G, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", NULL, 204,
		BODY_NONE, 0, true },
	{ "204 chunked", G, "HTTP/1.1 204 No Content\r\n" CH "\r\n", "te_without_body", 0, 0, 0,
		false },
	{ "304 length", G, "HTTP/1.1 304 Not Modified\r\n" CL "\r\n", NULL, 304, BODY_NONE, 5,
		true },
	{ "304 chunked", G, "HTTP/1.1 304 Not Modified\r\n" CH "\r\n", NULL, 304, BODY_NONE, 0,
		true },
	{ "100", G, "HTTP/1.1 100 Continue\r\n\r\n", NULL, 100, BODY_NONE, 0, true },
	{ "103 chunked", G, "HTTP/1.1 103 Early Hints\r\n" CH "\r\n", "te_without_body", 0, 0, 0,
		false },
	{ "CONNECT 200", METHOD_CONNECT, A CL "\r\n", NULL, 200, BODY_NONE, 5, true },
	{ "CONNECT 403", METHOD_CONNECT, "HTTP/1.1 403 No\r\n" CL "\r\n", NULL, 403, BODY_LENGTH, 5,
		true },
	{ "no reason", G, "HTTP/1.1 200 \r\n" CL "\r\n", NULL, 200, BODY_LENGTH, 5, true },
	{ "no space", G, "HTTP/1.1 200\r\n" CL "\r\n", NULL, 200, BODY_LENGTH, 5, true },
	{ "8-bit reason", G, "HTTP/1.1 200 \xc3\xa4\t!\r\n" CL "\r\n", NULL, 200, BODY_LENGTH, 5,
		true },
	{ "Connection names coding", G, A CH "Connection: Transfer-Encoding\r\n\r\n", NULL, 200,
		BODY_CHUNKED, 0, true },
	{ "no Host needed, any Host", G, A CL "Host: a, b\r\n\r\n", NULL, 200, BODY_LENGTH, 5,
		true },

	{ "CL and TE", G, A CL CH "\r\n", "cl_and_te", 0, 0, 0, false },
	{ "two CL", G, A CL CL "\r\n", "dup_content_length", 0, 0, 0, false },
	{ "bad CL", G, A "Content-Length: 5,5\r\n\r\n", "bad_content_length", 0, 0, 0, false },
	{ "bad CL, HEAD", METHOD_HEAD, A "Content-Length: x\r\n\r\n", "bad_content_length", 0, 0, 0,
		false },
	{ "coding", G, A "Transfer-Encoding: gzip\r\n\r\n", "unknown_transfer_coding", 0, 0, 0,
		false },
	{ "TE in 1.0", G, "HTTP/1.0 200 OK\r\n" CH "\r\n", "te_in_http10", 0, 0, 0, false },
	{ "status 600", G, "HTTP/1.1 600 X\r\n\r\n", "bad_status", 0, 0, 0, false },
	{ "status 999", G, "HTTP/1.1 999 X\r\n\r\n", "bad_status", 0, 0, 0, false },
	{ "status 099", G, "HTTP/1.1 099 X\r\n\r\n", "bad_status", 0, 0, 0, false },
	{ "status 20", G, "HTTP/1.1 20 X\r\n\r\n", "bad_status", 0, 0, 0, false },
	{ "status 2000", G, "HTTP/1.1 2000\r\n\r\n", "bad_status_line", 0, 0, 0, false },
	{ "status +20", G, "HTTP/1.1 +20 X\r\n\r\n", "bad_status", 0, 0, 0, false },
	{ "two spaces", G, "HTTP/1.1  200 X\r\n\r\n", "bad_status", 0, 0, 0, false },
	{ "version", G, "HTTP/2.0 200 OK\r\n\r\n", "bad_version", 0, 0, 0, false },
	{ "not HTTP", G, "SSH-2.0-OpenSSH_9\r\n", "bad_status_line", 0, 0, 0, false },
	{ "ICY", G, "ICY 200 OK\r\n\r\n", "bad_status_line", 0, 0, 0, false },
	{ "blank line first", G, "\r\nHTTP/1.1 200 OK\r\n\r\n", "bad_status_line", 0, 0, 0, false },
	{ "bare LF", G, "HTTP/1.1 200 OK\n\r\n", "bare_lf", 0, 0, 0, false },
	{ "bare CR", G, "HTTP/1.1 200 O\rK\r\n\r\n", "bare_cr", 0, 0, 0, false },
	{ "obs-fold", G, A "A: b\r\n c\r\n\r\n", "obs_fold", 0, 0, 0, false },
	{ "Connection names length", G, A CL "Connection: content-length\r\n\r\n", "bad_connection",
		0, 0, 0, false },
	{ "long line", G,
		"HTTP/1.1 200 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
		"line_too_long", 0, 0, 0, false },
};

static void
check(const struct feed *f, const struct answer_case *c)
{
	if (c->reason != NULL) {
		assert_int_equal(f->result, HTTP1_BAD);
		assert_string_equal(f->err.reason, c->reason);
		assert_int_equal(f->err.status, 502);
		return;
	}
	assert_int_equal(f->result, HTTP1_DONE);
	assert_int_equal(f->m.status, c->status);
	assert_int_equal(f->m.body, c->body);
	assert_int_equal(f->m.content_length, c->length);
	assert_int_equal(f->m.keep_alive, c->keep_alive);
	assert_int_equal(f->m.head_len, strlen(c->text));
}

static void
reads_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct feed f = {
			.limits = limits,
			.is_response = true,
			.asked = cases[i].asked,
		};

		print_message("  %s\n", cases[i].name);
		feed(&f, cases[i].text, strlen(cases[i].text));
		check(&f, &cases[i]);
		feed_fini(&f);
	}
}

static void
keeps_reason_and_upgrade(void **state)
{
	static const char text[] = "HTTP/1.1 101 Switching  Protocols\r\nUpgrade: websocket\r\n"
				   "Connection: upgrade\r\n\r\n\x81\x00";
	struct feed f = { .limits = limits, .is_response = true, .asked = METHOD_GET };

	(void)state;
	feed(&f, text, sizeof(text) - 1);
	assert_int_equal(f.result, HTTP1_DONE);
	assert_true(slice_eq(f.m.reason, SLICE("Switching  Protocols")));
	assert_true(f.m.has_upgrade);
	assert_true(slice_eq(f.m.upgrade, SLICE("websocket")));
	assert_int_equal(f.m.body, BODY_NONE);
	assert_int_equal(f.m.head_len, sizeof(text) - 3);
	feed_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_answers),
		cmocka_unit_test(keeps_reason_and_upgrade),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
