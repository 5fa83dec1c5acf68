/*
 * routerd: HTTP between clients and servers. This file is the table that daemon.c runs, and what
 * start, reload and drain do to the parts.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/daemon.h"
#include "libcommon/ktls.h"
#include "libcommon/log.h"
#include "libcommon/sock.h"
#include "routerd/accesslog.h"
#include "routerd/acme.h"
#include "routerd/backend.h"
#include "routerd/control.h"
#include "routerd/listen.h"
#include "routerd/snapshot.h"
#include "routerd/worker.h"

/* Descriptors that are neither a client's nor a server's: log, control, bus, listeners. */
#define SPARE_DESCRIPTORS 128
/* A worker's pipes for large bodies, at most; all together take no more than an eighth of the
 * descriptors. */
#define PIPES_MAX 128

struct routerd {
	struct daemon *d;
	struct workers *workers;
	struct backends *backends;
	struct listen_set listeners;
	struct listen_plan *first_plan;
	struct snapshot *snap;
	struct accesslog *log;
	bool is_log_due;      /* another file, once all workers have adopted */
	struct acme *acme;    /* once a configuration has wanted it */
	uint64_t descriptors; /* for connections */
	unsigned pipes;       /* of each worker */
	unsigned kernel_tls;  /* suites that the kernel can seal */
	bool is_kernel_probed;
	bool is_kernel_told; /* that it is off */
};

/* A generation that is ready to be taken up. */
struct candidate {
	struct snapshot *s;
	struct listen_plan *plan;
};

static struct pool *
get_pool(void *arg, const struct poolcfg *cfg)
{
	return backends_pool(arg, cfg);
}

static char *
listener_path(void *arg, const char *name, const char *suffix)
{
	struct routerd *r = arg;
	struct arena a;
	char *path;
	char *copy;

	arena_init(&a, 0);
	path = daemon_run_path(r->d, &a, "%s/%s%s", name, daemon_instance(r->d), suffix);
	copy = path ? xstrdup(path) : NULL;
	arena_fini(&a);
	return copy;
}

/* Whoever tlsd runs as, when it is said in the same file; our own user's processes may always hand
 * connections over. */
static uid_t
tlsd_user(const struct daemon_cfg *dc)
{
	const struct cfg_node *user = cfg_get(cfg_get(dc->cfg->root, "tls"), "user");
	const struct passwd *pw =
		user != NULL && user->kind == CFG_SCALAR ? getpwnam(user->text.p) : NULL;

	return pw != NULL ? pw->pw_uid : geteuid();
}

/* tls.kernel, which tlsd checks. */
static bool
wants_kernel_tls(const struct daemon_cfg *dc)
{
	const struct cfg_node *kernel = cfg_get(cfg_get(dc->cfg->root, "tls"), "kernel");

	return kernel == NULL || kernel->kind != CFG_SCALAR || strcmp(kernel->text.p, "off") != 0;
}

static bool
has_handoff(const struct httpcfg *http)
{
	for (size_t i = 0; i < http->listen.n; i++)
		if (CFG_AT(const struct listencfg, http->listen, i)->from == LISTEN_TLSD)
			return true;
	return false;
}

/* Tried once, when it is wanted first: at the start a process may still have the right to have the
 * kernel's module loaded. */
static void
probe_kernel_tls(struct routerd *r, const struct daemon_cfg *dc)
{
	bool wants = wants_kernel_tls(dc);
	const char *why = "off";

	if (r->is_kernel_probed || !has_handoff(dc->own) || (!wants && r->is_kernel_told))
		return;
	r->is_kernel_told = true;
	if (wants) {
		r->is_kernel_probed = true;
		r->kernel_tls = ktls_probe(&why);
	}
	LOG_INFO("kernel_tls", L_STR("versions", ktls_versions(r->kernel_tls)),
		L_STR("reason", why != NULL ? why : ""));
}

static void
set_kernel_tls(struct routerd *r, const struct daemon_cfg *dc)
{
	workers_set_kernel_tls(r->workers, wants_kernel_tls(dc) ? r->kernel_tls : 0);
}

/* Each client may need a server's descriptor too, and the operator one, however many clients come.
 */
static uint64_t
connection_limit(const struct routerd *r, const struct httpcfg *http)
{
	uint64_t kept = r->descriptors / 4;
	uint64_t most =
		(r->descriptors - (kept < SPARE_DESCRIPTORS ? kept : SPARE_DESCRIPTORS)) / 2;
	uint64_t want = (uint64_t)http->limits.connections;

	if (want > most)
		LOG_WARN("connections_lowered", L_INT("asked", want), L_INT("now", most),
			L_INT("descriptors", r->descriptors));
	return want == 0 || want > most ? most : want;
}

static int
open_log(struct routerd *r, const struct httpcfg *http, struct errs *errs, const struct cfg *cfg)
{
	struct err err = { "" };

	if (http->access_log.path == NULL)
		return 0;
	if (r->log == NULL) {
		r->log = accesslog_new(http->access_log.path, http->access_log.buffer,
			workers_count(r->workers), &err);
		if (r->log != NULL) {
			daemon_own(r->d, http->access_log.path);
			return 0;
		}
	} else if (accesslog_set(r->log, http->access_log.path, &err) == 0) {
		return 0;
	}
	errs_add(errs, FINDING_ERROR, (struct err_at){ .file = cfg->file }, "http.access_log.path",
		"%s", err.text);
	return -1;
}

static unsigned
worker_count_of(const struct httpcfg *http)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (http->workers > 0)
		return (unsigned)http->workers;
	return cores > 0 ? (unsigned)cores : 1;
}

static void
stop(void *self)
{
	struct routerd *r = self;

	control_stop();
	acme_stop(r->acme);
	workers_free(r->workers);
	if (r->snap != NULL)
		snapshot_unref(r->snap);
	backends_free(r->backends);
	accesslog_free(r->log);
	acme_free(r->acme);
	if (r->first_plan != NULL)
		listen_plan_free(r->first_plan);
	listen_set_fini(&r->listeners);
	free(r);
}

/* Made for the first that wants it, and before it may be refused. */
static int
need_acme(struct routerd *r, const struct httpcfg *http, struct errs *errs)
{
	struct err err;

	if (http->acme_tokens == NULL || r->acme != NULL)
		return 0;
	r->acme = acme_new(&err);
	if (r->acme == NULL) {
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = NULL }, "http.acme", "%s",
			err.text);
		return -1;
	}
	workers_set_acme(r->workers, r->acme);
	return 0;
}

static struct snapshot *
compile(struct routerd *r, struct daemon_cfg *dc, uint64_t generation, struct errs *errs)
{
	struct snapshot *s = snapshot_new(dc, generation, errs);

	if (s != NULL) {
		snapshot_set_pools(s, get_pool, r->backends);
		backends_lookup(r->backends);
	}
	return s;
}

static void
take_descriptors(struct routerd *r, const struct httpcfg *http)
{
	uint64_t all = sock_raise_nofile();
	uint64_t share = all / 16 / worker_count_of(http);

	r->pipes = share < PIPES_MAX ? (unsigned)share : PIPES_MAX;
	r->descriptors = all - 2 * (uint64_t)r->pipes * worker_count_of(http);
}

static int
make_parts(struct routerd *r, struct daemon_cfg *dc, struct errs *errs)
{
	const struct httpcfg *http = dc->own;
	struct loop *loop = daemon_loop(r->d);
	struct err err = { "" };

	r->backends = backends_new(loop, &err);
	if (r->backends != NULL)
		r->workers = workers_new(loop, worker_count_of(http), r->pipes, &err);
	if (r->workers == NULL) {
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = NULL }, "", "%s", err.text);
		return -1;
	}
	workers_set_limit(r->workers, connection_limit(r, http));
	/* The snapshot's own reference: who called us keeps his when we fail. */
	atomic_fetch_add(&dc->refs, 1);
	r->snap = compile(r, dc, 1, errs);
	if (r->snap == NULL || open_log(r, http, errs, dc->cfg) < 0 || need_acme(r, http, errs) < 0)
		return -1;
	r->first_plan = listen_prepare(
		&r->listeners, r->snap, workers_count(r->workers), listener_path, r, errs);
	if (r->first_plan == NULL)
		return -1;
	listen_commit(&r->listeners, r->first_plan);
	return 0;
}

static void *
start(struct daemon *d, struct daemon_cfg *dc, struct errs *errs)
{
	struct routerd *r = xcalloc(1, sizeof(*r));

	r->d = d;
	take_descriptors(r, dc->own);
	probe_kernel_tls(r, dc);
	if (make_parts(r, dc, errs) < 0) {
		stop(r);
		return NULL;
	}
	daemon_cfg_free(dc);
	return r;
}

static const struct backends_ops backends_ops = {
	.barrier = workers_barrier,
	.forget_server = workers_forget_server,
	.close_idle = workers_close_idle,
};

static int
run(void *self, struct err *err)
{
	struct routerd *r = self;
	struct err ignored;

	/* No file, or a wrong one, does not stop the start. */
	control_overrides(r->backends, r->snap->dc->common.state_dir, &ignored);
	backends_commit(r->backends, r->snap->pools, r->snap->pool_count);
	workers_set_tlsd_user(r->workers, tlsd_user(r->snap->dc));
	set_kernel_tls(r, r->snap->dc);
	workers_adopt(r->workers, r->snap, &r->listeners, r->first_plan, r->log, NULL, NULL);
	listen_plan_free(r->first_plan);
	r->first_plan = NULL;
	if (workers_start(r->workers, err) < 0)
		return -1;
	backends_run(r->backends, &backends_ops, r->workers);
	return control_start(r->d, r->backends, r->workers, err);
}

/* A log that cannot be opened must refuse the reload, before anything changes. One that is open
 * already stays so: after dropping privileges it might not be opened again. */
static bool
is_log_writable(const struct routerd *r, const struct httpcfg *http, struct errs *errs,
	const struct cfg *cfg)
{
	const char *path = http->access_log.path;
	const char *now = r->snap->http->access_log.path;
	int fd;

	if (path == NULL || strcmp(path, "-") == 0 || (now != NULL && strcmp(path, now) == 0))
		return true;
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
	if (fd >= 0) {
		close(fd);
		return true;
	}
	errs_add(errs, FINDING_ERROR, (struct err_at){ .file = cfg->file }, "http.access_log.path",
		"%s: %s", path, strerror(errno));
	return false;
}

static void *
prepare(void *self, struct daemon_cfg *dc, struct errs *errs)
{
	struct routerd *r = self;
	struct candidate *c;
	struct snapshot *s;
	struct listen_plan *plan;

	if (!is_log_writable(r, dc->own, errs, dc->cfg) || need_acme(r, dc->own, errs) < 0)
		return NULL;
	/* The snapshot's own reference: it may outlive this reload. */
	atomic_fetch_add(&dc->refs, 1);
	s = compile(r, dc, daemon_generation(r->d) + 1, errs);
	if (s == NULL)
		return NULL;
	plan = listen_prepare(&r->listeners, s, workers_count(r->workers), listener_path, r, errs);
	if (plan == NULL) {
		snapshot_unref(s);
		return NULL;
	}
	c = xmalloc(sizeof(*c));
	*c = (struct candidate){ s, plan };
	return c;
}

static void
discard(void *self, void *candidate)
{
	struct candidate *c = candidate;

	(void)self;
	listen_discard(c->plan);
	snapshot_unref(c->s);
	free(c);
}

/* -1 is for the start only: later all stays as it is. */
static void
change_log(struct routerd *r)
{
	struct errs errs = { 0 };

	open_log(r, r->snap->http, &errs, r->snap->dc->cfg);
	for (size_t i = 0; i < errs.n; i++)
		LOG_ERROR("access_log_failed", L_STR("error", errs.v[i].text));
	errs_fini(&errs);
}

static void
adopted(void *arg)
{
	struct routerd *r = arg;

	if (r->is_log_due)
		change_log(r);
	r->is_log_due = false;
	daemon_committed(r->d);
}

static void
commit(void *self, void *candidate, struct daemon_cfg *dc)
{
	struct routerd *r = self;
	struct candidate *c = candidate;
	struct snapshot *before = r->snap;
	const struct httpcfg *http = dc->own;

	listen_commit(&r->listeners, c->plan);
	r->snap = c->s;
	/* Workers go on writing until they have adopted: a new file begins after that, so that it
	 * has no line in the old format. */
	r->is_log_due = before->http->access_log.path != NULL && r->log != NULL;
	if (!r->is_log_due)
		change_log(r);
	workers_set_limit(r->workers, connection_limit(r, http));
	backends_commit(r->backends, r->snap->pools, r->snap->pool_count);
	workers_set_tlsd_user(r->workers, tlsd_user(dc));
	probe_kernel_tls(r, dc);
	set_kernel_tls(r, dc);
	workers_adopt(r->workers, r->snap, &r->listeners, c->plan,
		http->access_log.path ? r->log : NULL, adopted, r);
	control_reloaded(dc);
	snapshot_unref(before);
	listen_plan_free(c->plan);
	free(c);
	/* The snapshot holds one already. */
	daemon_cfg_free(dc);
}

static void
drained(void *arg)
{
	struct routerd *r = arg;

	daemon_drained(r->d);
}

static void
drain(void *self)
{
	struct routerd *r = self;

	workers_drain(r->workers, drained, r);
}

static void
cut(void *self)
{
	workers_cut(((struct routerd *)self)->workers);
}

static void
reopen(void *self)
{
	struct routerd *r = self;

	if (r->log != NULL)
		accesslog_reopen(r->log);
}

static void
status(void *self, json_t *object, struct sbuf *out)
{
	struct routerd *r = self;

	control_status(r->log, object, out);
}

static const char *
user_of(const struct daemon_cfg *dc)
{
	return ((const struct httpcfg *)dc->own)->user;
}

int
main(int argc, char **argv)
{
	static const struct daemon_ops ops = {
		.program = "routerd",
		.section = "http",
		.schema = &httpcfg_schema,
		.commands = control_commands,
		.check = config_check,
		.user = user_of,
		.start = start,
		.run = run,
		.prepare = prepare,
		.commit = commit,
		.discard = discard,
		.drain = drain,
		.cut = cut,
		.reopen = reopen,
		.status = status,
		.stop = stop,
	};

	return daemon_main(&ops, argc, argv);
}
