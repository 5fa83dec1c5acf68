/*
 * cfg: a YAML file as a tree whose nodes know their file, line and column. ${NAME} in scalars is
 * replaced from the environment ($$ is a dollar sign; a name that is not set is an error); anchors
 * and aliases are resolved; duplicate keys, tabs, nesting beyond CFG_DEPTH_MAX and documents that
 * grow beyond CFG_NODES_MAX nodes (alias bombs) are refused.
 * ${lower_case} names are left as they are: they are variables of ours, evaluated per request.
 * Merge keys (<<) are merged: own keys win, then earlier merges. Keys are never substituted.
 *
 * What is wrong in one value (a duplicate key, an unset variable, an unknown alias) is reported and
 * leaves a tree that the binder goes on with, so that all problems come out at once; what makes the
 * whole unreadable (syntax, limits) ends at the first.
 */
#ifndef LIBCOMMON_CFG_H
#define LIBCOMMON_CFG_H

#include "libcommon/err.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"

#define CFG_DEPTH_MAX 32
#define CFG_NODES_MAX 1000000
#define CFG_BYTES_MAX (32u << 20)
/* A hash in hex and its NUL. */
#define CFG_HASH 33
/* So many problems are listed, then one line says that there are more. */
#define CFG_FINDINGS_MAX 500

enum cfg_kind { CFG_SCALAR, CFG_SEQUENCE, CFG_MAPPING };

struct cfg_node {
	enum cfg_kind kind;
	bool is_quoted; /* "443" and '443' are text; 443 may be a number */
	bool is_null;   /* an empty, ~ or null scalar without quotes */
	bool is_broken; /* already reported: the binder passes over it */
	unsigned line;
	unsigned col;
	struct slice text; /* scalar, after substitution, NUL-terminated */
	uint32_t *vars;    /* where in text each ${lower_case} begins that was written as one */
	size_t var_count;
	struct slice key; /* when a member of a mapping */
	unsigned key_line;
	unsigned key_col;
	struct cfg_node *first; /* children */
	struct cfg_node *next;  /* sibling */
	size_t count;
};

struct cfg {
	char *file;            /* as the caller named it */
	char *dir;             /* absolute folder of the file: relative paths count from it */
	char hash[CFG_HASH];   /* of the bytes, hex: what a two-phase reload agrees on. Not
			    cryptographic:   it tells whether two daemons read the same file, not who
			    wrote it */
	struct cfg_node *root; /* NULL for an empty document */
	struct arena *arena;
};

/* NULL when it cannot be read or is no YAML; all findings are in errs. Never logs. */
struct cfg *cfg_load(const char *path, struct errs *errs);
/* The same, and the hash of the bytes, which is known too when they are no YAML; "" when they could
 * not be read. */
struct cfg *cfg_load_hash(const char *path, char hash[static CFG_HASH], struct errs *errs);
/* The same of what stands in fd, as if it stood in the file `path`: names and relative paths in it
 * mean that one. Where fd can be read from its beginning, its offset stays. dir: of the file,
 * absolute, where it may not be looked up any more; else NULL. fd < 0: errno says why there is
 * none. */
struct cfg *cfg_load_fd(
	int fd, const char *path, const char *dir, char hash[static CFG_HASH], struct errs *errs);
/* As cfg_parse_rest of a file; NULL, too, when it cannot be read. */
struct cfg *cfg_load_rest(const char *path);
/* The bytes of a file alone, within the limit; -1 with errno, also of what is no regular file: a
 * pipe would have who asks wait. */
int cfg_read(const char *path, struct sbuf *out);
void cfg_hash(struct slice text, char out[static CFG_HASH]);
/* Of what the file holds now; "" and -1 with errno when that cannot be read. */
int cfg_hash_file(const char *path, char out[static CFG_HASH]);
/* The same from memory, for tests and fuzzing; name stands for the file in messages. */
struct cfg *cfg_parse(const char *name, const char *dir, struct slice text, struct errs *errs);
/*
 * Of a text that cannot be read as a whole: what stands in it beside the broken part. Parts are the
 * keys at the left margin, with what is below each. For who only looks: run_dir is there. NULL when
 * nothing is left.
 */
struct cfg *cfg_parse_rest(const char *name, const char *dir, struct slice text);
void cfg_free(struct cfg *c);
/* Child of a mapping; NULL where there is none, and of what is no mapping, or NULL. */
struct cfg_node *cfg_get(const struct cfg_node *map, const char *key);
struct err_at cfg_at(const struct cfg *c, const struct cfg_node *n);
/* The place of the key that a value stands under; the value's own when it stands in a list. */
struct err_at cfg_key_at(const struct cfg *c, const struct cfg_node *n);
/* errs_add with level FINDING_ERROR, up to CFG_FINDINGS_MAX. */
void cfg_report(struct errs *errs, struct err_at at, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Add ".key" to a path for messages (no dot at its start); odd keys are quoted and cut. */
void cfg_path_push(struct sbuf *path, struct slice key);
/* Text for a message: in quotes, escaped, cut when long. */
void cfg_quote(struct sbuf *out, struct slice text);
/* An absolute path for one that a configuration names: relative ones count from the file's folder.
 */
char *cfg_path(const struct cfg *c, struct arena *a, struct slice text);

#endif
