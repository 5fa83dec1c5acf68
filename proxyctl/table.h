/*
 * table: text in aligned columns, with colour where it says something.
 */
#ifndef PROXYCTL_TABLE_H
#define PROXYCTL_TABLE_H

#include "libcommon/sbuf.h"

enum tint { TINT_NONE, TINT_BOLD, TINT_DIM, TINT_GREEN, TINT_YELLOW, TINT_RED };

#define TABLE_COLUMNS_MAX 12

struct table_cell {
	char *text;
	enum tint tint;
};

struct table {
	size_t columns;
	bool is_right[TABLE_COLUMNS_MAX]; /* numbers */
	struct table_cell (*rows)[TABLE_COLUMNS_MAX];
	size_t n;
	size_t cap;
	size_t at; /* next column of the last row */
};

/* titles: "NAME", "-COUNT" (right-aligned), ..., NULL. */
void table_init(struct table *t, const char *const *titles);
void table_fini(struct table *t);
/* Cells fill a row from the left; after the last one the next row begins. */
void table_add(struct table *t, enum tint tint, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Two units are enough for a person: "3h12m", "4m10s", "5.2s". */
void table_add_duration(struct table *t, enum tint tint, int64_t ms);
void table_format(const struct table *t, bool is_coloured, struct sbuf *out);
void tint_add(struct sbuf *out, bool is_coloured, enum tint tint, const char *text);

#endif
