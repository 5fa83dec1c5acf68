/*
 * tlspolicy: the table of section `upstream_tls`, and what policies are compared by.
 */
#include "libcommon/tlspolicy.h"

#include <stdio.h>
#include <string.h>

#include "libcommon/poolcfg.h"

static const char *const version_words[] = {
	[TLSPOLICY_1_2] = "1.2",
	[TLSPOLICY_1_3] = "1.3",
	NULL,
};

static bool
is_host(const char *s)
{
	struct addr_spec spec;

	return addr_parse(slice_str(s), 443, &spec, NULL) == 0 && spec.kind == ADDR_NAME &&
		strchr(s, ':') == NULL;
}

static void
check_server_name(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const char *s = *(char **)field;

	if (!addr_is_ip(s) && !is_host(s))
		cfg_error(ctx, node, path,
			"\"%s\" is neither a host name nor an address, expected one such as "
			"\"app.example\", without a port",
			s);
}

static void
check_sni(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field)
{
	const char *sni = *(char **)field;

	if (strcmp(sni, "on") != 0 && strcmp(sni, "off") != 0 && !is_host(sni))
		cfg_error(ctx, node, path, "\"%s\" is no host name, expected on, off or one", sni);
}

static void
check_policy(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	const struct tlspolicycfg *p = obj;

	if (p->key != NULL && p->cert == NULL)
		cfg_error(ctx, cfg_get(node, "key"), path, "`key` without `cert`, expected both");
	if (p->verify)
		return;
	if (p->ca != NULL || p->crl != NULL || p->server_name != NULL)
		cfg_error(ctx, cfg_get(node, "verify"), path,
			"verify is off, but there is `%s`, which is for verifying: expected one of "
			"both",
			p->ca != NULL            ? "ca"
				: p->crl != NULL ? "crl"
						 : "name");
}

static const struct cfg_row policy_rows[] = {
	CFG_KEY_ROW(struct tlspolicycfg, name, .parse = commoncfg_check_name),
	CFG_ROW(struct tlspolicycfg, verify, "verify", CFGT_BOOL, .def = "on",
		.help = "check the server's certificate; off: anyone may answer in its place"),
	CFG_ROW(struct tlspolicycfg, ca, "ca", CFGT_PATH,
		.help = "PEM file of the authorities that are trusted; the system's, if left out"),
	CFG_ROW(struct tlspolicycfg, crl, "crl", CFGT_PATH,
		.help = "PEM file of the authorities' revocation lists; none are asked, if left out"),
	CFG_ROW(struct tlspolicycfg, server_name, "name", CFGT_STRING, .flags = CFG_NONEMPTY,
		.parse = check_server_name,
		.help = "whom certificates must name; the server's host, if left out"),
	CFG_ROW(struct tlspolicycfg, sni, "sni", CFGT_STRING, .def = "on", .flags = CFG_NONEMPTY,
		.parse = check_sni,
		.help = "the name that the server is asked for: on (name, or the server's host), "
			"off, or another"),
	CFG_ROW(struct tlspolicycfg, min_version, "min_version", CFGT_ENUM, .def = "1.2",
		.choices = version_words, .help = "the oldest TLS version that is spoken"),
	CFG_ROW(struct tlspolicycfg, ciphers, "ciphers", CFGT_STRING_LIST,
		.help = "cipher suites by OpenSSL's names, best first; AEAD suites with forward "
			"secrecy, if left out"),
	CFG_ROW(struct tlspolicycfg, cert, "cert", CFGT_PATH,
		.help = "PEM file of our own certificate and its chain, for servers that ask"),
	CFG_ROW(struct tlspolicycfg, key, "key", CFGT_PATH,
		.help = "PEM file of its private key; left out: it stands in `cert`"),
	CFG_NODE_ROW(struct tlspolicycfg, node),
	CFG_END,
};

static const struct cfg_schema policy_schema = {
	.name = "TLS policy",
	.size = sizeof(struct tlspolicycfg),
	.rows = policy_rows,
	.check = check_policy,
};

static const struct cfg_row uptls_rows[] = {
	CFG_ROW(struct uptlscfg, user, "user", CFGT_STRING, .flags = CFG_RESTART | CFG_NONEMPTY,
		.help = "whom tlsd in the role connect becomes when started by root"),
	CFG_ROW(struct uptlscfg, askers, "askers", CFGT_STRING_LIST,
		.help = "users whose processes may ask for handshakes, besides its own and root; "
			"those of `http` and `health`, if left out"),
	CFG_ROW(struct uptlscfg, handshake_timeout_ms, "handshake_timeout", CFGT_DURATION,
		.def = "30s", .min = 100, .max = 600000,
		.help = "handshakes are given up after this, whatever the asker allows"),
	CFG_ROW(struct uptlscfg, watch_ms, "watch", CFGT_DURATION, .def = "5s", .max = 86400000,
		.help = "how often the policies' files are looked at; changed ones are used from "
			"then on; 0: only at a reload"),
	CFG_ROW(struct uptlscfg, expiry_warning_ms, "expiry_warning", CFGT_DURATION, .def = "21d",
		.max = 3650.0 * 86400 * 1000,
		.help = "so long before a policy's certificate expires an event says so each day; "
			"0: never"),
	CFG_ROW(struct uptlscfg, policies, "policies", CFGT_NAMED, .sub = &policy_schema,
		.help = "how servers are spoken to over TLS, by name; `default` is there without "
			"being written"),
	CFG_NODE_ROW(struct uptlscfg, node),
	CFG_END,
};

const struct cfg_schema uptlscfg_schema = {
	.name = "upstream_tls",
	.size = sizeof(struct uptlscfg),
	.rows = uptls_rows,
};

const struct tlspolicycfg *
tlspolicy_find(const struct uptlscfg *c, const char *name)
{
	static char default_name[] = TLSPOLICY_DEFAULT;
	static char on[] = "on";
	static const struct tlspolicycfg unwritten = {
		.name = default_name,
		.verify = true,
		.sni = on,
	};

	for (size_t i = 0; i < c->policies.n; i++)
		if (strcmp(CFG_AT(struct tlspolicycfg, c->policies, i)->name, name) == 0)
			return CFG_AT(struct tlspolicycfg, c->policies, i);
	return strcmp(name, TLSPOLICY_DEFAULT) == 0 ? &unwritten : NULL;
}

/* FNV-1a; the NUL is mixed in, so that texts do not run into each other. */
static uint64_t
mix(uint64_t h, const char *s)
{
	do {
		h ^= s != NULL ? (unsigned char)*s : 0xff;
		h *= UINT64_C(0x100000001b3);
	} while (s != NULL && *s++ != '\0');
	return h;
}

uint64_t
tlspolicy_id(const struct tlspolicycfg *p)
{
	const char *const texts[] = { p->name, p->ca, p->crl, p->server_name, p->sni, p->cert,
		p->key, version_words[p->min_version], p->verify ? "on" : "off" };
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		h = mix(h, texts[i]);
	for (size_t i = 0; i < p->ciphers.n; i++)
		h = mix(h, *CFG_AT(char *, p->ciphers, i));
	return h != 0 ? h : 1;
}

const char *
tlspolicy_host(const struct addr_spec *server, char out[static TLSPOLICY_HOST])
{
	char text[ADDR_TEXT];

	out[0] = '\0';
	if (server->kind == ADDR_NAME)
		snprintf(out, TLSPOLICY_HOST, "%s", server->name);
	else if (server->kind == ADDR_IP)
		snprintf(out, TLSPOLICY_HOST, "%s", addr_format_host(&server->addr.sa, text));
	return out;
}
