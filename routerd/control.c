/*
 * control.c: words on the control socket, from memory; `overrides reload` waits
 * for the workers, nothing else waits for anything.
 */
#include "routerd/control.h"

#include <stdlib.h>

#include <jansson.h>
#include <utlist.h>

#include "libcommon/mem.h"
#include "routerd/backend_int.h"
#include "routerd/busio.h"
#include "routerd/status.h"

/* Of the process: control words come with the daemon's self, which is not ours. */
static struct {
	struct daemon *d;
	struct backends *b;
	struct workers *ws;
	struct busio *busio;
	/* readings of the overrides file, and how many of them every worker has
	 * adopted */
	uint64_t readings;
	uint64_t adopted;
} control;

/* --- show --- */

/* The pool that the only word names; NULL without words. false: answered. */
static bool
get_pool(struct ctl_req *req, const char *usage, const struct pool **one)
{
	*one = NULL;
	if (req->nargs > 1) {
		ctl_fail(req, "usage: %s", usage);
		return false;
	}
	if (req->nargs == 0)
		return true;
	*one = backends_live(control.b, req->args[0]);
	if (!*one)
		ctl_fail(req, "no pool is called '%s'", req->args[0]);
	return *one != NULL;
}

static void
cmd_show_pools(struct ctl_req *req)
{
	const struct pool *one;
	const struct pool *p;
	json_t *list;

	if (!get_pool(req, "show pools [POOL]", &one))
		return;
	list = req->is_json ? json_array() : NULL;
	DL_FOREACH (control.b->pools, p) {
		if (!p->is_live || (one && p != one))
			continue;
		if (list)
			json_array_append_new(list, status_pool_json(p));
		else
			status_pool_text(p, &req->out);
	}
	if (list)
		ctl_done_json(req, list);
	else
		ctl_done(req);
}

static void
cmd_show_servers_state(struct ctl_req *req)
{
	const struct pool *one;
	const struct pool *p;
	unsigned id = 0;
	struct sbuf text = { 0 };

	if (!get_pool(req, "show servers state [POOL]", &one))
		return;
	status_state_head(&text);
	DL_FOREACH (control.b->pools, p) {
		if (!p->is_live)
			continue;
		id++;
		if (!one || p == one)
			status_state_pool(p, id, &text);
	}
	if (req->is_json) {
		ctl_done_json(req, json_pack("{s:s}", "state", text.p));
	} else {
		sbuf_add_slice(&req->out, sbuf_slice(&text));
		ctl_done(req);
	}
	sbuf_fini(&text);
}

/* --- overrides --- */

int
control_overrides(struct backends *b, const char *state_dir, struct err *err)
{
	control.readings++;
	if (backends_overrides(b, state_dir, err) == 0)
		return 0;
	LOG_WARN("overrides_rejected", L_STR("error", err->text));
	return -1;
}

/* A reading that waits for the workers, and who asked for it. */
struct reading {
	uint64_t number;
	struct ctl_req *req; /* NULL: the client has gone, or nobody asked */
};

static void
answer_reading(struct ctl_req *req)
{
	const struct backends *b = control.b;

	if (req->is_json) {
		ctl_done_json(req,
			json_pack("{s:b,s:I,s:i}", "adopted", 1, "entries",
				(json_int_t)b->overrides.n, "unmatched",
				(int)backends_unmatched_overrides(b)));
		return;
	}
	sbuf_addf(&req->out, "%zu entries in force, %u match nothing\n", b->overrides.n,
		backends_unmatched_overrides(b));
	ctl_done(req);
}

static void
on_adopted(void *arg)
{
	struct reading *r = arg;

	if (r->number > control.adopted)
		control.adopted = r->number;
	if (r->req)
		answer_reading(r->req);
	free(r);
}

static void
on_client_gone(struct ctl_req *req, void *arg)
{
	struct reading *r = arg;

	(void)req;
	r->req = NULL;
}

static void
wait_adopted(struct ctl_req *req)
{
	struct reading *r = xmalloc(sizeof(*r));

	*r = (struct reading){ control.readings, req };
	if (req)
		ctl_on_cancel(req, on_client_gone, r);
	workers_barrier(control.ws, on_adopted, r);
}

static const char *
state_dir(void)
{
	return daemon_config(control.d)->common.state_dir;
}

static void
cmd_overrides_reload(struct ctl_req *req)
{
	struct err err = { "" };

	if (control_overrides(control.b, state_dir(), &err) < 0)
		ctl_fail(req, "%s", err.text);
	else
		wait_adopted(req);
}

static const struct member *
find_member(const char *pool, const char *server)
{
	const struct pool *p = backends_live(control.b, pool);

	for (unsigned i = 0; p && i < p->count; i++)
		if (strcmp(p->members[i].server->name, server) == 0)
			return &p->members[i];
	return NULL;
}

static void
answer_state(struct ctl_req *req, const struct server *s)
{
	bool is_adopted = control.adopted == control.readings;
	const struct shown *shown = &s->state->shown;
	uint32_t inflight = atomic_load(&s->inflight);

	if (req->is_json) {
		ctl_done_json(req,
			json_pack("{s:b,s:I,s:i,s:s,s:s,s:i}", "adopted", is_adopted, "generation",
				(json_int_t)daemon_generation(control.d), "inflight", (int)inflight,
				"verdict", verdict_name(shown->verdict), "reason", shown->reason,
				"weight", (int)shown->weight));
		return;
	}
	sbuf_addf(&req->out, "%s/%s: %s%s%s, weight %u, %u in flight, %s\n", s->pool_name, s->name,
		verdict_name(shown->verdict), shown->reason[0] ? " by " : "", shown->reason,
		shown->weight, inflight, is_adopted ? "adopted" : "not adopted yet");
	ctl_done(req);
}

/* A server that we do not have can have nothing in flight: its receipt is as
 * good as any. */
static void
answer_unknown(struct ctl_req *req)
{
	if (req->is_json)
		ctl_done_json(req,
			json_pack("{s:b,s:i,s:n}", "adopted", control.adopted == control.readings,
				"inflight", 0, "verdict"));
	else
		ctl_fail(req, "no server is called '%s'", req->args[0]);
}

static void
cmd_overrides_state(struct ctl_req *req)
{
	const struct member *m;
	const char *slash = req->nargs == 1 ? strchr(req->args[0], '/') : NULL;
	char *pool;

	if (!slash) {
		ctl_fail(req, "usage: overrides state POOL/SERVER");
		return;
	}
	pool = xstrndup(req->args[0], (size_t)(slash - req->args[0]));
	m = find_member(pool, slash + 1);
	free(pool);
	if (m)
		answer_state(req, m->server);
	else
		answer_unknown(req);
}

const struct ctl_command control_commands[] = {
	{ "show pools", "[POOL]", "pools and their servers", CTL_VIEW, cmd_show_pools },
	{ "show servers state", "[POOL]", "servers in HAProxy's format", CTL_VIEW,
		cmd_show_servers_state },
	{ "overrides reload", "",
		"read the operators' decisions again; answers when every worker has adopted them",
		CTL_OPERATE, cmd_overrides_reload },
	{ "overrides state", "POOL/SERVER", "what holds for a server, and what is in flight there",
		CTL_VIEW, cmd_overrides_state },
	{ 0 },
};

/* --- life --- */

int
control_start(struct daemon *d, struct backends *b, struct workers *ws, struct err *err)
{
	const struct daemon_cfg *dc = daemon_config(d);
	char *dir = xasprintf("%s/bus", dc->common.run_dir);
	char *who = xasprintf("routerd.%s", daemon_instance(d));

	control.d = d;
	control.b = b;
	control.ws = ws;
	control.busio = busio_new(daemon_loop(d), dir, who, b, err);
	free(dir);
	free(who);
	if (!control.busio)
		return -1;
	busio_set_config(control.busio, dc->cfg->hash);
	wait_adopted(NULL);
	return 0;
}

void
control_reloaded(const struct daemon_cfg *dc)
{
	struct err err = { "" };

	busio_set_config(control.busio, dc->cfg->hash);
	control_overrides(control.b, dc->common.state_dir, &err);
	wait_adopted(NULL);
}

void
control_status(struct accesslog *log, struct json_t *object, struct sbuf *out)
{
	const struct status_of s = {
		.backends = control.b,
		.workers = control.ws,
		.busio = control.busio,
		.http = daemon_config(control.d)->own,
		.log_dropped = log ? accesslog_dropped(log) : 0,
	};

	if (!control.b)
		return;
	if (out)
		status_text(&s, out);
	else
		status_json(&s, object);
}

void
control_stop(void)
{
	busio_free(control.busio);
	control.busio = NULL;
}
