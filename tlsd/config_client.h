/*
 * config_client: what a listener's configuration says of clients' certificates.
 */
#ifndef TLSD_CONFIG_CLIENT_H
#define TLSD_CONFIG_CLIENT_H

#include "tlsd/config.h"

extern const struct cfg_schema client_auth_schema;
/* The files can be read and hold what they should; one that is over is a warning. */
void config_check_client_auth(struct cfg_ctx *ctx, const struct clientauthcfg *c, const char *path);

#endif
