/*
 * ktls: the kernel's TLS, sending side: what it can do, how a connection's keys get there, and what
 * it has done since. The only file that knows <linux/tls.h>; stream_ktls decides when.
 *
 * A kernel that has taken a direction never gives it back, and before Linux 6.14 it keeps its first
 * key, so TLS 1.3, where a peer may ask for new ones at any time (RFC 8446 §4.6.3), is for kernels
 * that can change them; TLS 1.2 has one key for all.
 */
#ifndef LIBCOMMON_KTLS_H
#define LIBCOMMON_KTLS_H

#include "libcommon/tlsrec.h"

/* struct tls12_crypto_info_..., the longest of them. */
#define KTLS_INFO_MAX 56

/* One bit for each suite of handoff_suite_at's version and AEAD. */
static inline unsigned
ktls_bit(const struct handoff_suite *suite)
{
	return 1u << (suite->version * 3 + suite->aead);
}

/*
 * What this kernel seals, tried on loopback connections: a set of ktls_bit. *why, a stable word, is
 * NULL or what is missing: no_module (TLS is not in this kernel, or its module is not loaded and
 * may not be by us), no_ciphers, no_rekey (TLS 1.2 only), no_loopback. Blocks for a millisecond or
 * so.
 */
unsigned ktls_probe(const char **why);

/* The versions of TLS in a set, for people: none, tls1.2, tls1.3 or tls1.2,tls1.3. */
const char *ktls_versions(unsigned suites);

/* The structure that tells the kernel how to go on writing, into out; its length. Secret. */
size_t ktls_info(const struct tlsrec *t, uint8_t out[KTLS_INFO_MAX]);

/* From its next record on the kernel seals what is sent on fd. false with errno: it does not, and
 * all is as before. */
bool ktls_begin(int fd, const struct tlsrec *t);
/* The same under another key, after the KeyUpdate went under the old one. */
bool ktls_rekey(int fd, const struct tlsrec *t);

/* Send one record of this type; as send. */
ssize_t ktls_send(int fd, uint8_t type, const void *p, size_t n);

/* The sequence number of the kernel's next record. false with errno. */
bool ktls_seq(int fd, const struct handoff_suite *suite, uint64_t *seq);
/* What a record of the kernel's adds to its content. */
size_t ktls_overhead(const struct handoff_suite *suite);

/* Bytes that TCP was given since the connection began, and of these those that the peer has
 * acknowledged. false: the connection is gone, or the kernel does not say. */
bool ktls_tcp_bytes(int fd, uint64_t *given, uint64_t *acknowledged);

#endif
