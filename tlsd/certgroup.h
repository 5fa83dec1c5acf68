/*
 * certgroup: certificates that serve the same names, of different key types: a listener has one
 * SSL_CTX for each group. Pure; certificates are numbers here.
 */
#ifndef TLSD_CERTGROUP_H
#define TLSD_CERTGROUP_H

#include "tlsd/certs.h"
#include "tlsd/sni.h"

struct certgroup {
	uint32_t *certs; /* in the order of the listener's, none twice, at least one */
	uint32_t count;
};

struct certgroups {
	struct certgroup *v;
	size_t n;
};

/*
 * Of a listener's certificates, at least one; their names go into index, each with the number of
 * its group. Group 0 is for clients that ask for no name of ours: the first certificate and those
 * that stand for the same first name. Release with certgroups_fini.
 */
void certgroups_make(
	struct certgroups *gs, struct sni_index *index, struct cert *const *certs, size_t ncerts);
void certgroups_fini(struct certgroups *gs);

#endif
