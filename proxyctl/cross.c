/*
 * cross: tls.listen[].to and http.listen[] must agree, and not want the same address; and what one
 * asks of clients is of use to the other. It reads the tree and not the daemons' structs: what is
 * wrong inside a section is for its own daemon to say, and is skipped here.
 */
#include "proxyctl/cross.h"

#include <stdlib.h>

#include "libcommon/addr.h"
#include "libcommon/mem.h"

static const struct cfg_node *
listeners(const struct cfg *cfg, const char *section)
{
	const struct cfg_node *s = cfg_get(cfg->root, section);
	const struct cfg_node *l = cfg_get(s, "listen");

	return l != NULL && l->kind == CFG_SEQUENCE ? l : NULL;
}

static const struct cfg_node *
mapping(const struct cfg_node *map, const char *key)
{
	const struct cfg_node *n = cfg_get(map, key);

	return n != NULL && n->kind == CFG_MAPPING ? n : NULL;
}

static const struct cfg_node *
scalar(const struct cfg_node *map, const char *key)
{
	const struct cfg_node *n = cfg_get(map, key);

	return n != NULL && n->kind == CFG_SCALAR && !n->is_null ? n : NULL;
}

/* A name of ours: an address has a colon. */
static bool
is_listener_name(struct slice to)
{
	return to.n > 0 && slice_find(to, ':') == to.n;
}

static const struct cfg_node *
find_http(const struct cfg *cfg, struct slice name)
{
	const struct cfg_node *all = listeners(cfg, "http");

	for (const struct cfg_node *l = all ? all->first : NULL; l != NULL; l = l->next) {
		const struct cfg_node *n = scalar(l, "name");

		if (n != NULL && slice_eq(n->text, name))
			return l;
	}
	return NULL;
}

static bool
is_from_tlsd(const struct cfg_node *listener)
{
	const struct cfg_node *from = scalar(listener, "from");

	return from != NULL && slice_eq(from->text, SLICE("tlsd"));
}

static const char *
nth_fed(const void *arg, size_t i)
{
	const struct cfg_node *all = listeners(arg, "http");

	for (const struct cfg_node *l = all ? all->first : NULL; l != NULL; l = l->next) {
		const struct cfg_node *n = scalar(l, "name");

		if (n != NULL && is_from_tlsd(l) && i-- == 0)
			return n->text.p;
	}
	return NULL;
}

static void
check_to(const struct cfg *cfg, const struct cfg_node *to, size_t index, struct errs *errs)
{
	const struct cfg_node *http = find_http(cfg, to->text);
	char *path = xasprintf("tls.listen[%zu].to", index);

	if (http == NULL) {
		const char *meant = err_did_you_mean(to->text.p, nth_fed, cfg);

		errs_add(errs, FINDING_ERROR, cfg_at(cfg, to), path,
			"there is no http listener `%s`, expected the name of one with `from: "
			"tlsd`%s%s%s",
			to->text.p, meant ? "; did you mean `" : "", meant ? meant : "",
			meant ? "`?" : "");
	} else if (!is_from_tlsd(http)) {
		errs_add(errs, FINDING_ERROR, cfg_at(cfg, to), path,
			"the http listener `%s` takes connections from an address, expected one "
			"with `from: tlsd`",
			to->text.p);
	}
	free(path);
}

static bool
is_fed(const struct cfg *cfg, struct slice name)
{
	const struct cfg_node *all = listeners(cfg, "tls");

	for (const struct cfg_node *l = all ? all->first : NULL; l != NULL; l = l->next) {
		const struct cfg_node *to = scalar(l, "to");

		if (to != NULL && slice_eq(to->text, name))
			return true;
	}
	return false;
}

static void
check_fed(const struct cfg *cfg, const struct cfg_node *l, size_t index, struct errs *errs)
{
	const struct cfg_node *name = scalar(l, "name");

	if (name == NULL || !is_from_tlsd(l) || is_fed(cfg, name->text))
		return;

	char *path = xasprintf("http.listen[%zu]", index);

	errs_add(errs, FINDING_WARNING, cfg_at(cfg, l), path,
		"nothing in `tls` has `to: %s`: only a program outside of this file can feed it",
		name->text.p);
	free(path);
}

/* ---- listeners that want the same address ---- */

static bool
parse_listen(const struct cfg_node *l, uint16_t default_port, struct addr_spec *out)
{
	const struct cfg_node *a = scalar(l, "address");

	return a != NULL && addr_parse(a->text, default_port, out, NULL) == 0 &&
		(out->kind == ADDR_UNIX || (out->kind == ADDR_IP && out->port != 0));
}

/* The wildcard has them all. */
static bool
is_taken(const struct addr_spec *a, const struct addr_spec *b)
{
	if (a->kind == ADDR_IP && b->kind == ADDR_IP && a->port == b->port &&
		(a->is_any || b->is_any))
		return true;
	return a->kind == b->kind && addr_eq(&a->addr, &b->addr);
}

/* Within its section each daemon says it itself. */
static void
check_address(const struct cfg *cfg, const struct cfg_node *l, size_t index, struct errs *errs)
{
	const struct cfg_node *all = listeners(cfg, "tls");
	struct addr_spec mine;
	struct addr_spec other;

	if (!parse_listen(l, 0, &mine))
		return;
	for (const struct cfg_node *t = all ? all->first : NULL; t != NULL; t = t->next) {
		if (!parse_listen(t, 443, &other) || !is_taken(&mine, &other))
			continue;

		char *path = xasprintf("http.listen[%zu].address", index);

		errs_add(errs, FINDING_ERROR, cfg_at(cfg, scalar(l, "address")), path,
			"%s is used by a listener of `tls` (line %u) already, expected another",
			scalar(l, "address")->text.p, t->line);
		free(path);
		return;
	}
}

/* ---- certificates of clients ---- */

static bool
is_word(const struct cfg_node *map, const char *key, const char *word)
{
	const struct cfg_node *n = map != NULL ? scalar(map, key) : NULL;

	return n != NULL && slice_eq(n->text, slice_str(word));
}

/* Does a variable in n, or below it, tell of a certificate? */
static bool
has_fact(const struct cfg_node *n)
{
	for (size_t i = 0; i < n->var_count; i++)
		if (slice_starts(slice_skip(n->text, n->vars[i]), SLICE("${client_cert_")))
			return true;
	for (const struct cfg_node *child = n->first; child != NULL; child = child->next)
		if (has_fact(child))
			return true;
	return false;
}

/* Does anybody behind tlsd look at what was found out of a client? */
static bool
are_facts_used(const struct cfg *cfg)
{
	const struct cfg_node *http = mapping(cfg->root, "http");
	const struct cfg_node *log = mapping(http, "access_log");

	return mapping(mapping(http, "forward"), "client_cert") != NULL ||
		(http != NULL && has_fact(http)) ||
		(is_word(log, "format", "json") && scalar(log, "path") != NULL);
}

/* `require` guards by itself. Where clients may come without, somebody has to look. */
static void
check_client_auth(const struct cfg *cfg, const struct cfg_node *l, size_t index, struct errs *errs)
{
	const struct cfg_node *auth = mapping(l, "client_auth");

	if ((!is_word(auth, "mode", "optional") && !is_word(auth, "mode", "optional_no_ca")) ||
		are_facts_used(cfg))
		return;

	char *path = xasprintf("tls.listen[%zu].client_auth", index);

	errs_add(errs, FINDING_WARNING, cfg_at(cfg, auth), path,
		"clients are asked for certificates that they need not have, and nothing looks at "
		"them: no `http.forward.client_cert` tells servers, no variable ${client_cert_...} "
		"is used, and no access log in JSON has them");
	free(path);
}

void
cross_check(const struct cfg *cfg, struct errs *errs)
{
	const struct cfg_node *tls = listeners(cfg, "tls");
	const struct cfg_node *http = listeners(cfg, "http");
	size_t i = 0;

	for (const struct cfg_node *l = tls ? tls->first : NULL; l != NULL; l = l->next, i++) {
		const struct cfg_node *to = scalar(l, "to");

		if (to != NULL && is_listener_name(to->text)) {
			check_to(cfg, to, i, errs);
			check_client_auth(cfg, l, i, errs);
		}
	}
	i = 0;
	for (const struct cfg_node *l = http ? http->first : NULL; l != NULL; l = l->next, i++) {
		check_fed(cfg, l, i, errs);
		check_address(cfg, l, i, errs);
	}
}
