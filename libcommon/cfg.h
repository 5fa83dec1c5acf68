/*
 * cfg: a YAML file as a tree whose nodes know their file, line and column. ${NAME} in scalars is
 * replaced from the environment ($$ is a dollar sign; a name that is not set is an error); anchors
 * and aliases are resolved; duplicate keys, tabs, nesting beyond CFG_DEPTH_MAX and documents that
 * grow beyond CFG_NODES_MAX nodes (alias bombs) are refused.
 * ${lower_case} names are left as they are: they are variables of ours, evaluated per request.
 */
#ifndef LIBCOMMON_CFG_H
#define LIBCOMMON_CFG_H

#include "libcommon/err.h"
#include "libcommon/slice.h"

#define CFG_DEPTH_MAX 32
#define CFG_NODES_MAX 1000000
#define CFG_BYTES_MAX (32u << 20)

enum cfg_kind { CFG_SCALAR, CFG_SEQUENCE, CFG_MAPPING };

struct cfg_node {
	enum cfg_kind kind;
	bool is_quoted; /* "443" and '443' are text; 443 may be a number */
	bool is_null;   /* an empty or ~ scalar */
	unsigned line;
	unsigned col;
	struct slice text; /* scalar, after substitution, NUL-terminated */
	struct slice key;  /* when a member of a mapping */
	unsigned key_line;
	unsigned key_col;
	struct cfg_node *first; /* children */
	struct cfg_node *next;  /* sibling */
	size_t count;
};

struct cfg {
	char *file;    /* as the caller named it */
	char *dir;     /* absolute folder of the file: relative paths count from it */
	char hash[65]; /* SHA-256 of the bytes, hex: what a two-phase reload agrees on (computed
			  without OpenSSL: see cfg.c) */
	struct cfg_node *root; /* NULL for an empty document */
	struct arena *arena;
};

/* NULL when it cannot be read or is no YAML; all findings are in errs. Never logs. */
struct cfg *cfg_load(const char *path, struct errs *errs);
/* The same from memory, for tests and fuzzing; name stands for the file in messages. */
struct cfg *cfg_parse(const char *name, const char *dir, struct slice text, struct errs *errs);
void cfg_free(struct cfg *c);
/* Child of a mapping, or NULL. */
struct cfg_node *cfg_get(const struct cfg_node *map, const char *key);
struct err_at cfg_at(const struct cfg *c, const struct cfg_node *n);
/* An absolute path for one that a configuration names: relative ones count from the file's folder.
 */
char *cfg_path(const struct cfg *c, struct arena *a, struct slice text);

#endif
