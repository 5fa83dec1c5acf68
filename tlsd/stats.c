/*
 * stats: words of the reasons, and the list of servers. The list is short (one per instance of
 * routerd or foreign address), so it is a list; its lock is taken when an address is seen first.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/mem.h"
#include "tlsd/stats.h"

struct backends {
	pthread_mutex_t lock;
	struct backend *first;
};

const char *
reason_word(enum reason r)
{
	static const char *const words[] = {
#define R(id, word) [REASON_##id] = word,
#include "tlsd/reasons.def"
#undef R
	};

	return words[r];
}

struct backends *
backends_new(void)
{
	struct backends *b = xcalloc(1, sizeof(*b));

	pthread_mutex_init(&b->lock, NULL);
	return b;
}

void
backends_free(struct backends *b)
{
	if (b == NULL)
		return;
	while (b->first != NULL) {
		struct backend *gone = b->first;

		b->first = gone->next;
		free((void *)(uintptr_t)gone->name);
		free(gone);
	}
	pthread_mutex_destroy(&b->lock);
	free(b);
}

struct backend *
backends_get(struct backends *b, const char *name)
{
	struct backend *at;

	pthread_mutex_lock(&b->lock);
	for (at = b->first; at != NULL && strcmp(at->name, name) != 0; at = at->next)
		;
	if (at == NULL) {
		at = xcalloc(1, sizeof(*at));
		at->name = xstrdup(name);
		at->next = b->first;
		b->first = at;
	}
	pthread_mutex_unlock(&b->lock);
	return at;
}

void
backends_each(struct backends *b, void (*fn)(void *arg, struct backend *b), void *arg)
{
	pthread_mutex_lock(&b->lock);
	for (struct backend *at = b->first; at != NULL; at = at->next)
		fn(arg, at);
	pthread_mutex_unlock(&b->lock);
}
