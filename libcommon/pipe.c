/*
 * pipe: a small stock of pipes. What nobody needs is closed down to IDLE_MAX, so that one busy hour
 * does not keep descriptors for ever.
 */
#include "libcommon/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/mem.h"

#define IDLE_MAX 16
/*
 * Linux' own 64 kB mean a call in and a call out for each sixteen pages; four times that lets a
 * whole window through at once (100 kB answers for a quarter less, uploads for a third less). Some
 * kernels sell users that have many pipes only tiny ones: these are worse than a copy.
 */
#define PIPE_BYTES     (256 * 1024)
#define PIPE_BYTES_MIN (64 * 1024)

static void
destroy(struct pipes *ps, struct pipe *p)
{
	close(p->rd);
	close(p->wr);
	free(p);
	ps->count--;
}

void
pipes_init(struct pipes *ps, unsigned max)
{
	*ps = (struct pipes){ .max = max };
}

void
pipes_fini(struct pipes *ps)
{
	while (ps->idle != NULL) {
		struct pipe *p = ps->idle;

		ps->idle = p->next;
		destroy(ps, p);
	}
	ps->idle_count = 0;
}

struct pipe *
pipe_take(struct pipes *ps)
{
	struct pipe *p = ps->idle;
	int fd[2];

	if (p != NULL) {
		ps->idle = p->next;
		ps->idle_count--;
		return p;
	}
	if (ps->count >= ps->max || pipe2(fd, O_NONBLOCK | O_CLOEXEC) != 0)
		return NULL;
	if (fcntl(fd[0], F_SETPIPE_SZ, PIPE_BYTES) < 0 &&
		fcntl(fd[0], F_GETPIPE_SZ) < PIPE_BYTES_MIN) {
		close(fd[0]);
		close(fd[1]);
		ps->max = ps->count; /* not asked again before one of ours has ended */
		return NULL;
	}
	p = xmalloc(sizeof(*p));
	*p = (struct pipe){ .rd = fd[0], .wr = fd[1] };
	ps->count++;
	return p;
}

ssize_t
pipe_move(int from, int to, size_t n)
{
	ssize_t moved;

	do
		moved = splice(from, NULL, to, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (moved < 0 && errno == EINTR);
	return moved;
}

void
pipe_give(struct pipes *ps, struct pipe **held)
{
	struct pipe *p = *held;

	*held = NULL;
	if (p == NULL)
		return;
	if (p->n > 0 || ps->idle_count >= IDLE_MAX) {
		destroy(ps, p);
		return;
	}
	p->next = ps->idle;
	ps->idle = p;
	ps->idle_count++;
}
