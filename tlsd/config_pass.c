/*
 * config_pass: see the header. Nothing here is opened or looked up.
 */
#include "tlsd/config_pass.h"

#include "libcommon/sbuf.h"
#include "tlsd/sni.h"

#define TO_MAX 16 /* addresses of one entry */

static const char *const proxy_words[] = { "none", "v2", NULL };

static void pass_check(struct cfg_ctx *, const struct cfg_node *, const char *, void *);

static const struct cfg_row pass_rows[] = {
	CFG_NODE_ROW(struct passcfg, node),
	CFG_ROW(struct passcfg, names, "names", CFGT_STRING_LIST,
		.flags = CFG_REQUIRED | CFG_NONEMPTY,
		.help = "host names that clients ask for; \"*.example.com\" stands for one label"),
	CFG_ROW(struct passcfg, to, "to", CFGT_STRING_LIST, .flags = CFG_REQUIRED | CFG_NONEMPTY,
		.help = "the server's address, \"10.0.0.4:443\" or \"unix:/path\"; of several, "
			"the one with the fewest connections that can be reached"),
	CFG_ROW(struct passcfg, proxy, "proxy", CFGT_ENUM, .def = "none", .choices = proxy_words,
		.help = "what is sent before the client's bytes: nothing, or a PROXY v2 header"),
	CFG_ROW(struct passcfg, connect_timeout_ms, "connect_timeout", CFGT_DURATION, .def = "5s",
		.min = 50, .max = 600000, .unit = "ms",
		.help = "an address that has not answered by then is given up"),
	CFG_ROW(struct passcfg, idle_timeout_ms, "idle_timeout", CFGT_DURATION, .def = "10m",
		.min = 0, .max = 30.0 * 86400 * 1000, .unit = "ms",
		.help = "a connection without a byte in either direction ends; 0: never"),
	CFG_END,
};

const struct cfg_schema passcfg_schema = {
	.name = "passthrough",
	.size = sizeof(struct passcfg),
	.rows = pass_rows,
	.check = pass_check,
};

/* One error at a key of the mapping. */
static void __attribute__((format(printf, 5, 6))) bad(struct cfg_ctx *ctx,
	const struct cfg_node *node, const char *path, const char *key, const char *fmt, ...)
{
	const struct cfg_node *child = cfg_get(node, key);
	struct sbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	sbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	cfg_error(ctx, child != NULL ? child : node, arena_printf(ctx->arena, "%s.%s", path, key),
		"%s", text.p);
	sbuf_fini(&text);
}

char *
config_absolute(struct cfg_ctx *ctx, char *to)
{
	if (strncmp(to, "unix:", 5) != 0 || to[5] == '/' || to[5] == '\0')
		return to;
	return arena_printf(
		ctx->arena, "unix:%s", cfg_path(ctx->cfg, ctx->arena, slice_str(to + 5)));
}

bool
config_address(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, const char *text,
	struct addr *out)
{
	struct addr_spec spec;
	struct err err;

	if (addr_parse(slice_str(text), 0, &spec, &err) < 0)
		bad(ctx, node, path, "to", "%s", err.text);
	else if (spec.kind == ADDR_NAME)
		bad(ctx, node, path, "to",
			"`%s` is a host name, expected an address: tlsd resolves nothing", text);
	else if (spec.kind == ADDR_IP && spec.port == 0)
		bad(ctx, node, path, "to", "port 0 cannot be connected to");
	else {
		*out = spec.addr;
		return true;
	}
	return false;
}

static void
pass_check(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	struct passcfg *p = obj;
	struct sbuf text = { 0 };

	for (size_t i = 0; i < p->names.n; i++) {
		const char *name = *CFG_AT(char *, p->names, i);

		if (!sni_name_ok(name))
			bad(ctx, node, path, "names",
				"`%s` is no name that a client asks for, expected a host name or "
				"`*.` and a host name",
				name);
	}
	if (p->to.n > TO_MAX)
		bad(ctx, node, path, "to", "%zu addresses, expected at most %d", p->to.n, TO_MAX);
	p->to_addrs = arena_alloc(ctx->arena, p->to.n * sizeof(*p->to_addrs));
	for (size_t i = 0; i < p->to.n; i++) {
		char **to = CFG_AT(char *, p->to, i);

		*to = config_absolute(ctx, *to);
		if (!config_address(ctx, node, path, *to, &p->to_addrs[i]))
			p->to_addrs[i].len = 0;
		sbuf_addf(&text, "%s%s", i > 0 ? " " : "", *to);
	}
	p->to_text = arena_strdup(ctx->arena, sbuf_str(&text));
	sbuf_fini(&text);
}

void
config_pass_names(struct cfg_ctx *ctx, const char *path, const struct tlslistencfg *l)
{
	struct sni_index *seen = sni_new();

	for (size_t i = 0; i < l->passthrough.n; i++) {
		const struct passcfg *p = CFG_AT(struct passcfg, l->passthrough, i);
		struct sbuf where = { 0 };

		sbuf_addf(&where, "%s.passthrough[%zu]", path, i);
		for (size_t j = 0; j < p->names.n; j++) {
			const char *name = *CFG_AT(char *, p->names, j);
			const struct sni_entry *e;

			if (!sni_add(seen, name, (uint32_t)i))
				continue; /* was reported */
			e = sni_get(seen, name);
			if (e->count > 1)
				bad(ctx, p->node, where.p, "names",
					"`%s` is passed through twice, the first time in line %u",
					name,
					CFG_AT(struct passcfg, l->passthrough, e->certs[0])
						->node->line);
		}
		sbuf_fini(&where);
	}
	sni_free(seen);
}

static bool
is_loopback(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

/* A listener on all addresses is met at this machine's own; which those are is not looked up. */
static bool
leads_to(const struct addr *to, const struct addr_spec *listener)
{
	if (listener->kind == ADDR_NAME || to->len == 0)
		return false;
	if (!listener->is_any)
		return (listener->kind == ADDR_UNIX || listener->port != 0) &&
			addr_eq(to, &listener->addr);
	return is_loopback(to) && addr_port(&to->sa) == listener->port && listener->port != 0;
}

static void
check_circle(struct cfg_ctx *ctx, const struct tlscfg *t, const struct passcfg *p, const char *path)
{
	for (size_t i = 0; i < p->to.n; i++)
		for (size_t j = 0; j < t->listen.n; j++) {
			const struct tlslistencfg *l = CFG_AT(struct tlslistencfg, t->listen, j);

			if (leads_to(&p->to_addrs[i], &l->address))
				bad(ctx, p->node, path, "to",
					"`%s` is the listener of line %u, expected a server",
					*CFG_AT(char *, p->to, i), l->node->line);
		}
}

void
config_pass_circles(struct cfg_ctx *ctx, const struct tlscfg *t)
{
	for (size_t i = 0; i < t->listen.n; i++) {
		const struct tlslistencfg *l = CFG_AT(struct tlslistencfg, t->listen, i);

		for (size_t j = 0; j < l->passthrough.n; j++)
			check_circle(ctx, t, CFG_AT(struct passcfg, l->passthrough, j),
				arena_printf(ctx->arena, "tls.listen[%zu].passthrough[%zu]", i, j));
	}
}
