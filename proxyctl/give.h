/*
 * give: descriptors of files that a daemon may no longer open, handed over by somebody who may,
 * before a reload.
 */
#ifndef PROXYCTL_GIVE_H
#define PROXYCTL_GIVE_H

#include "libcommon/cfg.h"
#include "proxyctl/fleet.h"

/* The configuration itself; NULL cfg: nothing else. Of a tlsd also what `tls` names. */
void give_files(struct member *m, const char *file, const struct cfg *cfg);
/* Only what `tls` names in that file. */
void give_tls_files(struct member *m, const char *file);

#endif
