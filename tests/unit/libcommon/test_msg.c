/*
 * msg: every name of the table is found in any case and nothing else is; lists are cut where HTTP
 * cuts them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcommon/msg.h"

static const char *const names[FIELD_COUNT] = {
#define FIELD(id, name, flags) [FIELD_##id] = name,
#include "libcommon/field_names.def"
#undef FIELD
};

static enum field_id
id_of(const char *name)
{
	size_t n = strlen(name);
	char *copy = malloc(n ? n : 1);
	enum field_id id;

	memcpy(copy, name, n);
	id = field_id_of(slice_make(copy, n));
	free(copy);
	return id;
}

static void
knows_every_name_in_any_case(void **state)
{
	char text[64];

	(void)state;
	for (unsigned id = 1; id < FIELD_COUNT; id++) {
		size_t n = strlen(names[id]);

		assert_true(slice_eq(field_name((enum field_id)id), slice_str(names[id])));
		assert_int_equal(id_of(names[id]), id);
		for (unsigned how = 0; how < 3; how++) {
			for (size_t i = 0; i <= n; i++) {
				char lower = ascii_lower(names[id][i]);
				bool is_letter = lower >= 'a' && lower <= 'z';
				bool is_upper = how == 0 || (how == 1 && i % 2);

				text[i] = is_letter && is_upper ? (char)(lower - 0x20) : lower;
			}
			assert_int_equal(id_of(text), id);
		}
	}
}

/* One byte more, less or other is another name: no two names of the table are that close. */
static void
knows_nothing_else(void **state)
{
	char text[64];

	(void)state;
	assert_int_equal(id_of(""), FIELD_OTHER);
	for (unsigned id = 1; id < FIELD_COUNT; id++) {
		size_t n = strlen(names[id]);

		for (size_t i = 0; i < n; i++) {
			strcpy(text, names[id]);
			for (unsigned c = 1; c < 256; c++) {
				text[i] = (char)c;
				if (ascii_lower((char)c) != ascii_lower(names[id][i]))
					assert_int_equal(id_of(text), FIELD_OTHER);
			}
		}
		strcpy(text, names[id]);
		strcat(text, "s");
		assert_int_equal(id_of(text), FIELD_OTHER);
		text[n - 1] = '\0';
		assert_int_not_equal(id_of(text), id);
	}
}

static void
finds_fields(void **state)
{
	struct field fields[3] = {
		{ SLICE("X-Other"), SLICE("1"), FIELD_OTHER, 0 },
		{ SLICE("host"), SLICE("2"), FIELD_HOST, 0 },
		{ SLICE("x-other"), SLICE("3"), FIELD_OTHER, 0 },
	};
	struct msg m;

	(void)state;
	memset(&m, 0xff, sizeof(m));
	msg_init(&m, fields, 3);
	assert_null(msg_field(&m, FIELD_HOST));
	m.field_count = 3;
	m.first[FIELD_HOST] = 2;
	assert_ptr_equal(msg_find(&m, SLICE("HOST")), &fields[1]);
	assert_ptr_equal(msg_find(&m, SLICE("X-OTHER")), &fields[0]);
	assert_null(msg_find(&m, SLICE("Accept")));
	assert_null(msg_find(&m, SLICE("x-othe")));
}

static void
adds_fields(void **state)
{
	struct field fields[4];
	struct msg m;

	(void)state;
	memset(&m, 0xff, sizeof(m));
	msg_init(&m, fields, 4);
	assert_ptr_equal(msg_add(&m, FIELD_OTHER, SLICE("X"), SLICE("1")), &fields[0]);
	msg_add(&m, FIELD_HOST, field_name(FIELD_HOST), SLICE("2"));
	msg_add(&m, FIELD_CONNECTION, field_name(FIELD_CONNECTION), SLICE("close"));
	msg_add(&m, FIELD_HOST, field_name(FIELD_HOST), SLICE("3"));
	assert_int_equal(m.field_count, 4);
	assert_ptr_equal(msg_field(&m, FIELD_HOST), &fields[1]);
	assert_true(slice_eq(fields[3].value, SLICE("3")));
	assert_int_equal(fields[2].flags, field_flags(FIELD_CONNECTION));
	assert_int_equal(fields[0].flags, 0);
}

struct list_case {
	const char *text;
	const char *members[4];
};

static const struct list_case list_cases[] = {
	{ "", { NULL } },
	{ " , ,\t", { NULL } },
	{ "a", { "a" } },
	{ " a , b,c ", { "a", "b", "c" } },
	{ ",a,,b,", { "a", "b" } },
	{ "a=\"x, y\", b", { "a=\"x, y\"", "b" } },
	{ "a=\"x\\\", y\", b", { "a=\"x\\\", y\"", "b" } },
	{ "\"open, b", { "\"open, b" } },
	{ "\"open\\", { "\"open\\" } },
	{ "a b, c\td", { "a b", "c\td" } },
	{ "\\\"a, b\"", { "\\\"a, b\"" } },
};

static void
cuts_lists(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(list_cases) / sizeof(*list_cases); i++) {
		size_t n = strlen(list_cases[i].text);
		char *copy = malloc(n ? n : 1);
		struct slice rest = slice_make(copy, n);
		struct slice member;
		unsigned count = 0;

		memcpy(copy, list_cases[i].text, n);
		print_message("  %s\n", list_cases[i].text);
		while (field_list_next(&rest, &member)) {
			assert_non_null(list_cases[i].members[count]);
			assert_true(slice_eq(member, slice_str(list_cases[i].members[count++])));
		}
		assert_null(list_cases[i].members[count]);
		free(copy);
	}
}

static void
knows_idempotent_methods(void **state)
{
	(void)state;
	assert_true(method_is_idempotent(METHOD_GET));
	assert_true(method_is_idempotent(METHOD_HEAD));
	assert_true(method_is_idempotent(METHOD_PUT));
	assert_true(method_is_idempotent(METHOD_DELETE));
	assert_true(method_is_idempotent(METHOD_OPTIONS));
	assert_true(method_is_idempotent(METHOD_TRACE));
	assert_false(method_is_idempotent(METHOD_POST));
	assert_false(method_is_idempotent(METHOD_PATCH));
	assert_false(method_is_idempotent(METHOD_CONNECT));
	assert_false(method_is_idempotent(METHOD_OTHER));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_every_name_in_any_case),
		cmocka_unit_test(knows_nothing_else),
		cmocka_unit_test(finds_fields),
		cmocka_unit_test(adds_fields),
		cmocka_unit_test(cuts_lists),
		cmocka_unit_test(knows_idempotent_methods),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
