/* plain: see the header. */
#include "proxyctl/plain.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* C0 and DEL; C1 (U+0080 to U+009F), which terminals obey in UTF-8 as well. */
static size_t
control_len(const char *p)
{
	unsigned char c = (unsigned char)p[0];
	unsigned char next = (unsigned char)p[c != '\0'];

	if (c < 0x20 || c == 0x7f)
		return 1;
	return c == 0xc2 && next >= 0x80 && next < 0xa0 ? 2 : 0;
}

void
plain_add(struct sbuf *out, const char *text, enum plain_lines lines)
{
	while (*text != '\0') {
		bool is_kept = *text == '\n' && lines == PLAIN_LINES;
		size_t n = is_kept ? 0 : control_len(text);

		sbuf_addc(out, n > 0 ? '?' : *text);
		text += n > 0 ? n : 1;
	}
}

/* Those of C0 stand between its words only, all others within them. */
void
plain_add_json(struct sbuf *out, struct slice text)
{
	while (text.n > 0) {
		size_t n = *text.p == '\n' ? 0 : control_len(text.p);

		if (n == 0)
			sbuf_addc(out, *text.p);
		else if ((unsigned char)*text.p < 0x20)
			sbuf_addc(out, ' ');
		else
			sbuf_addf(out, "\\u%04x", (unsigned char)text.p[n - 1]);
		text = slice_skip(text, n > 0 ? n : 1);
	}
}

void
plain_print_json(const struct json_t *json)
{
	char *text = json_dumps(json, JSON_INDENT(1));
	struct sbuf plain = { 0 };

	plain_add_json(&plain, slice_str(text != NULL ? text : "null"));
	puts(sbuf_str(&plain));
	sbuf_fini(&plain);
	free(text);
}
