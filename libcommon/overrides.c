/*
 * overrides.c: reading and looking up operator decisions. Every entry is checked as a whole before
 * the old set is let go, so that a file that is not right changes nothing.
 */
#include "libcommon/overrides.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uthash.h>

#include "libcommon/cfg.h"
#include "libcommon/mem.h"
#include "libcommon/overrides_file.h"
#include "libcommon/sbuf.h"

static const char *const action_names[] = { "none", "drain", "disable", "weight" };

/* All entries of one server. */
struct override_index {
	UT_hash_handle hh;
	size_t first; /* in overrides.v, which is sorted by pool and server */
	size_t count;
	char key[]; /* POOL NUL SERVER */
};

const char *
override_action_name(enum override_action a)
{
	return action_names[a];
}

static void
free_index(struct overrides *o)
{
	struct override_index *i;
	struct override_index *tmp;

	HASH_ITER (hh, o->index, i, tmp) {
		HASH_DEL(o->index, i);
		free(i);
	}
	o->index = NULL;
}

void
override_fini(struct override *v)
{
	free(v->pool);
	free(v->server);
	free(v->actor);
	free(v->reason);
}

void
overrides_fini(struct overrides *o)
{
	free_index(o);
	for (size_t i = 0; i < o->n; i++)
		override_fini(&o->v[i]);
	free(o->v);
	*o = (struct overrides){ 0 };
}

/* --- one entry ------------------------------------------------------------- */

struct read_ctx {
	const struct cfg *cfg;
	struct err *err;
};

static int
refuse(const struct read_ctx *c, const struct cfg_node *n, const char *expected)
{
	return err_set(c->err, "%s:%u:%u: %s", c->cfg->file, n->line, n->col, expected);
}

/* A member that is text: *out is a heap copy, or "" when it is absent and not required. */
static int
read_text(const struct read_ctx *c, const struct cfg_node *entry, const char *key, bool is_required,
	char **out)
{
	const struct cfg_node *n = cfg_get(entry, key);
	char what[64];

	snprintf(what, sizeof(what), "%s: text expected", key);
	if (!n || n->is_null) {
		*out = xstrdup("");
		return is_required ? refuse(c, entry, what) : 0;
	}
	*out = n->kind == CFG_SCALAR ? xstrndup(n->text.p, n->text.n) : xstrdup("");
	if (n->kind != CFG_SCALAR || (is_required && n->text.n == 0) ||
		memchr(n->text.p, '\0', n->text.n))
		return refuse(c, n, what);
	return 0;
}

/* "2024-05-01T10:00:00Z" */
static int
read_time(const struct read_ctx *c, const struct cfg_node *entry, const char *key, int64_t *out)
{
	const struct cfg_node *n = cfg_get(entry, key);
	struct tm tm = { 0 };
	char what[96];

	*out = 0;
	if (!n || n->is_null)
		return 0;
	snprintf(what, sizeof(what), "%s: a time such as \"2030-01-31T12:00:00Z\" expected", key);
	if (n->kind != CFG_SCALAR || n->text.n != 20)
		return refuse(c, n, what);

	const char *end = strptime(n->text.p, "%Y-%m-%dT%H:%M:%SZ", &tm);

	if (!end || *end)
		return refuse(c, n, what);
	*out = timegm(&tm);
	return 0;
}

static int
read_action(const struct read_ctx *c, const struct cfg_node *entry, struct override *v)
{
	const struct cfg_node *n = cfg_get(entry, "action");
	const struct cfg_node *w = cfg_get(entry, "weight");
	uint64_t weight = 0;

	for (int a = OVERRIDE_DRAIN; n && n->kind == CFG_SCALAR && a <= OVERRIDE_WEIGHT; a++)
		if (slice_eq(n->text, slice_str(action_names[a])))
			v->action = (enum override_action)a;
	if (v->action == OVERRIDE_NONE)
		return refuse(c, n ? n : entry, "action: drain, disable or weight expected");
	if (v->action != OVERRIDE_WEIGHT)
		return w ? refuse(c, w, "weight: only with action weight") : 0;
	if (!w || w->kind != CFG_SCALAR || !slice_to_u64(w->text, &weight) || weight > 256)
		return refuse(c, w ? w : entry, "weight: a number from 0 to 256 expected");
	v->weight = (uint32_t)weight;
	return 0;
}

static int
check_keys(const struct read_ctx *c, const struct cfg_node *map, const char *const *known,
	const char *expected)
{
	for (const struct cfg_node *n = map->first; n; n = n->next) {
		bool is_known = false;

		for (const char *const *k = known; *k; k++)
			is_known = is_known || slice_eq(n->key, slice_str(*k));
		if (!is_known)
			return refuse(c, n, expected);
	}
	return 0;
}

static int
read_entry(const struct read_ctx *c, const struct cfg_node *entry, struct override *v)
{
	static const char *const keys[] = { "pool", "server", "action", "weight", "actor", "reason",
		"time", "expires", NULL };

	if (entry->kind != CFG_MAPPING)
		return refuse(c, entry, "an entry with pool, server and action expected");
	if (check_keys(c, entry, keys,
		    "unknown key; pool, server, action, weight, actor, reason, time and expires "
		    "are known"))
		return -1;
	if (read_text(c, entry, "pool", true, &v->pool) ||
		read_text(c, entry, "server", true, &v->server) ||
		read_text(c, entry, "actor", false, &v->actor) ||
		read_text(c, entry, "reason", false, &v->reason))
		return -1;
	if (read_time(c, entry, "time", &v->time_s) ||
		read_time(c, entry, "expires", &v->expires_s))
		return -1;
	return read_action(c, entry, v);
}

static int
read_list(const struct read_ctx *c, struct overrides *o)
{
	static const char *const keys[] = { "overrides", NULL };
	const struct cfg_node *root = c->cfg->root;

	if (!root || root->is_null)
		return 0;
	if (root->kind != CFG_MAPPING)
		return refuse(c, root, "`overrides:` with a list expected");
	if (check_keys(c, root, keys, "unknown key; only `overrides` is known"))
		return -1;

	const struct cfg_node *list = cfg_get(root, "overrides");

	if (!list || list->is_null)
		return 0;
	if (list->kind != CFG_SEQUENCE)
		return refuse(c, list, "overrides: a list expected");
	if (list->count > OVERRIDES_MAX)
		return refuse(c, list, "overrides: too many entries");
	o->v = xcalloc(list->count ? list->count : 1, sizeof(*o->v));
	for (const struct cfg_node *n = list->first; n; n = n->next)
		if (read_entry(c, n, &o->v[o->n++]))
			return -1;
	return 0;
}

/* --- the set ----------------------------------------------------------------- */

static int
compare(const void *pa, const void *pb)
{
	const struct override *a = pa;
	const struct override *b = pb;
	int by_pool = strcmp(a->pool, b->pool);

	return by_pool ? by_pool : strcmp(a->server, b->server);
}

static size_t
make_key(char *key, size_t room, const char *pool, const char *server)
{
	size_t np = strlen(pool) + 1;
	size_t ns = strlen(server);

	if (np + ns > room)
		return 0;
	memcpy(key, pool, np);
	memcpy(key + np, server, ns);
	return np + ns;
}

static void
build_index(struct overrides *o)
{
	struct override_index *last = NULL;

	if (o->n > 0)
		qsort(o->v, o->n, sizeof(*o->v), compare);
	for (size_t i = 0; i < o->n; i++) {
		if (last && compare(&o->v[last->first], &o->v[i]) == 0) {
			last->count++;
			continue;
		}

		size_t room = strlen(o->v[i].pool) + strlen(o->v[i].server) + 1;

		last = xcalloc(1, sizeof(*last) + room);
		last->first = i;
		last->count = 1;
		make_key(last->key, room, o->v[i].pool, o->v[i].server);
		HASH_ADD(hh, o->index, key[0], (unsigned)room, last);
	}
}

/* Replaces *o when the text is right; leaves it alone and returns -1 when not. */
static int
parse(struct overrides *o, const char *name, struct slice text, struct err *err)
{
	struct errs errs = { 0 };
	struct overrides got = { 0 };
	struct cfg *cfg = cfg_parse(name, "/", text, &errs);
	int rc;

	if (cfg) {
		rc = read_list(&(struct read_ctx){ cfg, err }, &got);
	} else {
		struct sbuf lines = { 0 };

		errs_format(&errs, &lines);
		while (lines.n > 0 && lines.p[lines.n - 1] == '\n')
			lines.p[--lines.n] = '\0';
		rc = err_set(err, "%s", lines.p ? lines.p : name);
		sbuf_fini(&lines);
	}
	errs_fini(&errs);
	cfg_free(cfg);
	if (rc) {
		overrides_fini(&got);
		return -1;
	}
	build_index(&got);
	overrides_fini(o);
	*o = got;
	return 0;
}

int
overrides_read(struct overrides *o, const char *state_dir, struct err *err)
{
	struct sbuf text = { 0 };
	char *path = xasprintf("%s/" OVERRIDES_NAME, state_dir);
	int rc = overrides_slurp(path, &text, err);

	if (rc == 0)
		rc = parse(o, path, sbuf_slice(&text), err);
	sbuf_fini(&text);
	free(path);
	return rc;
}

static void
apply_entry(const struct override *v, int64_t now_s, struct override_effect *e)
{
	if (v->expires_s && v->expires_s <= now_s)
		return;
	if (v->expires_s && (!e->next_s || v->expires_s < e->next_s))
		e->next_s = v->expires_s;
	if (v->action == OVERRIDE_WEIGHT) {
		e->has_weight = true;
		e->weight = v->weight;
	} else if (v->action > e->action) {
		/* a file written by hand may hold both: disable is the stronger one */
		e->action = v->action;
		e->actor = v->actor;
		e->reason = v->reason;
	}
}

struct override_effect
overrides_find(const struct overrides *o, const char *pool, const char *server, int64_t now_s)
{
	struct override_effect e = { 0 };
	struct override_index *i = NULL;
	char key[2048];
	size_t n = make_key(key, sizeof(key), pool, server);

	if (n == 0 || !o->index)
		return e;
	HASH_FIND(hh, o->index, key, (unsigned)n, i);
	for (size_t k = 0; i && k < i->count; k++)
		apply_entry(&o->v[i->first + k], now_s, &e);
	return e;
}
