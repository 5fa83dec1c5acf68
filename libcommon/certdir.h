/*
 * certdir: which files of a folder are a certificate and its key. Nothing is parsed here.
 */
#ifndef LIBCOMMON_CERTDIR_H
#define LIBCOMMON_CERTDIR_H

/* Both are the callee's for the call; key is the same text as cert when it stands there. */
typedef void (*certdir_fn)(void *arg, const char *cert, const char *key);

/*
 * By name: NAME.pem and NAME.crt with the key in NAME.key or, when that is not there, in the same
 * file; and of each folder in it fullchain.pem with privkey.pem. Names that begin with a dot are
 * passed over. -1 with errno when it cannot be listed.
 */
int certdir_each(const char *dir, certdir_fn fn, void *arg);

#endif
