/*
 * show: what the daemons' status answers look like to a person.
 */
#ifndef PROXYCTL_SHOW_H
#define PROXYCTL_SHOW_H

#include "proxyctl/fleet.h"

/* Tables of daemons, listeners, pools. */
void show_fleet(const struct fleet *f, bool is_coloured, struct sbuf *out);
/* The same as one JSON object: {"daemons": [...], "pools": [...]}; a new reference. */
struct json_t *show_json(const struct fleet *f);
/*
 * Pools as all routers together see them, a new reference: counters are added up; where routers
 * disagree on a server's verdict, "views" names each one's.
 */
struct json_t *show_pools(const struct fleet *f);
/* The operators' decisions in force, as a table (nothing if there are none) and as JSON. */
void show_decisions(const char *state_dir, bool is_coloured, struct sbuf *out);
struct json_t *show_decisions_json(const char *state_dir);

#endif
