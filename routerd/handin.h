/*
 * handin: takes connections whose TLS handshake another process has made: messages of handoffmsg
 * over SEQPACKET channels, each with the client's socket. One worker's own.
 *
 * A connection is ours from the acknowledgement on, which goes before anything is done with it; one
 * that was not acknowledged is still the sender's, so a channel may be closed at any time and
 * nothing is lost.
 */
#ifndef ROUTERD_HANDIN_H
#define ROUTERD_HANDIN_H

#include "libcommon/handoffmsg.h"

#include <sys/types.h>

struct handin;
struct loop;

/* A connection has come: fd is the callee's, not blocking; h is good until it returns. */
typedef void (*handin_fn)(void *arg, int fd, const struct handoff *h);

struct handin_stats {
	uint64_t taken;
	uint64_t refused; /* messages that are none */
	uint32_t channels;
};

/* Only processes of this user (or root's, or our own) may hand connections in. */
struct handin *handin_new(struct loop *l, uid_t uid, handin_fn fn, void *arg);
/* Ends all channels; what waits in them stays the sender's. NULL is fine. */
void handin_free(struct handin *in);
/* Take over an accepted SEQPACKET socket. false: closed, its user may not. */
bool handin_add(struct handin *in, int fd);
/* Asked before each message is read, but not while draining: false leaves it where it is. May
 * pause. */
void handin_set_gate(struct handin *in, bool (*may_take)(void *arg));
/* Whose channels are let in from now on. */
void handin_set_user(struct handin *in, uid_t uid);
/* Leave messages where they are, because there is no place; a full queue stops the sender. */
void handin_pause(struct handin *in, bool is_paused);
/* No more: what waits is taken, then the channels are closed. */
void handin_drain(struct handin *in);
struct handin_stats handin_stats(const struct handin *in);

#endif
