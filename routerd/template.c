/*
 * template: literal pieces and variables in turn. A text of one piece is not copied.
 */
#include "routerd/template.h"

#include "libcommon/http1.h"

struct parser {
	struct template_part *parts;
	size_t count;
	enum var_when when;
	struct arena *arena;
};

static void
add_literal(struct parser *p, struct slice text)
{
	if (text.n > 0)
		p->parts[p->count++] = (struct template_part){ .text = text };
}

/* text begins with "${name}". */
static const char *
add_var(struct parser *p, struct slice text, size_t *used)
{
	size_t end = slice_find(text, '}');
	struct template_part *part = &p->parts[p->count++];

	*part = (struct template_part){ .is_var = true };
	*used = end + 1;
	return var_parse(slice_make(text.p + 2, end - 2), p->when, &part->var, p->arena);
}

const char *
template_parse(const struct cfg_node *node, enum var_when when, struct template *t, struct arena *a)
{
	struct parser p = { .when = when, .arena = a };
	size_t at = 0;

	if (node->var_count > TEMPLATE_PARTS_MAX / 2 - 1)
		return arena_printf(a, "%zu variables, expected at most %d", node->var_count,
			TEMPLATE_PARTS_MAX / 2 - 1);
	p.parts = arena_calloc(a, 2 * node->var_count + 1, sizeof(*p.parts));
	for (size_t i = 0; i < node->var_count; i++) {
		size_t used;
		const char *problem;

		add_literal(&p, slice_make(node->text.p + at, node->vars[i] - at));
		problem = add_var(&p, slice_skip(node->text, node->vars[i]), &used);
		if (problem != NULL)
			return problem;
		at = node->vars[i] + used;
	}
	add_literal(&p, slice_skip(node->text, at));
	*t = (struct template){ .parts = p.parts, .count = p.count };
	return NULL;
}

static struct slice
part_text(const struct template_part *part, const struct var_source *s, struct arena *a)
{
	return part->is_var ? var_value(&part->var, s, a) : part->text;
}

struct slice
template_text(const struct template *t, const struct var_source *s, struct arena *a)
{
	struct slice text[TEMPLATE_PARTS_MAX];
	size_t n = 0;
	char *whole;
	char *to;

	if (t->count == 0)
		return slice_make("", 0);
	if (t->count == 1)
		return part_text(&t->parts[0], s, a);
	for (size_t i = 0; i < t->count; i++) {
		text[i] = part_text(&t->parts[i], s, a);
		n += text[i].n;
	}
	whole = to = arena_alloc(a, n);
	for (size_t i = 0; i < t->count; i++)
		to = slice_put(to, text[i]);
	return slice_make(whole, n);
}

struct slice
template_value(const struct template *t, const struct var_source *s, struct arena *a)
{
	struct slice value = slice_trim(template_text(t, s, a));

	if (!http1_is_value(value)) {
		char *clean = arena_alloc(a, value.n);

		for (size_t i = 0; i < value.n; i++)
			clean[i] = http1_is_value(slice_make(value.p + i, 1)) ? value.p[i] : ' ';
		value = slice_trim(slice_make(clean, value.n));
	}
	return value;
}
