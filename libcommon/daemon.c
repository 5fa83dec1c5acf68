/*
 * daemon: the life of a daemon, in order. Every main hands its table to daemon_main and is done.
 */
#include "libcommon/daemon_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcommon/jsonput.h"
#include "libcommon/sock.h"
#include "libcommon/units.h"

/* ---- what daemons ask ---- */

struct loop *
daemon_loop(const struct daemon *d)
{
	return d->loop;
}

const char *
daemon_instance(const struct daemon *d)
{
	return d->args.instance;
}

const struct daemon_cfg *
daemon_config(const struct daemon *d)
{
	return d->cfg;
}

uint64_t
daemon_generation(const struct daemon *d)
{
	return d->generation;
}

bool
daemon_is_draining(const struct daemon *d)
{
	return d->is_draining;
}

/* ---- ending ---- */

void
daemon_drained(struct daemon *d)
{
	if (!d->is_draining)
		return;
	if (!d->is_cut)
		LOG_INFO("drained", L_INT("after_ms", loop_now_ms(d->loop) - d->drain_began_ms));
	loop_stop(d->loop);
}

static void
on_drain_deadline(void *arg)
{
	struct daemon *d = arg;

	if (!d->is_cut)
		LOG_WARN("drain_deadline", L_INT("after_ms", d->cfg->common.shutdown_timeout_ms));
	if (d->is_cut || d->ops->cut == NULL) {
		loop_stop(d->loop);
		return;
	}
	d->is_cut = true;
	loop_timer_set(d->drain_timer, DAEMON_GOODBYE_MS, false);
	d->ops->cut(d->self);
}

static void
begin_drain(struct daemon *d)
{
	int64_t timeout_ms = d->cfg->common.shutdown_timeout_ms;

	if (d->is_draining)
		return;
	d->is_draining = true;
	d->drain_began_ms = loop_now_ms(d->loop);
	/* A commit would open listeners that nobody serves. */
	daemon_reload_drop(d);
	LOG_INFO("draining", L_INT("timeout_ms", timeout_ms));
	daemon_notify("STOPPING=1");
	loop_timer_set(d->drain_timer, (uint64_t)(timeout_ms > 0 ? timeout_ms : 1), false);
	d->ops->drain(d->self);
}

static void
on_signal(void *arg, int signo)
{
	struct daemon *d = arg;

	LOG_INFO("signal", L_STR("name", sigabbrev_np(signo)));
	switch (signo) {
	case SIGHUP: daemon_reload_now(d); return;
	case SIGUSR1:
		if (d->ops->reopen != NULL)
			d->ops->reopen(d->self);
		return;
	default:
		if (d->is_draining)
			loop_stop(d->loop);
		else
			begin_drain(d);
	}
}

/* ---- control words ---- */

static void
cmd_version(struct ctl_req *req)
{
	const struct daemon *d = req->arg;

	sbuf_addf(&req->out, req->is_json ? "{\"program\":\"%s\",\"version\":\"%s\"}\n" : "%s %s\n",
		d->ops->program, WEIR_VERSION);
	ctl_done(req);
}

static json_t *
status_object(const struct daemon *d)
{
	json_t *o = json_object();

	jsonput_text(o, "program", d->ops->program);
	jsonput_text(o, "instance", d->args.instance);
	jsonput_int(o, "pid", getpid());
	jsonput_int(o, "uid", geteuid());
	jsonput_text(o, "version", WEIR_VERSION);
	jsonput_text(o, "state", d->is_draining ? "draining" : "running");
	jsonput_text(o, "config", d->file);
	jsonput_int(o, "generation", d->generation);
	jsonput_text(o, "hash", d->cfg->cfg->hash);
	jsonput_int(o, "uptime_ms", loop_now_ms(d->loop) - d->started_ms);
	jsonput_int(o, "log_lost", log_lost());
	return o;
}

static void
status_text(const struct daemon *d, struct sbuf *out)
{
	int64_t up_ms = (int64_t)((loop_now_ms(d->loop) - d->started_ms) / 1000 * 1000);

	sbuf_addf(out, "%s %s  pid %d  %s  generation %" PRIu64 "  up ", d->name, WEIR_VERSION,
		(int)getpid(), d->is_draining ? "draining" : "running", d->generation);
	if (up_ms > 0)
		units_format_duration(out, up_ms);
	else
		sbuf_adds(out, "0s");
	sbuf_addf(out, "\nconfiguration %s (%.12s)\n", d->file, d->cfg->cfg->hash);
}

static void
cmd_status(struct ctl_req *req)
{
	const struct daemon *d = req->arg;
	json_t *o = status_object(d);

	if (!req->is_json)
		status_text(d, &req->out);
	if (d->ops->status != NULL)
		d->ops->status(d->self, o, req->is_json ? NULL : &req->out);
	if (req->is_json) {
		ctl_done_json(req, o);
		return;
	}
	json_decref(o);
	ctl_done(req);
}

static void
cmd_reopen(struct ctl_req *req)
{
	const struct daemon *d = req->arg;

	if (d->ops->reopen != NULL)
		d->ops->reopen(d->self);
	ctl_done(req);
}

static void
cmd_stop(struct ctl_req *req)
{
	struct daemon *d = req->arg;

	LOG_INFO("stop_asked", L_INT("uid", req->uid));
	ctl_done(req);
	begin_drain(d);
}

static void
cmd_shutdown(struct ctl_req *req)
{
	struct daemon *d = req->arg;

	LOG_INFO("shutdown_asked", L_INT("uid", req->uid));
	ctl_done(req);
	loop_stop(d->loop);
}

static const struct ctl_command common_commands[] = {
	{ "version", "", "name and version of this program", CTL_VIEW, cmd_version },
	{ "status", "", "what this daemon does", CTL_VIEW, cmd_status },
	{ "reopen", "", "open log files again", CTL_OPERATE, cmd_reopen },
	{ "stop", "", "finish what is in flight, then end", CTL_OPERATE, cmd_stop },
	{ "shutdown", "", "end at once", CTL_OPERATE, cmd_shutdown },
	{ 0 },
};

/* ---- starting ---- */

/* Descriptors 0 to 2 exist, or the first socket would become stderr. */
static void
open_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0)
			_exit(1);
}

static void
print_findings(const struct errs *errs)
{
	struct sbuf text = { 0 };

	errs_format(errs, &text);
	fputs(sbuf_str(&text), stderr);
	sbuf_fini(&text);
}

static int
read_config(struct daemon *d, const struct daemon_source *source)
{
	struct errs errs = { 0 };
	char hash[CFG_HASH];

	d->cfg = daemon_cfg_load(d->ops, source, hash, &errs);
	if (source->fd >= 0)
		close(source->fd);
	if (d->cfg == NULL) {
		print_findings(&errs);
		errs_fini(&errs);
		return 2;
	}
	d->generation = 1;
	log_set_level(d->args.has_level ? d->args.level : (enum log_level)d->cfg->common.log_level);
	log_set_name(d->name);
	log_never_wait();
	daemon_log_findings(&errs, "config_warning");
	errs_fini(&errs);

	const char *slash = strrchr(d->args.file, '/');

	d->file = xasprintf("%s/%s", strcmp(d->cfg->cfg->dir, "/") == 0 ? "" : d->cfg->cfg->dir,
		slash ? slash + 1 : d->args.file);
	return 0;
}

static int
watch_signals(struct daemon *d, struct err *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (loop_signal(d->loop, signals[i], on_signal, d) < 0)
			return err_set(err, "signals: %s", strerror(errno));
	return 0;
}

/* What stands in run_dir is believed: a socket there gets our clients, or tells us who is well. */
static void
look_at_run_dir(const struct daemon *d)
{
	const char *path = d->cfg->common.run_dir;
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & S_IWOTH) != 0)
		LOG_WARN("run_dir_open", L_STR("path", path),
			L_STR("text", "everybody may put sockets there, and they are used"));
}

static int
open_control(struct daemon *d, struct err *err)
{
	if (daemon_make_folder(d, d->cfg->common.run_dir, err) < 0)
		return -1;
	look_at_run_dir(d);
	daemon_make_state_dir(d);
	d->ctl_path = xasprintf("%s/%s.sock", d->cfg->common.run_dir, d->name);
	d->ctl = ctl_new(d->loop, d->ctl_path, d->cfg->common.control_group, err);
	if (d->ctl == NULL)
		return -1;
	daemon_own(d, d->ctl_path);
	ctl_add(d->ctl, common_commands, d);
	ctl_add(d->ctl, daemon_reload_commands, d);
	log_set_hook(ctl_event, d->ctl);
	return 0;
}

static int
start_self(struct daemon *d, struct err *err)
{
	struct errs errs = { 0 };

	d->self = d->ops->start(d, daemon_cfg_ref(d->cfg), &errs);
	errs_sort(&errs);
	daemon_log_findings(&errs, "start_finding");

	size_t n = errs.error_count;

	errs_fini(&errs);
	if (d->self == NULL) {
		daemon_cfg_free(d->cfg);
		return err_set(err, "%zu errors, see above", n);
	}
	if (d->ops->commands != NULL)
		ctl_add(d->ctl, d->ops->commands, d->self);
	return 0;
}

static void
on_unused(void *arg, const char *address)
{
	(void)arg;
	daemon_forget_unused(address);
	LOG_WARN("inherited_unused", L_STR("address", address),
		L_STR("text", "no listener of the configuration has this address"));
}

static int
start(struct daemon *d, struct err *err)
{
	sock_raise_nofile();
	d->loop = loop_new();
	if (d->loop == NULL)
		return err_set(err, "event loop: %s", strerror(errno));
	d->started_ms = loop_now_ms(d->loop);
	d->drain_timer = loop_timer_new(d->loop, on_drain_deadline, d);
	daemon_reload_init(d);
	if (watch_signals(d, err) < 0 || open_control(d, err) < 0 || start_self(d, err) < 0 ||
		daemon_drop_privileges(d, err) < 0)
		return -1;
	sock_inherited_close(on_unused, NULL);
	return d->ops->run(d->self, err);
}

static void
finish(struct daemon *d)
{
	daemon_reload_fini(d);
	if (d->self != NULL)
		d->ops->stop(d->self);
	log_set_hook(NULL, NULL);
	ctl_free(d->ctl);
	if (d->drain_timer != NULL)
		loop_timer_free(d->drain_timer);
	if (d->loop != NULL)
		loop_free(d->loop);
	daemon_cfg_free(d->cfg);
	daemon_made_free(d->made);
	log_set_name(NULL);
	free(d->ctl_path);
	free(d->file);
	free(d->name);
}

static int
run(struct daemon *d, const struct daemon_source *source)
{
	struct err err = { 0 };
	int code = read_config(d, source);

	if (code == 0 && start(d, &err) < 0) {
		LOG_ERROR("start_failed", L_STR("reason", err.text));
		code = 1;
	} else if (code == 0) {
		LOG_INFO("started", L_STR("version", WEIR_VERSION), L_INT("pid", getpid()),
			L_STR("config", d->file), L_STR("hash", d->cfg->cfg->hash));
		daemon_say_ready(d);
		loop_run(d->loop);
		LOG_INFO("ended", L_INT("generation", d->generation));
	}
	finish(d);
	return code;
}

int
daemon_main(const struct daemon_ops *ops, int argc, char **argv)
{
	struct daemon d = { .ops = ops };

	open_standard_fds();
	signal(SIGPIPE, SIG_IGN);
	/* Until there are handlers: the configuration is about to be read, logs to be opened. */
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	umask(0007);
	d.args = daemon_args_parse(ops, argc, argv);

	const struct daemon_source source = { .file = d.args.file, .fd = d.args.config_fd };

	switch (d.args.mode) {
	case ARGS_EXIT: return d.args.exit_code;
	case ARGS_CHECK: return daemon_cfg_check(ops, &source);
	case ARGS_DUMP: return daemon_cfg_print(ops, &source);
	case ARGS_SCHEMA: return daemon_cfg_schema(ops);
	case ARGS_RUN: break;
	}
	d.name = xasprintf("%s.%s", ops->program, d.args.instance);
	d.made = xcalloc(1, sizeof(*d.made));
	daemon_notify_by(&d.args);
	return run(&d, &source);
}
