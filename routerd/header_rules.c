/*
 * header_rules: one list of rules for each route and direction, so that a message is one walk over
 * its fields and one over the rules.
 */
#include "routerd/header_rules.h"

#include "libcommon/http1.h"
#include "routerd/alike.h"
#include "routerd/template.h"

enum op { OP_HIDE, OP_PASS, OP_SET, OP_ADD, OP_DEFAULT };

struct header_rule {
	enum op op;
	uint16_t id;
	struct slice name;
	struct template value;
};

struct header_rules {
	struct header_rule *v;
	size_t count;
	uint64_t lengths; /* bit n % 64: names of n bytes are to be dropped */
};

/* --- from the configuration ------------------------------------------------------------------ */

struct builder {
	struct header_rules *rules;
	enum var_when when;
	struct arena *arena;
};

static void
add_rule(struct builder *b, enum op op, const char *name, const struct cfg_node *value)
{
	struct header_rule *r = &b->rules->v[b->rules->count++];

	*r = (struct header_rule){ .op = op, .name = slice_str(name) };
	r->id = (uint16_t)field_id_of(r->name);
	if (value != NULL)
		template_parse(value, b->when, &r->value, b->arena);
	if (op == OP_HIDE || op == OP_SET)
		b->rules->lengths |= 1ULL << (r->name.n & 63);
}

static void
add_names(struct builder *b, enum op op, const struct cfg_list *names)
{
	for (size_t i = 0; i < names->n; i++)
		add_rule(b, op, *CFG_AT(char *, *names, i), NULL);
}

static void
add_pairs(struct builder *b, enum op op, const struct cfg_list *pairs)
{
	for (size_t i = 0; i < pairs->n; i++) {
		const struct cfg_pair *p = CFG_AT(const struct cfg_pair, *pairs, i);

		add_rule(b, op, p->name, p->node);
	}
}

/* Of the rules behind `from`, those that take the place of the ones in front. */
static bool
is_overridden(const struct header_rules *rules, size_t from, const struct header_rule *r)
{
	for (size_t i = from; i < rules->count; i++)
		if (slice_caseeq(rules->v[i].name, r->name))
			return true;
	return false;
}

/* Once the level that begins at `from` is there: what stands in front of it and is overridden goes.
 */
static void
settle_level(struct header_rules *rules, size_t from)
{
	size_t kept = 0;

	for (size_t i = 0; i < rules->count; i++)
		if (i >= from || !is_overridden(rules, from, &rules->v[i]))
			rules->v[kept++] = rules->v[i];
	rules->count = kept;
}

static void
drop_passes(struct header_rules *rules)
{
	size_t kept = 0;

	for (size_t i = 0; i < rules->count; i++)
		if (rules->v[i].op != OP_PASS)
			rules->v[kept++] = rules->v[i];
	rules->count = kept;
}

static size_t
count_rules(const struct headerset *c)
{
	return c->hide.n + c->pass.n + c->set.n + c->add.n + c->otherwise.n;
}

const struct header_rules *
header_rules_new(
	const struct headerset *const *levels, size_t count, enum var_when when, struct arena *a)
{
	struct builder b = { .when = when, .arena = a };
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += count_rules(levels[i]);
	if (n == 0)
		return NULL;
	b.rules = arena_calloc(a, 1, sizeof(*b.rules));
	b.rules->v = arena_calloc(a, n, sizeof(*b.rules->v));
	for (size_t i = 0; i < count; i++) {
		size_t from = b.rules->count;

		add_names(&b, OP_HIDE, &levels[i]->hide);
		add_names(&b, OP_PASS, &levels[i]->pass);
		add_pairs(&b, OP_SET, &levels[i]->set);
		add_pairs(&b, OP_ADD, &levels[i]->add);
		add_pairs(&b, OP_DEFAULT, &levels[i]->otherwise);
		settle_level(b.rules, from);
	}
	drop_passes(b.rules);
	return b.rules->count > 0 ? b.rules : NULL;
}

/* --- for a message --------------------------------------------------------------------------- */

static bool
is_of(const struct header_rule *r, const struct field *f, bool is_request)
{
	if (is_request)
		return alike(f->name, r->name);
	return slice_caseeq(f->name, r->name);
}

static bool
is_dropped(const struct header_rules *rules, const struct field *f, bool is_request)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct header_rule *r = &rules->v[i];

		if ((r->op == OP_HIDE || r->op == OP_SET) && is_of(r, f, is_request))
			return true;
	}
	return false;
}

static void
drop_fields(const struct header_rules *rules, struct msg *m, bool is_request)
{
	for (unsigned i = 0; i < m->field_count; i++) {
		struct field *f = &m->fields[i];

		if (rules->lengths >> (f->name.n & 63) & 1 && is_dropped(rules, f, is_request))
			f->flags |= MSG_FIELD_DROP;
	}
}

/* Among the first `count` fields. */
static bool
is_there(const struct msg *m, unsigned count, struct slice name)
{
	for (unsigned i = 0; i < count; i++)
		if (!(m->fields[i].flags & MSG_FIELD_DROP) && slice_caseeq(m->fields[i].name, name))
			return true;
	return false;
}

/* Not for msg_field: what is asked of a message by a known name is asked of its sender (is it gRPC?
 * what does the log say of its client?), also when a tunnel has let go of the rules. */
static void
add_field(struct msg *m, const struct header_rule *r, struct slice value)
{
	/* Who the client is was settled before, and is not read from these (forward_client). */
	enum field_id id = field_flags(r->id) & FIELD_IDENTITY ? FIELD_OTHER : r->id;
	uint8_t first = m->first[id];

	msg_add(m, id, r->name, value);
	m->first[id] = first;
}

static enum header_result
set_host(struct slice value, struct slice *authority)
{
	struct slice name;
	uint16_t port;

	if (value.n == 0)
		return HEADERS_OK;
	if (!http1_host(value, &name, &port))
		return HEADERS_BAD_HOST;
	*authority = value;
	return HEADERS_OK;
}

static enum header_result
add_fields(const struct header_rules *rules, struct msg *m, const struct var_source *s,
	struct slice *authority, struct arena *a)
{
	unsigned count = m->field_count;
	enum header_result result = HEADERS_OK;
	size_t bytes = 0;

	for (size_t i = 0; i < rules->count && result == HEADERS_OK; i++) {
		const struct header_rule *r = &rules->v[i];
		struct slice value;

		if (r->op == OP_HIDE || (r->op == OP_DEFAULT && is_there(m, count, r->name)))
			continue;
		value = template_value(&r->value, s, a);
		bytes += value.n;
		if (bytes > HEADER_RULES_BYTES)
			return HEADERS_TOO_LARGE;
		if (authority != NULL && r->id == FIELD_HOST)
			result = set_host(value, authority);
		else if (value.n > 0)
			add_field(m, r, value);
	}
	return result;
}

enum header_result
header_rules_request(const struct header_rules *rules, struct msg *m, const struct var_source *s,
	struct slice *authority, struct arena *a)
{
	drop_fields(rules, m, true);
	return add_fields(rules, m, s, authority, a);
}

enum header_result
header_rules_response(const struct header_rules *rules, struct msg *m, const struct var_source *s,
	struct arena *a)
{
	drop_fields(rules, m, false);
	return add_fields(rules, m, s, NULL, a);
}

void
header_rules_interim(const struct header_rules *rules, struct msg *m)
{
	drop_fields(rules, m, false);
}
