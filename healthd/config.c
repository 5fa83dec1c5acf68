/* config.c: the table of the `health` section, and whether the rates in it can carry the pools. */
#include "healthd/config.h"

static const struct cfg_row health_rows[] = {
	CFG_ROW(struct healthcfg, user, "user", CFGT_STRING, .flags = CFG_RESTART,
		.help = "whom healthd becomes when started by root"),
	CFG_ROW(struct healthcfg, max_probes, "max_probes", CFGT_INT, .def = "2000", .min = 1,
		.max = 20000,
		.help = "probes under way at the same time; the limit of open files may lower it"),
	CFG_ROW(struct healthcfg, probe_rate, "probe_rate", CFGT_INT, .def = "2000", .min = 1,
		.max = 100000, .unit = "per second",
		.help = "probes started per second, over all pools; more wait their turn"),
	CFG_ROW(struct healthcfg, early_interval_ms, "early_interval", CFGT_DURATION, .def = "1s",
		.min = 100, .max = 3600000,
		.help = "failed requests lead to an early probe of a server at most this often"),
	CFG_NODE_ROW(struct healthcfg, node),
	CFG_END,
};

const struct cfg_schema healthcfg_schema = {
	.name = "health",
	.size = sizeof(struct healthcfg),
	.rows = health_rows,
};

/* Probes per second that the pools ask for. */
static double
wanted_rate(const struct commoncfg *c)
{
	double rate = 0;

	for (size_t i = 0; i < c->pools.n; i++) {
		const struct poolcfg *p = CFG_AT(struct poolcfg, c->pools, i);

		if (p->check.kind != CHECK_NONE && p->check.interval_ms > 0)
			rate += 1000.0 * (double)p->servers.n / (double)p->check.interval_ms;
	}
	return rate;
}

void
config_check(struct cfg_ctx *ctx, struct daemon_cfg *dc)
{
	const struct healthcfg *h = dc->own;
	double wanted = wanted_rate(&dc->common);

	if (ctx->errs->error_count == 0 && wanted > (double)h->probe_rate)
		errs_add(ctx->errs, FINDING_WARNING,
			h->node ? cfg_at(ctx->cfg, h->node)
				: (struct err_at){ ctx->cfg->file, 0, 0 },
			"health.probe_rate",
			"%lld per second are allowed, but the pools' servers and intervals make "
			"%.0f: probes will be late",
			(long long)h->probe_rate, wanted);
}

const char *
config_user(const struct daemon_cfg *dc)
{
	return ((const struct healthcfg *)dc->own)->user;
}
