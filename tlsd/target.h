/*
 * target: where a worker's relays go: `to` of a listener. A name stands for the sockets
 * RUN_DIR/NAME/<instance>.sock; who is there is looked up when it is needed and at most once a
 * second otherwise. An address stands for itself. One per worker and `to`; used by one thread.
 */
#ifndef TLSD_TARGET_H
#define TLSD_TARGET_H

#include "libcommon/addr.h"
#include "tlsd/stats.h"

struct target;

enum target_result {
	TARGET_CONNECTED,
	TARGET_PROGRESS, /* wait until it is writable, then ask sock_error */
	TARGET_NONE,     /* nobody listens: try again later */
};

/* `folder` is where instances' sockets stand, or NULL and `addr` is the only one. */
struct target *target_new(struct backends *all, const char *folder, const struct addr *addr);
/* One of several addresses. */
struct target *target_new_list(struct backends *all, const struct addr *addrs, size_t n);
void target_free(struct target *t);
/*
 * Connect to the instance with the fewest relays; one that refused is left alone for a while,
 * unless no other is there. On success *fd is ours and *to counts one relay more: end it with
 * target_release; after NONE errno says why the last one refused. Never blocks.
 */
enum target_result target_connect(struct target *t, uint64_t now_ms, int *fd, struct backend **to);
/* A connection that was in progress has failed: *to is released and left alone for a while. */
void target_failed(struct target *t, uint64_t now_ms, struct backend *to);
void target_release(struct backend *to);

#endif
