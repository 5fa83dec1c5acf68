/*
 * probe.c: the life of a probe: starting (an error found there is told in the next turn),
 * connecting, with its kind, draining. All probes stand in one list, so that the end finds them.
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

#define REASON_MAX  48
#define DRAIN_MS    1000
#define DRAIN_MAX   (64 * 1024)
#define DRAIN_CHUNK 4096

enum probe_phase { PHASE_CONNECT, PHASE_KIND, PHASE_TELL, PHASE_DRAIN };

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
};

static struct probe *all;
static unsigned open_count;

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
	if (p->fd >= 0)
		close(p->fd);
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
}

/* --- the outcome ----------------------------------------------------------- */

static void
begin_drain(struct probe *p)
{
	p->phase = PHASE_DRAIN;
	deadline_set(p->loop, &p->deadline, DRAIN_MS);
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
	deadline_clear(&p->deadline);
	if (p->io)
		loop_io_set(p->io, 0);
	loop_run_soon(p->loop, &p->tell);
}

void
probe_wait(struct probe *p, int events)
{
	loop_io_set(p->io, events);
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

	if (p->phase == PHASE_DRAIN)
		close_probe(p);
	else
		probe_finish(p, PROBE_FAILED,
			p->phase == PHASE_CONNECT ? "connect_timeout" : "timeout", false);
}

static void
drain(struct probe *p)
{
	char buf[DRAIN_CHUNK];
	ssize_t n;

	while ((n = recv(p->fd, buf, sizeof(buf), 0)) > 0) {
		p->drained += (size_t)n;
		if (p->drained > DRAIN_MAX)
			break;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
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
		p->phase = PHASE_KIND;
		/* fallthrough */
	case PHASE_KIND: p->kind->step(p, p->state, fd); return;
	case PHASE_DRAIN: drain(p); return;
	case PHASE_TELL: return;
	}
}

struct probe *
probe_start(struct loop *l, const struct checkcfg *check, const char *host_text,
	const struct addr *to, probe_done_fn done, void *arg)
{
	struct probe *p = xcalloc(1, sizeof(*p));

	p->loop = l;
	p->done = done;
	p->arg = arg;
	p->begun_us = loop_now_us(l);
	p->kind = check->kind == CHECK_HTTP ? &probe_http : &probe_tcp;
	p->tell.fn = on_tell;
	deadline_init(&p->deadline, on_deadline);
	DL_APPEND(all, p);
	open_count++;
	p->fd = sock_connect(to);
	if (p->fd < 0) {
		finish_connect_error(p, errno);
		return p;
	}
	p->state = p->kind->new (check, host_text);
	p->io = loop_io_new(l, p->fd, LOOP_WRITE, on_io, p);
	deadline_set(l, &p->deadline, (uint64_t)check->timeout_ms);
	return p;
}
