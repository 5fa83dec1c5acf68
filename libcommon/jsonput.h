/*
 * jsonput: members of an object that is being told: numbers, truths, and texts, of which one that
 * is NULL is null.
 */
#ifndef LIBCOMMON_JSONPUT_H
#define LIBCOMMON_JSONPUT_H

#include <jansson.h>
#include <stdbool.h>

static inline void
jsonput_int(json_t *o, const char *key, json_int_t v)
{
	json_object_set_new(o, key, json_integer(v));
}

static inline void
jsonput_bool(json_t *o, const char *key, bool v)
{
	json_object_set_new(o, key, json_boolean(v));
}

static inline void
jsonput_text(json_t *o, const char *key, const char *v)
{
	json_object_set_new(o, key, v != NULL ? json_string(v) : json_null());
}

#endif
