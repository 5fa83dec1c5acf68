/* Messages of grpc.health.v1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "healthd/grpccheck.h"
#include "libcommon/mem.h"

static void
requests(void **state)
{
	char out[CHECKCFG_SERVICE_MAX + 8];
	char name[256];

	(void)state;
	assert_int_equal(grpccheck_request("", out), 5);
	assert_memory_equal(out, "\0\0\0\0\0", 5);
	assert_int_equal(grpccheck_request("app.Shop", out), 15);
	assert_memory_equal(out,
		"\0\0\0\0\x0a\x0a\x08"
		"app.Shop",
		15);
	memset(name, 'x', 255);
	name[255] = '\0';
	assert_int_equal(grpccheck_request(name, out), 5 + 3 + 255);
	assert_memory_equal(out, "\0\0\0\1\2\x0a\xff\1xx", 10);
}

struct answer_case {
	const char *name;
	const char *status;
	const char *type;
	const char *grpc_status;
	const char *message;
	size_t n;
	const char *reason;
};

#define M(s) s, sizeof(s) - 1
static const struct answer_case cases[] = {
	{ "serving", "200", "application/grpc", "0", M("\0\0\0\0\2\x08\1"), "" },
	{ "serving, with a subtype", "200", "application/grpc+proto", "0", M("\0\0\0\0\2\x08\1"),
		"" },
	{ "and fields that are new", "200", "application/grpc", "0",
		M("\0\0\0\0\x14\x12\2ab\x08\1\x1d"
		  "abcd\x21"
		  "12345678"),
		"" },
	{ "not serving", "200", "application/grpc", "0", M("\0\0\0\0\2\x08\2"),
		"grpc_not_serving" },
	{ "unknown", "200", "application/grpc", "0", M("\0\0\0\0\0"), "grpc_unknown" },
	{ "service unknown", "200", "application/grpc", "0", M("\0\0\0\0\2\x08\3"),
		"grpc_service_unknown" },
	{ "not found", "200", "application/grpc", "5", M(""), "grpc_service_unknown" },
	{ "nobody has it", "200", "application/grpc", "12", M(""), "grpc_status_12" },
	{ "a status that is none", "200", "application/grpc", "x", M("\0\0\0\0\2\x08\1"),
		"grpc_status_2" },
	{ "serving, but it failed", "200", "application/grpc", "13", M("\0\0\0\0\2\x08\1"),
		"grpc_status_13" },
	{ "a number that is none", "200", "application/grpc", "0", M("\0\0\0\0\2\x08\x09"),
		"bad_answer" },
	{ "HTTP", "200", "text/html", NULL, M("hello"), "no_grpc" },
	{ "no status", "200", "application/grpc", NULL, M("\0\0\0\0\2\x08\1"), "no_grpc" },
	{ "an error of HTTP", "503", "text/html", NULL, M("no"), "http_503" },
	{ "compressed", "200", "application/grpc", "0", M("\1\0\0\0\2\x08\1"), "bad_answer" },
	{ "no message", "200", "application/grpc", "0", M(""), "bad_answer" },
	{ "cut off", "200", "application/grpc", "0", M("\0\0\0\0\2\x08"), "bad_answer" },
	{ "two messages", "200", "application/grpc", "0", M("\0\0\0\0\2\x08\1\0\0\0\0\2\x08\1"),
		"bad_answer" },
	{ "a field that is cut off", "200", "application/grpc", "0", M("\0\0\0\0\2\x12\5"),
		"bad_answer" },
	{ "a length without end", "200", "application/grpc", "0",
		M("\0\0\0\0\x0c\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), "bad_answer" },
	{ "a type that is none", "200", "application/grpc", "0", M("\0\0\0\0\2\x0f\1"),
		"bad_answer" },
};

static void
judge(const struct answer_case *c, size_t piece)
{
	struct grpccheck g;
	char text[32];
	const char *reason;
	bool is_good;

	grpccheck_init(&g);
	grpccheck_field(&g, SLICE(":status"), slice_str(c->status));
	grpccheck_field(&g, SLICE("content-type"), slice_str(c->type));
	for (size_t at = 0; at < c->n; at += piece) {
		size_t n = c->n - at < piece ? c->n - at : piece;
		char *copy = xmalloc(n);

		memcpy(copy, c->message + at, n);
		grpccheck_data(&g, copy, n);
		free(copy);
	}
	if (c->grpc_status != NULL)
		grpccheck_field(&g, SLICE("grpc-status"), slice_str(c->grpc_status));
	is_good = grpccheck_judge(&g, text, &reason);
	if (strcmp(reason, c->reason) != 0 || is_good != (c->reason[0] == '\0'))
		fail_msg("%s: \"%s\"", c->name, reason);
}

static void
answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		judge(&cases[i], 1000);
		judge(&cases[i], 1);
		judge(&cases[i], 3);
	}
}

static void
an_answer_without_end(void **state)
{
	struct grpccheck g;
	char text[32];
	const char *reason;

	(void)state;
	grpccheck_init(&g);
	grpccheck_field(&g, SLICE(":status"), SLICE("200"));
	grpccheck_field(&g, SLICE("content-type"), SLICE("application/grpc"));
	for (int i = 0; i < 1000; i++)
		grpccheck_data(&g, "\0\0\0\0\2\x08\1", 7);
	grpccheck_field(&g, SLICE("grpc-status"), SLICE("0"));
	assert_false(grpccheck_judge(&g, text, &reason));
	assert_string_equal(reason, "bad_answer");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test(answers),
		cmocka_unit_test(an_answer_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
