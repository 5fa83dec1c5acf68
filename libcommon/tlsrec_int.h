/*
 * tlsrec_int: what the files of tlsrec share: keys, and one AEAD operation.
 */
#ifndef LIBCOMMON_TLSREC_INT_H
#define LIBCOMMON_TLSREC_INT_H

#include "libcommon/tlsrec.h"

enum { TLSREC_TAG = 16, TLSREC_HEADER = 5 };

/* Content types (RFC 8446 §5.1), and levels of alerts (§6). */
enum { CCS = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23 };
enum { WARNING = 1, FATAL = 2 };

/* A KeyUpdate that asks for none (§4.6.3). */
static const uint8_t tlsrec_key_update[] = { 24, 0, 0, 1, 0 };

/* TLS 1.3: key and IV of the side's secret (RFC 8446 §7.3). Both versions: a new owner. */
bool tlsrec_crypt_start(struct tlsrec *t, struct tlsrec_side *s);
/* TLS 1.3: the next secret, its key and IV, sequence 0 (§7.2). */
bool tlsrec_crypt_next(struct tlsrec *t, struct tlsrec_side *s);
/* The shared context that holds this side's key forgets it. */
void tlsrec_crypt_forget(struct tlsrec *t, struct tlsrec_side *s);

/*
 * Encrypt in[0..n) and then, unless it is negative, the byte `last`; the tag follows. in and out
 * are the same or do not overlap.
 */
bool tlsrec_crypt_seal(struct tlsrec *t, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
	const uint8_t *in, size_t n, int last, uint8_t *out);
/* Decrypt in[0..n), which the tag follows; its last byte goes to *last, unless that is NULL. */
bool tlsrec_crypt_open(struct tlsrec *t, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
	const uint8_t *in, size_t n, uint8_t *out, uint8_t *last);

static inline bool
tlsrec_is_13(const struct tlsrec *t)
{
	return t->suite->version == HANDOFF_TLS13;
}

/* Does the record carry a nonce of its own (RFC 5288 §3)? */
static inline size_t
tlsrec_nonce_len(const struct tlsrec *t)
{
	return !tlsrec_is_13(t) && t->suite->aead != HANDOFF_CHACHA20_POLY1305 ? 8 : 0;
}

/* What a record of n bytes of content takes. */
static inline size_t
tlsrec_record_len(const struct tlsrec *t, size_t n)
{
	return TLSREC_HEADER + tlsrec_nonce_len(t) + n + tlsrec_is_13(t) + TLSREC_TAG;
}

static inline void
tlsrec_put_u16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void
tlsrec_put_u64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof(v));
}

/* The nonce of the side's next record (RFC 8446 §5.3, RFC 7905 §2); `own` is the record's own. */
static inline void
tlsrec_make_nonce(
	const struct tlsrec *t, const struct tlsrec_side *s, const uint8_t *own, uint8_t nonce[12])
{
	memcpy(nonce, s->iv, 12);
	if (tlsrec_nonce_len(t) != 0) {
		memcpy(nonce + 4, own, 8);
		return;
	}

	uint64_t low;

	memcpy(&low, nonce + 4, 8);
	low ^= __builtin_bswap64(s->seq);
	memcpy(nonce + 4, &low, 8);
}

/* Additional data: TLS 1.3 the header, else sequence, type, version, content length. */
static inline size_t
tlsrec_make_aad(const struct tlsrec *t, const struct tlsrec_side *s, const uint8_t *header,
	size_t content_n, uint8_t aad[13])
{
	if (tlsrec_is_13(t)) {
		memcpy(aad, header, TLSREC_HEADER);
		return TLSREC_HEADER;
	}
	tlsrec_put_u64(aad, s->seq);
	memcpy(aad + 8, header, 3);
	tlsrec_put_u16(aad + 11, content_n);
	return 13;
}

#endif
