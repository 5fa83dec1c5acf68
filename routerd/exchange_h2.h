/*
 * exchange_h2: exchanges on HTTP/2 connections, which carry many at a time. Each worker keeps its
 * connections by server; more are opened when those that are there are full.
 */
#ifndef ROUTERD_EXCHANGE_H2_H
#define ROUTERD_EXCHANGE_H2_H

#include "routerd/exchange.h"

struct exchange_h2_env;

/* One per worker. */
struct exchange_h2_env *exchange_h2_env_new(struct worker *w);
/* Every connection ends; exchanges on them must be over. After the loop's last turn. */
void exchange_h2_env_free(struct exchange_h2_env *env);
/* Give back what a burst needed; true: there is more, later. */
bool exchange_h2_env_trim(struct exchange_h2_env *env);

/*
 * On a connection to the server that has room, or a new one. 1: opened already; 0: `opened` or
 * `failed` will come; -1 with errno: there is no exchange.
 */
int exchange_h2_open(struct exchange **x, const struct exchange_open *how);

/* No new exchange on any connection to this server; each ends with its last one. */
void exchange_h2_close_idle(struct worker *w, uint32_t server_id);
/* The same for all servers. */
void exchange_h2_drain(struct worker *w);

#endif
