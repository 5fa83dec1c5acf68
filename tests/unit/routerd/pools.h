/*
 * pools: pools for tests without a configuration file, and what healthd would
 * say of them. One loop, never run unless a test does.
 */
#ifndef TESTS_ROUTERD_POOLS_H
#define TESTS_ROUTERD_POOLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libcommon/mem.h"
#include "routerd/backend_int.h"

struct pools_server {
	const char *name;
	int weight;
	bool backup;
	bool down;
	const char *address; /* NULL: a made-up one */
};

/* A configuration with `n` servers on made-up addresses. */
static inline struct poolcfg *
pools_cfg(const char *name, const struct pools_server *servers, size_t n)
{
	struct poolcfg *cfg = xcalloc(1, sizeof(*cfg));
	struct servercfg *v = xcalloc(n, sizeof(*v));

	cfg->name = xstrdup(name);
	cfg->servers.v = v;
	cfg->servers.n = n;
	cfg->retry_budget_percent = 20;
	cfg->retry_budget_min = 3;
	cfg->passive.max_fails = 3;
	cfg->passive.fail_timeout_ms = 10000;
	for (size_t i = 0; i < n; i++) {
		struct err err;

		v[i].name = xstrdup(servers[i].name);
		v[i].address_text = servers[i].address
			? xstrdup(servers[i].address)
			: xasprintf("127.%zu.%zu.1:80", i / 250, i % 250);
		assert_int_equal(
			addr_parse(slice_str(v[i].address_text), 80, &v[i].address, &err), 0);
		v[i].weight = servers[i].weight;
		v[i].backup = servers[i].backup;
		v[i].down = servers[i].down;
	}
	return cfg;
}

static inline void
pools_cfg_free(struct poolcfg *cfg)
{
	struct servercfg *v = cfg->servers.v;

	for (size_t i = 0; i < cfg->servers.n; i++) {
		free(v[i].name);
		free(v[i].address_text);
	}
	free(v);
	free(cfg->name);
	free(cfg);
}

/* What a prober says: one letter a server, u(p) d(own) ?(unknown). */
static inline void
pools_say(struct backends *b, const struct poolcfg *cfg, const char *states, bool is_round_done)
{
	struct busmsg_server v[64] = { 0 };
	const struct servercfg *s = cfg->servers.v;
	struct busmsg m = {
		.kind = BUSMSG_HEALTH,
		.subject = cfg->name,
		.who = "healthd.0",
		.ttl_ms = 5000,
		.is_round_done = is_round_done,
		.servers = v,
		.count = cfg->servers.n,
	};

	assert_true(cfg->servers.n <= 64 && strlen(states) == cfg->servers.n);
	for (size_t i = 0; i < m.count; i++) {
		v[i] = (struct busmsg_server){
			.name = s[i].name,
			.address = s[i].address_text,
			.state = states[i] == 'u'  ? PROBE_UP
				: states[i] == 'd' ? PROBE_DOWN
						   : PROBE_UNKNOWN,
			.reason = states[i] == 'd' ? "http_503" : "",
			.is_probed = states[i] != '?',
			.since_ms = 1,
			.failing_ms = states[i] == 'd',
		};
	}
	assert_int_equal(backend_judge_adopt(b, &m), m.count);
}

/* The names of the next n picks, one letter each ('-': none). */
static inline const char *
pools_picks(struct pool *p, unsigned n, char *out)
{
	struct lb_ask ask = { .now_ms = loop_now_ms(p->b->loop) };

	for (unsigned i = 0; i < n; i++) {
		enum lb_miss why;
		const struct server *s = lb_pick(p, &ask, &why);

		out[i] = s ? s->name[0] : '-';
	}
	out[n] = '\0';
	return out;
}

/* What a test has to itself: set-up and tear-down for cmocka. */
struct pools_fixture {
	struct loop *loop;
	struct backends *b;
};

static inline int
pools_setup(void **state)
{
	struct pools_fixture *f = xcalloc(1, sizeof(*f));
	struct err err;

	f->loop = loop_new();
	assert_non_null(f->loop);
	f->b = backends_new(f->loop, &err);
	assert_non_null(f->b);
	*state = f;
	return 0;
}

static inline int
pools_teardown(void **state)
{
	struct pools_fixture *f = *state;

	backends_free(f->b);
	loop_free(f->loop);
	free(f);
	return 0;
}

#endif
