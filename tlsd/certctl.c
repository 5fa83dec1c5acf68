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

typedef void (*cert_fn)(void *arg, const struct cert *c, const struct certuse *use);

/* Each that is served, and behind it the one that it stands in for. */
static void
each_cert(const struct site *s, cert_fn fn, void *arg)
{
	for (size_t i = 0; i < s->nlisteners; i++) {
		const struct site_listener *l = &s->listeners[i];
		struct certuse use = site_use(s, l);

		for (size_t j = 0; j < l->ncerts; j++) {
			use.is_waiting = false;
			fn(arg, l->certs[j], &use);
			use.is_waiting = true;
			if (l->waiting[j] != NULL)
				fn(arg, l->waiting[j], &use);
		}
	}
}

static void
list_json(void *array, const struct cert *c, const struct certuse *use)
{
	json_array_append_new(array, certlife_json(c, use));
}

static void
list_text(void *out, const struct cert *c, const struct certuse *use)
{
	certlife_text(c, use, out);
}

void
certctl_list(struct ctl_req *req)
{
	const struct server *s = req->arg;

	if (req->is_json) {
		json_t *array = json_array();

		each_cert(s->site, list_json, array);
		ctl_done_json(req, array);
		return;
	}
	each_cert(s->site, list_text, &req->out);
	ctl_done(req);
}

static void
add_to_sum(void *sum, const struct cert *c, const struct certuse *use)
{
	certlife_add(sum, c, use);
}

json_t *
certctl_summary(const struct server *s)
{
	struct certlife_sum sum = { .now_s = (int64_t)time(NULL) };

	each_cert(s->site, add_to_sum, &sum);
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

/* What a reload has come to, until all workers serve it. */
struct loaded {
	char *why; /* see why_not */
	bool has_changed;
};

static void
waits_json(void *array, const struct cert *c, const struct certuse *use)
{
	if (use->is_waiting)
		json_array_append_new(array,
			json_pack("{s:s,s:s,s:s}", "path", c->cert_path, use->kind, use->name,
				"reason", certlife_staple_word(c, (int64_t)time(NULL))));
}

static void
waits_text(void *out, const struct cert *c, const struct certuse *use)
{
	if (use->is_waiting)
		sbuf_addf(out, "%s %s  %s waits for its staple (%s), the one before stays\n",
			use->kind, use->name, c->cert_path,
			certlife_staple_word(c, (int64_t)time(NULL)));
}

static void
answer_done(struct ctl_req *req, bool has_changed)
{
	const struct server *s = req->arg;

	if (req->is_json) {
		json_t *waiting = json_array();

		each_cert(s->site, waits_json, waiting);
		ctl_done_json(
			req, json_pack("{s:b,s:o}", "changed", has_changed, "waiting", waiting));
		return;
	}
	sbuf_adds(&req->out, has_changed ? "changed\n" : "nothing has changed\n");
	each_cert(s->site, waits_text, &req->out);
	ctl_done(req);
}

static void
answer(struct ctl_req *req, bool has_changed, const char *why)
{
	if (why != NULL) {
		ctl_fail(req, "%s\n%s", why,
			has_changed ? "those that could be loaded are served, for others the old "
				      "ones stay"
				    : "the certificates in force stay");
		return;
	}
	answer_done(req, has_changed);
}

static void
loaded_free(struct loaded *l)
{
	free(l->why);
	free(l);
}

static void
on_cancel(struct ctl_req *req, void *arg)
{
	struct server *s = arg;

	loaded_free(ctl_req_data(req));
	s->waiting = NULL;
}

void
certctl_answer(struct ctl_req *req)
{
	struct loaded *l = ctl_req_data(req);

	answer(req, l->has_changed, l->why);
	loaded_free(l);
}

void
certctl_reload(struct ctl_req *req)
{
	struct server *s = req->arg;
	struct errs errs = { 0 };

	if (daemon_is_draining(s->daemon)) {
		ctl_fail(req, "this daemon is ending");
		return;
	}
	if (s->waiting != NULL || s->is_prepared || s->is_committing) {
		ctl_fail(req, "a reload is under way");
		return;
	}

	struct loaded *l = xcalloc(1, sizeof(*l));
	bool is_adopting = server_reload_certs(s, &l->has_changed, &errs);

	l->why = why_not(&errs);
	errs_fini(&errs);
	if (!is_adopting) {
		answer(req, false, l->why);
		loaded_free(l);
		return;
	}
	ctl_req_set_data(req, l);
	ctl_on_cancel(req, on_cancel, s);
	s->waiting = req;
}
