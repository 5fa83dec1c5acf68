/*
 * config: the `tls` section as structs: what the schema binds. Nothing here is opened or loaded;
 * site.c does that.
 */
#ifndef TLSD_CONFIG_H
#define TLSD_CONFIG_H

#include "libcommon/daemon.h"

enum relay_kind { RELAY_PROXY_V2, RELAY_NONE };
enum pass_proxy { PASS_PROXY_NONE, PASS_PROXY_V2 };
enum seam { SEAM_RELAY, SEAM_HANDOFF };
enum tls_version { TLS_1_2, TLS_1_3 };
enum tls_policy { POLICY_INTERMEDIATE, POLICY_MODERN };

struct certcfg {
	const struct cfg_node *node;
	char *cert; /* PEM: the certificate, then its chain; NULL for a self-signed one */
	char *key;  /* PEM; NULL: in the same file */
	char *ocsp; /* DER; NULL: CERT.ocsp, when it is there */
	char *dir;  /* a folder of certificates, see certfiles.h */
	struct cfg_list self_signed; /* char *: names and addresses; made at the first start */
};

/* Names whose connections go to a server untouched. */
struct passcfg {
	const struct cfg_node *node;
	struct cfg_list names; /* char *: host names, "*.example.com" */
	struct cfg_list to;    /* char *: addresses */
	struct addr *to_addrs; /* as many */
	char *to_text;         /* for the log */
	int proxy;
	int64_t connect_timeout_ms;
	int64_t idle_timeout_ms;
};

enum client_auth_mode { CLIENT_AUTH_REQUIRE, CLIENT_AUTH_OPTIONAL, CLIENT_AUTH_OPTIONAL_NO_CA };

struct clientauthcfg {
	const struct cfg_node *node; /* NULL: clients are not asked for certificates */
	int mode;
	char *ca;  /* PEM; NULL only with optional_no_ca */
	char *crl; /* PEM; NULL: revocation is not looked at */
	int64_t depth;
};

struct tlslistencfg {
	const struct cfg_node *node;
	struct addr_spec address;
	char *address_text; /* as addr_format writes it, or "*:443" */
	char *to;           /* a listener of routerd, or an address */
	bool is_foreign;    /* `to` is the address to_addr; else run_dir/TO/<instance>.sock */
	struct addr to_addr;
	int relay;
	int seam;
	struct cfg_list alpn; /* char *, best first; empty: not negotiated */
	int policy;
	int min_version; /* what the policy says is in it */
	bool strict_sni;
	struct cfg_list ciphers;      /* char *: OpenSSL's names; empty: ours */
	struct cfg_list certificates; /* struct certcfg */
	struct cfg_list passthrough;  /* struct passcfg */
	struct clientauthcfg client_auth;
	int64_t backlog;
};

struct ticketcfg {
	bool enabled;
	bool shared;
	int64_t rotate_ms;
};

struct sesscachecfg {
	uint64_t size; /* bytes; 0: off */
	int64_t timeout_ms;
};

struct tlscfg {
	char *user;
	int64_t workers; /* 0: one per core */
	int64_t handshake_timeout_ms;
	int64_t handoff_timeout_ms;
	int64_t idle_timeout_ms;
	int64_t max_connections; /* 0: from the descriptor limit */
	int64_t expiry_warning_ms;
	int kernel;            /* checked here, read by routerd */
	int64_t watch_ms;      /* 0: not watched */
	char *acme_challenges; /* NULL: none are answered */
	struct ticketcfg tickets;
	struct sesscachecfg session_cache;
	struct cfg_list listen; /* struct tlslistencfg */
};

extern const struct cfg_schema tlscfg_schema;
/* What needs the whole section: addresses used twice, certificates that can be read and belong to
 * their keys (file contents; no effects). */
void config_check(struct cfg_ctx *ctx, struct daemon_cfg *dc);
/* From when a process runs, config_check leaves files alone: a reload loads them for real, with
 * descriptors that only it has. */
void config_files_checked_elsewhere(void);
const char *config_user(const struct daemon_cfg *dc);

#endif
