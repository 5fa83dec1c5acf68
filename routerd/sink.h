/*
 * sink: where a message goes next: head, bytes, end, abort; and source, who it comes from. Stages
 * are chained by these two alone, so none knows its neighbour: a response plays into the same sink
 * whether it comes from a server, from us, or from a store.
 *
 * Calls only queue; flush hands what is queued to the kernel. A sink that is full says so and the
 * producer stops; "ready again" puts the producer on the worker's run queue, it never calls it. No
 * stage buffers without a bound.
 *
 * Bytes travel in one of two ways: the producer reads them and gives them to data, or the sink
 * pulls them from the producer's stream, so that they need not pass through our memory at all.
 */
#ifndef ROUTERD_SINK_H
#define ROUTERD_SINK_H

#include <stdint.h>

#include "libcommon/loop.h"
#include "libcommon/msg.h"
#include "routerd/buf.h"
#include "libcommon/stream.h"

enum sink_result {
	SINK_OK,
	SINK_FULL, /* all was taken, but send no more until told */
	SINK_GONE, /* nobody is there any more; everything is dropped from now on */
};

#define SINK_NO_PULL (-3)

struct sink;
struct sink_ops {
	/* Values in m are copied or encoded before it returns. */
	enum sink_result (*head)(struct sink *k, struct msg *m);
	/* b owns p (NULL: p is static or lives as long as the request); kept by reference if it
	 * cannot go at once. */
	enum sink_result (*data)(struct sink *k, struct buf *b, const char *p, size_t n);
	/* trailers may be NULL. */
	enum sink_result (*end)(struct sink *k, const struct field *trailers, uint16_t count);
	enum sink_result (*flush)(struct sink *k);
	/*
	 * Take up to n bytes of the message's body straight from `from`; NULL where bytes have to
	 * pass through memory. > 0 bytes taken, 0 the end of `from`, STREAM_AGAIN, STREAM_ERROR
	 * (of `from`), or SINK_NO_PULL: not this message, or not now; read and call data.
	 */
	ssize_t (*pull)(struct sink *k, struct stream *from, size_t n);
	/*
	 * Shall what is queued wait for bytes that can be had at once, and go with them? NULL:
	 * never. `from` is the stream that they could be pulled from, NULL if that is not worth it.
	 */
	bool (*gathers)(const struct sink *k, const struct stream *from);
};

struct sink {
	const struct sink_ops *ops;
	struct run_item
		*producer; /* put on the run queue when there is room again; NULL: nobody waits */
};

#endif
