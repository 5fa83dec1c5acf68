/*
 * ctl_parts: what ctl.c (the socket, who comes in) and ctl_serve.c (one client's life) share.
 * Nobody else includes it.
 */
#ifndef LIBCOMMON_CTL_PARTS_H
#define LIBCOMMON_CTL_PARTS_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "libcommon/ctl.h"
#include "libcommon/ctl_events.h"
#include "libcommon/ctl_table.h"
#include "libcommon/loop.h"

struct client;

struct ctl {
	struct loop *loop;
	char *path;
	dev_t dev;
	ino_t ino;
	gid_t group;
	bool has_group;
	int fd;
	struct loop_io *io;
	struct loop_timer *accept_timer;
	struct ctl_table *tables;
	struct ctl_table builtin;
	struct client *clients;
	size_t nclients;
	struct ctl_events *events;
	int event_fd; /* rung by whoever adds an event while somebody watches */
	struct loop_io *event_io;
	_Atomic unsigned watchers;
};

/* A connection that was accepted, and what its peer may do; fd is taken. */
void ctl_serve(struct ctl *c, int fd, enum ctl_level level, uid_t uid);
/* Close them all; requests under way are cancelled. */
void ctl_serve_close_all(struct ctl *c);
/* New events are there: hand them to those who watch. */
void ctl_serve_events(struct ctl *c);
/* The command `events`: its client becomes a watcher. */
void ctl_serve_watch(struct ctl_req *req);

#endif
