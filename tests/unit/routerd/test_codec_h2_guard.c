/* What clients of HTTP/2 may cost: who goes beyond is blamed, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/mem.h"
#include "routerd/codec_h2_int.h"

#define RESETS 5
#define FRAMES 10
#define HEAD   1000

struct fixture {
	struct httpcfg http;
	struct snapshot s;
	struct wsnap snap;
	struct worker *w;
	struct conn c;
	struct h2 x;
};

static int
setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->w = xaligned(64, sizeof(*f->w));
	memset(f->w, 0, sizeof(*f->w));
	f->w->loop = loop_new();
	f->w->snap = &f->snap;
	f->snap.s = &f->s;
	f->s.http = &f->http;
	f->http.limits.h2_resets = RESETS;
	f->http.limits.h2_frames = FRAMES;
	f->http.limits.head = HEAD;
	f->c.w = f->w;
	f->x.c = &f->c;
	h2_guard_init(&f->x);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->w->loop);
	free(f->w);
	free(f);
	return 0;
}

static bool
is_ping_allowed(struct h2 *x)
{
	return h2_guard_frame(x, &(nghttp2_frame_hd){ .type = NGHTTP2_PING });
}

static bool
is_continuation_allowed(struct h2 *x)
{
	return h2_guard_frame(x, &(nghttp2_frame_hd){ .type = NGHTTP2_CONTINUATION });
}

static bool
is_section_allowed(struct h2 *x)
{
	return h2_guard_section(x, HEAD);
}

static const struct {
	const char *reason;
	bool (*spend)(struct h2 *x);
	unsigned allowed;
	enum stat_id counter;
} kinds[] = {
	{ "rapid_reset", h2_guard_reset, RESETS, STAT_H2_RAPID_RESETS },
	{ "ping_flood", is_ping_allowed, FRAMES, STAT_H2_FRAME_FLOODS },
	{ "continuation_flood", is_continuation_allowed, 32, STAT_H2_CONTINUATION_FLOODS },
	{ "header_bomb", is_section_allowed, 8, STAT_H2_HEADER_BOMBS },
};

static uint64_t
blamed(const struct worker *w)
{
	return w->stats[STAT_H2_RAPID_RESETS] + w->stats[STAT_H2_FRAME_FLOODS] +
		w->stats[STAT_H2_CONTINUATION_FLOODS] + w->stats[STAT_H2_HEADER_BOMBS];
}

static void
each_kind_has_its_limit_and_its_counter(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		void *own;
		struct fixture *f;

		setup(&own);
		f = own;
		for (unsigned i = 0; i < kinds[k].allowed; i++)
			assert_true(kinds[k].spend(&f->x));
		assert_null(f->x.abuse);
		assert_false(kinds[k].spend(&f->x));
		assert_string_equal(f->x.abuse, kinds[k].reason);
		h2_guard_tell(&f->x);
		assert_int_equal(f->w->stats[kinds[k].counter], 1);
		assert_int_equal(blamed(f->w), 1);
		assert_true(f->x.is_failed);
		teardown(&own);
	}
}

/* Frames that were under way when it was told, and what the socket takes later: nghttp2 speaks of a
 * frame when it is asked for the next one. */
static void
a_connection_is_blamed_once(void **state)
{
	struct fixture *f = *state;

	while (h2_guard_reset(&f->x))
		;
	h2_guard_tell(&f->x);
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		for (unsigned i = 0; i <= kinds[k].allowed; i++)
			(void)kinds[k].spend(&f->x);
		assert_false(kinds[k].spend(&f->x));
		assert_null(f->x.abuse);
	}
	assert_int_equal(blamed(f->w), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_has_its_limit_and_its_counter),
		cmocka_unit_test_setup_teardown(a_connection_is_blamed_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
