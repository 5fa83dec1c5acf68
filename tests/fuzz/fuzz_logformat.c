/* area: routerd */
/*
 * fuzz_logformat: a request, its answer and its client's certificate in access log lines of the
 * operator's own. Whatever the bytes: a line is one line and not too long, each value ends where
 * what stands behind it says, and JSON is an object that has its members, and no others.
 *
 * The input is a request's head and, behind it, a response's; what is left is the certificate's.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>

#include "libcommon/clock.h"
#include "libcommon/http1.h"
#include "routerd/conn.h"
#include "routerd/logformat.h"
#include "routerd/request.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/http_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONF(log)                                                          \
	"http:\n"                                                          \
	"  listen: [{name: a, address: '*:80'}]\n"                         \
	"  hosts: [{names: x, routes: [{path: /, respond: {body: x}}]}]\n" \
	"  access_log: " log "\n"

/* What stands between the values of the text below, in turn. */
static const char *const between[] = { " \"", "\" [", "] (", ") ", ",", ";", "|", " '", "' <", "> ",
	" \"", " ", "\" ", " ", "\n" };

static const char *const confs[] = {
	CONF("{format: \"${method} \\\"${request}\\\" [${http_x_a}] (${cookie_a}) ${arg_a},"
	     "${upstream_http_x_a};${client_cert_shown_subject}|${host} '${http_user_agent}' "
	     "<${http_referer}> ${path} \\\"${query} ${http_cookie}\\\" ${authority} ${status}\"}"),
	CONF("{format: fields, fields: {request: '${request}', a: '${http_x_a}', "
	     "both: '${cookie_a} \"and\\\" ${arg_a}', said: '${upstream_http_x_a}', "
	     "subject: '${client_cert_subject}', \"q\\\"\": '${port}', tls: '${tls}', "
	     "pem: '${client_cert_pem}', status: '${status}'}}"),
};

static const struct http1_limits limits = { 65536, 32768, 100 };

static void
check_text(const char *line)
{
	const char *p = line;

	for (const char *c = line; c[1] != '\0'; c++)
		CHECK(*c >= ' ' && *c <= '~');
	for (size_t i = 0; i < sizeof(between) / sizeof(*between); i++) {
		/* Within double quotes a blank is part of what is quoted. */
		bool is_inside = i == 11;

		p = is_inside ? p : strchr(p, between[i][0]);
		CHECK(p != NULL);
		CHECK(is_inside || strncmp(p, between[i], strlen(between[i])) == 0);
		p += is_inside ? 0 : strlen(between[i]);
	}
	CHECK(*p == '\0');
}

static void
check_json(const char *line)
{
	json_t *o = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

	CHECK(o != NULL);
	CHECK(json_object_size(o) == 9);
	CHECK(json_integer_value(json_object_get(o, "status")) == 200);
	CHECK(json_is_string(json_object_get(o, "request")));
	CHECK(json_is_integer(json_object_get(o, "q\"")));
	CHECK(json_is_false(json_object_get(o, "tls")));
	json_decref(o);
}

struct run {
	struct field req_fields[REQUEST_FIELDS];
	struct field resp_fields[REQUEST_FIELDS];
	struct msg req;
	struct msg resp;
	struct proxy_cert cert;
	struct forward_info from;
	struct access_entry entry;
	struct var_source source;
	char line[ACCESSLOG_LINE_MAX + 1];
	char scratch[LOGFORMAT_SCRATCH];
};

static void
check_lines(struct run *r)
{
	static struct snapshot *s[2];

	for (size_t i = 0; i < 2; i++) {
		size_t n;

		if (s[i] == NULL)
			s[i] = conf_snapshot(confs[i], "/");
		n = logformat_line(s[i]->log_format, r->line, ACCESSLOG_LINE_MAX, &r->entry,
			&r->source, r->scratch);
		CHECK(n > 0 && n <= ACCESSLOG_LINE_MAX);
		CHECK(memchr(r->line, '\n', n) == r->line + n - 1);
		r->line[n] = '\0';
		(i == 0 ? check_text : check_json)(r->line);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http1_scan scan = { 0 };
	struct http1_error err = { 0 };
	const char *p = (const char *)data;
	struct run *r = xcalloc(1, sizeof(*r));

	msg_init(&r->req, r->req_fields, REQUEST_FIELDS_SENT);
	msg_init(&r->resp, r->resp_fields, REQUEST_FIELDS_SENT);
	if (http1_request(&scan, p, size, &limits, &r->req, &err) == HTTP1_DONE) {
		p += r->req.head_len;
		size -= r->req.head_len;
		memset(&scan, 0, sizeof(scan));
		if (http1_response(&scan, p, size, &limits, r->req.method, &r->resp, &err) ==
			HTTP1_DONE) {
			p += r->resp.head_len;
			size -= r->resp.head_len;
		} else {
			msg_init(&r->resp, r->resp_fields, REQUEST_FIELDS_SENT);
		}
		r->cert.subject = r->cert.der = slice_make(p, size);
		r->from = (struct forward_info){ .scheme = SLICE("http"),
			.authority = r->req.authority,
			.cert = &r->cert,
			.is_cert_verified = size % 2 == 0 };
		r->source = (struct var_source){ .req = &r->req,
			.req_fields = r->req.field_count,
			.resp = &r->resp,
			.resp_fields = r->resp.field_count,
			.from = &r->from,
			.status = 200,
			.wall_ms = clock_wall_ms,
			.log = &r->entry };
		check_lines(r);
	}
	free(r);
	return 0;
}
