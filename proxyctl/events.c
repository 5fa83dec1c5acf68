/*
 * events: `proxyctl events`. One stream per daemon, merged line by line; run_dir is looked at
 * again and again, so that daemons that start later are heard too.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/ctlclient.h"
#include "libcommon/units.h"
#include "proxyctl/commands.h"
#include "proxyctl/fleet.h"
#include "proxyctl/plain.h"
#include "proxyctl/site.h"

enum { RESCAN_MS = 200, CONNECT_MS = 1000, STREAMS_MAX = 256, LINE_MAX_BYTES = 1 << 20 };

struct stream {
	char *path;
	int fd;
	struct sbuf in;
};

struct watch {
	const char *until;
	const char *type;
	bool is_recent;
	int64_t deadline_ms; /* 0: none */
	struct stream v[STREAMS_MAX];
	size_t n;
	bool is_seen;
};

static void
stream_close(struct stream *s)
{
	close(s->fd);
	free(s->path);
	sbuf_fini(&s->in);
}

/* Of every line, only its type is looked at. */
static void
take_line(struct watch *w, const char *line, size_t n)
{
	json_t *o = json_loadb(line, n, 0, NULL);
	const char *type = json_string_value(json_object_get(o, "type"));

	if (type != NULL && (w->type == NULL || strcmp(w->type, type) == 0)) {
		struct sbuf plain = { 0 };

		plain_add_json(&plain, slice_make(line, n));
		puts(sbuf_str(&plain));
		sbuf_fini(&plain);
	}
	if (type != NULL && w->until != NULL && strcmp(w->until, type) == 0)
		w->is_seen = true;
	json_decref(o);
}

static void
take_lines(struct watch *w, struct stream *s)
{
	size_t at = 0;
	const char *end;

	while (!w->is_seen && (end = memchr(s->in.p + at, '\n', s->in.n - at)) != NULL) {
		take_line(w, s->in.p + at, (size_t)(end - s->in.p) - at);
		at = (size_t)(end - s->in.p) + 1;
	}
	memmove(s->in.p, s->in.p + at, s->in.n - at);
	s->in.n -= at;
	fflush(stdout);
}

/* false when the stream has ended. */
static bool
stream_read(struct watch *w, struct stream *s)
{
	char *at = sbuf_reserve(&s->in, 65536);
	ssize_t n = recv(s->fd, at, 65536, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return false;
	s->in.n += (size_t)n;
	take_lines(w, s);
	return s->in.n < LINE_MAX_BYTES;
}

static bool
is_watched(const struct watch *w, const char *path)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->v[i].path, path) == 0)
			return true;
	return false;
}

/* All that a daemon says which was not there at first is news, also what it said before we came. */
static void
rescan(struct watch *w, const struct site *s, bool is_first)
{
	const char *line = w->is_recent || !is_first ? "events recent" : "events";
	struct fleet f;

	fleet_find(&f, s, FLEET_ALL_AND_UP);
	for (size_t i = 0; i < f.n && w->n < STREAMS_MAX; i++) {
		if (is_watched(w, f.v[i].path))
			continue;

		int fd = ctl_open(f.v[i].path, line, NULL, 0, CONNECT_MS, NULL);

		if (fd >= 0)
			w->v[w->n++] = (struct stream){ .path = xstrdup(f.v[i].path), .fd = fd };
	}
	fleet_fini(&f);
}

static void
wait_and_read(struct watch *w, int timeout_ms)
{
	struct pollfd polls[STREAMS_MAX];
	size_t kept = 0;

	for (size_t i = 0; i < w->n; i++)
		polls[i] = (struct pollfd){ .fd = w->v[i].fd, .events = POLLIN };
	if (poll(polls, (nfds_t)w->n, timeout_ms) <= 0)
		return;
	for (size_t i = 0; i < w->n; i++) {
		if (polls[i].revents != 0 && !w->is_seen && !stream_read(w, &w->v[i]))
			stream_close(&w->v[i]);
		else
			w->v[kept++] = w->v[i];
	}
	w->n = kept;
}

static int
watch_run(struct watch *w, const struct site *s)
{
	int64_t scan_at = 0;

	while (!w->is_seen) {
		int64_t now = clock_ms();

		if (w->deadline_ms != 0 && now >= w->deadline_ms)
			return w->until != NULL ? EXIT_FAILED : EXIT_DONE;
		if (now >= scan_at) {
			rescan(w, s, scan_at == 0);
			scan_at = now + RESCAN_MS;
		}

		int64_t wake =
			w->deadline_ms != 0 && w->deadline_ms < scan_at ? w->deadline_ms : scan_at;

		wait_and_read(w, (int)(wake > now ? wake - now : 0));
	}
	return EXIT_DONE;
}

int
cmd_events(const char *file, int argc, char **argv)
{
	static const struct option options[] = {
		{ "until", required_argument, NULL, 'u' },
		{ "timeout", required_argument, NULL, 't' },
		{ "type", required_argument, NULL, 'y' },
		{ "recent", no_argument, NULL, 'r' },
		{ 0 },
	};
	static struct watch w;
	struct site s;
	int64_t timeout_ms = 0;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'u': w.until = optarg; break;
		case 'y': w.type = optarg; break;
		case 'r': w.is_recent = true; break;
		case 't':
			if (!units_parse_duration(slice_str(optarg), &timeout_ms) ||
				timeout_ms == 0) {
				fprintf(stderr, "--timeout %s: expected a duration such as 10s\n",
					optarg);
				return EXIT_USAGE;
			}
			break;
		default: return command_usage("events");
		}
	}
	if (optind < argc)
		return command_usage("events");
	if (site_load_rest(&s, file) < 0)
		return EXIT_USAGE;
	if (timeout_ms > 0)
		w.deadline_ms = clock_ms() + timeout_ms;

	int code = watch_run(&w, &s);

	for (size_t i = 0; i < w.n; i++)
		stream_close(&w.v[i]);
	site_free(&s);
	return code;
}
