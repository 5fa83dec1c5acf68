/*
 * Which route answers: by table, and against a matcher that tries everything.
 */
#include "tests/unit/routerd/http_fixture.h"

#include <time.h>

#include "routerd/route.h"

/* None of these tests looks pools up. */
void
pool_unref(struct pool *p)
{
	(void)p;
}

static const char conf[] =
	"pools: {p: {servers: [{address: 'h:1'}]}}\n"
	"http:\n"
	"  listen: [{name: http, address: '*:80'}, {name: https, from: tlsd}]\n"
	"  hosts:\n"
	"    - {names: ['*'], listen: http, routes: [{path: /, redirect: {scheme: https}}]}\n"
	"    - names: [api.example.com, api.example.net]\n"
	"      listen: https\n"
	"      routes: [{path: /api/users/, pool: p}, {path: /ws, pool: p}, {path: /api/, pool: "
	"p}, {path: /, pool: p}]\n"
	"    - {names: '*.example.com', routes: [{path: /s1, pool: p}]}\n"
	"    - {names: '*.deep.example.com', routes: [{path: /, pool: p}]}\n"
	"    - {names: only.example.com, listen: http, routes: [{path: /, pool: p}]}\n"
	"    - {names: ['[::1]'], routes: [{path: /, pool: p}]}\n";

struct found {
	const char *listener, *host, *path;
	const char *route; /* NULL: no host; "": no path */
};

static const struct found founds[] = {
	{ "https", "api.example.com", "/", "api.example.com/" },
	{ "https", "API.Example.COM", "/x", "api.example.com/" },
	{ "https", "api.example.com.", "/x", "api.example.com/" },
	{ "https", "api.example.net", "/ws", "api.example.com/ws" },
	/* segment borders */
	{ "https", "api.example.com", "/ws/", "api.example.com/ws" },
	{ "https", "api.example.com", "/ws/x", "api.example.com/ws" },
	{ "https", "api.example.com", "/wsx", "api.example.com/" },
	{ "https", "api.example.com", "/w", "api.example.com/" },
	{ "https", "api.example.com", "/api", "api.example.com/" },
	{ "https", "api.example.com", "/api/", "api.example.com/api/" },
	{ "https", "api.example.com", "/api/x", "api.example.com/api/" },
	{ "https", "api.example.com", "/api/users", "api.example.com/api/" },
	{ "https", "api.example.com", "/api/users/", "api.example.com/api/users/" },
	{ "https", "api.example.com", "/api/users/42/x", "api.example.com/api/users/" },
	{ "https", "api.example.com", "/API/", "api.example.com/" },
	{ "https", "api.example.com", "*", "api.example.com/" },
	{ "https", "api.example.com", "", "api.example.com/" },
	/* the name on another listener */
	{ "http", "api.example.com", "/s1", "*.example.com/s1" },
	{ "http", "only.example.com", "/", "only.example.com/" },
	{ "https", "only.example.com", "/s1", "*.example.com/s1" },
	/* suffixes: the longest; not the bare domain; whole labels */
	{ "https", "a.example.com", "/s1/x", "*.example.com/s1" },
	{ "https", "a.b.example.com", "/s1", "*.example.com/s1" },
	{ "https", "a.deep.example.com", "/s1", "*.deep.example.com/" },
	{ "https", "deep.example.com", "/s1", "*.example.com/s1" },
	{ "https", "a.example.com", "/", "" },
	{ "https", "a.example.com", "*", "" },
	{ "https", "example.com", "/s1", NULL },
	{ "https", ".example.com", "/s1", NULL },
	{ "https", "xexample.com", "/s1", NULL },
	/* the default */
	{ "http", "nobody", "/x", "*/" },
	{ "http", "", "/x", "*/" },
	{ "https", "nobody", "/x", NULL },
	{ "https", "", "/x", NULL },
	{ "https", ".", "/x", NULL },
	{ "https", "[::1]", "/x", "[::1]/" },
};

static void
test_table(void **state)
{
	struct snapshot *s = fixture_snapshot(conf);

	(void)state;
	for (size_t i = 0; i < sizeof(founds) / sizeof(*founds); i++) {
		const struct found *f = &founds[i];
		const struct route *r = NULL;
		enum route_result got = route_find(s->routes, snapshot_listener(s, f->listener),
			slice_str(f->host), slice_str(f->path), &r);
		enum route_result want = !f->route ? ROUTE_NO_HOST
			: f->route[0]              ? ROUTE_FOUND
						   : ROUTE_NO_PATH;

		if (got != want || (got == ROUTE_FOUND && strcmp(r->name, f->route) != 0))
			fail_msg("%s %s%s: %d %s", f->listener, f->host, f->path, got,
				got == ROUTE_FOUND ? r->name : "-");
	}
	snapshot_unref(s);
}

/* A host longer than a name can be is nobody's, whatever it ends with. */
static void
test_long_host(void **state)
{
	struct snapshot *s = fixture_snapshot(conf);
	const struct route *r;

	(void)state;
	for (size_t n = 200; n <= 400; n++) {
		char *host = xmalloc(n);

		for (size_t i = 0; i < n; i++)
			host[i] = i % 2 ? '.' : 'a';
		memcpy(host + n - 12, ".example.com", 12);
		assert_int_equal(route_find(s->routes, snapshot_listener(s, "https"),
					 slice_make(host, n), SLICE("/s1"), &r),
			n <= 255 ? ROUTE_FOUND : ROUTE_NO_HOST);
		free(host);
	}
	snapshot_unref(s);
}

/* --- against a matcher that tries everything --- */

static bool
naive_match(const char *prefix, const char *path)
{
	size_t n = strlen(prefix);

	if (strncmp(prefix, path, n) != 0)
		return false;
	return prefix[n - 1] == '/' || path[n] == '\0' || path[n] == '/';
}

static const struct route *
naive_find(const struct snapshot *s, const char *path)
{
	const struct route *best = NULL;

	for (unsigned i = 0; i < s->route_count; i++)
		if (naive_match(s->route_v[i].path.p, path) &&
			(!best || s->route_v[i].path.n > best->path.n))
			best = &s->route_v[i];
	return best;
}

/* A path of few, alike segments, so that borders and look-alikes meet often. */
static void
random_path(char *out, unsigned segments)
{
	static const char *const parts[] = { "a", "b", "ab", "aa", "b-a", "abcdefghij", "%2F" };

	out[0] = '\0';
	for (unsigned i = 0; i < segments; i++) {
		strcat(out, "/");
		strcat(out, parts[(unsigned)rand() % 7]);
	}
	if (segments == 0 || rand() % 2)
		strcat(out, "/");
}

static int
cmp_str(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct snapshot *
random_snapshot(unsigned routes)
{
	struct sbuf text = { 0 };
	char **paths = xcalloc(routes, sizeof(*paths));
	char path[1024];

	for (unsigned i = 0; i < routes; i++) {
		random_path(path, (unsigned)rand() % 6);
		paths[i] = xstrdup(path);
	}
	qsort(paths, routes, sizeof(*paths), cmp_str);
	sbuf_adds(&text,
		"http:\n  listen: [{name: a, address: '*:80'}]\n"
		"  hosts: [{names: '*', routes: [\n");
	for (unsigned i = 0; i < routes; i++)
		if (i == 0 || strcmp(paths[i], paths[i - 1]) != 0)
			sbuf_addf(&text, "{path: '%s', respond: 204},\n", paths[i]);
	sbuf_adds(&text, "]}]\n");

	struct snapshot *s = fixture_snapshot(text.p);

	for (unsigned i = 0; i < routes; i++)
		free(paths[i]);
	free(paths);
	sbuf_fini(&text);
	return s;
}

static void
test_against_naive(void **state)
{
	char path[1024];

	(void)state;
	srand(7);
	for (unsigned round = 0; round < 40; round++) {
		struct snapshot *s = random_snapshot(1 + (unsigned)rand() % 200);

		for (unsigned i = 0; i < 2000; i++) {
			const struct route *got = NULL;
			const struct route *want;
			enum route_result r;

			random_path(path, (unsigned)rand() % 9);
			want = naive_find(s, path);
			r = route_find(s->routes, s->listeners, SLICE("x"), slice_str(path), &got);
			if (r != (want ? ROUTE_FOUND : ROUTE_NO_PATH) || (want && got != want))
				fail_msg("%s: %s instead of %s", path, got ? got->name : "-",
					want ? want->name : "-");
		}
		snapshot_unref(s);
	}
}

/* Many names and many routes: everything is found where it was put. */
static void
test_many(void **state)
{
	struct sbuf text = { 0 };

	(void)state;
	sbuf_adds(&text, "http:\n  listen: [{name: a, address: '*:80'}]\n  hosts:\n");
	for (unsigned i = 0; i < 300; i++) {
		sbuf_addf(&text, "  - {names: [h%u.example, '*.w%u.example'], routes: [", i, i);
		for (unsigned k = 0; k < 10; k++)
			sbuf_addf(&text, "{path: /p%u/, respond: 204},", k);
		sbuf_adds(&text, "]}\n");
	}

	struct snapshot *s = fixture_snapshot(text.p);

	for (unsigned i = 0; i < 3000; i++) {
		char host[64];
		char path[64];
		const struct route *r = NULL;

		snprintf(host, sizeof(host), i % 2 ? "h%u.example" : "x.y.w%u.example", i / 10);
		snprintf(path, sizeof(path), "/p%u/x/y", i % 10);
		assert_int_equal(
			route_find(s->routes, s->listeners, slice_str(host), slice_str(path), &r),
			ROUTE_FOUND);
		assert_ptr_equal(r, &s->route_v[i]);
	}
	snapshot_unref(s);
	sbuf_fini(&text);
}

/* --- paths --- */

struct normal {
	const char *in;
	enum path_result result;
	const char *out;
};

static const struct normal normals[] = {
	{ "/", PATH_OK, "/" },
	{ "/a/b", PATH_OK, "/a/b" },
	{ "/a/b/", PATH_OK, "/a/b/" },
	{ "*", PATH_OK, "*" },
	{ "", PATH_OK, "" },
	{ "//", PATH_OK, "/" },
	{ "//a///b//", PATH_OK, "/a/b/" },
	{ "/./a/./b/.", PATH_OK, "/a/b/" },
	{ "/a/../b", PATH_OK, "/b" },
	{ "/a/b/..", PATH_OK, "/a/" },
	{ "/a/b/../", PATH_OK, "/a/" },
	{ "/a/b/../../c", PATH_OK, "/c" },
	{ "/a//../b", PATH_OK, "/b" },
	{ "/..", PATH_ABOVE_ROOT, NULL },
	{ "/../a", PATH_ABOVE_ROOT, NULL },
	{ "/a/../..", PATH_ABOVE_ROOT, NULL },
	{ "/a/../../b", PATH_ABOVE_ROOT, NULL },
	{ "/%2e%2e/a", PATH_ABOVE_ROOT, NULL },
	{ "/.%2E/a", PATH_ABOVE_ROOT, NULL },
	{ "/a/%2e%2e/b", PATH_OK, "/b" },
	{ "/a/%2e/b", PATH_OK, "/a/b" },
	{ "/...", PATH_OK, "/..." },
	{ "/.a/..b", PATH_OK, "/.a/..b" },
	{ "/%61%62c", PATH_OK, "/abc" },
	{ "/a%2fb", PATH_OK, "/a%2Fb" },
	{ "/a%2Fb", PATH_OK, "/a%2Fb" },
	{ "/a%252Fb", PATH_OK, "/a%252Fb" },
	{ "/%25", PATH_OK, "/%25" },
	{ "/..%2f..", PATH_OK, "/..%2F.." },
	{ "/a%20b%3F", PATH_OK, "/a b?" },
	{ "/%C3%A9", PATH_OK, "/\xC3\xA9" },
	{ "/a%00", PATH_NUL, NULL },
	{ "/%", PATH_BAD_PERCENT, NULL },
	{ "/%2", PATH_BAD_PERCENT, NULL },
	{ "/%2/", PATH_BAD_PERCENT, NULL },
	{ "/%2g", PATH_BAD_PERCENT, NULL },
	{ "/%u0041", PATH_BAD_PERCENT, NULL },
};

/* Normalise from and to memory of exactly the promised size. */
static enum path_result
normalise(const char *in, char *out, size_t *n)
{
	size_t len = strlen(in);
	char *copy = xmalloc(len + !len);
	char *buf = xmalloc(len + !len);
	struct slice got = { 0 };
	enum path_result r;

	memcpy(copy, in, len);
	r = route_normalise(slice_make(copy, len), buf, &got);
	if (r == PATH_OK) {
		*n = got.n;
		memcpy(out, got.p, got.n);
		out[got.n] = '\0';
	}
	free(copy);
	free(buf);
	return r;
}

static void
test_normalise(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(normals) / sizeof(*normals); i++) {
		char out[64] = "";
		size_t n;
		enum path_result r = normalise(normals[i].in, out, &n);

		if (r != normals[i].result || (r == PATH_OK && strcmp(out, normals[i].out) != 0))
			fail_msg("%s: %d %s", normals[i].in, r, out);
	}
}

/* What is normal stays as it is, and never holds what normalising is there to remove. */
static void
test_normalise_is_stable(void **state)
{
	static const char *const parts[] = { "/", "/", ".", "..", "%2e", "%2F", "%25", "a", "%61" };

	(void)state;
	srand(3);
	for (unsigned i = 0; i < 100000; i++) {
		char in[64] = "/", once[64], twice[64];
		size_t n;

		for (unsigned k = 0; k < 8; k++)
			strcat(in, parts[(unsigned)rand() % 9]);
		if (normalise(in, once, &n) != PATH_OK)
			continue;
		assert_int_equal(normalise(once, twice, &n), PATH_OK);
		if (strcmp(once, twice) != 0)
			fail_msg("%s: %s, then %s", in, once, twice);
		if (strstr(once, "//") || strstr(once, "/./") || strstr(once, "/../"))
			fail_msg("%s: %s", in, once);
	}
}

struct strip {
	const char *strip, *in, *out;
};

static const struct strip strips[] = {
	{ "", "/api/x", "/api/x" },
	{ "", "/a/../x", "/a/../x" },
	{ "/api/users", "/api/users/42", "/42" },
	{ "/api/users", "/api/users/", "/" },
	{ "/api/users", "/api/users", "/" },
	{ "/api", "/api/a%20b", "/a%20b" },
	{ "/api", "/api/a%2Fb%2fc", "/a%2Fb%2fc" },
	{ "/api", "/%61pi/x", "/x" },
	{ "/api", "//api//x", "/x" },
	{ "/api", "/./api/x", "/x" },
	{ "/api", "/y/../api/x", "/x" },
	{ "/api", "/api/../api/x", "/x" },
	{ "/api", "/api/./x", "/x" },
	{ "/api", "/api/y/../x", "/x" },
	{ "/api", "/api/y/%2e%2e/x", "/x" },
	{ "/api", "/api/x/..", "/" },
	{ "/api", "/api/..%2f", "/..%2f" },
	{ "/api/users", "/api/users/42/../../users/7", "/7" },
	{ "/api", "/api//evil.example/x", "/evil.example/x" },
	{ "/api", "/api/.well-known/x", "/.well-known/x" },
	{ "/api", "*", "*" },
};

static void
test_strip(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	for (size_t i = 0; i < sizeof(strips) / sizeof(*strips); i++) {
		struct route r = { .strip = slice_str(strips[i].strip) };
		size_t n = strlen(strips[i].in);
		char *copy = xmalloc(n);

		memcpy(copy, strips[i].in, n);

		struct slice got = route_strip(&r, slice_make(copy, n), &a);

		if (!slice_eq(got, slice_str(strips[i].out)))
			fail_msg("%s without %s: %.*s", strips[i].in, strips[i].strip,
				SLICE_ARG(got));
		free(copy);
	}
	arena_fini(&a);
}

/* Normalising and stripping commute: the server sees under its root what the route matched. */
static void
test_strip_stays_inside(void **state)
{
	static const char *const parts[] = { "/", "/", "..", ".", "api", "x", "%2e", "%61pi" };
	struct route r = { .strip = SLICE("/api") };
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	srand(5);
	for (unsigned i = 0; i < 100000; i++) {
		char in[64] = "/", all[64], rest[64], stripped[64];
		size_t n;

		for (unsigned k = 0; k < 7; k++)
			strcat(in, parts[(unsigned)rand() % 8]);
		if (normalise(in, all, &n) != PATH_OK || !naive_match("/api", all))
			continue;

		struct slice got = route_strip(&r, slice_str(in), &a);

		snprintf(stripped, sizeof(stripped), "%.*s", SLICE_ARG(got));
		assert_int_equal(normalise(stripped, rest, &n), PATH_OK);
		if (strcmp(rest, all[4] ? all + 4 : "/") != 0)
			fail_msg("%s: %s, normal %s against %s", in, stripped, rest, all);
		arena_reset(&a);
	}
	arena_fini(&a);
}

/* --- speed --- */

/* Prints only: time is no promise of a unit test. */
static void
test_speed(void **state)
{
	struct snapshot *s = fixture_snapshot(conf);
	const struct listener *on = snapshot_listener(s, "https");
	struct timespec t0, t1;
	unsigned n = 1000000;
	unsigned hits = 0;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (unsigned i = 0; i < n; i++) {
		const struct route *r;
		struct slice path = SLICE("/api/users/42");
		char buf[64];

		route_normalise(path, buf, &path);
		hits += route_find(s->routes, on, SLICE("api.example.com"), path, &r) ==
			ROUTE_FOUND;
		__asm__ volatile("" ::: "memory");
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	assert_int_equal(hits, n);
	print_message("%.0f ns for a look-up\n",
		((double)(t1.tv_sec - t0.tv_sec) * 1e9 + (double)(t1.tv_nsec - t0.tv_nsec)) / n);
	snapshot_unref(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_long_host),
		cmocka_unit_test(test_against_naive),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_normalise),
		cmocka_unit_test(test_normalise_is_stable),
		cmocka_unit_test(test_strip),
		cmocka_unit_test(test_strip_stays_inside),
		cmocka_unit_test(test_speed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
