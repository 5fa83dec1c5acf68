/*
 * fleet: one connection per daemon, all polled together, so that one that hangs costs its deadline
 * once and not once per daemon.
 */
#include "proxyctl/fleet.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/ctlclient.h"
#include "libcommon/sock.h"
#include "proxyctl/plain.h"

#define ANSWER_MAX (64u << 20)

void
pause_ms(int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

const char *
fleet_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

/* ---- finding ---- */

static bool
is_instance_of(struct slice s, struct slice program)
{
	return slice_starts(s, program) && s.n > program.n + 1 && s.p[program.n] == '.';
}

/* "routerd.0.sock": a program, an instance, the ending. */
static bool
is_control_name(const char *name, enum fleet_scope scope)
{
	struct slice s = slice_str(name);

	if (!slice_ends(s, SLICE(".sock")))
		return false;
	s.n -= strlen(".sock");
	for (size_t i = 0; i < PROGRAM_COUNT; i++)
		if (is_instance_of(s, slice_str(program_names[i])))
			return true;
	return scope == FLEET_ALL_AND_UP && is_instance_of(s, SLICE("up"));
}

static void
add_member(struct fleet *f, const char *dir, const char *name)
{
	size_t n = strlen(name) - strlen(".sock");

	f->v = xreallocarray(f->v, f->n + 1, sizeof(*f->v));
	f->v[f->n++] = (struct member){
		.path = xasprintf("%s/%s", dir, name),
		.name = xstrndup(name, n),
		.program = xstrndup(name, strcspn(name, ".")),
		.fd = -1,
	};
}

struct member *
fleet_add_gone(struct fleet *f, const char *dir, const char *name)
{
	char *file = xasprintf("%s.sock", name);
	bool is_daemon = is_control_name(file, FLEET_ALL) && strchr(file, '/') == NULL;

	if (is_daemon) {
		add_member(f, dir, file);
		f->v[f->n - 1].state = MEMBER_GONE;
	}
	free(file);
	return is_daemon ? &f->v[f->n - 1] : NULL;
}

static int
by_name(const void *a, const void *b)
{
	const struct member *x = a;
	const struct member *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : strcmp(x->path, y->path);
}

void
fleet_find(struct fleet *f, const struct site *s, enum fleet_scope scope)
{
	*f = (struct fleet){ 0 };
	for (size_t i = 0; i < (scope == FLEET_OWN && s->nrun_dirs > 1 ? 1 : s->nrun_dirs); i++) {
		DIR *dir = opendir(s->run_dirs[i]);
		const struct dirent *e;

		if (dir == NULL && errno != ENOENT)
			fprintf(stderr, "%s: %s\n", s->run_dirs[i], strerror(errno));
		while (dir != NULL && (e = readdir(dir)) != NULL)
			if (is_control_name(e->d_name, scope))
				add_member(f, s->run_dirs[i], e->d_name);
		if (dir != NULL)
			closedir(dir);
	}
	if (f->n > 0)
		qsort(f->v, f->n, sizeof(*f->v), by_name);
}

static void
member_forget(struct member *m)
{
	json_decref(m->answer);
	free(m->why);
	m->answer = NULL;
	m->why = NULL;
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	sbuf_clear(&m->in);
}

static void
member_fini(struct member *m)
{
	member_forget(m);
	sbuf_fini(&m->in);
	json_decref(m->process);
	free(m->path);
	free(m->name);
	free(m->program);
}

void
fleet_fini(struct fleet *f)
{
	for (size_t i = 0; i < f->n; i++)
		member_fini(&f->v[i]);
	free(f->v);
	*f = (struct fleet){ 0 };
}

void
fleet_forget_gone(struct fleet *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->n; i++) {
		if (f->v[i].state == MEMBER_GONE)
			member_fini(&f->v[i]);
		else
			f->v[kept++] = f->v[i];
	}
	f->n = kept;
}

void
fleet_drop(struct fleet *f, struct member *m)
{
	size_t i = (size_t)(m - f->v);

	member_fini(m);
	memmove(m, m + 1, (f->n - i - 1) * sizeof(*m));
	f->n--;
}

/* ---- asking ---- */

static void
set_why(struct member *m, enum member_state state, const char *why)
{
	struct sbuf plain = { 0 };

	m->state = state;
	free(m->why);
	plain_add(&plain, why, PLAIN_LINES);
	m->why = sbuf_take(&plain);
}

/*
 * Whose process is it? The socket was bound before its owner dropped its rights, so its own
 * credentials tell no more than which process that was.
 */
static bool
is_stranger(int fd)
{
	char path[48];
	char line[256];
	unsigned uid = 0;
	bool is_known = false;
	pid_t pid = 0;
	FILE *f;

	if (!sock_peer(fd, NULL, NULL, &pid) || pid <= 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f != NULL && !is_known && fgets(line, sizeof(line), f) != NULL)
		is_known = sscanf(line, "Uid: %u", &uid) == 1;
	if (f != NULL)
		fclose(f);
	return !is_known || uid != geteuid();
}

static void
member_open(struct member *m, const char *line, const int *fds, size_t nfds, int timeout_ms)
{
	char *asked = xasprintf("json %s", line);
	struct err err = { 0 };

	member_forget(m);
	m->state = MEMBER_SILENT;
	m->fd = ctl_open(m->path, asked, fds, nfds, timeout_ms, &err);
	if (m->fd < 0 && (errno == ECONNREFUSED || errno == ENOENT))
		m->state = MEMBER_GONE;
	else if (m->fd < 0)
		set_why(m, MEMBER_SILENT, err.text);
	if (m->fd >= 0)
		m->is_stranger = is_stranger(m->fd);
	free(asked);
}

static void
member_answered(struct member *m)
{
	json_error_t error;

	m->answer = json_loadb(sbuf_str(&m->in), m->in.n, 0, &error);
	if (m->answer == NULL) {
		/* It ended between the question and the answer. */
		set_why(m, m->in.n == 0 ? MEMBER_GONE : MEMBER_SILENT,
			"its answer is not what this program understands");
		return;
	}

	const char *why = json_string_value(json_object_get(m->answer, "error"));

	if (why != NULL)
		set_why(m, MEMBER_REFUSED, why);
	else
		m->state = MEMBER_OK;
}

/* Bytes, or the end, of a member's answer. */
static void
member_read(struct member *m)
{
	char *at = sbuf_reserve(&m->in, 65536);
	ssize_t n = recv(m->fd, at, 65536, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		m->in.n += (size_t)n;
		m->in.p[m->in.n] = '\0';
		if (m->in.n <= ANSWER_MAX)
			return;
	}
	close(m->fd);
	m->fd = -1;
	member_answered(m);
}

static size_t
poll_members(struct fleet *f, struct pollfd *polls, int timeout_ms)
{
	size_t waiting = 0;

	for (size_t i = 0; i < f->n; i++) {
		polls[i] = (struct pollfd){ .fd = f->v[i].fd, .events = POLLIN };
		waiting += f->v[i].fd >= 0;
	}
	if (waiting == 0 || poll(polls, (nfds_t)f->n, timeout_ms) <= 0)
		return waiting;
	for (size_t i = 0; i < f->n; i++)
		if (polls[i].revents != 0)
			member_read(&f->v[i]);
	return waiting;
}

static void
collect(struct fleet *f, int64_t deadline_ms)
{
	struct pollfd *polls = xcalloc(f->n + 1, sizeof(*polls));

	for (;;) {
		int64_t left = deadline_ms - clock_ms();

		if (left <= 0 || poll_members(f, polls, (int)left) == 0)
			break;
	}
	free(polls);
	for (size_t i = 0; i < f->n; i++) {
		if (f->v[i].fd < 0)
			continue;
		close(f->v[i].fd);
		f->v[i].fd = -1;
		set_why(&f->v[i], MEMBER_SILENT, "no answer in time");
	}
}

void
fleet_ask(struct fleet *f, const char *line, int timeout_ms, fleet_pick_fn pick, void *pick_arg)
{
	int64_t deadline_ms = clock_ms() + timeout_ms;

	for (size_t i = 0; i < f->n; i++)
		if (pick == NULL || pick(&f->v[i], pick_arg))
			member_open(&f->v[i], line, NULL, 0, timeout_ms);
	collect(f, deadline_ms);
}

void
fleet_ask_one(struct member *m, const char *line, const int *fds, size_t nfds, int timeout_ms)
{
	struct fleet one = { .v = m, .n = 1 };

	member_open(m, line, fds, nfds, timeout_ms);
	collect(&one, clock_ms() + timeout_ms);
}

size_t
fleet_count(const struct fleet *f, enum member_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->v[i].state == state;
	return n;
}

size_t
fleet_complain(const struct fleet *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		const struct member *m = &f->v[i];

		if (m->state != MEMBER_REFUSED && m->state != MEMBER_SILENT)
			continue;
		fprintf(stderr, "%s: %s\n", m->name, m->why ? m->why : "no answer");
		n++;
	}
	return n;
}
