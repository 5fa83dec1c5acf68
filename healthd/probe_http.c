/*
 * probe_http.c: one HTTP/1.1 request on a connection of its own; the status of the answer decides.
 * The head is read by the strict parser that serves clients too: an answer that it refuses is a
 * failed probe, since routerd could not use it either.
 */
#include "healthd/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	struct cfg_range *status;
	size_t status_count;
	enum method method;
	unsigned interims;
};

static bool
has_field(const struct checkcfg *c, const char *name)
{
	for (size_t i = 0; i < c->headers.n; i++)
		if (slice_caseeq(slice_str(CFG_AT(struct cfg_pair, c->headers, i)->name),
			    slice_str(name)))
			return true;
	return false;
}

/* The address without its scheme; a Unix path is no host. */
static const char *
host_of(const struct checkcfg *c, const char *host_text)
{
	if (c->host)
		return c->host;
	if (strncmp(host_text, "https://", 8) == 0)
		host_text += 8;
	else if (strncmp(host_text, "http://", 7) == 0)
		host_text += 7;
	return strncmp(host_text, "unix:", 5) == 0 ? "localhost" : host_text;
}

static void
write_request(struct sbuf *out, const struct checkcfg *c, const char *host_text)
{
	sbuf_addf(out, "%s %s HTTP/1.1\r\n", c->method, c->path);
	if (!has_field(c, "Host"))
		sbuf_addf(out, "Host: %s\r\n", host_of(c, host_text));
	if (!has_field(c, "User-Agent"))
		sbuf_adds(out, "User-Agent: weir-healthd/" WEIR_VERSION "\r\n");
	if (!has_field(c, "Accept"))
		sbuf_adds(out, "Accept: */*\r\n");
	for (size_t i = 0; i < c->headers.n; i++) {
		const struct cfg_pair *f = CFG_AT(struct cfg_pair, c->headers, i);

		sbuf_addf(out, "%s: %s\r\n", f->name, f->value);
	}
	if (!has_field(c, "Connection"))
		sbuf_adds(out, "Connection: close\r\n");
	sbuf_adds(out, "\r\n");
}

static void *
http_new(const struct checkcfg *check, const char *host_text)
{
	struct http *h = xcalloc(1, sizeof(*h));

	write_request(&h->out, check, host_text);
	h->status_count = check->status.n;
	h->status = xmalloc(h->status_count * sizeof(*h->status) + 1);
	memcpy(h->status, check->status.v, h->status_count * sizeof(*h->status));
	h->method = strcmp(check->method, "HEAD") == 0 ? METHOD_HEAD : METHOD_GET;
	return h;
}

static void
http_free(void *state)
{
	struct http *h = state;

	sbuf_fini(&h->out);
	free(h->in);
	free(h->status);
	free(h);
}

static bool
is_expected(const struct http *h, unsigned status)
{
	for (size_t i = 0; i < h->status_count; i++)
		if ((int)status >= h->status[i].lo && (int)status <= h->status[i].hi)
			return true;
	return false;
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
judge(struct probe *p, const struct http *h, const struct msg *m)
{
	char reason[BUSMSG_WORD_MAX];

	snprintf(reason, sizeof(reason), "http_%u", (unsigned)m->status);
	if (is_expected(h, m->status))
		probe_finish(p, PROBE_GOOD, "", has_more(h, m));
	else
		probe_finish(p, PROBE_FAILED, reason, has_more(h, m));
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
			judge(p, h, &m);
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

/* true when all is sent. */
static bool
send_request(struct probe *p, struct http *h)
{
	while (h->sent < h->out.n) {
		ssize_t n = probe_send(p, h->out.p + h->sent, h->out.n - h->sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			probe_wait(p, LOOP_WRITE);
			return false;
		}
		if (n < 0) {
			probe_broken(p, errno);
			return false;
		}
		h->sent += (size_t)n;
	}
	return true;
}

static void
http_step(struct probe *p, void *state)
{
	struct http *h = state;

	if (!send_request(p, h))
		return;
	if (!h->in)
		h->in = xmalloc(HEAD_MAX);
	while (h->in_len < HEAD_MAX) {
		ssize_t n = probe_recv(p, h->in + h->in_len, HEAD_MAX - h->in_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			probe_wait(p, LOOP_READ);
			return;
		}
		if (n < 0) {
			probe_broken(p, errno);
			return;
		}
		if (n == 0) {
			probe_finish(p, PROBE_FAILED, "closed", false);
			return;
		}
		h->in_len += (size_t)n;
		if (parse(p, h))
			return;
	}
	refuse(p, "head_too_long");
}

const struct probe_kind probe_http = { http_new, http_free, http_step };
