/*
 * handoffmsg: a TLS connection whose handshake is done, given from the process that made it to the
 * one that goes on with its records <-> bytes. One message is one packet of a SEQPACKET socket; the
 * client's socket travels beside it (SCM_RIGHTS). Pure.
 *
 * The receiver owns the connection from its acknowledgement on, and acknowledges before it seals
 * any record: a packet of serials, one byte each, of messages it has taken. What was not
 * acknowledged when the channel ends is still the sender's. The end is a recv of 0 and nothing
 * else: a receiver that dies with messages unread makes a reset of it, and Linux tells that
 * (ECONNRESET) before it gives the acknowledgements that were sent earlier.
 *
 * What the connection is (addresses, TLS version, cipher, ALPN, SNI, client certificate, unique id)
 * travels as the PROXY v2 header that a relay would write, so both seams tell the same.
 */
#ifndef LIBCOMMON_HANDOFFMSG_H
#define LIBCOMMON_HANDOFFMSG_H

#include "libcommon/proxyproto.h"

#define HANDOFF_SECRET_MAX 48
#define HANDOFF_KEY_MAX    32
#define HANDOFF_IV_MAX     12
#define HANDOFF_BLOCK_MAX  (2 * (HANDOFF_KEY_MAX + HANDOFF_IV_MAX))
/* Ciphertext that travels with a connection, each way; a sender that holds more flushes first. */
#define HANDOFF_BYTES_MAX 32768
#define HANDOFF_LIMIT_MIN 64
#define HANDOFF_LIMIT_MAX 16384
/* The longest message; a receiver's buffer has this much room. */
#define HANDOFF_MAX \
	(48 + 2 * (HANDOFF_SECRET_MAX + HANDOFF_IV_MAX) + PROXY_MAX + 2 * HANDOFF_BYTES_MAX)

/* What the receiver of the message is on the TLS connection. */
enum handoff_role { HANDOFF_SERVER = 1, HANDOFF_CLIENT = 2 };
enum handoff_version { HANDOFF_TLS12, HANDOFF_TLS13 };
enum handoff_aead { HANDOFF_AES_128_GCM, HANDOFF_AES_256_GCM, HANDOFF_CHACHA20_POLY1305 };
enum handoff_hash { HANDOFF_SHA256, HANDOFF_SHA384 };

/* A cipher suite whose connections can be handed over. */
struct handoff_suite {
	uint16_t id; /* as IANA numbers them */
	uint8_t version;
	uint8_t aead;
	uint8_t hash;
	uint8_t secret_len; /* of handoff_side.secret: TLS 1.3 the hash's, TLS 1.2 the key's */
	uint8_t key_len;
	uint8_t iv_len; /* of handoff_side.iv: TLS 1.2 only, where it is fixed by the key block */
};

/* One direction. */
struct handoff_side {
	uint64_t seq;   /* of the next record */
	uint16_t limit; /* content bytes that a record may carry: HANDOFF_LIMIT_MIN to _MAX */
	uint8_t secret[HANDOFF_SECRET_MAX]; /* TLS 1.3: traffic secret; TLS 1.2: key */
	uint8_t iv[HANDOFF_IV_MAX];
};

/* All that the record layer needs. Secret: end with handoff_wipe. */
struct handoff_keys {
	const struct handoff_suite *suite;
	enum handoff_role role;
	uint64_t nonce; /* the next explicit nonce to write: TLS 1.2 with AES-GCM; else 0 */
	struct handoff_side read;
	struct handoff_side write;
};

struct handoff {
	uint8_t serial; /* what the acknowledgement says; the sender's to choose */
	bool is_resumed;
	struct handoff_keys keys;
	struct proxy_info info;
	struct slice in; /* ciphertext that was received and not used: decrypt it at once */
	struct slice
		out; /* ciphertext that the socket did not take yet: goes before anything else */
};

/* NULL: connections of this suite cannot be handed over. */
const struct handoff_suite *handoff_suite_find(uint16_t id);
/* The i-th, NULL past the last. */
const struct handoff_suite *handoff_suite_at(size_t i);

/* TLS 1.2: how long the key block is (RFC 5246 §6.3, without MAC keys). */
size_t handoff_block_len(const struct handoff_suite *suite);
/* Cut a key block of that length into keys and IVs; suite and role are set already. */
void handoff_set_block(struct handoff_keys *keys, const uint8_t *block);

/*
 * Into out[0..cap); the length, or 0 when it does not fit there or a field is out of range: too
 * much ciphertext, metadata beyond PROXY_MAX, no TLS in them. Holds secrets: cleanse it after use.
 */
size_t handoff_encode(const struct handoff *h, char *out, size_t cap);
/* Another serial for a message that handoff_encode wrote: it is offered again. */
void handoff_set_serial(char *msg, uint8_t serial);
/*
 * Strict: every field in range, every length exact. Slices of h point into p[0..n); the secrets are
 * copied. false with *reason, a stable word, and h is wiped: short_message not_a_handoff
 * unknown_version unknown_kind bad_role bad_flags unknown_suite bad_limit bad_nonce bad_length
 * too_long bad_metadata.
 */
bool handoff_decode(const char *p, size_t n, struct handoff *h, const char **reason);

void handoff_wipe(struct handoff_keys *keys);

#endif
