/*
 * handover: a session's way to routerd as a whole: what is gathered during the handshake, the
 * message that is made of it, and the steps of state SESSION_HANDOVER.
 */
#ifndef TLSD_HANDOVER_H
#define TLSD_HANDOVER_H

#include <stdbool.h>

struct session;

/* From the first byte on, where the listener hands connections over. */
void handover_watch(struct session *s);
void handover_unwatch(struct session *s);
/* Before each flush of the handshake. */
void handover_saw_output(struct session *s);
/* The handshake is done, and its output may travel with the connection: in TLS 1.3 those are
 * tickets, and when the request has come already they go with its answer. */
bool handover_carries_output(const struct session *s);
/*
 * The handshake is done and its output flushed, or to be carried. True: the message is made and TLS
 * ends here; false: this connection has to be relayed, and output may still wait.
 */
bool handover_prepare(struct session *s);

/* The state's step and what its deadline does: the next state or SESSION_WAIT. */
int handover_step(struct session *s);
int handover_late(struct session *s);
int handover_cut(struct session *s);

#endif
