/*
 * ticketfile: see the header. The file is written beside and renamed under a lock on a third file;
 * whoever may read it can open sessions, so it is refused when that is anybody but us.
 */
#include "tlsd/ticketfile.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/mem.h"

#define MAGIC     "weir-tickets-1\n"
#define MAGIC_N   (sizeof(MAGIC) - 1)
#define RECORD_N  (8 + TICKET_NAME + 32 + 32)
#define LOCK_MS   2000
#define LOCK_STEP 20

_Static_assert(MAGIC_N + 1 + TICKET_KEYS_MAX * RECORD_N + SHA256_DIGEST_LENGTH <= TICKETFILE_BYTES,
	"room for all keys");

/* ---- the book ---- */

static void
forget(struct ticket_book *b, size_t i)
{
	memmove(&b->v[i], &b->v[i + 1], (b->n - i - 1) * sizeof(b->v[0]));
	b->n--;
	OPENSSL_cleanse(&b->v[b->n], sizeof(b->v[0]));
}

static bool
add(struct ticket_book *b, int64_t from_ms)
{
	if (b->n == TICKET_KEYS_MAX)
		forget(b, 0);
	if (!ticket_key_make(&b->v[b->n].key))
		return false;
	b->v[b->n++].from_ms = from_ms;
	return true;
}

size_t
ticket_book_current(const struct ticket_book *b, int64_t now_ms)
{
	size_t found = b->n;

	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].from_ms <= now_ms)
			found = i;
	return found;
}

int
ticket_book_advance(struct ticket_book *b, int64_t now_ms, int64_t rotate_ms)
{
	size_t before = b->n;
	int changed = 0;

	/* those whose time is over, and those from a clock that was set back */
	for (size_t i = b->n; i-- > 0;)
		if (b->v[i].from_ms + 2 * rotate_ms <= now_ms ||
			b->v[i].from_ms > now_ms + 2 * rotate_ms)
			forget(b, i);
	changed = b->n != before;

	size_t current = ticket_book_current(b, now_ms);

	if (current == b->n || b->v[current].from_ms + rotate_ms <= now_ms) {
		/* nobody looked for a period or more: what would have come next begins now */
		while (b->n > 0 && b->v[b->n - 1].from_ms > now_ms)
			forget(b, b->n - 1);
		if (!add(b, now_ms))
			return -1;
		changed = 1;
	}
	if (b->v[b->n - 1].from_ms <= now_ms) {
		if (!add(b, b->v[b->n - 1].from_ms + rotate_ms))
			return -1;
		changed = 1;
	}
	return changed;
}

int64_t
ticket_book_wait_ms(const struct ticket_book *b, int64_t now_ms)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].from_ms > now_ms)
			return b->v[i].from_ms - now_ms;
	return 1;
}

static uint8_t *
put(uint8_t *to, const void *p, size_t n)
{
	memcpy(to, p, n);
	return to + n;
}

size_t
ticket_book_encode(const struct ticket_book *b, uint8_t out[static TICKETFILE_BYTES])
{
	uint8_t *to = put(out, MAGIC, MAGIC_N);

	*to++ = (uint8_t)b->n;
	for (size_t i = 0; i < b->n; i++) {
		for (int shift = 56; shift >= 0; shift -= 8)
			*to++ = (uint8_t)((uint64_t)b->v[i].from_ms >> shift);
		to = put(to, b->v[i].key.name, TICKET_NAME);
		to = put(to, b->v[i].key.aes, sizeof(b->v[i].key.aes));
		to = put(to, b->v[i].key.mac, sizeof(b->v[i].key.mac));
	}
	SHA256(out, (size_t)(to - out), to);
	return (size_t)(to - out) + SHA256_DIGEST_LENGTH;
}

static const uint8_t *
take(void *to, const uint8_t *p, size_t n)
{
	memcpy(to, p, n);
	return p + n;
}

int
ticket_book_decode(struct ticket_book *b, const uint8_t *p, size_t n)
{
	uint8_t md[SHA256_DIGEST_LENGTH];

	*b = (struct ticket_book){ .n = 0 };
	if (n < MAGIC_N + 1 || memcmp(p, MAGIC, MAGIC_N) != 0 || p[MAGIC_N] > TICKET_KEYS_MAX ||
		n != MAGIC_N + 1 + p[MAGIC_N] * RECORD_N + sizeof(md))
		return -1;
	SHA256(p, n - sizeof(md), md);
	if (memcmp(md, p + n - sizeof(md), sizeof(md)) != 0)
		return -1;

	size_t count = p[MAGIC_N];

	p += MAGIC_N + 1;
	for (size_t i = 0; i < count; i++) {
		uint64_t from = 0;

		for (int k = 0; k < 8; k++)
			from = from << 8 | *p++;
		b->v[i].from_ms = (int64_t)(from & INT64_MAX >> 1); /* sums cannot overflow */
		p = take(b->v[i].key.name, p, TICKET_NAME);
		p = take(b->v[i].key.aes, p, sizeof(b->v[i].key.aes));
		p = take(b->v[i].key.mac, p, sizeof(b->v[i].key.mac));
		if (i > 0 && b->v[i].from_ms < b->v[i - 1].from_ms)
			return -1;
	}
	b->n = count;
	return 0;
}

/* ---- the file ---- */

static int
fail(struct err *err, const char *path, int no)
{
	return err_set(err, "%s: %s", path, strerror(no));
}

/* state_dir may be written by others: what stands in it under our name has to be ours. */
static int
open_folder(const char *folder, struct err *err)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return fail(err, folder, errno);
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 022) == 0)
		return fd;
	close(fd);
	return err_set(
		err, "%s: others may write there, expected a folder of our own, mode 0700", folder);
}

/* Held until the descriptor is closed. */
static int
lock(int dir, const char *folder, struct err *err)
{
	char *path = xasprintf("%s/lock", folder);
	int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = -1;

	for (int waited = 0; fd >= 0; waited += LOCK_STEP) {
		rc = flock(fd, LOCK_EX | LOCK_NB);
		if (rc == 0 || (errno != EWOULDBLOCK && errno != EINTR) || waited >= LOCK_MS)
			break;
		usleep(LOCK_STEP * 1000);
	}
	if (rc < 0) {
		fail(err, path, errno);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	free(path);
	return fd;
}

/* 0 also when there is none yet, or it is garbled: then the book is empty. */
static int
read_book(int dir, const char *path, struct ticket_book *b, struct err *err)
{
	uint8_t bytes[TICKETFILE_BYTES + 1];
	struct stat st;
	int fd = openat(dir, "keys", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;

	b->n = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : fail(err, path, errno);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0 ||
		st.st_uid != geteuid()) {
		close(fd);
		return err_set(
			err, "%s: others may read it, expected a file of our own, mode 0600", path);
	}
	n = read(fd, bytes, sizeof(bytes));
	close(fd);
	if (n < 0)
		return fail(err, path, errno);
	if (ticket_book_decode(b, bytes, (size_t)n) < 0)
		b->n = 0;
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return 0;
}

static int
write_book(int dir, const char *path, const struct ticket_book *b, struct err *err)
{
	uint8_t bytes[TICKETFILE_BYTES];
	size_t n = ticket_book_encode(b, bytes);
	static const char temp[] = "keys.new";
	int fd;
	int rc = -1;

	unlinkat(dir, temp, 0); /* of one who died; the lock is ours */
	fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		errno = ENOSPC; /* a write that is short does not say so */
	if (fd >= 0 && write(fd, bytes, n) == (ssize_t)n && fsync(fd) == 0)
		rc = renameat(dir, temp, dir, "keys");
	if (rc < 0) {
		fail(err, path, errno);
		unlinkat(dir, temp, 0);
	}
	if (fd >= 0)
		close(fd);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return rc;
}

int
ticketfile_turn(const char *folder, int64_t now_ms, int64_t rotate_ms, struct ticket_book *b,
	struct err *err)
{
	char *path = xasprintf("%s/keys", folder);
	int dir = open_folder(folder, err);
	int held = dir >= 0 ? lock(dir, folder, err) : -1;
	int rc = held >= 0 ? read_book(dir, path, b, err) : -1;

	if (rc == 0) {
		int changed = ticket_book_advance(b, now_ms, rotate_ms);

		if (changed < 0)
			rc = err_set(err, "no randomness for ticket keys");
		else if (changed > 0)
			rc = write_book(dir, path, b, err);
	}
	if (held >= 0)
		close(held);
	if (dir >= 0)
		close(dir);
	free(path);
	return rc;
}
