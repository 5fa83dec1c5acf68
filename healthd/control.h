/*
 * control: what healthd answers on its control socket, besides the words that every daemon has.
 */
#ifndef HEALTHD_CONTROL_H
#define HEALTHD_CONTROL_H

#include "libcommon/ctl.h"

struct json_t;

extern const struct ctl_command control_commands[];
void control_status(void *self, struct json_t *object, struct sbuf *out);

#endif
