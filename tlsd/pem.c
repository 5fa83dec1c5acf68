/* pem: see the header. */
#include "tlsd/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

int
pem_says(struct err *err, const char *path, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *why = code != 0 ? ERR_reason_error_string(code) : NULL;

	err_set(err, "%s: %s%s%s", path, what, why != NULL ? ": " : "", why != NULL ? why : "");
	ERR_clear_error();
	return -1;
}

int
pem_fail(struct pem_error *e, const char *path, const char *what)
{
	e->no = 0;
	e->path = path;
	return pem_says(&e->err, path, what);
}

static int
fail_errno(struct pem_error *e, const char *path, int no)
{
	e->no = no;
	e->path = path;
	return err_set(&e->err, "%s: cannot be read: %s", path, strerror(no));
}

/* Opened by ourselves, or by somebody who may. */
static int
open_file(const char *path, pem_fd_fn get_fd, void *arg, struct pem_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int no = errno;

	if (fd < 0 && (no == EACCES || no == EPERM) && get_fd != NULL)
		fd = get_fd(arg, path);
	return fd >= 0 ? fd : fail_errno(e, path, no);
}

/* A memory BIO with the file's bytes, or NULL. pread: a descriptor may be used twice. */
static BIO *
read_fd(int fd, const char *path, size_t max, struct stat *st, struct pem_error *e)
{
	if (fstat(fd, st) < 0) {
		fail_errno(e, path, errno);
		return NULL;
	}
	if (!S_ISREG(st->st_mode)) {
		pem_fail(e, path, "is not a file");
		return NULL;
	}

	BIO *mem = BIO_new(BIO_s_secmem());
	char buf[4096];
	size_t total = 0;

	if (mem == NULL)
		mem = BIO_new(BIO_s_mem());
	for (;;) {
		ssize_t n = pread(fd, buf, sizeof(buf), (off_t)total);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || (total += (size_t)n) > max || BIO_write(mem, buf, (int)n) != n) {
			OPENSSL_cleanse(buf, sizeof(buf));
			if (n == 0)
				return mem;
			if (n < 0)
				fail_errno(e, path, errno);
			else
				pem_fail(e, path, "is too large for a certificate or key");
			BIO_free(mem);
			return NULL;
		}
	}
}

BIO *
pem_read(const char *path, size_t max, pem_fd_fn get_fd, void *arg, struct stat *st,
	struct pem_error *e)
{
	int fd = open_file(path, get_fd, arg, e);

	if (fd < 0)
		return NULL;

	BIO *mem = read_fd(fd, path, max, st, e);

	close(fd);
	return mem;
}

bool
pem_at_end(void)
{
	unsigned long code = ERR_peek_last_error();
	bool is_end =
		ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;

	if (is_end)
		ERR_clear_error();
	return is_end;
}
