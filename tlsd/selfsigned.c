/*
 * selfsigned: an ECDSA P-256 certificate that signs itself. Written beside and renamed, so that a
 * start that is cut off leaves no half file.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/addr.h"
#include "libcommon/folder.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"
#include "tlsd/selfsigned.h"
#include "tlsd/sni.h"

#define VALID_DAYS  397
#define RENEW_S     86400 /* made anew in the last day of its life */
#define FILE_ID_MAX 120

bool
selfsigned_name_ok(const char *name)
{
	return addr_is_ip(name) || sni_name_ok(name);
}

/* STATE_DIR/self-signed/localhost_127.0.0.1.pem, on the heap. The names make its name; too long a
 * list is cut and told apart by a hash. */
static char *
path_of(const char *state_dir, const struct cfg_list *names)
{
	struct sbuf id = { 0 };
	uint64_t hash = 14695981039346656037u;

	for (size_t i = 0; i < names->n; i++) {
		if (i > 0)
			sbuf_addc(&id, '_');
		sbuf_adds(&id, *CFG_AT(char *, *names, i));
	}
	for (size_t i = 0; i < id.n; i++) {
		hash = (hash ^ (unsigned char)id.p[i]) * 1099511628211u;
		if (id.p[i] == '*')
			id.p[i] = '+';
		else if (id.p[i] == '/')
			id.p[i] = '-';
	}
	if (id.n > FILE_ID_MAX) {
		id.n = FILE_ID_MAX;
		sbuf_addf(&id, "_%016llx", (unsigned long long)hash);
	}

	char *path = xasprintf("%s/self-signed/%s.pem", state_dir, id.p);

	sbuf_fini(&id);
	return path;
}

static bool
add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);

	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = ext != NULL && X509_add_ext(x, ext, -1) == 1;

	X509_EXTENSION_free(ext);
	return ok;
}

static bool
add_names(X509 *x, const struct cfg_list *names)
{
	struct sbuf san = { 0 };

	for (size_t i = 0; i < names->n; i++) {
		const char *name = *CFG_AT(char *, *names, i);

		sbuf_addf(&san, "%s%s:%s", i > 0 ? "," : "", addr_is_ip(name) ? "IP" : "DNS", name);
	}

	bool ok = add_extension(x, NID_subject_alt_name, san.p);

	sbuf_fini(&san);
	return ok;
}

static bool
fill(X509 *x, EVP_PKEY *key, const struct cfg_list *names)
{
	unsigned char serial[16];
	BIGNUM *bn = NULL;
	X509_NAME *subject = X509_get_subject_name(x);
	const char *cn = "weir, for trials only";
	bool ok = RAND_bytes(serial, sizeof(serial)) == 1;

	serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40);
	ok = ok && (bn = BN_bin2bn(serial, sizeof(serial), NULL)) != NULL &&
		BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) != NULL;
	BN_free(bn);
	return ok && X509_set_version(x, X509_VERSION_3) == 1 &&
		X509_gmtime_adj(X509_getm_notBefore(x), -300) != NULL &&
		X509_gmtime_adj(X509_getm_notAfter(x), VALID_DAYS * 86400L) != NULL &&
		X509_NAME_add_entry_by_txt(
			subject, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) == 1 &&
		X509_set_issuer_name(x, subject) == 1 && X509_set_pubkey(x, key) == 1 &&
		add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
		add_extension(x, NID_key_usage, "critical,digitalSignature") &&
		add_extension(x, NID_ext_key_usage, "serverAuth") && add_names(x, names) &&
		X509_sign(x, key, EVP_sha256()) > 0;
}

static int
write_pem(int fd, X509 *x, EVP_PKEY *key)
{
	FILE *f = fdopen(fd, "w");

	if (f == NULL) {
		close(fd);
		return -1;
	}

	bool ok = PEM_write_X509(f, x) == 1 &&
		PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1;

	ok = fflush(f) == 0 && fsync(fd) == 0 && ok;
	return fclose(f) == 0 && ok ? 0 : -1;
}

static int
write_file(const char *path, X509 *x, EVP_PKEY *key, uid_t uid, struct err *err)
{
	char *temp = xasprintf("%s.%ld", path, (long)getpid());
	int fd;
	int rc;

	unlink(temp); /* of one who died; the folder is ours */
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	rc = fd < 0 ? -1 : 0;

	if (rc == 0 && uid != (uid_t)-1 && geteuid() == 0)
		rc = fchown(fd, uid, (gid_t)-1);
	if (rc == 0)
		rc = write_pem(fd, x, key);
	else if (fd >= 0)
		close(fd);
	if (rc == 0)
		rc = rename(temp, path);
	if (rc < 0) {
		err_set(err, "%s: cannot be written: %s", path, strerror(errno));
		unlink(temp);
	}
	free(temp);
	return rc;
}

static int
make(const char *path, const struct cfg_list *names, uid_t uid, struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	int rc = -1;

	ERR_clear_error();
	if (key == NULL || x == NULL || !fill(x, key, names))
		err_set(err, "%s: a certificate cannot be made: %s", path,
			ERR_reason_error_string(ERR_peek_last_error()));
	else
		rc = write_file(path, x, key, uid, err);
	ERR_clear_error();
	X509_free(x);
	EVP_PKEY_free(key);
	return rc;
}

/*
 * state_dir may be written by others: a folder in it that is none of ours could give us any
 * certificate, or let its owner read the key that we make. 1 when it is there, 0 when it is not.
 */
static int
check_folder(const char *dir, uid_t uid, struct err *err)
{
	struct stat st;

	if (lstat(dir, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR
			? 0
			: err_set(err, "%s: %s", dir, strerror(errno));
	if (S_ISDIR(st.st_mode) && (st.st_mode & 022) == 0 &&
		(st.st_uid == geteuid() || st.st_uid == uid))
		return 1;
	return err_set(
		err, "%s: others may write there, expected a folder of our own, mode 0700", dir);
}

static int
give_folder(const char *dir, uid_t uid)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int rc = fd >= 0 ? fchown(fd, uid, (gid_t)-1) : -1;

	if (fd >= 0)
		close(fd);
	return rc;
}

static int
make_folder(const char *dir, uid_t uid, struct err *err)
{
	if (mkdir(dir, 0700) < 0)
		return err_set(err, "%s: cannot be made: %s", dir, strerror(errno));
	if (uid != (uid_t)-1 && geteuid() == 0 && give_folder(dir, uid) < 0)
		return err_set(err, "%s: %s", dir, strerror(errno));
	return 0;
}

static int
make_folders(const char *state_dir, const char *dir, uid_t uid, struct err *err)
{
	int is_there;

	if (folder_make(state_dir, 0755) < 0 && errno != EEXIST)
		return err_set(err, "%s: cannot be made: %s", state_dir, strerror(errno));
	is_there = check_folder(dir, uid, err);
	return is_there != 0 ? (is_there < 0 ? -1 : 0) : make_folder(dir, uid, err);
}

static struct cert *
load_valid(const char *path, struct pem_error *e)
{
	struct cert *c = cert_load(path, NULL, NULL, NULL, e);

	if (c != NULL && cert_is_expired(c, (int64_t)time(NULL) + RENEW_S)) {
		cert_unref(c);
		c = NULL;
		e->no = ENOENT;
	}
	return c;
}

struct cert *
selfsigned_get(
	const char *state_dir, const struct cfg_list *names, uid_t uid, bool *made, struct err *err)
{
	char *path = path_of(state_dir, names);
	char *dir = xasprintf("%s/self-signed", state_dir);
	struct pem_error e = { .no = 0 };
	bool is_fine = check_folder(dir, uid, err) >= 0;
	struct cert *c = is_fine ? load_valid(path, &e) : NULL;

	*made = false;
	if (c == NULL && e.no == ENOENT) {
		if (make_folders(state_dir, dir, uid, err) == 0 &&
			make(path, names, uid, err) == 0) {
			*made = true;
			c = load_valid(path, &e);
			if (c == NULL)
				*err = e.err;
		}
	} else if (c == NULL && is_fine) {
		*err = e.err;
	}
	if (c != NULL)
		c->is_self_signed_own = true;
	free(dir);
	free(path);
	return c;
}
