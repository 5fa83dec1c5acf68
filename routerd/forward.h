/*
 * forward: what may cross a proxy. Edits a message's field list: drops
 * hop-by-hop fields and those nominated by Connection, judges identity fields,
 * then adds our own, so that ours can never be nominated away. Pure; new values
 * live in the arena.
 */
#ifndef ROUTERD_FORWARD_H
#define ROUTERD_FORWARD_H

#include <sys/socket.h>

#include "libcommon/mem.h"
#include "libcommon/msg.h"
#include "routerd/forward_cert.h"
#include "routerd/snapshot.h"

/* What forward needs to know of a request besides its message. Text slices live
 * as long as the request. */
struct forward_info {
	const struct httpcfg *http;
	struct slice peer;    /* who is connected to us (or whom PROXY named): address
				 without port */
	bool peer_is_trusted; /* in trusted_proxies */
	bool peer_is_ipv6;
	struct slice scheme;           /* "http" / "https" of the client's side */
	struct slice authority;        /* as the client sent it */
	struct slice via_name;         /* our name in Via */
	bool is_upgrade;               /* an Upgrade that we pass on */
	const struct proxy_cert *cert; /* what the client has shown; NULL: none */
	bool is_cert_verified;
};

/* How many fields forward_request may add: room that msg_init's cap must leave.
 */
#define FORWARD_FIELDS (10 + FORWARD_CERT_FIELDS)

/*
 * Make m's field list the one that goes to the server: fields to drop get
 * MSG_FIELD_DROP, ours are appended. Nothing is copied but values that grow.
 * - Hop-by-hop fields and those that Connection nominates were marked by the
 *   parser; identity fields cannot be nominated away. TE passes only as
 *   "trailers"; Upgrade only when is_upgrade says so, and never h2c. `Proxy` goes
 *   (httpoxy).
 * - Identity fields of a peer that is not trusted go, all X-Forwarded-* among
 *   them; look-alikes (X_Forwarded_For, X-Real.IP ...) go whoever sent them.
 * - Ours: X-Forwarded-For is the peer, behind what a trusted one sent; -Proto
 *   and -Host are kept as a trusted one sent them, else set; X-Real-IP is
 *   forward_client(). What is switched off is passed on from a trusted peer.
 * - With forward.client_cert: claims of a client's certificate go (forward_cert.h), ours are last.
 * - Max-Forwards of TRACE and OPTIONS counts down.
 * Does not write Host, Connection, Content-Length or Transfer-Encoding: those
 * are the encoder's (framing, RFC 9112 §6), Host from `authority`.
 */
void forward_request(struct msg *m, const struct forward_info *info, struct arena *a);

/*
 * A trailer section of either direction: what claims to be identity, in any spelling, and Proxy go,
 * whoever sent them: nobody asserts those behind a body. http tells of a request's, what header
 * rules set or hide among them; NULL: a response's.
 */
void forward_trailers(const struct httpcfg *http, struct field *fields, uint16_t count);

/* The same for a response (and 1xx): hop-by-hop and nominated fields stay marked; Upgrade
 * stays on a 101 that is_upgrade waited for; Via is added when asked, Date to a
 * final response that has none. */
void forward_response(
	struct msg *m, const struct forward_info *info, struct slice date, struct arena *a);

/*
 * The client's own address: the peer, or, when the peer is trusted, the
 * right-most entry of X-Forwarded-For that is not trusted itself (the left-most
 * one when all are; the hop that reported it when an entry is no address). One
 * resolved address for logs, limits and routing alike; the same before and after
 * forward_request. Returns a slice into the message, without port or brackets, or
 * info->peer.
 */
struct slice forward_client(const struct msg *m, const struct forward_info *info);

#endif
