/*
 * effective: `proxyctl config`. Each program prints what is in force for it, defaults included, or
 * which keys it knows; what several of them read is shown once.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxyctl/commands.h"
#include "proxyctl/plain.h"
#include "proxyctl/program.h"
#include "proxyctl/site.h"

/* Keys that are not there yet go to the end of `all`; `seen` has their paths. */
static void
merge(json_t *all, json_t *seen, const json_t *part)
{
	size_t i;
	json_t *entry;

	json_array_foreach(part, i, entry)
	{
		const char *path = json_string_value(json_object_get(entry, "path"));

		if (path == NULL || json_object_get(seen, path) != NULL)
			continue;
		json_object_set_new(seen, path, json_true());
		json_array_append(all, entry);
	}
}

/* `PROGRAM -T -c FILE`, or `PROGRAM --schema` without a file. */
static int
run_dump(const char *program, const char *file, json_t *all, json_t *seen)
{
	char *path = program_path(program);
	char *what = xstrdup(file ? "-T" : "--schema");
	char *c = file ? xstrdup("-c") : NULL;
	char *f = file ? xstrdup(file) : NULL;
	char *argv[] = { path, what, c, f, NULL };
	struct sbuf out = { 0 };
	struct err err = { 0 };
	int code = program_run(argv, &out, &err);
	json_t *part = code == 0 ? json_loadb(out.p, out.n, 0, NULL) : NULL;

	if (code < 0)
		fprintf(stderr, "%s\n", err.text);
	merge(all, seen, part);
	json_decref(part);
	sbuf_fini(&out);
	free(path);
	free(what);
	free(c);
	free(f);
	return code < 0 ? EXIT_FAILED : code;
}

static void
print_entry(const json_t *entry)
{
	const char *path = json_string_value(json_object_get(entry, "path"));
	const char *origin = json_string_value(json_object_get(entry, "origin"));
	const json_t *value = json_object_get(entry, "value");
	char *dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	const char *text = json_is_string(value) && json_string_length(value) > 0
		? json_string_value(value)
		: dumped;
	int n = printf("%s = %s", path, text);

	printf("%*s# %s\n", n < 56 ? 56 - n : 2, "", origin ? origin : "");
	free(dumped);
}

static void
print_all(const json_t *all, bool is_json)
{
	size_t i;
	const json_t *entry;

	if (is_json) {
		plain_print_json(all);
		return;
	}
	json_array_foreach(all, i, entry)
	{
		print_entry(entry);
	}
}

/* What the programs say, and our own section; file NULL: the keys instead of their values. */
static int
collect(const char *file, json_t *all)
{
	json_t *seen = json_object();
	json_t *up = json_array();
	int code = EXIT_DONE;

	for (size_t i = 0; i < PROGRAM_COUNT && code == EXIT_DONE; i++)
		code = run_dump(program_names[i], file, all, seen);
	if (file == NULL) {
		cfg_schema_dump(&upcfg_schema, "up", up);
	} else {
		struct site s;

		if (site_load(&s, file) < 0)
			code = EXIT_USAGE;
		else if (site_has(&s, "up"))
			cfg_dump(s.cfg, &upcfg_schema, cfg_get(s.cfg->root, "up"), "up", up);
		site_free(&s);
	}
	merge(all, seen, up);
	json_decref(seen);
	json_decref(up);
	return code;
}

int
cmd_config(const char *file, int argc, char **argv)
{
	static const struct option options[] = { { "schema", no_argument, NULL, 's' }, { 0 } };
	bool is_json = false;
	bool is_schema = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "j", options, NULL)) != -1) {
		if (opt != 'j' && opt != 's')
			return command_usage("config");
		is_json |= opt == 'j';
		is_schema |= opt == 's';
	}
	if (optind < argc)
		return command_usage("config");

	json_t *all = json_array();
	int code = collect(is_schema ? NULL : file, all);

	if (code == EXIT_DONE)
		print_all(all, is_json || is_schema);
	json_decref(all);
	return code;
}
