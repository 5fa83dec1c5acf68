/*
 * ctl: the control socket, server side. One line of words in, the answer out, closed: `socat` is a
 * client. "json" in front of the line asks for JSON. Words come from a table that gives usage and
 * `help`; unknown words are answered with the valid ones. Driven by a loop; commands run on its
 * thread and may finish later.
 *
 * Answer framing: text answers are plain text. When a command fails, the text is "error: ..." and,
 * asked with `json`,
 * {"error": "..."}. Every JSON answer is one object or array and a newline. A command that says
 * nothing is answered with "ok" or {"ok": true}.
 */
#ifndef LIBCOMMON_CTL_H
#define LIBCOMMON_CTL_H

#include <sys/types.h>

#include "libcommon/ctlproto.h"
#include "libcommon/err.h"
#include "libcommon/log.h"
#include "libcommon/sbuf.h"

struct loop;
struct ctl;

/* root and the daemon's own user: admin. Members of control_group: operator. Others: view, if the
 * socket's mode lets them in. */
enum ctl_level { CTL_VIEW, CTL_OPERATE, CTL_ADMIN };

#define CTL_FDS_MAX 16

struct ctl_req {
	const char *const *args; /* words after the command's own, NULL-terminated */
	size_t nargs;
	bool is_json;
	enum ctl_level level;
	uid_t uid;
	int *fds; /* descriptors that came with the line; the command takes one by setting it to -1,
		     the rest are closed */
	size_t nfds;
	struct sbuf out; /* the answer; for JSON the command writes JSON */
	void *arg;       /* of the table */
	struct ctl *ctl;
};

/*
 * Runs one command. It ends with exactly one ctl_done or ctl_fail, now or later on the same thread;
 * the request dies then. `cancel` set through ctl_on_cancel runs when the client goes away first;
 * the request is dead afterwards.
 */
typedef void (*ctl_fn)(struct ctl_req *req);

struct ctl_command {
	const char *words; /* "show servers state" */
	const char *usage; /* "[POOL]", or "" */
	const char *help;
	enum ctl_level level;
	ctl_fn fn;
};

struct json_t;
void ctl_done(struct ctl_req *req);
/* The same with a JSON answer, whose reference is taken. */
void ctl_done_json(struct ctl_req *req, struct json_t *json);
void ctl_fail(struct ctl_req *req, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ctl_on_cancel(struct ctl_req *req, void (*fn)(struct ctl_req *req, void *arg), void *arg);
void *ctl_req_data(const struct ctl_req *req);
void ctl_req_set_data(struct ctl_req *req, void *data);

/*
 * Listen at path (stale files replaced, live holders named in err), mode 0660, with the group
 * control_group (NULL: none). Built in: help, events. At most CTL_CLIENTS_MAX clients at a time,
 * the last few kept for admins; 30 s for a line to arrive and for an answer to make progress.
 */
#define CTL_CLIENTS_MAX 64
struct ctl *ctl_new(struct loop *l, const char *path, const char *control_group, struct err *err);
/* `commands` ends with a zero row; more tables may be added, the first one that knows a word wins.
 */
void ctl_add(struct ctl *c, const struct ctl_command *commands, void *arg);
void ctl_free(struct ctl *c);

/*
 * Give every `events` subscriber one JSON line: {"time":"...", "daemon":..., "seq":...,
 * "level":..., "type":..., fields...}. Installed as log's hook by daemon.c, so every log record of
 * level info and above is an event. Thread-safe. The last CTL_EVENTS_KEPT lines are kept:
 * `events recent` begins with them, and a subscriber that is further behind loses lines and is told
 * how many: {"type":"events_lost","count":n}. `ctl` is the struct ctl.
 */
#define CTL_EVENTS_KEPT 512
void ctl_event(void *ctl, const struct log_record *rec);

#endif
