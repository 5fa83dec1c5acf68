/*
 * stream_tls_int: what the two ways of sending records share: sealed here (stream_tls), or by the
 * kernel (stream_ktls). Reading is stream_tls's in both.
 */
#ifndef LIBCOMMON_STREAM_TLS_INT_H
#define LIBCOMMON_STREAM_TLS_INT_H

#include "libcommon/stream_tls.h"

/* What the kernel has done for a connection. */
struct ktls_state {
	uint64_t tcp_start; /* bytes that TCP had before the kernel's first record */
	uint64_t content;   /* bytes since, without what records add */
	uint64_t records;   /* under keys before this one */
	uint64_t seq_start; /* of this key's first record */
	uint64_t seq_most;  /* of the next one: not more than this */
	int goodbye;        /* an alert that is still to be sent; -1: none */
};

struct stream_layer {
	struct tlsrec rec;
	struct stream_tls_env *env;
	struct ktls_state *kernel; /* NULL: records are sealed here */
	char *in;                  /* ciphertext that was not opened */
	char *plain;               /* opened, behind what the reader had room for */
	char *out;                 /* sealed, not taken by the socket */
	size_t in_n;
	size_t plain_r;
	size_t plain_n;
	size_t out_r;
	size_t out_n;
	size_t owed; /* bytes of the writer's that are in `out` */
	uint32_t quota;
	int error;         /* of reading; it stays */
	bool is_drained;   /* no event since a recv has emptied the socket */
	bool wants_fin;    /* behind what is held */
	bool is_waiting;   /* what is held was not tried yet: it goes with the first answer */
	bool is_no_kernel; /* it would not take this connection */
};

static inline struct stream_layer *
stream_layer_of(const struct stream *s)
{
	return s->layer;
}

/* As the operations say. */
ssize_t stream_tls_read(struct stream *s, void *p, size_t n);
bool stream_ktls_open(struct stream *s, uint64_t n);
bool stream_ktls_wants(const struct stream *s, uint64_t n);
/* Keys and memory of a stream that is being closed. */
void stream_tls_release(struct stream *s);
/* What a broken write returns: reading tells why, and no event need have come. */
ssize_t stream_tls_failed_write(struct stream *s, struct stream_layer *x);

/* Cut all tails. */
void stream_ktls_fini(struct stream_tls_env *env);

/* A connection in the kernel's hands: what its peer's records ask for, and the last record. */
void stream_ktls_answer(struct stream *s, struct stream_layer *x);
void stream_ktls_goodbye(struct stream *s, struct stream_layer *x, enum tlsrec_alert alert);

#endif
