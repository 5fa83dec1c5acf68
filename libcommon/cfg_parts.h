/*
 * cfg_parts: what the files of cfg share among themselves; nobody else includes it.
 */
#ifndef LIBCOMMON_CFG_PARTS_H
#define LIBCOMMON_CFG_PARTS_H

#include "libcommon/cfg.h"

/* cfg_file.c: an empty tree for these bytes. */
struct cfg *cfg_new(const char *name, const char *dir, struct slice text);

/* cfg_env.c: whether a text has anything to substitute. */
bool cfg_env_has(struct slice text);
/* Add text to out with ${NAME} replaced and $$ made a dollar sign; on_var(arg, at) for each
 * variable of ours, which begins at out->p[at]. -1 with err. */
int cfg_env_expand(struct slice text, struct sbuf *out, void (*on_var)(void *arg, size_t at),
	void *arg, struct err *err);

/* cfg_syntax.c: a finding of why p has stopped within the text of that file. */
struct yaml_parser_s;
void cfg_syntax_report(
	const struct yaml_parser_s *p, const char *file, struct slice text, struct errs *errs);

/* cfg_members.c: the members of one mapping while it is read; v is the caller's to free. */
struct cfg_member {
	struct cfg_node *node;
	size_t order;
};

struct cfg_members {
	struct cfg_member *v;
	size_t n;
	size_t cap;
};

typedef void (*cfg_duplicate_fn)(
	void *arg, const struct cfg_node *first, const struct cfg_node *again);

void cfg_members_add(struct cfg_members *m, struct cfg_node *node);
/* Make these map's children: its own, then those merged in whose key is not there yet. A key that
 * stands twice among its own is reported, and the first is kept. */
void cfg_members_link(struct cfg_node *map, struct cfg_members *own,
	const struct cfg_members *merged, cfg_duplicate_fn report, void *arg);

#endif
