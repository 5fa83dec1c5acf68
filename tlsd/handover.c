/*
 * handover: nothing is read from the client after the handshake; what came with it travels as
 * ciphertext. While the connection is offered its socket is in no event loop of ours, because
 * another process may already have it in its own.
 */
#include "tlsd/handover.h"

#include <assert.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <string.h>

#include "libcommon/handoffmsg.h"
#include "libcommon/mem.h"
#include "libcommon/tlsrec.h"
#include "tlsd/header.h"
#include "tlsd/session.h"

static bool
is_wanted(const struct session *s)
{
	return s->listener->cfg->seam == SEAM_HANDOFF && !s->hello->is_challenge;
}

void
handover_watch(struct session *s)
{
	if (is_wanted(s))
		keys_watch(&s->hello->keys, s->wire.ssl);
}

void
handover_unwatch(struct session *s)
{
	if (is_wanted(s))
		keys_unwatch(s->wire.ssl);
}

void
handover_saw_output(struct session *s)
{
	if (is_wanted(s))
		keys_saw_output(&s->hello->keys, s->wire.bufs->out, s->wire.bufs->out_n);
}

/* Taken: routerd owns it, close our copy. Else the channel has ended: to another. */
static void
on_answer(struct handover *h, bool is_taken)
{
	struct session *s = (struct session *)(void *)((char *)h - offsetof(struct session, over));

	if (is_taken)
		stats_add(&s->w->stats.handed_over, 1);
	session_drive(s, is_taken ? SESSION_CLOSED : SESSION_HANDOVER);
}

bool
handover_carries_output(const struct session *s)
{
	return is_wanted(s) && SSL_version(s->wire.ssl) == TLS1_3_VERSION && s->wire.in_n > 0 &&
		s->wire.held.n == 0;
}

/* Ciphertext that the client did not get yet. */
static struct slice
unsent(const struct session *s)
{
	const struct wire *w = &s->wire;

	if (w->held.n > 0)
		return slice_make(w->held.p + w->held.off, w->held.n);
	return slice_make(w->bufs->out, w->bufs->out_n);
}

/* The message, in the worker's buffer; its length, 0 when it cannot be made. */
static size_t
encode(struct session *s, char *out, size_t cap)
{
	struct handoff h = {
		.is_resumed = SSL_session_reused(s->wire.ssl),
		.in = slice_make(s->wire.in, s->wire.in_n),
		.out = unsent(s),
	};
	struct header_text room;
	size_t n = 0;

	if (keys_take(&s->hello->keys, s->wire.ssl, &h.keys)) {
		header_info(s, &h.info, &room);
		n = handoff_encode(&h, out, cap);
	}
	handoff_wipe(&h.keys);
	return n;
}

bool
handover_prepare(struct session *s)
{
	struct handover *h = &s->over;
	char *buf = s->wire.bufs->plain;
	size_t n;

	_Static_assert(WIRE_IN >= HANDOFF_MAX, "room for a message");
	if (!is_wanted(s))
		return false;
	n = encode(s, buf, WIRE_IN);
	if (n == 0) {
		stats_add(&s->w->stats.handoff_refused, 1);
		handover_unwatch(s);
		keys_wipe(&s->hello->keys);
		return false;
	}
	*h = (struct handover){
		.fn = on_answer,
		.msg = memcpy(xmalloc(n), buf, n),
		.msg_n = (uint32_t)n,
		.fd = s->wire.fd,
	};
	OPENSSL_cleanse(buf, n);
	keys_wipe(&s->hello->keys);
	s->wire.bufs->out_n = 0;
	wire_fini(&s->wire);
	return true;
}

/* What the client was not sent yet and close_notify, sealed with the keys of the message, into the
 * worker's buffer: nobody else may use them any more, nor has, because this was never taken. */
static void
say_goodbye(struct session *s)
{
	struct worker *w = s->w;
	struct handoff m;
	struct tlsrec t;
	const char *reason;

	if (w->records == NULL)
		w->records = tlsrec_worker_new();
	if (w->records == NULL || !handoff_decode(s->over.msg, s->over.msg_n, &m, &reason))
		return;
	if (tlsrec_init(&t, w->records, &m.keys)) {
		char *out = w->bufs.out;

		_Static_assert(WIRE_OUT >= HANDOFF_BYTES_MAX + TLSREC_CONTROL_MAX, "room for both");
		memcpy(out, m.out.p, m.out.n);
		w->bufs.out_n = m.out.n +
			tlsrec_close(&t, TLSREC_CLOSE_NOTIFY, out + m.out.n, TLSREC_CONTROL_MAX);
		tlsrec_fini(&t);
	}
	handoff_wipe(&m.keys);
}

/*
 * Nobody shall have it any more. One that is still offered is only forgotten: whoever reads the
 * offer later may serve it, so nothing is sent and the socket is not shut down.
 */
static int
give_up(struct session *s)
{
	bool is_offered = s->over.channel != NULL;

	worker_unwait(s->w, s);
	if (!is_offered)
		say_goodbye(s);
	handover_fini(&s->over);
	if (is_offered || wire_flush(&s->wire) != SPILL_DONE)
		return SESSION_CLOSED;
	session_watch_client(s);
	return SESSION_LINGER;
}

/* A client that leaves while nobody takes its connection is not waited with. */
static bool
has_left(const struct session *s)
{
	struct pollfd p = { .fd = s->wire.fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP | POLLRDHUP)) != 0;
}

int
handover_step(struct session *s)
{
	struct channels *to = s->site->channels[s->listener - s->site->site->listeners];

	if (s->over.channel != NULL || (s->is_waiting && !s->is_retry))
		return SESSION_WAIT;
	if (s->deadline.due_ms == 0)
		deadline_set(
			s->w->loop, &s->deadline, (uint64_t)s->site->site->cfg->handoff_timeout_ms);
	event_del(&s->cev);
	if (channels_offer(to, &s->over)) {
		worker_unwait(s->w, s);
		return SESSION_WAIT;
	}
	stats_add(&s->w->stats.connect_failed, 1);
	worker_wait(s->w, s);
	if (!has_left(s))
		return SESSION_WAIT;
	stats_add(&s->w->stats.wait_left, 1);
	return give_up(s);
}

int
handover_late(struct session *s)
{
	uint32_t dropped = 0;

	stats_add(&s->w->stats.wait_timeout, 1);
	if (log_allow(&s->w->log_other, &dropped))
		LOG_WARN("handoff_timeout", L_STR("to", s->listener->cfg->to),
			L_INT("waited_ms", s->site->site->cfg->handoff_timeout_ms),
			L_INT("not_logged", dropped));
	return give_up(s);
}

int
handover_cut(struct session *s)
{
	return give_up(s);
}
