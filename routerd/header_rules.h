/*
 * header_rules: what the configuration does with the fields of a message: hide, set, add, and set
 * where there is none. Merged once from the levels that a route stands in, applied to each message
 * behind forward.c, whose fields they may override. Pure; new values live in the arena.
 */
#ifndef ROUTERD_HEADER_RULES_H
#define ROUTERD_HEADER_RULES_H

#include "routerd/config.h"
#include "routerd/vars.h"

/* Bytes that the values of one message's rules may have in all. */
#define HEADER_RULES_BYTES (64u << 10)

struct header_rules;

/*
 * The rules of levels[0..count), the outermost first; NULL where there are none. For each name the
 * innermost level that mentions it decides. The configuration has been checked.
 */
const struct header_rules *header_rules_new(
	const struct headerset *const *levels, size_t count, enum var_when when, struct arena *a);

enum header_result { HEADERS_OK, HEADERS_TOO_LARGE, HEADERS_BAD_HOST };

/*
 * A request that goes to a server. What a rule sets or hides goes in every spelling that a server
 * may take for it; an empty value sets nothing, and still takes the client's own away. *authority
 * changes when Host is set. m must have room for CONFIG_HEADERS_MAX fields.
 */
enum header_result header_rules_request(const struct header_rules *rules, struct msg *m,
	const struct var_source *s, struct slice *authority, struct arena *a);

/* An answer's final head, whoever made it. Room as above. */
enum header_result header_rules_response(const struct header_rules *rules, struct msg *m,
	const struct var_source *s, struct arena *a);

/* An interim head: what is hidden or set goes, and nothing is added. */
void header_rules_interim(const struct header_rules *rules, struct msg *m);

#endif
