/*
 * pipe: kernel pipes that large bodies pass through from socket to socket without a copy into our
 * memory (splice). Borrowed while bytes wait in them and given back when empty, like buffers; one
 * worker's own.
 */
#ifndef LIBCOMMON_PIPE_H
#define LIBCOMMON_PIPE_H

#include <sys/types.h>

struct pipe {
	struct pipe *next;
	int rd;
	int wr;
	size_t n; /* bytes that wait in it: who holds it counts */
};

struct pipes {
	struct pipe *idle;
	unsigned idle_count;
	unsigned count; /* idle and lent */
	unsigned max;
};

/* Each of the max pipes takes two descriptors; without a free one bodies go through memory. */
void pipes_init(struct pipes *ps, unsigned max);
/* Those that are lent out must have come back. */
void pipes_fini(struct pipes *ps);

/* An empty pipe; NULL at the limit, and when the system gives none that is worth it. */
struct pipe *pipe_take(struct pipes *ps);
/* splice(2), as recv(2) and send(2) do it: up to n bytes that are there, between a socket and a
 * pipe's end; 0 at the end, -1 with errno. */
ssize_t pipe_move(int from, int to, size_t n);
/* NULL takes its place, as it may stand there. Only an empty one serves again; what another still
 * holds ends with it. */
void pipe_give(struct pipes *ps, struct pipe **held);

#endif
