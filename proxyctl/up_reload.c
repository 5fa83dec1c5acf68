/*
 * up_reload: the control socket of `up`, and its half of a two-phase reload: prepare reads the file
 * and lets the programs check what would be started anew; commit starts and ends processes, and is
 * answered when the new ones are ready. Processes that stay are daemons with sockets of their own
 * and take part for themselves.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/ctl.h"
#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "proxyctl/check.h"
#include "proxyctl/findings.h"
#include "proxyctl/up.h"

enum { CANDIDATE_LIFE_MS = 30000 };

/* ---- candidates ---- */

static void
candidate_fini(struct candidate *c)
{
	conftexts_fini(&c->texts);
	plan_fini(&c->plan);
	site_free(&c->site);
}

static void
candidate_drop(struct up *u)
{
	struct candidate *c = &u->candidate;

	if (!c->is_there)
		return;
	candidate_fini(c);
	c->is_there = false;
	loop_timer_stop(u->expiry);
}

static void
on_expiry(void *arg)
{
	struct up *u = arg;

	LOG_WARN("reload_expired", L_STR("hash", u->candidate.site.cfg->hash),
		L_INT("after_ms", CANDIDATE_LIFE_MS));
	candidate_drop(u);
}

/* What would be started anew must not be refused by its own program; nor what is dead just now, or
 * has no ears yet, and cannot be asked. */
static void
check_new(const struct up *u, struct candidate *c)
{
	for (size_t i = 0; i < c->plan.n; i++) {
		const struct planned *p = &c->plan.v[i];
		const struct planned *stays = plan_find(&u->plan, p);

		if (stays == NULL || stays->child == NULL ||
			strcmp(child_state(stays->child), "ready") != 0)
			check_part(p->program, p->role, p->file, p->in, &c->site.errs);
	}
	if (c->plan.n == 0)
		errs_add(&c->site.errs, FINDING_ERROR, (struct err_at){ .file = u->file }, "",
			"there would be nothing left to run: no `http`, no `tls`, no checks");
}

static void
take_texts(const struct up *u, struct candidate *c)
{
	struct err err = { 0 };

	if (conftexts_read(&c->texts, &c->plan, &err) < 0)
		errs_add(&c->site.errs, FINDING_ERROR, (struct err_at){ .file = u->file }, "", "%s",
			err.text);
	else if (!conftexts_agree(&c->texts, u->file, c->site.cfg->hash))
		errs_add(&c->site.errs, FINDING_ERROR, (struct err_at){ .file = u->file }, "",
			"it changed meanwhile");
}

/* Into u->candidate; false when there are errors in its site's errs, which is then to be freed. */
static bool
candidate_make(struct up *u, const char *hash)
{
	struct candidate *c = &u->candidate;
	char found[CFG_HASH];

	bool is_read = site_read(&c->site, u->file, found) == 0;

	c->plan = (struct plan){ 0 };
	c->texts = (struct conftexts){ 0 };
	if (is_read && strcmp(found, hash) != 0) {
		errs_add(&c->site.errs, FINDING_ERROR, (struct err_at){ .file = u->file }, "",
			"it changed meanwhile: its hash is %s, expected %s", found, hash);
	} else if (is_read) {
		plan_make(&c->plan, &c->site);
		take_texts(u, c);
		check_new(u, c);
	}
	c->is_there = c->site.errs.error_count == 0;
	if (c->is_there)
		return true;
	errs_sort(&c->site.errs);
	LOG_ERROR("config_rejected", L_INT("generation", u->generation),
		L_STR("hash", found[0] != '\0' ? found : "-"),
		L_INT("errors", c->site.errs.error_count));
	return false;
}

/* ---- the words ---- */

static const char *
why_not_now(const struct up *u)
{
	if (!supervisor_is_ready(u->supervisor))
		return "not all processes are ready yet, or they are ending";
	if (u->candidate.is_there)
		return "another reload is prepared";
	if (u->waiting != NULL)
		return "another reload is under way";
	return NULL;
}

static void
answer_refused(struct ctl_req *req, struct up *u)
{
	struct site *s = &u->candidate.site;

	if (req->is_json) {
		ctl_done_json(req,
			json_pack("{s:s,s:I,s:o}", "error", "the configuration was refused",
				"generation", (json_int_t)u->generation, "findings",
				findings_json(&s->errs)));
	} else {
		struct sbuf text = { 0 };

		errs_format(&s->errs, &text);
		ctl_fail(req, "the configuration was refused:\n%.*s",
			(int)(text.n > 0 ? text.n - 1 : 0), sbuf_str(&text));
		sbuf_fini(&text);
	}
	candidate_fini(&u->candidate);
}

/* Process ids of those that a commit will end: they need not take the configuration. */
static json_t *
leaving(const struct up *u)
{
	json_t *pids = json_array();

	for (size_t i = 0; i < u->plan.n; i++) {
		const struct planned *p = &u->plan.v[i];

		if (p->child != NULL && child_pid(p->child) > 0 &&
			plan_find(&u->candidate.plan, p) == NULL)
			json_array_append_new(pids, json_integer(child_pid(p->child)));
	}
	return pids;
}

static void
cmd_prepare(struct ctl_req *req)
{
	struct up *u = req->arg;
	const char *why = why_not_now(u);

	if (req->nargs != 2) {
		ctl_fail(req, "usage: prepare HASH FILE");
		return;
	}
	if (strcmp(req->args[1], u->site.file) != 0) {
		ctl_fail(req, "this `up` runs by %s", u->site.file);
		return;
	}
	if (why != NULL) {
		ctl_fail(req, "%s", why);
		return;
	}
	if (!candidate_make(u, req->args[0])) {
		answer_refused(req, u);
		return;
	}
	loop_timer_set(u->expiry, CANDIDATE_LIFE_MS, false);
	if (!req->is_json) {
		sbuf_addf(&req->out, "prepared %s\n", u->candidate.site.cfg->hash);
		ctl_done(req);
		return;
	}
	ctl_done_json(req,
		json_pack("{s:s,s:o,s:o}", "prepared", u->candidate.site.cfg->hash, "warnings",
			findings_json(&u->candidate.site.errs), "leaving", leaving(u)));
}

/* Who stays goes over to the new plan, the others are told to end. */
static void
apply(struct up *u, struct plan *next)
{
	for (size_t i = 0; i < u->plan.n; i++) {
		struct planned *was = &u->plan.v[i];
		struct planned *stays = plan_find(next, was);

		if (was->child == NULL)
			continue;
		if (stays != NULL) {
			stays->child = was->child;
			child_set_env(was->child, stays->in);
			child_set_text(was->child, conftexts_find(&u->texts, stays->file, NULL));
			continue;
		}
		LOG_INFO("removing", L_STR("name", was->name));
		supervisor_remove(u->supervisor, was->child);
	}
	for (size_t i = 0; i < next->n; i++) {
		if (next->v[i].child != NULL)
			continue;
		LOG_INFO("adding", L_STR("name", next->v[i].name));
		up_add(u, &next->v[i]);
	}
}

static void
commit(struct up *u)
{
	struct candidate *c = &u->candidate;
	struct plan old_plan = u->plan;
	struct site old_site = u->site;
	struct conftexts old_texts = u->texts;

	u->texts = c->texts;
	apply(u, &c->plan);
	u->plan = c->plan;
	u->site = c->site;
	c->is_there = false;
	loop_timer_stop(u->expiry);
	plan_fini(&old_plan);
	site_free(&old_site);
	conftexts_fini(&old_texts);
	up_older_forget(u);
	u->generation++;
	LOG_INFO("config_reloaded", L_INT("generation", u->generation),
		L_STR("hash", u->site.cfg->hash));
	supervisor_change(u->supervisor, up_end_ms(&u->site));
	up_staples_configure(u); /* there may be other certificates */
}

static void
on_asker_gone(struct ctl_req *req, void *arg)
{
	struct up *u = arg;

	if (u->waiting == req)
		u->waiting = NULL;
}

static void
cmd_commit(struct ctl_req *req)
{
	struct up *u = req->arg;

	if (!u->candidate.is_there) {
		ctl_fail(req, "nothing is prepared");
		return;
	}
	/* Who has been told to end must not be told again: that would be at once. */
	if (!supervisor_is_ready(u->supervisor)) {
		ctl_fail(req, "all processes are ending");
		return;
	}
	u->waiting = req;
	ctl_on_cancel(req, on_asker_gone, u);
	commit(u);
}

/* Those that could not be started are named, and forgotten: the next reload tries them again. */
static void
take_failed(struct up *u, struct sbuf *names)
{
	for (size_t i = 0; i < u->plan.n; i++) {
		struct planned *p = &u->plan.v[i];

		if (p->child == NULL || !child_is_failed(p->child))
			continue;
		sbuf_addf(names, "%s%s", names->n > 0 ? ", " : "", p->name);
		supervisor_remove(u->supervisor, p->child);
		p->child = NULL;
	}
}

void
up_reload_settled(void *arg)
{
	struct up *u = arg;
	struct ctl_req *req = u->waiting;
	struct sbuf failed = { 0 };

	take_failed(u, &failed);
	u->waiting = NULL;
	if (req != NULL && failed.n > 0) {
		ctl_fail(req, "could not be started, see the lines of `up`: %s", failed.p);
	} else if (req != NULL && req->is_json) {
		ctl_done_json(req,
			json_pack("{s:I,s:s,s:[]}", "generation", (json_int_t)u->generation, "hash",
				u->site.cfg->hash, "warnings"));
	} else if (req != NULL) {
		sbuf_addf(&req->out, "generation %" PRIu64 ", hash %s\n", u->generation,
			u->site.cfg->hash);
		ctl_done(req);
	}
	sbuf_fini(&failed);
}

static void
cmd_abort(struct ctl_req *req)
{
	candidate_drop(req->arg);
	ctl_done(req);
}

/* All that run are told to end, and those that pause before they are started again never are. */
static void
cmd_stop(struct ctl_req *req)
{
	struct up *u = req->arg;
	json_t *pids = json_array();

	LOG_INFO("stop_asked", L_INT("uid", req->uid));
	for (size_t i = 0; i < u->plan.n; i++) {
		const struct child *c = u->plan.v[i].child;

		if (c != NULL && child_pid(c) > 0)
			json_array_append_new(pids, json_integer(child_pid(c)));
	}
	if (req->is_json) {
		ctl_done_json(req, json_pack("{s:o}", "ending", pids));
	} else {
		json_decref(pids);
		ctl_done(req);
	}
	supervisor_end(u->supervisor);
}

/* "exit 2", "signal 9"; a new reference. */
static json_t *
end_json(int status)
{
	return WIFSIGNALED(status) ? json_sprintf("signal %d", WTERMSIG(status))
				   : json_sprintf("exit %d", WEXITSTATUS(status));
}

static json_t *
process_json(const struct up *u, const struct planned *p)
{
	json_t *o = json_pack("{s:s,s:i,s:i}", "name", p->name, "pid",
		p->child != NULL ? (int)child_pid(p->child) : 0, "sockets",
		p->child != NULL ? (int)child_sockets(p->child) : 0);
	int status;

	if (p->child == NULL)
		return o;
	json_object_set_new(o, "state", json_string(child_state(p->child)));
	json_object_set_new(o, "hash", json_string(child_text(p->child)->hash));
	if (child_restart_in_ms(p->child) >= 0)
		json_object_set_new(
			o, "restart_in_ms", json_integer(child_restart_in_ms(p->child)));
	if (child_last_end(p->child, &status))
		json_object_set_new(o, "last_end", end_json(status));
	json_object_set_new(o, "older", up_older_json(u, p->name));
	return o;
}

static json_t *
processes(const struct up *u)
{
	json_t *all = json_array();

	for (size_t i = 0; i < u->plan.n; i++)
		json_array_append_new(all, process_json(u, &u->plan.v[i]));
	return all;
}

static void
cmd_status(struct ctl_req *req)
{
	const struct up *u = req->arg;

	if (req->is_json) {
		ctl_done_json(req,
			json_pack("{s:s,s:s,s:i,s:i,s:s,s:s,s:s,s:I,s:s,s:o}", "program",
				"proxyctl", "instance", u->instance, "pid", (int)getpid(), "uid",
				(int)geteuid(), "version", WEIR_VERSION, "state",
				supervisor_is_ready(u->supervisor) ? "running" : "starting",
				"config", u->site.file, "generation", (json_int_t)u->generation,
				"hash", u->site.cfg->hash, "processes", processes(u)));
		return;
	}
	sbuf_addf(&req->out, "up.%s %s  pid %d  generation %" PRIu64 "\n", u->instance,
		WEIR_VERSION, (int)getpid(), u->generation);
	for (size_t i = 0; i < u->plan.n; i++) {
		const struct child *c = u->plan.v[i].child;

		sbuf_addf(&req->out, "%s pid %d, %zu sockets kept, %s\n", u->plan.v[i].name,
			c != NULL ? (int)child_pid(c) : 0, c != NULL ? child_sockets(c) : 0,
			c != NULL ? child_state(c) : "not started");
	}
	ctl_done(req);
}

static void
cmd_version(struct ctl_req *req)
{
	sbuf_addf(&req->out,
		req->is_json ? "{\"program\":\"proxyctl\",\"version\":\"%s\"}\n" : "proxyctl %s\n",
		WEIR_VERSION);
	ctl_done(req);
}

static const struct ctl_command commands[] = {
	{ "version", "", "name and version of this program", CTL_VIEW, cmd_version },
	{ "status", "", "the processes that run", CTL_VIEW, cmd_status },
	{ "prepare", "HASH FILE", "first half of a reload: everything that can fail", CTL_OPERATE,
		cmd_prepare },
	{ "commit", "", "second half: answers once new processes are ready", CTL_OPERATE,
		cmd_commit },
	{ "abort", "", "drop what was prepared", CTL_OPERATE, cmd_abort },
	{ "stop", "", "end all processes gracefully, then itself", CTL_OPERATE, cmd_stop },
	{ 0 },
};

/* ---- the socket ---- */

int
up_reload_open(struct up *u, struct err *err)
{
	const struct commoncfg *common = &u->site.common;
	char *path;

	/* The daemons make it, with the rights that they need. */
	if (u->ctl != NULL || access(common->run_dir, F_OK) < 0)
		return 0;
	path = xasprintf("%s/up.%s.sock", common->run_dir, u->instance);
	u->ctl = ctl_new(u->loop, path, common->control_group, err);
	free(path);
	if (u->ctl == NULL)
		return -1;
	u->expiry = loop_timer_new(u->loop, on_expiry, u);
	ctl_add(u->ctl, commands, u);
	log_set_hook(ctl_event, u->ctl);
	return 0;
}

void
up_reload_close(struct up *u)
{
	if (u->ctl == NULL)
		return;
	log_set_hook(NULL, NULL);
	candidate_drop(u);
	loop_timer_free(u->expiry);
	ctl_free(u->ctl);
	u->ctl = NULL;
}
