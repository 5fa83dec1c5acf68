/*
 * ctlproto: the control line as bytes: words, quotes, the `json` prefix and its limits. Pure: both
 * ends of a control socket use it, and it is what the fuzzer feeds.
 *
 * Words are separated by blanks. "..." keeps blanks and knows \" and \\, '...' keeps everything,
 * a backslash outside of quotes keeps the next byte. Control characters are refused anywhere.
 */
#ifndef LIBCOMMON_CTLPROTO_H
#define LIBCOMMON_CTLPROTO_H

#include "libcommon/slice.h"

#define CTL_WORDS_MAX 32
#define CTL_LINE_MAX  4096

struct ctlproto_line {
	bool is_json;
	size_t n;                             /* words, without `json` */
	const char *words[CTL_WORDS_MAX + 1]; /* NULL-terminated; they point into text */
	char text[CTL_LINE_MAX + 1];
};

/*
 * Split a line, without its newline (a CR before it is dropped). NULL, or a constant reason why it
 * is none; out is then not to be used. An empty line is refused too.
 */
const char *ctlproto_parse(struct slice line, struct ctlproto_line *out);

struct sbuf;
/* Append a blank (unless the line is empty) and the word, quoted when it needs to be. */
void ctlproto_add_word(struct sbuf *line, const char *word);

#endif
