/*
 * config_check: what can be said of the `http` section only as a whole: names that must exist or
 * must not exist twice, routes that nothing can reach. Called once after everything is bound; has
 * no effects besides findings.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "routerd/config_parts.h"
#include "routerd/route.h"

struct checker {
	struct cfg_ctx *ctx;
	const struct daemon_cfg *dc;
	const struct httpcfg *http;
};

static void __attribute__((format(printf, 4, 5)))
warn(struct checker *c, const struct cfg_node *node, const char *path, const char *fmt, ...)
{
	struct sbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	sbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	errs_add(c->ctx->errs, FINDING_WARNING, cfg_at(c->ctx->cfg, node), path, "%s", text.p);
	sbuf_fini(&text);
}

static const struct listencfg *
listen_at(const struct httpcfg *http, size_t i)
{
	return CFG_AT(const struct listencfg, http->listen, i);
}

static const char *
host_path(struct checker *c, size_t host, const char *key)
{
	return arena_printf(c->ctx->arena, "http.hosts[%zu]%s%s", host, key[0] ? "." : "", key);
}

static const char *
route_path(struct checker *c, size_t host, size_t route, const char *key)
{
	return arena_printf(c->ctx->arena, "http.hosts[%zu].routes[%zu].%s", host, route, key);
}

/* --- listeners ---------------------------------------------------------------------------------
 */

static size_t
listen_index(const struct httpcfg *http, const char *name)
{
	size_t i = 0;

	while (i < http->listen.n && strcmp(listen_at(http, i)->name, name) != 0)
		i++;
	return i;
}

uint64_t
config_host_listeners(const struct httpcfg *http, const struct hostcfg *host)
{
	uint64_t all = http->listen.n >= 64 ? UINT64_MAX : (UINT64_C(1) << http->listen.n) - 1;
	uint64_t mask = 0;

	if (host->listen.n == 0)
		return all;
	for (size_t i = 0; i < host->listen.n; i++) {
		size_t at = listen_index(http, *CFG_AT(char *, host->listen, i));

		if (at < http->listen.n && at < 64)
			mask |= UINT64_C(1) << at;
	}
	return mask;
}

/* The same socket, as far as the text tells. Port 0 is a new one each time. */
static bool
same_address(const struct listencfg *a, const struct listencfg *b)
{
	if (a->from != LISTEN_ADDRESS || b->from != LISTEN_ADDRESS)
		return false;
	if (a->address.kind != b->address.kind || a->address.kind == ADDR_NAME)
		return false;
	if (a->address.kind == ADDR_IP &&
		(a->address.port == 0 || a->address.port != b->address.port))
		return false;
	if (a->address.is_any || b->address.is_any)
		return a->address.is_any && b->address.is_any;
	return addr_eq(&a->address.addr, &b->address.addr);
}

static void
check_listeners(struct checker *c)
{
	for (size_t i = 0; i < c->http->listen.n; i++) {
		const struct listencfg *l = listen_at(c->http, i);

		for (size_t k = 0; k < i; k++) {
			const struct listencfg *first = listen_at(c->http, k);

			if (strcmp(first->name, l->name) == 0)
				cfg_error(c->ctx, config_place(l->node, "name"),
					arena_printf(c->ctx->arena, "http.listen[%zu].name", i),
					"\"%s\" is the name of the listener at line %u already, "
					"expected another",
					l->name, first->node->line);
			if (same_address(first, l))
				cfg_error(c->ctx, config_place(l->node, "address"),
					arena_printf(c->ctx->arena, "http.listen[%zu].address", i),
					"%s is used by listener \"%s\" (line %u) already, expected "
					"another",
					l->address_text, first->name, first->node->line);
		}
	}
}

/* The paths of the sockets that tlsd reaches us by must fit into an address. */
static void
check_socket_paths(struct checker *c)
{
	static const char longest[] = "/00000000.handoff";
	size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	for (size_t i = 0; i < c->http->listen.n; i++) {
		const struct listencfg *l = listen_at(c->http, i);

		if (l->from != LISTEN_TLSD || !c->dc->common.run_dir)
			continue;

		size_t n = strlen(c->dc->common.run_dir) + 1 + strlen(l->name) + strlen(longest);

		if (n > max)
			cfg_error(c->ctx, config_place(l->node, "name"),
				arena_printf(c->ctx->arena, "http.listen[%zu].name", i),
				"the socket's path in run_dir would be too long for the system by "
				"%zu bytes, expected a shorter name or run_dir",
				n - max);
	}
}

/* --- names that must exist ---------------------------------------------------------------------
 */

static const char *
next_listener(const void *arg, size_t i)
{
	const struct httpcfg *http = arg;

	return i < http->listen.n ? listen_at(http, i)->name : NULL;
}

static const char *
next_pool(const void *arg, size_t i)
{
	const struct commoncfg *common = arg;

	return i < common->pools.n ? CFG_AT(const struct poolcfg, common->pools, i)->name : NULL;
}

static void
unknown_name(struct checker *c, const struct cfg_node *node, const char *path, const char *what,
	const char *name, const char *(*next)(const void *, size_t), const void *arg)
{
	const char *meant = err_did_you_mean(name, next, arg);

	if (meant)
		cfg_error(c->ctx, node, path, "no %s is called \"%s\", did you mean \"%s\"?", what,
			name, meant);
	else
		cfg_error(c->ctx, node, path, "no %s is called \"%s\", expected one of those in %s",
			what, name, strcmp(what, "pool") == 0 ? "pools" : "http.listen");
}

static void
check_host_listen(struct checker *c, const struct hostcfg *h, size_t host)
{
	const struct cfg_node *list = config_place(h->node, "listen");
	const char *path = host_path(c, host, "listen");

	for (size_t i = 0; i < h->listen.n; i++) {
		const char *name = *CFG_AT(char *, h->listen, i);

		if (listen_index(c->http, name) == c->http->listen.n)
			unknown_name(c, list, path, "listener", name, next_listener, c->http);
		for (size_t k = 0; k < i; k++)
			if (strcmp(name, *CFG_AT(char *, h->listen, k)) == 0)
				cfg_error(c->ctx, list, path, "\"%s\" stands there twice", name);
	}
}

/* --- hosts that meet ---------------------------------------------------------------------------
 */

/* One name of one host. */
struct claim {
	const char *name;
	size_t host;
	size_t order;
	uint64_t listeners;
};

static int
claim_cmp(const void *a, const void *b)
{
	const struct claim *x = a;
	const struct claim *y = b;
	int c = strcmp(x->name, y->name);

	if (c != 0)
		return c;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void
claim_report(struct checker *c, const struct claim *first, const struct claim *again)
{
	const struct hostcfg *h = CFG_AT(const struct hostcfg, c->http->hosts, again->host);
	const struct hostcfg *f = CFG_AT(const struct hostcfg, c->http->hosts, first->host);
	uint64_t both = first->listeners & again->listeners;
	struct err_at at = cfg_at(c->ctx->cfg, config_place(f->node, "names"));

	cfg_error(c->ctx, config_place(h->node, "names"), host_path(c, again->host, "names"),
		"\"%s\" is answered on listener \"%s\" already, at %s:%u:%u; expected a name once "
		"per listener",
		again->name, listen_at(c->http, (size_t)__builtin_ctzll(both))->name, at.file,
		at.line, at.col);
}

/* v[0..n) have one name, in the order they stand in the file. */
static void
check_claims(struct checker *c, const struct claim *v, size_t n)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < n; i++) {
		size_t first = 0;

		if (seen & v[i].listeners) {
			while (!(v[first].listeners & v[i].listeners))
				first++;
			claim_report(c, &v[first], &v[i]);
		}
		seen |= v[i].listeners;
	}
}

static void
check_host_names(struct checker *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->http->hosts.n; i++)
		n += CFG_AT(const struct hostcfg, c->http->hosts, i)->names.n;

	struct claim *v = arena_calloc(c->ctx->arena, n + 1, sizeof(*v));
	size_t at = 0;

	for (size_t i = 0; i < c->http->hosts.n; i++) {
		const struct hostcfg *h = CFG_AT(const struct hostcfg, c->http->hosts, i);

		for (size_t k = 0; k < h->names.n; k++, at++)
			v[at] = (struct claim){ *CFG_AT(char *, h->names, k), i, at,
				config_host_listeners(c->http, h) };
	}
	qsort(v, n, sizeof(*v), claim_cmp);
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && strcmp(v[end].name, v[i].name) == 0; end++)
			;
		check_claims(c, v + i, end - i);
	}
}

/* A listener where no host answers: every request there ends in an error. */
static void
check_idle_listeners(struct checker *c)
{
	uint64_t used = 0;

	for (size_t i = 0; i < c->http->hosts.n; i++)
		used |= config_host_listeners(
			c->http, CFG_AT(const struct hostcfg, c->http->hosts, i));
	for (size_t i = 0; i < c->http->listen.n && i < 64; i++)
		if (!(used >> i & 1))
			warn(c, listen_at(c->http, i)->node,
				arena_printf(c->ctx->arena, "http.listen[%zu]", i),
				"no host answers on listener \"%s\"", listen_at(c->http, i)->name);
}

/* --- routes ------------------------------------------------------------------------------------
 */

static int
route_cmp(const void *a, const void *b)
{
	const struct routecfg *x = *(const struct routecfg *const *)a;
	const struct routecfg *y = *(const struct routecfg *const *)b;
	int c = strcmp(x->path, y->path);

	return c != 0 ? c : x < y ? -1 : x > y;
}

static void
check_same_paths(struct checker *c, const struct hostcfg *h, size_t host)
{
	const struct routecfg *first = CFG_AT(const struct routecfg, h->routes, 0);
	const struct routecfg **v = arena_calloc(c->ctx->arena, h->routes.n + 1, sizeof(*v));

	for (size_t i = 0; i < h->routes.n; i++)
		v[i] = first + i;
	qsort(v, h->routes.n, sizeof(*v), route_cmp);
	for (size_t i = 1; i < h->routes.n; i++)
		if (strcmp(v[i]->path, v[i - 1]->path) == 0)
			cfg_error(c->ctx, config_place(v[i]->node, "path"),
				route_path(c, host, (size_t)(v[i] - first), "path"),
				"\"%s\" has a route at line %u already, expected a path once",
				v[i]->path, v[i - 1]->node->line);
}

/* Routes match on the normalised path: one that is spelled otherwise never matches. */
static void
check_reachable(struct checker *c, const struct routecfg *r, size_t host, size_t route)
{
	struct slice path = slice_str(r->path);
	struct slice normal;
	char *buf = arena_alloc(c->ctx->arena, path.n + 1);
	const struct cfg_node *at = config_place(r->node, "path");
	const char *where = route_path(c, host, route, "path");

	if (route_normalise(path, buf, &normal) != PATH_OK)
		warn(c, at, where, "\"%s\" is never reached: such requests are refused", r->path);
	else if (!slice_eq(path, normal))
		warn(c, at, where,
			"\"%s\" is never reached: paths are normalised first, expected \"%.*s\"",
			r->path, SLICE_ARG(normal));
}

static bool
names_have(const struct hostcfg *h, const char *name)
{
	for (size_t i = 0; i < h->names.n; i++)
		if (strcasecmp(*CFG_AT(char *, h->names, i), name) == 0)
			return true;
	return false;
}

/* A redirect that changes nothing sends clients round in circles. */
static void
check_redirect_loop(struct checker *c, const struct hostcfg *h, size_t host, size_t route)
{
	const struct routecfg *r = CFG_AT(const struct routecfg, h->routes, route);
	const struct redirectcfg *to = &r->redirect;
	uint64_t mask = config_host_listeners(c->http, h);

	if (!to->is_set || (to->path && strcmp(to->path, r->path) != 0))
		return;
	if (to->host && !names_have(h, to->host))
		return;
	for (size_t i = 0; i < c->http->listen.n && i < 64; i++) {
		const struct listencfg *l = listen_at(c->http, i);

		if (!(mask >> i & 1) ||
			(to->scheme && strcmp(config_listen_scheme(l), to->scheme) != 0))
			continue;
		warn(c, config_place(r->node, "redirect"), route_path(c, host, route, "redirect"),
			"on listener \"%s\" it leads back to itself", l->name);
		return;
	}
}

static void
check_routes(struct checker *c, const struct hostcfg *h, size_t host)
{
	for (size_t i = 0; i < h->routes.n; i++) {
		const struct routecfg *r = CFG_AT(const struct routecfg, h->routes, i);

		if (r->pool && !commoncfg_pool(&c->dc->common, r->pool))
			unknown_name(c, config_place(r->node, "pool"),
				route_path(c, host, i, "pool"), "pool", r->pool, next_pool,
				&c->dc->common);
		check_reachable(c, r, host, i);
		check_redirect_loop(c, h, host, i);
	}
	check_same_paths(c, h, host);
}

/* An ACME client may make it later; a name that is spelled wrong should not be found out then. */
static void
check_tokens(struct checker *c)
{
	const char *dir = c->http->acme_tokens;
	struct stat st;

	if (dir != NULL && (stat(dir, &st) < 0 ? errno == ENOENT : !S_ISDIR(st.st_mode)))
		warn(c, cfg_get(cfg_get(cfg_get(c->ctx->cfg->root, "http"), "acme"), "tokens"),
			"http.acme.tokens", "%s: there is no such folder", dir);
}

void
config_check(struct cfg_ctx *ctx, struct daemon_cfg *dc)
{
	struct checker c = { ctx, dc, dc->own };

	check_listeners(&c);
	check_socket_paths(&c);
	check_tokens(&c);
	config_headers_check(ctx, dc->own);
	for (size_t i = 0; i < c.http->hosts.n; i++) {
		const struct hostcfg *h = CFG_AT(const struct hostcfg, c.http->hosts, i);

		check_host_listen(&c, h, i);
		check_routes(&c, h, i);
	}
	check_host_names(&c);
	check_idle_listeners(&c);
}
