/*
 * fdstore: listening sockets that a process of ours has handed to us, to be there for the one that
 * comes after it: clients who connect in between wait instead of being refused. The words are those
 * of sd_notify(3), and what is kept goes on by LISTEN_FDS. Nothing here accepts: a socket is only
 * kept from being closed.
 */
#ifndef PROXYCTL_FDSTORE_H
#define PROXYCTL_FDSTORE_H

#include <stdbool.h>
#include <stddef.h>

#include "libcommon/cfg.h"

/* Descriptors for a child that are no sockets of LISTEN_FDS. */
#define FDSTORE_OWN 2

struct stored;

struct fdstore { /* zero-initialised is empty */
	struct stored *v;
	size_t n;
};

enum fdstore_word {
	FDSTORE_NOTHING,  /* something that is not for the caller */
	FDSTORE_READY,    /* READY=1 */
	FDSTORE_STOPPING, /* STOPPING=1 */
	FDSTORE_CONFIG,   /* X_CONFIG_HASH=...: the configuration that it runs by */
	FDSTORE_WAIT,     /* no message is there */
	FDSTORE_GONE,     /* nor will one ever be */
};

/* Take one message from the packet socket; what it says about sockets is done. hash is of
 * FDSTORE_CONFIG, as cfg_hash makes them; else it is left alone. */
enum fdstore_word fdstore_read(struct fdstore *s, int sock, char hash[static CFG_HASH]);
/* Close all. */
void fdstore_clear(struct fdstore *s);
/* What `from` has is `to`'s, which was empty. */
void fdstore_move(struct fdstore *to, struct fdstore *from);

/* How LISTEN_FDS is given on, in two halves: what allocates is done before the fork. */
struct fdstore_pass {
	char *names; /* LISTEN_FDNAMES */
	char count[16];
};

void fdstore_pass_init(struct fdstore_pass *p, const struct fdstore *s);
void fdstore_pass_fini(struct fdstore_pass *p);
/* The number that fdstore_pass_child gives the first of the descriptors `own`. */
int fdstore_own_number(const struct fdstore *s);
/* In the child: the sockets stand from 3 on, `own` behind them, and the environment says so. False
 * when that failed. */
bool fdstore_pass_child(
	const struct fdstore_pass *p, const struct fdstore *s, int own[FDSTORE_OWN]);

#endif
