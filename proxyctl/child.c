/*
 * child: started by what configuration it shall run by, heard, started again after a growing pause;
 * its listeners are kept for the process that comes after it.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "proxyctl/spawn.h"
#include "proxyctl/supervise_parts.h"

enum {
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 10000,
	WORDS_AT_ONCE = 256,
	STABLE_MS = 10000, /* who lived so long begins again with the first pause */
	KEEP_MS = 5000,    /* clients of somebody who is gone wait so long, as in tlsd by default */
};

/* ---- listeners that are kept ---- */

void
child_drop_listeners(struct child *c)
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

void
child_keep_listeners(struct child *c)
{
	uint64_t now_ms = loop_now_ms(c->s->loop);

	if (c->down_since_ms == 0) {
		c->down_since_ms = now_ms;
		if (c->store.n > 0)
			loop_timer_set(c->keep_timer, KEEP_MS, false);
	} else if (now_ms - c->down_since_ms >= KEEP_MS) {
		child_drop_listeners(c);
	}
}

/* ---- starting ---- */

void
child_stop_listening(struct child *c)
{
	if (c->words_io != NULL)
		loop_io_free(c->words_io);
	c->words_io = NULL;
	if (c->words_fd >= 0)
		close(c->words_fd);
	c->words_fd = -1;
}

/* All that it has said by now. A daemon that never stops talking keeps nobody from being heard, and
 * of what it says of its configuration the last is enough. */
void
child_hear(struct child *c)
{
	enum fdstore_word word = FDSTORE_NOTHING;
	char hash[CFG_HASH] = "";

	for (int i = 0; i < WORDS_AT_ONCE && word != FDSTORE_WAIT && word != FDSTORE_GONE; i++) {
		word = fdstore_read(&c->store, c->words_fd, hash);
		if (word == FDSTORE_READY)
			supervisor_take_ready(c);
		else if (word == FDSTORE_STOPPING)
			child_drop_listeners(c); /* it takes nobody in any more: so shall we not */
	}
	if (word == FDSTORE_GONE)
		child_stop_listening(c);
	if (hash[0] != '\0' && c->state != CHILD_LEAVING && strcmp(hash, c->text->hash) != 0)
		c->s->ops->other_config(c->s->arg, c, hash);
}

static void
on_words(void *arg, int fd, int events)
{
	(void)fd;
	(void)events;
	child_hear(arg);
}

void
child_forgive(struct child *c)
{
	c->backoff_ms = BACKOFF_FIRST_MS;
}

bool
child_was_stable(const struct child *c)
{
	return loop_now_ms(c->s->loop) - c->started_ms >= STABLE_MS;
}

void
child_pause_and_restart(struct child *c)
{
	c->state = CHILD_PAUSING;
	c->restart_ms = loop_now_ms(c->s->loop) + c->backoff_ms;
	loop_timer_set(c->timer, c->backoff_ms, false);
	c->backoff_ms = c->backoff_ms * 2 < BACKOFF_MAX_MS ? c->backoff_ms * 2 : BACKOFF_MAX_MS;
}

void
child_start(struct child *c)
{
	c->started_ms = loop_now_ms(c->s->loop);
	c->pid = spawn(c->argv, c->env, &c->store, c->text->fd, &c->words_fd);
	if (c->pid < 0) {
		LOG_ERROR("start_failed", L_STR("name", c->name), L_STR("reason", strerror(errno)));
		c->pid = 0;
		child_pause_and_restart(c);
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

struct child *
child_new(struct supervisor *s, const char *name, unsigned stage, char **argv,
	const struct instancecfg *env, struct conftext *text)
{
	struct child *c = xcalloc(1, sizeof(*c));
	size_t n = 0;

	while (argv[n] != NULL)
		n++;
	c->s = s;
	c->name = xstrdup(name);
	c->stage = stage;
	c->argv = xreallocarray(argv, n + 1 + SPAWN_ARGV_ROOM, sizeof(*argv));
	c->env = env;
	c->text = conftext_ref(text);
	c->words_fd = -1;
	c->keep_timer = loop_timer_new(s->loop, on_keep_timer, c);
	c->timer = loop_timer_new(s->loop, on_timer, c);
	child_forgive(c);
	return c;
}

/* ---- the end ---- */

static void
child_release(void *p)
{
	free(p);
}

void
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
	child_stop_listening(c);
	child_drop_listeners(c);
	loop_timer_free(c->keep_timer);
	loop_timer_free(c->timer);
	for (size_t i = 0; c->argv[i] != NULL; i++)
		free(c->argv[i]);
	free(c->argv);
	conftext_free(c->text);
	free(c->name);
	loop_defer(s->loop, child_release, c);
}

/* ---- what is known of it ---- */

const char *
child_name(const struct child *c)
{
	return c->name;
}

size_t
child_sockets(const struct child *c)
{
	return c->store.n;
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
