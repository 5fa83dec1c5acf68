/*
 * certheld: what a site has of which files: the certificate that is served, and one that waits.
 * Found by a hash, because a reload asks for each of them, and there may be thousands.
 */
#ifndef TLSD_CERTHELD_H
#define TLSD_CERTHELD_H

#include "tlsd/certs.h"

struct certheld {
	struct cert *served; /* NULL: none */
	struct cert *waiting;
};

struct certheld_entry;
struct certheld_index {
	struct certheld_entry *head;
};

/* From the same two files; idx may be NULL. */
struct certheld certheld_find(
	const struct certheld_index *idx, const char *cert_path, const char *key_path);
/* The first of the same files stays. Both must live as long as idx; waiting may be NULL. */
void certheld_add(struct certheld_index *idx, struct cert *served, struct cert *waiting);
void certheld_fini(struct certheld_index *idx);

#endif
