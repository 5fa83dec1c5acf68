/*
 * fleet: the daemons that run, found by their control sockets, and one question asked of all of
 * them at once.
 */
#ifndef PROXYCTL_FLEET_H
#define PROXYCTL_FLEET_H

#include "libcommon/err.h"
#include "libcommon/sbuf.h"
#include "proxyctl/site.h"

struct json_t;

enum member_state {
	MEMBER_NEW,     /* not asked yet */
	MEMBER_OK,      /* answered; answer is there */
	MEMBER_REFUSED, /* answered with an error */
	MEMBER_GONE,    /* a socket without a process behind it */
	MEMBER_SILENT,  /* there, but no answer in time, or not allowed to ask */
};

struct member {
	char *path;    /* of the socket */
	char *name;    /* "routerd.0" */
	char *program; /* "routerd"; "up" */
	enum member_state state;
	bool is_stranger;      /* runs as another user than we do, as the kernel tells */
	struct json_t *answer; /* of the last question */
	char *why;             /* REFUSED, SILENT */
	/* Of upview.h: */
	struct json_t *process; /* what `up` says of it; NULL: nothing */
	char on_disk[CFG_HASH]; /* what its file holds; "" when that is not known */
	/* The question being asked. */
	int fd;
	struct sbuf in;
};

struct fleet {
	struct member *v;
	size_t n;
};

/* All: also those of instances that `up` starts in run directories of their own; with `up` itself,
 * which is no daemon but takes part in a reload and has events. */
enum fleet_scope { FLEET_OWN, FLEET_ALL, FLEET_ALL_AND_UP };
void fleet_find(struct fleet *f, const struct site *s, enum fleet_scope scope);
void fleet_fini(struct fleet *f);

/* Which members to ask. */
typedef bool (*fleet_pick_fn)(const struct member *m, void *arg);
/* Ask those that pick says (NULL: all) one line, with "json " put in front, and wait for the
 * answers for at most timeout_ms altogether. Others keep their state. */
void fleet_ask(
	struct fleet *f, const char *line, int timeout_ms, fleet_pick_fn pick, void *pick_arg);
/* One member, with descriptors. */
void fleet_ask_one(struct member *m, const char *line, const int *fds, size_t nfds, int timeout_ms);
/* Members in that state. */
size_t fleet_count(const struct fleet *f, enum member_state state);
/* "routerd.0: why" lines on stderr for those that refused or were silent; returns how many. */
size_t fleet_complain(const struct fleet *f);
/* One more, which is gone; NULL when that is no name of a daemon. */
struct member *fleet_add_gone(struct fleet *f, const char *dir, const char *name);
/* Drop one, or those that are gone. */
void fleet_drop(struct fleet *f, struct member *m);
void fleet_forget_gone(struct fleet *f);

/* A text of an answer; "" where it is not said. */
const char *fleet_text(const struct json_t *o, const char *key);

void pause_ms(int ms);

#endif
