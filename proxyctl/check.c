/*
 * check: `proxyctl check`. Every program knows its own part; here their findings become one list.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxyctl/check.h"
#include "proxyctl/commands.h"
#include "proxyctl/cross.h"
#include "proxyctl/findings.h"
#include "proxyctl/plain.h"
#include "proxyctl/program.h"

void
check_part(const char *program, int role, const char *file, const struct instancecfg *in,
	struct errs *errs)
{
	char *path = program_path(program);
	char *c = xstrdup("-c");
	char *t = xstrdup("-t");
	char *f = xstrdup(file);
	char *r = role == ROLE_CONNECT ? xstrdup("--role=connect") : NULL;
	char *argv[] = { path, t, c, f, r, NULL };
	struct sbuf out = { 0 };
	struct err err = { 0 };
	char **before = in != NULL ? site_set_env(in) : NULL;
	int code = program_run(argv, &out, &err);

	if (in != NULL)
		site_restore_env(in, before);

	json_t *array = code >= 0 && out.n > 0 ? json_loadb(out.p, out.n, 0, NULL) : NULL;

	if (!json_is_array(array))
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = file }, "",
			"%s could not check its part: %s", program,
			code < 0 ? err.text : "it printed no findings");
	findings_add(errs, array);
	json_decref(array);
	sbuf_fini(&out);
	free(path);
	free(c);
	free(t);
	free(f);
	free(r);
}

static void
check_instances(const struct site *s, struct errs *errs)
{
	for (size_t i = 0; i < s->up.instances.n; i++) {
		const struct instancecfg *in = CFG_AT(struct instancecfg, s->up.instances, i);

		if (in->config != NULL)
			check_part(program_names[in->program], in->role, in->config, in, errs);
	}
}

void
check_all(struct site *s, const char *file)
{
	for (size_t i = 0; i < PROGRAM_COUNT; i++)
		check_part(program_names[i], ROLE_NONE, file, NULL, &s->errs);
	if (site_has_tls_servers(s) || site_has(s, "upstream_tls"))
		check_part("tlsd", ROLE_CONNECT, file, NULL, &s->errs);
	check_instances(s, &s->errs);
	cross_check(s->cfg, &s->errs);
	errs_sort(&s->errs);
}

static void
print_json(const struct errs *errs)
{
	json_t *array = findings_json(errs);

	plain_print_json(array);
	json_decref(array);
}

static void
print_text(const struct errs *errs)
{
	struct sbuf text = { 0 };

	errs_format(errs, &text);
	fputs(sbuf_str(&text), stdout);
	sbuf_fini(&text);
	if (errs->error_count == 0)
		puts("ok");
}

int
cmd_check(const char *file, int argc, char **argv)
{
	bool is_json = false;
	char hash[CFG_HASH];
	struct site s;
	int opt;

	while ((opt = getopt(argc, argv, "j")) != -1) {
		if (opt != 'j')
			return command_usage("check");
		is_json = true;
	}
	if (optind < argc)
		return command_usage("check");
	/* What is no YAML is a finding, too. */
	if (is_json && site_read(&s, file, hash) < 0) {
		print_json(&s.errs);
		site_free(&s);
		return EXIT_USAGE;
	}
	if (!is_json && site_load(&s, file) < 0)
		return EXIT_USAGE;
	check_all(&s, file);
	is_json ? print_json(&s.errs) : print_text(&s.errs);

	int code = s.errs.error_count > 0 ? EXIT_USAGE : EXIT_DONE;

	site_free(&s);
	return code;
}
