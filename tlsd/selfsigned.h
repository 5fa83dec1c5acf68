/*
 * selfsigned: certificates for trials: made at the first start, kept in
 * STATE_DIR/self-signed/NAMES.pem (key and certificate, mode 0600) and used again while they are
 * valid.
 */
#ifndef TLSD_SELFSIGNED_H
#define TLSD_SELFSIGNED_H

#include <sys/types.h>

#include "libcommon/cfgbind.h"
#include "tlsd/certs.h"

/* A host name (a wildcard too) or an address. */
bool selfsigned_name_ok(const char *name);
/*
 * `names`: list of char *. *made says that a new one was written. The file is given to `uid` when
 * we are root (pass (uid_t)-1 for nobody). NULL with err. Blocks on files.
 */
struct cert *selfsigned_get(const char *state_dir, const struct cfg_list *names, uid_t uid,
	bool *made, struct err *err);

#endif
