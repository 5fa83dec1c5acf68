/*
 * codec_h1: HTTP/1 on a client connection: bytes to a request, and the request's client side.
 */
#ifndef ROUTERD_CODEC_H1_H
#define ROUTERD_CODEC_H1_H

#include "routerd/conn.h"

size_t codec_h1_client_size(void);
extern const struct conn_codec codec_h1;

#endif
