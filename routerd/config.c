/*
 * config: the schema of the `http` section: listeners, timeouts, limits, the log; and what can be
 * said of one of them alone. Hosts and routes are in config_host.c; what needs the whole
 * configuration is in config_check.c. Driven by cfg_bind; has no effects besides findings.
 */
#include "routerd/config.h"

#include "libcommon/http1.h"
#include "routerd/config_parts.h"
#include "routerd/header_rules.h"
#include "routerd/logformat.h"

const struct cfg_node *
config_place(const struct cfg_node *map, const char *key)
{
	const struct cfg_node *n = map ? cfg_get(map, key) : NULL;

	return n ? n : map;
}

const char *
config_path(struct cfg_ctx *ctx, const char *path, const char *key)
{
	return arena_printf(ctx->arena, "%s.%s", path, key);
}

void
config_parse_scheme(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const char *s = *(char **)field;

	if (strcmp(s, "http") != 0 && strcmp(s, "https") != 0)
		cfg_error(ctx, node, path, "unknown scheme \"%s\", expected http or https", s);
}

/* --- listeners --------------------------------------------------------------------------------
 */

/* It becomes the name of a folder in run_dir. */
static bool
is_word(const char *s, size_t max)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++) {
		char c = ascii_lower(s[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return n > 0 && n <= max;
}

static void
parse_listen_name(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const char *s = *(char **)field;

	if (!is_word(s, 32))
		cfg_error(ctx, node, path,
			"\"%s\" cannot be a name, expected up to 32 letters, digits, '-' and '_'",
			s);
	else if (strcmp(s, "bus") == 0)
		cfg_error(ctx, node, path,
			"\"bus\" is taken by the bus's folder in run_dir, expected another name");
}

static void
check_listen(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct listencfg *l = obj;
	const struct cfg_node *address = cfg_get(node, "address");
	const struct cfg_node *from = cfg_get(node, "from");

	l->from = from ? LISTEN_TLSD : LISTEN_ADDRESS;
	if (address && address->kind == CFG_SCALAR)
		l->address_text = arena_strndup(ctx->arena, address->text.p, address->text.n);
	if (!address && !from)
		cfg_error(ctx, node, path, "no place to listen, expected address or from: tlsd");
	if (address && from)
		cfg_error(ctx, from, path, "both address and from, expected one of them");
	if (from && cfg_get(node, "h2c"))
		cfg_error(ctx, config_place(node, "h2c"), config_path(ctx, path, "h2c"),
			"over TLS, ALPN decides (tls.listen[].alpn), expected no h2c here");
	if (from && l->accept_proxy.n)
		cfg_error(ctx, config_place(node, "accept_proxy"),
			config_path(ctx, path, "accept_proxy"),
			"tlsd always says who the client is, expected no accept_proxy here");
	if (address && l->address.kind == ADDR_NAME)
		cfg_error(ctx, address, config_path(ctx, path, "address"),
			"\"%s\" is a name, expected an IP address, *:PORT or unix:PATH",
			l->address_text);
}

const char *
config_listen_scheme(const struct listencfg *l)
{
	if (l->scheme)
		return l->scheme;
	return l->from == LISTEN_TLSD ? "https" : "http";
}

static const char *const from_choices[] = { "tlsd", NULL };

static const struct cfg_row listen_rows[] = {
	CFG_NODE_ROW(struct listencfg, node),
	CFG_ROW(struct listencfg, name, "name", CFGT_STRING, .parse = parse_listen_name,
		.flags = CFG_REQUIRED | CFG_NONEMPTY,
		.help = "what hosts, logs and status call this listener"),
	CFG_ROW(struct listencfg, address, "address", CFGT_ADDR,
		.help = "where to listen: IP:PORT, *:PORT or unix:PATH"),
	CFG_ROW(struct listencfg, from, "from", CFGT_ENUM, .choices = from_choices,
		.help = "tlsd: connections come through run_dir/NAME/INSTANCE.sock"),
	CFG_ROW(struct listencfg, scheme, "scheme", CFGT_STRING, .parse = config_parse_scheme,
		.help = "http or https: what clients speak when no PROXY header tells"),
	CFG_ROW(struct listencfg, accept_proxy, "accept_proxy", CFGT_NET_LIST,
		.help = "peers that must send a PROXY v1 or v2 header first; others may not"),
	CFG_ROW(struct listencfg, h2c, "h2c", CFGT_BOOL, .def = "on",
		.help = "take HTTP/2 from clients that begin with it; over TLS, ALPN decides"),
	CFG_ROW(struct listencfg, backlog, "backlog", CFGT_INT, .def = "4096", .min = 1,
		.max = 65535, .flags = CFG_RESTART,
		.help = "connections that may wait to be accepted, per worker"),
	CFG_END,
};

static const struct cfg_schema listen_schema = {
	.name = "listener",
	.size = sizeof(struct listencfg),
	.rows = listen_rows,
	.check = check_listen,
};

/* --- timeouts, log, what is passed on, limits --------------------------------------------------
 */

static const struct cfg_row timeout_rows[] = {
	TIMEOUT_ROW(head, "10s", "for a whole request head, from its first byte or from accept"),
	TIMEOUT_ROW(body, "60s", TIMEOUT_BODY),
	TIMEOUT_ROW(connect, "5s", TIMEOUT_CONNECT),
	TIMEOUT_ROW(tls, "5s", TIMEOUT_TLS),
	TIMEOUT_ROW(send, "60s", TIMEOUT_SEND),
	TIMEOUT_ROW(response, "60s", TIMEOUT_RESPONSE),
	TIMEOUT_ROW(read, "60s", TIMEOUT_READ),
	TIMEOUT_ROW(keepalive, "75s", "of a client connection between two requests"),
	TIMEOUT_ROW(tunnel, "1h", TIMEOUT_TUNNEL),
	CFG_END,
};

static const struct cfg_schema timeout_schema = {
	.name = "timeouts",
	.size = sizeof(struct timeoutcfg),
	.rows = timeout_rows,
};

/* "-" is stdout, not a file beside the configuration. */
static void
parse_log_path(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	(void)path;
	if (slice_eq(node->text, SLICE("-")))
		*(char **)field = arena_strdup(ctx->arena, "-");
}

static void
check_access_log(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	logformat_check(ctx, node, path, obj);
}

/* These three fill the struct around them. */
static const struct cfg_row access_log_rows[] = {
	CFG_ROW(struct httpcfg, access_log.path, "path", CFGT_PATH, .parse = parse_log_path,
		.help = "file, or - for stdout; no log when left out"),
	CFG_ROW(struct httpcfg, access_log.format, "format", CFGT_STRING, .def = "combined",
		.flags = CFG_VARS,
		.help = "a line: combined, json, fields (JSON of these alone), or a text with "
			"variables"),
	CFG_ROW(struct httpcfg, access_log.fields, "fields", CFGT_PAIRS, .flags = CFG_VARS,
		.help = "members of JSON lines: names, and texts with variables"),
	CFG_ROW(struct httpcfg, access_log.buffer, "buffer", CFGT_SIZE, .def = "1m",
		.min = 128 << 10, .max = 1 << 30, .flags = CFG_RESTART,
		.help = "lines waiting to be written, per worker; more are dropped and counted"),
	CFG_END,
};

static const struct cfg_schema access_log_schema = {
	.name = "access_log",
	.size = sizeof(struct httpcfg),
	.rows = access_log_rows,
	.check = check_access_log,
};

/* A field's name that means nothing else to us; "" switches it off. */
static void
parse_field_name(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	struct slice name = slice_str(*(char **)field);

	if (name.n == 0)
		return;
	if (name.n > 64 || !http1_is_token(name))
		cfg_error(ctx, node, path, "\"%.*s\" is no field's name", SLICE_ARG(name));
	else if (field_id_of(name) != FIELD_OTHER)
		cfg_error(ctx, node, path, "%.*s has a meaning of its own, expected another name",
			SLICE_ARG(name));
}

static void
check_client_cert(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct clientcertcfg *c = obj;

	if (c->cert == NULL)
		c->cert = arena_strdup(ctx->arena, "");

	const char *names[] = { c->verify, c->subject, c->issuer, c->serial, c->fingerprint, c->san,
		c->not_before, c->not_after, c->cert, c->rfc9440 ? "Client-Cert" : "" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		for (size_t j = 0; j < i; j++)
			if (names[i][0] != '\0' &&
				slice_caseeq(slice_str(names[i]), slice_str(names[j])))
				cfg_error(ctx, node, path, "two facts are called %s", names[i]);
}

#define NAME_ROW(key_, def_, what)                                           \
	CFG_ROW(struct clientcertcfg, key_, #key_, CFGT_STRING, .def = def_, \
		.parse = parse_field_name, .help = "field with " what "; empty: not sent")

static const struct cfg_row client_cert_rows[] = {
	CFG_NODE_ROW(struct clientcertcfg, node),
	NAME_ROW(verify, "X-SSL-Client-Verify", "SUCCESS, FAILED:why or NONE"),
	NAME_ROW(subject, "X-SSL-Client-S-DN", "the subject, as RFC 4514 writes it"),
	NAME_ROW(issuer, "X-SSL-Client-I-DN", "the issuer, as RFC 4514 writes it"),
	NAME_ROW(serial, "X-SSL-Client-Serial", "the serial number, hex"),
	NAME_ROW(fingerprint, "X-SSL-Client-SHA256", "the certificate's SHA-256, hex"),
	NAME_ROW(san, "X-SSL-Client-SAN", "the alternative names, DNS:name,IP:address"),
	NAME_ROW(not_before, "X-SSL-Client-NotBefore", "when it begins to be valid"),
	NAME_ROW(not_after, "X-SSL-Client-NotAfter", "when it ends to be valid"),
	NAME_ROW(cert, NULL, "the certificate, PEM, percent-encoded"),
	CFG_ROW(struct clientcertcfg, rfc9440, "rfc9440", CFGT_BOOL, .def = "off",
		.help = "send Client-Cert (RFC 9440) for certificates that were verified"),
	CFG_END,
};

static const struct cfg_schema client_cert_schema = {
	.name = "client_cert",
	.size = sizeof(struct clientcertcfg),
	.rows = client_cert_rows,
	.check = check_client_cert,
};

static const struct cfg_row acme_rows[] = {
	CFG_ROW(struct httpcfg, acme_tokens, "tokens", CFGT_PATH,
		.help = "folder where an ACME client puts answers to http-01 challenges, a file "
			"a token"),
	CFG_END,
};

static const struct cfg_schema acme_schema = {
	.name = "acme",
	.size = sizeof(struct httpcfg),
	.rows = acme_rows,
};

static const struct cfg_row forward_rows[] = {
	CFG_ROW(struct httpcfg, forward.x_forwarded, "x_forwarded", CFGT_BOOL, .def = "on",
		.help = "send X-Forwarded-For, -Proto and -Host to servers"),
	CFG_ROW(struct httpcfg, forward.x_real_ip, "x_real_ip", CFGT_BOOL, .def = "on",
		.help = "send X-Real-IP, the client's address, to servers"),
	CFG_ROW(struct httpcfg, forward.forwarded, "forwarded", CFGT_BOOL, .def = "off",
		.help = "send Forwarded (RFC 7239) to servers"),
	CFG_ROW(struct httpcfg, forward.via, "via", CFGT_BOOL, .def = "off",
		.help = "add Via in both directions; many servers then stop compressing"),
	CFG_ROW(struct httpcfg, forward.client_cert, "client_cert", CFGT_MAP,
		.sub = &client_cert_schema, .flags = CFG_OPTIONAL,
		.help = "tell servers of clients' certificates, and drop what clients claim of "
			"them; left out: neither"),
	CFG_END,
};

static const struct cfg_schema forward_schema = {
	.name = "forward",
	.size = sizeof(struct httpcfg),
	.rows = forward_rows,
};

/* A head is read and written in one buffer of at most 256 kB. A trusted proxy's lists may stand in
 * a request's twice, as they came and with us; rules come on top, and what is told of a
 * certificate. */
#define HEAD_MAX          (72 << 10)
#define RESPONSE_HEAD_MAX (180 << 10)
#define CERT_MAX          (36 << 10)

_Static_assert(2 * HEAD_MAX + CERT_MAX + HEADER_RULES_BYTES <= 248 << 10, "fits in a buffer");
_Static_assert(RESPONSE_HEAD_MAX + HEADER_RULES_BYTES <= 248 << 10, "fits in a buffer");

static const struct cfg_row limit_rows[] = {
	CFG_ROW(struct httpcfg, limits.head, "head", CFGT_SIZE, .def = "32k", .min = 1024,
		.max = HEAD_MAX, .help = "a whole request head"),
	CFG_ROW(struct httpcfg, limits.request_line, "request_line", CFGT_SIZE, .def = "8k",
		.min = 128, .max = HEAD_MAX, .help = "the request line; at most what head allows"),
	CFG_ROW(struct httpcfg, limits.fields, "fields", CFGT_INT, .def = "128", .min = 8,
		.max = 240, .help = "fields of a head"),
	CFG_ROW(struct httpcfg, limits.body, "body", CFGT_SIZE, .def = "100m",
		.help = "a request body; 0: no limit"),
	CFG_ROW(struct httpcfg, limits.response_head, "response_head", CFGT_SIZE, .def = "64k",
		.min = 1024, .max = RESPONSE_HEAD_MAX, .help = "a whole response head"),
	CFG_ROW(struct httpcfg, limits.connections, "connections", CFGT_INT, .def = "0", .max = 1e7,
		.help = "client connections of the process; 0: as many as descriptors allow"),
	CFG_ROW(struct httpcfg, limits.h2_streams, "h2_streams", CFGT_INT, .def = "128", .min = 1,
		.max = 1000, .help = "requests in progress on one HTTP/2 connection"),
	CFG_ROW(struct httpcfg, limits.h2_resets, "h2_resets", CFGT_INT, .def = "200", .min = 1,
		.max = 1e6,
		.help = "HTTP/2 streams that a client may cancel, or make us reset, within 10 s"),
	CFG_ROW(struct httpcfg, limits.h2_frames, "h2_frames", CFGT_INT, .def = "2000", .min = 100,
		.max = 1e7,
		.help = "HTTP/2 frames that bring nothing, such as PING, within 10 s; what requests "
			"and bodies need comes on top"),
	CFG_ROW(struct httpcfg, limits.buffered, "buffered", CFGT_SIZE, .def = "512m",
		.min = 1 << 20, .max = 1ULL << 40,
		.help = "memory for what was read and is not yet sent, per worker; from half of it "
			"on less is read ahead, beyond it those who take nothing are cut off"),
	CFG_ROW(struct httpcfg, limits.h2_body_memory, "h2_body_memory", CFGT_SIZE, .def = "64m",
		.min = 1 << 20, .max = 1ULL << 40,
		.help = "memory for bodies of HTTP/2 requests that wait for their servers, per "
			"worker"),
	CFG_ROW(struct httpcfg, limits.body_rate, "body_rate", CFGT_SIZE, .def = "64",
		.help = "bytes per second that a request body must reach on average, looked at "
			"from its 10th second on; 0: any"),
	CFG_END,
};

static const struct cfg_schema limit_schema = {
	.name = "limits",
	.size = sizeof(struct httpcfg),
	.rows = limit_rows,
};

/* --- the section ------------------------------------------------------------------------------
 */

static void
check_http(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct httpcfg *http = obj;
	const struct cfg_node *limits = config_place(node, "limits");

	if (http->listen.n > CONFIG_LISTENERS_MAX)
		cfg_error(ctx, config_place(node, "listen"), config_path(ctx, path, "listen"),
			"%zu listeners, expected at most %d", http->listen.n, CONFIG_LISTENERS_MAX);
	if (http->limits.request_line > http->limits.head)
		cfg_error(ctx, config_place(limits, "request_line"),
			config_path(ctx, path, "limits.request_line"),
			"a request line is part of its head, expected at most limits.head (%llu)",
			(unsigned long long)http->limits.head);
}

static const struct cfg_row http_rows[] = {
	CFG_ROW(struct httpcfg, user, "user", CFGT_STRING, .flags = CFG_RESTART | CFG_NONEMPTY,
		.help = "who routerd becomes when it is started as root"),
	CFG_ROW(struct httpcfg, workers, "workers", CFGT_INT, .def = "0", .max = 256,
		.flags = CFG_RESTART, .help = "threads that serve; 0: one per core"),
	CFG_ROW(struct httpcfg, listen, "listen", CFGT_LIST, .sub = &listen_schema,
		.flags = CFG_REQUIRED | CFG_NONEMPTY, .help = "where connections come from"),
	CFG_SUB_ROW("access_log", &access_log_schema, .help = "one line per request"),
	CFG_SUB_ROW("acme", &acme_schema, .help = "certificates by ACME: http-01 challenges"),
	CFG_ROW(struct httpcfg, trusted_proxies, "trusted_proxies", CFGT_NET_LIST,
		.help = "peers whose X-Forwarded-* and Forwarded are believed"),
	CFG_ROW(struct httpcfg, timeouts, "timeouts", CFGT_MAP, .sub = &timeout_schema,
		.help = "how long what may take"),
	CFG_SUB_ROW("forward", &forward_schema, .help = "what servers are told of the client"),
	CFG_ROW(struct httpcfg, headers, "headers", CFGT_MAP, .sub = &headerscfg_schema,
		.help = "what is done with fields, of all hosts"),
	CFG_SUB_ROW("limits", &limit_schema, .help = "how much clients and servers may send"),
	CFG_ROW(struct httpcfg, hosts, "hosts", CFGT_LIST, .sub = &hostcfg_schema,
		.flags = CFG_REQUIRED | CFG_NONEMPTY, .help = "which names are answered, and how"),
	CFG_END,
};

const struct cfg_schema httpcfg_schema = {
	.name = "http",
	.size = sizeof(struct httpcfg),
	.rows = http_rows,
	.check = check_http,
};
