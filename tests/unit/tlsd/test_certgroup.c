/*
 * certgroup: which certificates are shown together, and for which names.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "libcommon/sbuf.h"
#include "tlsd/certgroup.h"

enum { CERTS = 4, NAMES = 3 };

/* An address stands behind all DNS names. */
static struct cert
make(const char *const names[NAMES])
{
	struct cert c = { .names = (char **)(uintptr_t)names };

	for (; c.nnames < NAMES && names[c.nnames] != NULL; c.nnames++)
		c.ndns += strchr(names[c.nnames], ':') == NULL;
	return c;
}

static void
add_certs(struct sbuf *out, const uint32_t *certs, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		sbuf_addf(out, "%s%u", i > 0 ? "," : "", certs[i]);
}

/* "0,2 b:1 2": clients without a name are shown 0 and 2, those who ask for b 1; there are 2 groups.
 */
static char *
tell(const struct certgroups *gs, struct sni_index *index, const char *asked)
{
	const struct sni_entry *e = sni_find(index, slice_str(asked));
	struct sbuf out = { 0 };

	add_certs(&out, gs->v[0].certs, gs->v[0].count);
	sbuf_addf(&out, " %s:", asked);
	if (e != NULL)
		add_certs(&out, gs->v[e->group].certs, gs->v[e->group].count);
	sbuf_addf(&out, " %zu", gs->n);
	return sbuf_take(&out);
}

static void
groups(void **state)
{
	static const struct {
		size_t n;
		const char *names[CERTS][NAMES];
		const char *asked;
		const char *told;
	} cases[] = {
		{ 1, { { "a" } }, "a", "0 a:0 1" },
		{ 1, { { "a" } }, "b", "0 b: 1" },
		{ 2, { { "a" }, { "b" } }, "b", "0 b:1 2" },
		{ 2, { { "a", "b" }, { "b", "c" } }, "a", "0 a:0 3" },
		{ 2, { { "a", "b" }, { "b", "c" } }, "b", "0 b:0,1 3" },
		{ 2, { { "a", "b" }, { "b", "c" } }, "c", "0 c:1 3" },
		{ 2, { { "a", "b" }, { "a", "b" } }, "b", "0,1 b:0,1 1" },
		{ 2, { { "a", "b" }, { "A", "c" } }, "b", "0,1 b:0 3" },
		{ 4, { { "a" }, { "b" }, { "a" }, { "b" } }, "b", "0,2 b:1,3 2" },
		{ 3, { { "a", "b", "c" }, { "b" }, { "c" } }, "b", "0 b:0,1 3" },
		{ 3, { { "a", "b", "c" }, { "b" }, { "c" } }, "c", "0 c:0,2 3" },
		{ 3, { { "a", "b", "c" }, { "b", "c" }, { "c" } }, "c", "0 c:0,1,2 3" },
		{ 2, { { "a", "*.a" }, { "x.a" } }, "y.a", "0 y.a:0 2" },
		{ 2, { { "a", "*.a" }, { "x.a" } }, "x.a", "0 x.a:1 2" },
		{ 1, { { "a", "::1" } }, "::1", "0 ::1: 1" },
		/* One that has no name is like no other. */
		{ 3, { { NULL }, { NULL }, { "a" } }, "a", "0 a:2 2" },
		{ 2, { { "::1" }, { "::1", NULL } }, "a", "0,1 a: 1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cert certs[CERTS];
		struct cert *all[CERTS];
		struct sni_index *index = sni_new();
		struct certgroups gs;

		for (size_t j = 0; j < cases[i].n; j++) {
			certs[j] = make(cases[i].names[j]);
			all[j] = &certs[j];
		}
		certgroups_make(&gs, index, all, cases[i].n);

		char *told = tell(&gs, index, cases[i].asked);

		assert_string_equal(told, cases[i].told);
		free(told);
		certgroups_fini(&gs);
		sni_free(index);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
