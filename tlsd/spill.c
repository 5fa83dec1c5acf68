/*
 * spill: see the header. send(2) with MSG_NOSIGNAL; a full socket is no error.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libcommon/mem.h"
#include "tlsd/spill.h"

void
spill_fini(struct spill *s)
{
	free(s->p);
	*s = (struct spill){ 0 };
}

bool
spill_add(struct spill *s, const char *p, size_t n)
{
	if (n > SPILL_MAX - s->n)
		return false;
	if (n == 0)
		return true; /* there may be no memory yet to copy nothing to */
	if (s->off > 0 && s->off + s->n + n > s->cap) {
		memmove(s->p, s->p + s->off, s->n);
		s->off = 0;
	}
	if (s->n + n > s->cap) {
		s->cap = (uint32_t)(s->n + n);
		s->p = xrealloc(s->p, s->cap);
	}
	memcpy(s->p + s->off + s->n, p, n);
	s->n += (uint32_t)n;
	return true;
}

/* Bytes sent, 0 when the socket is full, -1 with errno. */
static ssize_t
send_some(int fd, const char *p, size_t n)
{
	for (;;) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r >= 0)
			return r;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return 0;
		if (errno != EINTR)
			return -1;
	}
}

enum spill_result
spill_send(struct spill *s, int fd)
{
	if (s->n == 0)
		return SPILL_DONE;

	ssize_t r = send_some(fd, s->p + s->off, s->n);

	if (r < 0)
		return SPILL_FAILED;
	s->off += (uint32_t)r;
	s->n -= (uint32_t)r;
	if (s->n > 0)
		return SPILL_BLOCKED;
	spill_fini(s);
	return SPILL_DONE;
}

enum spill_result
spill_send_new(struct spill *s, int fd, const char *p, size_t n)
{
	ssize_t r = send_some(fd, p, n);

	if (r < 0)
		return SPILL_FAILED;
	if ((size_t)r == n)
		return SPILL_DONE;
	return spill_add(s, p + r, n - (size_t)r) ? SPILL_BLOCKED : SPILL_FAILED;
}
