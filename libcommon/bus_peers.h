/*
 * bus_peers: the connecting side of the bus, for bus.c alone. Finds sockets in a folder, connects
 * to those that others bound (NAME.pub to read, NAME.sub to write) and speaks SP over IPC with
 * them.
 */
#ifndef LIBCOMMON_BUS_PEERS_H
#define LIBCOMMON_BUS_PEERS_H

#include "libcommon/bus.h"

struct bus_peers;

/* got(arg, message) for each message; counters go into stats, which must outlive this. */
struct bus_peers *bus_peers_new(struct loop *l, const char *dir,
	void (*got)(void *arg, struct slice message), void *arg, struct bus_stats *stats,
	struct err *err);
void bus_peers_free(struct bus_peers *p);
void bus_peers_send(struct bus_peers *p, struct slice message);

#endif
