/*
 * route: compiled once per snapshot, then read by all workers without a lock. Names are found in
 * two hash tables, exact ones and suffixes; each host has a hash table of its prefixes. A look-up
 * hashes the host from its end and the path from its front, once each, and asks a table only where
 * a label or segment ends and some key has that length. No allocation.
 */
#include "routerd/route.h"

#include <uthash.h>

#define HOST_MAX   255
#define HASH_START 2166136261u
#define HASH_PRIME 16777619u

/* A route of one host, by its path. */
struct prefix {
	const struct route *route;
	UT_hash_handle hh;
};

/* One entry of http.hosts. */
struct vhost {
	struct prefix *prefixes;
	uint64_t lengths;         /* bit n % 64: some path has n bytes */
	size_t longest;           /* path */
	const struct route *root; /* "/" */
};

/* What one name leads to, per listener. Names are in config_check's sense unique. */
struct name {
	struct slice text; /* "api.example.com"; ".example.com" for a suffix */
	struct name *more; /* the same text on other listeners */
	uint64_t listeners;
	struct vhost *host;
	UT_hash_handle hh;
};

struct route_table {
	struct name *exact;
	struct name *suffixes;
	struct vhost *fallback[CONFIG_LISTENERS_MAX]; /* "*", by listener */
	struct vhost *hosts;
	unsigned host_count;
};

static inline uint32_t
hash_add(uint32_t h, char c)
{
	return (h ^ (unsigned char)c) * HASH_PRIME;
}

/* FNV's low bits are fine, but its last byte reaches only the low ones. */
static inline uint32_t
hash_end(uint32_t h)
{
	return h ^ h >> 15;
}

/* --- compile --- */

static void
table_free(void *arg)
{
	struct route_table *t = arg;

	for (unsigned i = 0; i < t->host_count; i++)
		HASH_CLEAR(hh, t->hosts[i].prefixes);
	HASH_CLEAR(hh, t->exact);
	HASH_CLEAR(hh, t->suffixes);
}

static uint32_t
path_hash(struct slice path)
{
	uint32_t h = HASH_START;

	for (size_t i = 0; i < path.n; i++)
		h = hash_add(h, path.p[i]);
	return hash_end(h);
}

static uint32_t
name_hash(struct slice name)
{
	uint32_t h = HASH_START;

	for (size_t i = name.n; i > 0; i--)
		h = hash_add(h, name.p[i - 1]);
	return hash_end(h);
}

static void
vhost_add(struct snapshot *s, struct vhost *v, const struct route *r)
{
	struct prefix *p = arena_calloc(&s->arena, 1, sizeof(*p));
	uint32_t h = path_hash(r->path);

	p->route = r;
	HASH_ADD_KEYPTR_BYHASHVALUE(hh, v->prefixes, r->path.p, r->path.n, h, p);
	v->lengths |= UINT64_C(1) << (r->path.n % 64);
	if (r->path.n > v->longest)
		v->longest = r->path.n;
	if (r->path.n == 1)
		v->root = r;
}

static void
name_add(struct snapshot *s, struct name **table, struct slice text, uint64_t mask, struct vhost *v)
{
	struct name *n = arena_calloc(&s->arena, 1, sizeof(*n));
	struct name *first;
	uint32_t h = name_hash(text);

	*n = (struct name){ .text = text, .listeners = mask, .host = v };
	HASH_FIND_BYHASHVALUE(hh, *table, text.p, text.n, h, first);
	if (first) {
		n->more = first->more;
		first->more = n;
	} else {
		HASH_ADD_KEYPTR_BYHASHVALUE(hh, *table, n->text.p, n->text.n, h, n);
	}
}

static void
host_add(struct snapshot *s, struct route_table *t, const struct hostcfg *h, struct vhost *v)
{
	uint64_t mask = config_host_listeners(s->http, h);

	for (size_t i = 0; i < h->names.n; i++) {
		struct slice name = slice_str(*CFG_AT(char *, h->names, i));

		if (slice_eq(name, SLICE("*"))) {
			for (unsigned k = 0; k < CONFIG_LISTENERS_MAX; k++)
				if (mask >> k & 1)
					t->fallback[k] = v;
		} else if (name.p[0] == '*') {
			name_add(s, &t->suffixes, slice_skip(name, 1), mask, v);
		} else {
			name_add(s, &t->exact, name, mask, v);
		}
	}
}

struct route_table *
route_table_new(struct snapshot *s, struct errs *errs)
{
	struct route_table *t = arena_calloc(&s->arena, 1, sizeof(*t));
	const struct route *r = s->route_v;

	(void)errs; /* config_check has seen everything that can be wrong */
	t->host_count = (unsigned)s->http->hosts.n;
	t->hosts = arena_calloc(&s->arena, t->host_count + 1, sizeof(*t->hosts));
	arena_on_free(&s->arena, table_free, t);
	for (unsigned i = 0; i < t->host_count; i++) {
		const struct hostcfg *h = CFG_AT(const struct hostcfg, s->http->hosts, i);

		for (size_t k = 0; k < h->routes.n; k++)
			vhost_add(s, &t->hosts[i], r++);
		host_add(s, t, h, &t->hosts[i]);
	}
	return t;
}

/* --- find --- */

static const struct vhost *
name_find(const struct name *table, const char *p, size_t n, uint32_t h, unsigned listener)
{
	const struct name *found;

	HASH_FIND_BYHASHVALUE(hh, table, p, n, h, found);
	for (; found; found = found->more)
		if (found->listeners >> listener & 1)
			return found->host;
	return NULL;
}

/* The host's bytes in lower case; those that begin a suffix, with its hash, longest last. */
struct lowered {
	char text[HOST_MAX];
	uint8_t dot[HOST_MAX / 2 + 1];
	uint32_t dot_hash[HOST_MAX / 2 + 1];
	unsigned dots;
	uint32_t hash;
};

static void
host_lower(struct lowered *l, struct slice host)
{
	uint32_t h = HASH_START;

	l->dots = 0;
	for (size_t i = host.n; i-- > 0;) {
		l->text[i] = ascii_lower(host.p[i]);
		h = hash_add(h, l->text[i]);
		if (l->text[i] == '.' && i > 0 && l->dots < HOST_MAX / 2) {
			l->dot[l->dots] = (uint8_t)i;
			l->dot_hash[l->dots++] = hash_end(h);
		}
	}
	l->hash = hash_end(h);
}

static const struct vhost *
host_find(const struct route_table *t, unsigned listener, struct slice host)
{
	const struct vhost *fallback = t->fallback[listener];
	const struct vhost *v;
	struct lowered l;

	if (host.n > 0 && host.p[host.n - 1] == '.')
		host.n--;
	if (host.n == 0 || host.n > HOST_MAX || (!t->exact && !t->suffixes))
		return fallback;
	host_lower(&l, host);
	v = name_find(t->exact, l.text, host.n, l.hash, listener);
	if (v || !t->suffixes)
		return v ? v : fallback;
	for (unsigned i = l.dots; i-- > 0;) {
		size_t at = l.dot[i];

		v = name_find(t->suffixes, l.text + at, host.n - at, l.dot_hash[i], listener);
		if (v)
			return v;
	}
	return fallback;
}

static const struct route *
prefix_find(const struct vhost *v, const char *path, size_t n, uint32_t h)
{
	const struct prefix *found;

	HASH_FIND_BYHASHVALUE(hh, v->prefixes, path, n, h, found);
	return found ? found->route : NULL;
}

/* Keys of at most this many lengths are remembered on the way: two per segment. */
struct border {
	uint32_t n;
	uint32_t hash;
};

static const struct route *
path_find(const struct vhost *v, struct slice path)
{
	struct border borders[2 * CONFIG_SEGMENTS_MAX + 2];
	unsigned count = 0;
	uint32_t h = HASH_START;
	size_t end = path.n < v->longest ? path.n : v->longest;

	if (v->longest <= 1)
		return v->root;
	/* "/x" ends before a slash or at the end of the path, "/x/" behind its slash. */
	for (size_t i = 0; i < end && count < 2 * CONFIG_SEGMENTS_MAX + 2; i++) {
		h = hash_add(h, path.p[i]);
		if (!(v->lengths >> ((i + 1) % 64) & 1))
			continue;
		if (path.p[i] == '/' || i + 1 == path.n || path.p[i + 1] == '/')
			borders[count++] = (struct border){ (uint32_t)i + 1, hash_end(h) };
	}
	while (count-- > 0) {
		const struct route *r =
			prefix_find(v, path.p, borders[count].n, borders[count].hash);

		if (r)
			return r;
	}
	return v->root; /* also for "*" */
}

enum route_result
route_find(const struct route_table *t, const struct listener *on, struct slice host,
	struct slice path, const struct route **out)
{
	const struct vhost *v = host_find(t, on->index, host);

	if (!v)
		return ROUTE_NO_HOST;
	*out = path_find(v, path);
	return *out ? ROUTE_FOUND : ROUTE_NO_PATH;
}
