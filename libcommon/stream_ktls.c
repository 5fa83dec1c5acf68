/*
 * stream_ktls: the sending side of a TLS connection in the kernel's hands (ktls), taken over when a
 * large body is about to come that could pass from socket to socket in a pipe: that is what the
 * kernel does cheaper. From then on it seals all that is sent on this connection.
 *
 * Invariants: it begins between two records, when nothing that we sealed waits. Nothing is sealed
 * by us from then on. A KeyUpdate goes under the old key, and nothing between it and the new one.
 *
 * The kernel counts bytes as taken that it has sealed and cannot give to TCP yet, up to a record of
 * them, and forgets these at close, and after a FIN. So both come when TCP has all; where the owner
 * has closed before that, a second descriptor stays behind until then (a tail).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "libcommon/ktls.h"
#include "libcommon/mem.h"
#include "libcommon/stream_tls_int.h"
#include "libcommon/tlsrec_int.h"

/* A body from which on it pays: the kernel's set-up costs as much as copying some hundred kB, and
 * small answers that follow on the connection are no cheaper than sealed here. */
#define KERNEL_MIN (1u << 20)
/* Records that one call makes, besides full ones: a pipe's buffers, or a gathering write's. */
#define ODD_RECORDS 48
/* Tails are looked at so often; one whose peer has acknowledged nothing for so long is given up. */
#define TAIL_LOOK_MS    100
#define TAIL_PATIENT_MS 30000
#define TAILS_MAX       1024

static const struct timeval look_after = { .tv_usec = TAIL_LOOK_MS * 1000 };

/* A connection whose owner has gone, and that TCP has not got all of. */
struct ktls_tail {
	struct ktls_tail *next;
	struct ktls_tail *prev;
	struct stream_tls_env *env;
	const struct handoff_suite *suite;
	struct ktls_state kernel;
	uint64_t acknowledged;
	unsigned quiet_ms;
	int fd;
	struct event timer;
};

static const struct stream_ops stream_ktls;

/* --- what it has taken ---------------------------------------------------------------------- */

/*
 * Does the kernel hold bytes that TCP has not got? Exact: records are as long as their content and
 * a fixed number of bytes more, and it tells how many there were. *acknowledged: by the peer.
 */
static bool
holds(int fd, const struct handoff_suite *suite, const struct ktls_state *k, uint64_t *acknowledged)
{
	uint64_t given;
	uint64_t seq;

	if (!ktls_seq(fd, suite, &seq) || !ktls_tcp_bytes(fd, &given, acknowledged))
		return false; /* nobody is there any more */

	uint64_t records = k->records + seq - k->seq_start;

	return given - k->tcp_start < k->content + records * ktls_overhead(suite);
}

/* 1: sent; 0: no room; STREAM_ERROR. */
static int
send_record(int fd, struct ktls_state *k, uint8_t type, const void *p, size_t n)
{
	ssize_t sent = ktls_send(fd, type, p, n);

	if (sent < 0)
		return errno == EAGAIN ? 0 : STREAM_ERROR;
	k->content += n;
	k->seq_most++;
	return 1;
}

static int
send_alert(int fd, struct ktls_state *k, uint8_t level, uint8_t alert)
{
	const uint8_t body[] = { level, alert };

	return send_record(fd, k, ALERT, body, sizeof(body));
}

/* A KeyUpdate that asks for none was sent: the next key. */
static bool
change_key(int fd, struct tlsrec *t, struct ktls_state *k)
{
	uint64_t seq;

	if (!ktls_seq(fd, t->suite, &seq) || !tlsrec_give_next(t) || !ktls_rekey(fd, t))
		return false;
	k->records += seq - k->seq_start;
	k->seq_start = k->seq_most = 0;
	return true;
}

/* What must go before data: as send_record. */
static int
send_owed(struct stream *s, struct stream_layer *x)
{
	struct ktls_state *k = x->kernel;
	struct tlsrec *t = &x->rec;
	int r = 1;

	if (t->owes_refusal && !t->is_closed) {
		r = send_alert(s->fd, k, WARNING, TLSREC_NO_RENEGOTIATION);
		if (r == 1)
			t->owes_refusal = false;
	}
	if (r == 1 && t->owes_update && !t->is_closed) {
		r = send_record(s->fd, k, HANDSHAKE, tlsrec_key_update, sizeof(tlsrec_key_update));
		if (r == 1) {
			t->owes_update = false;
			/* No record may follow under the old key. */
			if (!change_key(s->fd, t, k)) {
				t->is_closed = true;
				errno = EPIPE;
				r = STREAM_ERROR;
			}
		}
	}
	if (r == 0)
		s->writable = false;
	return r;
}

/* Will n bytes leave the cipher unworn? An update is owed before them else; false: there is none.
 */
static bool
make_sure(struct stream *s, struct stream_layer *x, size_t n)
{
	struct ktls_state *k = x->kernel;
	bool has_next;
	const uint64_t last = tlsrec_last_record(&x->rec, &has_next);
	const uint64_t add = n / HANDOFF_LIMIT_MAX + ODD_RECORDS;

	if (x->rec.is_closed)
		return false;
	if (k->seq_most + add > last && ktls_seq(s->fd, x->rec.suite, &k->seq_most) &&
		k->seq_most + add > last) {
		x->rec.owes_update |= has_next;
		if (!has_next)
			return false;
	}
	k->seq_most += add;
	return true;
}

/* May n bytes of data go? 1, 0: not now, STREAM_ERROR. */
static int
make_way(struct stream *s, struct stream_layer *x, size_t n)
{
	if (!make_sure(s, x, n)) {
		errno = EPIPE;
		return STREAM_ERROR;
	}
	return send_owed(s, x);
}

static ssize_t
count(struct stream *s, struct stream_layer *x, ssize_t sent)
{
	if (sent > 0)
		x->kernel->content += (uint64_t)sent;
	return sent == STREAM_ERROR ? stream_tls_failed_write(s, x) : sent;
}

/* --- the stream's operations ---------------------------------------------------------------- */

static ssize_t
ktls_write(struct stream *s, const struct iovec *v, int n)
{
	struct stream_layer *x = stream_layer_of(s);
	size_t all = 0;
	int r;

	for (int i = 0; i < n; i++)
		all += v[i].iov_len;
	if (all == 0)
		return 0;
	r = make_way(s, x, all);
	if (r != 1)
		return count(s, x, r == 0 ? STREAM_AGAIN : STREAM_ERROR);
	return count(s, x, stream_plain.write(s, v, n));
}

static ssize_t
ktls_write_pipe(struct stream *s, int pipe_fd, size_t n)
{
	struct stream_layer *x = stream_layer_of(s);
	int r = make_way(s, x, n);

	if (r != 1)
		return count(s, x, r == 0 ? STREAM_AGAIN : STREAM_ERROR);
	return count(s, x, stream_plain.write_pipe(s, pipe_fd, n));
}

static void
send_goodbye(int fd, struct ktls_state *k)
{
	if (k->goodbye < 0)
		return;
	/* Where it cannot be sent for good, it need not be. */
	if (send_alert(fd, k, k->goodbye == TLSREC_CLOSE_NOTIFY ? WARNING : FATAL,
		    (uint8_t)k->goodbye) != 0)
		k->goodbye = -1;
}

void
stream_ktls_goodbye(struct stream *s, struct stream_layer *x, enum tlsrec_alert alert)
{
	if (x->rec.is_closed)
		return;
	x->rec.is_closed = true;
	x->kernel->goodbye = (int)alert;
	send_goodbye(s->fd, x->kernel);
}

void
stream_ktls_answer(struct stream *s, struct stream_layer *x)
{
	if (x->rec.owes_refusal)
		(void)send_owed(s, x); /* a broken socket tells its reader */
}

static bool
is_flushed(const struct stream *s, const struct stream_layer *x)
{
	uint64_t acknowledged;

	return x->kernel->goodbye < 0 && !holds(s->fd, x->rec.suite, x->kernel, &acknowledged);
}

static void
send_fin(struct stream *s, struct stream_layer *x)
{
	if (!x->wants_fin || !is_flushed(s, x))
		return;
	x->wants_fin = false;
	shutdown(s->fd, SHUT_WR);
}

static void
ktls_ready(struct stream *s, short what)
{
	struct stream_layer *x = stream_layer_of(s);

	if (what & (EV_READ | EV_CLOSED))
		x->is_drained = false;
	if (what & EV_WRITE)
		send_goodbye(s->fd, x->kernel);
	send_fin(s, x);
}

/* Where no event tells that TCP has got the rest, close_notify alone has to do until the close. */
static void
ktls_shutdown(struct stream *s)
{
	struct stream_layer *x = stream_layer_of(s);

	stream_ktls_goodbye(s, x, TLSREC_CLOSE_NOTIFY);
	x->wants_fin = true;
	send_fin(s, x);
}

/* --- tails ---------------------------------------------------------------------------------- */

static void
tell(const struct stream_tls_env *env, enum stream_ktls_event what)
{
	if (env->on_kernel != NULL)
		env->on_kernel(env->arg, what);
}

static void
end_tail(struct ktls_tail *t, bool is_whole)
{
	struct stream_tls_env *env = t->env;

	DL_DELETE(env->tails, t);
	env->tail_count--;
	evtimer_del(&t->timer);
	shutdown(t->fd, SHUT_WR);
	close(t->fd);
	free(t);
	if (!is_whole)
		tell(env, STREAM_KTLS_CUT);
	if (env->tail_count == 0)
		tell(env, STREAM_KTLS_NO_TAILS);
}

static void
look_at_tail(evutil_socket_t fd, short what, void *arg)
{
	struct ktls_tail *t = arg;
	uint64_t acknowledged = 0;

	(void)fd;
	(void)what;
	send_goodbye(t->fd, &t->kernel);
	if (!holds(t->fd, t->suite, &t->kernel, &acknowledged) && t->kernel.goodbye < 0) {
		end_tail(t, true);
		return;
	}
	t->quiet_ms = acknowledged == t->acknowledged ? t->quiet_ms + TAIL_LOOK_MS : 0;
	t->acknowledged = acknowledged;
	if (t->quiet_ms >= TAIL_PATIENT_MS)
		end_tail(t, false);
	else
		evtimer_add(&t->timer, &look_after);
}

static void
leave_tail(struct stream *s, struct stream_layer *x)
{
	struct stream_tls_env *env = x->env;
	int fd = env->tail_count < TAILS_MAX ? fcntl(s->fd, F_DUPFD_CLOEXEC, 0) : -1;
	struct ktls_tail *t;

	if (fd < 0) {
		tell(env, STREAM_KTLS_CUT);
		return;
	}
	t = xcalloc(1, sizeof(*t));
	t->env = env;
	t->suite = x->rec.suite;
	t->kernel = *x->kernel;
	t->fd = fd;
	DL_APPEND(env->tails, t);
	env->tail_count++;
	evtimer_assign(&t->timer, event_get_base(&s->ev), look_at_tail, t);
	evtimer_add(&t->timer, &look_after);
}

static void
ktls_close(struct stream *s)
{
	struct stream_layer *x = stream_layer_of(s);

	if (!s->is_cut && x->error == 0)
		stream_ktls_goodbye(s, x, TLSREC_CLOSE_NOTIFY);
	if (!s->is_cut && !is_flushed(s, x))
		leave_tail(s, x);
	else if (!s->is_cut)
		shutdown(s->fd, SHUT_WR);
	stream_tls_release(s);
}

void
stream_ktls_fini(struct stream_tls_env *env)
{
	env->on_kernel = NULL;
	while (env->tails != NULL)
		end_tail(env->tails, false);
}

static const struct stream_ops stream_ktls = {
	.read = stream_tls_read,
	.write = ktls_write,
	.shutdown = ktls_shutdown,
	.close = ktls_close,
	.write_pipe = ktls_write_pipe,
	.ready = ktls_ready,
};

/* --- the beginning -------------------------------------------------------------------------- */

/* Clients' connections only; no record of ours may wait, and none may have to be smaller than the
 * kernel makes them. */
static bool
is_suitable(const struct stream_layer *x)
{
	const struct tlsrec *t = &x->rec;
	bool has_next;

	return !x->is_no_kernel && x->env->kernel != NULL &&
		(atomic_load_explicit(x->env->kernel, memory_order_relaxed) & ktls_bit(t->suite)) &&
		x->out_n == 0 && x->owed == 0 && !t->is_closed && !t->is_client &&
		!t->owes_update && !t->owes_refusal && t->write.limit == HANDOFF_LIMIT_MAX &&
		t->write.seq < tlsrec_last_record(t, &has_next);
}

bool
stream_ktls_wants(const struct stream *s, uint64_t n)
{
	return n >= KERNEL_MIN && is_suitable(stream_layer_of(s));
}

bool
stream_ktls_open(struct stream *s, uint64_t n)
{
	struct stream_layer *x = stream_layer_of(s);
	struct tlsrec *t = &x->rec;
	uint64_t given;
	uint64_t acknowledged;

	if (!stream_ktls_wants(s, n))
		return false;
	if (!ktls_tcp_bytes(s->fd, &given, &acknowledged) || !ktls_begin(s->fd, t)) {
		x->is_no_kernel = true;
		return false;
	}
	tlsrec_give(t);
	x->kernel = xmalloc(sizeof(*x->kernel));
	*x->kernel = (struct ktls_state){
		.tcp_start = given,
		.seq_start = t->write.seq,
		.seq_most = t->write.seq,
		.goodbye = -1,
	};
	s->ops = &stream_ktls;
	tell(x->env, STREAM_KTLS_TAKEN);
	return true;
}
