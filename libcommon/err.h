/*
 * err: human messages. `struct err` is one; `struct errs` collects all that a check found, each
 * with the place it was found at. One line reads `file:line:col: path: problem, what was expected`.
 */
#ifndef LIBCOMMON_ERR_H
#define LIBCOMMON_ERR_H

#include <stdbool.h>
#include <stddef.h>

/* One message; text is always NUL-terminated, empty while nothing went wrong. */
struct err {
	char text[512];
};

/* Overwrites. Returns -1, so that `return err_set(err, ...)` reads well. err may be NULL. */
int err_set(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum finding_level { FINDING_ERROR, FINDING_WARNING };

/* Where in a configuration; file may be NULL, line and col count from 1, 0 when unknown. */
struct err_at {
	const char *file;
	unsigned line;
	unsigned col;
};

struct finding {
	enum finding_level level;
	char *file;
	unsigned line;
	unsigned col;
	char *path; /* "http.listen[0].address"; "" for the file as a whole */
	char *text;
};

/* Zero-initialise to start, errs_fini to end. */
struct errs {
	struct finding *v;
	size_t n;
	size_t cap;
	size_t error_count;
};

void errs_add(struct errs *errs, enum finding_level level, struct err_at at, const char *path,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void errs_fini(struct errs *errs);
/* By file, line, column; findings that say the same at the same place become one. */
void errs_sort(struct errs *errs);

struct sbuf;
/* The findings as lines, warnings marked with "warning: " after the place. */
void errs_format(const struct errs *errs, struct sbuf *out);

/*
 * The candidate most like `word` (an edit distance of at most a third of its length), or NULL: for
 * "did you mean". `next(arg, i)` gives candidate i and NULL past the last.
 */
const char *err_did_you_mean(
	const char *word, const char *(*next)(const void *arg, size_t i), const void *arg);

#endif
