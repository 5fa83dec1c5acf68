/*
 * plain: what daemons, servers and certificates say, without anything that a terminal takes for a
 * command.
 */
#ifndef PROXYCTL_PLAIN_H
#define PROXYCTL_PLAIN_H

#include "libcommon/sbuf.h"

struct json_t;

/* Control characters become `?`, ends of lines too, unless they are kept. */
enum plain_lines { PLAIN_ONE_LINE, PLAIN_LINES };
void plain_add(struct sbuf *out, const char *text, enum plain_lines lines);
/* JSON, which means the same afterwards. */
void plain_add_json(struct sbuf *out, struct slice text);
void plain_print_json(const struct json_t *json);

#endif
