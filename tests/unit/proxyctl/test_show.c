/*
 * show: several routers become one table; odd answers are shown as far as they go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <jansson.h>
#include <string.h>

#include "proxyctl/show.h"
#include "proxyctl/table.h"

#define SERVER(name, verdict, inflight, age)                                        \
	"{\"name\":\"" name "\",\"address\":\"127.0.0.1:1\",\"verdict\":\"" verdict \
	"\",\"reason\":\"probe\",\"weight\":1,\"inflight\":" inflight               \
	",\"requests\":10,\"errors\":1,\"age_ms\":" age "}"
#define ROUTER(servers)                                                            \
	"{\"program\":\"routerd\",\"state\":\"running\",\"pid\":7,"                \
	"\"version\":\"1\",\"generation\":2,\"uptime_ms\":3723000,"                \
	"\"listeners\":[{\"name\":\"http\",\"address\":\"*:80\",\"accepted\":5}]," \
	"\"pools\":[{\"name\":\"app\",\"servers\":[" servers "]}]}"

static char routerd[] = "routerd";
static char tlsd[] = "tlsd";
static char name0[] = "routerd.0";
static char name1[] = "routerd.1";
static char name2[] = "tlsd.0";
static char path[] = "/x";

static struct member
member(char *name, char *program, enum member_state state, const char *answer)
{
	return (struct member){
		.name = name,
		.program = program,
		.path = path,
		.state = state,
		.answer = answer ? json_loads(answer, 0, NULL) : NULL,
	};
}

static void
test_two_routers(void **state)
{
	struct member v[] = {
		member(name0, routerd, MEMBER_OK,
			ROUTER(SERVER("a", "up", "2", "700") "," SERVER("b", "up", "0", "5"))),
		member(name1, routerd, MEMBER_OK, ROUTER(SERVER("a", "down", "3", "20"))),
	};
	struct fleet f = { .v = v, .n = 2 };
	json_t *pools = show_pools(&f);
	json_t *a = json_array_get(json_object_get(json_array_get(pools, 0), "servers"), 0);
	struct sbuf out = { 0 };

	(void)state;
	assert_int_equal(json_array_size(pools), 1);
	assert_int_equal(json_integer_value(json_object_get(a, "inflight")), 5);
	assert_int_equal(json_integer_value(json_object_get(a, "requests")), 20);
	assert_int_equal(json_integer_value(json_object_get(a, "age_ms")), 20);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(a, "views"), "routerd.1")),
		"down");
	show_fleet(&f, false, &out);
	assert_non_null(strstr(out.p, "up/down"));
	assert_non_null(strstr(out.p, "1h02m"));
	assert_non_null(strstr(out.p, "POOL app  2 of 2 servers up"));
	assert_null(strchr(out.p, '\033'));
	sbuf_clear(&out);
	show_fleet(&f, true, &out);
	assert_non_null(strstr(out.p, "\033[32m"));
	sbuf_fini(&out);
	json_decref(pools);
	json_decref(v[0].answer);
	json_decref(v[1].answer);
}

static void
test_odd_answers(void **state)
{
	struct member v[] = {
		member(name0, routerd, MEMBER_OK,
			"{\"pools\":[{\"servers\":3},7,{\"name\":\"p\"}],"
			"\"overrides\":{\"unmatched\":2}}"),
		member(name1, routerd, MEMBER_GONE, NULL),
		member(name2, tlsd, MEMBER_OK,
			"{\"connections\":{\"open\":42},\"listeners\":[{\"to\":\"\\u001b[2J\\u009b2J\"}]}"),
	};
	struct fleet f = { .v = v, .n = 3 };
	struct sbuf out = { 0 };

	(void)state;
	show_fleet(&f, false, &out);
	assert_non_null(strstr(out.p, "gone"));
	assert_non_null(strstr(out.p, "42"));
	assert_non_null(strstr(out.p, "routerd.0: 2 of the operator's decisions match no server"));
	/* A name may not move the cursor of whoever looks. */
	assert_null(strchr(out.p, '\033'));
	assert_null(strstr(out.p, "\xc2\x9b"));

	json_t *o = show_json(&f);

	assert_int_equal(json_array_size(json_object_get(o, "daemons")), 3);
	json_decref(o);
	sbuf_fini(&out);
	json_decref(v[0].answer);
	json_decref(v[2].answer);
}

static void
test_table(void **state)
{
	static const char *const titles[] = { "NAME", "-N", NULL };
	struct table t;
	struct sbuf out = { 0 };

	(void)state;
	table_init(&t, titles);
	table_add(&t, TINT_NONE, "%s", "caf\xc3\xa9");
	table_add(&t, TINT_NONE, "%d", 7);
	table_add(&t, TINT_NONE, "%s", "longer");
	table_add(&t, TINT_NONE, "%d", 1234);
	table_format(&t, false, &out);
	assert_string_equal(out.p,
		"NAME       N\n"
		"caf\xc3\xa9       7\n"
		"longer  1234\n");
	table_fini(&t);
	sbuf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_routers),
		cmocka_unit_test(test_odd_answers),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
