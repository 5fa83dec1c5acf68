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
#include "routerd/snapshot.h"

/* What forward needs to know of a request besides its message. Text slices live
 * as long as the request. */
struct forward_info {
	const struct httpcfg *http;
	struct slice peer;    /* who is connected to us (or whom PROXY named): address
				 without port */
	bool peer_is_trusted; /* in trusted_proxies */
	bool peer_is_ipv6;
	struct slice scheme;    /* "http" / "https" of the client's side */
	struct slice authority; /* as the client sent it */
	struct slice via_name;  /* our name in Via */
	bool is_upgrade;        /* an Upgrade that we pass on */
};

/* How many fields forward_request may add: room that msg_init's cap must leave.
 */
#define FORWARD_FIELDS 10

/*
 * Make m's field list the one that goes to the server: fields to drop get
 * MSG_FIELD_DROP, ours are appended. Look-alikes of the identity fields we
 * assert (X_Forwarded_For, X-Forwarded.For ...) are dropped. TE is passed on
 * only as "trailers". Does not write Host, Connection, Content-Length or
 * Transfer-Encoding: those are the encoder's (framing, RFC 9112 §6), Host from
 * `authority`. When the peer is trusted its X-Forwarded-For is appended to,
 * else replaced; -Proto and -Host are kept from a trusted peer if present.
 * Upgrade: h2c never passes.
 */
void forward_request(struct msg *m, const struct forward_info *info, struct arena *a);

/* The same for a response (and 1xx): hop-by-hop and nominated fields go; Via is
 * added when asked. Date is added if missing. */
void forward_response(
	struct msg *m, const struct forward_info *info, struct slice date, struct arena *a);

/*
 * The client's own address: the peer, or, when the peer is trusted, the
 * right-most entry of X-Forwarded-For that is not trusted itself. One resolved
 * address for logs, limits and routing alike. Returns a slice into the message
 * or info->peer.
 */
struct slice forward_client(const struct msg *m, const struct forward_info *info);

#endif
