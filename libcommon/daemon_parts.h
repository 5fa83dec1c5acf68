/*
 * daemon_parts: what the files daemon*.c share. Nobody else includes it.
 */
#ifndef LIBCOMMON_DAEMON_PARTS_H
#define LIBCOMMON_DAEMON_PARTS_H

#include "libcommon/daemon.h"

enum args_mode { ARGS_RUN, ARGS_CHECK, ARGS_DUMP, ARGS_SCHEMA, ARGS_EXIT };

struct daemon_args {
	enum args_mode mode;
	int exit_code; /* of ARGS_EXIT */
	const char *file;
	const char *instance;
	int ready_fd;  /* -1: none */
	int config_fd; /* what stands there is read in place of the file; -1: none */
	bool has_level;
	enum log_level level;
};

/* Complains on stderr and gives ARGS_EXIT when usage is wrong. */
struct daemon_args daemon_args_parse(const struct daemon_ops *ops, int argc, char **argv);

enum reload_state { RELOAD_IDLE, RELOAD_PREPARED, RELOAD_COMMITTING };

struct given_fd {
	char *path;
	int fd;
};

struct daemon_reload {
	enum reload_state state;
	void *candidate;
	struct daemon_cfg *dc;
	struct ctl_req *waiting; /* whom daemon_committed answers; NULL: a signal, or gone */
	struct errs warnings;    /* of the candidate, for the answer */
	struct loop_timer *expiry;
	struct given_fd *given; /* for the reload to come, or under way */
	size_t ngiven;
	bool is_again; /* a HUP came while one was under way */
};

/* Paths that become the new user's when privileges are dropped. */
struct daemon_made {
	char **v;
	size_t n;
};

struct daemon {
	const struct daemon_ops *ops;
	struct daemon_args args;
	char *name; /* "routerd.0" */
	struct loop *loop;
	struct ctl *ctl;
	char *ctl_path;
	void *self;
	struct daemon_cfg *cfg;
	uint64_t generation;
	uint64_t started_ms;
	struct daemon_reload reload;
	bool is_draining;
	bool is_cut; /* what was left when the time for that was over */
	uint64_t drain_began_ms;
	struct loop_timer *drain_timer;
	char *file; /* the configuration, absolute */
	struct daemon_made *made;
};

/* ---- daemon_cfg.c: reading, checking, showing a configuration ---- */

/* Where the bytes of a configuration stand. */
struct daemon_source {
	const char *file; /* what it is called */
	int fd;           /* they stand here; -1: in the file */
	const char *dir;  /* as of cfg_load_fd; may be NULL */
};

/* NULL when there are errors; hash then still tells which bytes they are in, or is "" when there
 * are none. */
struct daemon_cfg *daemon_cfg_load(const struct daemon_ops *ops, const struct daemon_source *src,
	char hash[static CFG_HASH], struct errs *errs);
/* The section's node, or NULL. */
const struct cfg_node *daemon_cfg_section(
	const struct daemon_ops *ops, const struct daemon_cfg *dc);
/* -t, -T and --schema: print and return the exit code. */
int daemon_cfg_check(const struct daemon_ops *ops, const struct daemon_source *src);
int daemon_cfg_print(const struct daemon_ops *ops, const struct daemon_source *src);
int daemon_cfg_schema(const struct daemon_ops *ops);
/* {"file", "line", ...} objects. */
struct json_t *daemon_findings_json(const struct errs *errs);
/* One log line each. */
void daemon_log_findings(const struct errs *errs, const char *event);

/* ---- daemon_reload.c ---- */

extern const struct ctl_command daemon_reload_commands[]; /* arg: struct daemon */
void daemon_reload_init(struct daemon *d);
void daemon_reload_fini(struct daemon *d);
/* SIGHUP */
void daemon_reload_now(struct daemon *d);
/* What was prepared, or given for it, is wanted no more. */
void daemon_reload_drop(struct daemon *d);

/* ---- daemon_priv.c ---- */

/* Make a folder and those above it; inside of run_dir it becomes the new user's. */
int daemon_make_folder(const struct daemon *d, const char *folder, struct err *err);
void daemon_made_free(struct daemon_made *made);
/* Where operators' decisions stand, made so that daemons of all users can read them. */
void daemon_make_state_dir(const struct daemon *d);
/* Become the section's user when root; log what is not protected otherwise. */
int daemon_drop_privileges(struct daemon *d, struct err *err);
/* Whether cores are written and others of our user may look in: `debug.core`. */
void daemon_set_dumpable(const struct daemon *d);

/* ---- daemon_notify.c ---- */

/* sd_notify(3) by hand: state such as "READY=1"; nothing happens when nobody wants to know. */
void daemon_notify(const char *state);
/* If -r FD is a packet socket, it stays open and is told what NOTIFY_SOCKET would be. */
void daemon_notify_by(struct daemon_args *a);
/* After start: an inherited socket that no listener took; address as of addr_format. */
void daemon_forget_unused(const char *address);
/* The line on -r FD and READY=1. */
void daemon_say_ready(struct daemon *d);
/* By which configuration it runs, for whoever would start it again. */
void daemon_say_config(const struct daemon *d);

#endif
