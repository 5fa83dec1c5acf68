/*
 * channel: finished handshakes on their way to routerd's instances. To each socket
 * RUN_DIR/NAME/<instance>.handoff one connection of packets, which carries a client's socket, keys
 * and facts one way and acknowledgements the other (handoffmsg.h). One set per worker and NAME;
 * used by one thread.
 *
 * A connection is ours until it is acknowledged. Only when its channel has ended without that may
 * it be offered again: never do two processes seal records under the same keys.
 */
#ifndef TLSD_CHANNEL_H
#define TLSD_CHANNEL_H

#include "libcommon/loop.h"
#include "tlsd/stats.h"

struct channel;
struct channels;
struct handover;

/* It is taken, or the channel has ended and it is free to be offered again. May free its handover,
 * or offer it. */
typedef void (*handover_fn)(struct handover *h, bool is_taken);

/* One connection; its owner embeds it. */
struct handover {
	handover_fn fn;
	struct channel *channel; /* offered there; NULL: not offered */
	char *msg;               /* as handoff_encode wrote it; heap, holds secrets */
	uint32_t msg_n;
	uint8_t serial;
	int fd; /* the client's socket: the owner's, in no event loop while it is offered */
};

/* That of folder in a worker's list, new when it is not there. It stays until the worker ends, so
 * that a reload touches no channel. */
struct channels *channels_get(
	struct channels **list, struct loop *l, struct backends *all, const char *folder);
/* Those that are offered are forgotten: their owners must have gone. */
void channels_free_all(struct channels **list);

/*
 * Offer it to the instance with the fewest offers under way, to equals in turn. False: none
 * listens, or all are full; try again later. h->fn follows, never from within this call.
 */
bool channels_offer(struct channels *cs, struct handover *h);
/* Wipe the message and forget. When it was offered, whoever reads the offer may still take it. */
void handover_fini(struct handover *h);

#endif
