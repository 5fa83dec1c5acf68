/*
 * connect: the life of a tlsd in the role `connect`. One thread does all: connections to servers
 * are kept and used again, so handshakes are rare; who has more of them runs more instances.
 */
#include "tlsd/connect.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/jsonput.h"
#include "libcommon/mem.h"
#include "libcommon/sock.h"
#include "libcommon/tlsasker.h"
#include "libcommon/units.h"
#include "tlsd/announce.h"
#include "tlsd/asks.h"
#include "tlsd/certlife.h"

#define FDS_RESERVED 96 /* loops, control socket, files of a reload */
#define DIALS_MIN    64
#define DIALS_MAX    4096
#define LIFE_MS      1000

struct connector {
	struct daemon *daemon;
	struct policies *policies;
	struct asks *asks;
	struct announce *announce;
	struct loop_timer *watch_timer;
	struct loop_timer *life_timer;
	int64_t seen_s;       /* the certificates' time, at the last look */
	uint64_t files_state; /* of the policies' files when they were loaded */
	uint64_t files_last;  /* at the last look */
	int fd;               /* listening, until asks has it */
	bool is_prepared;     /* a candidate waits for its commit */
};

/* From when a process runs, checks leave files alone: a reload loads them for real. */
static atomic_bool is_running;

/* ---- who may ask ---- */

struct uids {
	uid_t v[64];
	size_t n;
};

static void
add_uid(struct uids *all, const char *user)
{
	const struct passwd *pw = user != NULL ? getpwnam(user) : NULL;

	if (pw != NULL && all->n < sizeof(all->v) / sizeof(*all->v))
		all->v[all->n++] = pw->pw_uid;
}

static const char *
user_of(const struct daemon_cfg *dc, const char *section)
{
	const struct cfg_node *node = cfg_get(cfg_get(dc->cfg->root, section), "user");

	return node != NULL && node->kind == CFG_SCALAR ? node->text.p : NULL;
}

static void
use(struct connector *s)
{
	const struct daemon_cfg *dc = policies_dc(s->policies);
	const struct uptlscfg *c = &dc->common.upstream_tls;
	struct uids all = { .n = 0 };

	for (size_t i = 0; i < c->askers.n; i++)
		add_uid(&all, *CFG_AT(char *, c->askers, i));
	if (c->askers.n == 0) {
		add_uid(&all, user_of(dc, "http"));
		add_uid(&all, user_of(dc, "health"));
	}
	asks_use(s->asks, s->policies, all.v, all.n);
}

/* ---- start ---- */

static const char *
connect_user(const struct daemon_cfg *dc)
{
	return dc->common.upstream_tls.user;
}

static void
connect_check(struct cfg_ctx *ctx, struct daemon_cfg *dc)
{
	if (!atomic_load(&is_running))
		policies_check(dc, ctx->errs);
}

static void
free_connector(struct connector *s)
{
	asks_free(s->asks);
	policies_unref(s->policies);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

static int
open_socket(struct connector *s, struct errs *errs)
{
	struct sock_listen_opts opts = { .backlog = 0 };
	struct err err = { .text = "" };
	struct arena a;
	const char *path;

	arena_init(&a, 0);
	path = daemon_run_path(s->daemon, &a, "%s/%s%s", TLSASKER_FOLDER,
		daemon_instance(s->daemon), TLSASKER_SUFFIX);
	if (path == NULL)
		err_set(&err, "%s: %s", TLSASKER_FOLDER, strerror(errno));
	else
		s->fd = sock_listen_seqpacket(path, &opts, &err);
	if (s->fd < 0)
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = NULL }, "run_dir", "%s",
			err.text);
	arena_fini(&a);
	return s->fd < 0 ? -1 : 0;
}

static void *
connect_start(struct daemon *d, struct daemon_cfg *dc, struct errs *errs)
{
	struct connector *s = xcalloc(1, sizeof(*s));

	s->daemon = d;
	s->fd = -1;
	s->policies = policies_new(dc, d, NULL, errs);
	if (s->policies == NULL || open_socket(s, errs) < 0) {
		if (s->policies != NULL)
			daemon_cfg_ref(dc); /* the caller's stays the caller's */
		free_connector(s);
		return NULL;
	}
	s->files_state = s->files_last = policies_files_read(s->policies);
	atomic_store(&is_running, true);
	return s;
}

/* ---- the certificates that we show ---- */

static struct certuse
use_of(const struct connector *s, const struct policy *p)
{
	return (struct certuse){
		.kind = "policy",
		.name = p->cfg->name,
		.warning_ms = policies_dc(s->policies)->common.upstream_tls.expiry_warning_ms,
	};
}

static const struct cert *
cert_before(const struct policies *old, const char *name)
{
	for (size_t i = 0; old != NULL && i < policies_count(old); i++)
		if (strcmp(policies_at(old, i)->cfg->name, name) == 0)
			return policies_at(old, i)->cert;
	return NULL;
}

static void
log_certs(const struct connector *s, const struct policies *old)
{
	for (size_t i = 0; i < policies_count(s->policies); i++) {
		const struct policy *p = policies_at(s->policies, i);
		const struct certuse use = use_of(s, p);

		if (p->cert != NULL)
			certlife_loaded(p->cert, cert_before(old, p->cfg->name), &use);
	}
}

static void
look_at_certs(void *arg)
{
	struct connector *s = arg;
	int64_t now_s = (int64_t)time(NULL);

	for (size_t i = 0; i < policies_count(s->policies); i++) {
		const struct policy *p = policies_at(s->policies, i);
		const struct certuse use = use_of(s, p);

		if (p->cert != NULL)
			certlife_passed(p->cert, &use, s->seen_s, now_s);
	}
	s->seen_s = now_s;
}

static void
list_certs(struct ctl_req *req)
{
	const struct connector *s = req->arg;
	json_t *array = json_array();

	for (size_t i = 0; i < policies_count(s->policies); i++) {
		const struct policy *p = policies_at(s->policies, i);
		const struct certuse use = use_of(s, p);

		if (p->cert != NULL && req->is_json)
			json_array_append_new(array, certlife_json(p->cert, &use));
		else if (p->cert != NULL)
			certlife_text(p->cert, &use, &req->out);
	}
	if (req->is_json) {
		ctl_done_json(req, array);
		return;
	}
	json_decref(array);
	ctl_done(req);
}

static json_t *
certs_json(const struct connector *s)
{
	struct certlife_sum sum = { .now_s = (int64_t)time(NULL) };

	for (size_t i = 0; i < policies_count(s->policies); i++) {
		const struct policy *p = policies_at(s->policies, i);
		const struct certuse use = use_of(s, p);

		if (p->cert != NULL)
			certlife_add(&sum, p->cert, &use);
	}
	return certlife_sum_json(&sum);
}

/* ---- files that change ---- */

static void
replace(struct connector *s, struct policies *fresh)
{
	struct policies *old = s->policies;

	s->policies = fresh;
	log_certs(s, old);
	policies_unref(old);
	use(s);
}

/* Changed, and not again since the last look: their writer is done. */
static void
look_at_files(void *arg)
{
	struct connector *s = arg;
	uint64_t state = policies_files(s->policies);
	bool is_settled = state == s->files_last;
	struct errs errs = { 0 };

	s->files_last = state;
	if (state == s->files_state || !is_settled || s->is_prepared ||
		daemon_is_draining(s->daemon))
		return;
	s->files_state = state;

	struct daemon_cfg *dc =
		daemon_cfg_ref((struct daemon_cfg *)(uintptr_t)policies_dc(s->policies));
	struct policies *fresh = policies_new(dc, s->daemon, s->policies, &errs);

	if (fresh != NULL) {
		replace(s, fresh);
		LOG_INFO("policies_reloaded", L_INT("policies", policies_count(fresh)));
	} else {
		daemon_cfg_free(dc);
	}
	for (size_t i = 0; i < errs.n; i++)
		if (errs.v[i].level == FINDING_ERROR)
			LOG_ERROR("policy_reload_failed", L_STR("path", errs.v[i].path),
				L_STR("text", errs.v[i].text));
	errs_fini(&errs);
}

static void
watch_files(struct connector *s)
{
	int64_t ms = policies_dc(s->policies)->common.upstream_tls.watch_ms;

	if (ms > 0)
		loop_timer_set(s->watch_timer, (uint64_t)ms, true);
	else
		loop_timer_stop(s->watch_timer);
}

static unsigned
max_dials(void)
{
	uint64_t fds = sock_raise_nofile();

	const uint64_t kept = FDS_RESERVED + ASKS_CHANNELS_MAX;

	if (fds < kept + DIALS_MIN)
		return DIALS_MIN;
	return fds - kept < DIALS_MAX ? (unsigned)(fds - kept) : DIALS_MAX;
}

static int
connect_run(void *self, struct err *err)
{
	struct connector *s = self;
	struct loop *l = daemon_loop(s->daemon);

	s->announce = announce_new(s->daemon, err);
	if (s->announce == NULL)
		return -1;
	s->asks = asks_new(l, s->fd, max_dials());
	s->fd = -1;
	use(s);
	log_certs(s, NULL);
	s->seen_s = (int64_t)time(NULL);
	s->life_timer = loop_timer_new(l, look_at_certs, s);
	loop_timer_set(s->life_timer, LIFE_MS, true);
	s->watch_timer = loop_timer_new(l, look_at_files, s);
	watch_files(s);
	return 0;
}

/* ---- reload ---- */

static void *
connect_prepare(void *self, struct daemon_cfg *dc, struct errs *errs)
{
	struct connector *s = self;
	struct policies *fresh = policies_new(dc, s->daemon, s->policies, errs);

	s->is_prepared = fresh != NULL;
	return fresh;
}

static void
connect_commit(void *self, void *candidate, struct daemon_cfg *dc)
{
	struct connector *s = self;

	(void)dc; /* the candidate has it */
	s->is_prepared = false;
	replace(s, candidate);
	s->files_state = s->files_last = policies_files_read(s->policies);
	watch_files(s);
	daemon_committed(s->daemon);
}

static void
connect_discard(void *self, void *candidate)
{
	struct connector *s = self;

	s->is_prepared = false;
	/* What it was made of stays the caller's. */
	daemon_cfg_ref((struct daemon_cfg *)(uintptr_t)policies_dc(candidate));
	policies_unref(candidate);
}

/* ---- the end ---- */

static void
on_drained(void *arg)
{
	struct connector *s = arg;

	daemon_drained(s->daemon);
}

static void
connect_drain(void *self)
{
	struct connector *s = self;

	asks_drain(s->asks, on_drained, s);
}

static void
connect_stop(void *self)
{
	struct connector *s = self;

	announce_free(s->announce);
	if (s->life_timer != NULL)
		loop_timer_free(s->life_timer);
	if (s->watch_timer != NULL)
		loop_timer_free(s->watch_timer);
	free_connector(s);
}

/* ---- status ---- */

struct counter {
	const char *name;
	const char *meaning;
	size_t offset;
};

static const struct counter counters[] = {
#define C(name, meaning) { #name, meaning, offsetof(struct asks_stats, name) },
	C_ASKS
#undef C
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static uint64_t
value(const struct asks_stats *st, const struct counter *c)
{
	return *(const uint64_t *)(const void *)((const char *)st + c->offset);
}

static json_t *
policy_json(const struct policy *p)
{
	json_t *o = json_object();
	char when[UNITS_TIME];

	jsonput_text(o, "name", p->cfg->name);
	jsonput_bool(o, "verify", p->cfg->verify);
	jsonput_text(o, "ca", p->cfg->ca != NULL ? p->cfg->ca : "system");
	jsonput_text(o, "min_version", p->cfg->min_version == TLSPOLICY_1_3 ? "1.3" : "1.2");
	if (p->cert != NULL) {
		units_format_time(p->cert->not_after, when);
		jsonput_text(o, "cert", p->cert->cert_path);
		jsonput_text(o, "cert_not_after", when);
	}
	return o;
}

static void
status_json(const struct connector *s, json_t *o)
{
	const struct asks_stats *st = asks_stats(s->asks);
	json_t *numbers = json_object();
	json_t *whys = json_object();
	json_t *policies = json_array();

	for (size_t i = 0; i < COUNT(counters); i++)
		jsonput_int(numbers, counters[i].name, value(st, &counters[i]));
	for (unsigned i = 0; i < TLSASK_WHY_COUNT; i++)
		jsonput_int(whys, tlsask_word(i), st->whys[i]);
	for (size_t i = 0; i < policies_count(s->policies); i++)
		json_array_append_new(policies, policy_json(policies_at(s->policies, i)));
	jsonput_text(o, "role", "connect");
	jsonput_int(o, "handshaking", asks_open(s->asks));
	jsonput_int(o, "channels", asks_channels(s->asks));
	json_object_set_new(o, "counters", numbers);
	json_object_set_new(o, "handshake_failures", whys);
	json_object_set_new(o, "policies", policies);
	json_object_set_new(o, "certificates", certs_json(s));
}

static void
status_text(const struct connector *s, struct sbuf *out)
{
	const struct asks_stats *st = asks_stats(s->asks);

	sbuf_addf(out, "role connect, %u handshakes under way, %u channels\n", asks_open(s->asks),
		asks_channels(s->asks));
	for (size_t i = 0; i < policies_count(s->policies); i++) {
		const struct tlspolicycfg *c = policies_at(s->policies, i)->cfg;

		sbuf_addf(out, "  policy %s  verify %s  ca %s  TLS %s+%s%s\n", c->name,
			c->verify ? "on" : "off", c->ca != NULL ? c->ca : "system",
			c->min_version == TLSPOLICY_1_3 ? "1.3" : "1.2",
			c->cert != NULL ? "  cert " : "", c->cert != NULL ? c->cert : "");
	}
	for (size_t i = 0; i < COUNT(counters); i++)
		if (value(st, &counters[i]) > 0)
			sbuf_addf(out, "  %-16s %12" PRIu64 "  %s\n", counters[i].name,
				value(st, &counters[i]), counters[i].meaning);
	for (unsigned i = 0; i < TLSASK_WHY_COUNT; i++)
		if (st->whys[i] > 0)
			sbuf_addf(out, "  failed: %s %" PRIu64 "\n", tlsask_word(i), st->whys[i]);
}

static void
connect_status(void *self, struct json_t *object, struct sbuf *out)
{
	if (out != NULL)
		status_text(self, out);
	else
		status_json(self, object);
}

static const struct ctl_command connect_commands[] = {
	{ "cert list", "", "certificates shown to servers: policy, names, issuer, expiry", CTL_VIEW,
		list_certs },
	{ 0 },
};

const struct daemon_ops connect_ops = {
	.program = "tlsd",
	.usage = ROLE_USAGE,
	.check = connect_check,
	.user = connect_user,
	.start = connect_start,
	.run = connect_run,
	.prepare = connect_prepare,
	.commit = connect_commit,
	.discard = connect_discard,
	.drain = connect_drain,
	.status = connect_status,
	.commands = connect_commands,
	.stop = connect_stop,
};
