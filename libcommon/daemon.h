/*
 * daemon: the order of start, reload, drain and exit that every daemon shares, so that each main is
 * a table.
 *
 *   -c FILE   configuration
 *   -C FD     at first, what this descriptor holds is read as if FILE held it; a reload reads FILE
 *   -i NAME   instance (default 0; letters, digits, _ and -, at most 32)
 *   -t        check my part of the configuration: findings as a JSON array of {"file", "line",
 *             "col", "level", "path", "text"}; exit 0 (warnings at most) or 2
 *   -T        print my effective configuration as a JSON array (path, value, origin)
 *   --schema  print every key as JSON
 *   -r FD     write "ready\n" there once listeners accept (sd_notify is done too when
 *             NOTIFY_SOCKET is set)
 *   -l LEVEL  log level, over the configuration's
 *   -v, -h    version, help
 *
 * Start: arguments, configuration, run_dir made, control socket (a stale one is replaced, a live
 * holder named), ops->start, privileges dropped, ops->run, ready.
 *
 * Signals: TERM and INT drain and end, a second one ends at once; HUP reloads this daemon; USR1
 * reopens logs. Exit codes: 0 ended as asked, 1 cannot start, 2 usage or invalid configuration.
 *
 * Control words every daemon has: help, version, status (daemon's own), events, reload, give
 * PATH..., prepare HASH FILE, commit, abort, reopen, stop, shutdown. A reload across daemons is
 * two-phase: `prepare` (refused when FILE is not this daemon's or its hash differs) and then
 * `commit`, which answers when ops called daemon_committed, or `abort`; what was prepared is
 * dropped after 30 s. Before it, `give PATH...` hands over descriptors, one for each absolute path,
 * of files that this daemon may no longer open; they are closed when the reload ends.
 */
#ifndef LIBCOMMON_DAEMON_H
#define LIBCOMMON_DAEMON_H

#include "libcommon/cfgbind.h"
#include "libcommon/ctl.h"
#include "libcommon/loop.h"
#include "libcommon/poolcfg.h"

struct daemon;

/*
 * A configuration that was read and bound: the arena dies with the generation. daemon.c holds one
 * reference to the one in force and gives the daemon another with start and with commit: the daemon
 * releases each that it was given by daemon_cfg_free, the last one too (in stop).
 */
struct daemon_cfg {
	struct cfg *cfg;
	struct arena arena;
	struct commoncfg common;
	void *own; /* the daemon's section, bound by ops->schema into ops->schema->size bytes */
	bool has_section; /* false: the section is not in the file and all is default */
	_Atomic unsigned refs;
};

/* For goodbyes to arrive, after shutdown_timeout. */
#define DAEMON_GOODBYE_MS 1000

struct daemon_ops {
	const char *program;                /* "routerd" */
	const char *usage;                  /* help for options of its own, which main takes out
					       before daemon_main; may be NULL */
	const char *section;                /* "http"; NULL when it has none */
	const struct cfg_schema *schema;    /* of the section */
	const struct ctl_command *commands; /* its own control words, besides the common ones; arg
					       is the daemon's `self` */
	/* Checks that need the whole configuration (own and common bound already). Reports into
	 * ctx->errs. Must not have effects. */
	void (*check)(struct cfg_ctx *ctx, struct daemon_cfg *dc);
	/* The `user` key of the section: whom a daemon started by root becomes. NULL when there is
	 * no such key. */
	const char *(*user)(const struct daemon_cfg *dc);
	/* Before privileges are dropped: bind listeners, read keys. Returns the daemon's self, or
	 * NULL with errs. */
	void *(*start)(struct daemon *d, struct daemon_cfg *dc, struct errs *errs);
	/* After privileges are dropped and the control socket answers: threads, bus, accepting. -1
	 * with err ends the start. */
	int (*run)(void *self, struct err *err);
	/*
	 * Reload. prepare does all that can fail and returns a candidate, or NULL with errs; fds
	 * are descriptors that a privileged proxyctl sent along with names (may be none). commit
	 * cannot fail and calls daemon_committed(d) once every worker has adopted it, inside of
	 * commit or later on the main thread; the old dc is released by daemon_cfg_free when no
	 * longer used, from any thread. discard drops a candidate, and not its dc.
	 */
	void *(*prepare)(void *self, struct daemon_cfg *dc, struct errs *errs);
	void (*commit)(void *self, void *candidate, struct daemon_cfg *dc);
	void (*discard)(void *self, void *candidate);
	/* Begin to drain: stop accepting, finish what is in flight, then daemon_drained(d). The
	 * deadline is daemon.c's. */
	void (*drain)(void *self);
	/* That has passed: end what is left, in order. It stops in DAEMON_GOODBYE_MS, or with
	 * daemon_drained(d). May be NULL. */
	void (*cut)(void *self);
	/* Reopen log files. May be NULL. */
	void (*reopen)(void *self);
	/* The `status` answer: JSON members into an object (json_t *), and text into out when out
	 * is not NULL. */
	void (*status)(void *self, struct json_t *object, struct sbuf *out);
	/* Everything down, free memory (leak checkers look). */
	void (*stop)(void *self);
};

/* Whole life of a daemon; returns the exit code. Only main calls it. */
int daemon_main(const struct daemon_ops *ops, int argc, char **argv);

struct loop *daemon_loop(const struct daemon *d);
const char *daemon_instance(const struct daemon *d);
/* The configuration in force, and its generation (1, 2, ...). */
const struct daemon_cfg *daemon_config(const struct daemon *d);
uint64_t daemon_generation(const struct daemon *d);
void daemon_committed(struct daemon *d);
void daemon_drained(struct daemon *d);
bool daemon_is_draining(const struct daemon *d);
/* One more reference, and one less. Thread-safe. */
struct daemon_cfg *daemon_cfg_ref(struct daemon_cfg *dc);
void daemon_cfg_free(struct daemon_cfg *dc);
/* A descriptor that was given for this absolute path during a reload, dup'ed for the caller, or -1.
 */
int daemon_passed_fd(const struct daemon *d, const char *path);
/*
 * "RUN_DIR/..." from the arena, with the folder made (mode 2750, common group). What is at the path
 * when privileges are dropped, and folders made by this, become the daemon's own; so this is for
 * paths that this daemon binds. Who only connects makes the path from common.run_dir. NULL with
 * errno when the folder cannot be made.
 */
char *daemon_run_path(const struct daemon *d, struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for a file that start() made elsewhere, such as a log: it becomes the new user's when
 * privileges are dropped. Only files, folders and sockets do, never devices. */
void daemon_own(const struct daemon *d, const char *path);
/*
 * Listening sockets of one address (TCP; others are left out): whoever started us may keep them, so
 * that clients who connect while we are gone wait for the process that comes after us. It replaces
 * what is kept of that address. Main thread; nothing happens when nobody keeps sockets.
 */
void daemon_keep_listeners(const int *fds, size_t n);
/* What is bound to this address is ours no more: nobody shall wait there. Not at our own end. */
void daemon_forget_listener(const struct addr *bound);

#endif
