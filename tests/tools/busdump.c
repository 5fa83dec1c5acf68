/*
 * busdump: listens to the bus as a router does and prints one message a line.
 *
 * usage: busdump [-t SECONDS] [-n COUNT] [-p MESSAGE]... BUS_DIR [PREFIX]
 *   -t  end after so long (10)           -n  end after so many messages; exit 1 when fewer came in
 * time -p  publish this 5 times a second while running (may be given more than once) -q  count
 * instead of printing: the last line is "messages N"
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcommon/bus.h"
#include "libcommon/loop.h"

#define PUBLISH_MS   200
#define MESSAGES_MAX 16

struct dump {
	struct loop *loop;
	struct bus *bus;
	const char *publish[MESSAGES_MAX];
	int publish_count;
	unsigned long wanted;
	unsigned long got;
	bool is_quiet;
};

static void
on_message(void *arg, struct slice topic, struct slice message)
{
	struct dump *d = arg;

	(void)topic;
	if (d->wanted && d->got >= d->wanted)
		return;
	if (!d->is_quiet) {
		printf("%.*s\n", SLICE_ARG(message));
		fflush(stdout);
	}
	if (++d->got == d->wanted)
		loop_stop(d->loop);
}

static void
on_publish(void *arg)
{
	struct dump *d = arg;

	for (int i = 0; i < d->publish_count; i++)
		bus_publish(d->bus, slice_str(d->publish[i]));
}

static void
on_end(void *arg)
{
	loop_stop(((struct dump *)arg)->loop);
}

static int
run(struct dump *d, const char *dir, const char *prefix, double seconds)
{
	struct err err;
	struct loop_timer *end;
	struct loop_timer *publish;

	d->loop = loop_new();
	d->bus = bus_connect(d->loop, dir, &err);
	if (!d->bus) {
		fprintf(stderr, "busdump: %s\n", err.text);
		return 2;
	}
	bus_subscribe(d->bus, prefix, on_message, d);
	end = loop_timer_new(d->loop, on_end, d);
	loop_timer_set(end, (uint64_t)(seconds * 1000), false);
	publish = loop_timer_new(d->loop, on_publish, d);
	loop_timer_set(publish, PUBLISH_MS, true);
	loop_run(d->loop);
	loop_timer_free(publish);
	loop_timer_free(end);
	bus_free(d->bus);
	loop_free(d->loop);
	if (d->is_quiet)
		printf("messages %lu\n", d->got);
	return d->got >= d->wanted ? 0 : 1;
}

int
main(int argc, char **argv)
{
	struct dump d = { 0 };
	double seconds = 10;
	int c;

	while ((c = getopt(argc, argv, "t:n:p:q")) != -1) {
		switch (c) {
		case 't': seconds = atof(optarg); break;
		case 'n': d.wanted = strtoul(optarg, NULL, 10); break;
		case 'p':
			if (d.publish_count < MESSAGES_MAX)
				d.publish[d.publish_count++] = optarg;
			break;
		case 'q': d.is_quiet = true; break;
		default: return 2;
		}
	}
	if (optind == argc) {
		fprintf(stderr,
			"usage: busdump [-t SECONDS] [-n COUNT] [-p MESSAGE] [-q] BUS_DIR "
			"[PREFIX]\n");
		return 2;
	}
	return run(&d, argv[optind], optind + 1 < argc ? argv[optind + 1] : "", seconds);
}
