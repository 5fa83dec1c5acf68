/* certlife: see the header. */
#include "tlsd/certlife.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "libcommon/log.h"
#include "libcommon/units.h"

#define DAY_S 86400

/* ---- events ---- */

static void
log_expired(const struct cert *c, const struct certuse *use)
{
	char when[UNITS_TIME];

	units_format_time(c->not_after, when);
	LOG_WARN("cert_expired", L_STR("path", c->cert_path), L_STR(use->kind, use->name),
		L_STR("not_after", when));
}

static bool
expires_soon(const struct cert *c, const struct certuse *use, int64_t now_s)
{
	return !cert_is_expired(c, now_s) && c->not_after - now_s <= use->warning_ms / 1000;
}

static void
log_soon(const struct cert *c, const struct certuse *use, int64_t now_s)
{
	char when[UNITS_TIME];

	units_format_time(c->not_after, when);
	LOG_WARN("cert_expires_soon", L_STR("path", c->cert_path), L_STR(use->kind, use->name),
		L_STR("not_after", when), L_INT("days_left", (c->not_after - now_s) / DAY_S));
}

/* What the second in which a day of its life ends is worth telling. */
void
certlife_passed(const struct cert *c, const struct certuse *use, int64_t since_s, int64_t now_s)
{
	bool is_new_day = (c->not_after - now_s) / DAY_S != (c->not_after - since_s) / DAY_S;

	if (cert_is_expired(c, now_s)) {
		if (!cert_is_expired(c, since_s))
			log_expired(c, use);
	} else if (expires_soon(c, use, now_s) && (is_new_day || !expires_soon(c, use, since_s))) {
		log_soon(c, use, now_s);
	}
}

static void
log_used(const struct cert *c, const struct cert *old, const struct certuse *use)
{
	char when[UNITS_TIME];
	char before[UNITS_TIME];

	units_format_time(c->not_after, when);
	if (old == NULL) {
		LOG_INFO("cert_loaded", L_STR("path", c->cert_path), L_STR(use->kind, use->name),
			L_STR("key", c->key_type), L_STR("not_after", when));
		return;
	}
	units_format_time(old->not_after, before);
	LOG_INFO("cert_changed", L_STR("path", c->cert_path), L_STR(use->kind, use->name),
		L_STR("key", c->key_type), L_STR("old_not_after", before),
		L_STR("not_after", when));
}

void
certlife_loaded(const struct cert *c, const struct cert *old, const struct certuse *use)
{
	int64_t now_s = (int64_t)time(NULL);
	bool is_same = old != NULL && strcmp(old->fingerprint, c->fingerprint) == 0;

	if (!is_same && !cert_is_expired(c, now_s))
		log_used(c, old, use);
	if (cert_is_expired(c, now_s))
		log_expired(c, use);
	else if (!is_same && expires_soon(c, use, now_s))
		log_soon(c, use, now_s);
}

void
certlife_waits(const struct cert *c, const struct cert *before, const struct certuse *use)
{
	char when[UNITS_TIME];
	char old[UNITS_TIME];

	units_format_time(c->not_after, when);
	units_format_time(before->not_after, old);
	LOG_WARN("cert_waiting", L_STR("path", c->cert_path), L_STR(use->kind, use->name),
		L_STR("reason", certlife_staple_word(c, (int64_t)time(NULL))),
		L_STR("not_after", when), L_STR("old_not_after", old),
		L_STR("text",
			c->staple_err.text[0] != '\0'
				? c->staple_err.text
				: "the certificate must come with a staple and there is none yet"));
}

/* ---- lists ---- */

const char *
certlife_staple_word(const struct cert *c, int64_t now_s)
{
	switch (c->staple_state) {
	case STAPLE_OK: return staple_is_valid(&c->staple, now_s) ? "good" : "expired";
	case STAPLE_REVOKED: return "revoked";
	case STAPLE_BAD: return "refused";
	default: return c->wants_staple ? "missing" : "none";
	}
}

static json_t *
staple_json(const struct cert *c, int64_t now)
{
	json_t *o = json_object();
	char when[UNITS_TIME];

	json_object_set_new(o, "state", json_string(certlife_staple_word(c, now)));
	json_object_set_new(o, "must", json_boolean(c->wants_staple));
	if (c->ocsp_path != NULL)
		json_object_set_new(o, "path", json_string(c->ocsp_path));
	if (c->staple_state == STAPLE_OK) {
		units_format_time(c->staple.times.this_update, when);
		json_object_set_new(o, "this_update", json_string(when));
		units_format_time(c->staple.times.next_update, when);
		json_object_set_new(o, "next_update", json_string(when));
	} else if (c->staple_err.text[0] != '\0') {
		json_object_set_new(o, "text", json_string(c->staple_err.text));
	}
	return o;
}

json_t *
certlife_json(const struct cert *c, const struct certuse *use)
{
	int64_t now = (int64_t)time(NULL);
	json_t *o = json_object();
	json_t *names = json_array();
	char when[UNITS_TIME];

	for (size_t i = 0; i < c->nnames; i++)
		json_array_append_new(names, json_string(c->names[i]));
	json_object_set_new(o, use->kind, json_string(use->name));
	json_object_set_new(o, "path", json_string(c->cert_path));
	json_object_set_new(o, "key_path", json_string(c->key_path));
	json_object_set_new(o, "key_type", json_string(c->key_type));
	json_object_set_new(o, "names", names);
	json_object_set_new(o, "issuer", json_string(c->issuer));
	units_format_time(c->not_before, when);
	json_object_set_new(o, "not_before", json_string(when));
	units_format_time(c->not_after, when);
	json_object_set_new(o, "not_after", json_string(when));
	json_object_set_new(o, "days_left", json_integer((c->not_after - now) / DAY_S));
	json_object_set_new(o, "expired", json_boolean(cert_is_expired(c, now)));
	json_object_set_new(o, "waiting", json_boolean(use->is_waiting));
	json_object_set_new(o, "for_trials_only", json_boolean(c->is_self_signed_own));
	json_object_set_new(o, "ocsp", staple_json(c, now));
	json_object_set_new(o, "serial", json_string(c->serial));
	json_object_set_new(o, "sha256", json_string(c->fingerprint));
	return o;
}

void
certlife_text(const struct cert *c, const struct certuse *use, struct sbuf *out)
{
	int64_t now = (int64_t)time(NULL);
	char when[UNITS_TIME];

	units_format_time(c->not_after, when);
	sbuf_addf(out, "%s %s  %s  %s  until %s (", use->kind, use->name, c->cert_path, c->key_type,
		when);
	if (cert_is_expired(c, now))
		sbuf_adds(out, "EXPIRED");
	else
		sbuf_addf(out, "%" PRId64 " days", (c->not_after - now) / DAY_S);
	sbuf_addf(out, ")%s  issuer \"%s\"  ocsp %s%s ",
		c->is_self_signed_own ? "  for trials only" : "", c->issuer,
		certlife_staple_word(c, now), use->is_waiting ? " (waits for it)" : "");
	for (size_t i = 0; i < c->nnames; i++)
		sbuf_addf(out, " %s", c->names[i]);
	sbuf_addc(out, '\n');
}

void
certlife_add(struct certlife_sum *sum, const struct cert *c, const struct certuse *use)
{
	bool is_over = cert_is_expired(c, sum->now_s);

	if (use->is_waiting) {
		sum->waiting++;
		return;
	}
	sum->loaded++;
	sum->expired += is_over;
	sum->expiring += expires_soon(c, use, sum->now_s);
	if (!is_over && (sum->next == 0 || c->not_after < sum->next))
		sum->next = c->not_after;
}

json_t *
certlife_sum_json(const struct certlife_sum *sum)
{
	json_t *o = json_object();
	char when[UNITS_TIME];

	json_object_set_new(o, "loaded", json_integer(sum->loaded));
	json_object_set_new(o, "waiting", json_integer(sum->waiting));
	json_object_set_new(o, "expired", json_integer(sum->expired));
	json_object_set_new(o, "expiring", json_integer(sum->expiring));
	if (sum->next != 0) {
		units_format_time(sum->next, when);
		json_object_set_new(o, "next_expiry", json_string(when));
		json_object_set_new(o, "days_left", json_integer((sum->next - sum->now_s) / DAY_S));
	}
	return o;
}
