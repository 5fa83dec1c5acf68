/*
 * certpaths: the files of the certificates that `tls.listen` names, folders included, as tlsd finds
 * them.
 */
#ifndef PROXYCTL_CERTPATHS_H
#define PROXYCTL_CERTPATHS_H

#include "libcommon/cfg.h"

struct certpath {
	const char *cert;
	const char *key;    /* the same when it stands there */
	const char *staple; /* NULL where the configuration names none */
};

/* p is fn's for the call. */
typedef void (*certpaths_fn)(void *arg, const struct certpath *p);
/* A folder that cannot be listed. */
typedef void (*certpaths_unlisted_fn)(void *arg, const char *dir, const char *why);

/* In the order of the file; one that is named twice comes twice. It reads the tree: what is wrong
 * in it is for tlsd to say, and passed over. */
void certpaths_each(
	const struct cfg *cfg, certpaths_fn fn, certpaths_unlisted_fn unlisted, void *arg);

#endif
