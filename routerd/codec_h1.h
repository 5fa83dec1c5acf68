/*
 * codec_h1: HTTP/1 on a client connection: bytes to requests.
 */
#ifndef ROUTERD_CODEC_H1_H
#define ROUTERD_CODEC_H1_H

#include "routerd/conn.h"

extern const struct conn_codec codec_h1;

#endif
