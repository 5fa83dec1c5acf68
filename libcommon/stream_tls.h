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

/* What a worker's connections share. */
struct stream_tls_env {
	struct tlsrec_worker *rec;
	char *in;  /* ciphertext of the connection that is being read */
	char *out; /* records on their way to a socket */
	struct freelist layers;
};

/* false: OpenSSL does not offer the ciphers. */
bool stream_tls_env_init(struct stream_tls_env *env);
/* No stream may use it any more. */
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
