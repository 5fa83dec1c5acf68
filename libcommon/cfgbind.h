/*
 * cfgbind: schema tables. A row names a key, its type, default, range, where it lands in a struct,
 * whether a reload may change it, and its one-line meaning. One table checks, binds, dumps, and is
 * what the man page is compared with.
 *
 * The key decides what a value is, not YAML's guess: `80`, "80" and ${PORT} are the same to a
 * CFGT_INT, and 1.2 is text to a CFGT_STRING.
 *
 * A struct that is bound from a mapping may have a `const struct cfg_node *node` row (CFGT_NODE) to
 * remember its place; it is NULL when the mapping is absent.
 *
 * A table reads one line a key:
 *
 *	static const struct cfg_row rows[] = {
 *		CFG_ROW(struct x, name, "name", CFGT_STRING, .flags = CFG_REQUIRED, .help = "..."),
 *		CFG_ROW(struct x, head_ms, "head", CFGT_DURATION, .def = "10s", .min = 1, .max =
 *3600000, .help = "..."), CFG_SUB_ROW("log", &log_schema, .help = "..."), CFG_NODE_ROW(struct x,
 *node), CFG_END,
 *	};
 */
#ifndef LIBCOMMON_CFGBIND_H
#define LIBCOMMON_CFGBIND_H

#include <stddef.h>
#include <stdint.h>

#include "libcommon/cfg.h"
#include "libcommon/mem.h"

enum cfg_type {
	CFGT_END,      /* closes a table */
	CFGT_BOOL,     /* bool: on/off, true/false, yes/no */
	CFGT_INT,      /* int64_t within [min, max] */
	CFGT_DECIMAL,  /* double within [min, max] */
	CFGT_DURATION, /* int64_t, milliseconds within [min, max]; a unit is required */
	CFGT_SIZE,     /* uint64_t, bytes within [min, max] */
	CFGT_STRING,   /* char *, NUL-terminated; NULL when absent without default */
	CFGT_PATH,     /* char *, made absolute by the file's folder */
	CFGT_ENUM,     /* int: index in `choices` */
	CFGT_ADDR, /* struct addr_spec; "unix:" paths made absolute, length checked; min = default
		      port */
	CFGT_NET_LIST,    /* struct cfg_list of struct addr_net */
	CFGT_STRING_LIST, /* struct cfg_list of char *; a single scalar is a list of one */
	CFGT_STATUS_LIST, /* struct cfg_list of struct cfg_range: 200, 200-399, [200, 204,
			     "300-399"] */
	CFGT_PAIRS,       /* struct cfg_list of struct cfg_pair: a mapping of free names to text */
	CFGT_MAP,   /* the struct of `sub`, in place; with offset 0 (CFG_SUB_ROW) its rows fill
		       the struct around it. When absent: defaults, and nothing in it is required */
	CFGT_LIST,  /* struct cfg_list of `sub` structs */
	CFGT_NAMED, /* struct cfg_list of `sub` structs from a mapping; the key lands in sub's
		       CFGT_KEY row */
	CFGT_KEY,  /* char *: the key this struct stood under in a CFGT_NAMED; has no key of its own
		    */
	CFGT_NODE, /* const struct cfg_node *: where the struct came from; has no key of its own */
	CFGT_CUSTOM, /* whatever `parse` makes of the node */
};

/* Lists are contiguous arrays from the arena. */
struct cfg_list {
	void *v;
	size_t n;
};
#define CFG_AT(type, list, i) (&((type *)(list).v)[i])

struct cfg_range {
	int32_t lo;
	int32_t hi; /* inclusive */
};

struct cfg_pair {
	char *name;
	char *value;
	const struct cfg_node *node;
};

struct cfg_ctx {
	const struct cfg *cfg;
	struct arena *arena; /* all that is bound lives here */
	struct errs *errs;
};

struct cfg_schema;
struct cfg_row {
	const char *key;
	enum cfg_type type;
	size_t offset;
	const char *def; /* as text, parsed like a scalar; NULL: none (zero) */
	double min;      /* in the type's own unit; min == max == 0: no range */
	double max;
	const char *const *choices; /* CFGT_ENUM, NULL-terminated */
	const struct cfg_schema *sub;
	/* Binds a CFGT_CUSTOM, and runs after the type's own binding for others (may be NULL); only
	 * for keys that are there and right so far. Reports with cfg_error. */
	void (*parse)(
		struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *field);
	unsigned flags;
	const char *unit; /* for documents: "percent"; NULL: what the type says */
	const char *help; /* one line */
};

#define CFG_ROW(s, field, key_, type_, ...)                                           \
	{                                                                             \
		.key = key_, .type = type_, .offset = offsetof(s, field), __VA_ARGS__ \
	}
#define CFG_SUB_ROW(key_, sub_, ...)                                    \
	{                                                               \
		.key = key_, .type = CFGT_MAP, .sub = sub_, __VA_ARGS__ \
	}
#define CFG_NODE_ROW(s, field)                                  \
	{                                                       \
		.type = CFGT_NODE, .offset = offsetof(s, field) \
	}
#define CFG_KEY_ROW(s, field, ...)                                          \
	{                                                                   \
		.type = CFGT_KEY, .offset = offsetof(s, field), __VA_ARGS__ \
	}
#define CFG_END                  \
	{                        \
		.type = CFGT_END \
	}

enum {
	CFG_REQUIRED = 1,
	CFG_RESTART =
		2, /* a reload cannot change it: the old value stays, with a warning that says so */
	CFG_NONEMPTY = 4,  /* a list with at least one member, text with at least one byte */
	CFG_SECRET = 8,    /* shown as "***" */
	CFG_OPTIONAL = 16, /* a CFGT_MAP that turns something on by being there: when absent it is
			      shown as null, not as its defaults. The same without the flag when
			      it has a CFG_REQUIRED key */
	CFG_VARS = 64,     /* ${lower_case} variables may stand in it; elsewhere they are refused */
	CFG_REPEAT = 128,  /* a CFGT_PAIRS in which a name may have a list of texts: a pair for
			      each */
	CFG_SCHEME = 32,   /* a CFGT_ADDR that may begin with http:// or https://, which is left out
			      of what is bound; the latter's default port is 443 */
};

struct cfg_schema {
	const char *name; /* "pool": what messages call one of these */
	size_t size;
	const struct cfg_row *rows; /* ends with CFG_END */
	const char *short_key;      /* a plain scalar x stands for {short_key: x}; may be NULL */
	/*
	 * After all rows of one struct are bound: checks that need several of them. May be NULL.
	 * Not called for an absent mapping, nor when a CFG_REQUIRED scalar is missing or wrong;
	 * other keys that were wrong hold their default. List members without their required
	 * scalars are left out of the list, so what a check sees is sound.
	 */
	void (*check)(
		struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, void *obj);
};

/* Reports an error at the node, or at its key when it has one. */
void cfg_error(struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));

/*
 * Check `node` (a mapping, or NULL for all defaults) against the schema and bind it into obj, which
 * is zeroed first. Every problem is reported: unknown keys with "did you mean", missing ones, wrong
 * types, ranges. `path` is the prefix for messages. `other_keys` (may be NULL, NULL-terminated) are
 * keys that belong to somebody else and are skipped.
 */
void cfg_bind(struct cfg_ctx *ctx, const struct cfg_schema *schema, const struct cfg_node *node,
	const char *path, const char *const *other_keys, void *obj);

/* Add "path", value and origin ("default" or "file:line") of every key of the schema to a JSON
 * array (jansson). */
struct json_t;
void cfg_dump(const struct cfg *cfg, const struct cfg_schema *schema, const struct cfg_node *node,
	const char *path, struct json_t *array);

/* Reports every CFG_RESTART key that differs between two trees, as a warning into errs. */
void cfg_restart_diff(const struct cfg *before, const struct cfg *after,
	const struct cfg_schema *schema, const struct cfg_node *a, const struct cfg_node *b,
	const char *path, struct errs *errs);

/* Walk the schema: fn gets the dotted path ("http.listen[].address", "pools.NAME.balance") of every
 * key. */
void cfg_schema_walk(const struct cfg_schema *schema, const char *path,
	void (*fn)(void *arg, const char *path, const struct cfg_row *row), void *arg);

/* Add an object for every key of the schema to a JSON array: path, type, unit, default, choices,
 * min, max, required, restart, help; default_port for addresses. For `--schema` and the man-page
 * check. */
void cfg_schema_dump(const struct cfg_schema *schema, const char *path, struct json_t *array);
/* How types are called there: "duration". */
const char *cfg_type_name(enum cfg_type type);

#endif
