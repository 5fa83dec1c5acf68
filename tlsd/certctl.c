/*
 * certctl: see the header. `cert reload` answers when all workers serve what was loaded; what could
 * not be loaded makes the answer an error, although the rest is served.
 */
#include "tlsd/certctl.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "libcommon/mem.h"
#include "tlsd/server.h"

#define DAY_S 86400

/* ---- list ---- */

static const char *
staple_word(const struct cert *c, int64_t now)
{
	switch (c->staple_state) {
	case STAPLE_OK: return staple_is_valid(&c->staple, now) ? "good" : "expired";
	case STAPLE_REVOKED: return "revoked";
	case STAPLE_BAD: return "refused";
	default: return c->wants_staple ? "missing" : "none";
	}
}

static json_t *
staple_json(const struct cert *c, int64_t now)
{
	json_t *o = json_object();
	char when[32];

	json_object_set_new(o, "state", json_string(staple_word(c, now)));
	json_object_set_new(o, "must", json_boolean(c->wants_staple));
	if (c->ocsp_path != NULL)
		json_object_set_new(o, "path", json_string(c->ocsp_path));
	if (c->staple_state == STAPLE_OK) {
		cert_format_time(c->staple.times.this_update, when);
		json_object_set_new(o, "this_update", json_string(when));
		cert_format_time(c->staple.times.next_update, when);
		json_object_set_new(o, "next_update", json_string(when));
	} else if (c->staple_err.text[0] != '\0') {
		json_object_set_new(o, "text", json_string(c->staple_err.text));
	}
	return o;
}

static json_t *
cert_json(const struct site_listener *l, const struct cert *c)
{
	int64_t now = (int64_t)time(NULL);
	json_t *o = json_object();
	json_t *names = json_array();
	char when[32];

	for (size_t i = 0; i < c->nnames; i++)
		json_array_append_new(names, json_string(c->names[i]));
	json_object_set_new(o, "listen", json_string(l->cfg->address_text));
	json_object_set_new(o, "path", json_string(c->cert_path));
	json_object_set_new(o, "key_path", json_string(c->key_path));
	json_object_set_new(o, "key_type", json_string(c->key_type));
	json_object_set_new(o, "names", names);
	json_object_set_new(o, "issuer", json_string(c->issuer));
	cert_format_time(c->not_before, when);
	json_object_set_new(o, "not_before", json_string(when));
	cert_format_time(c->not_after, when);
	json_object_set_new(o, "not_after", json_string(when));
	json_object_set_new(o, "days_left", json_integer((c->not_after - now) / DAY_S));
	json_object_set_new(o, "expired", json_boolean(cert_is_expired(c, now)));
	json_object_set_new(o, "for_trials_only", json_boolean(c->is_self_signed_own));
	json_object_set_new(o, "ocsp", staple_json(c, now));
	json_object_set_new(o, "serial", json_string(c->serial));
	json_object_set_new(o, "sha256", json_string(c->fingerprint));
	return o;
}

static void
cert_text(const struct site_listener *l, const struct cert *c, struct sbuf *out)
{
	int64_t now = (int64_t)time(NULL);
	char when[32];

	cert_format_time(c->not_after, when);
	sbuf_addf(out, "%s  %s  %s  until %s (", l->cfg->address_text, c->cert_path, c->key_type,
		when);
	if (cert_is_expired(c, now))
		sbuf_adds(out, "EXPIRED");
	else
		sbuf_addf(out, "%" PRId64 " days", (c->not_after - now) / DAY_S);
	sbuf_addf(out, ")%s  issuer \"%s\"  ocsp %s ",
		c->is_self_signed_own ? "  for trials only" : "", c->issuer, staple_word(c, now));
	for (size_t i = 0; i < c->nnames; i++)
		sbuf_addf(out, " %s", c->names[i]);
	sbuf_addc(out, '\n');
}

void
certctl_list(struct ctl_req *req)
{
	const struct server *s = req->arg;
	json_t *array = json_array();

	for (size_t i = 0; i < s->site->nlisteners; i++) {
		const struct site_listener *l = &s->site->listeners[i];

		for (size_t j = 0; j < l->ncerts; j++) {
			if (req->is_json)
				json_array_append_new(array, cert_json(l, l->certs[j]));
			else
				cert_text(l, l->certs[j], &req->out);
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
	int64_t now = (int64_t)time(NULL);
	int64_t soon = now + s->site->cfg->expiry_warning_ms / 1000;
	int64_t next = 0;
	json_int_t counts[3] = { 0 };
	json_t *o = json_object();
	char when[32];

	for (size_t i = 0; i < s->site->nlisteners; i++)
		for (size_t j = 0; j < s->site->listeners[i].ncerts; j++) {
			const struct cert *c = s->site->listeners[i].certs[j];
			bool is_over = cert_is_expired(c, now);

			counts[0]++;
			counts[1] += is_over;
			counts[2] += !is_over && c->not_after <= soon;
			if (!is_over && (next == 0 || c->not_after < next))
				next = c->not_after;
		}
	json_object_set_new(o, "loaded", json_integer(counts[0]));
	json_object_set_new(o, "expired", json_integer(counts[1]));
	json_object_set_new(o, "expiring", json_integer(counts[2]));
	if (next != 0) {
		cert_format_time(next, when);
		json_object_set_new(o, "next_expiry", json_string(when));
		json_object_set_new(o, "days_left", json_integer((next - now) / DAY_S));
	}
	return o;
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
