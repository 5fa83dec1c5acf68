/*
 * idlepool: doubly linked lists through the connections themselves, an array of list heads by
 * server id.
 */
#include "routerd/idlepool.h"

#include <stdlib.h>
#include <string.h>

#include "libcommon/mem.h"
#include "routerd/upstream.h"

void
idlepool_fini(struct idlepool *p)
{
	free(p->by_server);
	*p = (struct idlepool){ 0 };
}

static struct idle_list *
list_of(struct idlepool *p, uint32_t server_id)
{
	if (server_id >= p->cap) {
		uint32_t cap = p->cap ? p->cap : 16;

		while (cap <= server_id)
			cap *= 2;
		p->by_server = xreallocarray(p->by_server, cap, sizeof(*p->by_server));
		memset(p->by_server + p->cap, 0, (cap - p->cap) * sizeof(*p->by_server));
		p->cap = cap;
	}
	return &p->by_server[server_id];
}

static void
unlink_idle(struct idle_list *l, struct upstream *u)
{
	if (u->newer != NULL)
		u->newer->older = u->older;
	else
		l->newest = u->older;
	if (u->older != NULL)
		u->older->newer = u->newer;
	else
		l->oldest = u->newer;
	u->newer = NULL;
	u->older = NULL;
	l->count--;
}

struct upstream *
idlepool_put(struct idlepool *p, uint32_t server_id, struct upstream *u, unsigned limit)
{
	struct idle_list *l = list_of(p, server_id);

	u->newer = NULL;
	u->older = l->newest;
	if (l->newest != NULL)
		l->newest->newer = u;
	else
		l->oldest = u;
	l->newest = u;
	l->count++;
	return l->count > limit ? idlepool_take_oldest(p, server_id) : NULL;
}

struct upstream *
idlepool_take(struct idlepool *p, uint32_t server_id)
{
	if (server_id >= p->cap)
		return NULL;

	struct idle_list *l = &p->by_server[server_id];
	struct upstream *u = l->newest;

	if (u != NULL)
		unlink_idle(l, u);
	return u;
}

struct upstream *
idlepool_take_oldest(struct idlepool *p, uint32_t server_id)
{
	if (server_id >= p->cap)
		return NULL;

	struct idle_list *l = &p->by_server[server_id];
	struct upstream *u = l->oldest;

	if (u != NULL)
		unlink_idle(l, u);
	return u;
}

void
idlepool_remove(struct idlepool *p, uint32_t server_id, struct upstream *u)
{
	unlink_idle(&p->by_server[server_id], u);
}
