/*
 * sni: which certificates serve a name: exact names first, then wildcards of one label
 * (`*.example.com` serves a.example.com, neither example.com nor a.b.example.com: RFC 9525 §6.3).
 * Pure. Certificates are numbers here; what they stand for is the caller's.
 */
#ifndef TLSD_SNI_H
#define TLSD_SNI_H

#include "libcommon/slice.h"

#define SNI_NAME_MAX 253

struct sni_entry {
	char *name;      /* "example.com", "*.example.com" */
	uint32_t *certs; /* in the order they were added, none twice */
	uint32_t count;
	uint32_t group; /* for the caller */
};

struct sni_index;

struct sni_index *sni_new(void);
void sni_free(struct sni_index *idx);
/* Case does not matter; a name that no client can ask for (an address, a wildcard elsewhere than
 * in the whole first label) is left out: false. */
bool sni_add(struct sni_index *idx, const char *name, uint32_t cert);
/* NULL when no name fits. Good as long as idx. Does not allocate. */
struct sni_entry *sni_find(struct sni_index *idx, struct slice name);
/* The entry that was added under exactly this name, wildcard or not; NULL: none. */
struct sni_entry *sni_get(struct sni_index *idx, const char *name);
void sni_each(struct sni_index *idx, void (*fn)(void *arg, struct sni_entry *e), void *arg);

/* A host name that may stand in a certificate; "*." in front is fine. */
bool sni_name_ok(const char *name);

/* A name as clients may send it: letters, digits and `-_.:`; so addresses, too, but nothing that
 * would have to be quoted somewhere. */
bool sni_is_plain(struct slice name);

/*
 * The host name out of a server_name extension's body (RFC 6066 §3): 1 with *name set, 0 when
 * there is none, -1 when the bytes are malformed or there are two.
 */
int sni_parse_ext(const uint8_t *p, size_t n, struct slice *name);

#endif
