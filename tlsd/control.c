/*
 * control: `status` and the table of control words. Runs on the main thread; counters of the
 * workers are read as they stand and added up.
 */
#include <inttypes.h>

#include "libcommon/clock.h"
#include "libcommon/jsonput.h"
#include "libcommon/units.h"
#include "tlsd/certctl.h"
#include "tlsd/control.h"
#include "tlsd/server.h"

struct counter {
	const char *name;
	const char *meaning;
	size_t offset;
};

static const struct counter counters[] = {
#define C(name, meaning) { #name, meaning, offsetof(struct stats, name) },
#include "tlsd/stats.def"
#undef C
};

static const struct counter gauges[] = {
	{ "open", "client connections", offsetof(struct stats, open) },
	{ "handshaking", "in a handshake", offsetof(struct stats, handshaking) },
	{ "waiting", "waiting for a server to listen", offsetof(struct stats, waiting) },
	{ "relaying", "relayed", offsetof(struct stats, relaying) },
	{ "passing", "passed through", offsetof(struct stats, passing) },
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static uint64_t
sum_at(const struct server *s, size_t offset)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->nstarted; i++)
		sum += stats_get((
			const _Atomic uint64_t *)(const void *)((const char *)&s->workers[i].stats +
			offset));
	return sum;
}

static uint64_t
sum_failed(const struct server *s, unsigned reason)
{
	return sum_at(s, offsetof(struct stats, failed) + reason * sizeof(_Atomic uint64_t));
}

static json_t *
numbers(const struct server *s, const struct counter *list, size_t n)
{
	json_t *o = json_object();

	for (size_t i = 0; i < n; i++)
		jsonput_int(o, list[i].name, sum_at(s, list[i].offset));
	return o;
}

static json_t *
failures(const struct server *s)
{
	json_t *o = json_object();

	for (unsigned r = 0; r < REASON_COUNT; r++)
		jsonput_int(o, reason_word(r), sum_failed(s, r));
	return o;
}

static json_t *
auth_json(const struct clientauth *a)
{
	json_t *o;
	char when[UNITS_TIME];

	if (a == NULL)
		return json_null();
	o = json_object();
	jsonput_text(o, "mode", clientauth_mode_word(a->mode));
	jsonput_int(o, "authorities", a->ncas);
	jsonput_int(o, "revocation_lists", a->ncrls);
	if (a->next_update != 0) {
		units_format_time(a->next_update, when);
		jsonput_text(o, "next_update", when);
	}
	return o;
}

static json_t *
listener_json(const struct site_listener *l)
{
	json_t *o = json_object();
	json_t *alpn = json_array();
	char text[ADDR_TEXT];

	addr_format(&l->listen->bound.sa, l->listen->bound.len, text);
	for (size_t i = 0; i < l->cfg->alpn.n; i++)
		json_array_append_new(alpn, json_string(*CFG_AT(char *, l->cfg->alpn, i)));
	jsonput_text(o, "address", l->cfg->address_text);
	jsonput_text(o, "bound", text);
	jsonput_text(o, "to", l->cfg->to);
	jsonput_text(o, "seam", l->cfg->seam == SEAM_HANDOFF ? "handoff" : "relay");
	json_object_set_new(o, "client_auth", auth_json(l->auth));
	jsonput_text(o, "relay", l->cfg->relay == RELAY_NONE ? "none" : "proxy_v2");
	jsonput_text(o, "min_version", l->cfg->min_version == TLS_1_3 ? "1.3" : "1.2");
	json_object_set_new(o, "alpn", alpn);
	jsonput_int(o, "certificates", l->ncerts);
	jsonput_int(o, "passthrough", l->npass);
	jsonput_int(o, "connections", atomic_load(&l->listen->stat->open));
	jsonput_int(o, "accepted", atomic_load(&l->listen->stat->accepted));
	return o;
}

static void
add_backend(void *arg, struct backend *b)
{
	json_t *o = json_object();

	jsonput_text(o, "address", b->name);
	jsonput_int(o, "active", atomic_load(&b->active));
	jsonput_int(o, "connected", atomic_load(&b->connected));
	jsonput_int(o, "failed", atomic_load(&b->failed));
	jsonput_bool(o, "listed", atomic_load(&b->is_listed));
	json_array_append_new(arg, o);
}

static json_t *
tickets_json(const struct server *s)
{
	json_t *o = json_object();
	bool enabled = s->site->cfg->tickets.enabled;

	jsonput_bool(o, "enabled", enabled);
	jsonput_bool(o, "shared", s->is_sharing_tickets);
	jsonput_int(o, "keys", ticket_keys_count(s->tickets));
	jsonput_int(o, "age_ms", ticket_keys_age_ms(s->tickets, clock_ms()));
	jsonput_int(o, "rotate_ms", s->site->cfg->tickets.rotate_ms);
	return o;
}

static json_t *
session_cache_json(const struct server *s)
{
	struct sesscache_stats st = sesscache_stats(s->cache);

	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "enabled", sesscache_is_on(s->cache),
		"sessions", (json_int_t)st.sessions, "bytes", (json_int_t)st.bytes, "hits",
		(json_int_t)st.hits, "misses", (json_int_t)st.misses, "evicted",
		(json_int_t)st.evicted);
}

static void
status_json(const struct server *s, json_t *o)
{
	json_t *listeners = json_array();
	json_t *backends = json_array();
	json_t *now = numbers(s, gauges, COUNT(gauges));

	for (size_t i = 0; i < s->site->nlisteners; i++)
		json_array_append_new(listeners, listener_json(&s->site->listeners[i]));
	backends_each(s->pool.backends, add_backend, backends);
	jsonput_int(now, "max", atomic_load(&s->pool.max));
	jsonput_int(o, "workers", s->nstarted);
	json_object_set_new(o, "connections", now);
	json_object_set_new(o, "counters", numbers(s, counters, COUNT(counters)));
	json_object_set_new(o, "handshake_failures", failures(s));
	json_object_set_new(o, "tickets", tickets_json(s));
	json_object_set_new(o, "session_cache", session_cache_json(s));
	json_object_set_new(o, "certificates", certctl_summary(s));
	json_object_set_new(o, "listeners", listeners);
	json_object_set_new(o, "servers", backends);
}

static void
text_failures(const struct server *s, struct sbuf *out)
{
	bool any = false;

	for (unsigned r = 0; r < REASON_COUNT; r++) {
		uint64_t n = sum_failed(s, r);

		if (n > 0)
			sbuf_addf(out, "%s%s %" PRIu64,
				any ? ", " : "handshake failures: ", reason_word(r), n);
		any |= n > 0;
	}
	if (any)
		sbuf_addc(out, '\n');
}

static void
text_backend(void *arg, struct backend *b)
{
	if (atomic_load(&b->is_listed) || atomic_load(&b->active) > 0)
		sbuf_addf(arg,
			"  server %s  active %u  connected %" PRIu64 "  failed %" PRIu64 "%s\n",
			b->name, atomic_load(&b->active), atomic_load(&b->connected),
			atomic_load(&b->failed), atomic_load(&b->is_listed) ? "" : "  gone");
}

static void
text_listener(const struct site_listener *l, struct sbuf *out)
{
	char text[ADDR_TEXT];

	addr_format(&l->listen->bound.sa, l->listen->bound.len, text);
	sbuf_addf(out, "  listen %s  to %s  %s  TLS %s+  certificates %zu", text, l->cfg->to,
		l->cfg->seam == SEAM_HANDOFF          ? "handoff"
			: l->cfg->relay == RELAY_NONE ? "relay none"
						      : "relay proxy_v2",
		l->cfg->min_version == TLS_1_3 ? "1.3" : "1.2", l->ncerts);
	if (l->auth != NULL)
		sbuf_addf(out, "  client_auth %s", clientauth_mode_word(l->auth->mode));
	for (size_t i = 0; i < l->cfg->alpn.n; i++)
		sbuf_addf(out, "%s%s", i == 0 ? "  alpn " : ",", *CFG_AT(char *, l->cfg->alpn, i));
	if (l->npass > 0)
		sbuf_addf(out, "  passthrough %zu", l->npass);
	sbuf_addf(out, "  connections %u  accepted %" PRIu64, atomic_load(&l->listen->stat->open),
		atomic_load(&l->listen->stat->accepted));
	sbuf_addc(out, '\n');
}

static void
status_text(const struct server *s, struct sbuf *out)
{
	sbuf_addf(out, "%u workers, connections:", s->nstarted);
	for (size_t i = 0; i < COUNT(gauges); i++)
		sbuf_addf(out, "%s %s %" PRIu64, i > 0 ? "," : "", gauges[i].name,
			sum_at(s, gauges[i].offset));
	sbuf_addf(out, ", max %" PRIu64 "\n", (uint64_t)atomic_load(&s->pool.max));
	for (size_t i = 0; i < s->site->nlisteners; i++)
		text_listener(&s->site->listeners[i], out);
	backends_each(s->pool.backends, text_backend, out);
	for (size_t i = 0; i < COUNT(counters); i++) {
		uint64_t n = sum_at(s, counters[i].offset);

		if (n > 0)
			sbuf_addf(out, "  %-16s %12" PRIu64 "  %s\n", counters[i].name, n,
				counters[i].meaning);
	}
	text_failures(s, out);
}

void
control_status(void *self, struct json_t *object, struct sbuf *out)
{
	const struct server *s = self;

	if (out != NULL)
		status_text(s, out);
	else
		status_json(s, object);
}

/* ---- show certificates ---- */

const struct ctl_command control_commands[] = {
	{ "cert list", "", "certificates in force: listener, names, issuer, expiry, staple",
		CTL_VIEW, certctl_list },
	{ "cert reload", "", "load the certificates' files anew, and serve those that are right",
		CTL_ADMIN, certctl_reload },
	{ 0 },
};
