/*
 * announce: says on the bus each second that this tlsd runs: hello.tlsd, with its version and the
 * hash of its configuration. It connects and never binds, and subscribes to nothing. Main thread.
 */
#ifndef TLSD_ANNOUNCE_H
#define TLSD_ANNOUNCE_H

#include "libcommon/daemon.h"

struct announce;

/* After privileges are dropped. NULL with err. */
struct announce *announce_new(struct daemon *d, struct err *err);
void announce_free(struct announce *a);

#endif
