/*
 * conn: the life of a client connection around its requests. Driven by its stream, its deadline and
 * the run queue; the codec takes over for as long as there is something to parse or a request in
 * progress.
 */
#include "routerd/conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "routerd/codec_h1.h"
#include "routerd/codec_h2.h"
#include "routerd/worker_state.h"

/* After the last word: how long the client may be silent, and go on sending in all, before we hang
 * up. Unread bytes would make the kernel send a reset, and that may take our answer away. */
#define LINGER_SILENT_MS 5000
#define LINGER_MS        30000
/* While draining, for the first byte of a connection that has said nothing yet. */
#define FIRST_WORD_MS 1000
/* Reads in a row before others get their turn. */
#define LINGER_READS 16

static struct conn *
of_stream(struct stream *s)
{
	struct conn *c = (struct conn *)((char *)s - offsetof(struct conn, s));

	assert(c->magic == CONN_MAGIC);
	return c;
}

static void
release(void *p)
{
	struct conn *c = p;

	c->magic = 0;
	freelist_give(&c->w->conns, c);
}

static void
end(struct conn *c)
{
	c->state = CONN_CLOSED;
	deadline_fini(&c->dl);
	loop_run_cancel(c->w->loop, &c->again);
	buf_unref(c->in);
	c->in = NULL;
	free(c->tls);
	c->tls = NULL;
	free(c->cert);
	c->cert = NULL;
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	worker_conn_closed(c->w, c->l);
	loop_defer(c->w->loop, release, c);
}

/* The peer's doing or an attacker's: told, but not more often than is good. Leaving without
 * close_notify is so usual that it is only counted. */
static void
tell_tls_error(const struct conn *c)
{
	static _Thread_local struct log_limit limit = { .burst = 5 };
	uint8_t alert = 0;
	const char *reason = stream_tls_reason(&c->s, &alert);
	uint32_t held;

	if (reason == NULL)
		return;
	worker_count(c->w, STAT_TLS_BROKEN);
	if (strcmp(reason, "truncated") != 0 && log_allow(&limit, &held))
		LOG_INFO("tls_broken", L_SLICE("peer", conn_peer(c)), L_STR("reason", reason),
			L_INT("alert", alert), L_INT("suppressed", held));
}

void
conn_close(struct conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	tell_tls_error(c);
	stream_close(&c->s);
	end(c);
}

void
conn_reset(struct conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	tell_tls_error(c);
	stream_reset(&c->s);
	end(c);
}

static void
discard(struct conn *c)
{
	uint64_t now_ms = loop_now_ms(c->w->loop);
	char waste[16384];

	for (int i = 0; i < LINGER_READS && c->s.readable; i++) {
		ssize_t n = stream_read(&c->s, waste, sizeof(waste));

		if (n == 0 || n == STREAM_ERROR || now_ms >= c->linger_until_ms) {
			conn_close(c);
			return;
		}
	}
	deadline_set(c->w->loop, &c->dl, LINGER_SILENT_MS);
	if (c->s.readable)
		loop_run_soon(c->w->loop, &c->again);
}

void
conn_linger(struct conn *c)
{
	bool is_quiet = c->in == NULL || buf_len(c->in) == 0;

	if (is_quiet && !c->s.readable && c->client == NULL && c->state != CONN_HEAD &&
		!c->w->is_ending) {
		conn_close(c);
		return;
	}
	c->state = CONN_LINGER;
	buf_unref(c->in);
	c->in = NULL;
	stream_shutdown(&c->s);
	c->linger_until_ms =
		loop_now_ms(c->w->loop) + (c->w->is_draining ? LINGER_SILENT_MS : LINGER_MS);
	discard(c);
}

void
conn_next(struct conn *c)
{
	uint32_t keepalive = c->w->snap->s->timeouts.keepalive;

	c->served++;
	c->first_us = 0;
	c->scan = (struct http1_scan){ 0 };
	c->state = CONN_IDLE;
	if (c->w->is_draining) {
		conn_linger(c);
		return;
	}
	deadline_set(c->w->loop, &c->dl, keepalive);
	if (c->in != NULL && buf_len(c->in) == 0) {
		buf_unref(c->in);
		c->in = NULL;
	}
	if (c->in != NULL || c->s.readable)
		loop_run_soon(c->w->loop, &c->again);
}

void
conn_drain(struct conn *c)
{
	bool is_between = c->state == CONN_IDLE || c->state == CONN_PROXY;

	if (c->state == CONN_BUSY)
		c->codec->drain(c);
	if (!is_between || c->in != NULL || c->s.readable)
		return;
	/* One that has only just come was waiting to be accepted: what it asks may be there, or on
	 * its way. */
	if (c->served == 0)
		deadline_set(c->w->loop, &c->dl, FIRST_WORD_MS);
	else
		conn_close(c);
}

void
conn_cut(struct conn *c)
{
	switch ((enum conn_state)c->state) {
	case CONN_BUSY: c->codec->cut(c); break;
	case CONN_PROXY:
	case CONN_IDLE:
	case CONN_HEAD: conn_linger(c); break;
	case CONN_LINGER:
	case CONN_CLOSED: break;
	}
}

void
conn_abort(struct conn *c)
{
	conn_cut(c);
	if (c->state == CONN_BUSY)
		c->codec->abort(c);
	conn_close(c);
}

/* --- the PROXY header --- */

static void
set_peer(struct conn *c, const struct sockaddr *sa)
{
	char text[ADDR_TEXT];

	memset(&c->peer_addr, 0, sizeof(c->peer_addr));
	c->is_unix = false;
	c->is_ipv6 = false;
	if (sa->sa_family == AF_INET) {
		memcpy(&c->peer_addr.in4, sa, sizeof(c->peer_addr.in4));
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&c->peer_addr.in6, sa, sizeof(c->peer_addr.in6));
	} else {
		c->peer_addr.sa.sa_family = AF_UNIX;
		c->is_unix = true;
	}
	addr_format_host(sa, text);
	c->is_ipv6 = strchr(text, ':') != NULL && !c->is_unix;
	c->peer_len = (uint8_t)strnlen(text, sizeof(c->peer) - 1);
	memcpy(c->peer, text, c->peer_len);
	c->peer[c->peer_len] = '\0';
}

static struct slice
keep(char **at, struct slice s)
{
	char *p = *at;

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	*at += s.n;
	return slice_make(p, s.n);
}

static void
set_cert(struct conn *c, const struct proxy_info *info)
{
	struct proxy_info only = { .cert = info->cert };
	struct conn_cert *cert;

	if (!info->has_client_cert)
		return;
	cert = xmalloc(sizeof(*cert) + proxy_text_len(&only));
	proxy_text_move(&only, cert->text);
	cert->is_verified = info->is_client_cert_verified;
	cert->facts = only.cert;
	c->cert = cert;
}

static void
set_tls(struct conn *c, const struct proxy_info *info)
{
	size_t n = info->alpn.n + info->authority.n + info->tls_version.n + info->cipher.n +
		info->unique_id.n;
	struct conn_tls *t = xmalloc(sizeof(*t) + n + 1);
	char *at = t->text;

	t->alpn = keep(&at, info->alpn);
	t->sni = keep(&at, info->authority);
	t->version = keep(&at, info->tls_version);
	t->cipher = keep(&at, info->cipher);
	t->unique_id = keep(&at, info->unique_id);
	/* The header tells of the certificate only, whether it was shown now or in a session
	 * before. */
	t->knows_resumed = info->has_client_cert;
	t->is_resumed = info->is_resumed;
	c->tls = t;
	c->is_tls = info->has_tls;
	set_cert(c, info);
}

static void
refuse_proxy(struct conn *c, const char *reason)
{
	static _Thread_local struct log_limit limit = { .burst = 5 };
	uint32_t held;

	worker_count(c->w, STAT_PROXY_REFUSED);
	if (log_allow(&limit, &held))
		LOG_WARN("proxy_header_refused", L_SLICE("peer", conn_peer(c)),
			L_STR("reason", reason), L_INT("suppressed", held));
	conn_reset(c);
}

/* One read; false when there is nothing now, or the connection is gone. The end of what the peer
 * sends may stand right behind its request, so it must not be looked for before that is read. */
static bool
fill_proxy(struct conn *c)
{
	ssize_t n = STREAM_AGAIN;

	if (c->s.readable)
		n = stream_read(&c->s, c->in->data + c->in->w, buf_room(c->in));
	if (n > 0) {
		c->in->w += (uint32_t)n;
		return true;
	}
	if (n != STREAM_AGAIN) {
		conn_close(c);
	} else if (c->in->w == 0) {
		buf_unref(c->in);
		c->in = NULL;
	}
	return false;
}

/* What comes first on a connection from a proxy. True when it is complete and the codec may go on.
 */
static bool
read_proxy(struct conn *c)
{
	struct proxy_info info;
	const char *reason = NULL;
	size_t used = 0;
	enum proxy_result is;

	if (c->in == NULL)
		c->in = buf_get(&c->w->bufs, BUF_16K);
	do {
		if (!fill_proxy(c))
			return false;
		is = proxy_read(c->in->data, c->in->w, &info, &used, &reason);
	} while (is == PROXY_MORE && buf_room(c->in) > 0);
	if (is != PROXY_DONE) {
		refuse_proxy(c, is == PROXY_BAD ? reason : "too_long");
		return false;
	}
	c->in->r = (uint32_t)used;
	if (!info.is_local && info.has_addr)
		set_peer(c, (const struct sockaddr *)&info.src);
	if (!info.is_local)
		set_tls(c, &info);
	if (buf_len(c->in) == 0) {
		buf_unref(c->in);
		c->in = NULL;
	}
	c->state = CONN_IDLE;
	return true;
}

/* --- events --- */

/* ALPN has decided already. */
static bool
chose_h2(const struct conn *c)
{
	return c->tls != NULL && slice_eq(c->tls->alpn, SLICE("h2"));
}

bool
conn_takes_h2(const struct conn *c)
{
	const struct listener *l = worker_listener(c->w->snap, c->l);

	return c->served == 0 && (c->tls == NULL || c->tls->alpn.n == 0) && l != NULL &&
		l->cfg->h2c && l->cfg->from != LISTEN_TLSD;
}

static void
go(struct conn *c)
{
	if (c->state == CONN_PROXY) {
		if (!read_proxy(c))
			return;
		if (chose_h2(c)) {
			codec_h2_start(c);
			return;
		}
	}
	switch ((enum conn_state)c->state) {
	case CONN_IDLE:
	case CONN_HEAD: c->codec->read(c); break;
	case CONN_BUSY: c->codec->event(c); break;
	case CONN_LINGER: discard(c); break;
	case CONN_PROXY:
	case CONN_CLOSED: break;
	}
}

static void
on_stream(struct stream *s)
{
	go(of_stream(s));
}

static void
on_again(struct run_item *item)
{
	struct conn *c = (struct conn *)((char *)item - offsetof(struct conn, again));

	if (c->state != CONN_PROXY)
		go(c);
}

static void
on_deadline(struct deadline *d)
{
	struct conn *c = (struct conn *)((char *)d - offsetof(struct conn, dl));

	switch ((enum conn_state)c->state) {
	case CONN_HEAD:
		worker_count(c->w, STAT_CLIENT_TIMEOUT);
		c->codec->head_late(c);
		break;
	case CONN_BUSY: c->codec->deadline(c); break;
	case CONN_PROXY:
		if (c->in == NULL && c->w->is_draining)
			conn_close(c);
		else
			refuse_proxy(c, "timeout");
		break;
	case CONN_IDLE:
	case CONN_LINGER: conn_close(c); break;
	case CONN_CLOSED: break;
	}
}

bool
conn_is_trusted(const struct conn *c, const struct httpcfg *http)
{
	return http->trusted_proxies.n > 0 &&
		addr_nets_have(http->trusted_proxies.v, http->trusted_proxies.n, &c->peer_addr.sa);
}

/* Must this peer send a PROXY header first? */
static bool
wants_proxy(const struct conn *c, const struct listener *l)
{
	if (l == NULL)
		return false;
	if (l->needs_proxy)
		return true;
	return l->cfg->accept_proxy.n > 0 &&
		addr_nets_have(l->cfg->accept_proxy.v, l->cfg->accept_proxy.n, &c->peer_addr.sa);
}

static struct conn *
start(struct worker *w, struct wlistener *l)
{
	struct conn *c = freelist_take(&w->conns);

	*c = (struct conn){
		.magic = CONN_MAGIC, .w = w, .l = l, .next = w->conn_list, .link = &w->conn_list
	};
	if (w->conn_list != NULL)
		w->conn_list->link = &c->next;
	w->conn_list = c;
	c->codec = &codec_h1;
	c->again.fn = on_again;
	deadline_init(&c->dl, on_deadline);
	return c;
}

void
conn_new(struct worker *w, struct wlistener *l, int fd, const struct sockaddr *peer)
{
	struct conn *c = start(w, l);

	stream_init(&c->s, loop_base(w->loop), fd, &stream_plain, on_stream);
	set_peer(c, peer);
	c->state = wants_proxy(c, worker_listener(w->snap, l)) ? CONN_PROXY : CONN_IDLE;
	deadline_set(w->loop, &c->dl, w->snap->s->timeouts.head);
}

void
conn_new_tls(struct worker *w, struct wlistener *l, int fd, const struct handoff *h)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNIX };
	struct conn *c = start(w, l);

	c->s.fd = -1;
	if (!stream_tls_init(
		    &c->s, loop_base(w->loop), fd, &w->tls, &h->keys, h->in, h->out, on_stream)) {
		close(fd);
		end(c);
		return;
	}
	set_peer(c, h->info.has_addr ? (const struct sockaddr *)&h->info.src : &nobody);
	set_tls(c, &h->info);
	c->tls->knows_resumed = true;
	c->tls->is_resumed = h->is_resumed;
	c->state = CONN_IDLE;
	if (chose_h2(c)) {
		codec_h2_start(c);
		return;
	}
	deadline_set(w->loop, &c->dl, w->snap->s->timeouts.head);
	/* What came along is announced by no event. */
	if (c->s.readable)
		loop_run_soon(w->loop, &c->again);
}
