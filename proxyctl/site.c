/*
 * site: reads the file once for a command. Instances that `up` starts may have files, and with them
 * run directories, of their own; those are looked into just for that.
 */
#include "proxyctl/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const program_names[] = { "tlsd", "routerd", "healthd", NULL };

bool
site_is_instance(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t n = strlen(name);

	return n > 0 && n <= 32 && strspn(name, allowed) == n;
}

static const char *const role_words[] = {
	[ROLE_NONE] = "none",
	[ROLE_CONNECT] = "connect",
	NULL,
};

static struct cfg_pair *
env_at(const struct instancecfg *i, size_t k)
{
	return CFG_AT(struct cfg_pair, i->env, k);
}

static void
check_instance(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	const struct instancecfg *i = obj;

	if (!site_is_instance(i->name))
		cfg_error(ctx, cfg_get(node, "name"), path,
			"not a name of an instance, expected letters, digits, _ and -, at most 32");
	if (i->role != ROLE_NONE && i->program != PROGRAM_TLSD)
		cfg_error(ctx, cfg_get(node, "role"), path, "only tlsd has roles");
	if (i->config == NULL && i->program == PROGRAM_TLSD &&
		strcmp(i->name, SITE_CONNECT_INSTANCE) == 0)
		cfg_error(ctx, cfg_get(node, "name"), path,
			"tlsd.%s of this file is started when servers need it, expected another "
			"name",
			i->name);
	if (i->config == NULL && strcmp(i->name, "0") == 0)
		cfg_error(ctx, cfg_get(node, "name"), path,
			"instance 0 of this file is started anyway, expected another name");
	for (size_t k = 0; k < i->env.n; k++)
		if (strchr(env_at(i, k)->name, '=') != NULL)
			cfg_error(ctx, env_at(i, k)->node, path,
				"not a name of an environment variable, expected one without =");
}

static const struct cfg_row instance_rows[] = {
	CFG_ROW(struct instancecfg, program, "program", CFGT_ENUM, .def = "routerd",
		.choices = program_names, .help = "which program to start once more"),
	CFG_ROW(struct instancecfg, name, "name", CFGT_STRING, .flags = CFG_REQUIRED,
		.help = "its instance name, as in -i"),
	CFG_ROW(struct instancecfg, role, "role", CFGT_ENUM, .def = "none", .choices = role_words,
		.help = "of tlsd: none, or connect for one more that makes handshakes with servers"),
	CFG_ROW(struct instancecfg, config, "config", CFGT_PATH,
		.help = "its configuration; this file, if left out"),
	CFG_ROW(struct instancecfg, env, "env", CFGT_PAIRS,
		.help = "environment for it: ${NAME} in its configuration"),
	CFG_NODE_ROW(struct instancecfg, node),
	CFG_END,
};

static const struct cfg_schema instance_schema = {
	.name = "instance",
	.size = sizeof(struct instancecfg),
	.rows = instance_rows,
	.check = check_instance,
};

static void
check_up(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj)
{
	const struct upcfg *up = obj;

	(void)node;
	for (size_t i = 0; i < up->instances.n; i++) {
		const struct instancecfg *a = CFG_AT(struct instancecfg, up->instances, i);

		for (size_t j = 0; j < i; j++) {
			const struct instancecfg *b = CFG_AT(struct instancecfg, up->instances, j);

			if (a->program == b->program && strcmp(a->name, b->name) == 0)
				cfg_error(ctx, a->node, path, "%s.%s is there twice",
					program_names[a->program], a->name);
		}
	}
}

static const struct cfg_row up_rows[] = {
	CFG_ROW(struct upcfg, instances, "instances", CFGT_LIST, .sub = &instance_schema,
		.help = "processes that `proxyctl up` starts besides those the configuration needs"),
	CFG_ROW(struct upcfg, ocsp_refresh_ms, "ocsp_refresh", CFGT_DURATION, .def = "1h",
		.max = 30.0 * 86400 * 1000,
		.help = "how often `proxyctl up` runs `proxyctl ocsp refresh`; 0: never"),
	CFG_END,
};

const struct cfg_schema upcfg_schema = {
	.name = "up",
	.size = sizeof(struct upcfg),
	.rows = up_rows,
	.check = check_up,
};

const char *
site_default_file(void)
{
	const char *env = getenv("WEIR_CONFIG");

	if (env != NULL && env[0] != '\0')
		return env;
	return access("weir.yaml", F_OK) == 0 ? "weir.yaml" : "/etc/weir/weir.yaml";
}

char **
site_set_env(const struct instancecfg *i)
{
	char **before = xcalloc(i->env.n + 1, sizeof(*before));

	for (size_t k = 0; k < i->env.n; k++) {
		const char *old = getenv(env_at(i, k)->name);

		before[k] = old != NULL ? xstrdup(old) : NULL;
		setenv(env_at(i, k)->name, env_at(i, k)->value, 1);
	}
	return before;
}

void
site_restore_env(const struct instancecfg *i, char **before)
{
	for (size_t k = 0; k < i->env.n; k++) {
		if (before[k] != NULL)
			setenv(env_at(i, k)->name, before[k], 1);
		else
			unsetenv(env_at(i, k)->name);
		free(before[k]);
	}
	free(before);
}

static void
add_run_dir(struct site *s, const char *dir)
{
	if (dir == NULL)
		return;
	for (size_t i = 0; i < s->nrun_dirs; i++)
		if (strcmp(s->run_dirs[i], dir) == 0)
			return;
	s->run_dirs = xreallocarray(s->run_dirs, s->nrun_dirs + 1, sizeof(*s->run_dirs));
	s->run_dirs[s->nrun_dirs++] = xstrdup(dir);
}

/* What is wrong with an instance's file is for its own daemon to say. */
static void
add_instance_run_dir(struct site *s, const struct instancecfg *i)
{
	struct errs ignored = { 0 };
	struct commoncfg common;

	char **before = site_set_env(i);
	struct cfg *cfg = cfg_load(i->config, &ignored);

	site_restore_env(i, before);
	if (cfg != NULL) {
		struct cfg_ctx ctx = { .cfg = cfg, .arena = &s->arena, .errs = &ignored };

		commoncfg_bind(&ctx, &common);
		add_run_dir(s, common.run_dir);
		cfg_free(cfg);
	}
	errs_fini(&ignored);
}

static void
bind_site(struct site *s, const char *file)
{
	const char *slash = strrchr(file, '/');

	s->file = xasprintf("%s/%s", strcmp(s->cfg->dir, "/") == 0 ? "" : s->cfg->dir,
		slash ? slash + 1 : file);

	struct cfg_ctx ctx = { .cfg = s->cfg, .arena = &s->arena, .errs = &s->errs };

	commoncfg_bind(&ctx, &s->common);
	cfg_bind(&ctx, &upcfg_schema, cfg_get(s->cfg->root, "up"), "up", NULL, &s->up);
	add_run_dir(s, s->common.run_dir);
	for (size_t i = 0; i < s->up.instances.n; i++)
		if (CFG_AT(struct instancecfg, s->up.instances, i)->config != NULL)
			add_instance_run_dir(s, CFG_AT(struct instancecfg, s->up.instances, i));
}

int
site_read(struct site *s, const char *file, char hash[static CFG_HASH])
{
	*s = (struct site){ 0 };
	arena_init(&s->arena, 0);
	s->cfg = cfg_load_hash(file, hash, &s->errs);
	if (s->cfg == NULL)
		return -1;
	bind_site(s, file);
	return 0;
}

/* Absolute, links followed in its folder alone; NULL when that is not there. */
static char *
full_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = xstrndup(path, (size_t)(slash - path));
	char *real = realpath(dir[0] != '\0' ? dir : "/", NULL);
	char *full = NULL;

	if (real != NULL)
		full = xasprintf("%s%s", strcmp(real, "/") == 0 ? "" : real, slash);
	free(real);
	free(dir);
	return full;
}

bool
site_names(const struct site *s, const char *file)
{
	bool is_named = strcmp(s->file, file) == 0;

	for (size_t i = 0; i < s->up.instances.n && !is_named; i++) {
		const char *config = CFG_AT(struct instancecfg, s->up.instances, i)->config;
		char *full = config != NULL ? full_name(config) : NULL;

		is_named = full != NULL && strcmp(full, file) == 0;
		free(full);
	}
	return is_named;
}

/* 0, or -1 after a message. */
static int
read_or_say(struct site *s, const char *file)
{
	char hash[CFG_HASH];
	struct sbuf text = { 0 };

	if (site_read(s, file, hash) == 0)
		return 0;
	errs_format(&s->errs, &text);
	fputs(sbuf_str(&text), stderr);
	sbuf_fini(&text);
	return -1;
}

int
site_load(struct site *s, const char *file)
{
	if (read_or_say(s, file) == 0)
		return 0;
	site_free(s);
	return -1;
}

int
site_load_rest(struct site *s, const char *file)
{
	if (read_or_say(s, file) == 0)
		return 0;
	s->cfg = cfg_load_rest(file);
	/* Without it, others' daemons might be looked at. */
	if (s->cfg == NULL || cfg_get(s->cfg->root, "run_dir") == NULL) {
		site_free(s);
		return -1;
	}
	bind_site(s, file);
	return 0;
}

void
site_free(struct site *s)
{
	for (size_t i = 0; i < s->nrun_dirs; i++)
		free(s->run_dirs[i]);
	free(s->run_dirs);
	free(s->file);
	cfg_free(s->cfg);
	errs_fini(&s->errs);
	arena_fini(&s->arena);
	*s = (struct site){ 0 };
}

bool
site_has(const struct site *s, const char *section)
{
	return s->cfg->root != NULL && cfg_get(s->cfg->root, section) != NULL;
}

bool
site_has_checks(const struct site *s)
{
	for (size_t i = 0; i < s->common.pools.n; i++)
		if (CFG_AT(struct poolcfg, s->common.pools, i)->check.kind != CHECK_NONE)
			return true;
	return false;
}

bool
site_has_tls_servers(const struct site *s)
{
	for (size_t i = 0; i < s->common.pools.n; i++)
		if (CFG_AT(struct poolcfg, s->common.pools, i)->tls != NULL)
			return true;
	return false;
}
