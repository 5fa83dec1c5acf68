/*
 * config_host: the schema of hosts and their routes, and what can be said of one route alone.
 * Driven by cfg_bind through config.c's table.
 */
#include "routerd/config_parts.h"

#include "libcommon/http1.h"
#include "routerd/template.h"

/* --- redirect ----------------------------------------------------------------------------------
 */

/* May stand in a Location as it is: visible ASCII that URIs allow. Not asked of variables, which
 * are percent-encoded when they get there. */
static bool
is_uri_text(const struct cfg_node *node)
{
	size_t var = 0;

	for (size_t i = 0; i < node->text.n; i++) {
		char c = node->text.p[i];

		if (var < node->var_count && i == node->vars[var]) {
			i += slice_find(slice_skip(node->text, i), '}');
			var++;
		} else if (c <= ' ' || c > '~' || strchr("\"<>\\^`{|}", c)) {
			return false;
		}
	}
	return true;
}

static void
check_variables(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path)
{
	struct template t;
	const char *problem = template_parse(node, VAR_REQUEST, &t, ctx->arena);

	if (problem != NULL)
		cfg_error(ctx, node, path, "%s", problem);
}

static void
parse_redirect_host(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const char *s = *(char **)field;
	struct slice host;
	uint16_t port;

	if (node->var_count > 0)
		check_variables(ctx, node, path);
	else if (!http1_host(slice_str(s), &host, &port))
		cfg_error(ctx, node, path, "\"%s\" is no host, expected NAME or NAME:PORT", s);
}

static void
parse_redirect_path(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const char *s = *(char **)field;
	bool begins_with_var = node->var_count > 0 && node->vars[0] == 0;

	if ((s[0] != '/' && !begins_with_var) || s[1] == '/' || !is_uri_text(node))
		cfg_error(ctx, node, path,
			"\"%s\" cannot stand in a Location, expected /PATH, percent-encoded", s);
	else
		check_variables(ctx, node, path);
}

static void
parse_redirect_status(
	struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	int64_t status = *(int64_t *)field;

	if (status < 301 || status > 308 || (status > 303 && status < 307))
		cfg_error(ctx, node, path,
			"%lld is no redirect, expected 301, 302, 303, 307 or 308",
			(long long)status);
}

static void
check_redirect(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct redirectcfg *r = obj;

	r->is_set = true;
	if (!r->scheme && !r->host && !r->path)
		cfg_error(ctx, node, path, "leads nowhere else, expected scheme, host or path");
}

static const struct cfg_row redirect_rows[] = {
	CFG_NODE_ROW(struct redirectcfg, node),
	CFG_ROW(struct redirectcfg, scheme, "scheme", CFGT_STRING, .parse = config_parse_scheme,
		.help = "http or https; as it came when left out"),
	CFG_ROW(struct redirectcfg, host, "host", CFGT_STRING, .parse = parse_redirect_host,
		.flags = CFG_VARS, .help = "NAME or NAME:PORT; as it came when left out"),
	CFG_ROW(struct redirectcfg, path, "path", CFGT_STRING, .parse = parse_redirect_path,
		.flags = CFG_VARS,
		.help = "instead of path and query; both as they came when left out"),
	CFG_ROW(struct redirectcfg, status, "status", CFGT_INT, .def = "308",
		.parse = parse_redirect_status, .help = "301, 302, 303, 307 or 308"),
	CFG_END,
};

static const struct cfg_schema redirect_schema = {
	.name = "redirect",
	.size = sizeof(struct redirectcfg),
	.rows = redirect_rows,
	.check = check_redirect,
};

/* --- respond -----------------------------------------------------------------------------------
 */

#define RESPOND_TYPE "text/plain; charset=utf-8"

static void
check_respond_header(struct cfg_ctx *ctx, const struct cfg_pair *h, const char *path)
{
	struct slice name = slice_str(h->name);
	enum field_id id = field_id_of(name);

	if (!http1_is_token(name))
		cfg_error(ctx, h->node, path, "\"%s\" cannot be a field's name", h->name);
	else if (!http1_is_value(slice_str(h->value)))
		cfg_error(ctx, h->node, path, "the value of %s has control characters", h->name);
	else if (id == FIELD_CONTENT_TYPE)
		cfg_error(ctx, h->node, path, "expected %s as content_type", h->name);
	else if (id == FIELD_CONTENT_LENGTH || id == FIELD_DATE || id == FIELD_TRAILER ||
		(field_flags(id) & FIELD_HOP))
		cfg_error(ctx, h->node, path, "%s is written by routerd itself", h->name);
	else
		check_variables(ctx, h->node, path);
}

static void
check_respond(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct respondcfg *r = obj;
	const char *headers = config_path(ctx, path, "headers");

	if (r->body) {
		r->body_node = config_place(node, "body");
		check_variables(ctx, r->body_node, config_path(ctx, path, "body"));
	}
	if ((r->status == 204 || r->status == 304) && r->body && r->body[0])
		cfg_error(ctx, config_place(node, "body"), config_path(ctx, path, "body"),
			"a %lld has no body, expected none or another status",
			(long long)r->status);
	if (r->headers.n > CONFIG_RESPOND_HEADERS)
		cfg_error(ctx, config_place(node, "headers"), headers,
			"%zu fields, expected at most %d", r->headers.n, CONFIG_RESPOND_HEADERS);
	for (size_t i = 0; i < r->headers.n; i++)
		check_respond_header(ctx, CFG_AT(const struct cfg_pair, r->headers, i), headers);
	if (!http1_is_value(slice_str(r->content_type)))
		cfg_error(ctx, config_place(node, "content_type"),
			config_path(ctx, path, "content_type"), "has control characters");
}

static const struct cfg_row respond_rows[] = {
	CFG_ROW(struct respondcfg, status, "status", CFGT_INT, .def = "200", .min = 200, .max = 599,
		.help = "status code"),
	CFG_ROW(struct respondcfg, body, "body", CFGT_STRING, .flags = CFG_VARS,
		.help = "text of the answer; when left out none, or from 400 on the usual one"),
	CFG_ROW(struct respondcfg, content_type, "content_type", CFGT_STRING, .def = RESPOND_TYPE,
		.flags = CFG_NONEMPTY, .help = "what the body is"),
	CFG_ROW(struct respondcfg, headers, "headers", CFGT_PAIRS, .flags = CFG_VARS | CFG_REPEAT,
		.help = "further fields, at most 10"),
	CFG_END,
};

static const struct cfg_schema respond_schema = {
	.name = "respond",
	.size = sizeof(struct respondcfg),
	.rows = respond_rows,
	.check = check_respond,
};

static void
respond_short(
	struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, struct respondcfg *r)
{
	uint64_t status;

	r->status = 200;
	r->content_type = arena_strdup(ctx->arena, RESPOND_TYPE);
	if (node->is_quoted || !slice_to_u64(node->text, &status)) {
		r->body = arena_strndup(ctx->arena, node->text.p, node->text.n);
		r->body_node = node;
		check_variables(ctx, node, path);
		return;
	}
	r->status = (int64_t)status;
	if (status < 200 || status > 599)
		cfg_error(ctx, node, path,
			"%.*s is no status, expected 200 to 599 or a text in quotes",
			SLICE_ARG(node->text));
}

/* `respond: 204`, `respond: "hello"`, or the mapping. */
static void
parse_respond(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	struct respondcfg *r = field;

	if (node->kind == CFG_SEQUENCE || node->is_null)
		cfg_error(ctx, node, path, "expected a status, a text or a mapping");
	else if (node->kind == CFG_MAPPING)
		cfg_bind(ctx, &respond_schema, node, path, NULL, r);
	else
		respond_short(ctx, node, path, r);
	r->is_set = true;
}

/* --- routes ------------------------------------------------------------------------------------
 */

/* A route is known after the head, and idle connections have none: no head, no keepalive. */
static const struct cfg_row route_timeout_rows[] = {
	TIMEOUT_ROW(body, NULL, TIMEOUT_BODY),
	TIMEOUT_ROW(connect, NULL, TIMEOUT_CONNECT),
	TIMEOUT_ROW(tls, NULL, TIMEOUT_TLS),
	TIMEOUT_ROW(send, NULL, TIMEOUT_SEND),
	TIMEOUT_ROW(response, NULL, TIMEOUT_RESPONSE),
	TIMEOUT_ROW(read, NULL, TIMEOUT_READ),
	TIMEOUT_ROW(tunnel, NULL, TIMEOUT_TUNNEL),
	CFG_END,
};

static const struct cfg_schema route_timeout_schema = {
	.name = "timeouts",
	.size = sizeof(struct timeoutcfg),
	.rows = route_timeout_rows,
};

static void
parse_route_path(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const char *s = *(char **)field;
	const char *why = NULL;
	size_t segments = 0;

	for (const char *p = s; *p; p++)
		segments += *p == '/';
	if (s[0] != '/')
		why = "does not begin with '/'";
	else if (strpbrk(s, "?#"))
		why = "has a '?' or '#', but routes match on the path alone";
	else if (strlen(s) > 1024)
		why = "is longer than 1024 bytes";
	else if (segments > CONFIG_SEGMENTS_MAX)
		why = "has more than 64 segments";
	if (why)
		cfg_error(ctx, node, path, "\"%s\" %s, expected something like /api/", s, why);
}

/* Leaves it without a slash at its end. */
static void
check_strip(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, struct routecfg *r)
{
	const struct cfg_node *at = config_place(node, "strip");
	const char *where = config_path(ctx, path, "strip");
	size_t n = strlen(r->strip);

	while (n > 0 && r->strip[n - 1] == '/')
		n--;
	if (n == 0)
		cfg_error(ctx, at, where,
			"\"%s\" takes nothing off, expected the beginning of path", r->strip);
	else if (strncmp(r->path, r->strip, n) != 0 || (r->path[n] && r->path[n] != '/'))
		cfg_error(ctx, at, where,
			"\"%s\" is not the beginning of path \"%s\", expected whole segments of it",
			r->strip, r->path);
	else if (!r->pool)
		cfg_error(ctx, at, where, "only what goes to a pool is stripped, expected none");
	r->strip = arena_strndup(ctx->arena, r->strip, n);
}

static void
check_route(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct routecfg *r = obj;
	int actions = (r->pool != NULL) + r->redirect.is_set + r->respond.is_set + r->echo;

	if (actions == 0)
		cfg_error(ctx, node, path,
			"nothing to do, expected one of pool, redirect, respond and echo");
	if (actions > 1)
		cfg_error(ctx, node, path,
			"%d things to do, expected one of pool, redirect, respond and echo",
			actions);
	if (cfg_get(node, "max_body") && r->max_body == 0)
		r->max_body = UINT64_MAX;
	if (r->strip)
		check_strip(ctx, node, path, r);
}

static const struct cfg_row route_rows[] = {
	CFG_NODE_ROW(struct routecfg, node),
	CFG_ROW(struct routecfg, path, "path", CFGT_STRING, .parse = parse_route_path,
		.flags = CFG_REQUIRED | CFG_NONEMPTY,
		.help = "prefix on segment borders; the longest that fits wins"),
	CFG_ROW(struct routecfg, strip, "strip", CFGT_STRING,
		.help = "leading segments of path that servers do not get to see"),
	CFG_ROW(struct routecfg, pool, "pool", CFGT_STRING, .flags = CFG_NONEMPTY,
		.help = "the pool that answers"),
	CFG_ROW(struct routecfg, redirect, "redirect", CFGT_MAP, .sub = &redirect_schema,
		.flags = CFG_OPTIONAL, .help = "send the client elsewhere"),
	CFG_ROW(struct routecfg, respond, "respond", CFGT_CUSTOM, .sub = &respond_schema,
		.parse = parse_respond, .help = "a fixed answer: a status, a text or a mapping"),
	CFG_ROW(struct routecfg, echo, "echo", CFGT_BOOL, .def = "off",
		.help = "answer with the request as JSON"),
	CFG_ROW(struct routecfg, headers, "headers", CFGT_MAP, .sub = &headerscfg_schema,
		.help = "what is done with fields"),
	CFG_ROW(struct routecfg, timeouts, "timeouts", CFGT_MAP, .sub = &route_timeout_schema,
		.flags = CFG_OPTIONAL, .help = "instead of http.timeouts"),
	CFG_ROW(struct routecfg, max_body, "max_body", CFGT_SIZE,
		.help = "a request body, instead of http.limits.body; 0: no limit"),
	CFG_END,
};

static const struct cfg_schema route_schema = {
	.name = "route",
	.size = sizeof(struct routecfg),
	.rows = route_rows,
	.check = check_route,
};

/* --- hosts -------------------------------------------------------------------------------------
 */

/* NAME, *.SUFFIX or *; an IPv6 address stands in brackets, as in Host. */
static bool
is_host_pattern(const char *s)
{
	bool is_wild = s[0] == '*' && s[1] == '.';
	const char *rest = is_wild ? s + 2 : s;
	struct slice host;
	uint16_t port;

	if (strcmp(s, "*") == 0)
		return true;
	if (rest[0] == '.' || strlen(rest) > 253 || strchr(rest, '*') || strstr(rest, ".."))
		return false;
	if (is_wild && rest[0] == '[')
		return false;
	return http1_host(slice_str(rest), &host, &port) && host.n == strlen(rest);
}

static char *
host_canonical(struct arena *a, const char *s)
{
	char *name = arena_strdup(a, s);
	size_t n = strlen(name);

	for (char *p = name; *p; p++)
		*p = ascii_lower(*p);
	if (n > 1 && name[n - 1] == '.')
		name[n - 1] = '\0';
	return name;
}

static void
check_host(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct hostcfg *h = obj;

	for (size_t i = 0; i < h->names.n; i++) {
		char **name = CFG_AT(char *, h->names, i);

		*name = host_canonical(ctx->arena, *name);
		if (!is_host_pattern(*name))
			cfg_error(ctx, config_place(node, "names"), config_path(ctx, path, "names"),
				"\"%s\" is no host, expected NAME, *.SUFFIX or *, without port",
				*name);
	}
}

static const struct cfg_row host_rows[] = {
	CFG_NODE_ROW(struct hostcfg, node),
	CFG_ROW(struct hostcfg, names, "names", CFGT_STRING_LIST,
		.flags = CFG_REQUIRED | CFG_NONEMPTY,
		.help = "NAME, *.SUFFIX (the longest wins) or * for all others"),
	CFG_ROW(struct hostcfg, listen, "listen", CFGT_STRING_LIST,
		.help = "listeners that it answers on; all when left out"),
	CFG_ROW(struct hostcfg, headers, "headers", CFGT_MAP, .sub = &headerscfg_schema,
		.help = "what is done with fields, of all routes"),
	CFG_ROW(struct hostcfg, routes, "routes", CFGT_LIST, .sub = &route_schema,
		.flags = CFG_REQUIRED | CFG_NONEMPTY, .help = "what answers which path"),
	CFG_END,
};

const struct cfg_schema hostcfg_schema = {
	.name = "host",
	.size = sizeof(struct hostcfg),
	.rows = host_rows,
	.check = check_host,
};
