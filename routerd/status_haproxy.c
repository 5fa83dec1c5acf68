/*
 * status_haproxy: `show servers state` in the words of HAProxy's state file,
 * format 1, so that what reads HAProxy's reads ours. Numbers are those of
 * HAProxy's management guide; where it has no word for what we know, the nearest
 * one stands.
 */
#include <inttypes.h>
#include <stdio.h>

#include "routerd/backend_int.h"
#include "routerd/status.h"

enum op_state { OP_STOPPED = 0, OP_RUNNING = 2 };

enum admin_state {
	ADMIN_FORCED_MAINT = 0x01,
	ADMIN_CONFIG_MAINT = 0x04,
	ADMIN_FORCED_DRAIN = 0x08,
	ADMIN_RESOLUTION_MAINT = 0x20,
};

enum check_status {
	CHECK_STATUS_UNKNOWN = 0,
	CHECK_STATUS_INI = 1,
	CHECK_STATUS_L4OK = 6,
	CHECK_STATUS_L4TOUT = 7,
	CHECK_STATUS_L4CON = 8,
	CHECK_STATUS_L7TOUT = 12,
	CHECK_STATUS_L7RSP = 13,
	CHECK_STATUS_L7OK = 15,
	CHECK_STATUS_L7STS = 17,
};

enum check_result { RESULT_UNKNOWN = 0, RESULT_FAILED = 2, RESULT_PASSED = 3 };

#define CHECK_CONFIGURED 0x02
#define CHECK_ENABLED    0x04

static unsigned
admin_state(const struct member *m, const struct shown *shown)
{
	unsigned mask = 0;

	if (m->is_down)
		mask |= ADMIN_CONFIG_MAINT;
	else if (shown->verdict == VERDICT_MAINT)
		mask |= ADMIN_FORCED_MAINT;
	if (shown->verdict == VERDICT_DRAIN)
		mask |= ADMIN_FORCED_DRAIN;
	if (m->server->addr.len == 0)
		mask |= ADMIN_RESOLUTION_MAINT;
	return mask;
}

static enum op_state
op_state(const struct member *m, const struct shown *shown)
{
	if (m->server->addr.len == 0)
		return OP_STOPPED;
	return shown->verdict == VERDICT_DOWN || shown->verdict == VERDICT_MAINT ? OP_STOPPED
										 : OP_RUNNING;
}

/* The youngest word of a prober. */
static const struct verdict_fact *
last_fact(const struct server_state *st)
{
	const struct verdict_fact *best = NULL;

	for (int i = 0; i < VERDICT_PROBERS; i++) {
		const struct verdict_fact *f = &st->probes.v[i];

		if (f->who && f->is_probed && (!best || f->probe_ms > best->probe_ms))
			best = f;
	}
	return best;
}

static enum check_status
failed_status(const char *reason)
{
	static const struct {
		const char *prefix;
		enum check_status status;
	} words[] = {
		{ "connect_timeout", CHECK_STATUS_L4TOUT },
		{ "connect_", CHECK_STATUS_L4CON },
		{ "unreachable", CHECK_STATUS_L4CON },
		{ "http_", CHECK_STATUS_L7STS },
		{ "timeout", CHECK_STATUS_L7TOUT },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(reason, words[i].prefix, strlen(words[i].prefix)) == 0)
			return words[i].status;
	return CHECK_STATUS_L7RSP;
}

struct check_columns {
	unsigned status;
	unsigned result;
	unsigned health; /* 0 .. rise + fall - 1; from rise on it is up */
	unsigned state;
};

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static struct check_columns
check_columns(const struct pool *p, const struct server_state *st)
{
	const struct verdict_fact *f = last_fact(st);
	struct check_columns c = { .status = CHECK_STATUS_UNKNOWN };
	unsigned rise = p->rise > 0 ? p->rise : 1;
	unsigned fall = p->fall > 0 ? p->fall : 1;

	if (!p->is_checked)
		return c;
	c.state = CHECK_CONFIGURED | CHECK_ENABLED;
	c.status = CHECK_STATUS_INI;
	if (!f)
		return c;
	if (f->state == PROBE_UP)
		c.health = rise + fall - 1 - least(f->fall, fall - 1);
	else
		c.health = least(f->rise, rise - 1);
	if (f->fall > 0 || f->state == PROBE_DOWN) {
		c.result = RESULT_FAILED;
		c.status = failed_status(f->reason);
	} else {
		c.result = RESULT_PASSED;
		c.status = p->is_tcp_check ? CHECK_STATUS_L4OK : CHECK_STATUS_L7OK;
	}
	return c;
}

void
status_state_head(struct sbuf *out)
{
	sbuf_adds(out,
		"1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state "
		"srv_uweight srv_iweight srv_time_since_last_change srv_check_status "
		"srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id "
		"srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port "
		"srv_check_addr srv_agent_addr srv_agent_port\n");
}

/* Without port, but a Unix socket with its path. */
static const char *
address_column(const struct addr *a, char text[static ADDR_TEXT])
{
	return a->sa.sa_family == AF_UNIX ? addr_format(&a->sa, a->len, text)
					  : addr_format_host(&a->sa, text);
}

void
status_state_pool(const struct pool *p, unsigned be_id, struct sbuf *out)
{
	uint64_t now_ms = loop_now_ms(p->b->loop);

	for (unsigned i = 0; i < p->count; i++) {
		const struct member *m = &p->members[i];
		const struct server_state *st = m->server->state;
		const struct shown *shown = &st->shown;
		struct check_columns c = check_columns(p, st);
		struct addr a;
		char text[ADDR_TEXT];
		bool has_addr = server_addr(m->server, &a);

		sbuf_addf(out, "%u %s %u %s %s %d %u %u %u %" PRIu64, be_id, p->name, i + 1,
			m->server->name, has_addr ? address_column(&a, text) : "-",
			(int)op_state(m, shown), admin_state(m, shown), shown->weight, m->weight,
			(now_ms - shown->since_ms) / 1000);
		sbuf_addf(out, " %u %u %u %u 0 0 0 %s %u - 0 %u - - 0\n", c.status, c.result,
			c.health, c.state, st->spec.kind == ADDR_NAME ? st->spec.name : "-",
			st->spec.kind == ADDR_NAME ? st->spec.port
				: has_addr         ? addr_port(&a.sa)
						   : 0,
			p->check_port);
	}
}
