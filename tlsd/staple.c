/*
 * staple: see the header. What a response must say is in libcommon/ocspcheck.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/tls1.h>
#include <openssl/x509v3.h>
#include <time.h>
#include <unistd.h>

#include "tlsd/staple.h"

static enum staple_result
bad(struct err *err, const char *path, const char *what)
{
	err_set(err, "%s: %s", path, what);
	return STAPLE_BAD;
}

static enum staple_result
read_file(struct staple *s, const char *path, struct stat *st, struct err *err)
{
	static unsigned char buf[OCSPCHECK_MAX + 1]; /* main thread only */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = -1;

	memset(st, 0, sizeof(*st));
	if (fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return STAPLE_NONE;
		return bad(err, path, strerror(errno));
	}
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		n = pread(fd, buf, sizeof(buf), 0);
	close(fd);
	if (n <= 0 || n > OCSPCHECK_MAX)
		return bad(err, path, "is no file of 1 byte to 64 kB");
	s->der = OPENSSL_memdup(buf, (size_t)n);
	s->n = (int)n;
	return s->der != NULL ? STAPLE_OK : bad(err, path, "no memory");
}

static enum staple_result
check(struct staple *s, const char *path, X509 *leaf, STACK_OF(X509) * chain, struct err *err)
{
	struct err why;

	switch (ocspcheck(
		s->der, (size_t)s->n, leaf, chain, (int64_t)time(NULL), &s->times, &why)) {
	case OCSPCHECK_GOOD: return STAPLE_OK;
	case OCSPCHECK_REVOKED: (void)bad(err, path, why.text); return STAPLE_REVOKED;
	case OCSPCHECK_BAD: break;
	}
	return bad(err, path, why.text);
}

enum staple_result
staple_load(struct staple *out, const char *path, X509 *leaf, STACK_OF(X509) * chain,
	struct stat *st, struct err *err)
{
	*out = (struct staple){ .n = 0 };

	enum staple_result r = read_file(out, path, st, err);

	if (r == STAPLE_OK)
		r = check(out, path, leaf, chain, err);
	if (r != STAPLE_OK)
		staple_fini(out);
	return r;
}

void
staple_fini(struct staple *s)
{
	OPENSSL_free(s->der);
	*s = (struct staple){ .n = 0 };
}

bool
staple_is_valid(const struct staple *s, int64_t now_s)
{
	return ocspcheck_holds(&s->times, now_s);
}

bool
staple_is_required(X509 *leaf)
{
	TLS_FEATURE *all = X509_get_ext_d2i(leaf, NID_tlsfeature, NULL, NULL);
	bool is_found = false;

	for (int i = 0; i < sk_ASN1_INTEGER_num(all); i++)
		is_found |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(all, i)) ==
			TLSEXT_TYPE_status_request;
	sk_ASN1_INTEGER_pop_free(all, ASN1_INTEGER_free);
	return is_found;
}
