/*
 * up: `proxyctl up`. Which processes the configuration needs, and what to tell the person who
 * started them.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/log.h"
#include "libcommon/loop.h"
#include "proxyctl/commands.h"
#include "proxyctl/program.h"
#include "proxyctl/site.h"
#include "proxyctl/supervise.h"

enum { END_GRACE_MS = 3000, STAGE_SERVERS = 0, STAGE_HTTP = 1, STAGE_TLS = 2 };

struct up {
	const struct site *site;
	struct loop *loop;
	struct supervisor *supervisor;
};

/* ---- what is told ---- */

static struct slice
listen_address(const struct cfg_node *l)
{
	const struct cfg_node *a = l->kind == CFG_MAPPING ? cfg_get(l, "address") : NULL;

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
	const struct cfg_node *all =
		sec != NULL && sec->kind == CFG_MAPPING ? cfg_get(sec, "listen") : NULL;
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

static void
say_ready(void *arg)
{
	const struct up *u = arg;
	struct sbuf urls = { 0 };
	struct sbuf https = { 0 };
	struct sbuf http = { 0 };

	add_urls(u->site, "tls", "https", &urls, &https);
	add_urls(u->site, "http", "http", &urls, &http);
	printf("ready: %zu processes%s%s\n", supervisor_count(u->supervisor), urls.n > 0 ? "," : "",
		urls.p ? urls.p : "");
	if (https.n > 0)
		printf("try:   curl -k %s\n", https.p);
	else if (http.n > 0)
		printf("try:   curl %s\n", http.p);
	printf("watch: proxyctl -c %s status -w\n", u->site->cfg->file);
	fflush(stdout);
	sbuf_fini(&urls);
	sbuf_fini(&https);
	sbuf_fini(&http);
}

/* All together or not at all, as the command does it; it says itself what came of it. */
static void
reload(void *arg)
{
	const struct up *u = arg;
	char *path = program_path("proxyctl");

	if (fork() == 0) {
		setpgid(0, 0);
		execlp(path, path, "-c", u->site->file, "reload", (char *)NULL);
		_exit(127);
	}
	free(path);
}

/* ---- what is started ---- */

static void
add(struct up *u, const char *program, const char *instance, const char *file, unsigned stage,
	const struct instancecfg *env)
{
	char *name = xasprintf("%s.%s", program, instance);
	char **argv = xcalloc(6, sizeof(*argv));

	argv[0] = program_path(program);
	argv[1] = xstrdup("-c");
	argv[2] = xstrdup(file);
	argv[3] = xstrdup("-i");
	argv[4] = xstrdup(instance);
	supervisor_add(u->supervisor, name, stage, argv, env);
	free(name);
}

static void
add_all(struct up *u)
{
	const struct site *s = u->site;

	for (size_t i = 0; i < s->up.instances.n; i++) {
		const struct instancecfg *in = CFG_AT(struct instancecfg, s->up.instances, i);
		bool is_own = in->config == NULL;

		add(u, program_names[in->program], in->name, is_own ? s->cfg->file : in->config,
			!is_own                               ? STAGE_SERVERS
				: in->program == PROGRAM_TLSD ? STAGE_TLS
							      : STAGE_HTTP,
			in);
	}
	if (site_has(s, "http"))
		add(u, "routerd", "0", s->cfg->file, STAGE_HTTP, NULL);
	if (site_has_checks(s))
		add(u, "healthd", "0", s->cfg->file, STAGE_HTTP, NULL);
	if (site_has(s, "tls"))
		add(u, "tlsd", "0", s->cfg->file, STAGE_TLS, NULL);
}

static int
run(const struct site *s)
{
	static const struct supervisor_ops ops = { .ready = say_ready, .reload = reload };
	struct up u = { .site = s, .loop = loop_new() };
	struct err err = { 0 };
	int code = EXIT_FAILED;

	if (u.loop == NULL) {
		perror("event loop");
		return EXIT_FAILED;
	}
	u.supervisor =
		supervisor_new(u.loop, s->common.shutdown_timeout_ms + END_GRACE_MS, &ops, &u);
	add_all(&u);
	if (supervisor_count(u.supervisor) == 0) {
		fprintf(stderr, "%s: there is nothing to start: no `http`, no `tls`, no checks\n",
			s->cfg->file);
		code = EXIT_USAGE;
	} else if (supervisor_start(u.supervisor, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
	} else {
		loop_run(u.loop);
		code = supervisor_code(u.supervisor);
	}
	supervisor_free(u.supervisor);
	loop_free(u.loop);
	return code;
}

int
cmd_up(const char *file, int argc, char **argv)
{
	struct site s;

	if (argc > 1 || getopt(argc, argv, "") != -1)
		return command_usage("up");
	if (site_load(&s, file) < 0)
		return EXIT_USAGE;
	if (s.errs.error_count > 0) {
		struct sbuf text = { 0 };

		errs_format(&s.errs, &text);
		fputs(text.p, stderr);
		sbuf_fini(&text);
		site_free(&s);
		return EXIT_USAGE;
	}
	log_set_name("up");

	int code = run(&s);

	site_free(&s);
	return code;
}
