/*
 * wskey: the keys of a WebSocket handshake over HTTP/1 (RFC 6455 §4), for a client that asked by
 * HTTP/2, which knows none, and for one whose server speaks it.
 */
#ifndef ROUTERD_WSKEY_H
#define ROUTERD_WSKEY_H

#include <stdbool.h>

#include "libcommon/slice.h"

#define WSKEY_TEXT   25
#define WSKEY_ACCEPT 32

/* A Sec-WebSocket-Key of 16 random bytes. False: there is no randomness. */
bool wskey_make(char key[WSKEY_TEXT]);
/* Is `accept` the Sec-WebSocket-Accept that belongs to the key? */
bool wskey_accepts(const char key[WSKEY_TEXT], struct slice accept);

/* The Sec-WebSocket-Accept of a key, in text; empty for a key that is none. */
struct slice wskey_accept(struct slice key, char text[WSKEY_ACCEPT]);

#endif
