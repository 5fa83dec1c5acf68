/*
 * cfg_syntax: what libyaml refuses, in words for whoever wrote the file: with the line and column
 * where to look, and a hint where its own words lead astray.
 */
#include "libcommon/cfg_parts.h"

#include <yaml.h>

/* libyaml gives the offset of a byte it cannot read, not its line. */
static struct err_at
offset_at(const char *file, struct slice text, size_t offset)
{
	unsigned line = 1;
	unsigned col = 1;

	for (size_t i = 0; i < offset && i < text.n; i++) {
		if (text.p[i] == '\n') {
			line++;
			col = 1;
		} else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
			col++;
		}
	}
	return (struct err_at){ file, line, col };
}

static void
reader_error(const yaml_parser_t *p, const char *file, struct slice text, struct errs *errs)
{
	size_t offset = p->problem_offset;
	struct err_at at = offset_at(file, text, offset);
	unsigned byte = offset < text.n ? (unsigned char)text.p[offset] : 0;

	if (strstr(p->problem, "control") != NULL)
		cfg_report(errs, at, "", "a control character (0x%02x), expected text",
			(unsigned)p->problem_value);
	else
		cfg_report(errs, at, "", "not UTF-8 (byte 0x%02x), expected UTF-8 text", byte);
}

static struct slice
line_of(struct slice text, size_t line)
{
	struct slice rest = text;
	struct slice s = { 0 };

	for (size_t i = 0; i <= line; i++)
		if (!slice_next(&rest, '\n', &s))
			return (struct slice){ 0 };
	return s;
}

/* Whether the blanks that a line begins with hold a tab; its column, from 1, or 0. */
static unsigned
tab_in_indent(struct slice line)
{
	for (size_t i = 0; i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'); i++)
		if (line.p[i] == '\t')
			return (unsigned)i + 1;
	return 0;
}

/* Braces end plain text within [] and {}: the one trap of ${NAME} that YAML has. */
static const char *
hint(struct slice line)
{
	for (size_t i = 0; i + 1 < line.n; i++)
		if (line.p[i] == '$' && line.p[i + 1] == '{')
			return " (${NAME} needs quotes within [] and {})";
	return "";
}

void
cfg_syntax_report(const yaml_parser_t *p, const char *file, struct slice text, struct errs *errs)
{
	struct err_at at = { file, (unsigned)p->problem_mark.line + 1,
		(unsigned)p->problem_mark.column + 1 };
	struct slice line = line_of(text, p->problem_mark.line);
	unsigned tab = tab_in_indent(line);

	if (p->error == YAML_MEMORY_ERROR || p->problem == NULL) {
		cfg_report(errs, at, "", "out of memory");
	} else if (p->error == YAML_READER_ERROR) {
		reader_error(p, file, text, errs);
	} else if (tab > 0) {
		at.col = tab;
		cfg_report(errs, at, "", "a tab in the indentation, expected spaces");
	} else if (p->context != NULL) {
		cfg_report(errs, at, "", "not valid YAML: %s, %s that begins at %zu:%zu%s",
			p->problem, p->context, p->context_mark.line + 1,
			p->context_mark.column + 1, hint(line));
	} else {
		cfg_report(errs, at, "", "not valid YAML: %s%s", p->problem, hint(line));
	}
}
