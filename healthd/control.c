/*
 * control.c: answers from what stands in memory; nothing here waits or changes state, but for
 * `overrides reload`.
 */
#include "healthd/control.h"

#include <inttypes.h>

#include "healthd/server.h"
#include "libcommon/jsonput.h"
#include "libcommon/units.h"

struct tally {
	size_t up;
	size_t down;
	size_t unknown;
	size_t paused;
};

static struct tally
tally_pool(const struct target_pool *p)
{
	struct tally n = { 0 };

	for (size_t i = 0; i < p->n; i++) {
		const struct target *t = p->targets[i];

		n.up += t->rise.state == PROBE_UP;
		n.down += t->rise.state == PROBE_DOWN;
		n.unknown += t->rise.state == PROBE_UNKNOWN;
		n.paused += t->is_paused;
	}
	return n;
}

/* --- status ---------------------------------------------------------------- */

static json_t *
pools_json(const struct server *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->set.pool_count; i++) {
		const struct target_pool *p = &s->set.pools[i];
		struct tally n = tally_pool(p);
		json_t *o = json_object();

		jsonput_text(o, "name", p->name);
		jsonput_int(o, "servers", p->n);
		jsonput_int(o, "up", n.up);
		jsonput_int(o, "down", n.down);
		jsonput_int(o, "unknown", n.unknown);
		jsonput_int(o, "not_probed", n.paused);
		jsonput_bool(o, "first_round_done", p->is_round_done);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
probes_json(const struct server *s)
{
	struct schedule_stats st;
	json_t *o = json_object();

	schedule_stats(s->schedule, &st);
	jsonput_int(o, "started", st.started);
	jsonput_int(o, "good", st.good);
	jsonput_int(o, "failed", st.failed);
	jsonput_int(o, "not_made", st.not_made);
	jsonput_int(o, "early", st.early);
	jsonput_int(o, "running", st.running);
	jsonput_int(o, "queued", st.queued);
	jsonput_int(o, "max", st.max);
	return o;
}

static json_t *
bus_json(const struct server *s)
{
	struct publish_stats pub;
	struct bus_stats bus;
	json_t *o = json_object();

	publish_stats(s->publish, &pub);
	bus_stats(s->bus, &bus);
	jsonput_int(o, "subscribers", bus.peers);
	jsonput_int(o, "messages", pub.messages);
	jsonput_int(o, "refused", pub.refused);
	jsonput_int(o, "shards", pub.shards);
	jsonput_int(o, "evidence", s->evidence);
	jsonput_int(o, "evidence_malformed", s->evidence_bad);
	jsonput_int(o, "evidence_unknown_server", s->evidence_idle);
	return o;
}

static json_t *
overrides_json(const struct server *s)
{
	json_t *o = json_object();

	jsonput_int(o, "entries", s->set.overrides.n);
	jsonput_int(o, "unmatched", target_set_unmatched(&s->set));
	jsonput_text(
		o, "error", s->set.overrides_error.text[0] ? s->set.overrides_error.text : NULL);
	return o;
}

static json_t *
dns_json(const struct server *s)
{
	struct resolve_stats st;
	json_t *o = json_object();

	resolve_stats(s->resolver, &st);
	jsonput_int(o, "names", st.names);
	jsonput_int(o, "queries", st.queries);
	jsonput_int(o, "failures", st.failures);
	return o;
}

static void
status_json(const struct server *s, json_t *o)
{
	/* "pools" is what routers say of servers that they use; these are probes */
	json_object_set_new(o, "checks", pools_json(s));
	json_object_set_new(o, "probes", probes_json(s));
	json_object_set_new(o, "bus", bus_json(s));
	json_object_set_new(o, "overrides", overrides_json(s));
	json_object_set_new(o, "dns", dns_json(s));
}

static void
status_text(const struct server *s, struct sbuf *out)
{
	struct schedule_stats st;
	struct publish_stats pub;
	struct bus_stats bus;

	schedule_stats(s->schedule, &st);
	publish_stats(s->publish, &pub);
	bus_stats(s->bus, &bus);
	for (size_t i = 0; i < s->set.pool_count; i++) {
		const struct target_pool *p = &s->set.pools[i];
		struct tally n = tally_pool(p);

		sbuf_addf(out,
			"pool %s: %zu servers, %zu up, %zu down, %zu unknown, %zu not probed%s\n",
			p->name, p->n, n.up, n.down, n.unknown, n.paused,
			p->is_round_done ? "" : ", first round under way");
	}
	sbuf_addf(out,
		"probes: %" PRIu64 " started, %" PRIu64 " good, %" PRIu64 " failed, %" PRIu64
		" not made, %" PRIu64 " early, %u running (at most %u), %u queued\n",
		st.started, st.good, st.failed, st.not_made, st.early, st.running, st.max,
		st.queued);
	sbuf_addf(out,
		"bus: %u subscribers, %" PRIu64 " messages, %u shards, %" PRIu64
		" evidence (%" PRIu64 " malformed)\n",
		bus.peers, pub.messages, pub.shards, s->evidence, s->evidence_bad);
	sbuf_addf(out, "overrides: %zu entries, %zu match nothing%s%s\n", s->set.overrides.n,
		target_set_unmatched(&s->set), s->set.overrides_error.text[0] ? "; " : "",
		s->set.overrides_error.text);
}

void
control_status(void *self, struct json_t *object, struct sbuf *out)
{
	const struct server *s = self;

	if (out)
		status_text(s, out);
	else
		status_json(s, object);
}

/* --- show probes ------------------------------------------------------------ */

static const char *
pause_word(const struct target *t)
{
	return !t->is_paused ? "" : t->is_config_down ? "down in configuration" : "disabled";
}

static json_t *
probe_json(const struct server *s, const struct target *t)
{
	uint64_t now_ms = loop_now_ms(s->loop);
	json_t *o = json_object();
	char addr[ADDR_TEXT];

	jsonput_text(o, "pool", t->pool->name);
	jsonput_text(o, "server", t->name);
	jsonput_text(o, "address", t->address);
	jsonput_text(o, "probed_address",
		t->addr.len ? addr_format(&t->addr.sa, t->addr.len, addr) : NULL);
	jsonput_text(o, "state", probe_state_name(t->rise.state));
	jsonput_text(o, "reason", t->reason);
	jsonput_int(o, "since_ms", target_age_ms(now_ms, t->since_ms));
	jsonput_int(o, "rise", t->rise.rise);
	jsonput_int(o, "fall", t->rise.fall);
	json_object_set_new(o, "last_probe_age_ms",
		t->probed_ms ? json_integer((json_int_t)target_age_ms(now_ms, t->probed_ms))
			     : json_null());
	jsonput_int(o, "took_us", t->took_us);
	jsonput_int(o, "next_ms", schedule_next_ms(s->schedule, t));
	jsonput_bool(o, "running", t->probe != NULL);
	jsonput_text(o, "paused", pause_word(t));
	return o;
}

static void
add_age(struct sbuf *out, const char *word, uint64_t ms)
{
	sbuf_addf(out, "%s ", word);
	units_format_age(out, ms);
}

static void
probe_text(const struct server *s, const struct target *t, struct sbuf *out)
{
	uint64_t now_ms = loop_now_ms(s->loop);

	sbuf_addf(out, "%s/%s %s %s", t->pool->name, t->name, t->address,
		probe_state_name(t->rise.state));
	if (t->reason[0])
		sbuf_addf(out, " %s", t->reason);
	add_age(out, " for", target_age_ms(now_ms, t->since_ms));
	sbuf_addf(out, ", rise %u, fall %u", t->rise.rise, t->rise.fall);
	if (t->probed_ms) {
		add_age(out, ", probed", target_age_ms(now_ms, t->probed_ms));
		sbuf_addf(out, " ago in %" PRIu64 " us", t->took_us);
	}
	if (t->is_paused)
		sbuf_addf(out, ", not probed: %s", pause_word(t));
	sbuf_addc(out, '\n');
}

static void
add_probes(struct ctl_req *req, const struct server *s, const struct target_pool *p, json_t *list)
{
	for (size_t i = 0; i < p->n; i++) {
		if (list)
			json_array_append_new(list, probe_json(s, p->targets[i]));
		else
			probe_text(s, p->targets[i], &req->out);
	}
}

static void
cmd_show_probes(struct ctl_req *req)
{
	const struct server *s = req->arg;
	const struct target_pool *one = NULL;
	json_t *list;

	if (req->nargs > 1) {
		ctl_fail(req, "usage: show probes [POOL]");
		return;
	}
	if (req->nargs == 1) {
		one = target_pool_find(&s->set, req->args[0]);
		if (!one) {
			ctl_fail(req, "no pool with a check is called '%s'", req->args[0]);
			return;
		}
	}
	list = req->is_json ? json_array() : NULL;
	for (size_t i = 0; i < s->set.pool_count; i++)
		if (!one || one == &s->set.pools[i])
			add_probes(req, s, &s->set.pools[i], list);
	if (list)
		ctl_done_json(req, list);
	else
		ctl_done(req);
}

/* --- overrides -------------------------------------------------------------- */

static void
cmd_overrides_reload(struct ctl_req *req)
{
	struct server *s = req->arg;
	struct err err;

	if (target_set_overrides(&s->set, s->dc->common.state_dir, &err)) {
		ctl_fail(req, "%s", err.text);
		return;
	}
	if (req->is_json) {
		json_t *o = overrides_json(s);

		jsonput_bool(o, "adopted", true);
		ctl_done_json(req, o);
		return;
	}
	sbuf_addf(&req->out, "%zu entries in force, %zu match nothing\n", s->set.overrides.n,
		target_set_unmatched(&s->set));
	ctl_done(req);
}

const struct ctl_command control_commands[] = {
	{ "show probes", "[POOL]", "what the probes of each server say", CTL_VIEW,
		cmd_show_probes },
	{ "overrides reload", "", "read the operators' decisions again", CTL_OPERATE,
		cmd_overrides_reload },
	{ 0 },
};
