/*
 * hello: a ClientHello as it lies on the wire, read before TLS does: which name does the client ask
 * for, and which protocols does it offer? Pure; nothing is consumed, so whoever takes the
 * connection gets every byte. The message may stand in any number of records (RFC 8446 §5.1).
 */
#ifndef TLSD_HELLO_H
#define TLSD_HELLO_H

#include "libcommon/slice.h"

#define HELLO_MAX (64u << 10) /* the message, its head included */

/* How far a growing buffer was looked at; zeroed before the first call. */
struct hello_scan {
	uint32_t record; /* where the next record begins */
	uint32_t got;    /* bytes of the message in the records before */
	uint8_t head[4]; /* the message's type and length */
};

enum hello_result {
	HELLO_MORE,
	HELLO_WHOLE, /* the message is there: hello_read it */
	HELLO_NONE,  /* no ClientHello, or a malformed or an overlong one: it is TLS's to say why */
};

/* The slices point into the bytes that were read, or into the scratch memory. */
struct hello {
	struct slice name; /* .n 0: asks for none, or for one that no host can have */
	struct slice alpn; /* the list as on the wire: length, protocol, ...; .n 0: none */
};

/* p[0..n) is all that has come so far; call again with more behind it. */
enum hello_result hello_scan(struct hello_scan *h, const uint8_t *p, size_t n);
/*
 * After WHOLE, of the same bytes: false when the message is malformed. scratch has room for
 * HELLO_MAX; it is used when the message stands in several records.
 */
bool hello_read(const struct hello_scan *h, const uint8_t *p, uint8_t *scratch, struct hello *out);
/* The list offers this protocol and nothing else. */
bool hello_offers_only(const struct hello *h, const char *protocol);

#endif
