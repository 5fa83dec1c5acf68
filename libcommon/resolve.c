/*
 * resolve.c: names watched by their time to live. Each name is asked for when its deadline passes,
 * at most QUERIES_MAX at a time; the rest queue. Answers may come from inside a call to the
 * channel, those of watchers never come from inside a call of theirs.
 */
#include "libcommon/resolve.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <ares.h>
#include <uthash.h>
#include <utlist.h>

#include "libcommon/loop.h"
#include "libcommon/mem.h"
#include "libcommon/resolve_channel.h"

#define QUERIES_MAX  128
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS (60 * 1000)

struct resolve_watch {
	struct resolve_watch *prev;
	struct resolve_watch *next;
	struct name *name;
	struct run_item soon; /* tells what is known already */
	resolve_fn fn;
	void *arg;
	struct addr *addrs; /* the name's, with our port */
	size_t n;
	uint16_t port;
	bool is_closed;
};

struct name {
	UT_hash_handle hh;
	struct resolver *r;
	struct resolve_watch *watches;
	struct name *queue_prev; /* in r->queue while waiting for a free query */
	struct name *queue_next;
	struct deadline due;
	struct addr *addrs; /* sorted, without port */
	size_t n;
	uint64_t good_ms; /* when the last good answer came */
	const char *error;
	uint64_t retry_ms;
	bool is_answered; /* one way or the other */
	bool is_asking;
	bool is_queued;
	bool is_telling; /* callbacks run: watches are only marked closed */
	char text[];
};

struct resolver {
	struct loop *loop;
	struct resolve_channel *channel;
	struct name *names;
	struct name *queue; /* due, not asked yet */
	struct run_item pump;
	unsigned asking;
	bool is_closing;
	struct resolve_stats stats;
};

static uint64_t
random_below(uint64_t n)
{
	uint64_t r = 0;

	if (n == 0 || getrandom(&r, sizeof(r), GRND_NONBLOCK) != sizeof(r))
		return 0;
	return r % n;
}

/* --- telling ----------------------------------------------------------------- */

static void
copy_addrs(struct resolve_watch *w)
{
	const struct name *n = w->name;

	free(w->addrs);
	w->addrs = n->n ? xmalloc(n->n * sizeof(*w->addrs)) : NULL;
	w->n = n->n;
	for (size_t i = 0; i < n->n; i++) {
		w->addrs[i] = n->addrs[i];
		if (w->addrs[i].sa.sa_family == AF_INET)
			w->addrs[i].in.sin_port = htons(w->port);
		else
			w->addrs[i].in6.sin6_port = htons(w->port);
	}
}

void
resolve_get(const struct resolve_watch *w, struct resolve_answer *out)
{
	const struct name *n = w->name;

	out->addrs = w->addrs;
	out->n = w->n;
	out->error = n->error;
	out->age_ms = n->good_ms ? loop_now_ms(n->r->loop) - n->good_ms : 0;
}

static void
free_watch(struct resolve_watch *w)
{
	loop_run_cancel(w->name->r->loop, &w->soon);
	DL_DELETE(w->name->watches, w);
	free(w->addrs);
	free(w);
}

static void
free_name(struct name *n)
{
	struct resolver *r = n->r;

	if (n->is_queued)
		DL_DELETE2(r->queue, n, queue_prev, queue_next);
	deadline_fini(&n->due);
	HASH_DEL(r->names, n);
	free(n->addrs);
	free(n);
}

/* A question that is open keeps its name until it is answered. */
static void
free_if_unwatched(struct name *n)
{
	if (!n->watches && !n->is_asking && !n->is_telling)
		free_name(n);
}

static void
tell_one(struct resolve_watch *w)
{
	struct resolve_answer answer;

	loop_run_cancel(w->name->r->loop, &w->soon);
	copy_addrs(w);
	resolve_get(w, &answer);
	w->fn(w->arg, &answer);
}

static void
sweep(struct name *n)
{
	struct resolve_watch *w;
	struct resolve_watch *tmp;

	n->is_telling = false;
	DL_FOREACH_SAFE (n->watches, w, tmp)
		if (w->is_closed)
			free_watch(w);
	free_if_unwatched(n);
}

static void
tell_all(struct name *n)
{
	struct resolve_watch *w;

	n->is_telling = true;
	DL_FOREACH (n->watches, w)
		if (!w->is_closed)
			tell_one(w);
	sweep(n);
}

static void
on_soon(struct run_item *item)
{
	struct resolve_watch *w =
		(struct resolve_watch *)((char *)item - offsetof(struct resolve_watch, soon));
	struct name *n = w->name;

	n->is_telling = true;
	tell_one(w);
	sweep(n);
}

/* --- asking ------------------------------------------------------------------ */

static const char *
error_word(int status)
{
	switch (status) {
	case ARES_ENOTFOUND: return "nxdomain";
	case ARES_ENODATA: return "no_data";
	case ARES_ETIMEOUT: return "timeout";
	case ARES_ESERVFAIL: return "servfail";
	case ARES_EREFUSED: return "refused";
	case ARES_ECONNREFUSED: return "dns_failed"; /* no server had an answer */
	case ARES_EBADNAME:
	case ARES_EFORMERR: return "bad_name";
	default: return "dns_error";
	}
}

/* IPv4 first, then by bytes: the first of a name with both kinds is the one that nearly always
 * works. */
static int
compare_addrs(const void *pa, const void *pb)
{
	const struct addr *a = pa;
	const struct addr *b = pb;

	if (a->sa.sa_family != b->sa.sa_family)
		return a->sa.sa_family == AF_INET ? -1 : 1;
	if (a->sa.sa_family == AF_INET)
		return memcmp(&a->in.sin_addr, &b->in.sin_addr, sizeof(a->in.sin_addr));
	return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr));
}

/* The answer's addresses, sorted, each once; *ttl_s is the shortest time to live. */
static size_t
collect(const struct ares_addrinfo *ai, struct addr *out, int *ttl_s)
{
	size_t n = 0;
	size_t kept = 0;

	*ttl_s = INT_MAX;
	for (const struct ares_addrinfo_node *a = ai->nodes; a && n < RESOLVE_ADDRS_MAX;
		a = a->ai_next) {
		if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) ||
			a->ai_addrlen > sizeof(out[n].ss))
			continue;
		memset(&out[n], 0, sizeof(out[n]));
		memcpy(&out[n].ss, a->ai_addr, a->ai_addrlen);
		out[n].len = a->ai_addrlen;
		n++;
		if (a->ai_ttl < *ttl_s)
			*ttl_s = a->ai_ttl;
	}
	qsort(out, n, sizeof(*out), compare_addrs);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || compare_addrs(&out[kept - 1], &out[i]) != 0)
			out[kept++] = out[i];
	return kept;
}

static bool
same_addrs(const struct name *n, const struct addr *v, size_t count)
{
	if (n->n != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (compare_addrs(&n->addrs[i], &v[i]) != 0)
			return false;
	return true;
}

/* Takes a good answer; true when it differs from what was known. */
static bool
take_good(struct name *n, const struct addr *v, size_t count, int ttl_s)
{
	bool is_new = !n->is_answered || n->error || !same_addrs(n, v, count);
	int64_t ttl_ms = (int64_t)ttl_s * 1000;

	if (is_new) {
		free(n->addrs);
		n->addrs = xmalloc(count * sizeof(*v));
		memcpy(n->addrs, v, count * sizeof(*v));
		n->n = count;
	}
	n->error = NULL;
	n->retry_ms = 0;
	n->good_ms = loop_now_ms(n->r->loop);
	if (ttl_ms < RESOLVE_TTL_MIN_MS)
		ttl_ms = RESOLVE_TTL_MIN_MS;
	if (ttl_ms > RESOLVE_TTL_MAX_MS)
		ttl_ms = RESOLVE_TTL_MAX_MS;
	/* up to a tenth later, so that names learnt together are not asked for together for ever */
	deadline_set(n->r->loop, &n->due, (uint64_t)ttl_ms + random_below((uint64_t)ttl_ms / 10));
	return is_new;
}

static bool
take_failure(struct name *n, int status)
{
	const char *word = error_word(status);
	bool is_new = !n->is_answered || !n->error || strcmp(n->error, word) != 0;

	n->r->stats.failures++;
	n->error = word;
	n->retry_ms = n->retry_ms ? n->retry_ms * 2 : RETRY_MIN_MS;
	if (n->retry_ms > RETRY_MAX_MS)
		n->retry_ms = RETRY_MAX_MS;
	deadline_set(n->r->loop, &n->due, n->retry_ms + random_below(n->retry_ms / 4));
	return is_new;
}

static void
on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct name *n = arg;
	struct resolver *r = n->r;
	struct addr found[RESOLVE_ADDRS_MAX];
	size_t count = 0;
	int ttl_s = 0;
	bool is_new;

	(void)timeouts;
	n->is_asking = false;
	r->asking--;
	if (r->queue && !r->is_closing)
		loop_run_soon(r->loop, &r->pump);
	if (ai) {
		count = collect(ai, found, &ttl_s);
		ares_freeaddrinfo(ai);
	}
	if (r->is_closing || !n->watches) {
		free_if_unwatched(n);
		return;
	}
	if (status == ARES_SUCCESS && count > 0)
		is_new = take_good(n, found, count, ttl_s);
	else
		is_new = take_failure(n, status == ARES_SUCCESS ? ARES_ENODATA : status);
	n->is_answered = true;
	if (is_new)
		tell_all(n);
}

static void
ask(struct name *n)
{
	struct resolver *r = n->r;

	if (r->asking == 0)
		resolve_channel_follow(r->channel);
	n->is_asking = true;
	r->asking++;
	r->stats.queries++;
	resolve_channel_ask(r->channel, n->text, on_answer, n);
}

/* Ask for those whose turn it is; a few per turn of the loop, since the hosts file is read each
 * time. */
static void
on_pump(struct run_item *item)
{
	struct resolver *r = (struct resolver *)((char *)item - offsetof(struct resolver, pump));
	unsigned burst = 0;

	while (r->queue && r->asking < QUERIES_MAX && burst++ < QUERIES_MAX / 2) {
		struct name *n = r->queue;

		DL_DELETE2(r->queue, n, queue_prev, queue_next);
		n->is_queued = false;
		ask(n);
	}
	if (r->queue && r->asking < QUERIES_MAX)
		loop_run_soon(r->loop, &r->pump);
	resolve_channel_arm(r->channel);
}

static void
on_due(struct deadline *d)
{
	struct name *n = (struct name *)((char *)d - offsetof(struct name, due));
	struct resolver *r = n->r;

	if (n->is_asking || n->is_queued)
		return;
	n->is_queued = true;
	DL_APPEND2(r->queue, n, queue_prev, queue_next);
	loop_run_soon(r->loop, &r->pump);
}

/* --- outside ----------------------------------------------------------------- */

static struct name *
add_name(struct resolver *r, const char *text, size_t len)
{
	struct name *n = xcalloc(1, sizeof(*n) + len + 1);

	n->r = r;
	memcpy(n->text, text, len + 1);
	deadline_init(&n->due, on_due);
	deadline_set(r->loop, &n->due, 1);
	HASH_ADD(hh, r->names, text[0], (unsigned)len, n);
	return n;
}

struct resolve_watch *
resolve_watch(struct resolver *r, const char *name, uint16_t port, resolve_fn fn, void *arg)
{
	struct resolve_watch *w = xcalloc(1, sizeof(*w));
	size_t len = strlen(name);

	HASH_FIND(hh, r->names, name, (unsigned)len, w->name);
	if (!w->name)
		w->name = add_name(r, name, len);
	w->port = port;
	w->fn = fn;
	w->arg = arg;
	w->soon.fn = on_soon;
	DL_APPEND(w->name->watches, w);
	copy_addrs(w);
	if (w->name->is_answered)
		loop_run_soon(r->loop, &w->soon);
	return w;
}

void
resolve_unwatch(struct resolve_watch *w)
{
	if (!w)
		return;

	struct name *n = w->name;

	if (n->is_telling) {
		w->is_closed = true;
		loop_run_cancel(n->r->loop, &w->soon);
		return;
	}
	free_watch(w);
	free_if_unwatched(n);
}

int
resolve_set_servers(struct resolver *r, const char *servers, struct err *err)
{
	return resolve_channel_set_servers(r->channel, servers, err);
}

void
resolve_stats(const struct resolver *r, struct resolve_stats *out)
{
	*out = r->stats;
	out->names = HASH_COUNT(r->names);
}

struct resolver *
resolve_new(struct loop *l, struct err *err)
{
	struct resolve_channel *channel = resolve_channel_new(l, err);
	struct resolver *r;

	if (channel == NULL)
		return NULL;
	r = xcalloc(1, sizeof(*r));
	r->loop = l;
	r->channel = channel;
	r->pump.fn = on_pump;
	return r;
}

void
resolve_free(struct resolver *r)
{
	struct name *n;
	struct name *tmp;

	if (!r)
		return;
	r->is_closing = true;
	resolve_channel_free(r->channel);
	HASH_ITER (hh, r->names, n, tmp)
		free_name(n);
	loop_run_cancel(r->loop, &r->pump);
	free(r);
}
