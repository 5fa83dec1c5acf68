/*
 * daemon_reload: read, check, prepare (all that can fail), commit (which cannot), answer once every
 * worker has adopted it. The same steps serve SIGHUP, `reload`, and the two-phase words `prepare`
 * and `commit` by which several daemons change together or not at all.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/daemon_parts.h"
#include "libcommon/sock.h"

enum { CANDIDATE_LIFE_MS = 30000 };

/* ---- descriptors that somebody who may open them gave us ---- */

static void
drop_given(struct daemon_reload *r)
{
	for (size_t i = 0; i < r->ngiven; i++) {
		free(r->given[i].path);
		close(r->given[i].fd);
	}
	free(r->given);
	r->given = NULL;
	r->ngiven = 0;
}

int
daemon_passed_fd(const struct daemon *d, const char *path)
{
	const struct daemon_reload *r = &d->reload;

	for (size_t i = 0; i < r->ngiven; i++)
		if (strcmp(r->given[i].path, path) == 0)
			return fcntl(r->given[i].fd, F_DUPFD_CLOEXEC, 3);
	return -1;
}

static void
cmd_give(struct ctl_req *req)
{
	struct daemon *d = req->arg;
	struct daemon_reload *r = &d->reload;

	if (req->nargs == 0 || req->nargs != req->nfds) {
		ctl_fail(req, "give PATH...: %zu paths came with %zu descriptors", req->nargs,
			req->nfds);
		return;
	}
	if (r->state != RELOAD_IDLE) {
		ctl_fail(req, "a reload is under way");
		return;
	}
	/* Half of what may be open is for clients. */
	if (r->ngiven + req->nfds > sock_raise_nofile() / 2) {
		ctl_fail(req, "too many descriptors");
		return;
	}
	r->given = xreallocarray(r->given, r->ngiven + req->nfds, sizeof(*r->given));
	for (size_t i = 0; i < req->nfds; i++) {
		r->given[r->ngiven++] = (struct given_fd){ xstrdup(req->args[i]), req->fds[i] };
		req->fds[i] = -1;
	}
	loop_timer_set(r->expiry, CANDIDATE_LIFE_MS, false);
	ctl_done(req);
}

/* ---- the steps ---- */

static void
candidate_end(struct daemon *d)
{
	struct daemon_reload *r = &d->reload;

	r->state = RELOAD_IDLE;
	r->candidate = NULL;
	r->dc = NULL;
	errs_fini(&r->warnings);
	loop_timer_stop(r->expiry);
	drop_given(r);
}

void
daemon_reload_drop(struct daemon *d)
{
	struct daemon_reload *r = &d->reload;

	if (r->state == RELOAD_PREPARED) {
		d->ops->discard(d->self, r->candidate);
		daemon_cfg_free(r->dc);
		candidate_end(d);
	} else if (r->state == RELOAD_IDLE) {
		loop_timer_stop(r->expiry);
		drop_given(r);
	}
}

static void
on_expiry(void *arg)
{
	struct daemon *d = arg;

	if (d->reload.state == RELOAD_PREPARED)
		LOG_WARN("reload_expired", L_STR("hash", d->reload.dc->cfg->hash),
			L_INT("after_ms", CANDIDATE_LIFE_MS));
	daemon_reload_drop(d);
}

/* Keys that a reload cannot change. */
static void
warn_of_restarts(const struct daemon *d, const struct daemon_cfg *dc, struct errs *errs)
{
	cfg_restart_diff(d->cfg->cfg, dc->cfg, &commoncfg_schema, d->cfg->cfg->root, dc->cfg->root,
		"", errs);
	if (d->ops->schema != NULL)
		cfg_restart_diff(d->cfg->cfg, dc->cfg, d->ops->schema,
			daemon_cfg_section(d->ops, d->cfg), daemon_cfg_section(d->ops, dc),
			d->ops->section ? d->ops->section : "", errs);
}

/* Only at the start may it be a pipe: a daemon that runs has clients to serve meanwhile. */
static bool
has_to_be_waited_for(const char *file)
{
	struct stat st;

	return stat(file, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static struct daemon_cfg *
load_candidate(struct daemon *d, const char *hash, char found[static CFG_HASH], struct errs *errs)
{
	struct daemon_source src = { .file = d->args.file };
	struct daemon_cfg *dc;

	/* From the file, or from the descriptor that somebody who may read it gave us. */
	src.fd = daemon_passed_fd(d, d->file);
	if (src.fd < 0 && has_to_be_waited_for(src.file)) {
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = src.file }, "",
			"cannot read: it is not a regular file");
		found[0] = '\0';
		return NULL;
	}

	char *dir = xstrndup(d->file, (size_t)(strrchr(d->file, '/') - d->file));

	src.dir = dir[0] != '\0' ? dir : "/";
	dc = daemon_cfg_load(d->ops, &src, found, errs);
	if (src.fd >= 0)
		close(src.fd);
	free(dir);
	if (dc == NULL)
		return NULL;
	if (hash != NULL && strcmp(hash, dc->cfg->hash) != 0) {
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = d->args.file }, "",
			"it changed meanwhile: its hash is %s, expected %s", dc->cfg->hash, hash);
		daemon_cfg_free(dc);
		return NULL;
	}
	warn_of_restarts(d, dc, errs);
	return dc;
}

/* true and state RELOAD_PREPARED, or false with the reasons in errs, which have been logged. */
static bool
prepare(struct daemon *d, const char *hash, struct errs *errs)
{
	struct daemon_reload *r = &d->reload;
	char found[CFG_HASH];
	struct daemon_cfg *dc = load_candidate(d, hash, found, errs);

	if (dc != NULL)
		r->candidate = d->ops->prepare(d->self, dc, errs);
	if (dc != NULL && r->candidate != NULL) {
		r->dc = dc;
		r->state = RELOAD_PREPARED;
		loop_timer_set(r->expiry, CANDIDATE_LIFE_MS, false);
		return true;
	}
	errs_sort(errs);
	daemon_log_findings(errs, "config_finding");
	LOG_ERROR("config_rejected", L_INT("generation", d->generation),
		L_STR("hash", found[0] != '\0' ? found : "-"), L_INT("errors", errs->error_count));
	daemon_cfg_free(dc);
	candidate_end(d);
	return false;
}

static void
say_reloading(void)
{
	char text[80];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_us());
	daemon_notify(text);
}

static void
commit(struct daemon *d)
{
	struct daemon_reload *r = &d->reload;
	struct daemon_cfg *old = d->cfg;
	void *candidate = r->candidate;

	say_reloading();
	loop_timer_stop(r->expiry);
	r->state = RELOAD_COMMITTING;
	r->candidate = NULL;
	d->cfg = r->dc;
	d->generation++;
	if (!d->args.has_level)
		log_set_level((enum log_level)d->cfg->common.log_level);
	if (d->cfg->common.debug_core != old->common.debug_core)
		daemon_set_dumpable(d);
	/* From here on daemon_committed may run, inside of the call too. */
	d->ops->commit(d->self, candidate, daemon_cfg_ref(d->cfg));
	daemon_cfg_free(old);
}

/* ---- answers ---- */

static void
answer_done(struct ctl_req *req, const struct daemon *d, const struct errs *warnings)
{
	const char *hash = d->cfg->cfg->hash;

	if (req->is_json) {
		json_t *o = json_pack(
			"{s:I,s:s}", "generation", (json_int_t)d->generation, "hash", hash);

		json_object_set_new(o, "warnings", daemon_findings_json(warnings));
		ctl_done_json(req, o);
		return;
	}
	errs_format(warnings, &req->out);
	sbuf_addf(&req->out, "generation %" PRIu64 ", hash %s\n", d->generation, hash);
	ctl_done(req);
}

static void
answer_prepared(struct ctl_req *req, const struct daemon *d)
{
	const struct daemon_reload *r = &d->reload;

	if (req->is_json) {
		json_t *o = json_pack("{s:s}", "prepared", r->dc->cfg->hash);

		json_object_set_new(o, "warnings", daemon_findings_json(&r->warnings));
		ctl_done_json(req, o);
		return;
	}
	errs_format(&r->warnings, &req->out);
	sbuf_addf(&req->out, "prepared %s\n", r->dc->cfg->hash);
	ctl_done(req);
}

static void
answer_refused(struct ctl_req *req, const struct daemon *d, const struct errs *errs)
{
	if (req->is_json) {
		json_t *o = json_pack("{s:s,s:I}", "error", "the configuration was refused",
			"generation", (json_int_t)d->generation);

		json_object_set_new(o, "findings", daemon_findings_json(errs));
		ctl_done_json(req, o);
		return;
	}

	struct sbuf text = { 0 };

	errs_format(errs, &text);
	ctl_fail(req, "the configuration was refused, generation %" PRIu64 " stays in force:\n%.*s",
		d->generation, (int)(text.n > 0 ? text.n - 1 : 0), sbuf_str(&text));
	sbuf_fini(&text);
}

void
daemon_committed(struct daemon *d)
{
	struct daemon_reload *r = &d->reload;

	if (r->state != RELOAD_COMMITTING)
		return;
	daemon_log_findings(&r->warnings, "config_warning");
	LOG_INFO("config_reloaded", L_INT("generation", d->generation),
		L_STR("hash", d->cfg->cfg->hash));
	daemon_say_config(d);
	daemon_notify("READY=1");

	struct ctl_req *req = r->waiting;

	r->waiting = NULL;
	if (req != NULL)
		answer_done(req, d, &r->warnings);
	candidate_end(d);
	if (r->is_again) {
		r->is_again = false;
		daemon_reload_now(d);
	}
}

/* ---- who asks ---- */

static const char *
why_not_now(const struct daemon *d)
{
	if (d->is_draining)
		return "this daemon is ending";
	if (d->reload.state == RELOAD_PREPARED)
		return "another reload is prepared";
	if (d->reload.state == RELOAD_COMMITTING)
		return "another reload is under way";
	return NULL;
}

void
daemon_reload_now(struct daemon *d)
{
	const char *why = why_not_now(d);
	struct errs errs = { 0 };

	if (d->reload.state == RELOAD_COMMITTING) {
		d->reload.is_again = true;
		return;
	}
	if (why != NULL) {
		LOG_WARN("reload_skipped", L_STR("reason", why));
		return;
	}
	if (prepare(d, NULL, &errs)) {
		d->reload.warnings = errs;
		commit(d);
	} else {
		errs_fini(&errs);
	}
}

static void
on_asker_gone(struct ctl_req *req, void *arg)
{
	struct daemon *d = arg;

	if (d->reload.waiting == req)
		d->reload.waiting = NULL;
}

static void
commit_for(struct ctl_req *req, struct daemon *d)
{
	d->reload.waiting = req;
	ctl_on_cancel(req, on_asker_gone, d);
	commit(d);
}

static void
cmd_reload(struct ctl_req *req)
{
	struct daemon *d = req->arg;
	const char *why = why_not_now(d);
	struct errs errs = { 0 };

	if (why != NULL) {
		ctl_fail(req, "%s", why);
		return;
	}
	if (!prepare(d, NULL, &errs)) {
		answer_refused(req, d, &errs);
		errs_fini(&errs);
		return;
	}
	d->reload.warnings = errs;
	commit_for(req, d);
}

/* Only this daemon's own file: who may operate it may not make it read another. */
static void
cmd_prepare(struct ctl_req *req)
{
	struct daemon *d = req->arg;
	const char *why = why_not_now(d);
	struct errs errs = { 0 };

	if (req->nargs != 2) {
		ctl_fail(req, "usage: prepare HASH FILE");
		return;
	}
	if (why == NULL && strcmp(req->args[1], d->file) != 0) {
		ctl_fail(req, "this daemon runs by %s", d->file);
		return;
	}
	if (why != NULL) {
		ctl_fail(req, "%s", why);
		return;
	}
	if (!prepare(d, req->args[0], &errs)) {
		answer_refused(req, d, &errs);
		errs_fini(&errs);
		return;
	}
	d->reload.warnings = errs;
	answer_prepared(req, d);
}

static void
cmd_commit(struct ctl_req *req)
{
	struct daemon *d = req->arg;

	if (d->reload.state != RELOAD_PREPARED) {
		ctl_fail(req, d->is_draining ? "this daemon is ending" : "nothing is prepared");
		return;
	}
	commit_for(req, d);
}

static void
cmd_abort(struct ctl_req *req)
{
	struct daemon *d = req->arg;

	if (d->reload.state == RELOAD_COMMITTING) {
		ctl_fail(req, "the commit has begun");
		return;
	}
	daemon_reload_drop(d);
	ctl_done(req);
}

const struct ctl_command daemon_reload_commands[] = {
	{ "reload", "", "read the configuration again; answers once it is adopted", CTL_OPERATE,
		cmd_reload },
	{ "give", "PATH...", "hand over opened files for the reload to come", CTL_ADMIN, cmd_give },
	{ "prepare", "HASH FILE", "first half of a reload: everything that can fail", CTL_OPERATE,
		cmd_prepare },
	{ "commit", "", "second half: answers once it is adopted", CTL_OPERATE, cmd_commit },
	{ "abort", "", "drop what was prepared", CTL_OPERATE, cmd_abort },
	{ 0 },
};

void
daemon_reload_init(struct daemon *d)
{
	d->reload.expiry = loop_timer_new(d->loop, on_expiry, d);
}

void
daemon_reload_fini(struct daemon *d)
{
	if (d->reload.expiry == NULL)
		return;
	daemon_reload_drop(d);
	errs_fini(&d->reload.warnings);
	drop_given(&d->reload);
	loop_timer_free(d->reload.expiry);
}
