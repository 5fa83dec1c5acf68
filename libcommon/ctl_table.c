/*
 * ctl_table: words against tables of commands. Tables are short, so every question walks them.
 */
#include "libcommon/ctl_table.h"

#include <string.h>

/* How many words of `words` the args begin with: all of them, or 0. */
static size_t
match(const char *words, const char *const *args, size_t nargs)
{
	struct slice rest = slice_str(words);
	struct slice word;
	size_t n = 0;

	while (slice_next(&rest, ' ', &word)) {
		if (n == nargs || !slice_eq(word, slice_str(args[n])))
			return 0;
		n++;
	}
	return n;
}

const struct ctl_command *
ctl_table_find(const struct ctl_table *tables, const char *const *args, size_t nargs, size_t *taken,
	void **arg)
{
	const struct ctl_command *best = NULL;

	*taken = 0;
	for (const struct ctl_table *t = tables; t != NULL; t = t->next) {
		for (const struct ctl_command *row = t->rows; row->words != NULL; row++) {
			size_t n = match(row->words, args, nargs);

			if (n > *taken) {
				best = row;
				*taken = n;
				*arg = t->arg;
			}
		}
	}
	return best;
}

/* Command i of all tables, for err_did_you_mean. */
static const char *
nth_words(const void *p, size_t i)
{
	for (const struct ctl_table *t = p; t != NULL; t = t->next)
		for (const struct ctl_command *row = t->rows; row->words != NULL; row++)
			if (i-- == 0)
				return row->words;
	return NULL;
}

/* The rows that begin with args[0], or all when none does. */
static void
add_candidates(
	const struct ctl_table *tables, const char *first, bool only_matching, struct sbuf *out)
{
	const char *comma = "";

	for (const struct ctl_table *t = tables; t != NULL; t = t->next) {
		for (const struct ctl_command *row = t->rows; row->words != NULL; row++) {
			size_t n = strcspn(row->words, " ");
			bool matches = strlen(first) == n && memcmp(first, row->words, n) == 0;

			if (only_matching && !matches)
				continue;
			sbuf_addf(out, "%s%s", comma, row->words);
			comma = ", ";
		}
	}
}

void
ctl_table_explain(
	const struct ctl_table *tables, const char *const *args, size_t nargs, struct sbuf *out)
{
	struct sbuf given = { 0 };
	struct sbuf near = { 0 };

	for (size_t i = 0; i < nargs && i < 3; i++)
		sbuf_addf(&given, "%s%s", i ? " " : "", args[i]);
	sbuf_addf(out, "unknown command `%s`, expected ", given.p);
	add_candidates(tables, args[0], true, &near);
	if (near.n > 0) {
		sbuf_addf(out, "one of: %s", near.p);
	} else {
		sbuf_adds(out, "one of: ");
		add_candidates(tables, args[0], false, out);

		const char *meant = err_did_you_mean(given.p, nth_words, tables);

		if (meant != NULL)
			sbuf_addf(out, "; did you mean `%s`?", meant);
	}
	sbuf_fini(&given);
	sbuf_fini(&near);
}

static const char *
ctl_level_name(enum ctl_level level)
{
	static const char *const names[] = { "view", "operate", "admin" };

	return names[level];
}

static void
help_text(const struct ctl_command *row, struct sbuf *out)
{
	size_t before = out->n;

	sbuf_addf(out, "  %s", row->words);
	if (row->usage[0] != '\0')
		sbuf_addf(out, " %s", row->usage);

	size_t width = out->n - before;

	sbuf_addf(out, "%*s%s\n", width < 34 ? (int)(34 - width) : 2, "", row->help);
}

static void
help_json(const struct ctl_command *row, struct sbuf *out)
{
	sbuf_adds(out, out->n > 1 ? ",\n{\"words\":" : "{\"words\":");
	sbuf_add_json(out, slice_str(row->words));
	sbuf_adds(out, ",\"usage\":");
	sbuf_add_json(out, slice_str(row->usage));
	sbuf_addf(out, ",\"level\":\"%s\",\"help\":", ctl_level_name(row->level));
	sbuf_add_json(out, slice_str(row->help));
	sbuf_addc(out, '}');
}

void
ctl_table_help(const struct ctl_table *tables, bool is_json, struct sbuf *out)
{
	sbuf_adds(out, is_json ? "[" : "One line is one command; `json` in front asks for JSON.\n");
	for (const struct ctl_table *t = tables; t != NULL; t = t->next)
		for (const struct ctl_command *row = t->rows; row->words != NULL; row++)
			is_json ? help_json(row, out) : help_text(row, out);
	if (is_json)
		sbuf_adds(out, "]\n");
}
