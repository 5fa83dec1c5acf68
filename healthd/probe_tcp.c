/* probe_tcp.c: a server that accepts the connection is well. */
#include "healthd/probe.h"

static void *
tcp_new(const struct probe_to *to)
{
	(void)to;
	return NULL;
}

static void
tcp_free(void *state)
{
	(void)state;
}

static void
tcp_step(struct probe *p, void *state)
{
	(void)state;
	probe_finish(p, PROBE_GOOD, "", false);
}

const struct probe_kind probe_tcp = { tcp_new, tcp_free, tcp_step };
