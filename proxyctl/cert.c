/*
 * cert: `proxyctl cert list` and `cert reload`: what every tlsd serves or shows to servers, in one
 * table; and loading the files anew. Run by root, a reload hands over files that tlsd may no longer
 * open.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/sbuf.h"
#include "proxyctl/commands.h"
#include "proxyctl/fleet.h"
#include "proxyctl/give.h"
#include "proxyctl/plain.h"
#include "proxyctl/table.h"

enum { ASK_MS = 3000, RELOAD_MS = 30000, SOON_DAYS = 21 };

static bool
is_tlsd(const struct member *m, void *arg)
{
	(void)arg;
	return strcmp(m->program, "tlsd") == 0;
}

static void
drop_connect(struct fleet *f)
{
	fleet_ask(f, "status", ASK_MS, NULL, NULL);
	for (size_t i = f->n; i-- > 0;)
		if (json_object_get(f->v[i].answer, "role") != NULL)
			fleet_drop(f, &f->v[i]);
}

/* Each tlsd, or only those that listen for clients; the exit code when there is none. */
static int
find_all(struct fleet *f, const struct site *s, bool has_connect)
{
	fleet_find(f, s, FLEET_ALL);
	for (size_t i = f->n; i-- > 0;)
		if (!is_tlsd(&f->v[i], NULL))
			fleet_drop(f, &f->v[i]);
	if (!has_connect)
		drop_connect(f);
	if (f->n > 0)
		return EXIT_DONE;
	fprintf(stderr, "no tlsd runs in %s\n", s->common.run_dir);
	return EXIT_FAILED;
}

/* ---- list ---- */

static char *
join_names(const json_t *names)
{
	struct sbuf text = { 0 };
	size_t i;
	const json_t *name;

	json_array_foreach(names, i, name)
	{
		if (i == 3 && json_array_size(names) > 4) {
			sbuf_addf(&text, " +%zu", json_array_size(names) - i);
			break;
		}
		sbuf_addf(&text, "%s%s", i > 0 ? " " : "", json_string_value(name));
	}
	return text.n > 0 ? sbuf_take(&text) : NULL;
}

static void
add_days(struct table *t, const json_t *c)
{
	json_int_t days = json_integer_value(json_object_get(c, "days_left"));

	if (json_is_true(json_object_get(c, "expired")))
		table_add(t, TINT_RED, "expired");
	else
		table_add(t, days < SOON_DAYS ? TINT_YELLOW : TINT_NONE, "%" JSON_INTEGER_FORMAT,
			days);
}

static void
add_cert(struct table *t, const struct member *m, const json_t *c)
{
	const char *ocsp = fleet_text(json_object_get(c, "ocsp"), "state");
	bool is_fine = strcmp(ocsp, "good") == 0 || strcmp(ocsp, "none") == 0;
	char *names = join_names(json_object_get(c, "names"));

	table_add(t, TINT_BOLD, "%s", names != NULL ? names : "");
	if (json_object_get(c, "policy") != NULL)
		table_add(t, TINT_NONE, "policy %s", fleet_text(c, "policy"));
	else
		table_add(t, TINT_NONE, "%s", fleet_text(c, "listen"));
	table_add(t, TINT_DIM, "%s", m->name);
	table_add(t, TINT_NONE, "%s", fleet_text(c, "key_type"));
	table_add(t, TINT_NONE, "%s", fleet_text(c, "issuer"));
	add_days(t, c);
	table_add(t, is_fine ? TINT_NONE : TINT_YELLOW, "%s%s", ocsp,
		json_is_true(json_object_get(c, "waiting")) ? ", waits" : "");
	table_add(t, TINT_DIM, "%s", fleet_text(c, "path"));
	free(names);
}

static void
print_table(const struct fleet *f)
{
	static const char *const titles[] = { "NAMES", "LISTENER", "DAEMON", "KEY", "ISSUER",
		"-DAYS LEFT", "OCSP", "FILE", NULL };
	struct sbuf out = { 0 };
	struct table t;

	table_init(&t, titles);
	for (size_t m = 0; m < f->n; m++) {
		size_t i;
		const json_t *c;

		json_array_foreach(f->v[m].answer, i, c)
		{
			add_cert(&t, &f->v[m], c);
		}
	}
	table_format(&t, isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL, &out);
	fputs(out.p, stdout);
	table_fini(&t);
	sbuf_fini(&out);
}

static void
print_json(const struct fleet *f)
{
	json_t *all = json_array();

	for (size_t m = 0; m < f->n; m++) {
		size_t i;
		json_t *c;

		json_array_foreach(f->v[m].answer, i, c)
		{
			json_object_set_new(c, "daemon", json_string(f->v[m].name));
			json_array_append(all, c);
		}
	}
	plain_print_json(all);
	json_decref(all);
}

static int
list(struct fleet *f, bool is_json)
{
	fleet_ask(f, "cert list", ASK_MS, NULL, NULL);
	if (is_json)
		print_json(f);
	else
		print_table(f);
	return fleet_complain(f) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* ---- reload ---- */

static void
print_reloaded(const struct member *m)
{
	const json_t *waiting = json_object_get(m->answer, "waiting");
	bool has_changed = json_is_true(json_object_get(m->answer, "changed"));
	struct sbuf text = { 0 };
	struct sbuf plain = { 0 };
	const json_t *c;
	size_t i;

	sbuf_addf(&text, "%s: %s\n", m->name,
		has_changed ? "serves what has changed" : "nothing has changed");
	json_array_foreach(waiting, i, c)
	{
		sbuf_addf(&text, "%s: %s waits for its staple (%s), the one before stays\n",
			m->name, fleet_text(c, "path"), fleet_text(c, "reason"));
	}
	plain_add(&plain, text.p, PLAIN_LINES);
	fputs(plain.p, stdout);
	sbuf_fini(&plain);
	sbuf_fini(&text);
}

static int
reload(struct fleet *f, const struct site *s)
{
	bool is_root = geteuid() == 0;

	fleet_ask(f, "status", ASK_MS, NULL, NULL);
	for (size_t i = 0; i < f->n; i++) {
		struct member *m = &f->v[i];
		const char *file = fleet_text(m->answer, "config");

		if (m->state != MEMBER_OK)
			continue;
		/* What it says is not what makes us open files: see prepare_one of reload.c. */
		if (is_root && m->is_stranger && site_names(s, file))
			give_tls_files(m, file);
		fleet_ask_one(m, "cert reload", NULL, 0, RELOAD_MS);
		if (m->state == MEMBER_OK)
			print_reloaded(m);
	}
	return fleet_complain(f) == 0 ? EXIT_DONE : EXIT_FAILED;
}

int
cmd_cert(const char *file, int argc, char **argv)
{
	bool is_list = argc > 1 && strcmp(argv[1], "list") == 0;
	bool is_json = is_list && argc == 3 && strcmp(argv[2], "-j") == 0;
	struct site s;
	struct fleet f;

	if (argc < 2 || (!is_list && strcmp(argv[1], "reload") != 0) || argc > 2 + is_json)
		return command_usage("cert");
	if (site_load(&s, file) < 0)
		return EXIT_USAGE;

	int code = find_all(&f, &s, is_list);

	if (code == EXIT_DONE)
		code = is_list ? list(&f, is_json) : reload(&f, &s);
	fleet_fini(&f);
	site_free(&s);
	return code;
}
