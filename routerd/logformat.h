/*
 * logformat: an access log line as the configuration wants it: one of the two that need none of its
 * words (accesslog_format), a text with variables, or JSON with members of the operator's own.
 * Compiled once; pure. Whatever a request brings, a line is one line of at most ACCESSLOG_LINE_MAX
 * bytes, has all its literal text, and no value goes on behind what ends it: values are escaped,
 * and cut where there is no room.
 */
#ifndef ROUTERD_LOGFORMAT_H
#define ROUTERD_LOGFORMAT_H

#include "routerd/accesslog.h"
#include "routerd/config.h"
#include "routerd/vars.h"

/* Memory for a value while it is written; a longer one, of which no head is, comes from the heap.
 */
#define LOGFORMAT_SCRATCH (96u << 10)

struct logformat_member;

struct logformat {
	enum log_format kind;
	const struct logformat_member *members; /* a text is one without a name */
	size_t count;
	size_t needs; /* bytes that the members cannot do without */
	/* ${upstream_http_NAME}: fields of answers that must be kept until then */
	const struct var *answer_fields;
	size_t answer_field_count;
};

/* Reports what is wrong with http->access_log, and fills what follows from its text. */
void logformat_check(
	struct cfg_ctx *ctx, const struct cfg_node *node, const char *path, struct httpcfg *http);
/* Of a configuration that has been checked, which must live as long as a. */
const struct logformat *logformat_new(const struct httpcfg *http, struct arena *a);

/*
 * One line, newline included. s and scratch, LOGFORMAT_SCRATCH bytes, are used by formats with
 * members only. 0 when it does not fit, which cap >= ACCESSLOG_LINE_MAX rules out.
 */
size_t logformat_line(const struct logformat *f, char *out, size_t cap,
	const struct access_entry *e, const struct var_source *s, char *scratch);

#endif
