/*
 * wire: OpenSSL between two buffers. SSL_write never sees a full socket (the gather buffer takes
 * all), so no retry with the same bytes is ever needed. read_ahead stays off: OpenSSL asks for five
 * bytes and then for the record, and takes no more than it needs; both come from memory.
 */
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libcommon/mem.h"
#include "tlsd/keys.h"
#include "tlsd/tlserror.h"
#include "tlsd/wire.h"

/* Requests for new keys or for a renegotiation, warnings: cheap to send, and each costs us a
 * derivation or an answer. More of them in a row are no accident; as tlsrec counts. */
#define BARREN_MAX 32

static BIO_METHOD *method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int
bio_read(BIO *b, char *buf, int n)
{
	struct wire *w = BIO_get_data(b);
	uint32_t take = (uint32_t)n < w->in_n ? (uint32_t)n : w->in_n;

	BIO_clear_retry_flags(b);
	if (w->barren > BARREN_MAX)
		return -1; /* for good: SSL_read would go on by itself */
	if (take == 0) {
		if (!w->is_eof)
			BIO_set_retry_read(b);
		return w->is_eof ? 0 : -1;
	}
	memcpy(buf, w->in, take);
	w->in += take;
	w->in_n -= take;
	w->eaten += take;
	return (int)take;
}

static int
bio_write(BIO *b, const char *p, int n)
{
	struct wire *w = BIO_get_data(b);
	struct wire_bufs *bufs = w->bufs;

	BIO_clear_retry_flags(b);
	if (w->held.n == 0 && bufs->out_n + (size_t)n > WIRE_OUT)
		(void)wire_flush(w);
	if (w->held.n > 0) {
		w->is_overrun |= !spill_add(&w->held, p, (size_t)n);
		return w->is_overrun ? -1 : n;
	}
	if (bufs->out_n + (size_t)n > WIRE_OUT) {
		w->is_overrun = true;
		return -1;
	}
	memcpy(bufs->out + bufs->out_n, p, (size_t)n);
	bufs->out_n += (size_t)n;
	return n;
}

static long
bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	(void)b;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH ? 1 : 0; /* flights go when the caller flushes */
}

static int
bio_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

static void
make_method(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
	if (method == NULL || BIO_meth_set_read(method, bio_read) != 1 ||
		BIO_meth_set_write(method, bio_write) != 1 ||
		BIO_meth_set_ctrl(method, bio_ctrl) != 1 ||
		BIO_meth_set_create(method, bio_create) != 1)
		abort();
}

static void __attribute__((destructor)) free_method(void)
{
	BIO_meth_free(method);
}

void
wire_bufs_init(struct wire_bufs *b)
{
	*b = (struct wire_bufs){
		.in = xmalloc(WIRE_IN),
		.plain = xmalloc(WIRE_ROOM + WIRE_IN + WIRE_RECORD),
		.out = xmalloc(WIRE_OUT),
	};
}

void
wire_bufs_fini(struct wire_bufs *b)
{
	free(b->in);
	free(b->plain);
	free(b->out);
}

void
wire_init(struct wire *w, int fd, struct wire_bufs *bufs)
{
	*w = (struct wire){ .fd = fd, .bufs = bufs };
}

int
wire_start(struct wire *w, SSL_CTX *ctx, void *hello)
{
	pthread_once(&once, make_method);
	w->ssl = SSL_new(ctx);

	BIO *bio = w->ssl != NULL ? BIO_new(method) : NULL;

	if (bio == NULL) {
		SSL_free(w->ssl);
		w->ssl = NULL;
		ERR_clear_error();
		return -1;
	}
	BIO_set_data(bio, w);
	SSL_set_bio(w->ssl, bio, bio);
	SSL_set_accept_state(w->ssl);
	SSL_set_app_data(w->ssl, hello);
	return 0;
}

void
wire_fini(struct wire *w)
{
	wire_drop(w);
	if (w->ssl != NULL) {
		/* so that a session that was cut off can still be resumed */
		SSL_set_shutdown(w->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(w->ssl);
		w->ssl = NULL;
	}
}

void
wire_drop(struct wire *w)
{
	w->in_n = 0;
	if (w->bufs != NULL)
		w->bufs->out_n = 0;
	spill_fini(&w->held);
}

void
wire_again(struct wire *w, const char *p, size_t n)
{
	assert(w->in_n == 0 && n <= WIRE_IN);
	memcpy(w->bufs->in, p, n);
	w->in = w->bufs->in;
	w->in_n = (uint32_t)n;
}

ssize_t
wire_recv(struct wire *w, size_t cap)
{
	ssize_t n;

	assert(w->in_n == 0 && cap <= WIRE_IN);
	do
		n = recv(w->fd, w->bufs->in, cap, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		w->is_readable = false;
		return errno == EAGAIN || errno == EWOULDBLOCK ? -1 : -2;
	}
	/* A short read has emptied the socket; only a FIN may still be there. */
	if ((size_t)n < cap && !w->is_hup)
		w->is_readable = false;
	if (n == 0) {
		w->is_readable = false;
		w->is_eof = true;
	}
	w->in = w->bufs->in;
	w->in_n = (uint32_t)n;
	return n;
}

enum wire_result
wire_handshake(struct wire *w)
{
	int rc = keys_do_handshake(w->ssl);

	if (rc == 1)
		return WIRE_OK;
	if (SSL_get_error(w->ssl, rc) == SSL_ERROR_WANT_READ && !w->is_overrun) {
		w->is_long = w->eaten > WIRE_HELLO_MAX;
		if (!w->is_long)
			return WIRE_MORE;
	}
	w->in_n = 0;
	return WIRE_FAILED;
}

/* Every record that comes begins with its header. */
static void
on_message(int is_write, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
{
	struct wire *w = arg;

	(void)version;
	(void)p;
	(void)n;
	(void)ssl;
	w->barren += !is_write && type == SSL3_RT_HEADER;
}

enum wire_result
wire_read(struct wire *w, char *buf, size_t *n)
{
	const size_t cap = WIRE_IN + WIRE_RECORD;

	*n = 0;
	SSL_set_msg_callback(w->ssl, on_message);
	SSL_set_msg_callback_arg(w->ssl, w);
	while (w->in_n > 0) {
		int rc = SSL_read(w->ssl, buf + *n, (int)(cap - *n));

		if (rc > 0) {
			*n += (size_t)rc;
			w->barren = 0;
			continue;
		}

		int e = SSL_get_error(w->ssl, rc);

		if (e == SSL_ERROR_WANT_READ)
			continue;
		w->in_n = 0;
		return e == SSL_ERROR_ZERO_RETURN ? WIRE_CLOSED : WIRE_FAILED;
	}
	return WIRE_MORE;
}

enum wire_result
wire_write(struct wire *w, const char *p, size_t n)
{
	int rc = SSL_write(w->ssl, p, (int)n);

	return rc == (int)n && !w->is_overrun ? WIRE_OK : WIRE_FAILED;
}

void
wire_close_notify(struct wire *w)
{
	if (SSL_is_init_finished(w->ssl) && SSL_shutdown(w->ssl) < 0)
		ERR_clear_error();
}

void
wire_alert(struct wire *w, uint8_t code)
{
	const uint8_t record[] = { 21, 3, 1, 0, 2, 2, code };

	assert(w->bufs->out_n + sizeof(record) <= WIRE_OUT);
	memcpy(w->bufs->out + w->bufs->out_n, record, sizeof(record));
	w->bufs->out_n += sizeof(record);
}

bool
wire_has_output(const struct wire *w)
{
	return w->bufs->out_n > 0 || w->held.n > 0;
}

enum spill_result
wire_flush(struct wire *w)
{
	struct wire_bufs *b = w->bufs;
	enum spill_result r = spill_send(&w->held, w->fd);

	if (b->out_n > 0 && r == SPILL_BLOCKED) {
		/* what was gathered before the held bytes came to be cannot be there */
		w->is_overrun |= !spill_add(&w->held, b->out, b->out_n);
		r = w->is_overrun ? SPILL_FAILED : r;
	} else if (b->out_n > 0 && r == SPILL_DONE) {
		r = spill_send_new(&w->held, w->fd, b->out, b->out_n);
	}
	b->out_n = 0;
	if (r == SPILL_BLOCKED)
		w->is_writable = false;
	return r;
}

static enum reason
reason_of(int reason)
{
	switch (reason) {
	case TLSERROR_OURS: return REASON_INTERNAL;
	case TLSERROR_MALFORMED: return REASON_PROTOCOL;
	case SSL_R_NO_SHARED_CIPHER: return REASON_NO_SHARED_CIPHER;
	case SSL_R_NO_SUITABLE_KEY_SHARE:
	case SSL_R_NO_SHARED_GROUPS:
	case SSL_R_BAD_KEY_SHARE: return REASON_NO_SHARED_GROUP;
	case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM: return REASON_NO_SHARED_SIGNATURE;
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return REASON_NO_CLIENT_CERT;
	case SSL_R_CERTIFICATE_VERIFY_FAILED: return REASON_CLIENT_CERT;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
	case SSL_R_INAPPROPRIATE_FALLBACK: return REASON_WRONG_VERSION;
	case SSL_R_NO_APPLICATION_PROTOCOL: return REASON_ALPN;
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST: return REASON_HTTP_ON_TLS_PORT;
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_UNKNOWN_PROTOCOL: return REASON_NOT_TLS;
	case SSL_R_UNEXPECTED_EOF_WHILE_READING: return REASON_EOF;
	case SSL_R_EXCESSIVE_MESSAGE_SIZE: return REASON_TOO_LONG;
	default: break;
	}
	return reason >= SSL_AD_REASON_OFFSET ? REASON_CLIENT_ALERT : REASON_PROTOCOL;
}

enum reason
wire_reason(const struct wire *w, const char **detail)
{
	unsigned long code = ERR_peek_error();
	unsigned long last = ERR_peek_last_error();
	enum reason r = w->is_eof ? REASON_EOF : REASON_PROTOCOL;

	/* What verification tripped over is in front of what it means. */
	if (ERR_GET_LIB(last) == ERR_LIB_SSL &&
		ERR_GET_REASON(last) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		code = last;
	*detail = code != 0 ? ERR_reason_error_string(code) : NULL;
	if (w->is_overrun || w->is_long)
		r = REASON_TOO_LONG;
	else if (code != 0)
		r = reason_of(tlserror_reason(code, last));
	if (r == REASON_CLIENT_CERT)
		*detail = X509_verify_cert_error_string(SSL_get_verify_result(w->ssl));
	/* What breaks before our first answer is the ClientHello's fault. */
	if (r == REASON_PROTOCOL && SSL_get_state(w->ssl) <= TLS_ST_SR_CLNT_HELLO)
		r = REASON_BAD_CLIENT_HELLO;
	ERR_clear_error();
	return r;
}
