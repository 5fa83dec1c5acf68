/*
 * err: building, sorting and printing messages. Nothing here decides what to do about them.
 */
#include "libcommon/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/mem.h"
#include "libcommon/sbuf.h"

int
err_set(struct err *err, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -1;
}

void
errs_add(struct errs *errs, enum finding_level level, struct err_at at, const char *path,
	const char *fmt, ...)
{
	struct sbuf text = { 0 };
	va_list ap;

	va_start(ap, fmt);
	sbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	if (errs->n == errs->cap) {
		errs->cap = errs->cap ? errs->cap * 2 : 16;
		errs->v = xreallocarray(errs->v, errs->cap, sizeof(*errs->v));
	}
	errs->v[errs->n++] = (struct finding){
		.level = level,
		.file = at.file ? xstrdup(at.file) : NULL,
		.line = at.line,
		.col = at.col,
		.path = xstrdup(path ? path : ""),
		.text = sbuf_take(&text),
	};
	if (level == FINDING_ERROR)
		errs->error_count++;
}

static void
finding_fini(struct finding *f)
{
	free(f->file);
	free(f->path);
	free(f->text);
}

void
errs_fini(struct errs *errs)
{
	for (size_t i = 0; i < errs->n; i++)
		finding_fini(&errs->v[i]);
	free(errs->v);
	*errs = (struct errs){ 0 };
}

static int
cmp_str(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

static int
cmp_finding(const void *pa, const void *pb)
{
	const struct finding *a = pa;
	const struct finding *b = pb;
	int c = cmp_str(a->file, b->file);

	if (c == 0)
		c = (a->line > b->line) - (a->line < b->line);
	if (c == 0)
		c = (a->col > b->col) - (a->col < b->col);
	if (c == 0)
		c = cmp_str(a->path, b->path);
	return c ? c : cmp_str(a->text, b->text);
}

void
errs_sort(struct errs *errs)
{
	size_t kept = 0;

	if (errs->n < 2)
		return;
	qsort(errs->v, errs->n, sizeof(*errs->v), cmp_finding);
	for (size_t i = 0; i < errs->n; i++) {
		if (kept > 0 && cmp_finding(&errs->v[kept - 1], &errs->v[i]) == 0) {
			errs->error_count -= errs->v[i].level == FINDING_ERROR;
			finding_fini(&errs->v[i]);
			continue;
		}
		errs->v[kept++] = errs->v[i];
	}
	errs->n = kept;
}

void
errs_format(const struct errs *errs, struct sbuf *out)
{
	for (size_t i = 0; i < errs->n; i++) {
		const struct finding *f = &errs->v[i];

		if (f->file != NULL)
			sbuf_addf(out, "%s:", f->file);
		if (f->line > 0)
			sbuf_addf(out, "%u:%u:", f->line, f->col);
		if (out->n > 0 && out->p[out->n - 1] == ':')
			sbuf_addc(out, ' ');
		if (f->level == FINDING_WARNING)
			sbuf_adds(out, "warning: ");
		if (f->path[0] != '\0')
			sbuf_addf(out, "%s: ", f->path);
		sbuf_addf(out, "%s\n", f->text);
	}
}

/* Levenshtein with an upper bound on the length, so that a row fits the stack. */
static size_t
edit_distance(const char *a, const char *b)
{
	enum { LONGEST = 64 };
	size_t row[LONGEST + 1];
	size_t an = strlen(a);
	size_t bn = strlen(b);

	if (an > LONGEST || bn > LONGEST)
		return LONGEST;
	for (size_t j = 0; j <= bn; j++)
		row[j] = j;
	for (size_t i = 1; i <= an; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= bn; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[bn];
}

const char *
err_did_you_mean(const char *word, const char *(*next)(const void *arg, size_t i), const void *arg)
{
	size_t limit = strlen(word) / 3 + 1;
	const char *best = NULL;
	const char *candidate;

	for (size_t i = 0; (candidate = next(arg, i)) != NULL; i++) {
		size_t d = edit_distance(word, candidate);

		if (d <= limit) {
			best = candidate;
			limit = d ? d - 1 : 0;
		}
		if (d == 0)
			break;
	}
	return best;
}
