/*
 * codec_h2: HTTP/2 on a client connection: streams to requests, and their client sides. The files
 * codec_h2*.c are the only ones of the client's side that know nghttp2.
 */
#ifndef ROUTERD_CODEC_H2_H
#define ROUTERD_CODEC_H2_H

#include "routerd/conn.h"

struct h2_env;

/* What a worker's connections share, made with the first of them. NULL is fine. */
void codec_h2_env_free(struct h2_env *env);
/* Free what was not needed since the last time; true: there is more to free, later. */
bool codec_h2_env_trim(struct h2_env *env);

/*
 * The connection speaks HTTP/2 from its first byte on; those that are there already stand in c->in.
 * c may be gone afterwards.
 */
void codec_h2_start(struct conn *c);

/* Do these first bytes of a connection begin as HTTP/2 does (RFC 9113 §3.4)? */
enum h2_preface { H2_PREFACE_NO, H2_PREFACE_MORE, H2_PREFACE_YES };
enum h2_preface codec_h2_preface(const char *p, size_t n);

#endif
