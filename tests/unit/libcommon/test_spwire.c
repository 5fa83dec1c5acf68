/* spwire: frames from exact-size copies, whole, byte by byte, and cut at each point. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "libcommon/spwire.h"

#define PUB_HELLO        "\0SP\0\0\x20\0\0"
#define FRAME(len, text) "\x01\0\0\0\0\0\0\0" len text

static const struct row {
	const char *name;
	struct slice bytes;
	int messages;       /* whole ones */
	const char *reason; /* NULL: fine */
} rows[] = {
	{ "greeting alone", { PUB_HELLO, 8 }, 0, NULL },
	{ "one message", { PUB_HELLO FRAME("\3", "abc"), 20 }, 1, NULL },
	{ "an empty message", { PUB_HELLO FRAME("\0", ""), 17 }, 1, NULL },
	{ "two messages", { PUB_HELLO FRAME("\1", "a") FRAME("\2", "bc"), 29 }, 2, NULL },
	{ "half a message", { PUB_HELLO FRAME("\5", "abc"), 20 }, 0, NULL },
	{ "the longest allowed", { PUB_HELLO FRAME("\x10", "0123456789abcdef"), 33 }, 1, NULL },
	{ "one byte too long", { PUB_HELLO FRAME("\x11", "0123456789abcdefg"), 34 }, 0,
		"too_long" },
	{ "absurdly long", { PUB_HELLO "\x01\xff\xff\xff\xff\xff\xff\xff\xff", 17 }, 0,
		"too_long" },
	{ "a type of its own", { PUB_HELLO "\x02\0\0\0\0\0\0\0\1a", 18 }, 0, "bad_type" },
	{ "another protocol", { "\0SP\0\0\x21\0\0", 8 }, 0, "bad_greeting" },
	{ "another version", { "\0SP\1\0\x20\0\0", 8 }, 0, "bad_greeting" },
	{ "no SP at all", { "GET / HTTP/1.1\r\n\r\n", 18 }, 0, "bad_greeting" },
	{ "reserved bytes set", { "\0SP\0\0\x20\0\1", 8 }, 0, "bad_greeting" },
};

/* Feed the first `step` bytes, then one more at a time; counts messages and gives the reason. */
static int
feed(const struct row *r, size_t step, const char **reason)
{
	struct spwire w = { .peer = SPWIRE_PUB, .max = 16 };
	size_t done = 0;
	int messages = 0;

	*reason = NULL;
	for (size_t n = step; n <= r->bytes.n; n++) {
		size_t len = n - done;
		char *copy = malloc(len ? len : 1);
		size_t at = 0;
		ssize_t used = 1;

		memcpy(copy, r->bytes.p + done, len);
		while (used > 0) {
			struct slice msg;

			used = spwire_next(&w, copy + at, len - at, &msg, reason);
			if (used > 0)
				at += (size_t)used;
			if (msg.p)
				messages++;
		}
		free(copy);
		if (used < 0)
			return messages;
		done += at;
	}
	return messages;
}

static void
test_frames(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t step = 0; step <= rows[i].bytes.n; step++) {
			const char *reason;
			int messages = feed(&rows[i], step, &reason);

			if (messages != rows[i].messages || !reason != !rows[i].reason ||
				(reason && strcmp(reason, rows[i].reason) != 0))
				fail_msg("%s, first piece of %zu: %d messages, reason %s",
					rows[i].name, step, messages, reason ? reason : "none");
		}
	}
}

static void
test_header_is_read_back(void **state)
{
	char out[SPWIRE_GREETING + SPWIRE_HEADER + 300] = { 0 };
	struct spwire w = { .peer = SPWIRE_SUB, .max = 300 };
	struct slice msg;
	const char *reason;

	(void)state;
	spwire_greeting(SPWIRE_SUB, out);
	spwire_header(300, out + SPWIRE_GREETING);
	assert_int_equal(spwire_next(&w, out, sizeof(out), &msg, &reason), SPWIRE_GREETING);
	assert_int_equal(spwire_next(&w, out + SPWIRE_GREETING, sizeof(out) - SPWIRE_GREETING, &msg,
				 &reason),
		SPWIRE_HEADER + 300);
	assert_int_equal(msg.n, 300);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_header_is_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
