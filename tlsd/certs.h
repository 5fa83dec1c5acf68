/*
 * certs: a certificate with its chain and key, as read from PEM files, checked to belong together.
 * Shared by generations, counted. Nothing is opened after loading.
 */
#ifndef TLSD_CERTS_H
#define TLSD_CERTS_H

#include <openssl/x509.h>
#include <sys/stat.h>

#include "libcommon/err.h"
#include "tlsd/pem.h"
#include "tlsd/staple.h"

struct cert {
	_Atomic unsigned refs;
	char *cert_path;
	char *key_path; /* the same as cert_path when the key stands there */
	X509 *leaf;
	STACK_OF(X509) * chain; /* without the leaf; may be NULL */
	EVP_PKEY *key;
	char **names; /* DNS names (the common name when there are none), then addresses */
	size_t nnames;
	size_t ndns;          /* of them, how many are DNS names */
	const char *key_type; /* "RSA", "ECDSA", "Ed25519" ... */
	int64_t not_before;   /* seconds since 1970 */
	int64_t not_after;
	char *issuer;         /* its common name, else its organisation */
	char serial[64];      /* hex */
	char fingerprint[65]; /* SHA-256 of the leaf, hex */
	struct stat cert_st;  /* of the files as they were read; zeros: not there */
	struct stat key_st;
	struct stat ocsp_st;
	bool is_self_signed_own; /* made by us */
	bool wants_staple;       /* the certificate says that it comes with one */
	char *ocsp_path;         /* NULL: none is looked for */
	struct staple staple;
	enum staple_result staple_state;
	struct err staple_err; /* when BAD or REVOKED */
};

/* The one that a leaf belongs to, as long as it lives; NULL: none of ours. */
const struct cert *cert_of_leaf(const X509 *leaf);

/* It is still the file that stat said `before` of. */
bool cert_is_same_file(const char *path, const struct stat *before);

/* key_path NULL: in the certificate's file. NULL with e. get_fd may be NULL. Blocks on files. */
struct cert *cert_load(const char *cert_path, const char *key_path, pem_fd_fn get_fd, void *arg,
	struct pem_error *e);
/*
 * For a reload when the key cannot be read: `old` was loaded from the same files. If the
 * certificate there still belongs to the old key, the pair (old again when nothing changed);
 * NULL with e when it does not, or when it cannot be told.
 */
struct cert *cert_renew(struct cert *old, struct pem_error *e);
/* A staple for it from this file, or why not: staple_state. Before others see the certificate. */
void cert_load_staple(struct cert *c, const char *path);
/* The files are still those that it was read from. */
bool cert_is_unchanged(const struct cert *c);
struct cert *cert_ref(struct cert *c);
void cert_unref(struct cert *c);

bool cert_is_expired(const struct cert *c, int64_t now_s);
/* Findings (warnings) for a certificate that is expired or not yet valid, or whose staple cannot be
 * shown. */
void cert_warn(const struct cert *c, struct err_at at, const char *path, struct errs *errs);

#endif
