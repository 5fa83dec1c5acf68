/*
 * reload: `proxyctl reload`: every daemon prepares the same bytes (agreed on by hash), then every
 * one commits; when one refuses, none does. Run by root, it opens what daemons that gave up their
 * rights no longer may, and hands it over.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/ctl.h"
#include "proxyctl/commands.h"
#include "proxyctl/findings.h"
#include "proxyctl/fleet.h"
#include "proxyctl/give.h"
#include "proxyctl/plain.h"

enum { ASK_MS = 5000, PREPARE_MS = 25000, COMMIT_MS = 60000 };

/* ---- the two phases ---- */

static const char *
answer_text(const struct member *m, const char *key)
{
	return json_string_value(json_object_get(m->answer, key));
}

/*
 * Configurations of this reload, each read once: what daemons of one file are to agree on must not
 * depend on when it is read.
 */
struct source {
	char *file;
	char hash[CFG_HASH];
	struct cfg *cfg; /* NULL when it is no YAML, too */
	char *why;       /* it cannot be read */
};

struct sources {
	struct source *v;
	size_t n;
};

static const struct source *
source_get(struct sources *all, const char *file)
{
	struct errs errs = { 0 };
	struct source s = { 0 };

	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i].file, file) == 0)
			return &all->v[i];
	s.file = xstrdup(file);
	s.cfg = cfg_load_hash(file, s.hash, &errs);
	if (s.hash[0] == '\0')
		s.why = xstrdup(errs.n > 0 ? errs.v[0].text : "cannot be read");
	errs_fini(&errs); /* all else the daemons will say, with their own environment */
	all->v = xreallocarray(all->v, all->n + 1, sizeof(*all->v));
	all->v[all->n] = s;
	return &all->v[all->n++];
}

static void
sources_fini(struct sources *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->v[i].file);
		free(all->v[i].why);
		cfg_free(all->v[i].cfg);
	}
	free(all->v);
}

static void
refuse(struct member *m, char *why)
{
	struct sbuf plain = { 0 };

	plain_add(&plain, why, PLAIN_ONE_LINE);
	free(why);
	free(m->why);
	m->state = MEMBER_REFUSED;
	m->why = sbuf_take(&plain);
}

/*
 * `status` was answered: prepare by the file that this daemon says it runs by. What a daemon of
 * another user says is believed only where our own configuration says it, too: we may be able to
 * read what it may not, and are about to tell it of that, or to hand it over.
 */
static void
prepare_one(struct member *m, const struct site *site, struct sources *all)
{
	const char *file = answer_text(m, "config");

	if (file == NULL) {
		refuse(m, xstrdup("it does not say which file it runs by"));
		return;
	}
	if (m->is_stranger && !site_names(site, file)) {
		refuse(m,
			xasprintf("it runs as another user, and by %s, which is not what %s "
				  "names",
				file, site->file));
		return;
	}

	const struct source *s = source_get(all, file);

	if (s->why != NULL) {
		refuse(m, xasprintf("%s: %s", file, s->why));
		return;
	}

	struct sbuf line = { 0 };

	sbuf_adds(&line, "prepare");
	ctlproto_add_word(&line, s->hash);
	ctlproto_add_word(&line, file);
	if (m->is_stranger && geteuid() == 0)
		give_files(m, file, s->cfg);
	fleet_ask_one(m, line.p, NULL, 0, PREPARE_MS);
	sbuf_fini(&line);
}

/*
 * `up` goes first: it knows which of the others will not be there afterwards, and these need not
 * take what is not for them.
 */
static void
drop_leaving(struct fleet *f, const json_t *pids)
{
	size_t k;
	const json_t *pid;

	json_array_foreach(pids, k, pid)
	{
		for (size_t i = 0; i < f->n; i++) {
			const json_t *has = json_object_get(f->v[i].answer, "pid");

			if (has != NULL && json_equal(has, pid)) {
				fleet_drop(f, &f->v[i]);
				break;
			}
		}
	}
}

static void
prepare_up(struct fleet *f, const struct site *s, struct sources *all)
{
	json_t *leaving = json_array();

	for (size_t i = 0; i < f->n; i++) {
		if (strcmp(f->v[i].program, "up") != 0)
			continue;
		prepare_one(&f->v[i], s, all);
		json_array_extend(leaving, json_object_get(f->v[i].answer, "leaving"));
	}
	drop_leaving(f, leaving);
	json_decref(leaving);
}

static void
collect_findings(const struct fleet *f, struct errs *errs)
{
	for (size_t m = 0; m < f->n; m++) {
		const json_t *found = json_object_get(f->v[m].answer, "findings");

		findings_add(errs, found ? found : json_object_get(f->v[m].answer, "warnings"));
	}
}

static size_t
print_findings(const struct fleet *f)
{
	struct errs errs = { 0 };
	struct sbuf text = { 0 };
	struct sbuf plain = { 0 };
	size_t n;

	collect_findings(f, &errs);
	errs_sort(&errs);
	errs_format(&errs, &text);
	plain_add(&plain, sbuf_str(&text), PLAIN_LINES);
	fputs(sbuf_str(&plain), stderr);
	n = errs.error_count;
	sbuf_fini(&plain);
	sbuf_fini(&text);
	errs_fini(&errs);
	return n;
}

static bool
is_prepared(const struct member *m, void *arg)
{
	(void)arg;
	return m->state == MEMBER_OK;
}

/* All prepared, or none: false, and why has been said. */
static bool
prepare_all(struct fleet *f, const struct site *s, int *code)
{
	struct sources all = { 0 };

	prepare_up(f, s, &all);
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->v[i].program, "up") != 0)
			prepare_one(&f->v[i], s, &all);
	sources_fini(&all);

	size_t errors = print_findings(f);

	if (fleet_count(f, MEMBER_OK) == f->n)
		return true;
	fleet_complain(f);
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].state == MEMBER_GONE)
			fprintf(stderr, "%s: ended meanwhile\n", f->v[i].name);
	fprintf(stderr, "nothing was changed\n");
	fleet_ask(f, "abort", ASK_MS, is_prepared, NULL);
	*code = errors > 0 ? EXIT_USAGE : EXIT_FAILED;
	return false;
}

static int
commit_all(struct fleet *f)
{
	fleet_ask(f, "commit", COMMIT_MS, NULL, NULL);
	for (size_t i = 0; i < f->n; i++) {
		const struct member *m = &f->v[i];

		if (m->state == MEMBER_OK)
			printf("%s: generation %" JSON_INTEGER_FORMAT "\n", m->name,
				json_integer_value(json_object_get(m->answer, "generation")));
		else if (m->state == MEMBER_GONE)
			fprintf(stderr, "%s: ended meanwhile\n", m->name);
	}
	fleet_complain(f);
	return fleet_count(f, MEMBER_OK) == f->n ? EXIT_DONE : EXIT_FAILED;
}

static int
reload(struct fleet *f, const struct site *s)
{
	int code = EXIT_FAILED;

	fleet_ask(f, "status", ASK_MS, NULL, NULL);
	fleet_forget_gone(f);
	if (f->n == 0) {
		fprintf(stderr, "nothing runs in %s\n", s->common.run_dir);
		return EXIT_FAILED;
	}
	if (fleet_complain(f) > 0) {
		fprintf(stderr, "nothing was changed\n");
		return EXIT_FAILED;
	}
	return prepare_all(f, s, &code) ? commit_all(f) : code;
}

int
cmd_reload(const char *file, int argc, char **argv)
{
	struct site s;
	struct fleet f;

	if (argc > 1 || getopt(argc, argv, "") != -1)
		return command_usage("reload");
	if (site_load(&s, file) < 0)
		return EXIT_USAGE;
	fleet_find(&f, &s, FLEET_ALL_AND_UP);

	int code = reload(&f, &s);

	fleet_fini(&f);
	site_free(&s);
	return code;
}
