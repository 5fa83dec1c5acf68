/*
 * dial: the client's side of a handshake. Nothing is read after it is done: what came with the
 * server's last flight travels as ciphertext. Our copy of the socket is out of the event loop
 * before the asker is told.
 */
#include "tlsd/dial.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <utlist.h>

#include "libcommon/mem.h"

static void
release(struct dial *d)
{
	deadline_fini(&d->deadline);
	loop_io_free(d->io);
	if (d->wire.ssl != NULL) {
		keys_unwatch(d->wire.ssl);
		SSL_set_app_data(d->wire.ssl, NULL);
	}
	wire_fini(&d->wire);
	close(d->wire.fd);
	keys_wipe(&d->keys);
	policies_unref(d->policies);
	d->env->open--;
	free(d);
}

void
dial_cancel(struct dial *d)
{
	/* The asker may hold a copy, so closing ours alone would tell the server nothing. */
	shutdown(d->wire.fd, SHUT_RDWR);
	release(d);
}

static void
finish(struct dial *d, const struct dial_end *end)
{
	loop_io_free(d->io);
	d->io = NULL;
	d->fn(d, end);
	release(d);
}

static void
failed(struct dial *d, enum tlsask_why why, const char *detail)
{
	/* The alert that says why, if there is one. */
	if (d->wire.bufs->out_n > 0)
		(void)wire_flush(&d->wire);
	finish(d, &(struct dial_end){ .result = DIAL_FAILED, .why = why, .detail = detail });
}

static void
tls_failed(struct dial *d)
{
	char detail[TLSASK_TEXT_MAX + 1];
	enum tlsask_why why = policy_why(&d->finding, d->first, detail);

	if (d->wire.is_long || d->wire.is_overrun)
		failed(d, TLSASK_PROTOCOL_ERROR, "the handshake is too long");
	else
		failed(d, why, detail);
}

/* Its end came: from the server, or by the asker's shutdown, which ends both directions. */
static void
ended(struct dial *d, enum tlsask_why why)
{
	struct pollfd p = { .fd = d->wire.fd, .events = POLLOUT };

	if (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) == POLLHUP) {
		finish(d, &(struct dial_end){ .result = DIAL_LEFT });
		return;
	}
	/* Not TLS, and gone already: what was said tells more than that nothing follows. */
	if (d->first >= 0)
		tls_failed(d);
	else
		failed(d, why, "");
}

static void
done(struct dial *d)
{
	SSL *ssl = d->wire.ssl;
	struct handoff h = {
		.serial = d->serial,
		.info = { .has_tls = true },
		.in = slice_make(d->wire.in, d->wire.in_n),
		.out = slice_make(d->wire.held.p + d->wire.held.off, d->wire.held.n),
	};
	const unsigned char *alpn;
	unsigned alpn_n;

	if (d->wire.held.n == 0)
		h.out = slice_make(NULL, 0);
	if (!policy_has_protocol(ssl, d->protocols)) {
		failed(d, TLSASK_NO_PROTOCOL, "the server has not agreed to a protocol of ours");
		return;
	}
	if (!keys_take(&d->keys, ssl, &h.keys)) {
		failed(d, TLSASK_NO_SHARED_CIPHER, SSL_get_cipher_name(ssl));
		return;
	}
	SSL_get0_alpn_selected(ssl, &alpn, &alpn_n);
	h.info.alpn = slice_make((const char *)alpn, alpn_n);
	h.info.authority = slice_str(d->host);
	h.info.tls_version = slice_str(SSL_get_version(ssl));
	h.info.cipher = slice_str(SSL_get_cipher_name(ssl));
	finish(d, &(struct dial_end){ .result = DIAL_DONE, .done = &h });
	handoff_wipe(&h.keys);
}

/* false: it is over. */
static bool
flush(struct dial *d)
{
	enum spill_result sent;

	if (!wire_has_output(&d->wire))
		return true;
	keys_saw_output(&d->keys, d->wire.bufs->out, d->wire.bufs->out_n);
	sent = wire_flush(&d->wire);
	if (sent == SPILL_FAILED) {
		ended(d, TLSASK_RESET);
		return false;
	}
	loop_io_set(d->io, LOOP_READ | (sent == SPILL_BLOCKED ? LOOP_WRITE : 0));
	return true;
}

static void
shake(struct dial *d)
{
	enum wire_result r = wire_handshake(&d->wire);

	if (r == WIRE_FAILED)
		tls_failed(d);
	else if (flush(d) && r == WIRE_OK)
		done(d);
}

static void
on_ready(void *arg, int fd, int events)
{
	struct dial *d = arg;
	ssize_t n;

	(void)fd;
	if (!(events & LOOP_READ)) {
		(void)flush(d);
		return;
	}
	n = wire_recv(&d->wire, WIRE_HELLO_IN);
	if (n == -1)
		return;
	if (n == -2) {
		ended(d, TLSASK_RESET);
	} else if (n == 0) {
		ended(d, TLSASK_CLOSED);
	} else {
		if (d->first < 0)
			d->first = (uint8_t)d->wire.in[0];
		shake(d);
	}
}

static void
on_deadline(struct deadline *dl)
{
	struct dial *d = (struct dial *)(void *)((char *)dl - offsetof(struct dial, deadline));

	failed(d, TLSASK_TIMEOUT, "");
}

void
dial_start(struct dial_env *env, struct policies *all, const struct policy *p,
	const struct tlsask *ask, int fd, struct dial **list, void *owner, dial_fn fn)
{
	struct dial *d = xcalloc(1, sizeof(*d));

	d->env = env;
	d->owner = owner;
	d->fn = fn;
	d->first = -1;
	d->serial = ask->serial;
	d->protocols = ask->protocols;
	d->policies = policies_ref(all);
	d->policy = p;
	memcpy(d->host, ask->host.p, ask->host.n < TLSPOLICY_HOST ? ask->host.n : 0);
	env->open++;
	DL_APPEND(*list, d);
	deadline_init(&d->deadline, on_deadline);
	wire_init(&d->wire, fd, &env->bufs);
	if (wire_start(&d->wire, p->ctx, &d->finding) < 0) {
		finish(d,
			&(struct dial_end){ .result = DIAL_FAILED,
				.why = TLSASK_INTERNAL,
				.detail = "no memory" });
		return;
	}
	SSL_set_connect_state(d->wire.ssl);
	keys_watch(&d->keys, d->wire.ssl);
	if (!policy_apply(p, d->wire.ssl, d->host, ask->protocols)) {
		ERR_clear_error();
		failed(d, TLSASK_INTERNAL, "no certificate can name this server");
		return;
	}
	d->io = loop_io_new(env->loop, fd, LOOP_READ, on_ready, d);
	deadline_set(env->loop, &d->deadline, env->timeout_ms);
	shake(d);
}
