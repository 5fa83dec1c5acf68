/*
 * supervise_parts: what supervise.c (all of them: stages, signals, who comes and who leaves) and
 * child.c (one of them: its process, what it says, its listeners) know of each other.
 */
#ifndef PROXYCTL_SUPERVISE_PARTS_H
#define PROXYCTL_SUPERVISE_PARTS_H

#include "libcommon/loop.h"
#include "proxyctl/fdstore.h"
#include "proxyctl/supervise.h"

enum child_state {
	CHILD_WAITING,
	CHILD_STARTING,
	CHILD_READY,
	CHILD_PAUSING,
	CHILD_ENDED,
	CHILD_LEAVING,
};

struct child {
	struct supervisor *s;
	struct child *next;
	char *name;
	unsigned stage;
	char **argv; /* with room as spawn() wants it */
	const struct instancecfg *env;
	struct conftext *text; /* the configuration that it is started by */
	enum child_state state;
	pid_t pid;
	int words_fd; /* by which it tells that it is ready, and gives us its listeners */
	struct loop_io *words_io;
	struct fdstore store;
	struct loop_timer *keep_timer; /* its listeners are closed then */
	uint64_t down_since_ms;        /* 0: it is ready, or never was */
	struct loop_timer *timer;
	uint64_t started_ms;
	uint64_t backoff_ms;
	uint64_t restart_ms; /* when the pause is over */
	int last_end;        /* as waitpid says; of has_ended */
	bool has_ended;
	bool was_ready;
	bool is_late; /* came when the others were ready: its failure is its own */
	bool is_failed;
};

struct supervisor {
	struct loop *loop;
	int64_t end_ms;
	const struct supervisor_ops *ops;
	void *arg;
	struct child *children;
	struct child **last;
	size_t count;
	unsigned stage;
	bool is_ready;
	bool is_ending;
	bool is_changing; /* children are being added and removed */
	int code;
	struct loop_timer *kill_timer;
};

/* argv is taken over, as in supervisor_add. It is in no list yet. */
struct child *child_new(struct supervisor *s, const char *name, unsigned stage, char **argv,
	const struct instancecfg *env, struct conftext *text);
/* It is taken out of the list. Its callbacks may be on the stack. */
void child_free(struct child *c);
void child_start(struct child *c);
void child_pause_and_restart(struct child *c);
/* Who has lived long enough, or may have been mended, begins again with the first pause. */
void child_forgive(struct child *c);
bool child_was_stable(const struct child *c);
/* All that it has said by now; and no more of that. */
void child_hear(struct child *c);
void child_stop_listening(struct child *c);
/* It died: how long it has been gone counts from the first time, until it is ready again. */
void child_keep_listeners(struct child *c);
void child_drop_listeners(struct child *c);

static inline bool
child_is_alive(const struct child *c)
{
	return c->pid > 0;
}

/* supervise.c's: it says that it is ready. */
void supervisor_take_ready(struct child *c);

#endif
