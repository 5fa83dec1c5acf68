/*
 * verdict.c: merges all that is known of a server into one verdict. Pure; the rules stand at
 * verdict_merge in the header, strongest first, and the code follows their order.
 */
#include "libcommon/verdict.h"

#include <string.h>

const char *
verdict_name(enum verdict v)
{
	static const char *const names[] = { "unknown", "up", "down", "drain", "maint" };

	return names[v];
}

/* --- what probers say -------------------------------------------------------- */

/* FNV-1a; never 0, which marks a free place. */
static uint64_t
hash_name(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return h | 1;
}

static bool
is_heard(const struct verdict_fact *f, uint64_t now_ms)
{
	return f->who && now_ms <= f->heard_ms + f->ttl_ms;
}

/* The place of this prober, a free one, or that of the longest silent; NULL when all are taken. */
static struct verdict_fact *
find_place(struct verdict_probes *p, uint64_t who, uint64_t now_ms)
{
	struct verdict_fact *best = NULL;

	for (int i = 0; i < VERDICT_PROBERS; i++)
		if (p->v[i].who == who)
			return &p->v[i];
	for (int i = 0; i < VERDICT_PROBERS; i++) {
		struct verdict_fact *f = &p->v[i];

		if (f->who == 0)
			return f;
		if (!is_heard(f, now_ms) && (!best || f->heard_ms < best->heard_ms))
			best = f;
	}
	if (best)
		*best = (struct verdict_fact){ 0 };
	return best;
}

/* A time of ours for an age of theirs; 1 at the earliest, since 0 means never. */
static uint64_t
time_of(uint64_t now_ms, uint64_t age_ms)
{
	return age_ms < now_ms ? now_ms - age_ms : 1;
}

void
verdict_adopt(struct verdict_probes *p, const struct busmsg *m, const struct busmsg_server *s,
	uint64_t now_ms)
{
	uint64_t who = hash_name(m->who);
	struct verdict_fact *f = find_place(p, who, now_ms);

	if (!f)
		return;
	if (f->who && s->state == PROBE_UNKNOWN && f->state != PROBE_UNKNOWN) {
		f->is_round_done = m->is_round_done;
		return;
	}
	*f = (struct verdict_fact){
		.who = who,
		.heard_ms = now_ms,
		.since_ms = time_of(now_ms, s->since_ms),
		.failing_ms = s->failing_ms ? time_of(now_ms, s->failing_ms) : 0,
		.probe_ms = s->is_probed ? time_of(now_ms, s->probe_age_ms) : 0,
		.ttl_ms = m->ttl_ms,
		.rise = s->rise,
		.fall = s->fall,
		.state = s->state,
		.is_probed = s->is_probed,
		.is_round_done = m->is_round_done,
	};
	strncpy(f->reason, s->reason, sizeof(f->reason) - 1);
}

/* What the probers say together. */
struct poll {
	enum probe_state state;
	bool is_stale;
	bool is_round_done;
	bool is_connect_only; /* down, and no prober could even connect */
	uint64_t failing_ms;  /* the youngest beginning of failures among those who say down */
	uint64_t probe_ms;    /* the youngest probe that counts; 0: none */
	uint64_t heard_ms;    /* when the youngest voter was heard */
	uint64_t next_ms;     /* when the first voter falls silent */
	const char *reason;
};

static bool
is_connect_reason(const char *reason)
{
	return strncmp(reason, "connect_", 8) == 0 || strcmp(reason, "unreachable") == 0;
}

static uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* 0 stands for never on both sides. */
static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return !a ? b : !b ? a : a < b ? a : b;
}

static void
count_fact(struct poll *p, const struct verdict_fact *f)
{
	p->heard_ms = max_u64(p->heard_ms, f->heard_ms);
	if (f->state != p->state)
		return;
	if (f->probe_ms >= p->probe_ms) {
		p->probe_ms = f->probe_ms;
		p->reason = f->reason;
	}
	if (f->state == PROBE_DOWN) {
		p->failing_ms = max_u64(p->failing_ms, f->failing_ms);
		p->is_connect_only = p->is_connect_only && is_connect_reason(f->reason);
	}
}

static bool
is_voter(const struct verdict_fact *f, uint64_t now_ms, bool of_the_silent)
{
	return f->who && f->state != PROBE_UNKNOWN && is_heard(f, now_ms) != of_the_silent;
}

/* Let the heard (or the silent) vote; false when none of them knows anything. */
static bool
vote(const struct verdict_probes *probes, uint64_t now_ms, bool of_the_silent, struct poll *p)
{
	unsigned voters = 0;
	unsigned downs = 0;

	for (int i = 0; i < VERDICT_PROBERS; i++) {
		if (is_voter(&probes->v[i], now_ms, of_the_silent)) {
			voters++;
			downs += probes->v[i].state == PROBE_DOWN;
		}
	}
	if (voters == 0)
		return false;
	p->state = downs * 2 > voters ? PROBE_DOWN : PROBE_UP;
	p->is_stale = of_the_silent;
	p->is_connect_only = true;
	for (int i = 0; i < VERDICT_PROBERS; i++) {
		const struct verdict_fact *f = &probes->v[i];

		if (!is_voter(f, now_ms, of_the_silent))
			continue;
		count_fact(p, f);
		if (!of_the_silent)
			p->next_ms = sooner(p->next_ms, f->heard_ms + f->ttl_ms + 1);
	}
	return true;
}

static struct poll
poll_probers(const struct verdict_probes *probes, uint64_t now_ms)
{
	struct poll p = { .state = PROBE_UNKNOWN, .reason = "" };

	if (!probes)
		return p;
	for (int i = 0; i < VERDICT_PROBERS; i++)
		p.is_round_done = p.is_round_done || probes->v[i].is_round_done;
	if (!vote(probes, now_ms, false, &p))
		vote(probes, now_ms, true, &p);
	return p;
}

/* --- the verdict ------------------------------------------------------------- */

static void
say(struct verdict_out *out, enum verdict v, enum verdict_rank rank, const char *reason)
{
	out->verdict = v;
	out->rank = rank;
	out->reason = reason;
}

/* Down, but from first_ms on one request per fail_timeout may find out. */
static void
say_down_with_trials(
	const struct verdict_in *in, uint64_t first_ms, const char *reason, struct verdict_out *out)
{
	const struct verdict_passive *ps = &in->passive;
	uint64_t due = first_ms;

	if (ps->last_trial_ms && ps->last_trial_ms >= first_ms)
		due = ps->last_trial_ms + (ps->fail_timeout_ms ? ps->fail_timeout_ms : 1);
	out->is_trial = in->now_ms >= due;
	if (!out->is_trial)
		out->next_ms = sooner(out->next_ms, due);
	say(out, VERDICT_DOWN, out->is_trial ? VERDICT_BEST : VERDICT_NEVER, reason);
}

static bool
is_vetoed(const struct verdict_in *in, const struct poll *p)
{
	uint64_t success_ms = in->passive.last_success_ms;
	uint64_t since_ms = p->is_stale ? p->heard_ms : p->failing_ms;

	if (!p->is_stale && !p->is_connect_only)
		return false;
	return success_ms && since_ms && success_ms > since_ms &&
		in->now_ms < success_ms + in->passive.fail_timeout_ms;
}

static void
judge_probes(const struct verdict_in *in, const struct poll *p, struct verdict_out *out)
{
	if (p->state == PROBE_UP) {
		say(out, VERDICT_UP, VERDICT_BEST, "");
	} else if (p->state == PROBE_UNKNOWN) {
		say(out, VERDICT_UNKNOWN, p->is_round_done ? VERDICT_LAST_RESORT : VERDICT_BEST,
			"not_probed");
	} else if (is_vetoed(in, p)) {
		say(out, VERDICT_UP, VERDICT_BEST, "passive_veto");
		out->next_ms = sooner(
			out->next_ms, in->passive.last_success_ms + in->passive.fail_timeout_ms);
	} else if (p->is_stale) {
		say_down_with_trials(in, p->heard_ms, p->reason, out);
	} else {
		say(out, VERDICT_DOWN, VERDICT_NEVER, p->reason);
	}
}

static void
judge_blocked(const struct verdict_in *in, const struct poll *p, struct verdict_out *out)
{
	if (in->now_ms < in->passive.blocked_until_ms) {
		say(out, VERDICT_DOWN, VERDICT_NEVER, "passive");
		out->next_ms = sooner(out->next_ms, in->passive.blocked_until_ms);
	} else if (in->is_checked && p->state == PROBE_DOWN && !p->is_stale) {
		say(out, VERDICT_DOWN, VERDICT_NEVER, p->reason);
	} else {
		say_down_with_trials(in, in->passive.blocked_until_ms, "passive", out);
	}
}

void
verdict_merge(const struct verdict_in *in, struct verdict_out *out)
{
	struct poll p = poll_probers(in->is_checked ? in->probes : NULL, in->now_ms);

	*out = (struct verdict_out){
		.weight = in->override.has_weight ? in->override.weight : in->weight,
		.is_stale = p.is_stale,
		.age_ms = p.probe_ms && p.probe_ms < in->now_ms ? in->now_ms - p.probe_ms : 0,
		.next_ms = p.next_ms,
	};
	if (in->is_config_down)
		say(out, VERDICT_MAINT, VERDICT_NEVER, "config");
	else if (in->override.action == OVERRIDE_DISABLE)
		say(out, VERDICT_MAINT, VERDICT_NEVER, "operator");
	else if (in->override.action == OVERRIDE_DRAIN)
		say(out, VERDICT_DRAIN, VERDICT_NEVER, "operator");
	else if (!in->has_address)
		say(out, VERDICT_DOWN, VERDICT_NEVER, "no_address");
	else if (in->passive.blocked_until_ms)
		judge_blocked(in, &p, out);
	else if (!in->is_checked)
		say(out, VERDICT_UP, VERDICT_BEST, "");
	else
		judge_probes(in, &p, out);
}
