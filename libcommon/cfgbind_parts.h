/*
 * cfgbind_parts: what the files of cfgbind share among themselves; nobody else includes it.
 */
#ifndef LIBCOMMON_CFGBIND_PARTS_H
#define LIBCOMMON_CFGBIND_PARTS_H

#include "libcommon/cfgbind.h"

/* cfgbind_types.c */

/* Whether one scalar makes the value: not a list, not a struct, not CFGT_CUSTOM. */
bool cfg_type_is_scalar(enum cfg_type type);
/* Lists of scalars: the type of a member (CFGT_END for other types) and its size. */
bool cfg_type_is_scalar_list(enum cfg_type type);
size_t cfg_item_size(enum cfg_type list_type);
/*
 * One scalar, or one member of a list of scalars, into *out. false, and what is wrong with it in
 * `why` ("problem, what was expected").
 */
bool cfg_value_parse(const struct cfg *cfg, struct arena *a, const struct cfg_row *row,
	struct slice text, void *out, struct sbuf *why);
/* Adds what such a key wants: "a whole number from 1 to 256". */
void cfg_expected(const struct cfg_row *row, struct sbuf *out);

/* cfgbind.c */

bool cfg_row_has_key(const struct cfg_row *row);
/*
 * The mapping that a struct is bound from: the node itself, or {short_key: scalar} made in the
 * arena. NULL when the node is neither.
 */
const struct cfg_node *cfg_as_mapping(
	struct arena *a, const struct cfg_schema *schema, const struct cfg_node *node);

#endif
