/*
 * cfg_rest: what can be read of a file that is no YAML, since somebody is in the middle of editing
 * it: the part in which reading ends is made blank, so that lines keep their numbers, until the
 * rest can be read. Who opened a bracket that is never closed is found that way, too, as what is
 * behind goes first.
 */
#include "libcommon/cfg_parts.h"

#include <stdlib.h>

enum { TRIES_MAX = 64 };

/* Whether a key of the document may begin here. */
static bool
begins_part(char c)
{
	return c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != '#' && c != '-' &&
		c != ']' && c != '}';
}

/* Blank the last part that begins on that line (from 1) or above it; false when there is none. */
static bool
blank_part(char *text, size_t n, unsigned line)
{
	size_t start = n;
	size_t end = n;
	unsigned at = 1;

	for (size_t i = 0; i < n && end == n; i++) {
		if ((i == 0 || text[i - 1] == '\n') && begins_part(text[i])) {
			if (at <= line)
				start = i;
			else if (start < n)
				end = i;
		}
		at += text[i] == '\n';
	}
	if (start == n)
		return false;
	for (size_t i = start; i < end; i++)
		if (text[i] != '\n')
			text[i] = ' ';
	return true;
}

struct cfg *
cfg_parse_rest(const char *name, const char *dir, struct slice text)
{
	char *copy = xmalloc(text.n + 1);
	struct cfg *c = NULL;

	if (text.n > 0)
		memcpy(copy, text.p, text.n);
	for (int i = 0; i < TRIES_MAX && c == NULL; i++) {
		struct errs errs = { 0 };

		c = cfg_parse(name, dir, slice_make(copy, text.n), &errs);

		/* The last is what has ended it. */
		bool is_less = c != NULL ||
			(errs.n > 0 && blank_part(copy, text.n, errs.v[errs.n - 1].line));

		errs_fini(&errs);
		if (!is_less)
			break;
	}
	free(copy);
	return c;
}
