/*
 * policy: how servers are spoken to: the policies of section upstream_tls, made ready. Immutable
 * once made; counted, because handshakes under way keep theirs over a reload. One thread's own.
 */
#ifndef TLSD_POLICY_H
#define TLSD_POLICY_H

#include <openssl/ssl.h>

#include "libcommon/daemon.h"
#include "libcommon/tlsask.h"

struct policies;

struct policy {
	const struct tlspolicycfg *cfg;
	SSL_CTX *ctx;
	struct cert *cert; /* ours, for servers that ask; NULL: none */
};

/* What verifying found, while a handshake goes on; it hangs on the SSL as its app data. */
struct policy_finding {
	int error; /* X509_V_ERR_..; 0: none */
	char detail[TLSASK_TEXT_MAX + 1];
};

/*
 * Every policy that is written, and `default` where a pool uses it. NULL with errs. Takes dc over
 * only when it succeeds. d (may be NULL) is asked for descriptors of files that cannot be opened
 * any more; `old` (may be NULL) gives what has not changed and may no longer be read. Blocks on
 * files.
 */
struct policies *policies_new(struct daemon_cfg *dc, const struct daemon *d,
	const struct policies *old, struct errs *errs);
/* The same for `check`: errors and warnings only. */
void policies_check(struct daemon_cfg *dc, struct errs *errs);
struct policies *policies_ref(struct policies *p);
void policies_unref(struct policies *p);
const struct daemon_cfg *policies_dc(const struct policies *p);
size_t policies_count(const struct policies *p);
const struct policy *policies_at(const struct policies *p, size_t i);
/* A number that changes when one of their files does: as they are now, and as they were read. */
uint64_t policies_files(const struct policies *p);
uint64_t policies_files_read(const struct policies *p);

/* The policy of this name, when one of its pools has a server with this host; else NULL. */
const struct policy *policies_find(const struct policies *p, struct slice name, struct slice host);

/* Whom the connection is to, and what is offered to it. false: no memory, or a host that no
 * certificate can name. */
bool policy_apply(const struct policy *p, SSL *ssl, const char *host, unsigned protocols);
/* After the handshake: is what was agreed on one of these? */
bool policy_has_protocol(SSL *ssl, unsigned protocols);

/* Why it failed. `first` is the first byte that came, -1 for none; detail is for people. Empties
 * OpenSSL's error queue. */
enum tlsask_why policy_why(
	const struct policy_finding *f, int first, char detail[static TLSASK_TEXT_MAX + 1]);

#endif
