/*
 * resolve_channel: c-ares on a loop: asks what it is told to ask, and follows resolv.conf. What is
 * asked for when, and who hears it, is resolve.c's, which alone includes this.
 */
#ifndef LIBCOMMON_RESOLVE_CHANNEL_H
#define LIBCOMMON_RESOLVE_CHANNEL_H

#include <ares.h>

#include "libcommon/err.h"

struct loop;
struct resolve_channel;

struct resolve_channel *resolve_channel_new(struct loop *l, struct err *err);
/* Open questions hear of it from inside this call. */
void resolve_channel_free(struct resolve_channel *c);
/* fn may run before this returns. Call resolve_channel_arm after one or more of these. */
void resolve_channel_ask(
	struct resolve_channel *c, const char *name, ares_addrinfo_callback fn, void *arg);
void resolve_channel_arm(struct resolve_channel *c);
/* A new resolv.conf (another network) is taken up. No question is open. */
void resolve_channel_follow(struct resolve_channel *c);
/* Instead of those of resolv.conf: "127.0.0.1:53,[::1]:53". */
int resolve_channel_set_servers(struct resolve_channel *c, const char *servers, struct err *err);

#endif
