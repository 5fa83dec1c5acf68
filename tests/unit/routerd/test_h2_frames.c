/* Frames in bytes that come in any pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/mem.h"
#include "routerd/h2_frames.h"

/* A preface of 24; SETTINGS; 3 bytes of DATA; one unknown; PRIORITY_UPDATE; an empty unknown one at
 * the end. */
static const char session[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
			      "\0\0\0\4\0\0\0\0\0"
			      "\0\0\3\0\0\0\0\0\1abc"
			      "\0\0\5\x42\0\0\0\0\1\0\0\0\x42\0"
			      "\0\0\4\x10\0\0\0\0\0\0\0\0\1"
			      "\0\0\0\xff\xff\0\0\0\0";
#define SESSION (sizeof(session) - 1)

/* From exact-size copies, so that the sanitizer sees a byte too far. */
static void
walk(struct h2_frames *f, const char *p, size_t n)
{
	char *copy = xmalloc(n ? n : 1);

	memcpy(copy, p, n);
	h2_frames_walk(f, copy, n);
	free(copy);
}

static void
whole(void **state)
{
	struct h2_frames f;

	(void)state;
	h2_frames_init(&f, 24, 16);
	walk(&f, session, SESSION);
	assert_int_equal(f.all, 5);
	assert_int_equal(f.unknown, 2);
	h2_frames_init(&f, 24, 9);
	walk(&f, session, SESSION);
	assert_int_equal(f.all, 5);
	assert_int_equal(f.unknown, 3);
}

static void
byte_by_byte(void **state)
{
	struct h2_frames f;

	(void)state;
	h2_frames_init(&f, 24, 16);
	for (size_t i = 0; i < SESSION; i++)
		walk(&f, session + i, 1);
	assert_int_equal(f.all, 5);
	assert_int_equal(f.unknown, 2);
}

static void
split_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i <= SESSION; i++) {
		struct h2_frames f;

		h2_frames_init(&f, 24, 16);
		walk(&f, session, i);
		walk(&f, session + i, SESSION - i);
		assert_int_equal(f.all, 5);
		assert_int_equal(f.unknown, 2);
	}
}

static void
a_frame_counts_when_its_header_is_there(void **state)
{
	struct h2_frames f;

	(void)state;
	h2_frames_init(&f, 0, 16);
	walk(&f, "\0\0\3\0\0\0\0\0", 8);
	assert_int_equal(f.all, 0);
	walk(&f, "\1", 1);
	assert_int_equal(f.all, 1);
	walk(&f, "ab", 2);
	walk(&f, "c\xff\xff\xff\x7f\0\0\0\0\0", 10);
	assert_int_equal(f.all, 2);
	assert_int_equal(f.unknown, 1);
	assert_int_equal(f.skip, 0xffffff);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(split_anywhere),
		cmocka_unit_test(a_frame_counts_when_its_header_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
