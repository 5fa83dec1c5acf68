/*
 * config_headers: the schema of `headers`, which stands in http, in hosts and in routes, and what
 * can be said of one of them alone.
 */
#include "routerd/config_parts.h"

#include "libcommon/http1.h"
#include "routerd/template.h"

/* A name in one of the lists of a direction. */
struct mention {
	const char *key;
	const char *name;
	const struct cfg_node *node;
	bool is_value; /* it has one, so that it is set or added */
};

/* --- names ----------------------------------------------------------------------------------- */

/* Those that say how long a message is and what its connection does: the encoders write them. */
static bool
is_our_own(enum field_id id, enum var_when when)
{
	return id == FIELD_CONTENT_LENGTH || id == FIELD_TRAILER || id == FIELD_EXPECT ||
		(id == FIELD_DATE && when == VAR_RESPONSE) || (field_flags(id) & FIELD_HOP);
}

static void
check_name(struct cfg_ctx *ctx, const struct mention *m, const char *path, enum var_when when)
{
	struct slice name = slice_str(m->name);
	enum field_id id = field_id_of(name);

	if (!http1_is_token(name))
		cfg_error(ctx, m->node, path, "\"%s\" cannot be a field's name", m->name);
	else if (is_our_own(id, when))
		cfg_error(ctx, m->node, path, "%s is written by routerd itself, expected another",
			m->name);
	else if (id == FIELD_HOST && when == VAR_RESPONSE)
		cfg_error(ctx, m->node, path, "Host is no field of answers, expected another");
	else if (id == FIELD_HOST && strcmp(m->key, "set") != 0)
		cfg_error(ctx, m->node, path, "every request has a Host, expected it under set");
}

static bool
is_host(const char *name)
{
	return field_id_of(slice_str(name)) == FIELD_HOST;
}

/* Without variables it is known before any request is. */
static void
check_host(struct cfg_ctx *ctx, const struct mention *m, const char *path)
{
	struct slice text = slice_trim(m->node->text);
	struct slice host;
	uint16_t port;

	if (text.n > 0 && !http1_host(text, &host, &port))
		cfg_error(ctx, m->node, path, "\"%.*s\" is no host, expected NAME or NAME:PORT",
			SLICE_ARG(text));
}

static void
check_value(struct cfg_ctx *ctx, const struct mention *m, const char *path, enum var_when when)
{
	struct template t;
	const char *problem;

	if (!http1_is_value(m->node->text)) {
		cfg_error(ctx, m->node, path, "the value of %s has control characters", m->name);
		return;
	}
	problem = template_parse(m->node, when, &t, ctx->arena);
	if (problem != NULL)
		cfg_error(ctx, m->node, path, "%s: %s", m->name, problem);
	else if (is_host(m->name) && m->node->var_count == 0)
		check_host(ctx, m, path);
}

/* --- a direction ----------------------------------------------------------------------------- */

struct mentions {
	struct mention *v;
	size_t n;
};

static void
collect_names(struct mentions *m, const char *key, const struct cfg_list *names,
	const struct cfg_node *node)
{
	for (size_t i = 0; i < names->n; i++)
		m->v[m->n++] = (struct mention){ key, *CFG_AT(char *, *names, i), node, false };
}

static void
collect_pairs(struct mentions *m, const char *key, const struct cfg_list *pairs)
{
	for (size_t i = 0; i < pairs->n; i++) {
		const struct cfg_pair *p = CFG_AT(const struct cfg_pair, *pairs, i);

		m->v[m->n++] = (struct mention){ key, p->name, p->node, true };
	}
}

/* One that has several values stands there several times; Host has one. */
static void
check_once(struct cfg_ctx *ctx, const struct mentions *m, size_t at, const char *path)
{
	const struct mention *one = &m->v[at];

	for (size_t i = 0; i < at; i++) {
		const struct mention *other = &m->v[i];

		if (!slice_caseeq(slice_str(other->name), slice_str(one->name)) ||
			(one->is_value && !is_host(one->name) &&
				strcmp(one->key, other->key) == 0 &&
				strcmp(one->name, other->name) == 0))
			continue;
		cfg_error(ctx, one->node, path, "%s stands under %s already, expected it once",
			one->name, other->key);
		return;
	}
}

/* How many fields it gives a message. */
static size_t
value_count(const struct headerset *h)
{
	return h->set.n + h->add.n + h->otherwise.n;
}

static void
check_set(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path,
	const struct headerset *h, enum var_when when)
{
	struct mentions m = { 0 };

	m.v = arena_calloc(ctx->arena, value_count(h) + h->hide.n + h->pass.n, sizeof(*m.v));
	collect_names(&m, "hide", &h->hide, config_place(node, "hide"));
	collect_names(&m, "pass", &h->pass, config_place(node, "pass"));
	collect_pairs(&m, "set", &h->set);
	collect_pairs(&m, "add", &h->add);
	collect_pairs(&m, "default", &h->otherwise);
	for (size_t i = 0; i < m.n; i++) {
		const char *where = config_path(ctx, path, m.v[i].key);

		check_name(ctx, &m.v[i], where, when);
		check_once(ctx, &m, i, where);
		if (m.v[i].is_value)
			check_value(ctx, &m.v[i], where, when);
	}
}

static void
check_request(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	check_set(ctx, node, path, obj, VAR_REQUEST);
}

static void
check_response(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	check_set(ctx, node, path, obj, VAR_RESPONSE);
}

/* --- all of them ----------------------------------------------------------------------------- */

/* Without room yet, names are only counted. */
static void
assert_name(struct cfg_list *names, char *name)
{
	if (names->v != NULL)
		*CFG_AT(char *, *names, names->n) = name;
	names->n++;
}

static void
assert_names(struct cfg_list *names, const struct headerset *h)
{
	for (size_t i = 0; i < h->hide.n; i++)
		assert_name(names, *CFG_AT(char *, h->hide, i));
	for (size_t i = 0; i < h->set.n; i++)
		assert_name(names, CFG_AT(struct cfg_pair, h->set, i)->name);
}

static void
assert_all(struct cfg_list *names, const struct httpcfg *http)
{
	names->n = 0;
	assert_names(names, &http->headers.request);
	for (size_t i = 0; i < http->hosts.n; i++) {
		const struct hostcfg *h = CFG_AT(const struct hostcfg, http->hosts, i);

		assert_names(names, &h->headers.request);
		for (size_t k = 0; k < h->routes.n; k++)
			assert_names(names,
				&CFG_AT(const struct routecfg, h->routes, k)->headers.request);
	}
}

static void
check_count(struct cfg_ctx *ctx, const struct cfg_node *route, const char *path, size_t n)
{
	if (n > CONFIG_HEADERS_MAX)
		cfg_error(ctx, config_place(route, "headers"), path,
			"%zu fields with those of http and host, expected at most %d", n,
			CONFIG_HEADERS_MAX);
}

static void
check_counts(struct cfg_ctx *ctx, const struct httpcfg *http, const struct hostcfg *h, size_t at)
{
	size_t request = value_count(&http->headers.request) + value_count(&h->headers.request);
	size_t response = value_count(&http->headers.response) + value_count(&h->headers.response);

	for (size_t i = 0; i < h->routes.n; i++) {
		const struct routecfg *r = CFG_AT(const struct routecfg, h->routes, i);
		const char *path =
			arena_printf(ctx->arena, "http.hosts[%zu].routes[%zu].headers", at, i);

		check_count(ctx, r->node, path, request + value_count(&r->headers.request));
		check_count(ctx, r->node, path, response + value_count(&r->headers.response));
	}
}

void
config_headers_check(struct cfg_ctx *ctx, struct httpcfg *http)
{
	struct cfg_list names = { 0 };

	for (size_t i = 0; i < http->hosts.n; i++)
		check_counts(ctx, http, CFG_AT(const struct hostcfg, http->hosts, i), i);
	assert_all(&names, http);
	names.v = arena_calloc(ctx->arena, names.n + 1, sizeof(char *));
	assert_all(&names, http);
	http->asserted = names;
}

/* --- the schema ------------------------------------------------------------------------------ */

static const struct cfg_row set_rows[] = {
	CFG_ROW(struct headerset, hide, "hide", CFGT_STRING_LIST,
		.help = "fields that go no further"),
	CFG_ROW(struct headerset, pass, "pass", CFGT_STRING_LIST,
		.help = "fields that rules further out leave alone here"),
	CFG_ROW(struct headerset, set, "set", CFGT_PAIRS, .flags = CFG_VARS | CFG_REPEAT,
		.help = "fields with these values, instead of what came"),
	CFG_ROW(struct headerset, add, "add", CFGT_PAIRS, .flags = CFG_VARS | CFG_REPEAT,
		.help = "fields with these values, beside what came"),
	CFG_ROW(struct headerset, otherwise, "default", CFGT_PAIRS, .flags = CFG_VARS | CFG_REPEAT,
		.help = "fields with these values, where none came"),
	CFG_END,
};

static const struct cfg_schema request_schema = {
	.name = "request",
	.size = sizeof(struct headerset),
	.rows = set_rows,
	.check = check_request,
};

static const struct cfg_schema response_schema = {
	.name = "response",
	.size = sizeof(struct headerset),
	.rows = set_rows,
	.check = check_response,
};

static const struct cfg_row header_rows[] = {
	CFG_ROW(struct headerscfg, request, "request", CFGT_MAP, .sub = &request_schema,
		.flags = CFG_OPTIONAL, .help = "of requests, on their way to servers"),
	CFG_ROW(struct headerscfg, response, "response", CFGT_MAP, .sub = &response_schema,
		.flags = CFG_OPTIONAL, .help = "of answers, on their way to clients"),
	CFG_END,
};

const struct cfg_schema headerscfg_schema = {
	.name = "headers",
	.size = sizeof(struct headerscfg),
	.rows = header_rows,
};
