/*
 * child: one process that is supervised, and what is known of it.
 */
#ifndef PROXYCTL_CHILD_H
#define PROXYCTL_CHILD_H

#include <sys/types.h>

#include "proxyctl/conftext.h"
#include "proxyctl/site.h"

struct child;

const char *child_name(const struct child *c);
/* 0 while it does not run. */
pid_t child_pid(const struct child *c);
/* Listening sockets that are kept for the process that comes after it. */
size_t child_sockets(const struct child *c);
bool child_is_failed(const struct child *c);
void child_set_env(struct child *c, const struct instancecfg *env);
/* The configuration that it is, or will be, started by; it keeps a reference. */
const struct conftext *child_text(const struct child *c);
void child_set_text(struct child *c, struct conftext *text);
/* waiting, starting, ready, restarting (it pauses before), ended, leaving. */
const char *child_state(const struct child *c);
/* The rest of its pause; -1 when there is none. */
int64_t child_restart_in_ms(const struct child *c);
/* How its last process has ended, as waitpid says; false when none has. */
bool child_last_end(const struct child *c, int *status);

#endif
