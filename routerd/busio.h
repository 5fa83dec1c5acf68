/*
 * busio: what routerd hears and says on the bus. Hears health.POOL from any
 * number of healthds; says evidence.POOL when requests fail, so that a probe
 * follows at once, and hello.routerd each second. Main thread; traffic never
 * waits for it, and nothing that comes from the bus ends the process.
 */
#ifndef ROUTERD_BUSIO_H
#define ROUTERD_BUSIO_H

#include "libcommon/bus.h"
#include "routerd/backend.h"

struct busio;

struct busio_stats {
	struct bus_stats bus;
	uint64_t health;    /* messages that were taken */
	uint64_t malformed; /* messages that were no such thing */
	uint64_t unknown;   /* messages of pools and servers that we have not */
	uint64_t evidence;  /* messages sent */
};

/* Connects to all in dir; who is "routerd.0". NULL with err when dir is too long. */
struct busio *busio_new(
	struct loop *l, const char *dir, const char *who, struct backends *b, struct err *err);
/* The hash of the configuration in force, for hello; copied. */
void busio_set_config(struct busio *io, const char *hash);
void busio_get_stats(const struct busio *io, struct busio_stats *out);
void busio_free(struct busio *io);

#endif
