/*
 * config: the `health` section. Pools, servers and their checks are read by others too: they stand
 * in libcommon/poolcfg.h.
 */
#ifndef HEALTHD_CONFIG_H
#define HEALTHD_CONFIG_H

#include "libcommon/daemon.h"

struct healthcfg {
	const struct cfg_node *node;
	char *user;
	int64_t max_probes;        /* at the same time */
	int64_t probe_rate;        /* started per second */
	int64_t early_interval_ms; /* between early probes of one server */
};

extern const struct cfg_schema healthcfg_schema;

void config_check(struct cfg_ctx *ctx, struct daemon_cfg *dc);
const char *config_user(const struct daemon_cfg *dc);

#endif
