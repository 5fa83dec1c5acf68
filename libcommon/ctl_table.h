/*
 * ctl_table: the tables of control commands: which row do these words mean, and what to say when
 * none does. No socket here.
 */
#ifndef LIBCOMMON_CTL_TABLE_H
#define LIBCOMMON_CTL_TABLE_H

#include "libcommon/ctl.h"

struct ctl_table {
	const struct ctl_command *rows; /* ends with a zero row */
	void *arg;
	struct ctl_table *next;
};

/* The row whose words are the longest beginning of args, or NULL; *taken is how many words. */
const struct ctl_command *ctl_table_find(const struct ctl_table *tables, const char *const *args,
	size_t nargs, size_t *taken, void **arg);
/* Why there is none: "unknown command ..., expected one of: ...". */
void ctl_table_explain(
	const struct ctl_table *tables, const char *const *args, size_t nargs, struct sbuf *out);
/* All rows as text or as a JSON array. */
void ctl_table_help(const struct ctl_table *tables, bool is_json, struct sbuf *out);

#endif
