/*
 * stop: `proxyctl stop`. Every daemon is told to finish; the command ends when all are gone. `up`
 * is told first: it would start again what has died just now and cannot be asked.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/units.h"
#include "proxyctl/commands.h"
#include "proxyctl/fleet.h"
#include "proxyctl/site.h"

enum { ASK_MS = 5000, LOOK_AGAIN_MS = 50, GRACE_MS = 5000 };

static bool
is_up(const struct member *m, void *arg)
{
	(void)arg;
	return strcmp(m->program, "up") == 0;
}

/* Not one that `up` has told to end: a second time would be at once. */
static bool
is_to_be_told(const struct member *m, void *pids)
{
	const json_t *pid = json_object_get(m->answer, "pid");
	const json_t *told;
	size_t i;

	if (is_up(m, NULL))
		return false;
	json_array_foreach((json_t *)pids, i, told)
	{
		if (pid != NULL && json_equal(pid, told))
			return false;
	}
	return true;
}

static void
tell_all(struct fleet *f)
{
	json_t *pids = json_array();

	fleet_ask(f, "status", ASK_MS, NULL, NULL);
	fleet_forget_gone(f);
	fleet_ask(f, "stop", ASK_MS, is_up, NULL);
	for (size_t i = 0; i < f->n; i++)
		if (is_up(&f->v[i], NULL))
			json_array_extend(pids, json_object_get(f->v[i].answer, "ending"));
	fleet_ask(f, "stop", ASK_MS, is_to_be_told, pids);
	fleet_forget_gone(f);
	json_decref(pids);
}

/* Those whose socket still has a process behind it. */
static size_t
still_there(struct fleet *f)
{
	fleet_ask(f, "version", 1000, NULL, NULL);
	fleet_forget_gone(f);
	return f->n;
}

static int
wait_until_gone(struct fleet *f, int64_t deadline_ms)
{
	while (still_there(f) > 0) {
		if (clock_ms() >= deadline_ms) {
			for (size_t i = 0; i < f->n; i++)
				fprintf(stderr, "%s: still there\n", f->v[i].name);
			return EXIT_FAILED;
		}
		pause_ms(LOOK_AGAIN_MS);
	}
	return EXIT_DONE;
}

static int
parse_timeout(int argc, char **argv, int64_t *timeout_ms)
{
	static const struct option options[] = {
		{ "timeout", required_argument, NULL, 't' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 't')
			return command_usage("stop");
		if (!units_parse_duration(slice_str(optarg), timeout_ms)) {
			fprintf(stderr, "--timeout %s: expected a duration such as 35s\n", optarg);
			return EXIT_USAGE;
		}
	}
	return optind < argc ? command_usage("stop") : EXIT_DONE;
}

int
cmd_stop(const char *file, int argc, char **argv)
{
	int64_t timeout_ms = -1;
	struct site s;
	struct fleet f;
	int code = parse_timeout(argc, argv, &timeout_ms);

	if (code != EXIT_DONE)
		return code;
	if (site_load(&s, file) < 0)
		return EXIT_USAGE;
	if (timeout_ms < 0)
		timeout_ms = s.common.shutdown_timeout_ms + GRACE_MS;
	fleet_find(&f, &s, FLEET_ALL_AND_UP);

	int64_t deadline_ms = clock_ms() + timeout_ms;

	tell_all(&f);
	if (f.n == 0)
		printf("nothing runs in %s\n", s.common.run_dir);
	if (fleet_complain(&f) > 0)
		code = EXIT_FAILED;
	if (wait_until_gone(&f, deadline_ms) != EXIT_DONE)
		code = EXIT_FAILED;
	fleet_fini(&f);
	site_free(&s);
	return code;
}
