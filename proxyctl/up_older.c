/*
 * up_older: a daemon that dies is started again by the configuration that it ran by. When its file
 * holds another one by then, that is said, and why nobody runs by that one: `proxyctl check` is run
 * beside us, and what it finds first is the reason. One that does not end in time (something that a
 * configuration names may be a pipe, or on a server that is gone) is killed with all that it runs.
 *
 * A daemon that was reloaded by itself tells us the hash of what it took. The bytes are read from
 * the file, and never taken from the daemon: the next one is started by them with our rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "proxyctl/findings.h"
#include "proxyctl/up.h"

enum { OUTPUT_MAX = 4 << 20 };

struct entry {
	struct entry *next;
	char *name; /* of the process */
	char *file;
	char hash[CFG_HASH];    /* by which it runs */
	char on_disk[CFG_HASH]; /* of the file; "" when it could not be read */
	char *reason;           /* NULL while it is not known */
	bool is_asked;          /* the check under way is about it, too */
};

struct older {
	struct entry *first;
	struct loop_io *io; /* of the check under way; NULL: none */
	struct loop_timer *deadline;
	pid_t pid; /* its process, and its group */
	int fd;
	struct sbuf out;
};

/* ---- entries ---- */

static struct entry *
find(const struct up *u, const char *name)
{
	struct entry *e = u->older != NULL ? u->older->first : NULL;

	while (e != NULL && strcmp(e->name, name) != 0)
		e = e->next;
	return e;
}

static void
entry_free(struct entry *e)
{
	free(e->name);
	free(e->file);
	free(e->reason);
	free(e);
}

static void
drop(struct up *u, const char *name)
{
	struct entry **at = u->older != NULL ? &u->older->first : NULL;

	while (at != NULL && *at != NULL) {
		struct entry *e = *at;

		if (name == NULL || strcmp(e->name, name) == 0) {
			*at = e->next;
			entry_free(e);
		} else {
			at = &e->next;
		}
	}
}

static void
say(const struct entry *e)
{
	LOG_WARN("config_older", L_STR("name", e->name), L_STR("config", e->file),
		L_STR("hash", e->hash), L_STR("on_disk", e->on_disk[0] ? e->on_disk : "-"),
		L_STR("reason", e->reason));
}

/* ---- the check ---- */

/* One error that is in this file itself, if there is any, and how many there are besides. */
static char *
reason_of(const struct errs *errs, const char *file)
{
	struct finding *first = NULL;
	struct sbuf out = { 0 };
	bool is_in_file = false;

	for (size_t i = 0; i < errs->n && !is_in_file; i++) {
		struct finding *f = &errs->v[i];

		if (f->level != FINDING_ERROR)
			continue;
		is_in_file = f->file != NULL && strcmp(f->file, file) == 0;
		if (first == NULL || is_in_file)
			first = f;
	}
	if (first == NULL)
		return xstrdup("no error is in it, and nobody has reloaded it");

	const struct errs one = { .v = first, .n = 1 };

	errs_format(&one, &out);
	sbuf_cut(&out, out.n - 1);
	if (errs->error_count > 1)
		sbuf_addf(&out, ", and %zu more", errs->error_count - 1);
	return sbuf_take(&out);
}

/* What the check under way has found, for those that it is about; NULL: nothing can be said. */
static void
take_reasons(struct up *u, const struct errs *errs)
{
	for (struct entry *e = u->older->first; e != NULL; e = e->next) {
		if (!e->is_asked)
			continue;
		e->is_asked = false;
		e->reason = errs != NULL ? reason_of(errs, e->file)
					 : xstrdup("it could not be checked");
		say(e);
	}
}

static void on_output(void *arg, int fd, int events);

/* For all that have no reason yet. */
static void
check(struct up *u)
{
	struct older *o = u->older;
	bool is_wanted = false;
	int fds[2];

	for (struct entry *e = o->first; e != NULL; e = e->next) {
		e->is_asked = e->reason == NULL;
		is_wanted |= e->is_asked;
	}
	if (!is_wanted)
		return;
	if (pipe2(fds, O_CLOEXEC) < 0) {
		take_reasons(u, NULL);
		return;
	}
	o->pid = up_run(u, "check", "-j", NULL, fds[1]);
	close(fds[1]);
	if (o->pid < 0) {
		close(fds[0]);
		take_reasons(u, NULL);
		return;
	}
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	o->fd = fds[0];
	o->io = loop_io_new(u->loop, o->fd, LOOP_READ, on_output, u);
	loop_timer_set(o->deadline, (uint64_t)u->check_ms, false);
}

static void
check_stop(struct older *o)
{
	loop_timer_stop(o->deadline);
	loop_io_free(o->io);
	close(o->fd);
	o->io = NULL;
	sbuf_fini(&o->out);
}

/* Whoever of its group has the pipe open lives, so nobody else is called by that number. */
static void
check_kill(struct older *o)
{
	if (o->io == NULL)
		return;
	kill(-o->pid, SIGKILL);
	check_stop(o);
}

static void
on_deadline(void *arg)
{
	struct up *u = arg;

	check_kill(u->older);
	take_reasons(u, NULL);
	check(u);
}

static void
on_output(void *arg, int fd, int events)
{
	struct up *u = arg;
	struct older *o = u->older;
	ssize_t n = read(fd, sbuf_reserve(&o->out, 65536), 65536);
	struct errs errs = { 0 };
	json_t *array = NULL;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && o->out.n < OUTPUT_MAX) {
		o->out.n += (size_t)n;
		return;
	}
	if (n == 0 && o->out.n > 0)
		array = json_loadb(o->out.p, o->out.n, 0, NULL);
	findings_add(&errs, array);
	check_stop(o);
	take_reasons(u, json_is_array(array) ? &errs : NULL);
	errs_fini(&errs);
	json_decref(array);
	check(u);
}

/* ---- from outside ---- */

/* One that is known, and of which nothing has changed. */
static struct entry *
find_same(const struct up *u, const struct child *c, const char *on_disk)
{
	struct entry *e = find(u, child_name(c));

	return e != NULL && strcmp(e->hash, child_text(c)->hash) == 0 &&
			strcmp(e->on_disk, on_disk) == 0
		? e
		: NULL;
}

static void
add(struct up *u, const struct child *c, const char *on_disk, const char *reason)
{
	struct entry *e = xcalloc(1, sizeof(*e));

	if (u->older == NULL) {
		u->older = xcalloc(1, sizeof(*u->older));
		u->older->deadline = loop_timer_new(u->loop, on_deadline, u);
	}
	e->name = xstrdup(child_name(c));
	e->file = xstrdup(child_text(c)->file);
	strcpy(e->hash, child_text(c)->hash);
	strcpy(e->on_disk, on_disk);
	e->next = u->older->first;
	u->older->first = e;
	if (reason != NULL) {
		e->reason = xstrdup(reason);
		say(e);
	} else if (u->older->io == NULL) {
		check(u);
	}
}

void
up_older_restarted(void *up, struct child *c)
{
	struct up *u = up;
	const char *file = child_text(c)->file;
	struct err err = { 0 };
	char on_disk[CFG_HASH];

	if (cfg_hash_file(file, on_disk) < 0)
		err_set(&err, "%s: %s", file, strerror(errno));

	const struct entry *same = find_same(u, c, on_disk);

	if (same != NULL && same->reason != NULL) {
		say(same);
	} else if (same == NULL) {
		drop(u, child_name(c));
		if (strcmp(on_disk, child_text(c)->hash) != 0)
			add(u, c, on_disk, err.text[0] != '\0' ? err.text : NULL);
	}
}

/* A daemon that was taken over may tell us one hash after the other, and shall not fill a disk. */
static void
say_not_kept(const struct child *c, const char *hash)
{
	static struct log_limit limit = { .burst = 5 };
	uint32_t held;

	if (log_allow(&limit, &held))
		LOG_WARN("config_not_kept", L_STR("name", child_name(c)),
			L_STR("config", child_text(c)->file), L_STR("hash", hash),
			L_STR("kept", child_text(c)->hash), L_INT("suppressed", held));
}

void
up_older_told(void *up, struct child *c, const char *hash)
{
	struct up *u = up;
	const char *file = child_text(c)->file;
	struct conftext *t = conftexts_find(&u->texts, file, hash);
	struct err err = { 0 };

	if (t == NULL && u->candidate.is_there)
		t = conftexts_find(&u->candidate.texts, file, hash);
	t = t != NULL ? conftext_ref(t) : conftext_read(file, &err);
	if (t != NULL && strcmp(t->hash, hash) == 0) {
		child_set_text(c, t);
		drop(u, child_name(c));
	} else {
		say_not_kept(c, hash);
	}
	conftext_free(t);
}

/* That the file holds what a daemon says it took does not tell that it is right: one that was taken
 * over could keep the next from starting, even when the file is mended. */
void
up_older_refused(void *up, struct child *c)
{
	struct up *u = up;
	struct conftext *t = conftexts_find(&u->texts, child_text(c)->file, NULL);

	if (t == NULL || strcmp(t->hash, child_text(c)->hash) == 0)
		return;
	LOG_WARN("config_let_go", L_STR("name", child_name(c)), L_STR("config", t->file),
		L_STR("hash", child_text(c)->hash), L_STR("kept", t->hash));
	child_set_text(c, t);
	drop(u, child_name(c));
}

void
up_older_forget(struct up *u)
{
	drop(u, NULL);
}

json_t *
up_older_json(const struct up *u, const char *name)
{
	const struct entry *e = find(u, name);

	return e != NULL ? json_pack("{s:s,s:s,s:s?}", "hash", e->hash, "on_disk", e->on_disk,
				   "reason", e->reason)
			 : NULL;
}

void
up_older_free(struct up *u)
{
	if (u->older == NULL)
		return;
	drop(u, NULL);
	check_kill(u->older);
	loop_timer_free(u->older->deadline);
	free(u->older);
	u->older = NULL;
}
