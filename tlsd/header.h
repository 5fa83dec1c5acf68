/*
 * header: the PROXY v2 header that stands before a relayed connection's bytes.
 */
#ifndef TLSD_HEADER_H
#define TLSD_HEADER_H

#include <stddef.h>

struct session;

/* Into out[0..cap); its length, at most PROXY_MAX. */
size_t header_write(const struct session *s, char *out, size_t cap);

#endif
