/*
 * spawn: one process of ours, from the fork to what it is started with: a group of its own, the
 * sockets that its predecessor left by LISTEN_FDS, a packet socket to us by -r, and by -C the text
 * of its configuration.
 */
#ifndef PROXYCTL_SPAWN_H
#define PROXYCTL_SPAWN_H

#include <sys/types.h>

#include "proxyctl/fdstore.h"
#include "proxyctl/site.h"

/* More places than its words need that an argv must have: for "-r", FD, "-C", FD. */
#define SPAWN_ARGV_ROOM 4

/*
 * fork() beside an event loop: what is sent to the child before its exec would go to our handlers,
 * of which the loop is the parent's. It begins with all signals blocked and no handlers; once the
 * others are as it wants them, it takes them again.
 */
pid_t spawn_fork(void);
void spawn_unblock(void);

/* Its pid, and in *words_fd our end of the socket (non-blocking); or -1 with errno. env may be
 * NULL. text_fd stays the caller's. */
pid_t spawn(char **argv, const struct instancecfg *env, const struct fdstore *store, int text_fd,
	int *words_fd);

#endif
