/*
 * conn: a client's connection from accept to close: the PROXY header where one must come, which
 * codec speaks, idle and lingering. What it knows of the peer is what every request on it knows.
 */
#ifndef ROUTERD_CONN_H
#define ROUTERD_CONN_H

#include <netinet/in.h>

#include "libcommon/addr.h"
#include "libcommon/http1.h"
#include "libcommon/loop.h"
#include "libcommon/proxyproto.h"
#include "routerd/buf.h"
#include "routerd/snapshot.h"
#include "libcommon/stream.h"

#define CONN_MAGIC 0x636f6e6eu

struct conn;
struct h1_client;
struct h2;
struct worker;
struct wlistener;

enum conn_state {
	CONN_PROXY,  /* a PROXY header must come first */
	CONN_IDLE,   /* between requests, nothing read */
	CONN_HEAD,   /* part of a head is there */
	CONN_BUSY,   /* requests are in progress; HTTP/2: always, its codec sees to it all */
	CONN_LINGER, /* all is said; reading what the client still sends, so that it can read our
			answer */
	CONN_CLOSED,
};

/* Memory in which bytes wait because somebody does not take them. */
struct conn_held {
	size_t bytes;   /* 0: none wait */
	uint64_t score; /* who has most of it is the first to go: conn_score */
};

/* By size, but only those go who stand still, as long as there are any: whoever reads fast has a
 * lot under way, too. */
#define CONN_STILL_MS 300
static inline uint64_t
conn_score(size_t bytes, uint64_t still_ms)
{
	return still_ms < CONN_STILL_MS ? bytes : (uint64_t)bytes << 16;
}

/* A version of HTTP on a connection: what conn.c drives. */
struct conn_codec {
	/* CONN_IDLE, CONN_HEAD: bytes are in c->in, or the stream is readable. */
	void (*read)(struct conn *c);
	/* CONN_HEAD: its deadline has passed. */
	void (*head_late)(struct conn *c);
	/* CONN_BUSY: readiness changed. */
	void (*event)(struct conn *c);
	/* CONN_BUSY: its deadline has passed. */
	void (*deadline)(struct conn *c);
	/* CONN_BUSY: no more requests after those in progress. */
	void (*drain)(struct conn *c);
	/* CONN_BUSY: the process ends: cut what is in progress, and say goodbye. */
	void (*cut)(struct conn *c);
	/* CONN_BUSY, after cut: do not wait for anything. */
	void (*abort)(struct conn *c);
	/* CONN_BUSY: what is held for it; and end those of its requests that hold most. */
	struct conn_held (*held)(const struct conn *c);
	void (*shed)(struct conn *c);
};

/* What a PROXY header or tlsd's message told about the client's TLS; its text lives behind it. */
struct conn_tls {
	struct slice alpn;
	struct slice sni;
	struct slice version;
	struct slice cipher;
	struct slice unique_id;
	bool knows_resumed; /* not every proxy tells */
	bool is_resumed;
	char text[];
};

/* The certificate that the client has shown, its text behind it. */
struct conn_cert {
	bool is_verified;
	struct proxy_cert facts;
	char text[];
};

struct conn {
	uint32_t magic;
	uint8_t state;
	bool is_tls;
	bool is_ipv6;
	bool is_unix;
	struct worker *w;
	struct wlistener *l;
	const struct conn_codec *codec;
	struct conn *next;
	struct conn **link;
	struct stream s;
	struct deadline dl;
	struct buf *in; /* bytes read and not consumed; NULL while idle */
	struct http1_scan scan;
	union {
		struct h1_client *client; /* HTTP/1: the request in progress */
		struct h2 *h2;            /* HTTP/2 */
	};
	struct conn_tls *tls;   /* heap; NULL without */
	struct conn_cert *cert; /* heap; NULL without */
	struct run_item again;  /* the next pipelined request */
	uint64_t
		first_us; /* when the first byte of the head that is being read came; 0: none yet */
	uint64_t linger_until_ms;
	uint32_t served;
	uint8_t peer_len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} peer_addr;
	char peer[46]; /* text of the address, without port */
};

/* Take over an accepted socket. */
void conn_new(struct worker *w, struct wlistener *l, int fd, const struct sockaddr *peer);
struct handoff;
/* Take over a connection whose TLS handshake is done. Its keys are copied. */
void conn_new_tls(struct worker *w, struct wlistener *l, int fd, const struct handoff *h);
void conn_close(struct conn *c);
/* Cut it with a reset. */
void conn_reset(struct conn *c);
/* The codec has finished a request: look for the next one, say goodbye, or cut. */
void conn_next(struct conn *c);
void conn_linger(struct conn *c);
/* The process ends: nothing goes on, and goodbye, for which the client still has a moment. */
void conn_cut(struct conn *c);
/* The same, and the moment has passed. */
void conn_abort(struct conn *c);
/* Draining, or its listener goes: idle ones go now, new ones soon, busy ones after their request.
 */
void conn_drain(struct conn *c);
/* May this connection begin with HTTP/2, though nobody announced it? */
bool conn_takes_h2(const struct conn *c);
/* In trusted_proxies of the snapshot? */
bool conn_is_trusted(const struct conn *c, const struct httpcfg *http);

static inline struct slice
conn_peer(const struct conn *c)
{
	return slice_make(c->peer, c->peer_len);
}

#endif
