/*
 * certctl: what operators see and do of certificates: `cert list`, `cert reload`, and their part of
 * `status`. Main thread.
 */
#ifndef TLSD_CERTCTL_H
#define TLSD_CERTCTL_H

#include "libcommon/ctl.h"

struct server;
struct json_t;

void certctl_list(struct ctl_req *req);
void certctl_reload(struct ctl_req *req);
/* The new certificates are adopted: req, which waited for it, gets its answer. */
void certctl_answer(struct ctl_req *req);
/* How many there are, how many are expired or will be soon, and when the next one will. */
struct json_t *certctl_summary(const struct server *s);

#endif
