/*
 * template: a text of the configuration with variables in it, parsed once and put together for each
 * request. Pure.
 */
#ifndef ROUTERD_TEMPLATE_H
#define ROUTERD_TEMPLATE_H

#include "libcommon/cfg.h"
#include "routerd/vars.h"

/* Pieces that a text may have. */
#define TEMPLATE_PARTS_MAX 128

struct template_part {
	bool is_var;
	struct var var;
	struct slice text; /* of a literal piece; never empty */
};

struct template
{
	const struct template_part *parts; /* in the arena it was parsed with */
	size_t count;
};

/* A scalar of the configuration, whose text must live as long as t. NULL, or a message for its
 * author, in a, too. */
const char *template_parse(
	const struct cfg_node *node, enum var_when when, struct template *t, struct arena *a);

/* All bytes as they are; good as long as t, the source and the arena. */
struct slice template_text(const struct template *t, const struct var_source *s, struct arena *a);

/*
 * The same as the value of a field (RFC 9110 §5.5): without blanks around it, and with a space for
 * each byte that must not stand there, so that no variable ends a line whatever its source let in.
 */
struct slice template_value(const struct template *t, const struct var_source *s, struct arena *a);

#endif
