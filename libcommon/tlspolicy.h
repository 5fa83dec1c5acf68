/*
 * tlspolicy: section `upstream_tls` of the configuration: how servers are spoken to over TLS. Read
 * by all programs, so that they agree on what a policy is; only the one that makes the handshakes
 * opens what it names.
 */
#ifndef LIBCOMMON_TLSPOLICY_H
#define LIBCOMMON_TLSPOLICY_H

#include "libcommon/addr.h"
#include "libcommon/cfgbind.h"

enum tlspolicy_version { TLSPOLICY_1_2, TLSPOLICY_1_3 };

struct tlspolicycfg {
	const struct cfg_node *node; /* NULL: the one that is there without being written */
	char *name;
	bool verify;
	char *ca;          /* PEM; NULL: the system's authorities */
	char *crl;         /* PEM; NULL: none is asked */
	char *server_name; /* whom the certificate must name; NULL: the server's own host */
	char *sni; /* the name that is asked for; "on": server_name or the host; "off": none */
	int min_version;         /* enum tlspolicy_version */
	struct cfg_list ciphers; /* char *: OpenSSL's names; empty: ours */
	char *cert;              /* PEM, shown to servers that ask; NULL: none */
	char *key;               /* PEM; NULL: in the same file */
};

struct uptlscfg {
	const struct cfg_node *node;
	char *user;
	struct cfg_list
		askers; /* char *: users whose processes may ask, besides our own and root */
	int64_t handshake_timeout_ms;
	int64_t watch_ms;          /* 0: files are not watched */
	int64_t expiry_warning_ms; /* of the certificates that we show; 0: never */
	struct cfg_list policies;  /* struct tlspolicycfg */
};

/* What a pool has that says `https://` and names no policy. */
#define TLSPOLICY_DEFAULT "default"
/* Room for a policy's name, and for a host; NULs included. */
#define TLSPOLICY_NAME 65
#define TLSPOLICY_HOST 256

extern const struct cfg_schema uptlscfg_schema;

/* NULL: there is none of that name. */
const struct tlspolicycfg *tlspolicy_find(const struct uptlscfg *c, const char *name);
/* Which connections may stand for another: those of policies that say the same. Never 0. */
uint64_t tlspolicy_id(const struct tlspolicycfg *p);
/* Whom a server's certificate has to name: its host as the configuration writes it, without port
 * and brackets; "" for a Unix socket. */
const char *tlspolicy_host(const struct addr_spec *server, char out[static TLSPOLICY_HOST]);

#endif
