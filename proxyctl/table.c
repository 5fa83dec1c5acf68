/*
 * table: widths are taken over all rows, then everything is printed once.
 */
#include "proxyctl/table.h"

#include <stdarg.h>
#include <stdlib.h>

#include "libcommon/mem.h"
#include "proxyctl/plain.h"

static const char *const codes[] = {
	[TINT_NONE] = "",
	[TINT_BOLD] = "\033[1m",
	[TINT_DIM] = "\033[2m",
	[TINT_GREEN] = "\033[32m",
	[TINT_YELLOW] = "\033[33m",
	[TINT_RED] = "\033[31m",
};

void
table_init(struct table *t, const char *const *titles)
{
	*t = (struct table){ 0 };
	while (titles[t->columns] != NULL) {
		t->is_right[t->columns] = titles[t->columns][0] == '-';
		t->columns++;
	}
	for (size_t i = 0; i < t->columns; i++)
		table_add(t, TINT_DIM, "%s", titles[i] + t->is_right[i]);
}

void
table_fini(struct table *t)
{
	for (size_t r = 0; r < t->n; r++)
		for (size_t c = 0; c < t->columns; c++)
			free(t->rows[r][c].text);
	free(t->rows);
	*t = (struct table){ 0 };
}

void
table_add(struct table *t, enum tint tint, const char *fmt, ...)
{
	struct sbuf said = { 0 };
	struct sbuf text = { 0 };
	va_list ap;

	if (t->at == t->columns || t->n == 0) {
		if (t->n == t->cap) {
			t->cap = t->cap != 0 ? t->cap * 2 : 16;
			t->rows = xreallocarray(t->rows, t->cap, sizeof(*t->rows));
		}
		memset(t->rows[t->n], 0, sizeof(*t->rows));
		t->n++;
		t->at = 0;
	}
	va_start(ap, fmt);
	sbuf_vaddf(&said, fmt, ap);
	va_end(ap);
	plain_add(&text, sbuf_str(&said), PLAIN_ONE_LINE);
	sbuf_fini(&said);
	t->rows[t->n - 1][t->at++] = (struct table_cell){ sbuf_take(&text), tint };
}

void
table_add_duration(struct table *t, enum tint tint, int64_t ms)
{
	long long s = ms / 1000;

	if (ms < 10000)
		table_add(t, tint, "%lld.%llds", s, (long long)(ms % 1000 / 100));
	else if (s < 60)
		table_add(t, tint, "%llds", s);
	else if (s < 3600)
		table_add(t, tint, "%lldm%02llds", s / 60, s % 60);
	else if (s < 86400)
		table_add(t, tint, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else
		table_add(t, tint, "%lldd%02lldh", s / 86400, s / 3600 % 24);
}

/* How many places a text takes: bytes that continue a UTF-8 character take none. */
static size_t
width(const char *s)
{
	size_t n = 0;

	for (; s != NULL && *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void
pad(struct sbuf *out, size_t n)
{
	while (n-- > 0)
		sbuf_addc(out, ' ');
}

void
tint_add(struct sbuf *out, bool is_coloured, enum tint tint, const char *text)
{
	bool is_tinted = is_coloured && tint != TINT_NONE;

	if (is_tinted)
		sbuf_adds(out, codes[tint]);
	plain_add(out, text, PLAIN_ONE_LINE);
	if (is_tinted)
		sbuf_adds(out, "\033[0m");
}

void
table_format(const struct table *t, bool is_coloured, struct sbuf *out)
{
	size_t widths[TABLE_COLUMNS_MAX] = { 0 };

	for (size_t r = 0; r < t->n; r++)
		for (size_t c = 0; c < t->columns; c++)
			if (width(t->rows[r][c].text) > widths[c])
				widths[c] = width(t->rows[r][c].text);
	for (size_t r = 0; r < t->n; r++) {
		for (size_t c = 0; c < t->columns; c++) {
			const struct table_cell *cell = &t->rows[r][c];
			const char *text = cell->text ? cell->text : "";
			size_t space = widths[c] - width(text);
			bool is_last = c + 1 == t->columns;

			pad(out, t->is_right[c] ? space : 0);
			tint_add(out, is_coloured, cell->tint, text);
			pad(out, is_last ? 0 : 2 + (t->is_right[c] ? 0 : space));
		}
		sbuf_addc(out, '\n');
	}
}
