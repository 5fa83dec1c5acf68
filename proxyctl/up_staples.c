/*
 * up_staples: when `up` runs `ocsp refresh`: when all is ready, each up.ocsp_refresh, after a
 * reload, when files of certificates have changed, and again when something failed.
 *
 * Never two at once, and not at once again: one that went well asks nobody whose staple is fresh,
 * so it costs only us, and has to wait as long as it took; one that failed may have asked somebody
 * who is in trouble. It looks at files as tlsd does, but does not wait until they are settled: it
 * is to be there first, and who is read half-written has changed again by the next look.
 */
#include <stdlib.h>
#include <sys/wait.h>

#include "libcommon/filestate.h"
#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "libcommon/units.h"
#include "proxyctl/certpaths.h"
#include "proxyctl/up.h"

enum {
	AGAIN_MS = 1000,  /* after one that went well, at least */
	RETRY_MS = 10000, /* after one that failed; then twice that, up to up.ocsp_refresh */
	WATCH_MS = 5000,  /* tls.watch when it is left out, as in tlsd */
};

struct staples {
	struct loop_timer *look; /* at the files */
	struct loop_timer *next; /* the next run */
	pid_t pid;               /* of the one under way; 0: none */
	bool is_wanted;          /* another one behind it */
	uint64_t began_ms;
	uint64_t soonest_ms; /* none begins before */
	uint64_t due_ms;     /* 0: never */
	int64_t retry_ms;    /* the pause since one failed; 0: the last one did not */
	uint64_t state;      /* of the files, as last seen */
};

/* ---- files ---- */

static void
add_file(void *state, const struct certpath *p)
{
	filestate_add(state, p->cert);
}

static void
add_unlisted(void *state, const char *dir, const char *why)
{
	(void)why;
	filestate_add(state, dir);
}

static uint64_t
look(const struct up *u)
{
	uint64_t state = FILESTATE_NONE;

	certpaths_each(u->site.cfg, add_file, add_unlisted, &state);
	return state;
}

/* 0: not at all. What cannot be read as a time, tlsd has refused. */
static int64_t
watch_ms(const struct site *s)
{
	const struct cfg_node *n = cfg_get(cfg_get(s->cfg->root, "tls"), "watch");
	int64_t ms;

	return n != NULL && n->kind == CFG_SCALAR && units_parse_duration(n->text, &ms) ? ms
											: WATCH_MS;
}

/* ---- runs ---- */

static bool
is_off(const struct up *u)
{
	return u->site.up.ocsp_refresh_ms == 0 || !site_has(&u->site, "tls");
}

static void
plan(struct up *u, uint64_t at_ms)
{
	struct staples *s = u->staples;
	uint64_t now_ms = loop_now_ms(u->loop);

	s->due_ms = at_ms > s->soonest_ms ? at_ms : s->soonest_ms;
	loop_timer_set(s->next, s->due_ms > now_ms ? s->due_ms - now_ms : 0, false);
}

/* What comes after one that has ended, or could not begin. */
static void
ended(struct up *u, bool is_good)
{
	struct staples *s = u->staples;
	uint64_t now_ms = loop_now_ms(u->loop);
	uint64_t took_ms = now_ms - s->began_ms;
	int64_t every_ms = u->site.up.ocsp_refresh_ms;
	int64_t pause_ms = every_ms;

	s->pid = 0;
	if (is_off(u))
		return;
	if (is_good) {
		s->retry_ms = 0;
		s->soonest_ms = now_ms + (took_ms > AGAIN_MS ? took_ms : AGAIN_MS);
	} else {
		s->retry_ms = s->retry_ms == 0 ? RETRY_MS : s->retry_ms * 2;
		if (s->retry_ms > every_ms)
			s->retry_ms = every_ms;
		s->soonest_ms =
			now_ms + (uint64_t)(every_ms < RETRY_MS ? every_ms : (int64_t)RETRY_MS);
		pause_ms = s->retry_ms;
		LOG_WARN("ocsp_refresh_failed", L_INT("retry_in_ms", pause_ms));
	}
	plan(u, s->is_wanted ? 0 : now_ms + (uint64_t)pause_ms);
}

static void
begin(struct up *u)
{
	struct staples *s = u->staples;
	pid_t pid;

	s->due_ms = 0;
	s->is_wanted = false;
	s->began_ms = loop_now_ms(u->loop);
	s->state = look(u); /* before they are read: later changes show at the next look */
	pid = up_run(u, "ocsp", "refresh", "-q", -1);
	if (pid > 0)
		s->pid = pid;
	else
		ended(u, false);
}

static void
on_next(void *arg)
{
	struct up *u = arg;

	if (supervisor_is_ready(u->supervisor))
		begin(u);
}

/* What has gone wrong before says nothing of what is new. */
static void
on_look(void *arg)
{
	struct up *u = arg;
	struct staples *s = u->staples;
	uint64_t now_ms = loop_now_ms(u->loop);
	uint64_t state;

	if (s->pid != 0)
		return; /* at the next one */
	state = look(u);
	if (state == s->state)
		return;
	s->state = state;
	s->retry_ms = 0;
	LOG_INFO("certs_changed");
	if (s->due_ms > now_ms)
		plan(u, now_ms);
}

/* ---- from outside ---- */

void
up_staples_configure(struct up *u)
{
	struct staples *s = u->staples;
	int64_t every_ms = watch_ms(&u->site);

	if (s == NULL) {
		s = u->staples = xcalloc(1, sizeof(*s));
		s->look = loop_timer_new(u->loop, on_look, u);
		s->next = loop_timer_new(u->loop, on_next, u);
	}
	loop_timer_stop(s->look);
	loop_timer_stop(s->next);
	s->is_wanted = s->pid != 0;
	s->retry_ms = 0;
	if (is_off(u))
		return;
	s->state = look(u);
	if (every_ms > 0)
		loop_timer_set(s->look, (uint64_t)every_ms, true);
	if (s->pid == 0)
		plan(u, loop_now_ms(u->loop));
}

bool
up_staples_ended(struct up *u, pid_t pid, int status)
{
	if (u->staples == NULL || u->staples->pid != pid)
		return false;
	ended(u, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return true;
}

void
up_staples_free(struct up *u)
{
	if (u->staples == NULL)
		return;
	loop_timer_free(u->staples->look);
	loop_timer_free(u->staples->next);
	free(u->staples);
	u->staples = NULL;
}
