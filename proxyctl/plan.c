/*
 * plan: instances of the section `up` first (they are servers of the demo kind), then what the
 * sections themselves ask for, tlsd last.
 */
#include "proxyctl/plan.h"

#include <stdlib.h>
#include <string.h>

enum { STAGE_SERVERS = 0, STAGE_HTTP = 1, STAGE_TLS = 2 };

static void
add(struct plan *p, int program, int role, const char *instance, const char *file, unsigned stage,
	const struct instancecfg *in)
{
	p->v = xreallocarray(p->v, p->n + 1, sizeof(*p->v));
	p->v[p->n++] = (struct planned){
		.name = xasprintf("%s.%s", program_names[program], instance),
		.program = program_names[program],
		.instance = instance,
		.role = role,
		.file = file,
		.in = in,
		.stage = stage,
	};
}

static void
add_instance(struct plan *p, const struct site *s, const struct instancecfg *in)
{
	if (in->config != NULL)
		add(p, in->program, in->role, in->name, in->config, STAGE_SERVERS, in);
	else
		add(p, in->program, in->role, in->name, s->cfg->file,
			in->role == ROLE_CONNECT              ? STAGE_SERVERS
				: in->program == PROGRAM_TLSD ? STAGE_TLS
							      : STAGE_HTTP,
			in);
}

void
plan_make(struct plan *p, const struct site *s)
{
	*p = (struct plan){ 0 };
	for (size_t i = 0; i < s->up.instances.n; i++)
		add_instance(p, s, CFG_AT(struct instancecfg, s->up.instances, i));
	/* Before those that ask it. */
	if (site_has_tls_servers(s))
		add(p, PROGRAM_TLSD, ROLE_CONNECT, SITE_CONNECT_INSTANCE, s->cfg->file,
			STAGE_SERVERS, NULL);
	if (site_has(s, "http"))
		add(p, PROGRAM_ROUTERD, ROLE_NONE, "0", s->cfg->file, STAGE_HTTP, NULL);
	if (site_has_checks(s))
		add(p, PROGRAM_HEALTHD, ROLE_NONE, "0", s->cfg->file, STAGE_HTTP, NULL);
	if (site_has(s, "tls"))
		add(p, PROGRAM_TLSD, ROLE_NONE, "0", s->cfg->file, STAGE_TLS, NULL);
}

void
plan_fini(struct plan *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].name);
	free(p->v);
	*p = (struct plan){ 0 };
}

static bool
has_pair(const struct cfg_list *env, const struct cfg_pair *want)
{
	for (size_t i = 0; i < env->n; i++) {
		const struct cfg_pair *p = CFG_AT(struct cfg_pair, *env, i);

		if (strcmp(p->name, want->name) == 0)
			return strcmp(p->value, want->value) == 0;
	}
	return false;
}

/* Names in it are unique: the same number and each one found is the same set. */
static bool
is_same_env(const struct instancecfg *a, const struct instancecfg *b)
{
	size_t an = a != NULL ? a->env.n : 0;
	size_t bn = b != NULL ? b->env.n : 0;

	if (an != bn)
		return false;
	for (size_t i = 0; i < an; i++)
		if (!has_pair(&b->env, CFG_AT(struct cfg_pair, a->env, i)))
			return false;
	return true;
}

struct planned *
plan_find(const struct plan *p, const struct planned *like)
{
	for (size_t i = 0; i < p->n; i++) {
		struct planned *x = &p->v[i];

		if (strcmp(x->name, like->name) == 0 && x->role == like->role &&
			strcmp(x->file, like->file) == 0 && is_same_env(x->in, like->in))
			return x;
	}
	return NULL;
}
