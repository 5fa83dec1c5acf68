/*
 * ctl_events: a ring of formatted lines under one lock, held for a copy. Events are what the log
 * writes at level info and above: rare, so lines are formatted once, by the thread that logs.
 */
#include "libcommon/ctl_events.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "libcommon/ctl.h"
#include "libcommon/mem.h"

struct ctl_events {
	pthread_mutex_t lock;
	char *daemon; /* as a JSON string */
	uint64_t next;
	struct sbuf lines[CTL_EVENTS_KEPT];
};

struct ctl_events *
ctl_events_new(struct slice daemon)
{
	struct ctl_events *e = xcalloc(1, sizeof(*e));
	struct sbuf quoted = { 0 };

	pthread_mutex_init(&e->lock, NULL);
	sbuf_add_json(&quoted, daemon);
	e->daemon = sbuf_take(&quoted);
	e->next = 1;
	return e;
}

void
ctl_events_free(struct ctl_events *e)
{
	if (e == NULL)
		return;
	for (size_t i = 0; i < CTL_EVENTS_KEPT; i++)
		sbuf_fini(&e->lines[i]);
	free(e->daemon);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static void
add_time(struct sbuf *b, int64_t wall_ms)
{
	time_t t = wall_ms / 1000;
	struct tm tm;

	gmtime_r(&t, &tm);
	sbuf_addf(b, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"", tm.tm_year + 1900, tm.tm_mon + 1,
		tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ms % 1000));
}

/* A field that is called like one of ours gets an underscore: a JSON object has each name once. */
static bool
is_reserved(const char *key)
{
	static const char *const names[] = { "time", "daemon", "seq", "level", "type" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(key, names[i]) == 0)
			return true;
	return false;
}

static void
add_field(struct sbuf *b, const struct log_field *f)
{
	sbuf_addf(b, ",\"%s%s\":", f->key, is_reserved(f->key) ? "_" : "");
	if (f->kind == LOG_KIND_INT)
		sbuf_addf(b, "%" PRId64, f->num);
	else
		sbuf_add_json(b, f->str);
}

void
ctl_events_add(struct ctl_events *e, const struct log_record *rec)
{
	pthread_mutex_lock(&e->lock);

	struct sbuf *b = &e->lines[e->next % CTL_EVENTS_KEPT];

	sbuf_clear(b);
	sbuf_adds(b, "{\"time\":");
	add_time(b, rec->wall_ms);
	sbuf_addf(b, ",\"daemon\":%s,\"seq\":%" PRIu64 ",\"level\":\"%s\",\"type\":\"%s\"",
		e->daemon, e->next, log_level_name(rec->level), rec->event);
	for (unsigned i = 0; i < rec->count; i++)
		add_field(b, &rec->fields[i]);
	sbuf_adds(b, "}\n");
	e->next++;
	pthread_mutex_unlock(&e->lock);
}

static uint64_t
oldest(const struct ctl_events *e)
{
	return e->next > CTL_EVENTS_KEPT ? e->next - CTL_EVENTS_KEPT : 1;
}

uint64_t
ctl_events_next(struct ctl_events *e)
{
	pthread_mutex_lock(&e->lock);

	uint64_t next = e->next;

	pthread_mutex_unlock(&e->lock);
	return next;
}

uint64_t
ctl_events_oldest(struct ctl_events *e)
{
	pthread_mutex_lock(&e->lock);

	uint64_t seq = oldest(e);

	pthread_mutex_unlock(&e->lock);
	return seq;
}

bool
ctl_events_read(struct ctl_events *e, uint64_t *at, struct sbuf *out, size_t limit)
{
	size_t before = out->n;

	pthread_mutex_lock(&e->lock);
	if (*at < oldest(e)) {
		sbuf_addf(out, "{\"daemon\":%s,\"type\":\"events_lost\",\"count\":%" PRIu64 "}\n",
			e->daemon, oldest(e) - *at);
		*at = oldest(e);
	}
	while (*at < e->next && out->n < limit) {
		sbuf_add_slice(out, sbuf_slice(&e->lines[*at % CTL_EVENTS_KEPT]));
		++*at;
	}
	pthread_mutex_unlock(&e->lock);
	return out->n > before;
}
