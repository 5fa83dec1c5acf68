/*
 * show: three tables. What a daemon does not say is left empty, so that an older or newer daemon is
 * still shown.
 */
#include "proxyctl/show.h"

#include <string.h>

#include "libcommon/jsonput.h"
#include "proxyctl/fleet.h"
#include "proxyctl/table.h"
#include "proxyctl/upview.h"

static json_int_t
number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void
add_number(struct table *t, const json_t *o, const char *key, enum tint tint)
{
	const json_t *n = json_object_get(o, key);

	if (json_is_integer(n))
		table_add(t, tint, "%" JSON_INTEGER_FORMAT, json_integer_value(n));
	else
		table_add(t, TINT_NONE, "%s", "");
}

static void
add_duration(struct table *t, const json_t *n, enum tint tint)
{
	if (json_is_integer(n))
		table_add_duration(t, tint, json_integer_value(n));
	else
		table_add(t, TINT_NONE, "%s", "");
}

/* ---- daemons ---- */

static void
add_member(struct table *t, const struct member *m)
{
	const json_t *a = m->answer;
	const char *state = fleet_text(a, "state");
	const char *hash = fleet_text(a, "hash");

	table_add(t, TINT_BOLD, "%s", m->name);
	if (m->state != MEMBER_OK) {
		const char *of_up = m->state == MEMBER_GONE ? upview_state(m) : NULL;

		table_add(t, TINT_RED, "%s",
			of_up != NULL                     ? of_up
				: m->state == MEMBER_GONE ? "gone"
							  : "silent");
		for (size_t i = 0; i < 6; i++)
			table_add(t, TINT_NONE, "%s", "");
		return;
	}
	table_add(t, strcmp(state, "running") == 0 ? TINT_GREEN : TINT_YELLOW, "%s", state);
	add_number(t, a, "pid", TINT_NONE);
	table_add(t, TINT_NONE, "%s", fleet_text(a, "version"));
	add_number(t, a, "generation", TINT_NONE);
	table_add(t, TINT_DIM, "%.8s", hash);
	add_duration(t, json_object_get(a, "uptime_ms"), TINT_NONE);
	if (json_is_object(json_object_get(a, "connections")))
		add_number(t, json_object_get(a, "connections"), "open", TINT_NONE);
	else
		add_number(t, a, "connections", TINT_NONE);
}

static void
show_members(const struct fleet *f, bool is_coloured, struct sbuf *out)
{
	static const char *const titles[] = { "DAEMON", "STATE", "-PID", "VERSION", "-GEN",
		"CONFIG", "-UPTIME", "-CONNECTIONS", NULL };
	struct table t;

	table_init(&t, titles);
	for (size_t i = 0; i < f->n; i++)
		add_member(&t, &f->v[i]);
	table_format(&t, is_coloured, out);
	table_fini(&t);
	for (size_t i = 0; i < f->n; i++) {
		if (f->v[i].why == NULL)
			continue;
		sbuf_addf(out, "%s: ", f->v[i].name);
		tint_add(out, is_coloured, TINT_YELLOW, f->v[i].why);
		sbuf_addc(out, '\n');
	}
	upview_show(f, is_coloured, out);
}

/* ---- listeners ---- */

/* Sockets in run_dir, where the daemon's own stands, by what follows it: unix:run/https/0.sock */
static void
add_address(struct table *t, const struct member *m, const char *address)
{
	const char *end = strrchr(m->path, '/');
	const char *path = strncmp(address, "unix:", 5) == 0 ? address + 5 : NULL;
	const char *name = end;

	while (name != NULL && name > m->path && name[-1] != '/')
		name--;
	if (path != NULL && end != NULL && strncmp(path, m->path, (size_t)(end - m->path + 1)) == 0)
		table_add(t, TINT_NONE, "unix:%s", path + (name - m->path));
	else
		table_add(t, TINT_NONE, "%s", address);
}

static void
add_listener(struct table *t, const struct member *m, const json_t *l)
{
	const char *name = fleet_text(l, "name");
	const char *bound = fleet_text(l, "bound");

	table_add(t, TINT_BOLD, "%s", name[0] ? name : fleet_text(l, "to"));
	add_address(t, m, bound[0] ? bound : fleet_text(l, "address"));
	table_add(t, TINT_DIM, "%s", m->name);
	add_number(t, l, "connections", TINT_NONE);
	add_number(t, l, "accepted", TINT_NONE);
}

static void
show_listeners(const struct fleet *f, bool is_coloured, struct sbuf *out)
{
	static const char *const titles[] = { "LISTENER", "ADDRESS", "DAEMON", "-CONNECTIONS",
		"-ACCEPTED", NULL };
	struct table t;

	table_init(&t, titles);
	for (size_t m = 0; m < f->n; m++) {
		size_t i;
		const json_t *l;

		if (f->v[m].state != MEMBER_OK)
			continue;
		json_array_foreach(json_object_get(f->v[m].answer, "listeners"), i, l)
			add_listener(&t, &f->v[m], l);
	}
	if (t.n > 1) {
		sbuf_addc(out, '\n');
		table_format(&t, is_coloured, out);
	}
	table_fini(&t);
}

/* ---- pools ---- */

static enum tint
verdict_tint(const char *verdict)
{
	if (strcmp(verdict, "up") == 0)
		return TINT_GREEN;
	if (strcmp(verdict, "down") == 0)
		return TINT_RED;
	return TINT_YELLOW;
}

/* "up", or "up/down" where routers disagree. */
static void
add_verdict(struct table *t, const json_t *server)
{
	const char *first = fleet_text(server, "verdict");
	struct sbuf all = { 0 };
	const char *who;
	json_t *view;

	sbuf_adds(&all, first);
	json_object_foreach(json_object_get(server, "views"), who, view)
	{
		const char *v = json_string_value(view);

		if (v != NULL && strstr(all.p, v) == NULL)
			sbuf_addf(&all, "/%s", v);
	}
	table_add(t, all.n == strlen(first) ? verdict_tint(first) : TINT_YELLOW, "%s", all.p);
	sbuf_fini(&all);
}

static void
add_server(struct table *t, const json_t *s)
{
	bool is_backup = json_is_true(json_object_get(s, "backup"));

	table_add(t, TINT_BOLD, "  %s%s", fleet_text(s, "name"), is_backup ? " (backup)" : "");
	table_add(t, TINT_NONE, "%s", fleet_text(s, "address"));
	add_verdict(t, s);
	table_add(t, TINT_NONE, "%s", fleet_text(s, "reason"));
	add_number(t, s, "weight", TINT_NONE);
	add_number(t, s, "inflight", TINT_NONE);
	add_number(t, s, "requests", TINT_NONE);
	add_number(t, s, "errors", number_of(s, "errors") > 0 ? TINT_YELLOW : TINT_NONE);
	/* Every prober has been silent for too long: what is known is old. */
	add_duration(t, json_object_get(s, "age_ms"),
		json_is_true(json_object_get(s, "stale")) ? TINT_YELLOW : TINT_NONE);
}

static size_t
count_up(const json_t *servers)
{
	size_t n = 0;
	size_t i;
	const json_t *s;

	json_array_foreach(servers, i, s)
	{
		n += strcmp(fleet_text(s, "verdict"), "up") == 0;
	}
	return n;
}

static void
show_pool(const json_t *pool, bool is_coloured, struct sbuf *out)
{
	static const char *const titles[] = { "  SERVER", "ADDRESS", "VERDICT", "REASON", "-WEIGHT",
		"-IN FLIGHT", "-REQUESTS", "-ERRORS", "-AGE", NULL };
	const json_t *servers = json_object_get(pool, "servers");
	struct table t;
	size_t i;
	const json_t *s;

	sbuf_adds(out, "\nPOOL ");
	tint_add(out, is_coloured, TINT_BOLD, fleet_text(pool, "name"));
	sbuf_addf(out, "  %zu of %zu servers up\n", count_up(servers), json_array_size(servers));
	table_init(&t, titles);
	json_array_foreach(servers, i, s)
	{
		add_server(&t, s);
	}
	table_format(&t, is_coloured, out);
	table_fini(&t);
}

/* Decisions that match nothing, or that cannot be read, do nothing: that must be seen. */
static void
show_overrides(const struct member *m, bool is_coloured, struct sbuf *out)
{
	const json_t *o = json_object_get(m->answer, "overrides");
	const char *error = fleet_text(o, "error");
	struct sbuf text = { 0 };

	if (error[0] != '\0')
		sbuf_addf(&text,
			"the operator's decisions cannot be read, the last good ones hold: %s",
			error);
	else if (number_of(o, "unmatched") > 0)
		sbuf_addf(&text,
			"%" JSON_INTEGER_FORMAT
			" of the operator's decisions match no server (see overrides.yaml)",
			number_of(o, "unmatched"));
	if (text.n > 0) {
		sbuf_addf(out, "\n%s: ", m->name);
		tint_add(out, is_coloured, TINT_YELLOW, text.p);
		sbuf_addc(out, '\n');
	}
	sbuf_fini(&text);
}

void
show_fleet(const struct fleet *f, bool is_coloured, struct sbuf *out)
{
	json_t *pools = show_pools(f);
	size_t i;
	const json_t *pool;

	show_members(f, is_coloured, out);
	show_listeners(f, is_coloured, out);
	json_array_foreach(pools, i, pool)
	{
		show_pool(pool, is_coloured, out);
	}
	for (i = 0; i < f->n; i++)
		show_overrides(&f->v[i], is_coloured, out);
	json_decref(pools);
}

json_t *
show_json(const struct fleet *f)
{
	static const char *const states[] = { "unasked", "ok", "refused", "gone", "silent" };
	json_t *daemons = json_array();

	for (size_t i = 0; i < f->n; i++) {
		const struct member *m = &f->v[i];
		json_t *o = m->state == MEMBER_OK ? json_deep_copy(m->answer) : json_object();

		jsonput_text(o, "name", m->name);
		jsonput_text(o, "socket", m->path);
		jsonput_text(o, "answer", states[m->state]);
		if (m->why != NULL)
			jsonput_text(o, "why", m->why);
		if (m->process != NULL)
			json_object_set(o, "process", m->process);
		if (m->on_disk[0] != '\0')
			jsonput_text(o, "on_disk", m->on_disk);
		json_array_append_new(daemons, o);
	}
	return json_pack("{s:o,s:o}", "daemons", daemons, "pools", show_pools(f));
}
