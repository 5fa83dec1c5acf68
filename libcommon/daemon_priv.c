/*
 * daemon_priv: the run directory and who we are. Root only binds and reads keys; then the daemon
 * becomes the user of its section, and what it made in run_dir becomes that user's.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/daemon_parts.h"
#include "libcommon/folder.h"

/* The group by which daemons of different users meet in run_dir; -1: none. */
static gid_t
common_gid(const struct daemon *d)
{
	const char *name = d->cfg->common.control_group;
	const char *user = d->ops->user ? d->ops->user(d->cfg) : NULL;

	if (name != NULL) {
		const struct group *g = getgrnam(name);

		return g != NULL ? g->gr_gid : (gid_t)-1;
	}
	if (geteuid() == 0 && user != NULL) {
		const struct passwd *pw = getpwnam(user);

		return pw != NULL ? pw->pw_gid : (gid_t)-1;
	}
	return (gid_t)-1;
}

void
daemon_own(const struct daemon *d, const char *path)
{
	struct daemon_made *m = d->made;

	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->v[i], path) == 0)
			return;
	m->v = xreallocarray(m->v, m->n + 1, sizeof(*m->v));
	m->v[m->n++] = xstrdup(path);
}

void
daemon_made_free(struct daemon_made *made)
{
	for (size_t i = 0; i < made->n; i++)
		free(made->v[i]);
	free(made->v);
	free(made);
}

/* Ours: run_dir, state_dir and what is inside; what is above belongs to the system. */
static bool
is_ours(const struct daemon *d, const char *folder)
{
	const char *const tops[] = { d->cfg->common.run_dir, d->cfg->common.state_dir };

	for (size_t i = 0; i < sizeof(tops) / sizeof(*tops); i++) {
		size_t n = strlen(tops[i]);

		if (strncmp(folder, tops[i], n) == 0 && (folder[n] == '\0' || folder[n] == '/'))
			return true;
	}
	return false;
}

/* What is made inside inherits the group (set-group-id), so that sockets bound later can be
 * reached by the other daemons. The folder stands at `path` so far. */
static int
set_rights(const struct daemon *d, const char *folder, const char *path, struct err *err)
{
	gid_t gid = common_gid(d);

	if (!is_ours(d, folder))
		return chmod(path, 0755) < 0 ? err_set(err, "%s: %s", folder, strerror(errno)) : 0;
	if (gid != (gid_t)-1 && chown(path, (uid_t)-1, gid) < 0 && errno != EPERM)
		return err_set(err, "%s: cannot be given to the common group: %s", folder,
			strerror(errno));
	/* Operators write their decisions into state_dir; in run_dir only owners may. */
	if (chmod(path, strcmp(folder, d->cfg->common.state_dir) == 0 ? 02770 : 02750) < 0)
		return err_set(err, "%s: %s", folder, strerror(errno));
	return 0;
}

static int
check_is_folder(const char *folder, struct err *err)
{
	struct stat st;

	if (stat(folder, &st) < 0)
		return err_set(err, "%s: %s", folder, strerror(errno));
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return err_set(err, "%s: is not a folder", folder);
	}
	return 0;
}

/* 0, or -1 with errno EEXIST when somebody else's stands there by now. */
static int
put_in_place(const char *made, const char *folder)
{
	if (renameat2(AT_FDCWD, made, AT_FDCWD, folder, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	/* A file system without that: an empty folder may be replaced, by one that is its equal. */
	if (rename(made, folder) == 0)
		return 0;
	if (errno == ENOTEMPTY || errno == ENOTDIR)
		errno = EEXIST;
	return -1;
}

/* 1 when it was made, 0 when it is there. Daemons that start together make it together, so it
 * appears with its rights: in one that has yet to get them, another daemon would leave sockets
 * that are not the common group's, or could not enter it. */
static int
make_one(const struct daemon *d, const char *folder, struct err *err)
{
	struct stat st;

	if (lstat(folder, &st) == 0)
		return check_is_folder(folder, err);

	char *made = xasprintf("%s.XXXXXX", folder);
	int rc = 1;

	if (mkdtemp(made) == NULL)
		rc = err_set(err, "%s: cannot be made: %s", folder, strerror(errno));
	else if (set_rights(d, folder, made, err) < 0)
		rc = -1;
	else if (put_in_place(made, folder) < 0)
		rc = errno == EEXIST
			? check_is_folder(folder, err)
			: err_set(err, "%s: cannot be made: %s", folder, strerror(errno));
	if (rc != 1) {
		int saved = errno;

		rmdir(made);
		errno = saved;
	}
	free(made);
	return rc;
}

struct making {
	const struct daemon *d;
	struct err *err;
};

static int
make_level(void *arg, const char *folder)
{
	const struct making *m = arg;
	const struct commoncfg *c = &m->d->cfg->common;
	int made = make_one(m->d, folder, m->err);

	/* run_dir and state_dir stay root's: no daemon may take another one's place in them. */
	if (made == 1 && is_ours(m->d, folder) && strcmp(folder, c->run_dir) != 0 &&
		strcmp(folder, c->state_dir) != 0)
		daemon_own(m->d, folder);
	return made < 0 ? -1 : 0;
}

int
daemon_make_folder(const struct daemon *d, const char *folder, struct err *err)
{
	struct making m = { .d = d, .err = err };

	return folder_make_each(folder, make_level, &m);
}

void
daemon_make_state_dir(const struct daemon *d)
{
	struct err err = { 0 };

	/* One user for all needs nothing; who writes there first makes it. */
	if (geteuid() == 0 && common_gid(d) != (gid_t)-1 &&
		daemon_make_folder(d, d->cfg->common.state_dir, &err) < 0)
		LOG_WARN("state_dir_not_made", L_STR("reason", err.text));
}

char *
daemon_run_path(const struct daemon *d, struct arena *a, const char *fmt, ...)
{
	struct sbuf path = { 0 };
	va_list ap;

	sbuf_addf(&path, "%s/", d->cfg->common.run_dir);
	va_start(ap, fmt);
	sbuf_vaddf(&path, fmt, ap);
	va_end(ap);

	char *slash = strrchr(path.p, '/');

	*slash = '\0';

	int rc = daemon_make_folder(d, path.p, NULL);

	*slash = '/';
	if (rc == 0)
		daemon_own(d, path.p);

	char *out = rc == 0 ? arena_strndup(a, path.p, path.n) : NULL;
	int saved = errno;

	sbuf_fini(&path);
	errno = saved;
	return out;
}

static int
give_paths(const struct daemon *d, uid_t uid, struct err *err)
{
	const struct daemon_made *m = d->made;

	for (size_t i = 0; i < m->n; i++) {
		struct stat st;

		if (lstat(m->v[i], &st) < 0 ||
			!(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISSOCK(st.st_mode)))
			continue;
		if (lchown(m->v[i], uid, (gid_t)-1) < 0)
			return err_set(err, "%s: cannot be given to the daemon's user: %s", m->v[i],
				strerror(errno));
	}
	return 0;
}

static int
become(const struct passwd *pw, gid_t group, struct err *err)
{
	gid_t groups[128];
	int n = sizeof(groups) / sizeof(*groups) - 1;

	if (getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0)
		return err_set(err, "user `%s` is in too many groups", pw->pw_name);
	if (group != (gid_t)-1)
		groups[n++] = group;
	if (setgroups((size_t)n, groups) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
		setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return err_set(err, "cannot become user `%s`: %s", pw->pw_name, strerror(errno));
	if (setresuid(0, 0, 0) == 0)
		return err_set(err, "user `%s` can become root again", pw->pw_name);
	return 0;
}

/* What tells a child that its parent died is forgotten when the user changes. */
static int
become_keeping_death_signal(const struct passwd *pw, gid_t group, struct err *err)
{
	int signo = 0;
	pid_t parent = getppid();

	prctl(PR_GET_PDEATHSIG, &signo);
	if (become(pw, group, err) < 0)
		return -1;
	if (signo != 0) {
		prctl(PR_SET_PDEATHSIG, signo);
		if (getppid() != parent)
			return err_set(err, "the process that started this one is gone");
	}
	return 0;
}

static int
drop(struct daemon *d, const char *user, struct err *err)
{
	const struct passwd *pw = getpwnam(user);

	if (pw == NULL)
		return err_set(err, "user: there is no user `%s`", user);
	if (give_paths(d, pw->pw_uid, err) < 0 ||
		become_keeping_death_signal(pw, common_gid(d), err) < 0)
		return -1;
	if (access(d->cfg->common.run_dir, X_OK) < 0)
		return err_set(err,
			"%s: user `%s` may not enter it: expected a folder of the group "
			"`control_group`, with mode 2750",
			d->cfg->common.run_dir, user);
	return 0;
}

/* Every daemon of ours holds keys of some kind. A change of the user has set this, too, to what the
 * system has for such processes. */
void
daemon_set_dumpable(const struct daemon *d)
{
	bool may = d->cfg->common.debug_core;

	if (prctl(PR_SET_DUMPABLE, may ? 1 : 0, 0, 0, 0) < 0)
		LOG_WARN("dumpable_not_set", L_STR("text", strerror(errno)));
	else if (may)
		LOG_WARN(
			"core_allowed", L_STR("text", "debug.core: cores and debuggers show keys"));
}

int
daemon_drop_privileges(struct daemon *d, struct err *err)
{
	const char *user = d->ops->user ? d->ops->user(d->cfg) : NULL;
	bool is_root = geteuid() == 0;

	if (is_root && user != NULL) {
		if (drop(d, user, err) < 0)
			return -1;
	} else if (is_root) {
		LOG_WARN("privileges_kept",
			L_STR("text", "runs as root: set `user` in the section of this daemon"));
	} else {
		LOG_INFO("privileges_shared", L_INT("uid", geteuid()),
			L_STR("text",
				"not started by root: all daemons of this user can read each "
				"other's memory and files, private keys too"));
	}
	daemon_set_dumpable(d);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
	return 0;
}
