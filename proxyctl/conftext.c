/*
 * conftext: see the header.
 */
#include "proxyctl/conftext.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcommon/file.h"

/* -1 with errno. */
static int
seal(struct slice text)
{
	const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	int fd = memfd_create("weir.yaml", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && (file_write(fd, text) < 0 || fcntl(fd, F_ADD_SEALS, seals) < 0)) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

struct conftext *
conftext_read(const char *file, struct err *err)
{
	struct conftext *t = xcalloc(1, sizeof(*t));
	struct sbuf text = { 0 };

	t->file = xstrdup(file);
	t->refs = 1;
	t->fd = cfg_read(file, &text) == 0 ? seal(sbuf_slice(&text)) : -1;
	if (t->fd < 0) {
		err_set(err, "%s: %s", file, strerror(errno));
		conftext_free(t);
		t = NULL;
	} else {
		cfg_hash(sbuf_slice(&text), t->hash);
	}
	sbuf_fini(&text);
	return t;
}

struct conftext *
conftext_ref(struct conftext *t)
{
	t->refs++;
	return t;
}

void
conftext_free(struct conftext *t)
{
	if (t == NULL || --t->refs > 0)
		return;
	if (t->fd >= 0)
		close(t->fd);
	free(t->file);
	free(t);
}

int
conftexts_read(struct conftexts *all, const struct plan *p, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < p->n; i++) {
		struct conftext *t;

		if (conftexts_find(all, p->v[i].file, NULL) != NULL)
			continue;
		t = conftext_read(p->v[i].file, err);
		if (t == NULL) {
			rc = -1;
			continue;
		}
		all->v = xreallocarray(all->v, all->n + 1, sizeof(*all->v));
		all->v[all->n++] = t;
	}
	return rc;
}

struct conftext *
conftexts_find(const struct conftexts *all, const char *file, const char *hash)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i]->file, file) == 0 &&
			(hash == NULL || strcmp(all->v[i]->hash, hash) == 0))
			return all->v[i];
	return NULL;
}

bool
conftexts_agree(const struct conftexts *all, const char *file, const char *hash)
{
	return conftexts_find(all, file, NULL) == NULL || conftexts_find(all, file, hash) != NULL;
}

void
conftexts_fini(struct conftexts *all)
{
	for (size_t i = 0; i < all->n; i++)
		conftext_free(all->v[i]);
	free(all->v);
	*all = (struct conftexts){ 0 };
}
