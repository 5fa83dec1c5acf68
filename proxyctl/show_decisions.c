/*
 * show_decisions: what operators have decided, who, when and why. From the file itself: it is what
 * holds, also when no daemon answers.
 */
#include <jansson.h>
#include <time.h>

#include "libcommon/overrides.h"
#include "proxyctl/show.h"
#include "proxyctl/table.h"

static void
add_decision(struct table *t, const struct override *d, int64_t now_s)
{
	if (d->action == OVERRIDE_WEIGHT)
		table_add(t, TINT_NONE, "weight %u", d->weight);
	else
		table_add(t, TINT_YELLOW, "%s", override_action_name(d->action));
	table_add(t, TINT_BOLD, "%s/%s", d->pool, d->server);
	table_add(t, TINT_NONE, "%s", d->actor);
	table_add_duration(t, TINT_NONE, now_s > d->time_s ? (now_s - d->time_s) * 1000 : 0);
	if (d->expires_s > 0)
		table_add_duration(t, TINT_NONE, (d->expires_s - now_s) * 1000);
	else
		table_add(t, TINT_DIM, "%s", "-");
	table_add(t, TINT_NONE, "%s", d->reason);
}

static bool
is_in_force(const struct override *d, int64_t now_s)
{
	return d->expires_s == 0 || d->expires_s > now_s;
}

void
show_decisions(const char *state_dir, bool is_coloured, struct sbuf *out)
{
	static const char *const titles[] = { "DECISION", "SERVER", "BY", "-AGE", "-ENDS IN", "WHY",
		NULL };
	int64_t now_s = (int64_t)time(NULL);
	struct overrides all = { 0 };
	struct table t;

	/* One that cannot be read is told by the daemons' answers. */
	if (overrides_read(&all, state_dir, NULL) < 0)
		return;
	table_init(&t, titles);
	for (size_t i = 0; i < all.n; i++)
		if (is_in_force(&all.v[i], now_s))
			add_decision(&t, &all.v[i], now_s);
	if (t.n > 1) {
		sbuf_addc(out, '\n');
		table_format(&t, is_coloured, out);
	}
	table_fini(&t);
	overrides_fini(&all);
}

json_t *
show_decisions_json(const char *state_dir)
{
	int64_t now_s = (int64_t)time(NULL);
	struct overrides all = { 0 };
	json_t *list = json_array();

	if (overrides_read(&all, state_dir, NULL) < 0)
		return list;
	for (size_t i = 0; i < all.n; i++) {
		const struct override *d = &all.v[i];
		json_t *o;

		if (!is_in_force(d, now_s))
			continue;
		o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I}", "decision",
			override_action_name(d->action), "pool", d->pool, "server", d->server, "by",
			d->actor, "reason", d->reason, "time", (json_int_t)d->time_s);
		if (o != NULL && d->action == OVERRIDE_WEIGHT)
			json_object_set_new(o, "weight", json_integer(d->weight));
		if (o != NULL && d->expires_s > 0)
			json_object_set_new(o, "expires", json_integer((json_int_t)d->expires_s));
		json_array_append_new(list, o != NULL ? o : json_null());
	}
	overrides_fini(&all);
	return list;
}
