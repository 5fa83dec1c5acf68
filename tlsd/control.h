/*
 * control: what tlsd answers on its control socket.
 */
#ifndef TLSD_CONTROL_H
#define TLSD_CONTROL_H

#include "libcommon/ctl.h"

struct json_t;

extern const struct ctl_command control_commands[]; /* arg: struct server */
void control_status(void *self, struct json_t *object, struct sbuf *out);

#endif
