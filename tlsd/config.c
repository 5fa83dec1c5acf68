/*
 * config: the schema of section `tls`, and the checks that need several keys. Driven by
 * cfgbind through daemon.c. Nothing here keeps a file open or has any other effect.
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/handoffmsg.h"
#include "libcommon/sbuf.h"
#include "tlsd/certfiles.h"
#include "tlsd/certs.h"
#include "tlsd/config.h"
#include "tlsd/config_client.h"
#include "tlsd/config_pass.h"
#include "tlsd/selfsigned.h"
#include "tlsd/sni.h"
#include "tlsd/tlsctx.h"

#define LISTEN_MAX 256

static const char *const relay_words[] = { "proxy_v2", "none", NULL };
static const char *const seam_words[] = { "relay", "handoff", NULL };
static const char *const policy_words[] = { "intermediate", "modern", NULL };
static const char *const version_words[] = { "1.2", "1.3", NULL };
static atomic_bool files_elsewhere;

static void certcfg_check(struct cfg_ctx *, const struct cfg_node *, const char *, void *);
static void listen_check(struct cfg_ctx *, const struct cfg_node *, const char *, void *);

static const struct cfg_row cert_rows[] = {
	CFG_NODE_ROW(struct certcfg, node),
	CFG_ROW(struct certcfg, cert, "cert", CFGT_PATH,
		.help = "PEM file: the certificate, then the chain up to the root"),
	CFG_ROW(struct certcfg, key, "key", CFGT_PATH,
		.help = "PEM file of the private key; left out: it stands in `cert`"),
	CFG_ROW(struct certcfg, ocsp, "ocsp", CFGT_PATH,
		.help = "file of the OCSP response to staple, DER; left out: the certificate's path "
			"and `.ocsp`, when that is there"),
	CFG_ROW(struct certcfg, dir, "dir", CFGT_PATH,
		.help = "folder of certificates: NAME.pem, NAME.crt with NAME.key, "
			"NAME/fullchain.pem with NAME/privkey.pem"),
	CFG_ROW(struct certcfg, self_signed, "self_signed", CFGT_STRING_LIST,
		.help = "names and addresses of a certificate made at the first start, for trials "
			"only"),
	CFG_END,
};

static const struct cfg_schema certcfg_schema = {
	.name = "certificate",
	.size = sizeof(struct certcfg),
	.rows = cert_rows,
	.check = certcfg_check,
};

static const struct cfg_row listen_rows[] = {
	CFG_NODE_ROW(struct tlslistencfg, node),
	CFG_ROW(struct tlslistencfg, address, "address", CFGT_ADDR, .min = 443,
		.flags = CFG_REQUIRED,
		.help = "where clients connect: \"*:443\", \"127.0.0.1:8443\", \"[::1]:443\""),
	CFG_ROW(struct tlslistencfg, to, "to", CFGT_STRING, .flags = CFG_REQUIRED | CFG_NONEMPTY,
		.help = "a listener of routerd by name, or the address of another server: "
			"\"unix:/path\", \"127.0.0.1:8080\""),
	CFG_ROW(struct tlslistencfg, relay, "relay", CFGT_ENUM, .def = "proxy_v2",
		.choices = relay_words,
		.help = "what is sent before the decrypted bytes: a PROXY v2 header, or nothing"),
	CFG_ROW(struct tlslistencfg, seam, "seam", CFGT_ENUM, .choices = seam_words,
		.help = "how a connection gets on: handed over whole to routerd after the "
			"handshake, or decrypted and relayed; left out: handoff where `to` is a "
			"listener's name, relay where it is an address"),
	CFG_ROW(struct tlslistencfg, alpn, "alpn", CFGT_STRING_LIST,
		.help = "application protocols offered, best first; left out: not negotiated"),
	CFG_ROW(struct tlslistencfg, policy, "policy", CFGT_ENUM, .def = "intermediate",
		.choices = policy_words,
		.help = "intermediate: TLS 1.2 and 1.3, forward secrecy and AEAD only; modern: TLS "
			"1.3 only"),
	CFG_ROW(struct tlslistencfg, min_version, "min_version", CFGT_ENUM,
		.choices = version_words,
		.help = "the oldest TLS version that is accepted; left out: what the policy says"),
	CFG_ROW(struct tlslistencfg, strict_sni, "strict_sni", CFGT_BOOL, .def = "off",
		.help = "refuse clients that ask for no name of a certificate here"),
	CFG_ROW(struct tlslistencfg, ciphers, "ciphers", CFGT_STRING_LIST,
		.help = "cipher suites by OpenSSL's names, best first; those of TLS 1.3 begin with "
			"TLS_; left out: AEAD suites with forward secrecy"),
	CFG_ROW(struct tlslistencfg, client_auth, "client_auth", CFGT_MAP,
		.sub = &client_auth_schema, .flags = CFG_OPTIONAL,
		.help = "ask clients for certificates; left out: they are not asked"),
	CFG_ROW(struct tlslistencfg, backlog, "backlog", CFGT_INT, .def = "4096", .min = 1,
		.max = 65535, .help = "connections that may wait to be accepted, per worker"),
	CFG_ROW(struct tlslistencfg, certificates, "certificates", CFGT_LIST,
		.sub = &certcfg_schema, .flags = CFG_REQUIRED | CFG_NONEMPTY,
		.help = "chosen by the name that the client asks for; the first one when none fits"),
	CFG_ROW(struct tlslistencfg, passthrough, "passthrough", CFGT_LIST, .sub = &passcfg_schema,
		.help = "names whose connections go to a TCP server as they come, undecrypted"),
	CFG_END,
};

static const struct cfg_schema listen_schema = {
	.name = "TLS listener",
	.size = sizeof(struct tlslistencfg),
	.rows = listen_rows,
	.check = listen_check,
};

static const struct cfg_row ticket_rows[] = {
	CFG_ROW(struct ticketcfg, enabled, "enabled", CFGT_BOOL, .def = "on",
		.help = "let clients resume sessions by tickets"),
	CFG_ROW(struct ticketcfg, shared, "shared", CFGT_BOOL, .def = "on",
		.help = "keep ticket keys in state_dir, so that all tlsd with this state_dir, also "
			"after a restart, open each other's tickets"),
	CFG_ROW(struct ticketcfg, rotate_ms, "rotate", CFGT_DURATION, .def = "12h", .min = 1000,
		.max = 7.0 * 86400 * 1000, .unit = "ms",
		.help = "a new ticket key this often; the one before is accepted for one more "
			"period"),
	CFG_END,
};

static const struct cfg_schema ticket_schema = {
	.name = "tickets",
	.size = sizeof(struct ticketcfg),
	.rows = ticket_rows,
};

static const struct cfg_row session_cache_rows[] = {
	CFG_ROW(struct sesscachecfg, size, "size", CFGT_SIZE, .def = "0", .max = 4.0 * (1 << 30),
		.help = "memory for sessions that clients resume without tickets; 0: none"),
	CFG_ROW(struct sesscachecfg, timeout_ms, "timeout", CFGT_DURATION, .def = "5m", .min = 1000,
		.max = 7.0 * 86400 * 1000, .unit = "ms",
		.help = "how long a session may be resumed from there"),
	CFG_END,
};

static const struct cfg_schema session_cache_schema = {
	.name = "session_cache",
	.size = sizeof(struct sesscachecfg),
	.rows = session_cache_rows,
};

/* Fills the section's struct. */
static const struct cfg_row acme_rows[] = {
	CFG_ROW(struct tlscfg, acme_challenges, "challenges", CFGT_PATH,
		.help = "folder where an ACME client puts certificates for tls-alpn-01 challenges: "
			"NAME.pem, or NAME.crt.pem and NAME.key.pem"),
	CFG_END,
};

static const struct cfg_schema acme_schema = {
	.name = "acme",
	.size = sizeof(struct tlscfg),
	.rows = acme_rows,
};

/* routerd looks at it, too: what it says is of connections that were handed over. */
static const char *const kernel_choices[] = { "auto", "off", NULL };

static const struct cfg_row tls_rows[] = {
	CFG_ROW(struct tlscfg, user, "user", CFGT_STRING, .flags = CFG_RESTART,
		.help = "whom tlsd becomes when started by root"),
	CFG_ROW(struct tlscfg, workers, "workers", CFGT_INT, .def = "0", .max = 256,
		.flags = CFG_RESTART,
		.help = "threads that make handshakes and relay; 0: one per core"),
	CFG_ROW(struct tlscfg, handshake_timeout_ms, "handshake_timeout", CFGT_DURATION,
		.def = "10s", .min = 100, .max = 600000, .unit = "ms",
		.help = "a handshake must be complete by then"),
	CFG_ROW(struct tlscfg, handoff_timeout_ms, "handoff_timeout", CFGT_DURATION, .def = "5s",
		.min = 100, .max = 600000, .unit = "ms",
		.help = "how long a finished handshake waits while nobody listens behind us"),
	CFG_ROW(struct tlscfg, idle_timeout_ms, "idle_timeout", CFGT_DURATION, .def = "6h",
		.min = 0, .max = 30.0 * 86400 * 1000, .unit = "ms",
		.help = "a relayed connection without a byte in either direction ends; 0: never "
			"(whom we relay to has its own, shorter timeouts)"),
	CFG_ROW(struct tlscfg, max_connections, "max_connections", CFGT_INT, .def = "0",
		.max = 10000000,
		.help = "accepting pauses here; 0: what the descriptor limit allows"),
	CFG_ROW(struct tlscfg, expiry_warning_ms, "expiry_warning", CFGT_DURATION, .def = "21d",
		.max = 3650.0 * 86400 * 1000, .unit = "ms",
		.help = "so long before a certificate expires an event says so each day; 0: never"),
	CFG_ROW(struct tlscfg, watch_ms, "watch", CFGT_DURATION, .def = "5s", .max = 86400.0 * 1000,
		.unit = "ms",
		.help = "how often certificates' files are looked at; those that have changed are "
			"served anew; 0: only at a reload"),
	CFG_ROW(struct tlscfg, kernel, "kernel", CFGT_ENUM, .def = "auto",
		.choices = kernel_choices,
		.help = "who seals large bodies to clients of routerd: auto: the kernel where its "
			"TLS can (see routerd(8)); off: routerd"),
	CFG_SUB_ROW("acme", &acme_schema, .help = "certificates by ACME: tls-alpn-01 challenges"),
	CFG_ROW(struct tlscfg, tickets, "tickets", CFGT_MAP, .sub = &ticket_schema,
		.help = "session tickets"),
	CFG_ROW(struct tlscfg, session_cache, "session_cache", CFGT_MAP,
		.sub = &session_cache_schema,
		.help = "sessions that the server remembers, as nginx's ssl_session_cache"),
	CFG_ROW(struct tlscfg, listen, "listen", CFGT_LIST, .sub = &listen_schema,
		.flags = CFG_REQUIRED | CFG_NONEMPTY, .help = "where TLS is accepted"),
	CFG_END,
};

const struct cfg_schema tlscfg_schema = {
	.name = "tls",
	.size = sizeof(struct tlscfg),
	.rows = tls_rows,
};

static struct err_at
at_key(const struct cfg_ctx *ctx, const struct cfg_node *node, const char *key)
{
	const struct cfg_node *child = cfg_get(node, key);

	return cfg_at(ctx->cfg, child != NULL ? child : node);
}

/* One error at a key of the mapping. */
static void __attribute__((format(printf, 5, 6))) bad(struct cfg_ctx *ctx,
	const struct cfg_node *node, const char *path, const char *key, const char *fmt, ...)
{
	struct sbuf where = { 0 };
	struct sbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	sbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	sbuf_addf(&where, "%s.%s", path, key);
	errs_add(ctx->errs, FINDING_ERROR, at_key(ctx, node, key), where.p, "%s", text.p);
	sbuf_fini(&where);
	sbuf_fini(&text);
}

static void
certcfg_check(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	const struct certcfg *c = obj;
	struct err_at at = cfg_at(ctx->cfg, node);

	int kinds = (c->cert != NULL) + (c->dir != NULL) + (c->self_signed.n > 0);

	if (kinds > 1)
		errs_add(ctx->errs, FINDING_ERROR, at, path,
			"has more than one of `cert`, `dir` and self_signed, expected one of them");
	else if (kinds == 0)
		errs_add(ctx->errs, FINDING_ERROR, at, path,
			"has no certificate, expected `cert` (and `key`), `dir` or `self_signed`");
	if (c->cert == NULL && (c->key != NULL || c->ocsp != NULL))
		errs_add(ctx->errs, FINDING_ERROR, at, path,
			"has `%s` without `cert`, expected both", c->key != NULL ? "key" : "ocsp");
	for (size_t i = 0; i < c->self_signed.n; i++) {
		const char *name = *CFG_AT(char *, c->self_signed, i);

		if (!selfsigned_name_ok(name))
			bad(ctx, node, path, "self_signed",
				"`%s` is neither a host name nor an address", name);
	}
}

static bool
is_plain_name(const char *s)
{
	return s[0] != '.' &&
		s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] ==
		'\0';
}

static void
check_to(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, struct tlslistencfg *l)
{
	if (strpbrk(l->to, ":/") == NULL) {
		if (!is_plain_name(l->to))
			bad(ctx, node, path, "to",
				"`%s` is no listener name, expected letters, digits, _ . or -",
				l->to);
		return;
	}
	l->is_foreign = true;
	l->to = config_absolute(ctx, l->to);
	(void)config_address(ctx, node, path, l->to, &l->to_addr);
}

static void
check_alpn(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path,
	const struct tlslistencfg *l)
{
	size_t total = 0;

	for (size_t i = 0; i < l->alpn.n; i++) {
		const char *name = *CFG_AT(char *, l->alpn, i);
		size_t n = strlen(name);

		total += n + 1;
		if (n == 0 || n > 255)
			bad(ctx, node, path, "alpn",
				"`%s` is no protocol name, expected 1 to 255 bytes", name);
		else if (!l->is_foreign && strcmp(name, "h2") != 0 &&
			strcmp(name, "http/1.1") != 0 && strcmp(name, "http/1.0") != 0)
			bad(ctx, node, path, "alpn",
				"routerd does not speak `%s`, expected h2 or http/1.1", name);
	}
	if (total > 4096)
		bad(ctx, node, path, "alpn", "too many protocols");
}

static void
check_policy(
	struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, struct tlslistencfg *l)
{
	if (l->policy != POLICY_MODERN)
		return;
	if (cfg_get(node, "min_version") != NULL && l->min_version == TLS_1_2)
		bad(ctx, node, path, "min_version",
			"1.2 contradicts policy modern, expected 1.3 or none");
	l->min_version = TLS_1_3;
	for (size_t i = 0; i < l->ciphers.n; i++) {
		const char *name = *CFG_AT(char *, l->ciphers, i);

		if (strncmp(name, "TLS_", 4) != 0)
			bad(ctx, node, path, "ciphers",
				"`%s` is of TLS 1.2, which policy modern does not speak", name);
	}
}

static void
check_ciphers(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path,
	const struct tlslistencfg *l)
{
	for (size_t i = 0; i < l->ciphers.n; i++) {
		const char *name = *CFG_AT(char *, l->ciphers, i);

		if (tlsctx_cipher_id(name) == 0)
			bad(ctx, node, path, "ciphers",
				"`%s` is no cipher suite that OpenSSL knows, expected names such as "
				"ECDHE-RSA-AES128-GCM-SHA256 or TLS_AES_128_GCM_SHA256",
				name);
	}
}

/* What cannot be handed over is relayed: slower, and a restart of tlsd ends it. */
static void
warn_relayed(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path,
	const struct tlslistencfg *l)
{
	char where[96];

	snprintf(where, sizeof(where), "%s.ciphers", path);
	for (size_t i = 0; i < l->ciphers.n; i++) {
		const char *name = *CFG_AT(char *, l->ciphers, i);
		uint16_t id = tlsctx_cipher_id(name);

		if (id != 0 && handoff_suite_find(id) == NULL)
			errs_add(ctx->errs, FINDING_WARNING, at_key(ctx, node, "ciphers"), where,
				"connections with `%s` cannot be handed over and are relayed: only "
				"TLS 1.3, and ECDHE with AES-GCM or ChaCha20-Poly1305 in TLS 1.2, "
				"can",
				name);
	}
}

static void
check_seam(
	struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, struct tlslistencfg *l)
{
	if (cfg_get(node, "seam") == NULL)
		l->seam = l->is_foreign ? SEAM_RELAY : SEAM_HANDOFF;
	else if (l->is_foreign && l->seam == SEAM_HANDOFF)
		bad(ctx, node, path, "seam",
			"handoff, but only routerd takes connections over, expected relay");
	if (l->seam == SEAM_HANDOFF)
		warn_relayed(ctx, node, path, l);
}

static void
listen_check(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct tlslistencfg *l = obj;
	char text[ADDR_TEXT];

	if (l->address.kind == ADDR_NAME) {
		bad(ctx, node, path, "address", "`%s` is a host name, expected an address or `*`",
			l->address.name);
		return;
	}
	addr_format(&l->address.addr.sa, l->address.addr.len, text);
	l->address_text = l->address.is_any ? arena_printf(ctx->arena, "*:%u", l->address.port)
					    : arena_strdup(ctx->arena, text);
	if (l->to != NULL && l->to[0] != '\0') {
		check_to(ctx, node, path, l);
		check_alpn(ctx, node, path, l);
	}
	check_ciphers(ctx, node, path, l);
	check_policy(ctx, node, path, l);
	check_seam(ctx, node, path, l);
	config_pass_names(ctx, path, l);
	if (!l->is_foreign && l->relay == RELAY_NONE)
		bad(ctx, node, path, "relay", "none, but routerd's listeners expect proxy_v2");
}

static void
check_duplicates(struct cfg_ctx *ctx, const struct tlscfg *t)
{
	for (size_t i = 0; i < t->listen.n; i++)
		for (size_t j = 0; j < i; j++) {
			const struct tlslistencfg *a = CFG_AT(struct tlslistencfg, t->listen, j);
			const struct tlslistencfg *b = CFG_AT(struct tlslistencfg, t->listen, i);
			char path[64];

			if (a->address_text == NULL || b->address_text == NULL ||
				strcmp(a->address_text, b->address_text) != 0 ||
				(b->address.kind == ADDR_IP && b->address.port == 0))
				continue;
			snprintf(path, sizeof(path), "tls.listen[%zu].address", i);
			errs_add(ctx->errs, FINDING_ERROR, at_key(ctx, b->node, "address"), path,
				"%s is used twice, the first time in line %u", b->address_text,
				a->node->line);
		}
}

static void
check_pair(struct cfg_ctx *ctx, const struct certfile *f, const char *path)
{
	struct err_at at = cfg_at(ctx->cfg, f->cfg->node);
	struct pem_error e;
	struct cert *cert = cert_load(f->cert, f->key, NULL, NULL, &e);

	if (cert == NULL && e.no == EACCES && geteuid() != 0) {
		errs_add(ctx->errs, FINDING_WARNING, at, path, "not checked: %s", e.err.text);
	} else if (cert == NULL) {
		errs_add(ctx->errs, FINDING_ERROR, at, path, "%s", e.err.text);
	} else {
		cert_load_staple(cert, f->ocsp);
		cert_warn(cert, at, path, ctx->errs);
	}
	cert_unref(cert);
}

/* Self-signed ones are made at the start; there is nothing to check before. */
static void
check_files(struct cfg_ctx *ctx, const struct certcfg *c, const char *path)
{
	struct certfiles all = { .n = 0 };
	struct err err;

	if (certfiles_add(&all, c, &err) < 0) {
		bool is_secret = geteuid() != 0 && access(c->dir, R_OK) < 0 && errno == EACCES;

		errs_add(ctx->errs, is_secret ? FINDING_WARNING : FINDING_ERROR,
			cfg_at(ctx->cfg, c->node), path, "%s%s", is_secret ? "not checked: " : "",
			err.text);
	}
	for (size_t i = 0; i < all.n; i++)
		check_pair(ctx, &all.v[i], path);
	certfiles_fini(&all);
}

/* Where routerd's instances will be looked for must be a path that a Unix socket can have. */
static void
check_folders(struct cfg_ctx *ctx, const struct tlscfg *t, const char *run_dir)
{
	for (size_t i = 0; i < t->listen.n; i++) {
		const struct tlslistencfg *l = CFG_AT(struct tlslistencfg, t->listen, i);
		char path[64];

		if (l->is_foreign || l->to == NULL ||
			strlen(run_dir) + strlen(l->to) + sizeof("//0.handoff") <= SOCK_PATH_MAX)
			continue;
		snprintf(path, sizeof(path), "tls.listen[%zu]", i);
		bad(ctx, l->node, path, "to",
			"%s/%s/0.sock is too long for a socket's path, expected %d bytes at most",
			run_dir, l->to, SOCK_PATH_MAX - 1);
	}
}

/* An ACME client may make it later; a name that is spelled wrong should not be found out then. */
static void
check_challenges(struct cfg_ctx *ctx, const char *dir)
{
	const struct cfg_node *acme = cfg_get(cfg_get(ctx->cfg->root, "tls"), "acme");
	struct stat st;

	if (dir != NULL && (stat(dir, &st) < 0 ? errno == ENOENT : !S_ISDIR(st.st_mode)))
		errs_add(ctx->errs, FINDING_WARNING, at_key(ctx, acme, "challenges"),
			"tls.acme.challenges", "%s: there is no such folder", dir);
}

void
config_check(struct cfg_ctx *ctx, struct daemon_cfg *dc)
{
	const struct tlscfg *t = dc->own;

	check_duplicates(ctx, t);
	config_pass_circles(ctx, t);
	check_challenges(ctx, t->acme_challenges);
	check_folders(ctx, t, dc->common.run_dir);
	if (t->listen.n > LISTEN_MAX)
		errs_add(ctx->errs, FINDING_ERROR, (struct err_at){ .file = ctx->cfg->file },
			"tls.listen", "%zu listeners, expected at most %d", t->listen.n,
			LISTEN_MAX);
	if (atomic_load(&files_elsewhere))
		return;
	for (size_t i = 0; i < t->listen.n; i++) {
		const struct tlslistencfg *l = CFG_AT(struct tlslistencfg, t->listen, i);
		char path[96];

		snprintf(path, sizeof(path), "tls.listen[%zu].client_auth", i);
		if (l->client_auth.node != NULL &&
			(l->client_auth.ca != NULL || l->client_auth.crl != NULL))
			config_check_client_auth(ctx, &l->client_auth, path);
		for (size_t j = 0; j < l->certificates.n; j++) {
			snprintf(path, sizeof(path), "tls.listen[%zu].certificates[%zu]", i, j);
			check_files(ctx, CFG_AT(struct certcfg, l->certificates, j), path);
		}
	}
}

void
config_files_checked_elsewhere(void)
{
	atomic_store(&files_elsewhere, true);
}

const char *
config_user(const struct daemon_cfg *dc)
{
	const struct tlscfg *t = dc->own;

	return t->user;
}
