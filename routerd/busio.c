/*
 * busio.c: bytes of the bus <-> facts of backends. Decoding is busmsg's, judging
 * backend_judge's; here is only who gets what, and how often.
 */
#include "routerd/busio.h"

#include <stdlib.h>
#include <utlist.h>

#include "libcommon/mem.h"
#include "routerd/backend_int.h"

#define HELLO_EVERY_MS 1000
#define TTL_MS         5000

struct busio {
	struct loop *loop;
	struct backends *b;
	struct bus *bus;
	struct loop_timer *hello;
	struct arena arena; /* of one message */
	struct sbuf out;
	char *who;
	char *config;
	char epoch[BUS_EPOCH_SIZE];
	uint64_t seq;
	struct busio_stats stats;
	struct log_limit malformed_limit;
};

/* --- hearing --- */

static void
on_health(void *arg, struct slice topic, struct slice message)
{
	struct busio *io = arg;
	struct busmsg m;
	struct err err = { "" };
	uint32_t dropped = 0;

	if (busmsg_decode(message, &io->arena, &m, &err) < 0 || m.kind != BUSMSG_HEALTH) {
		io->stats.malformed++;
		if (log_allow(&io->malformed_limit, &dropped))
			LOG_WARN("bus_malformed", L_SLICE("topic", topic), L_STR("error", err.text),
				L_INT("dropped", dropped));
	} else if (backend_judge_adopt(io->b, &m) > 0) {
		io->stats.health++;
	} else {
		io->stats.unknown++;
	}
	arena_reset(&io->arena);
}

/* --- saying --- */

static void
say(struct busio *io, struct busmsg *m)
{
	struct err err;

	m->who = io->who;
	m->epoch = io->epoch;
	m->seq = ++io->seq;
	m->ttl_ms = TTL_MS;
	sbuf_clear(&io->out);
	if (busmsg_encode(m, &io->out, &err) == 0)
		bus_publish(io->bus, sbuf_slice(&io->out));
	else
		LOG_ERROR(
			"bus_encode_failed", L_STR("topic", m->subject), L_STR("error", err.text));
}

static void
on_hello(void *arg)
{
	struct busio *io = arg;
	struct busmsg m = {
		.kind = BUSMSG_HELLO,
		.subject = "routerd",
		.version = WEIR_VERSION,
		.config = io->config,
	};

	say(io, &m);
}

static const char *
fail_word(uint32_t kind)
{
	return kind == SERVER_CONNECT    ? "connect_failed"
		: kind == SERVER_TLS     ? "tls_failed"
		: kind == SERVER_TIMEOUT ? "timeout"
					 : "broken";
}

static void
say_evidence(struct busio *io, const struct pool *p, struct busmsg_evidence *v, size_t n)
{
	struct busmsg m = {
		.kind = BUSMSG_EVIDENCE,
		.subject = p->name,
		.shards = 1,
		.evidence = v,
		.count = n,
	};

	if (n == 0)
		return;
	say(io, &m);
	io->stats.evidence++;
}

/* A message with fewer servers than allowed keeps within its bytes. */
#define EVIDENCE_MAX 64

static void
say_pool_evidence(struct busio *io, const struct pool *p)
{
	struct busmsg_evidence v[EVIDENCE_MAX];
	size_t n = 0;

	for (unsigned i = 0; i < p->count; i++) {
		struct server_state *st = p->members[i].server->state;

		if (st->unsent_fails == 0)
			continue;
		v[n++] = (struct busmsg_evidence){
			.name = st->server->name,
			.address = st->address,
			.reason = fail_word(atomic_load(&st->fail_kind)),
			.fails = st->unsent_fails,
		};
		st->unsent_fails = 0;
		if (n == EVIDENCE_MAX) {
			say_evidence(io, p, v, n);
			n = 0;
		}
	}
	say_evidence(io, p, v, n);
}

static void
on_evidence(void *arg)
{
	struct busio *io = arg;
	const struct pool *p;

	DL_FOREACH (io->b->pools, p)
		if (p->is_live && p->is_checked)
			say_pool_evidence(io, p);
}

/* --- life --- */

struct busio *
busio_new(struct loop *l, const char *dir, const char *who, struct backends *b, struct err *err)
{
	struct bus *bus = bus_connect(l, dir, err);

	if (!bus)
		return NULL;

	struct busio *io = xcalloc(1, sizeof(*io));

	io->loop = l;
	io->b = b;
	io->bus = bus;
	io->who = xstrdup(who);
	io->config = xstrdup("");
	io->malformed_limit.burst = 1;
	arena_init(&io->arena, 64 << 10);
	bus_epoch(io->epoch);
	bus_subscribe(bus, "health.", on_health, io);
	b->on_evidence = on_evidence;
	b->evidence_arg = io;
	io->hello = loop_timer_new(l, on_hello, io);
	loop_timer_set(io->hello, HELLO_EVERY_MS, true);
	return io;
}

void
busio_set_config(struct busio *io, const char *hash)
{
	free(io->config);
	io->config = xstrdup(hash);
}

void
busio_get_stats(const struct busio *io, struct busio_stats *out)
{
	*out = io->stats;
	bus_stats(io->bus, &out->bus);
}

void
busio_free(struct busio *io)
{
	if (!io)
		return;
	io->b->on_evidence = NULL;
	loop_timer_free(io->hello);
	bus_free(io->bus);
	arena_fini(&io->arena);
	sbuf_fini(&io->out);
	free(io->who);
	free(io->config);
	free(io);
}
