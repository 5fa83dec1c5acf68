/*
 * supervise: each child is a small state machine (waiting for its stage, starting, ready, pausing
 * before a restart, ended; leaving, when it was removed) driven by SIGCHLD, what it tells us
 * and a timer.
 *
 * Children have process groups of their own, so that Ctrl-C reaches only us and becomes one TERM
 * for each: two would end them at once. They are told by the kernel when we are killed.
 */
#include "proxyctl/supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "proxyctl/fdstore.h"
#include "proxyctl/spawn.h"

enum {
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 10000,
	WORDS_AT_ONCE = 256,
	STABLE_MS = 10000, /* who lived so long begins again with the first pause */
	KEEP_MS = 5000,    /* clients of somebody who is gone wait so long, as in tlsd by default */
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
	char **argv; /* with room as spawn() wants it */
	const struct instancecfg *env;
	struct conftext *text; /* the configuration that it is started by */
	enum child_state state;
	pid_t pid;
	int words_fd; /* by which it tells that it is ready, and gives us its listeners */
	struct loop_io *words_io;
	struct fdstore store;
	struct loop_timer *keep_timer; /* its listeners are closed then */
	uint64_t down_since_ms;        /* 0: it is ready, or never was */
	struct loop_timer *timer;
	uint64_t started_ms;
	uint64_t backoff_ms;
	uint64_t restart_ms; /* when the pause is over */
	int last_end;        /* as waitpid says; of has_ended */
	bool has_ended;
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
child_sockets(const struct child *c)
{
	return c->store.n;
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

/* ---- listeners that are kept ---- */

static void
drop_listeners(struct child *c)
{
	loop_timer_stop(c->keep_timer);
	fdstore_clear(&c->store);
}

/* Who waits longer than that is better off refused: others may be there to serve him. */
static void
on_keep_timer(void *arg)
{
	struct child *c = arg;

	LOG_WARN("listeners_closed", L_STR("name", c->name), L_INT("sockets", c->store.n),
		L_INT("after_ms", KEEP_MS));
	fdstore_clear(&c->store);
}

/* It died: how long it has been gone counts from the first time, until it is ready again. */
static void
keep_listeners(struct child *c)
{
	uint64_t now_ms = loop_now_ms(c->s->loop);

	if (c->down_since_ms == 0) {
		c->down_since_ms = now_ms;
		if (c->store.n > 0)
			loop_timer_set(c->keep_timer, KEEP_MS, false);
	} else if (now_ms - c->down_since_ms >= KEEP_MS) {
		drop_listeners(c);
	}
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
	for (struct child *c = s->children; c != NULL; c = c->next)
		drop_listeners(c);
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
	if (c->words_io != NULL)
		loop_io_free(c->words_io);
	c->words_io = NULL;
	if (c->words_fd >= 0)
		close(c->words_fd);
	c->words_fd = -1;
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
take_ready(struct child *c)
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

/* All that it has said by now. A daemon that never stops talking keeps nobody from being heard, and
 * of what it says of its configuration the last is enough. */
static void
hear(struct child *c)
{
	enum fdstore_word word = FDSTORE_NOTHING;
	char hash[CFG_HASH] = "";

	for (int i = 0; i < WORDS_AT_ONCE && word != FDSTORE_WAIT && word != FDSTORE_GONE; i++) {
		word = fdstore_read(&c->store, c->words_fd, hash);
		if (word == FDSTORE_READY)
			take_ready(c);
		else if (word == FDSTORE_STOPPING)
			drop_listeners(c); /* it takes nobody in any more: so shall we not */
	}
	if (word == FDSTORE_GONE)
		stop_listening(c);
	if (hash[0] != '\0' && c->state != CHILD_LEAVING && strcmp(hash, c->text->hash) != 0)
		c->s->ops->other_config(c->s->arg, c, hash);
}

static void
on_words(void *arg, int fd, int events)
{
	(void)fd;
	(void)events;
	hear(arg);
}

static void
pause_and_restart(struct child *c)
{
	c->state = CHILD_PAUSING;
	c->restart_ms = loop_now_ms(c->s->loop) + c->backoff_ms;
	loop_timer_set(c->timer, c->backoff_ms, false);
	c->backoff_ms = c->backoff_ms * 2 < BACKOFF_MAX_MS ? c->backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void
child_start(struct child *c)
{
	c->started_ms = loop_now_ms(c->s->loop);
	c->pid = spawn(c->argv, c->env, &c->store, c->text->fd, &c->words_fd);
	if (c->pid < 0) {
		LOG_ERROR("start_failed", L_STR("name", c->name), L_STR("reason", strerror(errno)));
		c->pid = 0;
		pause_and_restart(c);
		return;
	}
	c->state = CHILD_STARTING;
	c->words_io = loop_io_new(c->s->loop, c->words_fd, LOOP_READ, on_words, c);
	if (c->was_ready)
		c->s->ops->restarted(c->s->arg, c);
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
	drop_listeners(c);
	loop_timer_free(c->keep_timer);
	loop_timer_free(c->timer);
	for (size_t i = 0; c->argv[i] != NULL; i++)
		free(c->argv[i]);
	free(c->argv);
	conftext_free(c->text);
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
	drop_listeners(c);
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
		hear(c);
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
		drop_listeners(c);
		end_if_nobody_left(s);
		return;
	}
	keep_listeners(c);
	if (loop_now_ms(s->loop) - c->started_ms >= STABLE_MS)
		c->backoff_ms = BACKOFF_FIRST_MS;
	log_end(c, status);
	pause_and_restart(c);
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
		keep_listeners(c);
	}
}

struct child *
supervisor_add(struct supervisor *s, const char *name, unsigned stage, char **argv,
	const struct instancecfg *env, struct conftext *text)
{
	struct child *c = xcalloc(1, sizeof(*c));
	size_t n = 0;

	while (argv[n] != NULL)
		n++;
	c->s = s;
	c->is_late = s->is_ready;
	c->name = xstrdup(name);
	c->stage = stage;
	c->argv = xreallocarray(argv, n + 1 + SPAWN_ARGV_ROOM, sizeof(*argv));
	c->env = env;
	c->text = conftext_ref(text);
	c->words_fd = -1;
	c->keep_timer = loop_timer_new(s->loop, on_keep_timer, c);
	c->backoff_ms = BACKOFF_FIRST_MS;
	c->timer = loop_timer_new(s->loop, on_timer, c);
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
	if (!is_alive(c)) {
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
	c->backoff_ms = BACKOFF_FIRST_MS;
	child_start(c);
}

void
supervisor_change(struct supervisor *s, int64_t end_ms)
{
	s->end_ms = end_ms;
	s->is_changing = true;
	for (struct child *c = s->children; c != NULL; c = c->next) {
		if (c->state == CHILD_LEAVING)
			drop_listeners(c);
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

const char *
child_name(const struct child *c)
{
	return c->name;
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

const struct conftext *
child_text(const struct child *c)
{
	return c->text;
}

void
child_set_text(struct child *c, struct conftext *text)
{
	conftext_ref(text);
	conftext_free(c->text);
	c->text = text;
}

const char *
child_state(const struct child *c)
{
	static const char *const words[] = {
		[CHILD_WAITING] = "waiting",
		[CHILD_STARTING] = "starting",
		[CHILD_READY] = "ready",
		[CHILD_PAUSING] = "restarting",
		[CHILD_ENDED] = "ended",
		[CHILD_LEAVING] = "leaving",
	};

	return words[c->state];
}

int64_t
child_restart_in_ms(const struct child *c)
{
	uint64_t now_ms = loop_now_ms(c->s->loop);

	if (c->state != CHILD_PAUSING)
		return -1;
	return c->restart_ms > now_ms ? (int64_t)(c->restart_ms - now_ms) : 0;
}

bool
child_last_end(const struct child *c, int *status)
{
	*status = c->last_end;
	return c->has_ended;
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
