/*
 * stream_tls: the stream of a connection whose TLS handshake was made elsewhere: records over a
 * socket. An idle one holds the record layer's keys and nothing else; bytes are held only while a
 * record is not whole, or the socket does not take what is sealed.
 *
 * A read ends with 0 only after the peer's close_notify. The socket's end without it is an error
 * (ECONNRESET), and so is a record that is not right (EPROTO), after its alert was sent.
 */
#ifndef LIBCOMMON_STREAM_TLS_H
#define LIBCOMMON_STREAM_TLS_H

#include "libcommon/freelist.h"
#include "libcommon/stream.h"
#include "libcommon/tlsrec.h"

struct ktls_tail;

/* What the owner hears of connections whose sending the kernel has taken over. */
enum stream_ktls_event {
	STREAM_KTLS_TAKEN,
	STREAM_KTLS_CUT,      /* closed before TCP had got all */
	STREAM_KTLS_NO_TAILS, /* none is left that was closed and waits for that */
};

/* What a worker's connections share. */
struct stream_tls_env {
	/* The owner's, after init. Which suites the kernel seals (ktls_probe), NULL: none; may
	 * change at any time, for connections that it has not taken yet. */
	const _Atomic unsigned *kernel;
	void (*on_kernel)(void *arg, enum stream_ktls_event what);
	void *arg;
	/* What is sealed and waits for its socket is added to *held; from *tight on no more than a
	 * record of it is made ahead. NULL: neither. */
	uint64_t *held;
	const uint64_t *tight;
	/* ours */
	struct ktls_tail *tails; /* closed, and held open until TCP has got all */
	unsigned tail_count;
	struct tlsrec_worker *rec;
	char *in;  /* ciphertext of the connection that is being read */
	char *out; /* records on their way to a socket */
	struct freelist layers;
};

/* false: OpenSSL does not offer the ciphers. */
bool stream_tls_env_init(struct stream_tls_env *env);
/* No stream may use it any more, and its loop still exists. Tails are cut. */
void stream_tls_env_fini(struct stream_tls_env *env);

/*
 * Take over fd, register it, and go on with its records. `in` was received and not opened, `out`
 * goes before anything else; both are copied, and so is what is needed of keys. There may be bytes
 * that no event announces: s->readable says so. false: no memory; the fd is still the caller's.
 */
bool stream_tls_init(struct stream *s, struct event_base *base, int fd, struct stream_tls_env *env,
	const struct handoff_keys *keys, struct slice in, struct slice out, stream_fn fn);

/* Why a read has failed: a stable word, NULL if it is not TLS's fault. *alert was sent, or was the
 * peer's when the word is "peer_alert". */
const char *stream_tls_reason(const struct stream *s, uint8_t *alert);

#endif
