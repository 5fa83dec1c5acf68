/* certlife: see the header. */
#include "tlsd/certlife.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "libcommon/jsonput.h"
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

	jsonput_text(o, "state", certlife_staple_word(c, now));
	jsonput_bool(o, "must", c->wants_staple);
	if (c->ocsp_path != NULL)
		jsonput_text(o, "path", c->ocsp_path);
	if (c->staple_state == STAPLE_OK) {
		units_format_time(c->staple.times.this_update, when);
		jsonput_text(o, "this_update", when);
		units_format_time(c->staple.times.next_update, when);
		jsonput_text(o, "next_update", when);
	} else if (c->staple_err.text[0] != '\0') {
		jsonput_text(o, "text", c->staple_err.text);
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
	jsonput_text(o, use->kind, use->name);
	jsonput_text(o, "path", c->cert_path);
	jsonput_text(o, "key_path", c->key_path);
	jsonput_text(o, "key_type", c->key_type);
	json_object_set_new(o, "names", names);
	jsonput_text(o, "issuer", c->issuer);
	units_format_time(c->not_before, when);
	jsonput_text(o, "not_before", when);
	units_format_time(c->not_after, when);
	jsonput_text(o, "not_after", when);
	jsonput_int(o, "days_left", (c->not_after - now) / DAY_S);
	jsonput_bool(o, "expired", cert_is_expired(c, now));
	jsonput_bool(o, "waiting", use->is_waiting);
	jsonput_bool(o, "for_trials_only", c->is_self_signed_own);
	json_object_set_new(o, "ocsp", staple_json(c, now));
	jsonput_text(o, "serial", c->serial);
	jsonput_text(o, "sha256", c->fingerprint);
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

	jsonput_int(o, "loaded", sum->loaded);
	jsonput_int(o, "waiting", sum->waiting);
	jsonput_int(o, "expired", sum->expired);
	jsonput_int(o, "expiring", sum->expiring);
	if (sum->next != 0) {
		units_format_time(sum->next, when);
		jsonput_text(o, "next_expiry", when);
		jsonput_int(o, "days_left", (sum->next - sum->now_s) / DAY_S);
	}
	return o;
}
