/*
 * poolcfg: the tables of what several programs read. Pure tables and the checks that need several
 * keys at once.
 */
#include "libcommon/poolcfg.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "libcommon/log.h"

/* --- names --- */

/* also: which other bytes may stand in the name. */
static bool
is_name(struct slice name, const char *also, size_t max)
{
	if (name.n == 0 || name.n > max || name.p[0] == '.')
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
			strchr(also, c) == NULL)
			return false;
	}
	return true;
}

void
commoncfg_check_name(
	struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	if (!is_name(slice_str(*(char **)field), "._-", 64))
		cfg_error(ctx, node, path,
			"not a name, expected letters, digits, '.', '_' and '-', at most 64, the "
			"first no '.'");
}

/* --- servers --- */

/* What is wrong with a server's name, or NULL. A default name has what addresses have. */
static const char *
server_name_problem(const struct servercfg *s, bool is_default)
{
	if (is_name(slice_str(s->name), "._-:[]/%", 128))
		return NULL;
	return is_default ? "the address makes no good name, expected a name as well"
			  : "not a name, expected letters, digits and any of . _ - : [ ] / %, at "
			    "most 128, the first no '.'";
}

static void
check_server(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct servercfg *s = obj;
	const struct cfg_node *address = cfg_get(node, "address");
	const struct cfg_node *name = cfg_get(node, "name");
	bool is_default = s->name == NULL;
	const char *problem;

	s->address_text = arena_strndup(ctx->arena, address->text.p, address->text.n);
	s->scheme = slice_starts(address->text, SLICE("https://")) ? SERVER_HTTPS
		: slice_starts(address->text, SLICE("http://"))    ? SERVER_HTTP
								   : SERVER_NO_SCHEME;
	if (is_default)
		s->name = s->address_text;
	if (s->address.is_any) {
		cfg_error(ctx, address, arena_printf(ctx->arena, "%s.address", path),
			"\"%s\" means any address, expected one to connect to", s->address_text);
		return;
	}
	problem = server_name_problem(s, is_default);
	if (problem != NULL)
		cfg_error(ctx, is_default ? address : name,
			arena_printf(ctx->arena, "%s.%s", path, is_default ? "address" : "name"),
			"%s", problem);
}

static const struct cfg_row server_rows[] = {
	CFG_ROW(struct servercfg, name, "name", CFGT_STRING, .flags = CFG_NONEMPTY,
		.help = "what messages, status and commands call the server; the address as written, if left out"),
	CFG_ROW(struct servercfg, address, "address", CFGT_ADDR, .flags = CFG_REQUIRED | CFG_SCHEME,
		.min = 80,
		.help = "where to connect: IPv4, [IPv6], name or unix:/path, https:// in front of it "
			"for TLS; port 80, if left out, or 443 with TLS"),
	CFG_ROW(struct servercfg, weight, "weight", CFGT_INT, .def = "1", .max = 256,
		.help = "share of the requests, beside the others' weights; 0: no new ones"),
	CFG_ROW(struct servercfg, backup, "backup", CFGT_BOOL, .def = "off",
		.help = "used only while no other server is usable"),
	CFG_ROW(struct servercfg, down, "down", CFGT_BOOL, .def = "off", .help = "not used at all"),
	CFG_NODE_ROW(struct servercfg, node),
	CFG_END,
};

static const struct cfg_schema server_schema = {
	.name = "server",
	.size = sizeof(struct servercfg),
	.rows = server_rows,
	.short_key = "address",
	.check = check_server,
};

/* --- checks --- */

/* What a token of HTTP may hold besides letters and digits. */
#define TOKEN_BYTES "!#$%&'*+-.^_`|~"

static bool
has_byte_below(const char *s, unsigned char least)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < least || *s == 0x7f)
			return true;
	return false;
}

static void
check_token(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	if (!is_name(slice_str(*(char **)field), TOKEN_BYTES, 32))
		cfg_error(ctx, node, path, "not a method, expected a word such as GET");
}

static void
check_target(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const char *s = *(char **)field;

	if (s[0] != '/' || has_byte_below(s, '!') || strchr(s, '#') != NULL)
		cfg_error(ctx, node, path,
			"expected a path that begins with / and has no blanks and no #");
}

static void
check_host(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	if (has_byte_below(*(char **)field, '!') || strchr(*(char **)field, '/') != NULL)
		cfg_error(ctx, node, path, "not a host, expected one such as \"app.example:8080\"");
}

/* What is wrong with one more field of the probe, or NULL. */
static const char *
header_problem(const struct cfg_pair *pair)
{
	static const char *const ours[] = { "connection", "content-length", "transfer-encoding" };

	if (!is_name(slice_str(pair->name), TOKEN_BYTES, 128))
		return "not a field name, expected a word such as X-Probe";
	if (strcasecmp(pair->name, "host") == 0)
		return "set by the probe itself, expected it as \"host\" beside \"headers\"";
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		if (strcasecmp(pair->name, ours[i]) == 0)
			return "set by the probe itself";
	return has_byte_below(pair->value, ' ') ? "a control character in the value" : NULL;
}

static void
check_headers(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const struct cfg_list *list = field;

	(void)node;
	for (size_t i = 0; i < list->n; i++) {
		const struct cfg_pair *pair = CFG_AT(struct cfg_pair, *list, i);
		const char *problem = header_problem(pair);
		struct sbuf where = { 0 };

		if (problem == NULL)
			continue;
		sbuf_adds(&where, path);
		cfg_path_push(&where, slice_str(pair->name));
		cfg_error(ctx, pair->node, where.p, "%s", problem);
		sbuf_fini(&where);
	}
}

/* The rows of check.http fill struct checkcfg itself. */
static const struct cfg_row http_check_rows[] = {
	CFG_ROW(struct checkcfg, method, "method", CFGT_STRING, .def = "GET", .parse = check_token,
		.help = "request method of the probe"),
	CFG_ROW(struct checkcfg, path, "path", CFGT_STRING, .def = "/", .parse = check_target,
		.help = "request target of the probe"),
	CFG_ROW(struct checkcfg, host, "host", CFGT_STRING, .flags = CFG_NONEMPTY,
		.parse = check_host,
		.help = "Host of the probe; the server's address, if left out"),
	CFG_ROW(struct checkcfg, headers, "headers", CFGT_PAIRS, .parse = check_headers,
		.help = "further fields of the probe"),
	CFG_ROW(struct checkcfg, status, "status", CFGT_STATUS_LIST, .def = "200-399",
		.flags = CFG_NONEMPTY, .help = "the answers that count as good"),
	CFG_END,
};

static const struct cfg_schema http_check_schema = {
	.name = "http check",
	.size = sizeof(struct checkcfg),
	.rows = http_check_rows,
};

static void
check_service(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	if (strlen(*(char **)field) > CHECKCFG_SERVICE_MAX)
		cfg_error(ctx, node, path, "too long, at most %d bytes", CHECKCFG_SERVICE_MAX);
}

static const struct cfg_row grpc_check_rows[] = {
	CFG_ROW(struct checkcfg, service, "service", CFGT_STRING, .parse = check_service,
		.help = "service asked for; the server as a whole, if left out"),
	CFG_ROW(struct checkcfg, host, "host", CFGT_STRING, .flags = CFG_NONEMPTY,
		.parse = check_host,
		.help = "authority of the probe; the server's address, if left out"),
	CFG_END,
};

static const struct cfg_schema grpc_check_schema = {
	.name = "grpc check",
	.size = sizeof(struct checkcfg),
	.rows = grpc_check_rows,
};

static void
check_check(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct checkcfg *c = obj;
	bool is_http = cfg_get(node, "http") != NULL;
	bool is_grpc = cfg_get(node, "grpc") != NULL;

	if (is_http + is_grpc + c->is_tcp > 1)
		cfg_error(ctx, node, path, "more than one of http, grpc and tcp, expected one");
	else if (!is_http && !is_grpc && !c->is_tcp && cfg_get(node, "tcp") == NULL)
		cfg_error(ctx, node, path, "neither http nor grpc nor tcp, expected one of them");
	c->kind = is_http ? CHECK_HTTP : is_grpc ? CHECK_GRPC : c->is_tcp ? CHECK_TCP : CHECK_NONE;
}

static const struct cfg_row check_rows[] = {
	CFG_SUB_ROW("http", &http_check_schema, .flags = CFG_OPTIONAL,
		.help = "probe with a request, in the protocol of the pool"),
	CFG_SUB_ROW("grpc", &grpc_check_schema, .flags = CFG_OPTIONAL,
		.help = "probe by grpc.health.v1, in HTTP/2: SERVING is up"),
	CFG_ROW(struct checkcfg, is_tcp, "tcp", CFGT_BOOL, .def = "off",
		.help = "probe by connecting, nothing more"),
	CFG_ROW(struct checkcfg, port, "port", CFGT_INT, .def = "0", .max = 65535,
		.help = "port to probe; 0: the server's own"),
	CFG_ROW(struct checkcfg, interval_ms, "interval", CFGT_DURATION, .def = "5s", .min = 10,
		.max = 86400000, .help = "time between the probes of one server"),
	CFG_ROW(struct checkcfg, fast_interval_ms, "fast_interval", CFGT_DURATION, .def = "0",
		.max = 86400000,
		.help = "the same while its state is about to change; 0: interval"),
	CFG_ROW(struct checkcfg, timeout_ms, "timeout", CFGT_DURATION, .def = "2s", .min = 1,
		.max = 3600000, .help = "a probe without an answer by then has failed"),
	CFG_ROW(struct checkcfg, fall, "fall", CFGT_INT, .def = "3", .min = 1, .max = 1000,
		.help = "failed probes in a row that make a server down"),
	CFG_ROW(struct checkcfg, rise, "rise", CFGT_INT, .def = "2", .min = 1, .max = 1000,
		.help = "good probes in a row that make it up again"),
	CFG_ROW(struct checkcfg, jitter_percent, "jitter", CFGT_INT, .def = "10", .max = 50,
		.unit = "percent",
		.help = "how far intervals vary at random, so that probes spread"),
	CFG_NODE_ROW(struct checkcfg, node),
	CFG_END,
};

static const struct cfg_schema check_schema = {
	.name = "check",
	.size = sizeof(struct checkcfg),
	.rows = check_rows,
	.check = check_check,
};

static const struct cfg_row passive_rows[] = {
	CFG_ROW(struct passivecfg, max_fails, "max_fails", CFGT_INT, .def = "3", .max = 1000000,
		.help = "failed requests within fail_timeout that take a server out of use; 0: never"),
	CFG_ROW(struct passivecfg, fail_timeout_ms, "fail_timeout", CFGT_DURATION, .def = "10s",
		.min = 1, .max = 86400000,
		.help = "how long failures count, and how long a server is out of use"),
	CFG_END,
};

static const struct cfg_schema passive_schema = {
	.name = "passive check",
	.size = sizeof(struct passivecfg),
	.rows = passive_rows,
};

/* --- pools --- */

static const char *const balance_methods[] = {
	[BALANCE_ROUND_ROBIN] = "round_robin",
	NULL,
};

static const char *const protocols[] = {
	[PROTOCOL_HTTP1] = "http/1.1",
	[PROTOCOL_H2] = "h2",
	NULL,
};

/* These fill struct poolcfg itself. */
static const struct cfg_row retry_budget_rows[] = {
	CFG_ROW(struct poolcfg, retry_budget_percent, "percent", CFGT_INT, .def = "20", .max = 1000,
		.unit = "percent", .help = "retries at a time, of the requests that are active"),
	CFG_ROW(struct poolcfg, retry_budget_min, "min", CFGT_INT, .def = "3", .max = 1000000,
		.help = "retries at a time that are always allowed"),
	CFG_END,
};

static const struct cfg_schema retry_budget_schema = {
	.name = "retry budget",
	.size = sizeof(struct poolcfg),
	.rows = retry_budget_rows,
};

static int
by_name(const void *pa, const void *pb)
{
	const struct servercfg *a = *(const struct servercfg *const *)pa;
	const struct servercfg *b = *(const struct servercfg *const *)pb;
	int c = strcmp(a->name, b->name);

	/* The list is one array, so addresses tell which stands first. */
	return c ? c : (a > b) - (a < b);
}

/* All servers of a pool or none: a request must not depend on its turn. */
static void
check_schemes(struct cfg_ctx *ctx, const char *path, struct poolcfg *pool)
{
	bool is_tls = pool->tls != NULL;

	for (size_t i = 0; i < pool->servers.n; i++)
		is_tls |= CFG_AT(struct servercfg, pool->servers, i)->scheme == SERVER_HTTPS;
	if (!is_tls)
		return;
	if (pool->tls == NULL)
		pool->tls = arena_strdup(ctx->arena, TLSPOLICY_DEFAULT);
	for (size_t i = 0; i < pool->servers.n; i++) {
		struct servercfg *s = CFG_AT(struct servercfg, pool->servers, i);

		if (s->scheme == SERVER_HTTP ||
			(s->scheme == SERVER_NO_SCHEME && cfg_get(pool->node, "tls") == NULL))
			cfg_error(ctx, s->node, path,
				"\"%s\" is spoken to in clear text and others of this pool over "
				"TLS, expected one of both for all",
				s->address_text);
		if (s->scheme != SERVER_NO_SCHEME)
			continue;
		/* Without a port in its text it has been given that of clear text; and by this text
		 * it is known over reloads: it is not the server that it would be without TLS. */
		if (s->address.kind != ADDR_UNIX)
			addr_parse(slice_str(s->address_text), 443, &s->address, NULL);
		s->address_text = arena_printf(ctx->arena, "https://%s", s->address_text);
	}
}

static void
check_pool(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct poolcfg *pool = obj;
	size_t n = pool->servers.n;
	const struct servercfg **sorted = xcalloc(n, sizeof(*sorted));

	pool->check.is_h2 = pool->protocol == PROTOCOL_H2;
	if (pool->check.kind == CHECK_GRPC && !pool->check.is_h2)
		cfg_error(ctx, pool->check.node, path, "check.grpc needs protocol: h2");
	(void)node;
	check_schemes(ctx, path, pool);
	for (size_t i = 0; i < n; i++)
		sorted[i] = CFG_AT(const struct servercfg, pool->servers, i);
	qsort(sorted, n, sizeof(*sorted), by_name);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) != 0)
			continue;
		cfg_error(ctx, sorted[i]->node, path,
			"two servers are called \"%s\", the other one is at %u:%u, expected names of "
			"their own",
			sorted[i]->name, sorted[i - 1]->node->line, sorted[i - 1]->node->col);
	}
	free(sorted);
}

static const struct cfg_row pool_rows[] = {
	CFG_KEY_ROW(struct poolcfg, name, .parse = commoncfg_check_name),
	CFG_ROW(struct poolcfg, balance, "balance", CFGT_ENUM, .def = "round_robin",
		.choices = balance_methods, .help = "how servers take turns"),
	CFG_ROW(struct poolcfg, tls, "tls", CFGT_STRING, .parse = commoncfg_check_name,
		.help = "policy of `upstream_tls` by which all its servers are spoken to over TLS; "
			"left out: `default` where their addresses begin with https://, else clear "
			"text"),
	CFG_ROW(struct poolcfg, servers, "servers", CFGT_LIST, .sub = &server_schema,
		.flags = CFG_REQUIRED | CFG_NONEMPTY,
		.help = "the servers; one that is only an address may stand without a mapping"),
	CFG_ROW(struct poolcfg, protocol, "protocol", CFGT_ENUM, .def = "http/1.1",
		.choices = protocols,
		.help = "what the servers speak: h2 is HTTP/2, in clear text by prior knowledge, over TLS by ALPN"),
	CFG_ROW(struct poolcfg, streams, "streams", CFGT_INT, .def = "100", .min = 1, .max = 10000,
		.help = "requests at a time on one connection of protocol h2, if the server takes as many"),
	CFG_ROW(struct poolcfg, keepalive, "keepalive", CFGT_INT, .def = "32", .max = 65536,
		.help = "idle connections that each worker keeps; 0: none"),
	CFG_ROW(struct poolcfg, keepalive_requests, "keepalive_requests", CFGT_INT, .def = "0",
		.max = 1000000000,
		.help = "requests after which a connection is closed; 0: no limit"),
	CFG_ROW(struct poolcfg, idle_timeout_ms, "idle_timeout", CFGT_DURATION, .def = "60s",
		.min = 1, .max = 86400000, .help = "idle connections are closed after this"),
	CFG_ROW(struct poolcfg, retries, "retries", CFGT_INT, .def = "2", .max = 100,
		.help = "further tries after the first, where it is safe; 0: none"),
	CFG_SUB_ROW(
		"retry_budget", &retry_budget_schema, .help = "caps the retries of all requests"),
	CFG_ROW(struct poolcfg, check, "check", CFGT_MAP, .sub = &check_schema,
		.flags = CFG_OPTIONAL, .help = "probes; none, if left out"),
	CFG_ROW(struct poolcfg, passive, "passive", CFGT_MAP, .sub = &passive_schema,
		.help = "what failed requests say of a server"),
	CFG_NODE_ROW(struct poolcfg, node),
	CFG_END,
};

static const struct cfg_schema pool_schema = {
	.name = "pool",
	.size = sizeof(struct poolcfg),
	.rows = pool_rows,
	.check = check_pool,
};

/* --- the top level --- */

/* "state/" is "state": what is inside and above is told by the slashes. */
static void
trim_folder(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	char *dir = *(char **)field;
	size_t n = strlen(dir);

	(void)ctx;
	(void)node;
	(void)path;
	while (n > 1 && dir[n - 1] == '/')
		dir[--n] = '\0';
}

static void
check_run_dir(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const char *dir = *(char **)field;

	trim_folder(ctx, node, path, field);
	if (strlen(dir) > COMMONCFG_RUN_DIR_MAX)
		cfg_error(ctx, node, path,
			"\"%s\" has %zu bytes, expected at most %d, so that the sockets in it have "
			"paths the system takes (%d)",
			dir, strlen(dir), COMMONCFG_RUN_DIR_MAX, SOCK_PATH_MAX - 1);
}

static const char *const log_levels[] = {
	[LOG_LEVEL_DEBUG] = "debug",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_ERROR] = "error",
	NULL,
};

/* Fills struct commoncfg itself. */
static const struct cfg_row log_rows[] = {
	CFG_ROW(struct commoncfg, log_level, "level", CFGT_ENUM, .def = "info",
		.choices = log_levels,
		.help = "the least important lines that are written to standard error"),
	CFG_END,
};

static const struct cfg_schema log_schema = {
	.name = "log",
	.size = sizeof(struct commoncfg),
	.rows = log_rows,
};

static const struct cfg_row debug_rows[] = {
	CFG_ROW(struct commoncfg, debug_core, "core", CFGT_BOOL, .def = "off",
		.help = "whether a crash may leave a core and debuggers of the same user may look in: "
			"both show keys"),
	CFG_END,
};

static const struct cfg_schema debug_schema = {
	.name = "debug",
	.size = sizeof(struct commoncfg),
	.rows = debug_rows,
};

static const struct cfg_row common_rows[] = {
	CFG_ROW(struct commoncfg, run_dir, "run_dir", CFGT_PATH, .def = "run", .flags = CFG_RESTART,
		.parse = check_run_dir, .help = "folder of the sockets by which the programs meet"),
	CFG_ROW(struct commoncfg, state_dir, "state_dir", CFGT_PATH, .def = "state",
		.flags = CFG_RESTART, .parse = trim_folder,
		.help = "folder of what outlives a restart: operator decisions"),
	CFG_ROW(struct commoncfg, control_group, "control_group", CFGT_STRING,
		.flags = CFG_RESTART | CFG_NONEMPTY,
		.help = "members of this group may operate: drain, disable, weight, reload"),
	CFG_SUB_ROW("log", &log_schema, .help = "what the programs say on standard error"),
	CFG_SUB_ROW(
		"debug", &debug_schema, .help = "what helps to find faults, and costs protection"),
	CFG_ROW(struct commoncfg, shutdown_timeout_ms, "shutdown_timeout", CFGT_DURATION,
		.def = "30s", .max = 86400000,
		.help = "how long a graceful stop waits for what is in flight"),
	CFG_ROW(struct commoncfg, pools, "pools", CFGT_NAMED, .sub = &pool_schema,
		.help = "groups of servers, by name"),
	CFG_ROW(struct commoncfg, upstream_tls, "upstream_tls", CFGT_MAP, .sub = &uptlscfg_schema,
		.help = "TLS to servers: the process that makes the handshakes, and its policies"),
	CFG_END,
};

const struct cfg_schema commoncfg_schema = {
	.name = "configuration",
	.size = sizeof(struct commoncfg),
	.rows = common_rows,
};

/* The sections that programs own. */
static const char *const sections[] = { "tls", "http", "health", "up", NULL };

/* --- pools and policies --- */

static const char *
nth_policy(const void *arg, size_t i)
{
	const struct uptlscfg *c = arg;

	return i < c->policies.n ? CFG_AT(struct tlspolicycfg, c->policies, i)->name : NULL;
}

/* A Unix socket has no host that a certificate could name. */
static void
check_hosts(struct cfg_ctx *ctx, const struct poolcfg *pool, const struct tlspolicycfg *policy)
{
	char host[TLSPOLICY_HOST];

	if (!policy->verify || policy->server_name != NULL)
		return;
	for (size_t i = 0; i < pool->servers.n; i++) {
		const struct servercfg *s = CFG_AT(struct servercfg, pool->servers, i);

		if (tlspolicy_host(&s->address, host)[0] == '\0')
			cfg_error(ctx, s->node, arena_printf(ctx->arena, "pools.%s", pool->name),
				"\"%s\" has no host that its certificate could name, expected "
				"`name` in the TLS policy \"%s\"",
				s->address_text, policy->name);
	}
}

static void
bind_policy(struct cfg_ctx *ctx, const struct uptlscfg *c, struct poolcfg *pool)
{
	const struct tlspolicycfg *policy = tlspolicy_find(c, pool->tls);

	if (policy == NULL) {
		const char *meant = err_did_you_mean(pool->tls, nth_policy, c);

		cfg_error(ctx, cfg_get(pool->node, "tls"),
			arena_printf(ctx->arena, "pools.%s.tls", pool->name),
			"there is no policy \"%s\" in `upstream_tls.policies`%s%s%s", pool->tls,
			meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
		return;
	}
	pool->tls_id = tlspolicy_id(policy);
	check_hosts(ctx, pool, policy);
}

static void
warn_unverified(struct cfg_ctx *ctx, const struct tlspolicycfg *p)
{
	if (!p->verify)
		errs_add(ctx->errs, FINDING_WARNING, cfg_at(ctx->cfg, cfg_get(p->node, "verify")),
			arena_printf(ctx->arena, "upstream_tls.policies.%s.verify", p->name),
			"certificates are not checked: whoever can stand between here and the "
			"servers can read and change everything");
}

void
commoncfg_bind(struct cfg_ctx *ctx, struct commoncfg *out)
{
	cfg_bind(ctx, &commoncfg_schema, ctx->cfg->root, "", sections, out);
	for (size_t i = 0; i < out->upstream_tls.policies.n; i++)
		warn_unverified(ctx, CFG_AT(struct tlspolicycfg, out->upstream_tls.policies, i));
	for (size_t i = 0; i < out->pools.n; i++)
		if (CFG_AT(struct poolcfg, out->pools, i)->tls != NULL)
			bind_policy(ctx, &out->upstream_tls, CFG_AT(struct poolcfg, out->pools, i));
	/* The default depends on where the file stands, so that it can be too long as well. */
	if (cfg_get(ctx->cfg->root, "run_dir") == NULL)
		check_run_dir(ctx, NULL, "run_dir", &out->run_dir);
}

const struct poolcfg *
commoncfg_pool(const struct commoncfg *c, const char *name)
{
	for (size_t i = 0; i < c->pools.n; i++)
		if (strcmp(CFG_AT(struct poolcfg, c->pools, i)->name, name) == 0)
			return CFG_AT(struct poolcfg, c->pools, i);
	return NULL;
}
