/*
 * ktls: socket options, and the structures that they take.
 */
#include "libcommon/ktls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/tlsrec_int.h"

#ifndef SOL_TLS
#	define SOL_TLS 282
#endif

/* The parts of each structure, in the order in which they follow its head. */
struct layout {
	uint16_t cipher;
	uint8_t iv;
	uint8_t key;
	uint8_t salt;
};

static const struct layout layouts[] = {
	[HANDOFF_AES_128_GCM] = { TLS_CIPHER_AES_GCM_128, 8, 16, 4 },
	[HANDOFF_AES_256_GCM] = { TLS_CIPHER_AES_GCM_256, 8, 32, 4 },
	[HANDOFF_CHACHA20_POLY1305] = { TLS_CIPHER_CHACHA20_POLY1305, 12, 32, 0 },
};

enum { SEQ = 8 };

_Static_assert(sizeof(struct tls12_crypto_info_aes_gcm_128) == 4 + 8 + 16 + 4 + SEQ, "as laid out");
_Static_assert(sizeof(struct tls12_crypto_info_aes_gcm_256) == 4 + 8 + 32 + 4 + SEQ, "as laid out");
_Static_assert(
	sizeof(struct tls12_crypto_info_chacha20_poly1305) == 4 + 12 + 32 + 0 + SEQ, "as laid out");
_Static_assert(sizeof(struct tls12_crypto_info_aes_gcm_256) <= KTLS_INFO_MAX &&
		sizeof(struct tls12_crypto_info_chacha20_poly1305) <= KTLS_INFO_MAX,
	"room for all");

static size_t
info_len(const struct layout *l)
{
	return sizeof(struct tls_crypto_info) + l->iv + l->key + l->salt + SEQ;
}

static uint8_t *
put(uint8_t *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return to + n;
}

/*
 * TLS 1.3 and ChaCha20 of 1.2 make the nonce of the whole IV and the sequence number, as we do.
 * AES-GCM of 1.2 has the nonce in the record: `iv` is that of the next one, which the kernel counts
 * on (RFC 5288 §3).
 */
size_t
ktls_info(const struct tlsrec *t, uint8_t out[KTLS_INFO_MAX])
{
	const struct layout *l = &layouts[t->suite->aead];
	const struct tls_crypto_info head = {
		.version = tlsrec_is_13(t) ? TLS_1_3_VERSION : TLS_1_2_VERSION,
		.cipher_type = l->cipher,
	};
	uint8_t number[8];
	uint8_t *to = put(out, &head, sizeof(head));

	tlsrec_put_u64(number, t->nonce);
	to = put(to, tlsrec_nonce_len(t) > 0 ? number : t->write.iv + l->salt, l->iv);
	to = put(to, t->write.key, l->key);
	to = put(to, t->write.iv, l->salt);
	tlsrec_put_u64(number, t->write.seq);
	to = put(to, number, SEQ);
	return (size_t)(to - out);
}

bool
ktls_rekey(int fd, const struct tlsrec *t)
{
	uint8_t info[KTLS_INFO_MAX];
	size_t n = ktls_info(t, info);
	int r = setsockopt(fd, SOL_TLS, TLS_TX, info, (socklen_t)n);

	explicit_bzero(info, sizeof(info));
	return r == 0;
}

/* A socket with the ULP and without keys is as it was, so the second call may fail. */
bool
ktls_begin(int fd, const struct tlsrec *t)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 && ktls_rekey(fd, t);
}

ssize_t
ktls_send(int fd, uint8_t type, const void *p, size_t n)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(type))];
	} control = { .head = { .cmsg_level = SOL_TLS,
			      .cmsg_type = TLS_SET_RECORD_TYPE,
			      .cmsg_len = CMSG_LEN(sizeof(type)) } };
	struct iovec v = { (void *)(uintptr_t)p, n };
	struct msghdr m = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	ssize_t sent;

	memcpy(CMSG_DATA(&control.head), &type, sizeof(type));
	do
		sent = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent;
}

bool
ktls_seq(int fd, const struct handoff_suite *suite, uint64_t *seq)
{
	const struct layout *l = &layouts[suite->aead];
	uint8_t info[KTLS_INFO_MAX];
	socklen_t n = (socklen_t)info_len(l);
	int r = getsockopt(fd, SOL_TLS, TLS_TX, info, &n);

	if (r == 0) {
		memcpy(seq, info + info_len(l) - SEQ, SEQ);
		*seq = __builtin_bswap64(*seq);
	}
	explicit_bzero(info, sizeof(info));
	return r == 0;
}

size_t
ktls_overhead(const struct handoff_suite *suite)
{
	const struct tlsrec t = { .suite = suite };

	return tlsrec_record_len(&t, 0);
}

static bool
tcp_info(int fd, struct tcp_info *info)
{
	socklen_t n = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &n) == 0 &&
		n >= offsetof(struct tcp_info, tcpi_bytes_received) &&
		info->tcpi_state != 7; /* TCP_CLOSE: reset, or timed out */
}

/* What waits for the peer is another question to the kernel; nothing may have come between. */
bool
ktls_tcp_bytes(int fd, uint64_t *given, uint64_t *acknowledged)
{
	struct tcp_info before;
	struct tcp_info after;
	int waits = 0;

	if (!tcp_info(fd, &after))
		return false;
	do {
		before = after;
		if (ioctl(fd, SIOCOUTQ, &waits) != 0 || !tcp_info(fd, &after))
			return false;
	} while (before.tcpi_bytes_acked != after.tcpi_bytes_acked);
	*given = after.tcpi_bytes_acked + (uint64_t)waits;
	*acknowledged = after.tcpi_bytes_acked;
	return true;
}

/* --- what there is ------------------------------------------------------------------------- */

/* A connection to ourselves; fds[0] is tried, fds[1] is its peer. */
static bool
connect_self(int fds[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[1] = -1;
	if (listener >= 0 && fds[0] >= 0 && bind(listener, (struct sockaddr *)&at, n) == 0 &&
		listen(listener, 1) == 0 &&
		getsockname(listener, (struct sockaddr *)&at, &n) == 0 &&
		connect(fds[0], (struct sockaddr *)&at, n) == 0)
		fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (listener >= 0)
		close(listener);
	if (fds[1] >= 0)
		return true;
	if (fds[0] >= 0)
		close(fds[0]);
	return false;
}

/* Does it seal records of this suite, and, where that may be asked for, under a second key? */
static bool
try_suite(const struct handoff_suite *suite, const char **why)
{
	const struct tlsrec t = { .suite = suite };
	int fds[2];
	bool ok = false;

	if (!connect_self(fds)) {
		*why = "no_loopback";
		return false;
	}
	if (setsockopt(fds[0], IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) != 0)
		*why = "no_module";
	else if (!ktls_rekey(fds[0], &t))
		*why = "no_ciphers";
	else if (suite->version == HANDOFF_TLS13 && !ktls_rekey(fds[0], &t))
		*why = "no_rekey";
	else
		ok = true;
	close(fds[0]);
	close(fds[1]);
	return ok;
}

unsigned
ktls_probe(const char **why)
{
	const struct handoff_suite *suite;
	unsigned tried = 0;
	unsigned can = 0;

	*why = NULL;
	for (size_t i = 0; (suite = handoff_suite_at(i)) != NULL; i++) {
		if (tried & ktls_bit(suite))
			continue;
		tried |= ktls_bit(suite);
		if (try_suite(suite, why))
			can |= ktls_bit(suite);
		else if (strcmp(*why, "no_module") == 0 || strcmp(*why, "no_loopback") == 0)
			break;
	}
	return can;
}

const char *
ktls_versions(unsigned suites)
{
	static const char *const words[] = { "none", "tls1.2", "tls1.3", "tls1.2,tls1.3" };
	const unsigned all = ktls_bit(&(struct handoff_suite){ .version = HANDOFF_TLS13 }) - 1;

	return words[((suites & all) != 0) + 2 * ((suites & ~all) != 0)];
}
