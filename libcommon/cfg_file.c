/*
 * cfg_file: the file itself: reading it within its limit, its folder, the hash of its bytes.
 */
#include "libcommon/cfg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/cfg_parts.h"

/* 128-bit FNV-1a. */
void
cfg_hash(struct slice text, char out[static CFG_HASH])
{
	static const char hex[] = "0123456789abcdef";
	unsigned __int128 prime = ((unsigned __int128)1 << 88) + 0x13b;
	unsigned __int128 h = ((unsigned __int128)0x6c62272e07bb0142 << 64) | 0x62b821756295c58d;

	for (size_t i = 0; i < text.n; i++) {
		h ^= (unsigned char)text.p[i];
		h *= prime;
	}
	for (int i = 31; i >= 0; i--) {
		out[i] = hex[(unsigned)h & 15];
		h >>= 4;
	}
	out[32] = '\0';
}

struct cfg *
cfg_new(const char *name, const char *dir, struct slice text)
{
	struct cfg *c = xcalloc(1, sizeof(*c));

	c->file = xstrdup(name);
	c->dir = xstrdup(dir);
	cfg_hash(text, c->hash);
	c->arena = xmalloc(sizeof(*c->arena));
	arena_init(c->arena, 64 * 1024);
	return c;
}

void
cfg_free(struct cfg *c)
{
	if (c == NULL)
		return;
	arena_fini(c->arena);
	free(c->arena);
	free(c->dir);
	free(c->file);
	free(c);
}

/* A pipe has no places in it: what comes next is all there is. */
static ssize_t
read_some(int fd, char *to, size_t room, size_t at)
{
	ssize_t n = pread(fd, to, room, (off_t)at);

	return n < 0 && errno == ESPIPE ? read(fd, to, room) : n;
}

/* At most one byte more than the limit. -1 with errno. */
static int
read_fd(int fd, struct sbuf *out)
{
	ssize_t n = 1;

	while (n > 0 && out->n <= CFG_BYTES_MAX) {
		n = read_some(fd, sbuf_reserve(out, 64 * 1024), 64 * 1024, out->n);
		if (n > 0)
			out->n += (size_t)n;
		else if (n < 0 && errno == EINTR)
			n = 1;
	}
	return n < 0 ? -1 : 0;
}

/* -1 with errno. */
static int
open_regular(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		close(fd);
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		fd = -1;
	}
	return fd;
}

int
cfg_read(const char *path, struct sbuf *out)
{
	int fd = open_regular(path);
	int rc = fd >= 0 ? read_fd(fd, out) : -1;
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	if (rc == 0 && out->n > CFG_BYTES_MAX) {
		errno = EFBIG;
		rc = -1;
	}
	return rc;
}

int
cfg_hash_file(const char *path, char out[static CFG_HASH])
{
	struct sbuf text = { 0 };
	int rc = cfg_read(path, &text);

	out[0] = '\0';
	if (rc == 0)
		cfg_hash(sbuf_slice(&text), out);

	int saved = errno;

	sbuf_fini(&text);
	errno = saved;
	return rc;
}

/* The folder that a file stands in, absolute; NULL with errno. */
static char *
folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == NULL ? xstrdup(".")
		: slash == path   ? xstrdup("/")
				  : xstrndup(path, (size_t)(slash - path));
	char *real = realpath(dir, NULL);
	int saved = errno;

	free(dir);
	errno = saved;
	return real;
}

struct cfg *
cfg_load_fd(
	int fd, const char *path, const char *dir, char hash[static CFG_HASH], struct errs *errs)
{
	struct sbuf text = { 0 };
	struct cfg *c = NULL;
	char *found = dir != NULL ? xstrdup(dir) : NULL;

	hash[0] = '\0';
	if (fd < 0 || read_fd(fd, &text) < 0 ||
		(found == NULL && (found = folder_of(path)) == NULL)) {
		cfg_report(errs, (struct err_at){ .file = path }, "", "cannot read: %s",
			strerror(errno));
	} else {
		c = cfg_parse(path, found, sbuf_slice(&text), errs);
		if (text.n <= CFG_BYTES_MAX)
			cfg_hash(sbuf_slice(&text), hash);
	}
	free(found);
	sbuf_fini(&text);
	return c;
}

struct cfg *
cfg_load_hash(const char *path, char hash[static CFG_HASH], struct errs *errs)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct cfg *c = cfg_load_fd(fd, path, NULL, hash, errs);

	if (fd >= 0)
		close(fd);
	return c;
}

struct cfg *
cfg_load_rest(const char *path)
{
	struct sbuf text = { 0 };
	struct cfg *c = NULL;
	char *dir = folder_of(path);

	if (dir != NULL && cfg_read(path, &text) == 0)
		c = cfg_parse_rest(path, dir, sbuf_slice(&text));
	free(dir);
	sbuf_fini(&text);
	return c;
}

struct cfg *
cfg_load(const char *path, struct errs *errs)
{
	char hash[CFG_HASH];

	return cfg_load_hash(path, hash, errs);
}
