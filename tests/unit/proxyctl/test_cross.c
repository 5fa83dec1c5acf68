/*
 * cross: what lies between `tls` and `http`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/sbuf.h"
#include "proxyctl/cross.h"

struct cross_case {
	const char *text;
	const char *findings; /* "" for none */
};

static const struct cross_case cases[] = {
	{ "", "" },
	{ "http: { listen: [ { name: a, address: \":80\" } ] }", "" },
	{ "tls: { listen: [ { to: a } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ] }",
		"" },
	{ "tls: { listen: [ { to: \"127.0.0.1:80\" }, { to: \"unix:/x\" } ] }", "" },
	{ "tls: { listen: [ { to: https } ] }\n"
	  "http: { listen: [ { name: htps, from: tlsd } ] }",
		"f:1:24: tls.listen[0].to: there is no http listener `https`, expected the name of "
		"one with `from: tlsd`; did you mean `htps`?\n"
		"f:2:19: warning: http.listen[0]: nothing in `tls` has `to: htps`: only a program "
		"outside of this file can feed it\n" },
	{ "tls: { listen: [ { to: a } ] }\n"
	  "http: { listen: [ { name: a, address: \":80\" } ] }",
		"f:1:24: tls.listen[0].to: the http listener `a` takes connections from an "
		"address, expected one with `from: tlsd`\n" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: optional } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ] }",
		"f:1:40: warning: tls.listen[0].client_auth: clients are asked for certificates that "
		"they need not have, and nothing looks at them: no `http.forward.client_cert` "
		"tells servers, no variable ${client_cert_...} is used, and no access log in JSON has "
		"them\n" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: optional_no_ca } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ] }",
		"f:1:40: warning: tls.listen[0].client_auth: clients are asked for certificates that "
		"they need not have, and nothing looks at them: no `http.forward.client_cert` "
		"tells servers, no variable ${client_cert_...} is used, and no access log in JSON has "
		"them\n" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ] }",
		"" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: require } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ] }",
		"" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: optional } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ], forward: { client_cert: {} } }",
		"" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: optional } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ], forward: { via: on } }",
		"f:1:40: warning: tls.listen[0].client_auth: clients are asked for certificates that "
		"they need not have, and nothing looks at them: no `http.forward.client_cert` "
		"tells servers, no variable ${client_cert_...} is used, and no access log in JSON has "
		"them\n" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: optional } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ], access_log: { path: l, format: json } }",
		"" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: optional } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ], access_log: { path: l } }",
		"f:1:40: warning: tls.listen[0].client_auth: clients are asked for certificates that "
		"they need not have, and nothing looks at them: no `http.forward.client_cert` "
		"tells servers, no variable ${client_cert_...} is used, and no access log in JSON has "
		"them\n" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: optional } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ], access_log: { format: json } }",
		"f:1:40: warning: tls.listen[0].client_auth: clients are asked for certificates that "
		"they need not have, and nothing looks at them: no `http.forward.client_cert` "
		"tells servers, no variable ${client_cert_...} is used, and no access log in JSON has "
		"them\n" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: optional } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ], headers: { x: [ \"${client_cert_cn}\" ] } }",
		"" },
	{ "tls: { listen: [ { to: a, client_auth: { ca: x, mode: optional } } ] }\n"
	  "http: { listen: [ { name: a, from: tlsd } ], x: \"$${client_cert_cn} ${client}\" }",
		"f:1:40: warning: tls.listen[0].client_auth: clients are asked for certificates that "
		"they need not have, and nothing looks at them: no `http.forward.client_cert` "
		"tells servers, no variable ${client_cert_...} is used, and no access log in JSON has "
		"them\n" },
	/* who else listens there may look at the PROXY header */
	{ "tls: { listen: [ { to: \"127.0.0.1:80\", client_auth: { ca: x, mode: optional } } ] }",
		"" },
	{ "tls: { listen: [ { address: \":81\" }, { address: \"127.0.0.1:80\" } ] }\n"
	  "http: { listen: [ { name: a, address: \"127.0.0.1:80\" } ] }",
		"f:2:39: http.listen[0].address: 127.0.0.1:80 is used by a listener of `tls` (line 1) "
		"already, expected another\n" },
	{ "tls: { listen: [ { address: \"*\" } ] }\n"
	  "http: { listen: [ { name: a, address: \"[::1]:443\" } ] }",
		"f:2:39: http.listen[0].address: [::1]:443 is used by a listener of `tls` (line 1) "
		"already, expected another\n" },
	{ "tls: { listen: [ { address: \"unix:/a\" } ] }\n"
	  "http: { listen: [ { name: a, address: \"unix:/a\" } ] }",
		"f:2:39: http.listen[0].address: unix:/a is used by a listener of `tls` (line 1) "
		"already, expected another\n" },
	{ "tls: { listen: [ { address: \"127.0.0.1:80\" }, { address: \"127.0.0.1:0\" } ] }\n"
	  "http: { listen: [ { name: a, address: \"127.0.0.2:80\" }, { name: b, address: "
	  "\"127.0.0.1:81\" }, { name: c, address: \"127.0.0.1:0\" }, { name: d, address: "
	  "\"nonsense\" } ] }",
		"" },
	/* What is wrong inside of a section is for its own daemon to say. */
	{ "tls: [1]\nhttp: { listen: { name: x } }", "" },
	{ "tls: { listen: [ 1, [ 2 ], { to: [ a ] }, ~ ] }\nhttp: { listen: [ a, ~ ] }", "" },
};

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct errs errs = { 0 };
		struct sbuf text = { 0 };
		struct cfg *cfg = cfg_parse("f", "/", slice_str(cases[i].text), &errs);

		assert_non_null(cfg);
		cross_check(cfg, &errs);
		errs_sort(&errs);
		errs_format(&errs, &text);
		assert_string_equal(sbuf_str(&text), cases[i].findings);
		sbuf_fini(&text);
		errs_fini(&errs);
		cfg_free(cfg);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
