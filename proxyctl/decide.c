/*
 * decide: `drain`, `undrain`, `disable`, `enable`, `weight`: an operator's decision is written into
 * the overrides file, then every daemon that reads it is told. With --wait the exit code is the
 * receipt: every live router has adopted it, and nothing is in flight where it should not be.
 */
#include <getopt.h>
#include <grp.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/ctlproto.h"
#include "libcommon/folder.h"
#include "libcommon/overrides.h"
#include "libcommon/units.h"
#include "proxyctl/commands.h"
#include "proxyctl/fleet.h"

enum { TELL_MS = 5000, LOOK_AGAIN_MS = 100, TIMEOUT_MS = 60000 };

struct decision {
	const char *verb;
	char *pool; /* "POOL", then its server */
	char *server;
	enum override_action action;
	bool is_removal;
	uint32_t weight;
	const char *reason;
	int64_t expire_ms;
	bool is_waiting;
	int64_t timeout_ms;
};

struct verb {
	const char *name;
	enum override_action action;
	bool is_removal;
};

/* `enable` takes a drain back too: afterwards the server is in use, which is what was asked for. */
static const struct verb verbs[] = {
	{ "drain", OVERRIDE_DRAIN, false },
	{ "undrain", OVERRIDE_DRAIN, true },
	{ "disable", OVERRIDE_DISABLE, false },
	{ "enable", OVERRIDE_DISABLE, true },
	{ "weight", OVERRIDE_WEIGHT, false },
};

/* ---- what was asked ---- */

static bool
parse_duration(const char *option, const char *text, int64_t *ms)
{
	if (units_parse_duration(slice_str(text), ms) && *ms > 0)
		return true;
	fprintf(stderr, "--%s %s: expected a duration such as 10m\n", option, text);
	return false;
}

static bool
parse_options(struct decision *d, int argc, char **argv)
{
	static const struct option options[] = {
		{ "wait", no_argument, NULL, 'w' },
		{ "timeout", required_argument, NULL, 't' },
		{ "reason", required_argument, NULL, 'r' },
		{ "expire", required_argument, NULL, 'e' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'w': d->is_waiting = true; break;
		case 'r': d->reason = optarg; break;
		case 't':
			if (!parse_duration("timeout", optarg, &d->timeout_ms))
				return false;
			break;
		case 'e':
			if (!parse_duration("expire", optarg, &d->expire_ms))
				return false;
			break;
		default: return command_usage(d->verb) == EXIT_DONE;
		}
	}
	return true;
}

static bool
parse_weight(struct decision *d, const char *text)
{
	uint64_t n;

	if (strcmp(text, "default") == 0) {
		d->is_removal = true;
		return true;
	}
	if (!slice_to_u64(slice_str(text), &n) || n > 256) {
		fprintf(stderr, "weight %s: expected 0 to 256, or default\n", text);
		return false;
	}
	d->weight = (uint32_t)n;
	return true;
}

static bool
parse(struct decision *d, int argc, char **argv)
{
	*d = (struct decision){ .verb = argv[0], .reason = "", .timeout_ms = TIMEOUT_MS };
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (strcmp(argv[0], verbs[i].name) == 0) {
			d->action = verbs[i].action;
			d->is_removal = verbs[i].is_removal;
		}
	}
	if (!parse_options(d, argc, argv))
		return false;

	bool is_weight = d->action == OVERRIDE_WEIGHT;
	const char *slash = argc - optind == (is_weight ? 2 : 1) ? strchr(argv[optind], '/') : NULL;

	if (slash == NULL || slash == argv[optind] || slash[1] == '\0') {
		command_usage(d->verb);
		return false;
	}
	if (is_weight && !parse_weight(d, argv[optind + 1]))
		return false;
	d->pool = xstrndup(argv[optind], (size_t)(slash - argv[optind]));
	d->server = xstrdup(slash + 1);
	return true;
}

static const char *
nth_pool(const void *arg, size_t i)
{
	const struct commoncfg *c = arg;

	return i < c->pools.n ? CFG_AT(struct poolcfg, c->pools, i)->name : NULL;
}

static const char *
nth_server(const void *arg, size_t i)
{
	const struct poolcfg *p = arg;

	return i < p->servers.n ? CFG_AT(struct servercfg, p->servers, i)->name : NULL;
}

/* A decision for what is not there would be a typing error; taking one back is always right. */
static bool
is_known(const struct decision *d, const struct site *s)
{
	const struct poolcfg *pool = commoncfg_pool(&s->common, d->pool);
	const char *meant;

	if (d->is_removal)
		return true;
	if (pool == NULL) {
		meant = err_did_you_mean(d->pool, nth_pool, &s->common);
		fprintf(stderr, "there is no pool `%s`%s%s%s\n", d->pool,
			meant ? "; did you mean `" : "", meant ? meant : "", meant ? "`?" : "");
		return false;
	}
	for (size_t i = 0; i < pool->servers.n; i++)
		if (strcmp(nth_server(pool, i), d->server) == 0)
			return true;
	meant = err_did_you_mean(d->server, nth_server, pool);
	fprintf(stderr, "pool `%s` has no server `%s`%s%s%s\n", d->pool, d->server,
		meant ? "; did you mean `" : "", meant ? meant : "", meant ? "`?" : "");
	return false;
}

/* ---- writing it down ---- */

static const char *
actor(void)
{
	const char *sudo = getenv("SUDO_USER");
	const struct passwd *pw = getpwuid(getuid());

	if (sudo != NULL && getuid() == 0)
		return sudo;
	return pw != NULL ? pw->pw_name : "";
}

/* Other operators write there, and daemons of other users read: all by the common group. What fails
 * here is said when the file is written. */
static void
make_state_dir(const struct commoncfg *c)
{
	const struct group *g = c->control_group ? getgrnam(c->control_group) : NULL;

	umask(0007);
	if (folder_make(c->state_dir, 0750) == 0 && g != NULL &&
		chown(c->state_dir, (uid_t)-1, g->gr_gid) == 0)
		chmod(c->state_dir, 02770);
}

static int
take_back(const struct decision *d, const struct site *s, struct err *err)
{
	const char *dir = s->common.state_dir;
	const char *group = s->common.control_group;
	int n = overrides_remove(dir, group, d->pool, d->server, d->action, err);

	if (n >= 0 && strcmp(d->verb, "enable") == 0) {
		int m = overrides_remove(dir, group, d->pool, d->server, OVERRIDE_DRAIN, err);

		n = m < 0 ? m : n + m;
	}
	if (n == 0)
		printf("%s/%s: there was nothing to take back\n", d->pool, d->server);
	return n < 0 ? -1 : 0;
}

static int
write_down(const struct decision *d, const struct site *s, struct err *err)
{
	int64_t now_s = (int64_t)time(NULL);
	char *who = xstrdup(actor());
	char *why = xstrdup(d->reason);
	struct override entry = {
		.pool = d->pool,
		.server = d->server,
		.action = d->action,
		.weight = d->weight,
		.actor = who,
		.reason = why,
		.time_s = now_s,
		.expires_s = d->expire_ms > 0 ? now_s + (d->expire_ms + 999) / 1000 : 0,
	};

	make_state_dir(&s->common);

	int rc = d->is_removal
		? take_back(d, s, err)
		: overrides_set(s->common.state_dir, s->common.control_group, &entry, err);

	free(who);
	free(why);
	return rc;
}

/* ---- receipts ---- */

static bool
reads_overrides(const struct member *m, void *arg)
{
	(void)arg;
	return strcmp(m->program, "routerd") == 0 || strcmp(m->program, "healthd") == 0;
}

static bool
is_router(const struct member *m, void *arg)
{
	(void)arg;
	return strcmp(m->program, "routerd") == 0 && m->state != MEMBER_GONE;
}

/* One router's word: every worker has adopted the file, and nothing is in flight if that counts. */
static bool
is_done_at(const struct member *m, bool must_be_idle)
{
	return m->state == MEMBER_OK && json_is_true(json_object_get(m->answer, "adopted")) &&
		(!must_be_idle || json_integer_value(json_object_get(m->answer, "inflight")) == 0);
}

static size_t
count_pending(const struct fleet *f, bool must_be_idle)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += is_router(&f->v[i], NULL) && !is_done_at(&f->v[i], must_be_idle);
	return n;
}

static void
name_pending(const struct fleet *f, bool must_be_idle)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct member *m = &f->v[i];

		if (!is_router(m, NULL) || is_done_at(m, must_be_idle))
			continue;
		if (m->state != MEMBER_OK)
			fprintf(stderr, "%s: %s\n", m->name, m->why ? m->why : "no answer");
		else if (!json_is_true(json_object_get(m->answer, "adopted")))
			fprintf(stderr, "%s: has not adopted it yet\n", m->name);
		else
			fprintf(stderr, "%s: %" JSON_INTEGER_FORMAT " still in flight\n", m->name,
				json_integer_value(json_object_get(m->answer, "inflight")));
	}
}

static int
wait_for_receipts(struct fleet *f, const struct decision *d)
{
	int64_t deadline_ms = clock_ms() + d->timeout_ms;
	bool must_be_idle = !d->is_removal && d->action != OVERRIDE_WEIGHT;
	struct sbuf line = { 0 };
	char *target = xasprintf("%s/%s", d->pool, d->server);
	int code = EXIT_FAILED;

	sbuf_adds(&line, "overrides state");
	ctlproto_add_word(&line, target);
	for (;;) {
		int64_t left = deadline_ms - clock_ms();

		if (left <= 0) {
			name_pending(f, must_be_idle);
			fprintf(stderr, "%s %s: not done in time\n", d->verb, target);
			break;
		}
		fleet_ask(f, line.p, (int)(left < TELL_MS ? left : TELL_MS), is_router, NULL);
		if (count_pending(f, must_be_idle) == 0) {
			code = EXIT_DONE;
			break;
		}
		pause_ms(LOOK_AGAIN_MS);
	}
	sbuf_fini(&line);
	free(target);
	return code;
}

static void
say_done(const struct decision *d, size_t daemons)
{
	printf("%s/%s: %s", d->pool, d->server, d->verb);
	if (d->action == OVERRIDE_WEIGHT && !d->is_removal)
		printf(" %u", d->weight);
	else if (d->action == OVERRIDE_WEIGHT)
		printf(" as configured");
	printf(", %zu daemon%s know%s\n", daemons, daemons == 1 ? "" : "s",
		daemons == 1 ? "s" : "");
}

static int
tell(const struct decision *d, const struct site *s)
{
	struct fleet f;
	int code = EXIT_DONE;

	fleet_find(&f, s, FLEET_OWN);
	fleet_ask(&f, "overrides reload", TELL_MS, reads_overrides, NULL);
	if (fleet_complain(&f) > 0)
		code = EXIT_FAILED;
	if (code == EXIT_DONE && d->is_waiting)
		code = wait_for_receipts(&f, d);
	if (code == EXIT_DONE)
		say_done(d, fleet_count(&f, MEMBER_OK));
	fleet_fini(&f);
	return code;
}

int
cmd_decide(const char *file, int argc, char **argv)
{
	struct decision d;
	struct site s;
	struct err err = { 0 };
	int code = EXIT_USAGE;

	if (!parse(&d, argc, argv))
		return EXIT_USAGE;
	if (site_load(&s, file) == 0) {
		if (!is_known(&d, &s)) {
			code = EXIT_USAGE;
		} else if (write_down(&d, &s, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			code = EXIT_FAILED;
		} else {
			code = tell(&d, &s);
		}
		site_free(&s);
	}
	free(d.pool);
	free(d.server);
	return code;
}
