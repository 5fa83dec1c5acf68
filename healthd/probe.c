/*
 * probe.c: the life of a probe: starting (an error found there is told in the next turn),
 * connecting, shaking hands (somebody else does that: tlsasker.h), with its kind, draining. All
 * probes stand in one list, so that the end finds them.
 *
 * The socket is the probe's own until TLS begins, and the stream's once that stands.
 */
#include "healthd/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "libcommon/mem.h"
#include "libcommon/sock.h"
#include "libcommon/stream_tls.h"
#include "libcommon/tlsasker.h"

#define REASON_MAX  48
#define DRAIN_MS    1000
#define DRAIN_MAX   (64 * 1024)
#define DRAIN_CHUNK 4096

enum probe_phase { PHASE_CONNECT, PHASE_TLS, PHASE_KIND, PHASE_TELL, PHASE_DRAIN };

struct probe {
	struct probe *prev;
	struct probe *next;
	struct loop *loop;
	const struct probe_kind *kind;
	void *state;
	probe_done_fn done;
	void *arg;
	struct loop_io *io;
	struct deadline deadline;
	struct run_item tell; /* an outcome that came up inside probe_start */
	uint64_t begun_us;
	size_t drained;
	enum probe_phase phase;
	enum probe_outcome outcome;
	char reason[REASON_MAX];
	int fd;
	bool is_drain_wanted;
	/* over TLS */
	bool is_tls;
	bool is_asking; /* the call waits for its answer */
	struct tls_call call;
	struct stream s;
	char policy[TLSPOLICY_NAME];
	char host[TLSPOLICY_HOST];
};

static struct probe *all;
static unsigned open_count;
/* What all probes over TLS share; made with the first of them. */
static struct tlsasker *asker;
static struct stream_tls_env tls_env;
static bool has_tls_env;

unsigned
probe_open_count(void)
{
	return open_count;
}

static void
close_probe(struct probe *p)
{
	loop_run_cancel(p->loop, &p->tell);
	deadline_fini(&p->deadline);
	loop_io_free(p->io);
	if (p->is_asking)
		tlsasker_cancel(asker, &p->call);
	if (p->fd >= 0)
		close(p->fd);
	if (p->s.layer != NULL)
		stream_close(&p->s);
	if (p->state)
		p->kind->free(p->state);
	DL_DELETE(all, p);
	open_count--;
	free(p);
}

void
probe_cancel(struct probe *p)
{
	if (p)
		close_probe(p);
}

void
probe_close_all(void)
{
	while (all)
		close_probe(all);
	tlsasker_free(asker);
	asker = NULL;
	if (has_tls_env)
		stream_tls_env_fini(&tls_env);
	has_tls_env = false;
}

/* --- the outcome ----------------------------------------------------------- */

static void
begin_drain(struct probe *p)
{
	p->phase = PHASE_DRAIN;
	deadline_set(p->loop, &p->deadline, DRAIN_MS);
	if (p->io != NULL)
		loop_io_set(p->io, LOOP_READ);
}

/* The last thing that happens to p, but for draining. */
static void
tell(struct probe *p)
{
	probe_done_fn done = p->done;
	void *arg = p->arg;
	enum probe_outcome outcome = p->outcome;
	uint64_t took_us = loop_now_us(p->loop) - p->begun_us;
	char reason[REASON_MAX];

	memcpy(reason, p->reason, sizeof(reason));
	if (p->is_drain_wanted)
		begin_drain(p);
	else
		close_probe(p);
	done(arg, outcome, reason, took_us);
}

static void
on_tell(struct run_item *item)
{
	tell((struct probe *)((char *)item - offsetof(struct probe, tell)));
}

/* By way of the run queue, so that no caller's stack holds a probe that is gone. */
void
probe_finish(struct probe *p, enum probe_outcome outcome, const char *reason, bool drain)
{
	p->outcome = outcome;
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
	p->is_drain_wanted = drain;
	p->phase = PHASE_TELL;
	if (p->is_asking)
		tlsasker_cancel(asker, &p->call);
	p->is_asking = false;
	deadline_clear(&p->deadline);
	if (p->io)
		loop_io_set(p->io, 0);
	loop_run_soon(p->loop, &p->tell);
}

/* --- bytes --------------------------------------------------------------------- */

/* Come back when the descriptor is ready. A stream tells of all that comes, without being asked. */
static void
wait_for(struct probe *p, int events)
{
	if (p->io != NULL)
		loop_io_set(p->io, events);
}

/* As recv and send do it: -1 with errno, 0 at the end of what the server says. */
static ssize_t
as_libc(ssize_t n)
{
	if (n == STREAM_AGAIN)
		errno = EAGAIN;
	return n < 0 ? -1 : n;
}

static ssize_t
read_some(struct probe *p, void *to, size_t n)
{
	ssize_t got;

	do
		got = p->is_tls ? as_libc(stream_read(&p->s, to, n)) : recv(p->fd, to, n, 0);
	while (got < 0 && errno == EINTR);
	return got;
}

static ssize_t
write_some(struct probe *p, const char *from, size_t n)
{
	struct iovec v = { .iov_base = (void *)(uintptr_t)from, .iov_len = n };
	ssize_t sent;

	do
		sent = p->is_tls ? as_libc(stream_write(&p->s, &v, 1))
				 : send(p->fd, from, n, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent;
}

static void
finish_broken(struct probe *p, int error)
{
	uint8_t alert;
	const char *why = p->is_tls ? stream_tls_reason(&p->s, &alert) : NULL;
	char reason[REASON_MAX];

	snprintf(reason, sizeof(reason), "tls_%s", why != NULL ? why : "");
	probe_finish(p, PROBE_FAILED,
		why != NULL                  ? reason
			: error == ETIMEDOUT ? "timeout"
					     : "reset",
		false);
}

/* Nothing went or came. */
static enum probe_io
stopped(struct probe *p, int events)
{
	if (errno == EAGAIN) {
		wait_for(p, events);
		return PROBE_WAITS;
	}
	finish_broken(p, errno);
	return PROBE_OVER;
}

enum probe_io
probe_send(struct probe *p, const void *from, size_t n, size_t *sent)
{
	while (*sent < n) {
		ssize_t more = write_some(p, (const char *)from + *sent, n - *sent);

		if (more < 0)
			return stopped(p, LOOP_WRITE);
		*sent += (size_t)more;
	}
	return PROBE_DONE;
}

enum probe_io
probe_recv(struct probe *p, void *to, size_t n, size_t *got)
{
	ssize_t some = read_some(p, to, n);

	if (some < 0)
		return stopped(p, LOOP_READ);
	*got = (size_t)some;
	if (some > 0)
		return PROBE_DONE;
	probe_finish(p, PROBE_FAILED, "closed", false);
	return PROBE_OVER;
}

/* --- the handshake --------------------------------------------------------------- */

static void drain(struct probe *p);

static void
on_stream(struct stream *s)
{
	struct probe *p = (struct probe *)((char *)s - offsetof(struct probe, s));

	if (p->phase == PHASE_KIND)
		p->kind->step(p, p->state);
	else if (p->phase == PHASE_DRAIN)
		drain(p);
}

static void
take_over(struct probe *p, const struct handoff *h)
{
	if (!has_tls_env)
		has_tls_env = stream_tls_env_init(&tls_env);
	if (!has_tls_env ||
		!stream_tls_init(&p->s, loop_base(p->loop), p->fd, &tls_env, &h->keys, h->in,
			h->out, on_stream)) {
		probe_finish(p, PROBE_NOT_MADE, "tls_unavailable", false);
		return;
	}
	char early[64];

	p->fd = -1;
	p->is_tls = true;
	/* What was said before we said anything is no answer; in HTTP/2 the server may introduce
	 * itself meanwhile, and the kind knows what is no answer yet. */
	if (p->kind != &probe_h2 && h->in.n > 0 &&
		stream_read(&p->s, early, sizeof(early)) != STREAM_AGAIN) {
		probe_finish(p, PROBE_FAILED, "tls_early_bytes", false);
		return;
	}
	p->phase = PHASE_KIND;
	p->kind->step(p, p->state);
}

static void
on_answer(struct tls_call *c, const struct tls_answer *a)
{
	struct probe *p = (struct probe *)((char *)c - offsetof(struct probe, call));
	char reason[REASON_MAX];

	p->is_asking = false;
	if (a->result == TLS_DONE) {
		take_over(p, a->done);
	} else if (a->result == TLS_LOST || tlsask_class(a->refusal->why) == TLSASK_NOT_MADE) {
		probe_finish(p, PROBE_NOT_MADE, "tls_unavailable", false);
	} else {
		snprintf(reason, sizeof(reason), "tls_%s", tlsask_word(a->refusal->why));
		probe_finish(p, PROBE_FAILED, reason, false);
	}
}

static void
begin_tls(struct probe *p)
{
	/* Out of the event loop before another process has it. */
	loop_io_free(p->io);
	p->io = NULL;
	p->phase = PHASE_TLS;
	p->is_asking = true;
	p->call = (struct tls_call){
		.fn = on_answer,
		.fd = p->fd,
		.protocols = p->kind == &probe_h2 ? TLSASK_HTTP2 : TLSASK_HTTP1,
		.policy = p->policy,
		.host = p->host,
	};
	tlsasker_ask(asker, &p->call);
}

/* What a failure to connect means: of the server, or of ourselves. */
static void
finish_connect_error(struct probe *p, int error)
{
	static const struct {
		int error;
		enum probe_outcome outcome;
		const char *reason;
	} rows[] = {
		{ ECONNREFUSED, PROBE_FAILED, "connect_refused" },
		{ ETIMEDOUT, PROBE_FAILED, "connect_timeout" },
		{ ECONNRESET, PROBE_FAILED, "connect_reset" },
		{ EHOSTUNREACH, PROBE_FAILED, "unreachable" },
		{ ENETUNREACH, PROBE_FAILED, "unreachable" },
		{ EHOSTDOWN, PROBE_FAILED, "unreachable" },
		{ ENOENT, PROBE_FAILED, "connect_no_socket" },
		{ EAGAIN, PROBE_FAILED, "connect_backlog" },
		{ EMFILE, PROBE_NOT_MADE, "no_descriptors" },
		{ ENFILE, PROBE_NOT_MADE, "no_descriptors" },
		{ ENOBUFS, PROBE_NOT_MADE, "no_memory" },
		{ ENOMEM, PROBE_NOT_MADE, "no_memory" },
		{ EADDRNOTAVAIL, PROBE_NOT_MADE, "no_local_port" },
		{ EACCES, PROBE_NOT_MADE, "not_permitted" },
		{ EPERM, PROBE_NOT_MADE, "not_permitted" },
		{ EAFNOSUPPORT, PROBE_NOT_MADE, "no_such_family" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].error == error) {
			probe_finish(p, rows[i].outcome, rows[i].reason, false);
			return;
		}
	}
	probe_finish(p, PROBE_FAILED, "connect_failed", false);
}

/* --- events ---------------------------------------------------------------- */

static void
on_deadline(struct deadline *d)
{
	struct probe *p = (struct probe *)((char *)d - offsetof(struct probe, deadline));

	if (p->phase == PHASE_DRAIN) {
		close_probe(p);
		return;
	}
	if (p->phase == PHASE_TLS && !tls_call_is_taken(&p->call)) {
		probe_finish(p, PROBE_NOT_MADE, "tls_unavailable", false);
		return;
	}
	probe_finish(p, PROBE_FAILED,
		p->phase == PHASE_CONNECT       ? "connect_timeout"
			: p->phase == PHASE_TLS ? "tls_timeout"
						: "timeout",
		false);
}

static void
drain(struct probe *p)
{
	char buf[DRAIN_CHUNK];
	ssize_t n;

	while ((n = read_some(p, buf, sizeof(buf))) > 0) {
		p->drained += (size_t)n;
		if (p->drained > DRAIN_MAX)
			break;
	}
	if (n < 0 && errno == EAGAIN)
		return;
	close_probe(p);
}

static void
on_io(void *arg, int fd, int events)
{
	struct probe *p = arg;
	int error;

	(void)events;
	switch (p->phase) {
	case PHASE_CONNECT:
		error = sock_error(fd);
		if (error) {
			finish_connect_error(p, error);
			return;
		}
		if (p->policy[0] != '\0') {
			begin_tls(p);
			return;
		}
		p->phase = PHASE_KIND;
		/* fallthrough */
	case PHASE_KIND: p->kind->step(p, p->state); return;
	case PHASE_DRAIN: drain(p); return;
	case PHASE_TLS:
	case PHASE_TELL: return;
	}
}

static void
set_tls(struct probe *p, const struct probe_to *to)
{
	if (asker == NULL)
		asker = tlsasker_new(p->loop, to->run_dir);
	snprintf(p->policy, sizeof(p->policy), "%s", to->tls);
	snprintf(p->host, sizeof(p->host), "%s", to->host);
}

struct probe *
probe_start(struct loop *l, const struct probe_to *to, probe_done_fn done, void *arg)
{
	struct probe *p = xcalloc(1, sizeof(*p));
	bool is_http = to->check->kind != CHECK_TCP;

	p->loop = l;
	p->done = done;
	p->arg = arg;
	p->begun_us = loop_now_us(l);
	p->kind = !is_http ? &probe_tcp : to->check->is_h2 ? &probe_h2 : &probe_http;
	p->tell.fn = on_tell;
	deadline_init(&p->deadline, on_deadline);
	DL_APPEND(all, p);
	open_count++;
	p->fd = sock_connect(to->addr);
	if (p->fd < 0) {
		finish_connect_error(p, errno);
		return p;
	}
	if (is_http && to->tls != NULL)
		set_tls(p, to);
	p->state = p->kind->new (to);
	p->io = loop_io_new(l, p->fd, LOOP_WRITE, on_io, p);
	deadline_set(l, &p->deadline, (uint64_t)to->check->timeout_ms);
	return p;
}
