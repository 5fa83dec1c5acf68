/*
 * passpump: bytes between a client and a server as they are, each direction of its own: one that is
 * held up by a full socket does not read; nothing else stops it.
 */
#ifndef TLSD_PASSPUMP_H
#define TLSD_PASSPUMP_H

#include "tlsd/pump.h"

/* In state SESSION_PASS. CUT is no answer of it. */
enum pump_result passpump_run(struct session *s);

#endif
