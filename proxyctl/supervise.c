/*
 * supervise: each child is a small state machine (waiting for its stage, starting, ready, pausing
 * before a restart, ended; leaving, when it was removed) driven by SIGCHLD, its readiness pipe and
 * a timer.
 *
 * Children have process groups of their own, so that Ctrl-C reaches only us and becomes one TERM
 * for each: two would end them at once. They are told by the kernel when we are killed.
 */
#include "proxyctl/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"

enum {
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 10000,
	STABLE_MS = 10000, /* who lived so long begins again with the first pause */
};

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
	char **argv; /* with room for "-r", FD at the end */
	const struct instancecfg *env;
	enum child_state state;
	pid_t pid;
	int ready_fd;
	struct loop_io *ready_io;
	struct loop_timer *timer;
	uint64_t started_ms;
	uint64_t backoff_ms;
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

static void child_start(struct child *c);
static void begin_stage(struct supervisor *s);
static void start_late(struct supervisor *s);

struct supervisor *
supervisor_new(struct loop *l, int64_t end_ms, const struct supervisor_ops *ops, void *arg)
{
	struct supervisor *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	s->end_ms = end_ms;
	s->ops = ops;
	s->arg = arg;
	s->last = &s->children;
	return s;
}

size_t
supervisor_count(const struct supervisor *s)
{
	return s->count;
}

int
supervisor_code(const struct supervisor *s)
{
	return s->code;
}

/* ---- ending ---- */

static bool
is_alive(const struct child *c)
{
	return c->pid > 0;
}

/* Who is leaving has had its TERM: another one would make it end at once. */
static void
signal_all(struct supervisor *s, int signo, bool is_for_leavers)
{
	for (struct child *c = s->children; c != NULL; c = c->next)
		if (is_alive(c) && (is_for_leavers || c->state != CHILD_LEAVING))
			kill(c->pid, signo);
}

static void
end_if_nobody_left(struct supervisor *s)
{
	for (struct child *c = s->children; c != NULL; c = c->next)
		if (is_alive(c) || (!s->is_ending && c->state != CHILD_ENDED))
			return;
	if (s->is_ending || !s->is_changing)
		loop_stop(s->loop);
}

static void
on_kill_timer(void *arg)
{
	struct supervisor *s = arg;

	for (struct child *c = s->children; c != NULL; c = c->next)
		if (is_alive(c))
			LOG_WARN("killed", L_STR("name", c->name), L_INT("after_ms", s->end_ms));
	signal_all(s, SIGKILL, true);
}

static void
begin_end(struct supervisor *s, int signo)
{
	bool is_second = s->is_ending;

	s->is_ending = true;
	signal_all(s, signo, is_second);
	if (!is_second) {
		s->kill_timer = loop_timer_new(s->loop, on_kill_timer, s);
		loop_timer_set(s->kill_timer, (uint64_t)s->end_ms, false);
	}
	end_if_nobody_left(s);
}

/* ---- starting ---- */

static void
stop_listening(struct child *c)
{
	if (c->ready_io != NULL)
		loop_io_free(c->ready_io);
	c->ready_io = NULL;
	if (c->ready_fd >= 0)
		close(c->ready_fd);
	c->ready_fd = -1;
}

/* The next stage begins when all of this one are ready. */
static void
stage_check(struct supervisor *s)
{
	bool is_more = false;

	for (struct child *c = s->children; c != NULL; c = c->next) {
		if (c->stage <= s->stage && !c->was_ready && c->state != CHILD_ENDED)
			return;
		is_more |= c->stage > s->stage;
	}
	if (s->is_ready || s->is_ending)
		return;
	if (is_more) {
		s->stage++;
		begin_stage(s);
	} else {
		s->is_ready = true;
		s->ops->ready(s->arg);
	}
}

static void
begin_stage(struct supervisor *s)
{
	for (struct child *c = s->children; c != NULL; c = c->next)
		if (c->stage == s->stage && c->state == CHILD_WAITING)
			child_start(c);
	stage_check(s);
}

/* All that came late have shown what they are. */
static void
check_settled(struct supervisor *s)
{
	if (!s->is_changing || s->is_ending)
		return;
	for (struct child *c = s->children; c != NULL; c = c->next)
		if (c->is_late && !c->was_ready && !c->is_failed && c->state != CHILD_LEAVING)
			return;
	s->is_changing = false;
	s->ops->settled(s->arg);
	end_if_nobody_left(s);
}

static void
on_ready(void *arg, int fd, int events)
{
	struct child *c = arg;
	char word[16];
	ssize_t n = read(fd, word, sizeof(word));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	stop_listening(c);
	if (n <= 0)
		return;
	if (c->state == CHILD_STARTING)
		c->state = CHILD_READY;
	c->was_ready = true;
	if (c->is_late)
		check_settled(c->s);
	else
		stage_check(c->s);
}

/* Between fork and exec: only what is safe there. */
static void
become_child(const struct child *c, pid_t parent)
{
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* What is sent to all may reach one that has no handler yet: it would die of it. */
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	if (c->env != NULL)
		(void)site_set_env(c->env); /* what it gives back is never needed */
	execvp(c->argv[0], c->argv);
	_exit(127);
}

static void
set_ready_option(struct child *c, int fd)
{
	size_t n = 0;

	while (c->argv[n] != NULL && strcmp(c->argv[n], "-r") != 0)
		n++;
	free(c->argv[n]);
	if (c->argv[n] != NULL)
		free(c->argv[n + 1]);
	c->argv[n] = xstrdup("-r");
	c->argv[n + 1] = xasprintf("%d", fd);
	c->argv[n + 2] = NULL;
}

static void
pause_and_restart(struct child *c)
{
	c->state = CHILD_PAUSING;
	loop_timer_set(c->timer, c->backoff_ms, false);
	c->backoff_ms = c->backoff_ms * 2 < BACKOFF_MAX_MS ? c->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void
child_start(struct child *c)
{
	int fds[2];
	pid_t parent = getpid();

	if (pipe2(fds, O_CLOEXEC) < 0) {
		LOG_ERROR("start_failed", L_STR("name", c->name), L_STR("reason", strerror(errno)));
		pause_and_restart(c);
		return;
	}
	set_ready_option(c, fds[1]);
	c->started_ms = loop_now_ms(c->s->loop);
	c->pid = fork();
	if (c->pid == 0) {
		fcntl(fds[1], F_SETFD, 0);
		become_child(c, parent);
	}
	close(fds[1]);
	c->ready_fd = fds[0];
	if (c->pid < 0) {
		LOG_ERROR("start_failed", L_STR("name", c->name), L_STR("reason", strerror(errno)));
		c->pid = 0;
		stop_listening(c);
		pause_and_restart(c);
		return;
	}
	c->state = CHILD_STARTING;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	c->ready_io = loop_io_new(c->s->loop, fds[0], LOOP_READ, on_ready, c);
}

static void
on_timer(void *arg)
{
	struct child *c = arg;

	if (c->state == CHILD_LEAVING) {
		LOG_WARN("killed", L_STR("name", c->name), L_INT("after_ms", c->s->end_ms));
		kill(c->pid, SIGKILL);
	} else if (!c->s->is_ending) {
		child_start(c);
	}
}

/* ---- dying ---- */

static void
child_release(void *p)
{
	free(p);
}

/* Its callbacks may be on the stack. */
static void
child_free(struct child *c)
{
	struct supervisor *s = c->s;
	struct child **at = &s->children;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (s->last == &c->next)
		s->last = at;
	s->count--;
	stop_listening(c);
	loop_timer_free(c->timer);
	for (size_t i = 0; c->argv[i] != NULL; i++)
		free(c->argv[i]);
	free(c->argv);
	free(c->name);
	loop_defer(s->loop, child_release, c);
}

static void
log_end(const struct child *c, int status)
{
	if (WIFSIGNALED(status))
		LOG_WARN("died", L_STR("name", c->name), L_INT("signal", WTERMSIG(status)),
			L_INT("restart_in_ms", c->backoff_ms));
	else
		LOG_WARN("died", L_STR("name", c->name), L_INT("exit", WEXITSTATUS(status)),
			L_INT("restart_in_ms", c->backoff_ms));
}

/* A child that was never ready is wrong in itself: better to say so than to try for ever. */
static void
give_up(struct child *c, int status)
{
	struct supervisor *s = c->s;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

	LOG_ERROR("start_failed", L_STR("name", c->name), L_INT("exit", code),
		L_STR("reason", code == 127 ? "the program cannot be run" : "see its lines above"));
	c->state = CHILD_ENDED;
	if (c->is_late) {
		c->is_failed = true;
		check_settled(s);
		return;
	}
	if (s->code == 0)
		s->code = code == 2 ? 2 : 1;
	begin_end(s, SIGTERM);
}

static void
child_died(struct child *c, int status)
{
	struct supervisor *s = c->s;

	c->pid = 0;
	stop_listening(c);
	if (c->state == CHILD_LEAVING) {
		LOG_INFO("removed", L_STR("name", c->name));
		child_free(c);
		start_late(s);
		end_if_nobody_left(s);
		return;
	}
	if (s->is_ending) {
		c->state = CHILD_ENDED;
		end_if_nobody_left(s);
		return;
	}
	if (!c->was_ready) {
		give_up(c, status);
		return;
	}
	/* Ended as asked, by `proxyctl stop` or by hand: that is what somebody wanted. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		LOG_INFO("left", L_STR("name", c->name));
		c->state = CHILD_ENDED;
		end_if_nobody_left(s);
		return;
	}
	if (loop_now_ms(s->loop) - c->started_ms >= STABLE_MS)
		c->backoff_ms = BACKOFF_FIRST_MS;
	log_end(c, status);
	pause_and_restart(c);
}

/* Others than ours are children all the same: the reload that HUP began. */
static void
reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *c = s->children;

		while (c != NULL && c->pid != pid)
			c = c->next;
		if (c != NULL)
			child_died(c, status);
	}
}

static void
on_signal(void *arg, int signo)
{
	struct supervisor *s = arg;

	switch (signo) {
	case SIGCHLD: reap(s); return;
	case SIGHUP: s->ops->reload(s->arg); return;
	case SIGUSR1: signal_all(s, SIGUSR1, true); return;
	default: begin_end(s, SIGTERM);
	}
}

/* ---- whole ---- */

struct child *
supervisor_add(struct supervisor *s, const char *name, unsigned stage, char **argv,
	const struct instancecfg *env)
{
	struct child *c = xcalloc(1, sizeof(*c));
	size_t n = 0;

	while (argv[n] != NULL)
		n++;
	c->s = s;
	c->is_late = s->is_ready;
	c->name = xstrdup(name);
	c->stage = stage;
	c->argv = xreallocarray(argv, n + 3, sizeof(*argv));
	c->env = env;
	c->ready_fd = -1;
	c->backoff_ms = BACKOFF_FIRST_MS;
	c->timer = loop_timer_new(s->loop, on_timer, c);
	*s->last = c;
	s->last = &c->next;
	s->count++;
	return c;
}

/* Another of the same name must be gone first: they would want the same sockets. */
static bool
is_name_taken(const struct child *c)
{
	for (const struct child *o = c->s->children; o != NULL; o = o->next)
		if (o->state == CHILD_LEAVING && strcmp(o->name, c->name) == 0)
			return true;
	return false;
}

static void
start_late(struct supervisor *s)
{
	for (struct child *c = s->children; c != NULL && !s->is_ending; c = c->next)
		if (c->is_late && c->state == CHILD_WAITING && !is_name_taken(c))
			child_start(c);
}

void
supervisor_remove(struct supervisor *s, struct child *c)
{
	if (!is_alive(c)) {
		child_free(c);
		return;
	}
	c->state = CHILD_LEAVING;
	c->env = NULL;
	kill(c->pid, SIGTERM);
	loop_timer_set(c->timer, (uint64_t)s->end_ms, false);
}

void
supervisor_change(struct supervisor *s, int64_t end_ms)
{
	s->end_ms = end_ms;
	s->is_changing = true;
	start_late(s);
	check_settled(s);
}

bool
supervisor_is_ready(const struct supervisor *s)
{
	return s->is_ready && !s->is_ending;
}

pid_t
child_pid(const struct child *c)
{
	return c->pid;
}

bool
child_is_failed(const struct child *c)
{
	return c->is_failed;
}

void
child_set_env(struct child *c, const struct instancecfg *env)
{
	c->env = env;
}

int
supervisor_start(struct supervisor *s, struct err *err)
{
	static const int signals[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (loop_signal(s->loop, signals[i], on_signal, s) < 0)
			return err_set(err, "signals: %s", strerror(errno));
	begin_stage(s);
	return 0;
}

void
supervisor_free(struct supervisor *s)
{
	if (s == NULL)
		return;
	while (s->children != NULL)
		child_free(s->children);
	if (s->kill_timer != NULL)
		loop_timer_free(s->kill_timer);
	free(s);
}
