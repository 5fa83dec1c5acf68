/*
 * tls_end: ends of TLS connections that are OpenSSL's, with byte queues between them. What OpenSSL
 * offers the kernel as keys is kept.
 */
#ifndef TESTS_LIBCOMMON_TLS_END_H
#define TESTS_LIBCOMMON_TLS_END_H

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "libcommon/handoffmsg.h"

#define QUEUE_MAX    (4u << 20)
#define KTLS_OFFER   72 /* BIO_CTRL_SET_KTLS */
#define OFFER_LENGTH 64

/* Bytes on their way to one end. */
struct queue {
	uint8_t *p;
	size_t r;
	size_t w;
};

struct end {
	SSL *ssl;
	struct queue *in;
	struct queue *out;
	/* as seen by the callbacks */
	uint64_t read_seq;
	uint64_t write_seq;
	uint64_t nonce;                         /* of the last handshake record written */
	uint8_t secrets[2][HANDOFF_SECRET_MAX]; /* the client's, the server's */
	uint8_t offer[2][OFFER_LENGTH];         /* kernel TLS: receiving, sending */
	bool has_offer[2];
};

/* --- queues as a BIO ---------------------------------------------------------------------- */

static inline void
queue_put(struct queue *q, const void *p, size_t n)
{
	assert_true(q->w + n <= QUEUE_MAX);
	memcpy(q->p + q->w, p, n);
	q->w += n;
}

static inline size_t
queue_take(struct queue *q, void *p, size_t n)
{
	if (n > q->w - q->r)
		n = q->w - q->r;
	memcpy(p, q->p + q->r, n);
	q->r += n;
	if (q->r == q->w)
		q->r = q->w = 0;
	return n;
}

static inline int
queue_read(BIO *b, char *p, int n)
{
	struct end *e = BIO_get_data(b);
	int got = (int)queue_take(e->in, p, (size_t)n);

	BIO_clear_retry_flags(b);
	if (got > 0)
		return got;
	BIO_set_retry_read(b);
	return -1;
}

static inline int
queue_write(BIO *b, const char *p, int n)
{
	struct end *e = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	queue_put(e->out, p, (size_t)n);
	return n;
}

static inline long
queue_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	struct end *e = BIO_get_data(b);

	if (cmd == KTLS_OFFER) {
		memcpy(e->offer[num != 0], ptr, OFFER_LENGTH);
		e->has_offer[num != 0] = true;
	}
	return cmd == BIO_CTRL_FLUSH;
}

static inline BIO_METHOD *
queue_method(void)
{
	static BIO_METHOD *m;

	if (m == NULL) {
		m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "queue");
		BIO_meth_set_read(m, queue_read);
		BIO_meth_set_write(m, queue_write);
		BIO_meth_set_ctrl(m, queue_ctrl);
	}
	return m;
}

/* --- a connection ------------------------------------------------------------------------- */

/* One that the suite can use: a key pair of each kind for the whole run. */
static inline void
end_certificate(SSL_CTX *ctx, uint16_t suite)
{
	bool is_rsa = suite != 0xc02b && suite != 0xc02c && suite != 0xcca9;
	static EVP_PKEY *keys[2];
	static X509 *certs[2];

	if (keys[is_rsa] == NULL) {
		X509 *x = X509_new();

		keys[is_rsa] = is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
		X509_set_version(x, 2);
		X509_gmtime_adj(X509_getm_notBefore(x), 0);
		X509_gmtime_adj(X509_getm_notAfter(x), 3600);
		X509_set_pubkey(x, keys[is_rsa]);
		X509_sign(x, keys[is_rsa], EVP_sha256());
		certs[is_rsa] = x;
	}
	assert_int_equal(SSL_CTX_use_certificate(ctx, certs[is_rsa]), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, keys[is_rsa]), 1);
}

static inline void
choose_suite(SSL *ssl, const struct handoff_suite *suite)
{
	/* as SSL_CIPHER_find wants it */
	uint8_t id[2] = { (uint8_t)(suite->id >> 8), (uint8_t)suite->id };
	const char *name = SSL_CIPHER_get_name(SSL_CIPHER_find(ssl, id));
	int version = suite->version == HANDOFF_TLS13 ? TLS1_3_VERSION : TLS1_2_VERSION;

	SSL_set_min_proto_version(ssl, version);
	SSL_set_max_proto_version(ssl, version);
	if (version == TLS1_3_VERSION)
		assert_int_equal(SSL_set_ciphersuites(ssl, name), 1);
	else
		assert_int_equal(SSL_set_cipher_list(ssl, name), 1);
}

static inline void
make_end(struct end *e, SSL_CTX *ctx, struct queue *in, struct queue *out)
{
	BIO *b = BIO_new(queue_method());

	e->in = in;
	e->out = out;
	e->ssl = SSL_new(ctx);
	BIO_set_data(b, e);
	BIO_set_init(b, 1);
	SSL_set_bio(e->ssl, b, b);
}

#endif
