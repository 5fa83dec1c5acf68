/*
 * stream_tls: between the record layer and a socket. Reading fills a buffer of the worker's in one
 * recv and opens its records straight into the reader's memory. Writing seals as much as the socket
 * will likely take into the worker's other buffer and sends it in one call.
 *
 * Invariant: the worker's buffers hold nothing between calls. What was sealed is sent in that
 * order; data count as written only when all their records are with the kernel, so whoever thinks
 * that it has flushed, has.
 */
#include "libcommon/stream_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libcommon/mem.h"
#include "libcommon/stream_tls_int.h"

/* One recv: as much as the reader has room for, and a record with its neighbours' edges. */
#define IN_MAX   (320u << 10)
#define IN_EXTRA 1024
/* Sealed per send: doubled while the socket takes all, cut down when it does not. */
#define QUOTA_MIN   (16u << 10)
#define QUOTA_FIRST (64u << 10)
#define QUOTA_MAX   (128u << 10)
#define DATA_MAX    (QUOTA_MAX + 16 * TLSREC_OVERHEAD + 4096)
/* What may wait for the first answer: a session ticket or two. */
#define WAITING_MAX 4096
#define OUT_MAX     (WAITING_MAX + DATA_MAX + TLSREC_CONTROL_MAX)
#define LAYERS_KEEP 256

bool
stream_tls_env_init(struct stream_tls_env *env)
{
	*env = (struct stream_tls_env){ .rec = tlsrec_worker_new() };
	if (env->rec == NULL)
		return false;
	env->in = xmalloc(IN_MAX);
	env->out = xmalloc(OUT_MAX);
	freelist_init(&env->layers, sizeof(struct stream_layer), LAYERS_KEEP);
	return true;
}

void
stream_tls_env_fini(struct stream_tls_env *env)
{
	stream_ktls_fini(env);
	freelist_fini(&env->layers);
	free(env->in);
	free(env->out);
	tlsrec_worker_free(env->rec);
	*env = (struct stream_tls_env){ .rec = NULL };
}

static char *
keep(const char *p, size_t n)
{
	return n > 0 ? memcpy(xmalloc(n), p, n) : NULL;
}

/* --- what is held ------------------------------------------------------------------------- */

static void
count(struct stream_tls_env *env, size_t more, size_t less)
{
	if (env->held != NULL)
		__atomic_store_n(env->held, *env->held + more - less, __ATOMIC_RELAXED);
}

/* Nothing is held any more. */
static void
drop_held(struct stream_layer *x)
{
	count(x->env, 0, x->out_n);
	free(x->out);
	x->out = NULL;
	x->out_r = x->out_n = 0;
}

/* Behind what is held already. */
static void
hold(struct stream_layer *x, const char *p, size_t n)
{
	if (n == 0)
		return;

	size_t left = x->out_n - x->out_r;
	char *all = xmalloc(left + n);

	if (left > 0)
		memcpy(all, x->out + x->out_r, left);
	memcpy(all + left, p, n);
	drop_held(x);
	count(x->env, left + n, 0);
	x->out = all;
	x->out_n = left + n;
}

/* How many of p[0..n) the socket took, or STREAM_ERROR. */
static ssize_t
send_some(struct stream *s, const char *p, size_t n, int flags)
{
	ssize_t sent;

	do
		sent = send(s->fd, p, n, MSG_NOSIGNAL | flags);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno != EAGAIN)
		return STREAM_ERROR;
	if (sent < (ssize_t)n)
		s->writable = false;
	return sent < 0 ? 0 : sent;
}

/* 1: nothing is held any more; 0: the socket is full; STREAM_ERROR. */
static int
send_held(struct stream *s, struct stream_layer *x)
{
	if (x->out_n == 0)
		return 1;
	x->is_waiting = false;

	ssize_t sent = send_some(s, x->out + x->out_r, x->out_n - x->out_r, 0);

	if (sent < 0)
		return STREAM_ERROR;
	x->out_r += (size_t)sent;
	if (x->out_r < x->out_n)
		return 0;
	drop_held(x);
	if (x->wants_fin)
		shutdown(s->fd, SHUT_WR);
	x->wants_fin = false;
	return 1;
}

/* Records that carry no data of the writer's: sent, or held. */
static void
send_control(struct stream *s, struct stream_layer *x, const char *p, size_t n)
{
	if (n == 0)
		return;
	hold(x, p, n);
	(void)send_held(s, x); /* a broken socket tells its reader */
}

static void
say_goodbye(struct stream *s, struct stream_layer *x, enum tlsrec_alert alert)
{
	char record[TLSREC_CONTROL_MAX];

	if (x->kernel != NULL)
		stream_ktls_goodbye(s, x, alert);
	else
		send_control(s, x, record, tlsrec_close(&x->rec, alert, record, sizeof(record)));
}

/* --- reading ------------------------------------------------------------------------------ */

static ssize_t
take_plain(struct stream_layer *x, void *p, size_t n)
{
	if (n > x->plain_n - x->plain_r)
		n = x->plain_n - x->plain_r;
	memcpy(p, x->plain + x->plain_r, n);
	x->plain_r += n;
	if (x->plain_r == x->plain_n) {
		free(x->plain);
		x->plain = NULL;
		x->plain_r = x->plain_n = 0;
	}
	return (ssize_t)n;
}

/* A read in progress: ciphertext in env->in[at..have), p[0..got) is done. */
struct reading {
	char *buf;
	size_t at;
	size_t have;
	char *p;
	size_t n;
	size_t got;
};

/*
 * Open what is there. The reader's memory may be too small for a record: then it is the first of
 * the next read, and if nothing else has come, it is opened where it lies and the rest is kept.
 */
static enum tlsrec_result
open_records(struct stream_layer *x, struct reading *r)
{
	for (;;) {
		struct tlsrec_piece piece;
		enum tlsrec_result result = tlsrec_open(&x->rec, r->buf + r->at, r->have - r->at,
			r->p + r->got, r->n - r->got, &piece);
		bool is_kept = result == TLSREC_ROOM && r->got == 0;

		if (is_kept)
			result = tlsrec_open(
				&x->rec, r->buf + r->at, r->have - r->at, NULL, 0, &piece);
		r->at += piece.used;
		if (result == TLSREC_DATA && is_kept) {
			r->got = piece.n < r->n ? piece.n : r->n;
			memcpy(r->p, piece.p, r->got);
			x->plain_n = piece.n - r->got;
			x->plain = keep(piece.p + r->got, x->plain_n);
			return TLSREC_ROOM;
		}
		if (result != TLSREC_DATA && result != TLSREC_NOTHING)
			return result;
		r->got += piece.n;
	}
}

/* More ciphertext behind what is there. false: there is none now. */
static bool
receive(struct stream *s, struct stream_layer *x, struct reading *r)
{
	size_t room = r->n - r->got > TLSREC_RECORD_MAX ? r->n - r->got : TLSREC_RECORD_MAX;
	ssize_t n;

	if (x->is_drained)
		return false;
	r->have -= r->at;
	memmove(r->buf, r->buf + r->at, r->have);
	r->at = 0;
	room += IN_EXTRA;
	if (room > IN_MAX - r->have)
		room = IN_MAX - r->have;
	do
		n = recv(s->fd, r->buf + r->have, room, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		r->have += (size_t)n;
		/* A short read has emptied the socket, unless its end was announced. */
		x->is_drained = (size_t)n < room && !s->peer_closed;
		return true;
	}
	if (n < 0 && errno == EAGAIN)
		x->is_drained = true;
	else
		x->error = n == 0 ? ECONNRESET : errno;
	return false;
}

/* After the records: answers, failures, and what is left for the next read. */
static void
settle(struct stream *s, struct stream_layer *x, struct reading *r, enum tlsrec_result result)
{
	char record[TLSREC_CONTROL_MAX];

	/* One at a time: it stays owed while the peer does not even read what was said before. */
	if (x->kernel != NULL)
		stream_ktls_answer(s, x);
	else if (tlsrec_has_control(&x->rec) && x->out_n == 0)
		send_control(s, x, record, tlsrec_control(&x->rec, record, sizeof(record)));
	if (result == TLSREC_BAD) {
		x->error = EPROTO;
		say_goodbye(s, x, (enum tlsrec_alert)x->rec.alert);
	} else if (result == TLSREC_GIVEN_UP) {
		x->error = ECONNRESET;
	}
	if (result == TLSREC_MORE || result == TLSREC_ROOM) {
		x->in_n = r->have - r->at;
		x->in = keep(r->buf + r->at, x->in_n);
	}
	s->readable = !x->is_drained || result != TLSREC_MORE || x->error != 0;
}

ssize_t
stream_tls_read(struct stream *s, void *p, size_t n)
{
	struct stream_layer *x = stream_layer_of(s);
	struct reading r = { .buf = x->env->in, .have = x->in_n, .p = p, .n = n };
	enum tlsrec_result result;

	if (x->plain_n > 0)
		return take_plain(x, p, n);
	if (x->error == 0 && !tlsrec_is_ended(&x->rec)) {
		if (x->in_n > 0)
			memcpy(r.buf, x->in, x->in_n);
		free(x->in);
		x->in = NULL;
		x->in_n = 0;
		do
			result = open_records(x, &r);
		while (result == TLSREC_MORE && receive(s, x, &r));
		settle(s, x, &r, result);
	}
	if (r.got > 0)
		return (ssize_t)r.got;
	if (tlsrec_is_ended(&x->rec))
		return 0;
	if (x->error == 0)
		return STREAM_AGAIN;
	errno = x->error;
	return STREAM_ERROR;
}

/* --- writing ------------------------------------------------------------------------------ */

static size_t
length_of(const struct iovec *v, int n)
{
	size_t all = 0;

	for (int i = 0; i < n; i++)
		all += v[i].iov_len;
	return all;
}

/* What was held to go with the first answer, to the front of the worker's buffer; its length. */
static size_t
take_waiting(struct stream_layer *x)
{
	size_t n = x->out_n;

	memcpy(x->env->out, x->out, n);
	drop_held(x);
	x->is_waiting = false;
	return n;
}

/*
 * Seal and send from byte `done` of v on: how many were taken by the socket, 0 when it is full
 * (what is sealed is held then, and owed), or STREAM_ERROR. What belongs before it or after it
 * goes in the same call: a segment less costs more than sealing it.
 */
static ssize_t
seal_and_send(struct stream *s, struct stream_layer *x, const struct iovec *v, int n, size_t done)
{
	bool is_tight = x->env->tight != NULL && *x->env->held >= *x->env->tight;
	size_t room = tlsrec_room(&x->rec, is_tight ? QUOTA_MIN : x->quota);
	size_t before = x->is_waiting ? take_waiting(x) : 0;
	int flags = 0;
	size_t taken;
	ssize_t sealed = tlsrec_seal(&x->rec, v, n, done, x->env->out + before,
		room < DATA_MAX ? room : DATA_MAX, &taken);

	if (sealed < 0) {
		errno = EPIPE;
		return STREAM_ERROR;
	}
	sealed += (ssize_t)before;
	if (s->is_last && done + taken == length_of(v, n)) {
		sealed += (ssize_t)tlsrec_close(
			&x->rec, TLSREC_CLOSE_NOTIFY, x->env->out + sealed, TLSREC_CONTROL_MAX);
		flags = s->is_ending ? MSG_MORE : 0;
	}

	ssize_t sent = send_some(s, x->env->out, (size_t)sealed, flags);

	if (sent < 0)
		return STREAM_ERROR;
	if (sent < sealed) {
		hold(x, x->env->out + sent, (size_t)(sealed - sent));
		x->owed = taken;
		x->quota = x->quota / 2 < QUOTA_MIN ? QUOTA_MIN : x->quota / 2;
		return 0;
	}
	if (taken >= x->quota && x->quota < QUOTA_MAX)
		x->quota *= 2;
	return (ssize_t)taken;
}

/* An alert may lie before the end. */
ssize_t
stream_tls_failed_write(struct stream *s, struct stream_layer *x)
{
	x->is_drained = false;
	s->readable = true;
	return STREAM_ERROR;
}

static ssize_t
tls_write(struct stream *s, const struct iovec *v, int n)
{
	struct stream_layer *x = stream_layer_of(s);
	const size_t all = length_of(v, n);
	size_t done;
	int held = x->is_waiting && all > 0 ? 1 : send_held(s, x);

	if (held < 0)
		return stream_tls_failed_write(s, x);
	if (held == 0)
		return STREAM_AGAIN;
	done = x->owed < all ? x->owed : all;
	x->owed -= done;
	while (done < all) {
		ssize_t sent = seal_and_send(s, x, v, n, done);

		if (sent == STREAM_ERROR && done == 0)
			return stream_tls_failed_write(s, x);
		if (sent <= 0)
			break;
		done += (size_t)sent;
	}
	return done > 0 || all == 0 ? (ssize_t)done : STREAM_AGAIN;
}

/* --- the rest ----------------------------------------------------------------------------- */

static void
tls_ready(struct stream *s, short what)
{
	struct stream_layer *x = stream_layer_of(s);

	if (what & (EV_READ | EV_CLOSED))
		x->is_drained = false;
	if ((what & EV_WRITE) && !x->is_waiting && send_held(s, x) < 0)
		s->readable = true;
}

static void
tls_shutdown(struct stream *s)
{
	struct stream_layer *x = stream_layer_of(s);

	say_goodbye(s, x, TLSREC_CLOSE_NOTIFY);
	if (x->out_n > 0)
		x->wants_fin = true;
	else
		shutdown(s->fd, SHUT_WR);
}

void
stream_tls_release(struct stream *s)
{
	struct stream_layer *x = stream_layer_of(s);

	tlsrec_fini(&x->rec);
	free(x->kernel);
	free(x->in);
	free(x->plain);
	drop_held(x);
	freelist_give(&x->env->layers, x);
	s->layer = NULL;
}

static void
tls_close(struct stream *s)
{
	struct stream_layer *x = stream_layer_of(s);

	if (!s->is_cut && x->error == 0 && (x->out_n == 0 || x->is_waiting))
		say_goodbye(s, x, TLSREC_CLOSE_NOTIFY);
	/* Who made the handshake may still hold a copy, and close alone then tells the peer
	 * nothing. */
	if (!s->is_cut)
		shutdown(s->fd, SHUT_WR);
	stream_tls_release(s);
}

static const struct stream_ops stream_tls = {
	.read = stream_tls_read,
	.write = tls_write,
	.shutdown = tls_shutdown,
	.close = tls_close,
	.ready = tls_ready,
	.open_pipe = stream_ktls_open,
	.wants_pipe = stream_ktls_wants,
};

bool
stream_tls_init(struct stream *s, struct event_base *base, int fd, struct stream_tls_env *env,
	const struct handoff_keys *keys, struct slice in, struct slice out, stream_fn fn)
{
	struct stream_layer *x = freelist_take(&env->layers);

	*x = (struct stream_layer){ .env = env, .quota = QUOTA_FIRST, .is_drained = true };
	if (!tlsrec_init(&x->rec, env->rec, keys)) {
		freelist_give(&env->layers, x);
		return false;
	}
	x->in = keep(in.p, in.n);
	x->in_n = in.n;
	hold(x, out.p, out.n);
	stream_init(s, base, fd, &stream_tls, fn);
	s->layer = x;
	s->readable = in.n > 0;
	/* After a handshake of TLS 1.3 a server has only tickets left to say. When the request has
	 * come already they need no segment of their own. */
	x->is_waiting = out.n > 0 && out.n <= WAITING_MAX && in.n > 0 &&
		keys->role == HANDOFF_SERVER && keys->suite->version == HANDOFF_TLS13;
	if (!x->is_waiting)
		(void)send_held(s, x);
	return true;
}

const char *
stream_tls_reason(const struct stream *s, uint8_t *alert)
{
	const struct stream_layer *x = stream_layer_of(s);

	if (s->ops->read != stream_tls_read || x == NULL)
		return NULL;
	*alert = x->rec.alert;
	if (x->rec.reason != NULL)
		return x->rec.reason;
	if (x->rec.is_given_up)
		return "peer_alert";
	return x->error == ECONNRESET ? "truncated" : NULL;
}
