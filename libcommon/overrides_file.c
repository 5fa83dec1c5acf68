/*
 * overrides_file.c: changing the file of operator decisions. A lock on a file of its own (the data
 * file is replaced, so a lock on it would not last), then a temporary, fsync, rename, fsync of the
 * folder: after a crash there is the old file or the new one.
 */
#include "libcommon/overrides_file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/file.h"
#include "libcommon/folder.h"
#include "libcommon/mem.h"
#include "libcommon/units.h"

#define LOCK_NAME    "overrides.lock"
#define LOCK_WAIT_MS 10000
#define LOCK_STEP_MS 20
#define FILE_MODE    0640

int
overrides_slurp(const char *path, struct sbuf *text, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = 1;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_set(err, "%s: %s", path, strerror(errno));
	while (n > 0 && text->n <= OVERRIDES_BYTES_MAX) {
		char *at = sbuf_reserve(text, 16384);

		n = read(fd, at, 16384);
		if (n > 0)
			text->n += (size_t)n;
		else if (n < 0 && errno == EINTR)
			n = 1;
	}
	if (text->p)
		text->p[text->n] = '\0';

	int saved = errno;

	close(fd);
	if (n < 0)
		return err_set(err, "%s: %s", path, strerror(saved));
	if (text->n > OVERRIDES_BYTES_MAX)
		return err_set(err, "%s: over %u bytes", path, OVERRIDES_BYTES_MAX);
	return 0;
}

/* --- as text ------------------------------------------------------------------- */

/* JSON text is YAML text; `$` is doubled, since configuration files substitute ${NAME}. */
static void
add_quoted(struct sbuf *out, const char *s)
{
	struct sbuf twice = { 0 };

	for (; *s; s++) {
		if (*s == '$')
			sbuf_addc(&twice, '$');
		sbuf_addc(&twice, *s);
	}
	sbuf_add_json(out, sbuf_slice(&twice));
	sbuf_fini(&twice);
}

static void
add_member(struct sbuf *out, const char *key, const char *value)
{
	sbuf_addf(out, "    %s: ", key);
	add_quoted(out, value);
	sbuf_addc(out, '\n');
}

static void
add_time(struct sbuf *out, const char *key, int64_t when_s)
{
	char text[UNITS_TIME];

	if (when_s > 0 && units_format_time(when_s, text)[0] != '\0')
		sbuf_addf(out, "    %s: \"%s\"\n", key, text);
}

/* YAML that people can read, and overrides_read reads back. */
static void
format(const struct overrides *o, struct sbuf *out)
{
	sbuf_adds(out, "# Decisions of operators, written by proxyctl; read by the daemons.\n");
	sbuf_adds(out, o->n ? "overrides:\n" : "overrides: []\n");
	for (size_t i = 0; i < o->n; i++) {
		const struct override *v = &o->v[i];

		sbuf_adds(out, "  - pool: ");
		add_quoted(out, v->pool);
		sbuf_addc(out, '\n');
		add_member(out, "server", v->server);
		sbuf_addf(out, "    action: %s\n", override_action_name(v->action));
		if (v->action == OVERRIDE_WEIGHT)
			sbuf_addf(out, "    weight: %u\n", v->weight);
		if (v->actor && *v->actor)
			add_member(out, "actor", v->actor);
		if (v->reason && *v->reason)
			add_member(out, "reason", v->reason);
		add_time(out, "time", v->time_s);
		add_time(out, "expires", v->expires_s);
	}
}

/* --- the file ---------------------------------------------------------------- */

static int
lock(const char *state_dir, struct err *err)
{
	char *path = xasprintf("%s/" LOCK_NAME, state_dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);

	if (fd < 0) {
		err_set(err, "%s: %s", path, strerror(errno));
		free(path);
		return -1;
	}
	for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += LOCK_STEP_MS) {
		if (errno != EWOULDBLOCK || waited >= LOCK_WAIT_MS) {
			err_set(err, "%s: %s", path,
				errno == EWOULDBLOCK ? "held by somebody else" : strerror(errno));
			close(fd);
			free(path);
			return -1;
		}
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_STEP_MS * 1000000L }, NULL);
	}
	free(path);
	return fd;
}

/* The group that is asked for; without one, the group of the folder, which daemons share. */
static void
give_to_group(int fd, const char *state_dir, const char *group)
{
	const struct group *g = group ? getgrnam(group) : NULL;
	struct stat st;

	if (g) {
		if (fchown(fd, (uid_t)-1, g->gr_gid) == 0)
			return;
	}
	if (stat(state_dir, &st) == 0 && fchown(fd, (uid_t)-1, st.st_gid) != 0)
		return; /* not ours to give: the mode still says who may read */
}

static int
replace(const char *state_dir, const char *group, struct slice text, struct err *err)
{
	char *path = xasprintf("%s/" OVERRIDES_NAME, state_dir);
	char *tmp = xasprintf("%s/." OVERRIDES_NAME ".XXXXXX", state_dir);
	int rc = -1;
	int fd = mkostemp(tmp, O_CLOEXEC);

	if (fd < 0) {
		err_set(err, "%s: %s", tmp, strerror(errno));
		goto out;
	}
	give_to_group(fd, state_dir, group);
	if (fchmod(fd, FILE_MODE) || file_write(fd, text) || fsync(fd) || rename(tmp, path)) {
		err_set(err, "%s: %s", path, strerror(errno));
		unlink(tmp);
	} else if (file_sync_folder(state_dir)) {
		err_set(err, "%s: %s", state_dir, strerror(errno));
	} else {
		rc = 0;
	}
	close(fd);
out:
	free(tmp);
	free(path);
	return rc;
}

/* --- changing ---------------------------------------------------------------- */

/* Drop the entries that `drop` names; returns how many. */
static int
drop_entries(struct overrides *o, bool (*drop)(const struct override *v, const void *arg),
	const void *arg)
{
	size_t kept = 0;
	int dropped = 0;

	for (size_t i = 0; i < o->n; i++) {
		if (drop(&o->v[i], arg)) {
			override_fini(&o->v[i]);
			dropped++;
		} else {
			o->v[kept++] = o->v[i];
		}
	}
	o->n = kept;
	return dropped;
}

static bool
is_expired(const struct override *v, const void *now_s)
{
	return v->expires_s && v->expires_s <= *(const int64_t *)now_s;
}

struct target {
	const char *pool;
	const char *server;
	enum override_action what;
};

static bool
is_target(const struct override *v, const void *arg)
{
	const struct target *t = arg;

	return strcmp(v->pool, t->pool) == 0 && strcmp(v->server, t->server) == 0 &&
		(t->what == OVERRIDE_NONE || t->what == v->action);
}

/* drain and disable replace each other. */
static bool
is_replaced(const struct override *v, const void *arg)
{
	const struct target *t = arg;

	return strcmp(v->pool, t->pool) == 0 && strcmp(v->server, t->server) == 0 &&
		(t->what == OVERRIDE_WEIGHT) == (v->action == OVERRIDE_WEIGHT);
}

static void
add_entry(struct overrides *o, const struct override *e)
{
	o->v = xreallocarray(o->v, o->n + 1, sizeof(*o->v));
	o->v[o->n++] = (struct override){
		.pool = xstrdup(e->pool),
		.server = xstrdup(e->server),
		.action = e->action,
		.weight = e->weight,
		.actor = xstrdup(e->actor ? e->actor : ""),
		.reason = xstrdup(e->reason ? e->reason : ""),
		.time_s = e->time_s,
		.expires_s = e->expires_s,
	};
}

/* Under the lock: read, change by `add` or by taking `t` away, write. Returns how many went. */
static int
change(const char *state_dir, const char *group, const struct override *add, const struct target *t,
	struct err *err)
{
	struct overrides o = { 0 };
	struct sbuf text = { 0 };
	int64_t now_s = time(NULL);
	int dropped = -1;

	/* The first decision of all makes it. */
	if (folder_make(state_dir, 0750) < 0 && errno != EEXIST)
		return err_set(err, "%s: cannot be made: %s", state_dir, strerror(errno));

	int fd = lock(state_dir, err);

	if (fd < 0)
		return -1;
	if (overrides_read(&o, state_dir, err) == 0) {
		int expired = drop_entries(&o, is_expired, &now_s);

		dropped = drop_entries(&o, add ? is_replaced : is_target, t);
		if (add)
			add_entry(&o, add);
		format(&o, &text);
		if ((add || dropped || expired) &&
			replace(state_dir, group, sbuf_slice(&text), err))
			dropped = -1;
	}
	close(fd);
	sbuf_fini(&text);
	overrides_fini(&o);
	return dropped;
}

int
overrides_set(
	const char *state_dir, const char *group, const struct override *entry, struct err *err)
{
	struct target t = { entry->pool, entry->server, entry->action };

	if (entry->action == OVERRIDE_NONE || !*entry->pool || !*entry->server)
		return err_set(err, "a decision needs a pool, a server and an action");
	if (entry->action == OVERRIDE_WEIGHT && entry->weight > 256)
		return err_set(err, "weight %u: a number from 0 to 256 expected", entry->weight);
	return change(state_dir, group, entry, &t, err) < 0 ? -1 : 0;
}

int
overrides_remove(const char *state_dir, const char *group, const char *pool, const char *server,
	enum override_action what, struct err *err)
{
	struct target t = { pool, server, what };

	return change(state_dir, group, NULL, &t, err);
}
