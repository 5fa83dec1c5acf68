/*
 * status: `proxyctl status`: asks everybody, shows the answers, once or every second.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxyctl/commands.h"
#include "proxyctl/plain.h"
#include "proxyctl/show.h"
#include "proxyctl/upview.h"

enum { ASK_MS = 3000, REFRESH_MS = 1000 };

static bool
wants_colour(void)
{
	const char *no = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return (no == NULL || no[0] == '\0') && isatty(STDOUT_FILENO) &&
		(term == NULL || strcmp(term, "dumb") != 0);
}

/* What shells are given must be nothing but a word to them, whoever says it. */
static const char *
plain_name(const json_t *o)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:[]%@+-/";
	const char *name = json_string_value(json_object_get(o, "name"));

	return name != NULL && name[0] != '\0' && name[strspn(name, plain)] == '\0' ? name : NULL;
}

/* POOL/SERVER, one a line: what completion offers. */
static void
print_names(const struct fleet *f)
{
	json_t *pools = show_pools(f);
	const json_t *pool;
	const json_t *server;
	size_t i;
	size_t k;

	json_array_foreach(pools, i, pool)
	{
		json_array_foreach(json_object_get(pool, "servers"), k, server)
		{
			if (plain_name(pool) != NULL && plain_name(server) != NULL)
				printf("%s/%s\n", plain_name(pool), plain_name(server));
		}
	}
	json_decref(pools);
}

enum form { FORM_TABLE, FORM_JSON, FORM_NAMES };

static int
show_once(const struct site *s, enum form form, const char *before)
{
	struct fleet f;
	struct sbuf out = { 0 };

	fleet_find(&f, s, FLEET_ALL_AND_UP);
	fleet_ask(&f, "status", ASK_MS, NULL, NULL);
	upview_take(&f);
	if (form != FORM_NAMES)
		upview_look(&f, s);
	if (form == FORM_NAMES) {
		print_names(&f);
	} else if (form == FORM_JSON) {
		json_t *o = show_json(&f);

		json_object_set_new(o, "decisions", show_decisions_json(s->common.state_dir));
		plain_print_json(o);
		json_decref(o);
	} else {
		sbuf_adds(&out, before);
		if (f.n == 0)
			sbuf_addf(&out, "nothing runs in %s\n", s->common.run_dir);
		else
			show_fleet(&f, wants_colour(), &out);
		show_decisions(s->common.state_dir, wants_colour(), &out);
		fputs(out.p, stdout);
	}
	fflush(stdout);

	/* Nothing that answers is a failure that a script can see. */
	int code = fleet_count(&f, MEMBER_OK) > 0 ? EXIT_DONE : EXIT_FAILED;

	sbuf_fini(&out);
	fleet_fini(&f);
	return code;
}

static int
watch(const struct site *s, enum form form)
{
	/* One write: home, clear, tables. */
	const char *before = isatty(STDOUT_FILENO) ? "\033[H\033[2J" : "";

	for (;;) {
		show_once(s, form, before);
		if (ferror(stdout))
			return EXIT_FAILED;
		pause_ms(REFRESH_MS);
	}
}

int
cmd_status(const char *file, int argc, char **argv)
{
	static const struct option options[] = { { "names", no_argument, NULL, 'n' }, { 0 } };
	enum form form = FORM_TABLE;
	bool is_watch = false;
	struct site s;
	int opt;

	while ((opt = getopt_long(argc, argv, "jw", options, NULL)) != -1) {
		switch (opt) {
		case 'j': form = FORM_JSON; break;
		case 'n': form = FORM_NAMES; break;
		case 'w': is_watch = true; break;
		default: return command_usage("status");
		}
	}
	if (optind < argc)
		return command_usage("status");
	if (site_load_rest(&s, file) < 0)
		return EXIT_USAGE;

	int code = is_watch ? watch(&s, form) : show_once(&s, form, "");

	site_free(&s);
	return code;
}
