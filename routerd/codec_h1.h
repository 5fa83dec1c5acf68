/*
 * codec_h1: HTTP/1 on a client connection: bytes to a request, and the request's client side.
 */
#ifndef ROUTERD_CODEC_H1_H
#define ROUTERD_CODEC_H1_H

#include "routerd/conn.h"

size_t codec_h1_client_size(void);
/* Bytes are in c->in (or the stream is readable): read and parse until a request begins, more is
 * needed, or it is refused. */
void codec_h1_read(struct conn *c);
/* Readiness changed while a request is in progress. */
void codec_h1_event(struct conn *c);
/* The connection's deadline passed while a request is in progress. */
void codec_h1_deadline(struct conn *c);
/* Answer a request that never became one (bad head, time-out of the head) and close. */
void codec_h1_refuse(struct conn *c, uint16_t status, const char *reason);

/* The process ends: cut the request in progress, and the connection. */
void codec_h1_abort(struct conn *c);

#endif
