/*
 * cfg_env: replaces ${NAME} in one scalar. The rule in one place: a name that begins with a capital
 * or an underscore is the environment's; one that begins with a small letter is a variable of ours
 * and stays; $$ is a dollar sign; any other $ stands for itself. What is inserted is not looked at
 * again: where our variables begin is told beside the text, so that one that is inserted, or
 * written
 * $${name}, is none.
 */
#include "libcommon/cfg_parts.h"

#include <stdlib.h>

static bool
is_name_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		c == '_';
}

bool
cfg_env_has(struct slice text)
{
	for (size_t i = 0; i + 1 < text.n; i++)
		if (text.p[i] == '$' && (text.p[i + 1] == '$' || text.p[i + 1] == '{'))
			return true;
	return false;
}

/* How many bytes the UTF-8 sequence at the front has; 0 when it is malformed, overlong, a
 * surrogate or beyond U+10FFFF. */
static size_t
utf8_len(struct slice s)
{
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : 4;
	unsigned char second;

	if (n == 1)
		return 1;
	if (c < 0xc2 || c > 0xf4 || s.n < n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return 0;
	second = (unsigned char)s.p[1];
	if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
		(c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
		return 0;
	return n;
}

static bool
is_utf8(struct slice s)
{
	while (s.n > 0) {
		size_t n = utf8_len(s);

		if (n == 0)
			return false;
		s = slice_skip(s, n);
	}
	return true;
}

static int
bad_variable(struct slice text, struct err *err)
{
	struct sbuf shown = { 0 };

	cfg_quote(&shown, text);
	err_set(err, "%s: expected ${NAME} with letters, digits and _, or $$ for a dollar sign",
		shown.p);
	sbuf_fini(&shown);
	return -1;
}

static int
add_value(struct slice name, struct sbuf *out, struct err *err)
{
	char buf[128];
	const char *value;

	if (name.n >= sizeof(buf))
		return err_set(err, "the name of an environment variable has over %zu bytes",
			sizeof(buf) - 1);
	memcpy(buf, name.p, name.n);
	buf[name.n] = '\0';
	value = getenv(buf);
	if (value == NULL)
		return err_set(err, "${%s}: the environment variable %s is not set", buf, buf);
	if (!is_utf8(slice_str(value)))
		return err_set(err, "${%s}: the environment variable %s is not UTF-8", buf, buf);
	sbuf_adds(out, value);
	return 0;
}

/* rest begins with "${". */
static int
expand_one(struct slice *rest, struct sbuf *out, bool *is_var, struct err *err)
{
	size_t n = 2;
	struct slice name;

	while (n < rest->n && is_name_char(rest->p[n]))
		n++;
	if (n == rest->n || rest->p[n] != '}' || n == 2 || (rest->p[2] >= '0' && rest->p[2] <= '9'))
		return bad_variable(*rest, err);
	name = slice_make(rest->p + 2, n - 2);
	*is_var = name.p[0] >= 'a' && name.p[0] <= 'z';
	if (*is_var)
		sbuf_add(out, rest->p, n + 1);
	else if (add_value(name, out, err) < 0)
		return -1;
	*rest = slice_skip(*rest, n + 1);
	return 0;
}

int
cfg_env_expand(struct slice text, struct sbuf *out, void (*on_var)(void *arg, size_t at), void *arg,
	struct err *err)
{
	while (text.n > 0) {
		size_t plain = slice_find(text, '$');

		sbuf_add(out, text.p, plain);
		text = slice_skip(text, plain);
		if (text.n == 0)
			break;
		if (text.n > 1 && text.p[1] == '{') {
			size_t at = out->n;
			bool is_var;

			if (expand_one(&text, out, &is_var, err) < 0)
				return -1;
			if (is_var)
				on_var(arg, at);
		} else {
			sbuf_addc(out, '$');
			text = slice_skip(text, text.n > 1 && text.p[1] == '$' ? 2 : 1);
		}
		if (out->n > CFG_BYTES_MAX)
			return err_set(err, "grows beyond %u MB when variables are replaced",
				CFG_BYTES_MAX >> 20);
	}
	return 0;
}
