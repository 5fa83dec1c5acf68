/*
 * show_pools: several routers, one picture. Pools and servers are matched by name, in the order in
 * which they were first seen.
 */
#include <jansson.h>
#include <string.h>

#include "proxyctl/show.h"

static json_t *
find_named(json_t *array, const char *name)
{
	size_t i;
	json_t *o;

	json_array_foreach(array, i, o)
	{
		const char *other = json_string_value(json_object_get(o, "name"));

		if (other != NULL && strcmp(other, name) == 0)
			return o;
	}
	return NULL;
}

static void
add_up(json_t *to, const json_t *from, const char *key)
{
	json_int_t sum = json_integer_value(json_object_get(to, key)) +
		json_integer_value(json_object_get(from, key));

	json_object_set_new(to, key, json_integer(sum));
}

/* The freshest knowledge is what matters. */
static void
keep_least(json_t *to, const json_t *from, const char *key)
{
	json_t *a = json_object_get(to, key);
	json_t *b = json_object_get(from, key);

	if (json_is_integer(b) &&
		(!json_is_integer(a) || json_integer_value(b) < json_integer_value(a)))
		json_object_set(to, key, b);
}

static void
merge_server(json_t *to, const json_t *from, const char *who)
{
	static const char *const counters[] = { "inflight", "requests", "errors" };
	json_t *verdict = json_object_get(from, "verdict");

	for (size_t i = 0; i < sizeof(counters) / sizeof(*counters); i++)
		add_up(to, from, counters[i]);
	keep_least(to, from, "age_ms");
	json_object_set(json_object_get(to, "views"), who, verdict ? verdict : json_null());
}

static void
add_server(json_t *servers, const json_t *from, const char *who)
{
	const char *name = json_string_value(json_object_get(from, "name"));

	if (name == NULL)
		return;

	json_t *to = find_named(servers, name);
	json_t *verdict = json_object_get(from, "verdict");

	if (to != NULL) {
		merge_server(to, from, who);
		return;
	}
	to = json_deep_copy(from);
	json_object_set_new(to, "views", json_object());
	json_object_set(json_object_get(to, "views"), who, verdict ? verdict : json_null());
	json_array_append_new(servers, to);
}

static void
add_pool(json_t *pools, const json_t *from, const char *who)
{
	const char *name = json_string_value(json_object_get(from, "name"));
	size_t i;
	const json_t *server;

	if (name == NULL)
		return;

	json_t *to = find_named(pools, name);

	if (to == NULL) {
		to = json_pack("{s:s,s:[]}", "name", name, "servers");
		json_array_append_new(pools, to);
	}
	json_array_foreach(json_object_get(from, "servers"), i, server)
		add_server(json_object_get(to, "servers"), server, who);
}

json_t *
show_pools(const struct fleet *f)
{
	json_t *pools = json_array();

	for (size_t m = 0; m < f->n; m++) {
		size_t i;
		const json_t *pool;

		/* What probes alone say stands in healthd's own status. */
		if (f->v[m].state != MEMBER_OK || strcmp(f->v[m].program, "routerd") != 0)
			continue;
		json_array_foreach(json_object_get(f->v[m].answer, "pools"), i, pool)
			add_pool(pools, pool, f->v[m].name);
	}
	return pools;
}
