/*
 * codec_h2_guard: what a peer may cost. Frames that ask for work and bring none are paid from a
 * budget that fills with time and with useful work; streams that are cancelled, or that we are made
 * to reset, from another. Who overdraws one loses the connection, with a word why.
 */
#include <string.h>

#include "routerd/codec_h2_int.h"

/* A budget is full again after so long. */
#define FILL_MS 10000
/* CONTINUATION frames behind one HEADERS: sections are bounded by limits.head, which fits in fewer
 * even when each is a quarter full. */
#define CONTINUATIONS_MAX 32
/* Decoded bytes of one section, in limits.head: up to here the rest is only counted. */
#define SECTION_MAX 8
/* Bytes in front of the first frame. */
#define PREFACE 24

void
h2_guard_init(struct h2 *x)
{
	const struct httpcfg *http = x->c->w->snap->s->http;
	uint64_t now_ms = loop_now_ms(x->c->w->loop);

	x->resets = (struct h2_budget){ http->limits.h2_resets, now_ms };
	x->frames = (struct h2_budget){ http->limits.h2_frames, now_ms };
	h2_frames_init(&x->seen, PREFACE, NGHTTP2_PRIORITY_UPDATE);
}

/* For the first reason, and once: frames may still come and go when it was told. Always false. */
static bool
blame(struct h2 *x, const char *reason)
{
	if (x->abuse == NULL && x->cut_for == NULL)
		x->abuse = reason;
	return false;
}

static bool
spend(struct h2 *x, struct h2_budget *b, int64_t full, int64_t cost, const char *reason)
{
	b->left -= cost;
	if (b->left >= 0)
		return true;

	/* Only now does the time matter that has gone by. */
	uint64_t now_ms = loop_now_ms(x->c->w->loop);
	uint64_t gone = now_ms - b->since_ms;
	int64_t earned = gone >= FILL_MS ? full : full * (int64_t)gone / FILL_MS;

	if (earned > 0) {
		b->left = b->left + earned > full ? full : b->left + earned;
		b->since_ms = now_ms;
	}
	return b->left >= 0 || blame(x, reason);
}

static bool
spend_frame(struct h2 *x, int64_t cost, const char *reason)
{
	return spend(x, &x->frames, x->c->w->snap->s->http->limits.h2_frames, cost, reason);
}

bool
h2_guard_reset(struct h2 *x)
{
	return spend(x, &x->resets, x->c->w->snap->s->http->limits.h2_resets, 1, "rapid_reset");
}

void
h2_guard_earn(struct h2 *x, unsigned frames)
{
	int64_t full = x->c->w->snap->s->http->limits.h2_frames;

	if (x->frames.left < full)
		x->frames.left += frames;
}

static bool
continuation(struct h2 *x)
{
	return ++x->continuations <= CONTINUATIONS_MAX || blame(x, "continuation_flood");
}

bool
h2_guard_section(struct h2 *x, size_t n)
{
	x->section += n;
	return x->section <= SECTION_MAX * x->c->w->snap->s->http->limits.head ||
		blame(x, "header_bomb");
}

bool
h2_guard_empty(struct h2 *x)
{
	return spend_frame(x, 1, "empty_frames");
}

void
h2_guard_bytes(struct h2 *x, const char *p, size_t n)
{
	h2_frames_walk(&x->seen, p, n);
}

void
h2_guard_cut(struct h2 *x)
{
	h2_frames_cut(&x->seen, H2_STREAM_WINDOW);
}

bool
h2_guard_skipped(struct h2 *x)
{
	struct h2_skipped s = h2_frames_skipped(&x->seen);

	return (s.unknown == 0 || spend_frame(x, s.unknown, "unknown_frames")) &&
		(s.stray == 0 || spend_frame(x, s.stray, "stray_frames"));
}

bool
h2_guard_frame(struct h2 *x, const nghttp2_frame_hd *hd)
{
	x->seen.begun++;
	switch (hd->type) {
	case NGHTTP2_HEADERS: x->continuations = 0; return true;
	case NGHTTP2_CONTINUATION: return continuation(x);
	case NGHTTP2_RST_STREAM: return spend_frame(x, 1, "reset_flood");
	case NGHTTP2_SETTINGS: return spend_frame(x, 4, "settings_flood");
	case NGHTTP2_PING: return spend_frame(x, 1, "ping_flood");
	case NGHTTP2_WINDOW_UPDATE: return spend_frame(x, 1, "window_update_flood");
	case NGHTTP2_PRIORITY:
	case NGHTTP2_PRIORITY_UPDATE: return spend_frame(x, 1, "priority_flood");
	default: return true;
	}
}

static enum stat_id
counter_of(const char *reason)
{
	if (strcmp(reason, "rapid_reset") == 0)
		return STAT_H2_RAPID_RESETS;
	if (strcmp(reason, "continuation_flood") == 0)
		return STAT_H2_CONTINUATION_FLOODS;
	if (strcmp(reason, "header_bomb") == 0)
		return STAT_H2_HEADER_BOMBS;
	return STAT_H2_FRAME_FLOODS;
}

void
h2_guard_tell(struct h2 *x)
{
	static _Thread_local struct log_limit limit = { .burst = 5 };
	const char *reason = x->abuse;
	uint32_t held;

	/* Once per connection: it ends with this. */
	x->abuse = NULL;
	x->is_failed = true;
	x->cut_for = reason;
	worker_count(x->c->w, counter_of(reason));
	if (log_allow(&limit, &held))
		LOG_WARN("h2_abuse", L_SLICE("peer", conn_peer(x->c)), L_STR("reason", reason),
			L_INT("requests", x->c->served), L_INT("suppressed", held));
}
