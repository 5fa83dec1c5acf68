/*
 * toy_daemon: the smallest daemon that uses all that libcommon/daemon.h offers: what test_daemon
 * starts, in a process of its own.
 */
#ifndef TESTS_TOY_DAEMON_H
#define TESTS_TOY_DAEMON_H

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/daemon.h"

struct toycfg {
	char *user;
	char *key;       /* a file that must be readable, by us or by a given descriptor */
	int64_t value;   /* 13 is refused by the check, 14 when prepared */
	int64_t port;    /* a restart only */
	bool slow;       /* commits are adopted later */
	bool never_done; /* drains do not end */
};

static const struct cfg_row toy_rows[] = {
	CFG_ROW(struct toycfg, user, "user", CFGT_STRING, .help = "h"),
	CFG_ROW(struct toycfg, key, "key", CFGT_PATH, .help = "h"),
	CFG_ROW(struct toycfg, value, "value", CFGT_INT, .flags = CFG_REQUIRED, .max = 100,
		.help = "h"),
	CFG_ROW(struct toycfg, port, "port", CFGT_INT, .def = "1", .max = 100, .flags = CFG_RESTART,
		.help = "h"),
	CFG_ROW(struct toycfg, slow, "slow", CFGT_BOOL, .def = "off", .help = "h"),
	CFG_ROW(struct toycfg, never_done, "never_done", CFGT_BOOL, .def = "off", .help = "h"),
	CFG_END,
};
static const struct cfg_schema toy_schema = {
	.name = "toy",
	.size = sizeof(struct toycfg),
	.rows = toy_rows,
};

struct toy {
	struct daemon *d;
	struct daemon_cfg *dc;
	struct loop_timer *timer;
	unsigned reopened;
	unsigned discarded;
};

static const struct toycfg *
own(const struct daemon_cfg *dc)
{
	return dc->own;
}

static void
toy_check(struct cfg_ctx *ctx, struct daemon_cfg *dc)
{
	if (own(dc)->value == 13)
		cfg_error(ctx, cfg_get(cfg_get(dc->cfg->root, "http"), "value"), "toy.value",
			"13 is refused");
}

static const char *
toy_user(const struct daemon_cfg *dc)
{
	return own(dc)->user;
}

static void
on_adopted(void *arg)
{
	struct toy *t = arg;

	daemon_committed(t->d);
}

static void *
toy_start(struct daemon *d, struct daemon_cfg *dc, struct errs *errs)
{
	if (own(dc)->value == 14) {
		errs_add(
			errs, FINDING_ERROR, (struct err_at){ .file = "x" }, "", "14 cannot start");
		return NULL;
	}

	struct toy *t = xcalloc(1, sizeof(*t));

	t->d = d;
	t->dc = dc;
	t->timer = loop_timer_new(daemon_loop(d), on_adopted, t);
	return t;
}

static int
toy_run(void *self, struct err *err)
{
	(void)self;
	(void)err;
	return 0;
}

static bool
can_read(const struct daemon *d, const char *path)
{
	int fd = daemon_passed_fd(d, path);

	if (fd < 0)
		fd = open(path, O_RDONLY);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void *
toy_prepare(void *self, struct daemon_cfg *dc, struct errs *errs)
{
	const struct toy *t = self;
	const char *key = own(dc)->key;

	if (own(dc)->value == 14)
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = "x" }, "", "14 is refused");
	else if (key != NULL && !can_read(t->d, key))
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = key }, "", "unreadable");
	else
		return self;
	return NULL;
}

static void
toy_commit(void *self, void *candidate, struct daemon_cfg *dc)
{
	struct toy *t = self;

	(void)candidate;
	daemon_cfg_free(t->dc);
	t->dc = dc;
	if (own(dc)->slow)
		loop_timer_set(t->timer, 200, false);
	else
		daemon_committed(t->d);
}

static void
toy_discard(void *self, void *candidate)
{
	struct toy *t = self;

	(void)candidate;
	t->discarded++;
}

static void
toy_drain(void *self)
{
	struct toy *t = self;

	if (!own(t->dc)->never_done)
		daemon_drained(t->d);
}

/* Nobody takes his leave. */
static void
toy_cut(void *self)
{
	(void)self;
	fputs("cut is called\n", stderr);
}

static void
toy_reopen(void *self)
{
	struct toy *t = self;

	t->reopened++;
}

static void
toy_status(void *self, struct json_t *o, struct sbuf *out)
{
	const struct toy *t = self;

	json_object_set_new(o, "value", json_integer(own(t->dc)->value));
	json_object_set_new(o, "reopened", json_integer(t->reopened));
	json_object_set_new(o, "discarded", json_integer(t->discarded));
	if (out != NULL)
		sbuf_addf(out, "value %d\n", (int)own(t->dc)->value);
}

static void
toy_stop(void *self)
{
	struct toy *t = self;

	daemon_cfg_free(t->dc);
	loop_timer_free(t->timer);
	free(t);
}

static const struct daemon_ops ops = {
	.program = "toy",
	.section = "http", /* one of the known sections; its schema is ours */
	.schema = &toy_schema,
	.check = toy_check,
	.user = toy_user,
	.start = toy_start,
	.run = toy_run,
	.prepare = toy_prepare,
	.commit = toy_commit,
	.discard = toy_discard,
	.drain = toy_drain,
	.cut = toy_cut,
	.reopen = toy_reopen,
	.status = toy_status,
	.stop = toy_stop,
};

#endif
