/*
 * certfiles: which files a listener's certificates stand in: those that the configuration names,
 * and those that lie in the folders it names. Nothing is parsed here. Main thread; blocks on files.
 */
#ifndef TLSD_CERTFILES_H
#define TLSD_CERTFILES_H

#include "libcommon/err.h"
#include "tlsd/config.h"

struct certfile {
	char *cert;
	char *key;  /* the same path as cert when the key stands there */
	char *ocsp; /* where a staple may be */
	const struct certcfg *cfg;
};

struct certfiles {
	struct certfile *v;
	size_t n;
};

/*
 * Append what one entry of `certificates` stands for, self_signed ones excepted; of a folder, see
 * certdir.h. -1 with err when a folder cannot be read or holds no certificate.
 */
int certfiles_add(struct certfiles *all, const struct certcfg *cfg, struct err *err);
void certfiles_fini(struct certfiles *all);

/* A number that changes when any file of the configuration's certificates changes, comes or goes.
 */
uint64_t certfiles_state(const struct tlscfg *cfg);

#endif
