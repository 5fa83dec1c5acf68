/*
 * asks: the channels by which askers pass sockets in and get keys or refusals back (tlsask.h): a
 * listening SEQPACKET socket, and what goes on for each that has connected. One thread's own.
 *
 * A message that is not right ends its channel and nothing else. A channel has at most 256
 * handshakes under way, by its serials; at the limit of all nothing more is read until some end.
 */
#ifndef TLSD_ASKS_H
#define TLSD_ASKS_H

#include <sys/types.h>

#include "tlsd/dial.h"

#define C_ASKS                                                                      \
	C(asked, "handshakes asked for")                                            \
	C(handshakes, "handshakes completed, and handed back")                      \
	C(tls13, "of them with TLS 1.3")                                            \
	C(refused, "handshakes that failed, see the reasons")                       \
	C(left, "handshakes whose asker gave up first")                             \
	C(channels_refused, "channels of users that may not ask")                   \
	C(bad_messages, "channels ended because of a message that is none of ours") \
	C(pauses, "times that nothing was read, because too many handshakes were under way")

struct asks_stats {
#define C(name, meaning) uint64_t name;
	C_ASKS
#undef C
	uint64_t whys[TLSASK_WHY_COUNT];
};

struct asks;

/* Descriptors that channels may take. */
#define ASKS_CHANNELS_MAX 512

/* fd: the listening socket, taken over. */
struct asks *asks_new(struct loop *l, int fd, unsigned max_dials);
void asks_free(struct asks *a);
/* From now on; one reference is taken. uids (copied): who may ask besides root and ourselves. */
void asks_use(struct asks *a, struct policies *p, const uid_t *uids, size_t n);
/* No more channels and asks; done(arg) when nothing is under way, perhaps at once. */
void asks_drain(struct asks *a, void (*done)(void *arg), void *arg);
const struct asks_stats *asks_stats(const struct asks *a);
unsigned asks_open(const struct asks *a);
unsigned asks_channels(const struct asks *a);

#endif
