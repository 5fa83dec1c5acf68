/* area: routerd */
/*
 * fuzz_headers: a request and its answer under header rules that use every variable. Whatever the
 * bytes: values can stand in a field, nothing that a rule sets or hides travels in anybody else's
 * words, and a redirect leads to the host that was asked for.
 *
 * The input is a request's head and, behind it, a response's.
 */
#include <stdint.h>
#include <stdlib.h>

#include "libcommon/clock.h"
#include "libcommon/http1.h"
#include "routerd/alike.h"
#include "routerd/conn.h"
#include "routerd/header_rules.h"
#include "routerd/request.h"
#include "routerd/respond.h"
#include "routerd/vars.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/http_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char conf[] =
	"pools: {app: {servers: [{address: 'h:1'}]}}\n"
	"http:\n"
	"  listen: [{name: a, address: '*:80'}]\n"
	"  hosts:\n"
	"    - names: ['*']\n"
	"      headers:\n"
	"        request: {hide: [X-Secret, Cookie]}\n"
	"      routes:\n"
	"        - path: /\n"
	"          pool: app\n"
	"          headers:\n"
	"            request:\n"
	"              set:\n"
	"                Host: '${http_x_host}'\n"
	"                X-User: ['${cookie_a}', ' ${arg_b}|${cookie_sid} ']\n"
	"                X-All: '${client} ${peer} ${method} ${target} ${path} ${query} ${scheme}"
	" ${authority} ${host} ${port} ${version} ${request_id} ${listener} ${route} ${pool}'\n"
	"                X-TLS: '${msec} ${time_iso8601} ${tls_version} ${tls_cipher} ${tls_sni}"
	" ${tls_alpn} ${client_cert_verify} ${client_cert_subject} ${client_cert_cn}"
	" ${client_cert_issuer} ${client_cert_serial} ${client_cert_fingerprint}"
	" ${client_cert_san} ${client_cert_not_before} ${client_cert_not_after}'\n"
	"                X-Cert: '${client_cert_pem}${client_cert_rfc9440}'\n"
	"              add: {X-More: '${http_cookie}${http_x_more}', Server: '${http_server}'}\n"
	"              default: {X-Request-ID: '${request_id}'}\n"
	"            response:\n"
	"              hide: [X-Powered-By]\n"
	"              set: {Server: '${status} ${server} ${tries} ${response_ms} ${reason}'}\n"
	"              add: {Set-Cookie: '${upstream_http_set_cookie}${upstream_http_x_a}'}\n"
	"              default: {Cache-Control: '${arg_cc}'}\n"
	"        - {path: /to, redirect: {path: '${arg_to}'}}\n"
	"        - {path: /host, redirect: {host: '${arg_h}', path: '/${path}'}}\n";

static const struct http1_limits limits = { 65536, 32768, 100 };

/* --- what must hold -------------------------------------------------------------------------- */

/* Of those that the peer sent, none that is `like` name travels. */
static void
check_gone(const struct msg *m, uint16_t sent, struct slice name,
	bool (*like)(struct slice a, struct slice b))
{
	for (uint16_t i = 0; i < sent; i++)
		CHECK((m->fields[i].flags & MSG_FIELD_DROP) || !like(m->fields[i].name, name));
}

static bool
is_same(struct slice a, struct slice b)
{
	return slice_caseeq(a, b);
}

static void
check_values(const struct msg *m, uint16_t sent)
{
	CHECK(m->field_count <= m->field_cap && m->field_count - sent <= CONFIG_HEADERS_MAX);
	for (uint16_t i = sent; i < m->field_count; i++) {
		struct slice value = m->fields[i].value;

		CHECK(value.n > 0 && http1_is_value(value));
		CHECK(slice_eq(value, slice_trim(value)));
	}
}

static void
check_location(const struct answer *a, const struct forward_info *from, bool is_same_host)
{
	const struct field *f = msg_field(&a->head, FIELD_LOCATION);
	struct slice rest;

	if (f == NULL) {
		CHECK(a->head.status == 400);
		return;
	}
	for (size_t i = 0; i < f->value.n; i++)
		CHECK(f->value.p[i] > ' ' && f->value.p[i] <= '~');
	if (!is_same_host)
		return;
	rest = f->value;
	if (from->authority.n > 0) {
		CHECK(slice_starts(rest, SLICE("http://")));
		rest = slice_skip(rest, 7);
		CHECK(slice_starts(rest, from->authority));
		rest = slice_skip(rest, from->authority.n);
	} else {
		CHECK(rest.n < 2 || rest.p[1] != '/');
	}
	CHECK(rest.n > 0 && rest.p[0] == '/');
}

/* --- one input ------------------------------------------------------------------------------- */

struct run {
	struct arena arena;
	struct field req_fields[REQUEST_FIELDS];
	struct field resp_fields[REQUEST_FIELDS];
	struct msg req;
	struct msg resp;
	struct forward_info from;
	struct var_source source;
};

static void
run_request(struct run *r, const struct route *route)
{
	struct slice authority = r->req.authority;
	struct slice host;
	uint16_t port;

	if (header_rules_request(
		    route->request_rules, &r->req, &r->source, &authority, &r->arena) != HEADERS_OK)
		return;
	check_values(&r->req, r->source.req_fields);
	check_gone(&r->req, r->source.req_fields, SLICE("x-user"), alike);
	check_gone(&r->req, r->source.req_fields, SLICE("x-all"), alike);
	check_gone(&r->req, r->source.req_fields, SLICE("x-secret"), alike);
	check_gone(&r->req, r->source.req_fields, SLICE("cookie"), alike);
	CHECK(authority.n == 0 || http1_host(authority, &host, &port));
}

static void
run_response(struct run *r, const struct route *route)
{
	if (header_rules_response(route->response_rules, &r->resp, &r->source, &r->arena) !=
		HEADERS_OK)
		return;
	check_values(&r->resp, r->source.resp_fields);
	check_gone(&r->resp, r->source.resp_fields, SLICE("server"), is_same);
	check_gone(&r->resp, r->source.resp_fields, SLICE("x-powered-by"), is_same);
}

static void
run_redirect(struct run *r, const struct route *route, bool is_same_host)
{
	struct respond_info info = { .forward = &r->from, .vars = &r->source };
	struct answer *a = arena_alloc(&r->arena, sizeof(*a));

	respond_route(a, route, &r->req, &info, &r->arena);
	check_location(a, &r->from, is_same_host);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct snapshot *s;
	static struct proxy_cert cert = { .cn = SLICE("cn"), .der = SLICE("der") };
	struct http1_scan scan = { 0 };
	struct http1_error err = { 0 };
	const char *p = (const char *)data;
	struct run *r;

	if (s == NULL)
		s = conf_snapshot(conf, "/");
	r = xcalloc(1, sizeof(*r));
	arena_init(&r->arena, 4096);
	msg_init(&r->req, r->req_fields, REQUEST_FIELDS_SENT);
	msg_init(&r->resp, r->resp_fields, REQUEST_FIELDS_SENT);
	if (http1_request(&scan, p, size, &limits, &r->req, &err) == HTTP1_DONE) {
		p += r->req.head_len;
		size -= r->req.head_len;
		r->from = (struct forward_info){ .http = s->http,
			.scheme = SLICE("http"),
			.authority = r->req.authority,
			.cert = &cert,
			.is_cert_verified = size % 2 == 0 };
		r->source = (struct var_source){ .req = &r->req,
			.req_fields = r->req.field_count,
			.from = &r->from,
			.request_id = SLICE("0123456789abcdef"),
			.wall_ms = clock_wall_ms };
		r->req.field_cap = REQUEST_FIELDS;
		run_request(r, &s->route_v[0]);
		run_redirect(r, &s->route_v[1], true);
		run_redirect(r, &s->route_v[2], false);
		memset(&scan, 0, sizeof(scan));
		if (http1_response(&scan, p, size, &limits, r->req.method, &r->resp, &err) ==
			HTTP1_DONE) {
			r->resp.field_cap = REQUEST_FIELDS;
			r->source.resp = &r->resp;
			r->source.resp_fields = r->resp.field_count;
			r->source.status = r->resp.status;
			run_response(r, &s->route_v[0]);
		}
	}
	arena_fini(&r->arena);
	free(r);
	return 0;
}
