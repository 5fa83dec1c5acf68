/*
 * findings: to and from JSON. What comes from another program is taken as it is: missing members
 * are empty.
 */
#include "proxyctl/findings.h"

#include <jansson.h>
#include <string.h>

json_t *
findings_json(const struct errs *errs)
{
	json_t *array = json_array();

	for (size_t i = 0; i < errs->n; i++) {
		const struct finding *f = &errs->v[i];

		json_array_append_new(array,
			json_pack("{s:s?,s:i,s:i,s:s,s:s,s:s}", "file", f->file, "line",
				(int)f->line, "col", (int)f->col, "level",
				f->level == FINDING_ERROR ? "error" : "warning", "path", f->path,
				"text", f->text));
	}
	return array;
}

static void
add_one(struct errs *errs, const json_t *o)
{
	const char *level = json_string_value(json_object_get(o, "level"));
	const char *path = json_string_value(json_object_get(o, "path"));
	const char *text = json_string_value(json_object_get(o, "text"));
	struct err_at at = {
		.file = json_string_value(json_object_get(o, "file")),
		.line = (unsigned)json_integer_value(json_object_get(o, "line")),
		.col = (unsigned)json_integer_value(json_object_get(o, "col")),
	};

	errs_add(errs,
		level != NULL && strcmp(level, "warning") == 0 ? FINDING_WARNING : FINDING_ERROR,
		at, path, "%s", text ? text : "");
}

void
findings_add(struct errs *errs, const json_t *array)
{
	size_t i;
	const json_t *o;

	json_array_foreach(array, i, o)
	{
		add_one(errs, o);
	}
}
