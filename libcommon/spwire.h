/*
 * spwire: SP over IPC as bytes, what nanomsg speaks on Unix sockets: a greeting of eight bytes each
 * way, then messages of a type byte (1), a length of eight bytes (big endian) and that many bytes.
 * Pure. Anything else is refused with a reason; nothing is allocated.
 */
#ifndef LIBCOMMON_SPWIRE_H
#define LIBCOMMON_SPWIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcommon/slice.h"

#define SPWIRE_GREETING 8
#define SPWIRE_HEADER   9

enum spwire_proto { SPWIRE_PUB = 0x20, SPWIRE_SUB = 0x21 };

void spwire_greeting(enum spwire_proto mine, char out[static SPWIRE_GREETING]);
/* Fill in the header of a message of n bytes. */
void spwire_header(uint64_t n, char out[static SPWIRE_HEADER]);

/* What arrives on one connection. Zero and set `peer` and `max` to start. */
struct spwire {
	enum spwire_proto peer; /* what the other side must be */
	uint32_t max;           /* bytes of a message's payload */
	bool is_greeted;
};

/*
 * Look at the front of p[0..n). Returns how many bytes it used: those of the greeting (msg->p is
 * NULL then) or of one whole message, whose payload msg points to in p; 0 when more bytes are
 * needed; -1 with a constant reason when they break the protocol.
 */
ssize_t spwire_next(
	struct spwire *w, const char *p, size_t n, struct slice *msg, const char **reason);

#endif
