/* certgroup: see the header. */
#include "tlsd/certgroup.h"

#include <stdlib.h>
#include <string.h>

#include "libcommon/mem.h"

/* Groups are looked for among those that begin with the same certificate: few, of any number. */
struct making {
	struct certgroups *gs;
	/* A group's number plus 1, 0 for none: */
	uint32_t *latest; /* that begins with this certificate */
	uint32_t *before; /* per group: that came before it and begins with the same one */
};

static uint32_t
find_or_add(struct making *m, const uint32_t *certs, uint32_t count)
{
	struct certgroups *gs = m->gs;
	uint32_t *latest = &m->latest[certs[0]];
	size_t bytes = count * sizeof(*certs);

	for (uint32_t i = *latest; i > 0; i = m->before[i - 1])
		if (gs->v[i - 1].count == count && memcmp(gs->v[i - 1].certs, certs, bytes) == 0)
			return i - 1;
	gs->v = xreallocarray(gs->v, gs->n + 1, sizeof(*gs->v));
	gs->v[gs->n] = (struct certgroup){
		.certs = memcpy(xmalloc(bytes), certs, bytes),
		.count = count,
	};
	m->before = xreallocarray(m->before, gs->n + 1, sizeof(*m->before));
	m->before[gs->n] = *latest;
	*latest = (uint32_t)++gs->n;
	return *latest - 1;
}

static void
group_entry(void *arg, struct sni_entry *e)
{
	e->group = find_or_add(arg, e->certs, e->count);
}

static bool
has_first_name_of(const struct cert *c, const struct cert *of)
{
	return c->nnames > 0 && of->nnames > 0 &&
		slice_caseeq(slice_str(c->names[0]), slice_str(of->names[0]));
}

static void
make_default(struct making *m, struct cert *const *certs, size_t ncerts)
{
	uint32_t *same = xmalloc(ncerts * sizeof(*same));
	uint32_t count = 0;

	for (uint32_t i = 0; i < ncerts; i++)
		if (i == 0 || has_first_name_of(certs[i], certs[0]))
			same[count++] = i;
	find_or_add(m, same, count);
	free(same);
}

void
certgroups_make(
	struct certgroups *gs, struct sni_index *index, struct cert *const *certs, size_t ncerts)
{
	struct making m = { .gs = gs, .latest = xcalloc(ncerts, sizeof(*m.latest)) };

	*gs = (struct certgroups){ .n = 0 };
	make_default(&m, certs, ncerts);
	for (uint32_t i = 0; i < ncerts; i++)
		for (size_t j = 0; j < certs[i]->ndns; j++)
			sni_add(index, certs[i]->names[j], i);
	sni_each(index, group_entry, &m);
	free(m.latest);
	free(m.before);
}

void
certgroups_fini(struct certgroups *gs)
{
	for (size_t i = 0; i < gs->n; i++)
		free(gs->v[i].certs);
	free(gs->v);
	*gs = (struct certgroups){ .n = 0 };
}
