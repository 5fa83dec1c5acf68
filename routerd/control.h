/*
 * control: the main thread's side of a running routerd put together: the bus,
 * the operators' decisions, the words on the control socket, `status`. One per
 * process, as the daemon is.
 */
#ifndef ROUTERD_CONTROL_H
#define ROUTERD_CONTROL_H

#include "libcommon/daemon.h"
#include "routerd/accesslog.h"
#include "routerd/backend.h"
#include "routerd/worker.h"

/* For daemon_ops; self is not looked at. */
extern const struct ctl_command control_commands[];

/* Once workers run: connects to the bus. -1 with err. */
int control_start(struct daemon *d, struct backends *b, struct workers *ws, struct err *err);
/* A reload was committed: tells the bus, and reads the operators' decisions. */
void control_reloaded(const struct daemon_cfg *dc);
/*
 * Read the operators' decisions: at the start before the first backends_commit,
 * and whenever told. -1 when the file is not right: the event
 * overrides_rejected tells so, and the last good copy stays.
 */
int control_overrides(struct backends *b, const char *state_dir, struct err *err);
/* For daemon_ops; log may be NULL. */
void control_status(struct accesslog *log, struct json_t *object, struct sbuf *out);
void control_stop(void);

#endif
