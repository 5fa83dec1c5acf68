/*
 * announce: see the header. The configuration's hash is read anew each time, so a reload shows
 * within a second.
 */
#include "tlsd/announce.h"

#include <stdlib.h>

#include "libcommon/bus.h"
#include "libcommon/busmsg.h"
#include "libcommon/mem.h"

#define EVERY_MS 1000
#define TTL_MS   5000

struct announce {
	struct daemon *d;
	struct bus *bus;
	struct loop_timer *timer;
	struct sbuf out;
	char *who;
	char epoch[BUS_EPOCH_SIZE];
	uint64_t seq;
};

static void
say_hello(void *arg)
{
	struct announce *a = arg;
	struct err err;
	struct busmsg m = {
		.kind = BUSMSG_HELLO,
		.subject = "tlsd",
		.who = a->who,
		.epoch = a->epoch,
		.seq = ++a->seq,
		.ttl_ms = TTL_MS,
		.version = WEIR_VERSION,
		.config = daemon_config(a->d)->cfg->hash,
	};

	sbuf_clear(&a->out);
	if (busmsg_encode(&m, &a->out, &err) == 0)
		bus_publish(a->bus, sbuf_slice(&a->out));
	else
		LOG_ERROR("bus_encode_failed", L_STR("topic", "hello.tlsd"),
			L_STR("error", err.text));
}

struct announce *
announce_new(struct daemon *d, struct err *err)
{
	char *dir = xasprintf("%s/bus", daemon_config(d)->common.run_dir);
	struct bus *bus = bus_connect(daemon_loop(d), dir, err);
	struct announce *a;

	free(dir);
	if (bus == NULL)
		return NULL;
	a = xcalloc(1, sizeof(*a));
	a->d = d;
	a->bus = bus;
	a->who = xasprintf("tlsd.%s", daemon_instance(d));
	bus_epoch(a->epoch);
	a->timer = loop_timer_new(daemon_loop(d), say_hello, a);
	loop_timer_set(a->timer, EVERY_MS, true);
	return a;
}

void
announce_free(struct announce *a)
{
	if (a == NULL)
		return;
	loop_timer_free(a->timer);
	bus_free(a->bus);
	sbuf_fini(&a->out);
	free(a->who);
	free(a);
}
