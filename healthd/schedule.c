/*
 * schedule.c: a target is waiting (its deadline is armed), queued, or being probed; a paused one is
 * none of these. The pump starts what the queue holds as the token bucket and the number of sockets
 * allow, and comes back when there is more.
 */
#include "healthd/schedule.h"

#include <stdlib.h>
#include <sys/random.h>

#include <utlist.h>

#include "healthd/pace.h"
#include "healthd/probe.h"
#include "libcommon/log.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"

#define FDS_KEPT 128 /* for bus, control, DNS, files */
#define PUMP_MS  10
#define TENTATIVE_MS \
	1000 /* between the first failures of a server, unless fast_interval says more */

struct schedule {
	struct loop *loop;
	const struct healthcfg *cfg;
	const char *run_dir; /* of the configuration in force */
	struct target *queue;
	struct pace pace;
	struct run_item pump;
	struct loop_timer *pump_later;
	struct schedule_stats stats;
	uint64_t nofile;
	uint64_t random;
};

/* splitmix64: spreads probes; nothing depends on its being hard to guess. */
static uint32_t
next_random(struct schedule *s)
{
	uint64_t z = s->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)(z >> 32);
}

static struct schedule *
schedule_of(const struct target *t)
{
	return t->set->hooks.arg;
}

/* --- queue ----------------------------------------------------------------- */

static void
leave_queue(struct schedule *s, struct target *t)
{
	if (!t->is_queued)
		return;
	DL_DELETE2(s->queue, t, queue_prev, queue_next);
	t->is_queued = false;
	s->stats.queued--;
}

static void
enter_queue(struct schedule *s, struct target *t, bool at_front)
{
	if (t->is_queued || t->probe || t->is_paused || t->addr.len == 0)
		return;
	deadline_clear(&t->due);
	t->is_queued = true;
	s->stats.queued++;
	if (at_front)
		DL_PREPEND2(s->queue, t, queue_prev, queue_next);
	else
		DL_APPEND2(s->queue, t, queue_prev, queue_next);
	loop_run_soon(s->loop, &s->pump);
}

static void
on_due(struct deadline *d)
{
	struct target *t = (struct target *)((char *)d - offsetof(struct target, due));

	enter_queue(schedule_of(t), t, false);
}

/* --- probes ---------------------------------------------------------------- */

static uint32_t
draw_interval(struct schedule *s, const struct target *t)
{
	const struct checkcfg *c = t->pool->check;
	int64_t ms = c->interval_ms;

	if (c->fast_interval_ms && rise_is_changing(&t->rise))
		ms = c->fast_interval_ms;
	else if (t->rise.is_tentative && ms > TENTATIVE_MS)
		ms = TENTATIVE_MS;

	return (uint32_t)pace_interval((uint64_t)ms, (unsigned)c->jitter_percent, next_random(s));
}

static void
plan_next(struct schedule *s, struct target *t)
{
	uint64_t took_ms = loop_now_ms(s->loop) - t->begun_ms;

	if (t->is_paused || t->addr.len == 0)
		return;
	t->interval_ms = draw_interval(s, t);
	deadline_set(s->loop, &t->due, pace_rest(t->interval_ms, took_ms));
}

static void
warn_not_made(const struct target *t, const char *reason)
{
	static struct log_limit limit = { .burst = 5 };
	uint32_t dropped;

	if (log_allow(&limit, &dropped))
		LOG_WARN("probe_not_made", L_STR("pool", t->pool->name), L_STR("server", t->name),
			L_STR("reason", reason), L_INT("not_logged", dropped));
}

static void
on_done(void *arg, enum probe_outcome outcome, const char *reason, uint64_t took_us)
{
	struct target *t = arg;
	struct schedule *s = schedule_of(t);

	t->probe = NULL;
	switch (outcome) {
	case PROBE_GOOD:
		s->stats.good++;
		target_result(t, true, "", took_us);
		break;
	case PROBE_FAILED:
		s->stats.failed++;
		target_result(t, false, reason, took_us);
		break;
	case PROBE_NOT_MADE:
		s->stats.not_made++;
		warn_not_made(t, reason);
		break;
	}
	plan_next(s, t);
	if (s->queue)
		loop_run_soon(s->loop, &s->pump);
}

static void
begin(struct schedule *s, struct target *t)
{
	char host[TLSPOLICY_HOST];

	leave_queue(s, t);
	t->begun_ms = loop_now_ms(s->loop);
	s->stats.started++;
	t->probe = probe_start(s->loop,
		&(struct probe_to){
			.check = t->pool->check,
			.host_text = t->address,
			.addr = &t->addr,
			.tls = t->pool->tls,
			.host = tlspolicy_host(&t->spec, host),
			.run_dir = s->run_dir,
		},
		on_done, t);
}

static void
pump(struct schedule *s)
{
	unsigned open = probe_open_count();
	uint32_t room = s->stats.max > open ? s->stats.max - open : 0;
	uint32_t wanted = s->stats.queued < room ? s->stats.queued : room;
	uint32_t may =
		pace_take(&s->pace, (uint32_t)s->cfg->probe_rate, wanted, loop_now_ms(s->loop));

	while (may-- > 0 && s->queue)
		begin(s, s->queue);
	if (s->queue)
		loop_timer_set(s->pump_later, PUMP_MS, false);
}

static void
on_pump(struct run_item *item)
{
	pump((struct schedule *)((char *)item - offsetof(struct schedule, pump)));
}

static void
on_pump_later(void *arg)
{
	pump(arg);
}

/* --- hooks ----------------------------------------------------------------- */

void
schedule_added(struct schedule *s, struct target *t)
{
	deadline_init(&t->due, on_due);
	enter_queue(s, t, false);
}

void
schedule_removed(struct schedule *s, struct target *t)
{
	leave_queue(s, t);
	probe_cancel(t->probe);
	t->probe = NULL;
	deadline_fini(&t->due);
}

void
schedule_moved(struct schedule *s, struct target *t)
{
	/* a look at the old address says nothing of the new one */
	probe_cancel(t->probe);
	t->probe = NULL;
	if (t->is_paused) {
		leave_queue(s, t);
		deadline_clear(&t->due);
		return;
	}
	enter_queue(s, t, false);
}

void
schedule_retime(struct schedule *s, struct target *t)
{
	uint64_t since_ms = loop_now_ms(s->loop) - t->begun_ms;

	if (t->is_paused || t->is_queued || t->probe || t->addr.len == 0)
		return;
	t->interval_ms = draw_interval(s, t);
	deadline_set(s->loop, &t->due, pace_rest(t->interval_ms, since_ms));
}

bool
schedule_early(struct schedule *s, struct target *t)
{
	uint64_t now_ms = loop_now_ms(s->loop);

	if (t->is_queued || t->probe || t->is_paused || t->addr.len == 0 ||
		(t->early_ms && now_ms < t->early_ms + (uint64_t)s->cfg->early_interval_ms))
		return false;
	t->early_ms = now_ms;
	s->stats.early++;
	enter_queue(s, t, true);
	return true;
}

/* --- outside --------------------------------------------------------------- */

void
schedule_stats(const struct schedule *s, struct schedule_stats *out)
{
	*out = s->stats;
	out->running = probe_open_count();
}

uint64_t
schedule_next_ms(const struct schedule *s, const struct target *t)
{
	uint64_t now_ms = loop_now_ms(s->loop);

	return t->due.due_ms > now_ms ? t->due.due_ms - now_ms : 0;
}

void
schedule_configure(struct schedule *s, const struct healthcfg *cfg, const struct commoncfg *common)
{
	uint64_t max = s->nofile > 2 * FDS_KEPT ? s->nofile - FDS_KEPT : FDS_KEPT;

	s->cfg = cfg;
	s->run_dir = common->run_dir;
	if (max > (uint64_t)cfg->max_probes)
		max = (uint64_t)cfg->max_probes;
	else
		LOG_WARN("max_probes_lowered", L_INT("wanted", cfg->max_probes), L_INT("max", max),
			L_INT("open_files", s->nofile));
	s->stats.max = (uint32_t)max;
}

struct schedule *
schedule_new(struct loop *l)
{
	struct schedule *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	s->nofile = sock_raise_nofile();
	s->pump.fn = on_pump;
	s->pump_later = loop_timer_new(l, on_pump_later, s);
	if (getrandom(&s->random, sizeof(s->random), GRND_NONBLOCK) != sizeof(s->random))
		s->random = loop_now_us(l);
	pace_init(&s->pace, 2000, loop_now_ms(l));
	return s;
}

void
schedule_free(struct schedule *s)
{
	if (!s)
		return;
	probe_close_all();
	loop_run_cancel(s->loop, &s->pump);
	loop_timer_free(s->pump_later);
	free(s);
}
