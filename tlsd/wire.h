/*
 * wire: one client's TLS over its socket. OpenSSL reads and writes through a BIO of our own: one
 * recv per wake-up fills the worker's buffer and OpenSSL eats from there; the records it writes are
 * gathered in the worker's buffer and go with one send. A wire holds memory of its own only for
 * ciphertext that the socket would not take.
 *
 * Invariant: outside of a callback the worker's buffers hold nothing of any wire. So who calls
 * wire_recv reads all of it with wire_handshake or wire_read, and who wrote calls wire_flush.
 */
#ifndef TLSD_WIRE_H
#define TLSD_WIRE_H

#include <openssl/ssl.h>
#include <sys/types.h>

#include "tlsd/spill.h"
#include "tlsd/stats.h"

#define WIRE_RECORD    16384        /* plaintext of one record at most */
#define WIRE_IN        (256u << 10) /* one recv */
#define WIRE_DOWN      (256u << 10) /* plaintext of one write at most */
#define WIRE_ROOM      (12u << 10)  /* in front of plain: for a PROXY header */
#define WIRE_OUT       (320u << 10) /* gathered records: WIRE_DOWN and what they add */
#define WIRE_HELLO_MAX (64u << 10)  /* bytes a handshake may take */
#define WIRE_HELLO_IN  WIRE_RECORD  /* one recv while shaking hands */

/* One per worker, lent to the wire that is being served. */
struct wire_bufs {
	char *in;
	char *plain; /* WIRE_ROOM, WIRE_IN, and a record that was half read before */
	char *out;
	size_t out_n;
};

struct wire {
	SSL *ssl;
	struct wire_bufs *bufs;
	const char *in; /* what OpenSSL has not eaten of bufs->in */
	uint32_t in_n;
	uint32_t eaten; /* bytes of the handshake */
	struct spill held;
	int fd;
	bool is_readable; /* what epoll said and no short read has refuted */
	bool is_writable;
	bool is_hup; /* the peer has sent FIN, read until it comes */
	bool is_eof;
	bool is_overrun; /* more output than may be held */
	bool is_long;    /* a handshake of more than WIRE_HELLO_MAX */
	uint8_t barren;  /* records without data since the last that had some */
};

enum wire_result {
	WIRE_OK,
	WIRE_MORE,   /* needs more bytes from the peer */
	WIRE_CLOSED, /* close_notify */
	WIRE_FAILED, /* see wire_reason, before anything else is done with TLS on this thread */
};

void wire_bufs_init(struct wire_bufs *b);
void wire_bufs_fini(struct wire_bufs *b);

/* The socket alone: bytes can be received. */
void wire_init(struct wire *w, int fd, struct wire_bufs *bufs);
/* From here on it is TLS. hello stays reachable by the context's callbacks through
 * SSL_get_app_data. -1: no memory. */
int wire_start(struct wire *w, SSL_CTX *ctx, void *hello);
/* Bytes that were received before and kept elsewhere are to be read again, n up to WIRE_IN. */
void wire_again(struct wire *w, const char *p, size_t n);
/* Frees the TLS state; the socket is the caller's. */
void wire_fini(struct wire *w);

/* One recv of at most cap bytes. Bytes, 0 at the peer's FIN, -1 when there is nothing now, -2 when
 * the socket failed (errno). */
ssize_t wire_recv(struct wire *w, size_t cap);
/* Goes on with the handshake as far as the received bytes reach. */
enum wire_result wire_handshake(struct wire *w);
/* Decrypt all that was received into buf, which has room for WIRE_IN + WIRE_RECORD. Bytes come with
 * every result. */
enum wire_result wire_read(struct wire *w, char *buf, size_t *n);
/* Encrypt p[0..n), n up to WIRE_DOWN. Nothing may be held. */
enum wire_result wire_write(struct wire *w, const char *p, size_t n);
void wire_close_notify(struct wire *w);
/* A fatal alert as a record of its own, for a client that has no keys yet; goes with the next
 * flush. */
void wire_alert(struct wire *w, uint8_t code);
/* Output waits in the worker's buffer. */
bool wire_has_output(const struct wire *w);
/* Send what waits; what the socket does not take is held. */
enum spill_result wire_flush(struct wire *w);
/* Forget received and gathered bytes: the connection is given up. */
void wire_drop(struct wire *w);

/* Why the last operation FAILED; *detail gets OpenSSL's words or NULL. Empties the error queue. */
enum reason wire_reason(const struct wire *w, const char **detail);

#endif
