/*
 * bus: publish and subscribe between daemons through Unix sockets in run_dir/bus. nanomsg PUB/SUB
 * on the binding side; the connecting side speaks the same protocol (SP over IPC) with a parser of
 * our own, because nanomsg 1.1.5 aborts its process on malformed bytes whichever side it is on, and
 * what carries traffic must survive a hostile bus. Driven by a loop, on its thread only.
 *
 * Messages are `topic SP json` (busmsg.h). Delivery is best effort: senders repeat state.
 */
#ifndef LIBCOMMON_BUS_H
#define LIBCOMMON_BUS_H

#include "libcommon/err.h"
#include "libcommon/slice.h"

struct loop;
struct bus;

/* One message: its topic, and the whole of it as busmsg_decode takes it. Good until fn returns. */
typedef void (*bus_fn)(void *arg, struct slice topic, struct slice message);

/*
 * Bind DIR/PROGRAM.INSTANCE.pub and .sub (the directory is made, mode 0770). Only for daemons that
 * may die: malformed bytes from a peer end the process. Call after the last fork. Fails with err
 * when a path is too long, another process holds the sockets, or fewer than 64 descriptors are
 * left.
 */
struct bus *bus_bind(struct loop *l, const char *dir, const char *program, const char *instance,
	struct err *err);

/*
 * Connect to every pair of sockets found in dir, now and whenever new ones appear (looked for every
 * 250 ms; a lost one is tried again after 100 ms to 1 s). A dir that does not exist yet is no
 * error. Nothing a peer sends or does ends the process. NULL with err only when dir is too long.
 */
struct bus *bus_connect(struct loop *l, const char *dir, struct err *err);

void bus_free(struct bus *b);

/*
 * fn gets each message whose topic starts with prefix ("health.") or, with a trailing space, is
 * exactly that topic ("health.app "). Messages are handed over in batches that do not starve the
 * loop. Any number of subscriptions; the first that matches gets it.
 */
void bus_subscribe(struct bus *b, const char *prefix, bus_fn fn, void *arg);

/*
 * Send `topic SP json` to all who are connected, never blocking; those who cannot take it now miss
 * it. 0; -1 with EMSGSIZE when it is over BUSMSG_BYTES_MAX. Nobody there is no error.
 */
int bus_publish(struct bus *b, struct slice message);

struct bus_stats {
	uint64_t received;
	uint64_t sent;
	uint64_t dropped;   /* not sent: the peer was slow */
	uint64_t malformed; /* connections that were closed because of what the peer sent */
	uint32_t peers;     /* connecting side: connected sockets */
};
void bus_stats(const struct bus *b, struct bus_stats *out);

/* A new epoch for this process: boot id and random, hex and '-'. NULL-terminated. */
#define BUS_EPOCH_SIZE 64
void bus_epoch(char out[static BUS_EPOCH_SIZE]);

#endif
