/*
 * up: `proxyctl up`: starts what the plan says, and tells the person who did it.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "libcommon/sock.h"
#include "proxyctl/check.h"
#include "proxyctl/commands.h"
#include "proxyctl/program.h"
#include "proxyctl/spawn.h"
#include "proxyctl/up.h"

enum { CHECK_MS = 60000 };

/* ---- what is told ---- */

static struct slice
listen_address(const struct cfg_node *l)
{
	const struct cfg_node *a = cfg_get(l, "address");

	return a != NULL && a->kind == CFG_SCALAR ? a->text : slice_make("", 0);
}

/* "*:80" and ":80" are reached at localhost. */
static void
add_url(struct sbuf *out, const char *scheme, struct slice address)
{
	size_t colon = address.n;

	while (colon > 0 && address.p[colon - 1] != ':')
		colon--;

	struct slice host = slice_make(address.p, colon > 0 ? colon - 1 : 0);
	struct slice port = slice_skip(address, colon);
	const char *implied = strcmp(scheme, "https") == 0 ? "443" : "80";

	if (host.n == 0 || slice_eq(host, SLICE("*")) || slice_eq(host, SLICE("0.0.0.0")))
		host = SLICE("localhost");
	sbuf_addf(out, "%s://%.*s", scheme, SLICE_ARG(host));
	if (!slice_eq(port, slice_str(implied)))
		sbuf_addf(out, ":%.*s", SLICE_ARG(port));
	sbuf_addc(out, '/');
}

static size_t
add_urls(const struct site *s, const char *section, const char *scheme, struct sbuf *out,
	struct sbuf *first)
{
	const struct cfg_node *sec = cfg_get(s->cfg->root, section);
	const struct cfg_node *all = cfg_get(sec, "listen");
	size_t n = 0;

	for (const struct cfg_node *l = all ? all->first : NULL; l != NULL; l = l->next) {
		struct slice address = listen_address(l);

		if (address.n == 0 || slice_starts(address, SLICE("unix:")))
			continue;
		sbuf_addc(out, ' ');
		add_url(out, scheme, address);
		if (n++ == 0)
			add_url(first, scheme, address);
	}
	return n;
}

/* Who has stopped reading, or has left, holds nobody up. */
static void
print_if_read(const char *text)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0)
		fputs(text, stdout);
	fflush(stdout);
	clearerr(stdout);
}

static void
say_ready(void *arg)
{
	struct up *u = arg;
	struct sbuf text = { 0 };
	struct sbuf urls = { 0 };
	struct sbuf https = { 0 };
	struct sbuf http = { 0 };
	struct err err = { 0 };

	if (up_reload_open(u, &err) < 0)
		LOG_WARN("no_control_socket", L_STR("reason", err.text));
	add_urls(&u->site, "tls", "https", &urls, &https);
	add_urls(&u->site, "http", "http", &urls, &http);
	sbuf_addf(&text, "ready: %zu processes%s%s\n", supervisor_count(u->supervisor),
		urls.n > 0 ? "," : "", sbuf_str(&urls));
	if (https.n > 0)
		sbuf_addf(&text, "try:   curl -k %s\n", https.p);
	else if (http.n > 0)
		sbuf_addf(&text, "try:   curl %s\n", http.p);
	sbuf_addf(&text, "watch: %s -c %s status -w\n", program_invocation_name, u->file);
	print_if_read(text.p);
	sbuf_fini(&text);
	sbuf_fini(&urls);
	sbuf_fini(&https);
	sbuf_fini(&http);
	up_staples_configure(u);
}

pid_t
up_run(const struct up *u, const char *a, const char *b, const char *c, int out)
{
	char *path = program_path("proxyctl");
	pid_t parent = getpid();
	pid_t pid = spawn_fork();

	if (pid == 0) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		spawn_unblock();
		if (getppid() == parent && (out < 0 || dup2(out, STDOUT_FILENO) >= 0))
			execlp(path, path, "-c", u->file, a, b, c, (char *)NULL);
		_exit(127);
	}
	if (pid < 0)
		LOG_ERROR("command_failed", L_STR("command", a), L_STR("reason", strerror(errno)));
	free(path);
	return pid;
}

/* Such a command has ended. */
static void
take_end(void *arg, pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		LOG_ERROR("command_failed", L_INT("pid", pid), L_INT("signal", WTERMSIG(status)));
	else if (WEXITSTATUS(status) == 127)
		LOG_ERROR("command_failed", L_INT("pid", pid),
			L_STR("reason", "the program cannot be run"));
	(void)up_staples_ended(arg, pid, status);
}

/* All together or not at all, as the command does it. */
static void
reload(void *arg)
{
	(void)up_run(arg, "reload", NULL, NULL, -1);
}

/* ---- what is started ---- */

void
up_add(struct up *u, struct planned *p)
{
	char **argv = xcalloc(8, sizeof(*argv));

	argv[0] = program_path(p->program);
	argv[1] = xstrdup("-c");
	argv[2] = xstrdup(p->file);
	argv[3] = xstrdup("-i");
	argv[4] = xstrdup(p->instance);
	if (p->role == ROLE_CONNECT) {
		argv[5] = xstrdup("--role");
		argv[6] = xstrdup("connect");
	}
	p->child = supervisor_add(u->supervisor, p->name, p->stage, argv, p->in,
		conftexts_find(&u->texts, p->file, NULL));
}

/* Its exit code. */
static int
run_all(struct up *u)
{
	struct err err = { 0 };

	if (u->plan.n == 0) {
		fprintf(stderr, "%s: there is nothing to start: no `http`, no `tls`, no checks\n",
			u->file);
		return EXIT_USAGE;
	}
	if (conftexts_read(&u->texts, &u->plan, &err) < 0 ||
		!conftexts_agree(&u->texts, u->file, u->site.cfg->hash)) {
		fprintf(stderr, "%s\n",
			err.text[0] != '\0' ? err.text : "the configuration changed meanwhile");
		return EXIT_FAILED;
	}
	for (size_t i = 0; i < u->plan.n; i++)
		up_add(u, &u->plan.v[i]);
	if (up_reload_open(u, &err) < 0 || supervisor_start(u->supervisor, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return EXIT_FAILED;
	}
	loop_run(u->loop);
	return supervisor_code(u->supervisor);
}

static int
run(struct up *u)
{
	static const struct supervisor_ops ops = {
		.ready = say_ready,
		.reload = reload,
		.settled = up_reload_settled,
		.ended = take_end,
		.other_config = up_older_told,
		.restarted = up_older_restarted,
		.refused = up_older_refused,
	};
	int code;

	sock_raise_nofile(); /* listeners of all may be kept */
	u->loop = loop_new();
	if (u->loop == NULL) {
		perror("event loop");
		return EXIT_FAILED;
	}
	u->supervisor = supervisor_new(u->loop, up_end_ms(&u->site), &ops, u);
	plan_make(&u->plan, &u->site);
	code = run_all(u);
	up_reload_close(u);
	up_staples_free(u);
	up_older_free(u);
	supervisor_free(u->supervisor);
	plan_fini(&u->plan);
	conftexts_fini(&u->texts);
	loop_free(u->loop);
	return code;
}

static bool
parse(struct up *u, int argc, char **argv)
{
	int opt;

	u->instance = "0";
	while ((opt = getopt(argc, argv, "i:")) != -1) {
		if (opt != 'i')
			return false;
		u->instance = optarg;
	}
	if (!site_is_instance(u->instance)) {
		fprintf(stderr, "-i %s: expected letters, digits, _ and -, at most 32 of them\n",
			u->instance);
		return false;
	}
	return optind == argc;
}

int
cmd_up(const char *file, int argc, char **argv)
{
	struct up u = { .file = file, .generation = 1, .check_ms = CHECK_MS };

	if (!parse(&u, argc, argv))
		return command_usage("up");
	if (site_load(&u.site, file) < 0)
		return EXIT_USAGE;
	/* Whoever reads what we say may leave: the daemons would die with us. */
	signal(SIGPIPE, SIG_IGN);
	/* Until there are handlers. */
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	/* All that is wrong at once, before anything has been started. */
	check_all(&u.site, file);
	if (u.site.errs.error_count > 0) {
		struct sbuf text = { 0 };

		errs_format(&u.site.errs, &text);
		fputs(text.p, stderr);
		sbuf_fini(&text);
		site_free(&u.site);
		return EXIT_USAGE;
	}
	log_set_name("up");
	log_never_wait();

	int code = run(&u);

	site_free(&u.site);
	return code;
}
