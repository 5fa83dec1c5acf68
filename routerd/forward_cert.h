/*
 * forward_cert: what servers are told of a client's certificate, and what clients may not claim of
 * one. Pure; new values live in the arena.
 */
#ifndef ROUTERD_FORWARD_CERT_H
#define ROUTERD_FORWARD_CERT_H

#include "libcommon/mem.h"
#include "libcommon/msg.h"
#include "libcommon/proxyproto.h"
#include "routerd/config.h"

/* Fields that forward_cert_add may add. */
#define FORWARD_CERT_FIELDS 10

/*
 * Does this name say something of a client's certificate, to some server: one of the names in
 * cfg, or of the usual ones, in any spelling that CGI and its heirs take for it? *is_exact: it is
 * one of cfg's, spelled with the same letters (any case) and signs.
 */
bool forward_cert_is_claim(const struct clientcertcfg *cfg, struct slice name, bool *is_exact);

/*
 * Drop the claims among m's fields, in front of what forward_request adds. Those of a peer that is
 * trusted stay when it has said whether the certificate was verified: true, and nothing is added.
 */
bool forward_cert_judge(const struct clientcertcfg *cfg, struct msg *m, bool peer_is_trusted);

/* Our own, behind all others. cert NULL: the client has shown none. */
void forward_cert_add(const struct clientcertcfg *cfg, struct msg *m, const struct proxy_cert *cert,
	bool is_verified, struct arena *a);

/* "SUCCESS", "FAILED:why" or "NONE". */
struct slice forward_cert_verify(const struct proxy_cert *cert, bool is_verified, struct arena *a);
/* PEM, percent-encoded as in nginx's $ssl_client_escaped_cert; empty for an empty der. */
struct slice forward_cert_pem(struct slice der, struct arena *a);
/* A byte sequence of structured fields (RFC 9440 §2.1); empty for an empty der. */
struct slice forward_cert_sequence(struct slice der, struct arena *a);

#endif
