/*
 * check: `proxyctl check`. Every program knows its own part; here their findings become one list.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxyctl/commands.h"
#include "proxyctl/cross.h"
#include "proxyctl/program.h"
#include "proxyctl/site.h"

static void
add_finding(const json_t *o, struct errs *errs)
{
	const char *level = json_string_value(json_object_get(o, "level"));
	const char *path = json_string_value(json_object_get(o, "path"));
	const char *text = json_string_value(json_object_get(o, "text"));
	struct err_at at = {
		.file = json_string_value(json_object_get(o, "file")),
		.line = (unsigned)json_integer_value(json_object_get(o, "line")),
		.col = (unsigned)json_integer_value(json_object_get(o, "col")),
	};

	errs_add(errs,
		level != NULL && strcmp(level, "warning") == 0 ? FINDING_WARNING : FINDING_ERROR,
		at, path, "%s", text ? text : "");
}

/* `PROGRAM -t -c FILE`; what it prints goes into errs, and so does its not being there. */
static void
run_check(const char *program, const char *file, struct errs *errs)
{
	char *path = program_path(program);
	char *c = xstrdup("-c");
	char *t = xstrdup("-t");
	char *f = xstrdup(file);
	char *argv[] = { path, t, c, f, NULL };
	struct sbuf out = { 0 };
	struct err err = { 0 };
	int code = program_run(argv, &out, &err);
	json_t *array = code >= 0 && out.n > 0 ? json_loadb(out.p, out.n, 0, NULL) : NULL;
	size_t i;
	const json_t *o;

	if (!json_is_array(array))
		errs_add(errs, FINDING_ERROR, (struct err_at){ .file = file }, "",
			"%s could not check its part: %s", program,
			code < 0 ? err.text : "it printed no findings");
	json_array_foreach(array, i, o)
	{
		add_finding(o, errs);
	}
	json_decref(array);
	sbuf_fini(&out);
	free(path);
	free(c);
	free(t);
	free(f);
}

static void
check_instances(const struct site *s, struct errs *errs)
{
	for (size_t i = 0; i < s->up.instances.n; i++) {
		const struct instancecfg *in = CFG_AT(struct instancecfg, s->up.instances, i);

		if (in->config == NULL)
			continue;
		site_set_env(in);
		run_check(program_names[in->program], in->config, errs);
		site_unset_env(in);
	}
}

static void
print_json(const struct errs *errs)
{
	json_t *array = json_array();

	for (size_t i = 0; i < errs->n; i++) {
		const struct finding *f = &errs->v[i];

		json_array_append_new(array,
			json_pack("{s:s?,s:i,s:i,s:s,s:s,s:s}", "file", f->file, "line",
				(int)f->line, "col", (int)f->col, "level",
				f->level == FINDING_ERROR ? "error" : "warning", "path", f->path,
				"text", f->text));
	}
	json_dumpf(array, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(array);
}

static void
print_text(const struct errs *errs)
{
	struct sbuf text = { 0 };

	errs_format(errs, &text);
	fputs(text.p ? text.p : "", stdout);
	sbuf_fini(&text);
	if (errs->error_count == 0)
		puts("ok");
}

int
cmd_check(const char *file, int argc, char **argv)
{
	bool is_json = false;
	struct site s;
	int opt;

	while ((opt = getopt(argc, argv, "j")) != -1) {
		if (opt != 'j')
			return command_usage("check");
		is_json = true;
	}
	if (optind < argc)
		return command_usage("check");
	if (site_load(&s, file) < 0)
		return EXIT_USAGE;
	for (size_t i = 0; i < PROGRAM_COUNT; i++)
		run_check(program_names[i], file, &s.errs);
	check_instances(&s, &s.errs);
	cross_check(s.cfg, &s.errs);
	errs_sort(&s.errs);
	is_json ? print_json(&s.errs) : print_text(&s.errs);

	int code = s.errs.error_count > 0 ? EXIT_USAGE : EXIT_DONE;

	site_free(&s);
	return code;
}
