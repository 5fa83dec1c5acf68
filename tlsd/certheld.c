/*
 * certheld: see the header. Hashed by the certificate's path; those that have it with another key
 * stand behind each other.
 */
#include "tlsd/certheld.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "libcommon/mem.h"

struct certheld_entry {
	struct certheld held;
	struct certheld_entry *next; /* another key */
	UT_hash_handle hh;
};

static struct certheld_entry *
first_of(const struct certheld_index *idx, const char *cert_path)
{
	struct certheld_entry *e;

	HASH_FIND_STR(idx->head, cert_path, e);
	return e;
}

struct certheld
certheld_find(const struct certheld_index *idx, const char *cert_path, const char *key_path)
{
	struct certheld_entry *e = idx != NULL ? first_of(idx, cert_path) : NULL;

	while (e != NULL && strcmp(e->held.served->key_path, key_path) != 0)
		e = e->next;
	return e != NULL ? e->held : (struct certheld){ NULL, NULL };
}

void
certheld_add(struct certheld_index *idx, struct cert *served, struct cert *waiting)
{
	struct certheld_entry *first = first_of(idx, served->cert_path);
	struct certheld_entry *e;

	if (certheld_find(idx, served->cert_path, served->key_path).served != NULL)
		return;
	e = xcalloc(1, sizeof(*e));
	e->held = (struct certheld){ served, waiting };
	if (first != NULL) {
		e->next = first->next;
		first->next = e;
		return;
	}
	HASH_ADD_KEYPTR(hh, idx->head, served->cert_path, strlen(served->cert_path), e);
}

void
certheld_fini(struct certheld_index *idx)
{
	struct certheld_entry *e;
	struct certheld_entry *after;

	HASH_ITER (hh, idx->head, e, after) {
		HASH_DEL(idx->head, e);
		while (e != NULL) {
			struct certheld_entry *next = e->next;

			free(e);
			e = next;
		}
	}
}
