/*
 * probe_http.c: one HTTP/1.1 request on a connection of its own; the status of the answer decides.
 * The head is read by the strict parser that serves clients too: an answer that it refuses is a
 * failed probe, since routerd could not use it either.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "healthd/httpcheck.h"
#include "libcommon/busmsg.h"
#include "libcommon/http1.h"
#include "libcommon/mem.h"
#include "libcommon/sbuf.h"

#define HEAD_MAX    (16 * 1024)
#define FIELDS_MAX  100
#define INTERIM_MAX 8 /* 1xx answers before the final one */

struct http {
	struct sbuf out;
	size_t sent;
	char *in; /* HEAD_MAX bytes */
	size_t in_len;
	struct http1_scan scan;
	struct httpcheck expected;
	enum method method;
	unsigned interims;
};

static void
add_field(void *arg, const char *name, const char *value)
{
	sbuf_addf(arg, "%s: %s\r\n", name, value);
}

static void
write_request(struct sbuf *out, const struct probe_to *to)
{
	sbuf_addf(out, "%s %s HTTP/1.1\r\n", to->check->method, to->check->path);
	add_field(out, "Host", httpcheck_host(to));
	httpcheck_fields(to->check, add_field, out);
	sbuf_adds(out, "Connection: close\r\n\r\n");
}

static void *
http_new(const struct probe_to *to)
{
	struct http *h = xcalloc(1, sizeof(*h));

	write_request(&h->out, to);
	httpcheck_init(&h->expected, to->check);
	h->method = strcmp(to->check->method, "HEAD") == 0 ? METHOD_HEAD : METHOD_GET;
	return h;
}

static void
http_free(void *state)
{
	struct http *h = state;

	sbuf_fini(&h->out);
	free(h->in);
	httpcheck_fini(&h->expected);
	free(h);
}

/* Is more of the answer to come, that a close would reset? */
static bool
has_more(const struct http *h, const struct msg *m)
{
	size_t body = h->in_len - m->head_len;

	return m->body == BODY_CHUNKED || m->body == BODY_UNTIL_CLOSE ||
		(m->body == BODY_LENGTH && m->content_length > body);
}

static void
refuse(struct probe *p, const char *why)
{
	char reason[BUSMSG_WORD_MAX + 1];
	int n = snprintf(reason, sizeof(reason), "bad_%s", why);

	if (n >= (int)sizeof(reason) || !busmsg_is_word(reason))
		snprintf(reason, sizeof(reason), "bad_answer");
	probe_finish(p, PROBE_FAILED, reason, false);
}

/* true when the verdict is clear. */
static bool
parse(struct probe *p, struct http *h)
{
	static const struct http1_limits limits = { HEAD_MAX, 8192, FIELDS_MAX };

	while (h->in_len > 0) {
		struct field fields[FIELDS_MAX];
		struct http1_error err = { 0 };
		struct msg m;

		msg_init(&m, fields, FIELDS_MAX);

		enum http1_result r =
			http1_response(&h->scan, h->in, h->in_len, &limits, h->method, &m, &err);

		if (r == HTTP1_MORE)
			return false;
		if (r == HTTP1_BAD)
			refuse(p, err.reason);
		else if (m.status >= 200 || m.status == 101)
			httpcheck_judge(p, &h->expected, m.status, has_more(h, &m));
		else if (++h->interims > INTERIM_MAX)
			refuse(p, "interim_answers");
		if (r == HTTP1_BAD || m.status >= 200 || m.status == 101 ||
			h->interims > INTERIM_MAX)
			return true;
		h->in_len -= m.head_len;
		memmove(h->in, h->in + m.head_len, h->in_len);
		memset(&h->scan, 0, sizeof(h->scan));
	}
	return false;
}

static void
http_step(struct probe *p, void *state)
{
	struct http *h = state;
	size_t n;

	if (probe_send(p, h->out.p, h->out.n, &h->sent) != PROBE_DONE)
		return;
	if (!h->in)
		h->in = xmalloc(HEAD_MAX);
	while (h->in_len < HEAD_MAX) {
		if (probe_recv(p, h->in + h->in_len, HEAD_MAX - h->in_len, &n) != PROBE_DONE)
			return;
		h->in_len += n;
		if (parse(p, h))
			return;
	}
	refuse(p, "head_too_long");
}

const struct probe_kind probe_http = { http_new, http_free, http_step };
