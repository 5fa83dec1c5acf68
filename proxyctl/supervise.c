/*
 * supervise: each child is a small state machine (waiting for its stage, starting, ready, pausing
 * before a restart, ended; leaving, when it was removed) driven by SIGCHLD, what it tells us
 * and a timer.
 *
 * Children have process groups of their own, so that Ctrl-C reaches only us and becomes one TERM
 * for each: two would end them at once. They are told by the kernel when we are killed.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "proxyctl/supervise_parts.h"

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

/* Who is leaving has had its TERM: another one would make it end at once. */
static void
signal_all(struct supervisor *s, int signo, bool is_for_leavers)
{
	for (struct child *c = s->children; c != NULL; c = c->next)
		if (child_is_alive(c) && (is_for_leavers || c->state != CHILD_LEAVING))
			kill(c->pid, signo);
}

static void
end_if_nobody_left(struct supervisor *s)
{
	for (struct child *c = s->children; c != NULL; c = c->next)
		if (child_is_alive(c) || (!s->is_ending && c->state != CHILD_ENDED))
			return;
	if (s->is_ending || !s->is_changing)
		loop_stop(s->loop);
}

static void
on_kill_timer(void *arg)
{
	struct supervisor *s = arg;

	for (struct child *c = s->children; c != NULL; c = c->next)
		if (child_is_alive(c))
			LOG_WARN("killed", L_STR("name", c->name), L_INT("after_ms", s->end_ms));
	signal_all(s, SIGKILL, true);
}

static void
begin_end(struct supervisor *s, int signo)
{
	bool is_second = s->is_ending;

	s->is_ending = true;
	for (struct child *c = s->children; c != NULL; c = c->next)
		child_drop_listeners(c);
	signal_all(s, signo, is_second);
	if (!is_second) {
		s->kill_timer = loop_timer_new(s->loop, on_kill_timer, s);
		loop_timer_set(s->kill_timer, (uint64_t)s->end_ms, false);
	}
	end_if_nobody_left(s);
}

void
supervisor_end(struct supervisor *s)
{
	if (!s->is_ending)
		begin_end(s, SIGTERM);
}

/* ---- starting ---- */

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

void
supervisor_take_ready(struct child *c)
{
	loop_timer_stop(c->keep_timer);
	c->down_since_ms = 0;
	if (c->state == CHILD_STARTING)
		c->state = CHILD_READY;
	if (c->was_ready)
		return;
	c->was_ready = true;
	if (c->is_late)
		check_settled(c->s);
	else
		stage_check(c->s);
}

/* ---- dying ---- */

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
	child_drop_listeners(c);
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
	c->last_end = status;
	c->has_ended = true;
	if (c->words_fd >= 0)
		child_hear(c);
	child_stop_listening(c);
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
		child_drop_listeners(c);
		end_if_nobody_left(s);
		return;
	}
	child_keep_listeners(c);
	if (child_was_stable(c))
		child_forgive(c);
	log_end(c, status);
	if (c->state == CHILD_STARTING && WIFEXITED(status) && WEXITSTATUS(status) == 2)
		s->ops->refused(s->arg, c);
	child_pause_and_restart(c);
}

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
		else
			s->ops->ended(s->arg, pid, status);
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

/* Whoever takes the place of one that ends has its listeners, too: clients wait for him meanwhile.
 */
static void
take_over(struct child *c)
{
	for (struct child *o = c->s->children; o != NULL; o = o->next) {
		if (o->state != CHILD_LEAVING || strcmp(o->name, c->name) != 0 || o->store.n == 0)
			continue;
		fdstore_clear(&c->store);
		fdstore_move(&c->store, &o->store);
		child_keep_listeners(c);
	}
}

struct child *
supervisor_add(struct supervisor *s, const char *name, unsigned stage, char **argv,
	const struct instancecfg *env, struct conftext *text)
{
	struct child *c = child_new(s, name, stage, argv, env, text);

	c->is_late = s->is_ready;
	take_over(c);
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
	if (!child_is_alive(c)) {
		child_free(c);
		return;
	}
	c->state = CHILD_LEAVING;
	c->env = NULL;
	kill(c->pid, SIGTERM);
	loop_timer_set(c->timer, (uint64_t)s->end_ms, false);
}

/* What it could not start by may be mended now: it is not kept waiting. */
static void
end_pause(struct child *c)
{
	loop_timer_stop(c->timer);
	child_forgive(c);
	child_start(c);
}

void
supervisor_change(struct supervisor *s, int64_t end_ms)
{
	s->end_ms = end_ms;
	s->is_changing = true;
	for (struct child *c = s->children; c != NULL; c = c->next) {
		if (c->state == CHILD_LEAVING)
			child_drop_listeners(c);
		else if (c->state == CHILD_PAUSING && !s->is_ending)
			end_pause(c);
	}
	start_late(s);
	check_settled(s);
}

bool
supervisor_is_ready(const struct supervisor *s)
{
	return s->is_ready && !s->is_ending;
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
