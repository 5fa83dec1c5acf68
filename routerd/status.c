/*
 * status.c: pools, workers and counters for people and programs. What HAProxy's
 * tools read is in status_haproxy.c.
 */
#include "routerd/status.h"

#include <inttypes.h>

#include <utlist.h>

#include "libcommon/jsonput.h"
#include "libcommon/ktls.h"
#include "libcommon/units.h"
#include "routerd/backend_int.h"

#define LISTENERS_MAX 256

/* --- one server --- */

/* A server as it stands now, read once. */
struct view {
	const struct server *s;
	const struct shown *shown;
	uint64_t since_ms; /* how long in this verdict */
	bool is_probed;
	uint64_t age_ms; /* of the last probe that counts */
	uint64_t blocked_ms;
};

static bool
is_probed(const struct server_state *st)
{
	for (int i = 0; i < VERDICT_PROBERS; i++)
		if (st->probes.v[i].who && st->probes.v[i].is_probed)
			return true;
	return false;
}

static struct view
look(const struct pool *p, const struct member *m)
{
	uint64_t now_ms = loop_now_ms(p->b->loop);
	const struct shown *shown = &m->server->state->shown;
	uint64_t until_ms = atomic_load(&m->server->blocked_until_ms);
	struct view v = { .s = m->server, .shown = shown };

	if (now_ms > shown->since_ms)
		v.since_ms = now_ms - shown->since_ms;
	v.is_probed = p->is_checked && is_probed(m->server->state);
	v.age_ms = shown->age_ms + (now_ms - shown->judged_ms);
	if (until_ms > now_ms)
		v.blocked_ms = until_ms - now_ms;
	return v;
}

static json_t *
server_json(const struct pool *p, const struct member *m)
{
	struct view v = look(p, m);
	struct addr a;
	char text[ADDR_TEXT];
	json_t *o = json_object();

	jsonput_text(o, "name", v.s->name);
	jsonput_text(o, "address", v.s->state->address);
	jsonput_text(
		o, "connects_to", server_addr(v.s, &a) ? addr_format(&a.sa, a.len, text) : NULL);
	jsonput_text(o, "verdict", verdict_name(v.shown->verdict));
	jsonput_text(o, "reason", v.shown->reason);
	jsonput_int(o, "since_ms", v.since_ms);
	jsonput_bool(o, "stale", v.shown->is_stale);
	jsonput_int(o, "weight", v.shown->weight);
	jsonput_bool(o, "backup", m->is_backup);
	jsonput_int(o, "inflight", atomic_load(&v.s->inflight));
	jsonput_int(o, "requests", atomic_load(&v.s->requests));
	jsonput_int(o, "errors", atomic_load(&v.s->errors));
	jsonput_int(o, "retried", atomic_load(&v.s->retried));
	json_object_set_new(
		o, "age_ms", v.is_probed ? json_integer((json_int_t)v.age_ms) : json_null());
	jsonput_int(o, "fails", server_fails(v.s));
	jsonput_int(o, "blocked_ms", v.blocked_ms);
	jsonput_bool(o, "trial", atomic_load(&v.s->trial_ms) != 0);
	return o;
}

static void
server_text(const struct pool *p, const struct member *m, struct sbuf *out)
{
	struct view v = look(p, m);

	sbuf_addf(
		out, "  %s %s %s", v.s->name, v.s->state->address, verdict_name(v.shown->verdict));
	if (v.shown->reason[0])
		sbuf_addf(out, " %s", v.shown->reason);
	sbuf_adds(out, " for ");
	units_format_age(out, v.since_ms);
	sbuf_addf(out, ", weight %u%s, %u in flight, %" PRIu64 " requests, %" PRIu64 " errors",
		v.shown->weight, m->is_backup ? " (backup)" : "", atomic_load(&v.s->inflight),
		atomic_load(&v.s->requests), atomic_load(&v.s->errors));
	if (v.is_probed) {
		sbuf_adds(out, ", probed ");
		units_format_age(out, v.age_ms);
		sbuf_adds(out, v.shown->is_stale ? " ago (stale)" : " ago");
	}
	if (server_fails(v.s) > 0)
		sbuf_addf(out, ", %u fails", server_fails(v.s));
	if (v.blocked_ms) {
		sbuf_adds(out, ", blocked for ");
		units_format_age(out, v.blocked_ms);
	}
	sbuf_addc(out, '\n');
}

/* --- one pool --- */

json_t *
status_pool_json(const struct pool *p)
{
	uint64_t now_ms = loop_now_ms(p->b->loop);
	json_t *servers = json_array();
	json_t *o = json_object();

	jsonput_text(o, "name", p->name);
	jsonput_text(o, "balance", p->method->name);
	jsonput_bool(o, "checked", p->is_checked);
	jsonput_bool(o, "empty", p->is_empty);
	jsonput_bool(o, "stale", p->is_stale);
	json_object_set_new(o, "knowledge_age_ms",
		p->heard_ms ? json_integer((json_int_t)(now_ms - p->heard_ms)) : json_null());
	jsonput_int(o, "active", atomic_load(&p->active));
	jsonput_int(o, "retrying", atomic_load(&p->retries));
	for (unsigned i = 0; i < p->count; i++)
		json_array_append_new(servers, server_json(p, &p->members[i]));
	json_object_set_new(o, "servers", servers);
	return o;
}

void
status_pool_text(const struct pool *p, struct sbuf *out)
{
	sbuf_addf(out, "pool %s: %s, %u servers, %u active", p->name, p->method->name, p->count,
		atomic_load(&p->active));
	if (p->is_checked) {
		sbuf_adds(out, p->heard_ms ? ", health heard " : ", health never heard");
		if (p->heard_ms) {
			units_format_age(out, loop_now_ms(p->b->loop) - p->heard_ms);
			sbuf_adds(out, " ago");
		}
	}
	sbuf_addf(out, "%s%s\n", p->is_stale ? ", stale" : "", p->is_empty ? ", EMPTY" : "");
	for (unsigned i = 0; i < p->count; i++)
		server_text(p, &p->members[i], out);
}

/* --- the whole --- */

static const struct {
	enum stat_id id;
	const char *name;
} stats[] = {
#define STAT(id, name, help) { STAT_##id, name },
#include "routerd/stats.def"
#undef STAT
};

static json_t *
counters_json(const struct status_of *s)
{
	json_t *o = json_object();

	for (size_t i = 0; i < STAT_COUNT; i++)
		jsonput_int(o, stats[i].name, workers_stat(s->workers, stats[i].id));
	jsonput_int(o, "access_log_dropped", s->log_dropped);
	return o;
}

static void
add_reason(void *arg, const char *word, uint64_t count)
{
	json_t *o = arg;

	jsonput_int(o, word, (uint64_t)json_integer_value(json_object_get(o, word)) + count);
}

static json_t *
reasons_json(const struct status_of *s)
{
	json_t *o = json_object();

	workers_reasons(s->workers, add_reason, o);
	return o;
}

/* What no client gets beyond; that of connections may be lower than what was asked for. */
static json_t *
limits_json(const struct status_of *s)
{
	json_t *o = json_object();

	jsonput_int(o, "connections", workers_limit(s->workers));
	jsonput_int(o, "request_line", s->http->limits.request_line);
	jsonput_int(o, "head", s->http->limits.head);
	jsonput_int(o, "fields", (uint64_t)s->http->limits.fields);
	jsonput_int(o, "body", s->http->limits.body);
	jsonput_int(o, "response_head", s->http->limits.response_head);
	jsonput_int(o, "body_rate", s->http->limits.body_rate);
	jsonput_int(o, "buffered", s->http->limits.buffered);
	jsonput_int(o, "h2_body_memory", s->http->limits.h2_body_memory);
	jsonput_int(o, "h2_streams", (uint64_t)s->http->limits.h2_streams);
	jsonput_int(o, "h2_resets", (uint64_t)s->http->limits.h2_resets);
	jsonput_int(o, "h2_frames", (uint64_t)s->http->limits.h2_frames);
	return o;
}

static json_t *
listeners_json(const struct status_of *s)
{
	struct listener_stats v[LISTENERS_MAX];
	unsigned n = workers_listeners(s->workers, v, LISTENERS_MAX);
	json_t *list = json_array();

	for (unsigned i = 0; i < n && i < LISTENERS_MAX; i++) {
		json_t *o = json_object();

		jsonput_text(o, "name", v[i].name);
		jsonput_text(o, "address", v[i].address);
		jsonput_int(o, "connections", v[i].connections);
		jsonput_int(o, "accepted", v[i].accepted);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
bus_json(const struct busio *io)
{
	struct busio_stats st;
	json_t *o = json_object();

	busio_get_stats(io, &st);
	jsonput_int(o, "peers", st.bus.peers);
	jsonput_int(o, "health", st.health);
	jsonput_int(o, "unknown", st.unknown);
	jsonput_int(o, "malformed", st.malformed + st.bus.malformed);
	jsonput_int(o, "evidence", st.evidence);
	return o;
}

static json_t *
dns_json(const struct backends *b)
{
	struct resolve_stats st;
	json_t *o = json_object();

	resolve_stats(b->resolver, &st);
	jsonput_int(o, "names", st.names);
	jsonput_int(o, "queries", st.queries);
	jsonput_int(o, "failures", st.failures);
	return o;
}

static json_t *
overrides_json(const struct backends *b)
{
	json_t *o = json_object();

	jsonput_int(o, "entries", b->overrides.n);
	jsonput_int(o, "unmatched", backends_unmatched_overrides(b));
	jsonput_text(o, "error", b->overrides_error[0] ? b->overrides_error : NULL);
	return o;
}

void
status_json(const struct status_of *s, json_t *o)
{
	json_t *pools = json_array();
	json_t *each = json_array();
	json_t *held = json_array();
	const struct pool *p;

	jsonput_int(o, "workers", workers_count(s->workers));
	jsonput_int(o, "oldest_generation", workers_oldest_generation(s->workers));
	jsonput_int(o, "connections", workers_stat(s->workers, STAT_CONNECTIONS));
	json_object_set_new(o, "limits", limits_json(s));
	for (unsigned i = 0; i < workers_count(s->workers); i++) {
		json_array_append_new(each,
			json_integer((json_int_t)workers_stat_of(s->workers, i, STAT_CONNECTIONS)));
		json_array_append_new(held,
			json_integer((json_int_t)workers_stat_of(s->workers, i, STAT_BUFFERED)));
	}
	json_object_set_new(o, "worker_connections", each);
	json_object_set_new(o, "worker_buffered", held);
	jsonput_text(o, "kernel_tls", ktls_versions(workers_kernel_tls(s->workers)));
	json_object_set_new(o, "counters", counters_json(s));
	json_object_set_new(o, "reasons", reasons_json(s));
	json_object_set_new(o, "listeners", listeners_json(s));
	DL_FOREACH (s->backends->pools, p)
		if (p->is_live)
			json_array_append_new(pools, status_pool_json(p));
	json_object_set_new(o, "pools", pools);
	if (s->busio)
		json_object_set_new(o, "bus", bus_json(s->busio));
	json_object_set_new(o, "dns", dns_json(s->backends));
	json_object_set_new(o, "overrides", overrides_json(s->backends));
}

static void
listeners_text(const struct status_of *s, struct sbuf *out)
{
	struct listener_stats v[LISTENERS_MAX];
	unsigned n = workers_listeners(s->workers, v, LISTENERS_MAX);

	for (unsigned i = 0; i < n && i < LISTENERS_MAX; i++)
		sbuf_addf(out, "listener %s %s: %" PRIu64 " connections, %" PRIu64 " accepted\n",
			v[i].name, v[i].address, v[i].connections, v[i].accepted);
}

static void
counters_text(const struct status_of *s, struct sbuf *out)
{
	for (size_t i = 0; i < STAT_COUNT; i++) {
		uint64_t v = workers_stat(s->workers, stats[i].id);

		/* That one stands above, with its limit. */
		if (v > 0 && stats[i].id != STAT_BUFFERED)
			sbuf_addf(out, "%s %" PRIu64 "\n", stats[i].name, v);
	}
	if (s->log_dropped > 0)
		sbuf_addf(out, "access_log_dropped %" PRIu64 "\n", s->log_dropped);
}

static void
reasons_text(const struct status_of *s, struct sbuf *out)
{
	json_t *o = reasons_json(s);
	const char *word;
	json_t *n;

	json_object_foreach(o, word, n)
		sbuf_addf(out, "reason %s %" JSON_INTEGER_FORMAT "\n", word, json_integer_value(n));
	json_decref(o);
}

void
status_text(const struct status_of *s, struct sbuf *out)
{
	const struct backends *b = s->backends;
	const struct pool *p;
	struct busio_stats st = { 0 };

	sbuf_addf(out, "%u workers, %" PRIu64 " connections at most\n", workers_count(s->workers),
		workers_limit(s->workers));
	sbuf_addf(out, "buffered %" PRIu64 ", %" PRIu64 " at most in each worker\n",
		workers_stat(s->workers, STAT_BUFFERED), s->http->limits.buffered);
	listeners_text(s, out);
	DL_FOREACH (b->pools, p)
		if (p->is_live)
			status_pool_text(p, out);
	if (s->busio)
		busio_get_stats(s->busio, &st);
	sbuf_addf(out, "bus: %u peers, %" PRIu64 " health messages, %" PRIu64 " malformed\n",
		st.bus.peers, st.health, st.malformed + st.bus.malformed);
	sbuf_addf(out, "overrides: %zu entries, %u match nothing%s%s\n", b->overrides.n,
		backends_unmatched_overrides(b), b->overrides_error[0] ? "; " : "",
		b->overrides_error);
	counters_text(s, out);
	reasons_text(s, out);
}
