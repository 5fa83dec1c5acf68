/*
 * certctl: see the header. `cert reload` answers when all workers serve what was loaded; what could
 * not be loaded makes the answer an error, although the rest is served.
 */
#include "tlsd/certctl.h"

#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "libcommon/mem.h"
#include "tlsd/certlife.h"
#include "tlsd/server.h"

/* ---- list ---- */

void
certctl_list(struct ctl_req *req)
{
	const struct server *s = req->arg;
	json_t *array = json_array();

	for (size_t i = 0; i < s->site->nlisteners; i++) {
		const struct site_listener *l = &s->site->listeners[i];
		const struct certuse use = site_use(s->site, l);

		for (size_t j = 0; j < l->ncerts; j++) {
			if (req->is_json)
				json_array_append_new(array, certlife_json(l->certs[j], &use));
			else
				certlife_text(l->certs[j], &use, &req->out);
		}
	}
	if (req->is_json) {
		ctl_done_json(req, array);
		return;
	}
	json_decref(array);
	ctl_done(req);
}

json_t *
certctl_summary(const struct server *s)
{
	struct certlife_sum sum = { .now_s = (int64_t)time(NULL) };

	for (size_t i = 0; i < s->site->nlisteners; i++) {
		const struct certuse use = site_use(s->site, &s->site->listeners[i]);

		for (size_t j = 0; j < s->site->listeners[i].ncerts; j++)
			certlife_add(&sum, s->site->listeners[i].certs[j], &use);
	}
	return certlife_sum_json(&sum);
}

/* ---- reload ---- */

/* Why some could not be loaded, one a line: what `cert reload` fails with. NULL: all could. */
static char *
why_not(const struct errs *errs)
{
	struct sbuf text = { 0 };

	for (size_t i = 0; i < errs->n; i++)
		if (errs->v[i].level == FINDING_ERROR)
			sbuf_addf(&text, "%s%s: %s", text.n > 0 ? "\n" : "", errs->v[i].path,
				errs->v[i].text);
	return text.n > 0 ? sbuf_take(&text) : NULL;
}

static void
answer(struct ctl_req *req, bool has_changed, char *why)
{
	if (why != NULL) {
		ctl_fail(req, "%s\n%s", why,
			has_changed ? "those that could be loaded are served, for others the old "
				      "ones stay"
				    : "the certificates in force stay");
	} else if (req->is_json) {
		ctl_done_json(req, json_pack("{s:b}", "changed", has_changed));
	} else {
		sbuf_adds(&req->out, has_changed ? "changed\n" : "nothing has changed\n");
		ctl_done(req);
	}
	free(why);
}

static void
on_cancel(struct ctl_req *req, void *arg)
{
	struct server *s = arg;

	free(ctl_req_data(req));
	s->waiting = NULL;
}

void
certctl_answer(struct ctl_req *req)
{
	answer(req, true, ctl_req_data(req));
}

void
certctl_reload(struct ctl_req *req)
{
	struct server *s = req->arg;
	struct errs errs = { 0 };

	if (s->waiting != NULL || s->is_prepared || s->is_committing) {
		ctl_fail(req, "a reload is under way");
		return;
	}

	int rc = server_reload_certs(s, &errs);
	char *why = why_not(&errs);

	errs_fini(&errs);
	if (rc <= 0) {
		answer(req, false, why);
		return;
	}
	ctl_req_set_data(req, why);
	ctl_on_cancel(req, on_cancel, s);
	s->waiting = req;
}
