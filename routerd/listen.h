/*
 * listen: listening sockets as the process owns them: one per worker and address (SO_REUSEPORT),
 * opened before privileges are dropped, kept over reloads as long as name and address stay, and
 * never closed while clients may be queued on them.
 */
#ifndef ROUTERD_LISTEN_H
#define ROUTERD_LISTEN_H

#include "routerd/snapshot.h"

/* One worker's counters of a listener, on a line of its own. */
struct listen_count {
	_Alignas(64) _Atomic uint64_t accepted;
	_Atomic uint64_t open;
};

/* A listener over generations. The main thread's own; workers hold its index and name. */
struct listen_slot {
	char *name;
	char *where;           /* address as configured: what tells whether it is still the same */
	char bound[ADDR_TEXT]; /* as bound, with the kernel's port */
	struct addr at;        /* the same */
	unsigned index;
	unsigned count;
	int *fds;           /* one per worker; a shared socket stands there once and is dup'ed */
	int handoff_fd;     /* SEQPACKET, shared by all workers; -1: none */
	char *handoff_path; /* NULL: none, or it was taken away */
	char *path;         /* of a Unix socket that we have made; NULL: none, or taken away */
	struct listen_count *counts; /* one per worker */
	bool is_open;
};

struct listen_set {
	struct listen_slot **slots; /* index stays; closed ones keep their place */
	unsigned count;
};

/* What a generation needs: for each of its listeners a slot, old or newly opened. */
struct listen_plan {
	struct listen_slot **slots; /* by listener of the snapshot */
	unsigned count;
	bool *is_new;
};

typedef char *(*listen_path_fn)(void *arg, const char *name, const char *suffix);

/*
 * Open what the snapshot needs and the set has not got. `unix_path(arg, name, suffix)` gives the
 * path of a socket of a listener that tlsd feeds (heap; NULL with errno): one for relayed
 * connections (".sock") and one for those that are handed over (".handoff"). NULL with errs,
 * nothing left open.
 */
struct listen_plan *listen_prepare(const struct listen_set *set, const struct snapshot *s,
	unsigned workers, listen_path_fn unix_path, void *arg, struct errs *errs);
/* The plan's new slots join the set. Cannot fail. */
void listen_commit(struct listen_set *set, struct listen_plan *plan);
/* Main thread: nobody connects to the slot's Unix sockets any more; who has can be accepted. TCP
 * has no such half. */
void listen_stop(struct listen_slot *slot);
/* Main thread, when no worker accepts any more: clients are refused from now on. */
void listen_close(struct listen_slot *slot);
/* The same for one that the configuration has no more, while others go on. */
void listen_give_up(const struct listen_set *set, struct listen_slot *gone);
void listen_discard(struct listen_plan *plan);
void listen_plan_free(struct listen_plan *plan);
void listen_set_fini(struct listen_set *set);

#endif
