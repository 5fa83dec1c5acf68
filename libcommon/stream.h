/*
 * stream: bytes to and from one peer, chosen when the connection arrives: a plain socket, or TLS
 * records over a socket (stream_tls). Nothing above knows which.
 *
 * One libevent event per socket, edge-triggered for reading, writing and closing, registered once.
 * Readiness is kept as flags: back-pressure is not reading, without an epoll_ctl, and a peer that
 * goes away is still noticed.
 */
#ifndef LIBCOMMON_STREAM_H
#define LIBCOMMON_STREAM_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream;

/* Results of read and write below zero; errno tells the rest for STREAM_ERROR. */
#define STREAM_AGAIN (-1)
#define STREAM_ERROR (-2)

struct stream_ops {
	/* > 0 bytes, 0 end of what the peer sends, STREAM_AGAIN, STREAM_ERROR */
	ssize_t (*read)(struct stream *s, void *p, size_t n);
	/* >= 0 bytes taken (short when the kernel's buffer is full), STREAM_AGAIN, STREAM_ERROR.
	 * What was not taken comes first in the next call, with the same bytes: the layer may have
	 * begun on it. */
	ssize_t (*write)(struct stream *s, const struct iovec *v, int n);
	/* Tell the peer that nothing more comes. */
	void (*shutdown)(struct stream *s);
	void (*close)(struct stream *s);
	/* As read and write, but into and out of a pipe. NULL where the bytes that the peer sees
	 * are not those that we mean. */
	ssize_t (*read_pipe)(struct stream *s, int pipe_fd, size_t n);
	ssize_t (*write_pipe)(struct stream *s, int pipe_fd, size_t n);
	/* Where write_pipe is NULL: n bytes follow that could come out of a pipe; true when they
	 * may from now on. The operations are others then. May be NULL. */
	bool (*open_pipe)(struct stream *s, uint64_t n);
	/* Would it be worth a try? With open_pipe. */
	bool (*wants_pipe)(const struct stream *s, uint64_t n);
	/* An event has come, before the owner hears of it; `what` is libevent's. May be NULL. */
	void (*ready)(struct stream *s, short what);
};

/* Called when readiness changed; the owner recovers its struct and looks at the flags. */
typedef void (*stream_fn)(struct stream *s);

struct stream {
	const struct stream_ops *ops;
	stream_fn fn;
	int fd;        /* -1 once closed */
	bool readable; /* a read may give bytes, the end, or an error */
	bool writable;
	bool peer_closed; /* the peer's end or a reset was announced: a short read is not the last
			     one */
	bool is_registered;
	bool is_cut;    /* it is being reset: no goodbye */
	bool is_last;   /* nothing follows what is written now: a goodbye may go with it */
	bool is_ending; /* and the end follows at once: the same segment may tell of both */
	void *layer;    /* what the operations keep */
	struct event ev;
};

extern const struct stream_ops stream_plain;

/* Take over fd and register it. `readable`: try a read before any event (bytes may be there
 * already). */
void stream_init(struct stream *s, struct event_base *base, int fd, const struct stream_ops *ops,
	stream_fn fn);

static inline ssize_t
stream_read(struct stream *s, void *p, size_t n)
{
	return s->ops->read(s, p, n);
}

static inline ssize_t
stream_write(struct stream *s, const struct iovec *v, int n)
{
	return s->ops->write(s, v, n);
}

/* Can n bytes go to the peer out of a pipe? */
static inline bool
stream_takes_pipe(struct stream *s, uint64_t n)
{
	return s->ops->write_pipe != NULL || (s->ops->open_pipe != NULL && s->ops->open_pipe(s, n));
}

/* The same, as far as it can be told without a beginning. */
static inline bool
stream_wants_pipe(const struct stream *s, uint64_t n)
{
	return s->ops->write_pipe != NULL ||
		(s->ops->wants_pipe != NULL && s->ops->wants_pipe(s, n));
}

/* Both are fine on a closed stream. */
void stream_shutdown(struct stream *s);
void stream_close(struct stream *s);
/* Close with a reset: the peer must not take what it got for whole. */
void stream_reset(struct stream *s);
/* Take the descriptor out of the loop and give it to the caller; the stream is closed then. */
int stream_detach(struct stream *s);
/*
 * An error that arrives in one turn with bytes comes without EV_CLOSED (libevent gives it as
 * readable and writable), and a short read then takes the bytes for all there was. No event
 * follows, so who waits for this peer looks once more (stream_is_dead) when it has been quiet for
 * so long.
 */
#define STREAM_LOOK_MS 1000

/* Has the connection failed for good (error or full hang-up), as far as the kernel knows? */
bool stream_is_dead(const struct stream *s);

#endif
