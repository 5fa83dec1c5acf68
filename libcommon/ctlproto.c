/*
 * ctlproto: one pass over the line that copies words to a second buffer, which never grows beyond
 * the line itself, so the bound is checked once.
 */
#include "libcommon/ctlproto.h"

#include "libcommon/sbuf.h"

struct splitter {
	struct slice in;
	size_t i;
	char *out;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* "..." from the byte after the quote; false when it never ends. */
static bool
take_double(struct splitter *s)
{
	while (s->i < s->in.n) {
		char c = s->in.p[s->i++];

		if (c == '"')
			return true;
		if (c == '\\' && s->i < s->in.n)
			c = s->in.p[s->i++];
		*s->out++ = c;
	}
	return false;
}

static bool
take_single(struct splitter *s)
{
	while (s->i < s->in.n) {
		char c = s->in.p[s->i++];

		if (c == '\'')
			return true;
		*s->out++ = c;
	}
	return false;
}

/* The word that starts at s->i, copied and NUL-terminated. */
static const char *
take_word(struct splitter *s)
{
	while (s->i < s->in.n && !is_blank(s->in.p[s->i])) {
		char c = s->in.p[s->i++];

		if (c == '"') {
			if (!take_double(s))
				return "a quote is not closed";
		} else if (c == '\'') {
			if (!take_single(s))
				return "a quote is not closed";
		} else if (c == '\\') {
			if (s->i == s->in.n)
				return "a backslash ends the line";
			*s->out++ = s->in.p[s->i++];
		} else {
			*s->out++ = c;
		}
	}
	*s->out++ = '\0';
	return NULL;
}

static const char *
check_bytes(struct slice line)
{
	if (line.n >= CTL_LINE_MAX)
		return "the line is too long";
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return "the line has a control character";
	}
	return NULL;
}

static void
drop_json(struct ctlproto_line *l)
{
	l->is_json = true;
	l->n--;
	memmove(l->words, l->words + 1, (l->n + 1) * sizeof(*l->words));
}

const char *
ctlproto_parse(struct slice line, struct ctlproto_line *out)
{
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;

	const char *why = check_bytes(line);

	if (why != NULL)
		return why;

	/* Each word takes at most its own bytes and the blank or the end after it for its NUL. */
	struct splitter s = { .in = line, .out = out->text };

	out->is_json = false;
	out->n = 0;
	for (;;) {
		while (s.i < line.n && is_blank(line.p[s.i]))
			s.i++;
		if (s.i == line.n)
			break;
		if (out->n == CTL_WORDS_MAX)
			return "the line has too many words";
		out->words[out->n++] = s.out;
		why = take_word(&s);
		if (why != NULL)
			return why;
	}
	out->words[out->n] = NULL;
	if (out->n > 0 && strcmp(out->words[0], "json") == 0)
		drop_json(out);
	return out->n > 0 ? NULL : "the line has no command; try: help";
}

void
ctlproto_add_word(struct sbuf *line, const char *word)
{
	if (line->n > 0)
		sbuf_addc(line, ' ');
	if (word[0] != '\0' && strpbrk(word, " \t\"'\\") == NULL) {
		sbuf_adds(line, word);
		return;
	}
	sbuf_addc(line, '"');
	for (const char *p = word; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			sbuf_addc(line, '\\');
		sbuf_addc(line, *p);
	}
	sbuf_addc(line, '"');
}
