/*
 * answer_texts: each text of a redirect or a fixed answer as a template; all of them or none, so
 * that a route without variables is answered as if there were no such thing.
 */
#include "routerd/answer_texts.h"

struct compiler {
	struct answer_texts texts;
	struct arena *arena;
	bool has_vars;
};

static void
compile(struct compiler *c, const struct cfg_node *node, struct template *t)
{
	if (node == NULL)
		return;
	template_parse(node, VAR_REQUEST, t, c->arena);
	c->has_vars |= node->var_count > 0;
}

const struct answer_texts *
answer_texts_new(const struct routecfg *route, struct arena *a)
{
	struct compiler c = { .arena = a };
	const struct respondcfg *respond = &route->respond;
	struct answer_texts *texts;

	if (route->redirect.is_set) {
		compile(&c, cfg_get(route->redirect.node, "host"), &c.texts.host);
		compile(&c, cfg_get(route->redirect.node, "path"), &c.texts.path);
	}
	compile(&c, respond->body_node, &c.texts.body);
	for (size_t i = 0; i < respond->headers.n; i++)
		compile(&c, CFG_AT(const struct cfg_pair, respond->headers, i)->node,
			&c.texts.headers[i]);
	if (!c.has_vars)
		return NULL;
	texts = arena_alloc(a, sizeof(*texts));
	*texts = c.texts;
	return texts;
}
