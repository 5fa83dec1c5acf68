/*
 * pem: the bytes of PEM files, as many as are sensible, and what is wrong with them in words that
 * name the file.
 */
#ifndef TLSD_PEM_H
#define TLSD_PEM_H

#include <openssl/bio.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "libcommon/err.h"

/* A descriptor for a file that cannot be opened any more (EACCES), or -1. */
typedef int (*pem_fd_fn)(void *arg, const char *path);

struct pem_error {
	int no; /* errno when a file could not be read, else 0 */
	const char *path;
	struct err err; /* names the file */
};

/* A file's bytes, max at most, and what stat said of it; NULL with e. They are cleansed when they
 * are freed, since a key may be among them. get_fd may be NULL. Blocks on files. */
BIO *pem_read(const char *path, size_t max, pem_fd_fn get_fd, void *arg, struct stat *st,
	struct pem_error *e);
/* OpenSSL could not read another block: because there is none, and not because it is broken? */
bool pem_at_end(void);
/* -1, with "PATH: what", and what OpenSSL says. Empties its error queue. */
int pem_says(struct err *err, const char *path, const char *what);
int pem_fail(struct pem_error *e, const char *path, const char *what);

#endif
