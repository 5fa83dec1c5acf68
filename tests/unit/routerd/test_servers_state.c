/* `show servers state` in HAProxy's format, column by column. */
#include "tests/unit/routerd/pools.h"

#include "routerd/status.h"

static size_t
count_words(struct slice line)
{
	struct slice word;
	size_t n = 0;

	while (slice_next(&line, ' ', &word))
		n++;
	return n;
}

static void
test_head(void **state)
{
	struct sbuf out = { 0 };
	struct slice rest;
	struct slice line;

	(void)state;
	status_state_head(&out);
	rest = sbuf_slice(&out);
	assert_true(slice_next(&rest, '\n', &line));
	assert_true(slice_eq(line, SLICE("1")));
	assert_true(slice_next(&rest, '\n', &line));
	assert_true(slice_starts(line, SLICE("# be_id be_name srv_id srv_name srv_addr ")));
	assert_int_equal(count_words(line), 1 + 25);
	sbuf_fini(&out);
}

static void
test_lines(void **state)
{
	static const struct pools_server v[] = {
		{ "web1", 3, 0, 0, "127.0.0.1:9001" },
		{ "web2", 1, 0, 0, "[::1]:9002" },
		{ "spare", 1, 1, 0, "unix:/run/x.sock" },
		{ "named", 1, 0, 0, "app.invalid:3000" },
		{ "off", 1, 0, 1, "127.0.0.1:9005" },
	};
	static const char *const expect[] = {
		"2 app 1 web1 127.0.0.1 2 0 3 3 0 15 3 4 6 0 0 0 - 9001 - 0 0 - - 0",
		"2 app 2 web2 ::1 0 0 1 1 0 17 2 0 6 0 0 0 - 9002 - 0 0 - - 0",
		"2 app 3 spare unix:/run/x.sock 2 0 1 1 0 1 0 0 6 0 0 0 - 0 - 0 0 - - 0",
		"2 app 4 named - 0 32 1 1 0 1 0 0 6 0 0 0 app.invalid 3000 - 0 0 - - 0",
		"2 app 5 off 127.0.0.1 0 4 1 1 0 15 3 4 6 0 0 0 - 9005 - 0 0 - - 0",
	};
	struct pools_fixture *f = *state;
	struct poolcfg *cfg = pools_cfg("app", v, 5);
	struct pool *p;
	struct sbuf out = { 0 };
	struct slice rest;
	struct slice line;

	cfg->check.kind = CHECK_HTTP;
	cfg->check.rise = 2;
	cfg->check.fall = 3;
	p = backends_pool(f->b, cfg);
	backends_commit(f->b, &p, 1);
	pools_say(f->b, cfg, "ud??u", true);
	backend_judge_now(p);
	status_state_pool(p, 2, &out);
	rest = sbuf_slice(&out);
	for (size_t i = 0; i < 5; i++) {
		char *text;

		assert_true(slice_next(&rest, '\n', &line));
		text = xstrndup(line.p, line.n);
		assert_string_equal(text, expect[i]);
		assert_int_equal(count_words(line), 25);
		free(text);
	}
	assert_int_equal(rest.n, 0);
	sbuf_fini(&out);
	pools_cfg_free(cfg);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_head, pools_setup, pools_teardown),
		cmocka_unit_test_setup_teardown(test_lines, pools_setup, pools_teardown),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("servers_state", tests, NULL, NULL);
}
