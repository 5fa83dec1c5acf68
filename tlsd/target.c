/*
 * target: picks a server among few, so lists are arrays. Failures are remembered per worker; how
 * many relays a server has is shared by all of them (struct backend).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/mem.h"
#include "libcommon/sock.h"
#include "libcommon/folder.h"
#include "tlsd/target.h"

#define RESCAN_MS     1000 /* a new instance is seen after this long at the latest */
#define LEAVE_MS      500  /* one that refused is not asked for this long */
#define INSTANCES_MAX FOLDER_MAX

struct instance {
	struct addr addr;
	struct backend *stat;
	uint64_t left_until_ms;
	bool is_seen;
};

struct target {
	struct backends *all;
	char *folder;
	struct instance *v;
	size_t n;
	uint64_t scanned_ms;
	size_t turn; /* who is asked first among equals */
};

static void
add_instance(struct target *t, const struct addr *addr)
{
	char text[ADDR_TEXT];

	t->v = xreallocarray(t->v, t->n + 1, sizeof(*t->v));
	addr_format(&addr->sa, addr->len, text);
	t->v[t->n++] = (struct instance){
		.addr = *addr,
		.stat = backends_get(t->all, text),
		.is_seen = true,
	};
}

struct target *
target_new_list(struct backends *all, const struct addr *addrs, size_t n)
{
	struct target *t = xcalloc(1, sizeof(*t));

	t->all = all;
	for (size_t i = 0; i < n && i < INSTANCES_MAX; i++) {
		add_instance(t, &addrs[i]);
		atomic_store(&t->v[i].stat->is_listed, 1);
	}
	return t;
}

struct target *
target_new(struct backends *all, const char *folder, const struct addr *addr)
{
	struct target *t;

	if (folder == NULL)
		return target_new_list(all, addr, 1);
	t = xcalloc(1, sizeof(*t));
	t->all = all;
	t->folder = xstrdup(folder);
	return t;
}

void
target_free(struct target *t)
{
	if (t == NULL)
		return;
	free(t->folder);
	free(t->v);
	free(t);
}

static void
see(void *arg, const char *path)
{
	struct target *t = arg;
	struct addr a = { .un = { .sun_family = AF_UNIX }, .len = sizeof(a.un) };

	memcpy(a.un.sun_path, path, strlen(path) + 1);
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->v[i].addr.un.sun_path, a.un.sun_path) == 0) {
			t->v[i].is_seen = true;
			return;
		}
	if (t->n < INSTANCES_MAX)
		add_instance(t, &a);
}

/* Read the folder anew: instances come and go with their sockets. */
static void
scan(struct target *t, uint64_t now_ms)
{
	size_t kept = 0;

	t->scanned_ms = now_ms;
	for (size_t i = 0; i < t->n; i++)
		t->v[i].is_seen = false;
	folder_each(t->folder, ".sock", see, t);
	for (size_t i = 0; i < t->n; i++) {
		atomic_store_explicit(
			&t->v[i].stat->is_listed, t->v[i].is_seen, memory_order_relaxed);
		if (t->v[i].is_seen)
			t->v[kept++] = t->v[i];
	}
	t->n = kept;
}

static uint32_t
load_of(const struct instance *i)
{
	return atomic_load_explicit(&i->stat->active, memory_order_relaxed);
}

/* The least loaded that is not in `tried`; those that refused lately only when asked for. */
static struct instance *
pick(struct target *t, uint64_t now_ms, const bool *tried, bool want_left)
{
	struct instance *best = NULL;

	for (size_t k = 0; k < t->n; k++) {
		size_t i = (t->turn + k) % t->n;
		struct instance *at = &t->v[i];

		if (tried[i] || (at->left_until_ms > now_ms) != want_left)
			continue;
		if (best == NULL || load_of(at) < load_of(best))
			best = at;
	}
	return best;
}

static void
leave(struct instance *i, uint64_t now_ms)
{
	i->left_until_ms = now_ms + LEAVE_MS;
	atomic_fetch_add_explicit(&i->stat->failed, 1, memory_order_relaxed);
}

static enum target_result
connect_to(struct instance *i, uint64_t now_ms, int *fd, struct backend **to)
{
	*fd = sock_connect(&i->addr);

	int no = errno;

	if (*fd < 0) {
		leave(i, now_ms);
		errno = no;
		return TARGET_NONE;
	}
	atomic_fetch_add_explicit(&i->stat->active, 1, memory_order_relaxed);
	*to = i->stat;
	if (no == EINPROGRESS)
		return TARGET_PROGRESS;
	i->left_until_ms = 0;
	atomic_fetch_add_explicit(&i->stat->connected, 1, memory_order_relaxed);
	return TARGET_CONNECTED;
}

enum target_result
target_connect(struct target *t, uint64_t now_ms, int *fd, struct backend **to)
{
	bool tried[INSTANCES_MAX] = { false };
	int no = ENOENT;

	if (t->folder != NULL && now_ms - t->scanned_ms >= (t->n > 0 ? RESCAN_MS : 1))
		scan(t, now_ms);
	t->turn++;
	for (int want_left = 0; want_left < 2; want_left++) {
		struct instance *i;

		while ((i = pick(t, now_ms, tried, want_left != 0)) != NULL) {
			enum target_result r = connect_to(i, now_ms, fd, to);

			if (r != TARGET_NONE)
				return r;
			no = errno;
			tried[i - t->v] = true;
		}
	}
	/* The next attempt looks at the folder first: who restarted may have another name. */
	t->scanned_ms = 0;
	errno = no;
	return TARGET_NONE;
}

void
target_failed(struct target *t, uint64_t now_ms, struct backend *to)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].stat == to)
			leave(&t->v[i], now_ms);
	target_release(to);
}

void
target_release(struct backend *to)
{
	atomic_fetch_sub_explicit(&to->active, 1, memory_order_relaxed);
}
