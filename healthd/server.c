/*
 * server.c: puts resolver, targets, schedule, publisher and bus together; starts, reloads, ends
 * them. Evidence from routers comes in here.
 */
#include "healthd/server.h"

#include <stdlib.h>

#include "healthd/probe.h"
#include "libcommon/log.h"
#include "libcommon/mem.h"

/* --- hooks of the targets: schedule and publisher both listen -------------- */

static struct server *
server_of(const struct target *t)
{
	return (struct server *)((char *)t->set - offsetof(struct server, set));
}

static void
on_added(void *arg, struct target *t)
{
	schedule_added(arg, t);
}

static void
on_removed(void *arg, struct target *t)
{
	schedule_removed(arg, t);
}

static void
on_moved(void *arg, struct target *t)
{
	schedule_moved(arg, t);
}

static void
on_changed(void *arg, struct target *t)
{
	(void)arg;
	publish_changed(server_of(t)->publish, t);
}

/* --- evidence -------------------------------------------------------------- */

static void
take_evidence(struct server *s, const struct busmsg *m)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct busmsg_evidence *e = &m->evidence[i];
		struct target *t = target_find(&s->set, m->subject, e->name, e->address);

		if (!t)
			s->evidence_idle++;
		else if (e->fails > 0 && schedule_early(s->schedule, t))
			LOG_DEBUG("early_probe", L_STR("pool", m->subject),
				L_STR("server", e->name), L_STR("router", m->who),
				L_STR("reason", e->reason));
	}
}

static void
on_evidence(void *arg, struct slice topic, struct slice message)
{
	static struct log_limit limit = { .burst = 2 };
	struct server *s = arg;
	struct arena arena;
	struct busmsg m;
	struct err err;
	uint32_t dropped;

	(void)topic;
	arena_init(&arena, 16384);
	s->evidence++;
	if (busmsg_decode(message, &arena, &m, &err) == 0 && m.kind == BUSMSG_EVIDENCE) {
		take_evidence(s, &m);
	} else {
		s->evidence_bad++;
		if (log_allow(&limit, &dropped))
			LOG_WARN("bus_message_malformed", L_STR("problem", err.text),
				L_INT("not_logged", dropped));
	}
	arena_fini(&arena);
}

/* --- configuration --------------------------------------------------------- */

static void
load(struct server *s, struct daemon_cfg *dc)
{
	struct daemon_cfg *old = s->dc;
	struct target *t;
	struct target *tmp;

	publish_drop(s->publish);
	s->dc = dc;
	schedule_configure(s->schedule, dc->own, &dc->common);
	target_set_load(&s->set, &dc->common);
	publish_build(s->publish, &s->set, dc->cfg->hash);
	if (old) {
		HASH_ITER (hh, s->set.targets, t, tmp)
			schedule_retime(s->schedule, t);
		daemon_cfg_free(old);
	}
	LOG_INFO("targets_loaded", L_INT("pools", s->set.pool_count),
		L_INT("servers", HASH_COUNT(s->set.targets)));
}

/* Sockets are bound later, by the daemon's own user: here their folder is made. */
static int
make_bus_dir(struct server *s, struct errs *errs)
{
	struct arena a;
	char *path;

	arena_init(&a, 0);
	path = daemon_run_path(s->d, &a, "bus/%s.pub", s->who);
	if (path)
		s->bus_dir = xasprintf("%s/bus", s->dc->common.run_dir);
	else
		errs_add(errs, FINDING_ERROR, (struct err_at){ s->dc->cfg->file, 0, 0 }, "run_dir",
			"%s/bus: cannot be made: %m", s->dc->common.run_dir);
	arena_fini(&a);
	return path ? 0 : -1;
}

void *
server_start(struct daemon *d, struct daemon_cfg *dc, struct errs *errs)
{
	struct server *s = xcalloc(1, sizeof(*s));
	struct err err;

	s->d = d;
	s->loop = daemon_loop(d);
	s->who = xasprintf("healthd.%s", daemon_instance(d));
	s->schedule = schedule_new(s->loop);
	s->publish = publish_new(s->loop, s->who);
	s->dc = dc;
	s->resolver = resolve_new(s->loop, &err);
	if (!s->resolver)
		errs_add(errs, FINDING_ERROR, (struct err_at){ 0 }, "", "%s", err.text);
	if (!s->resolver || make_bus_dir(s, errs)) {
		s->dc = NULL; /* the caller keeps it */
		server_stop(s);
		return NULL;
	}
	return s;
}

int
server_run(void *self, struct err *err)
{
	struct server *s = self;
	struct daemon_cfg *dc = s->dc;
	const struct target_hooks hooks = {
		.added = on_added,
		.removed = on_removed,
		.moved = on_moved,
		.changed = on_changed,
		.arg = s->schedule,
	};

	s->bus = bus_bind(s->loop, s->bus_dir, "healthd", daemon_instance(s->d), err);
	if (!s->bus)
		return -1;
	bus_subscribe(s->bus, "evidence.", on_evidence, s);
	target_set_init(&s->set, s->loop, s->resolver, &hooks);
	/* a file that is not right does not stop the start: there is no older copy to keep */
	target_set_overrides(&s->set, dc->common.state_dir, NULL);
	s->dc = NULL;
	load(s, dc);
	publish_start(s->publish, s->bus);
	return 0;
}

/* All that can fail has been checked with the file. */
void *
server_prepare(void *self, struct daemon_cfg *dc, struct errs *errs)
{
	(void)dc;
	(void)errs;
	return self;
}

void
server_commit(void *self, void *candidate, struct daemon_cfg *dc)
{
	struct server *s = self;

	(void)candidate;
	load(s, dc);
	target_set_overrides(&s->set, dc->common.state_dir, NULL);
	daemon_committed(s->d);
}

void
server_discard(void *self, void *candidate)
{
	(void)self;
	(void)candidate;
}

/* What was said stands until its time to live has passed: there is nothing to finish. */
void
server_drain(void *self)
{
	daemon_drained(((struct server *)self)->d);
}

void
server_stop(void *self)
{
	struct server *s = self;

	if (s->publish)
		publish_drop(s->publish);
	target_set_fini(&s->set);
	schedule_free(s->schedule);
	publish_free(s->publish);
	bus_free(s->bus);
	resolve_free(s->resolver);
	daemon_cfg_free(s->dc);
	free(s->bus_dir);
	free(s->who);
	free(s);
}
