/*
 * config_parts: what the files of the `http` schema share among themselves; nobody else includes
 * it.
 */
#ifndef ROUTERD_CONFIG_PARTS_H
#define ROUTERD_CONFIG_PARTS_H

#include "routerd/config.h"

#define TIMEOUT_MAX_MS (7.0 * 24 * 3600 * 1000)

#define TIMEOUT_ROW(member, text, words)                                                    \
	CFG_ROW(struct timeoutcfg, member, #member, CFGT_DURATION, .def = (text), .min = 1, \
		.max = TIMEOUT_MAX_MS, .help = (words))

#define TIMEOUT_BODY     "between two reads of a request body"
#define TIMEOUT_CONNECT  "to connect to a server"
#define TIMEOUT_TLS      "for the TLS handshake with a server, once connected"
#define TIMEOUT_SEND     "between two writes, to either side"
#define TIMEOUT_RESPONSE "from the request's last byte to the response head"
#define TIMEOUT_READ     "between two reads of a response body"
#define TIMEOUT_TUNNEL   "without a byte either way after an upgrade"

/* config_host.c: hosts with their routes */
extern const struct cfg_schema hostcfg_schema;

/* config_headers.c */
extern const struct cfg_schema headerscfg_schema;
/* What levels make together; fills http->asserted. */
void config_headers_check(struct cfg_ctx *ctx, struct httpcfg *http);

/* A row's `parse` for a char * that must be http or https. */
void config_parse_scheme(
	struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field);

/* The member's own place when it was written, else the struct's. */
const struct cfg_node *config_place(const struct cfg_node *map, const char *key);
/* "path.key", from the arena. */
const char *config_path(struct cfg_ctx *ctx, const char *path, const char *key);

#endif
