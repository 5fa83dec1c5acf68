/* area: libcommon */
/*
 * fuzz_http1: heads of requests and responses. Whatever the bytes: slices lie inside the input, an
 * accepted head keeps the promises of http1.h, the answer is the same byte by byte, and what a
 * message says survives being written and read again.
 *
 * Byte 0 of the input chooses: bit 0 response, bits 1 and 2 the request's method, bit 3 tight
 * limits.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/http1.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIELDS = 40 };

struct run {
	bool is_response;
	enum method asked;
	struct http1_limits limits;
	struct http1_error err;
	struct msg m;
	struct field fields[FIELDS];
};

static enum http1_result
parse(struct run *r, struct http1_scan *scan, const char *p, size_t n)
{
	r->err = (struct http1_error){ 0, "" };
	msg_init(&r->m, r->fields, FIELDS);
	if (r->is_response)
		return http1_response(scan, p, n, &r->limits, r->asked, &r->m, &r->err);
	return http1_request(scan, p, n, &r->limits, &r->m, &r->err);
}

static void
check_inside(struct slice s, const char *p, size_t n)
{
	assert(s.n == 0 ||
		((uintptr_t)s.p >= (uintptr_t)p && s.n <= n &&
			(uintptr_t)s.p - (uintptr_t)p <= n - s.n));
}

static void
check_fields(const struct run *r, const char *p)
{
	const struct msg *m = &r->m;
	unsigned seen[FIELD_COUNT] = { 0 };

	assert(m->field_count <= r->limits.fields && m->field_count <= FIELDS);
	for (unsigned i = 0; i < m->field_count; i++) {
		const struct field *f = &m->fields[i];

		check_inside(f->name, p, m->head_len);
		check_inside(f->value, p, m->head_len);
		assert(http1_is_token(f->name));
		assert(http1_is_value(f->value));
		assert(slice_eq(f->value, slice_trim(f->value)));
		assert(f->id == field_id_of(f->name));
		if (f->id != FIELD_OTHER && seen[f->id]++ == 0)
			assert(m->first[f->id] == i + 1);
		if (field_flags(f->id) & FIELD_HOP)
			assert(f->flags & MSG_FIELD_DROP);
		assert(!(field_flags(f->id) & FIELD_SINGLE) || seen[f->id] == 1);
		if (f->id == FIELD_HOST || f->id == FIELD_CONTENT_LENGTH)
			assert(!(f->flags & MSG_FIELD_DROP));
	}
	assert(!(seen[FIELD_CONTENT_LENGTH] && seen[FIELD_TRANSFER_ENCODING]));
	assert(seen[FIELD_TRANSFER_ENCODING] <= 1);
}

static void
check_request(const struct run *r, const char *p)
{
	const struct msg *m = &r->m;
	struct slice host;
	uint16_t port;

	check_inside(m->method_name, p, m->head_len);
	check_inside(m->target, p, m->head_len);
	check_inside(m->authority, p, m->head_len);
	check_inside(m->query, p, m->head_len);
	assert(http1_is_token(m->method_name));
	assert(m->target.n > 0 && m->target.n <= r->limits.target_bytes);
	assert(m->body != BODY_UNTIL_CLOSE);
	assert(m->version_minor == 0 || m->first[FIELD_HOST] != 0);
	assert(m->authority.n == 0 || http1_host(m->authority, &host, &port));
	assert(m->target_form == TARGET_AUTHORITY ? m->path.n == 0 : m->path.n > 0);
	for (size_t i = 0; i < m->target.n; i++)
		assert(m->target.p[i] > 0x20 && m->target.p[i] < 0x7f && m->target.p[i] != '#');
}

static void
check_done(const struct run *r, const char *p, size_t n)
{
	const struct msg *m = &r->m;

	assert(m->head_len >= 16 && m->head_len <= n && m->head_len <= r->limits.head_bytes);
	assert(memcmp(p + m->head_len - 4, "\r\n\r\n", 4) == 0);
	assert(m->version_major == 1 && m->version_minor <= 1);
	assert(m->content_length <= INT64_MAX);
	assert(m->body != BODY_CHUNKED || (m->version_minor == 1 && m->content_length == 0));
	check_fields(r, p);
	check_inside(m->upgrade, p, m->head_len);
	if (!r->is_response) {
		check_request(r, p);
		return;
	}
	check_inside(m->reason, p, m->head_len);
	assert(m->status >= 100 && m->status <= 599);
	assert(m->body != BODY_UNTIL_CLOSE || !m->keep_alive);
}

static void
check_same(const struct run *a, const struct run *b)
{
	assert(a->m.head_len - b->m.head_len == 0);
	assert(a->m.method == b->m.method && a->m.status == b->m.status);
	assert(a->m.body == b->m.body && a->m.content_length == b->m.content_length);
	assert(a->m.keep_alive == b->m.keep_alive && a->m.has_upgrade == b->m.has_upgrade);
	assert(a->m.field_count == b->m.field_count);
}

/*
 * In pieces of `step` bytes, each prefix an exact-size copy. What is wrong but incomplete may be
 * seen later than in one piece; with a head's end behind it, it is not missed.
 */
static void
check_pieces(const struct run *whole, enum http1_result want, const char *p, size_t n, size_t step)
{
	struct http1_scan scan = { 0 };
	enum http1_result result = HTTP1_MORE;
	struct run *r = malloc(sizeof(*r));

	assert(r != NULL);
	*r = *whole;
	for (size_t i = 0; result == HTTP1_MORE && i < n;) {
		i = n - i < step ? n : i + step;

		char *copy = malloc(i);

		assert(copy != NULL);
		memcpy(copy, p, i);
		result = parse(r, &scan, copy, i);
		free(copy);
	}
	if (want == HTTP1_BAD && result == HTTP1_MORE) {
		char *longer = malloc(n + 4);
		struct http1_scan again = { 0 };

		assert(longer != NULL);
		memcpy(longer, p, n);
		memcpy(longer + n, "\n\r\n\n", 4);
		result = parse(r, &again, longer, n + 4);
		assert(result == HTTP1_BAD && strcmp(r->err.reason, whole->err.reason) == 0);
		result = parse(r, &scan, longer, n + 4);
		free(longer);
	}
	assert(result == want);
	if (want == HTTP1_BAD)
		assert(strcmp(r->err.reason, whole->err.reason) == 0 &&
			r->err.status == whole->err.status);
	if (want == HTTP1_DONE)
		check_same(whole, r);
	free(r);
}

static size_t
put(char *to, size_t at, struct slice s)
{
	if (s.n > 0)
		memcpy(to + at, s.p, s.n);
	return at + s.n;
}

/* Written from the parsed form and read again, a message says the same. */
static void
check_rewritten(const struct run *whole, size_t n)
{
	const struct msg *m = &whole->m;
	char *text = malloc(n + 64 + 4 * FIELDS);
	struct run *r = malloc(sizeof(*r));
	struct http1_scan scan = { 0 };
	size_t at = 0;

	assert(text != NULL && r != NULL);
	if (whole->is_response) {
		at = (size_t)sprintf(text, "HTTP/1.%d %u ", m->version_minor, m->status);
		at = put(text, at, m->reason);
	} else {
		at = put(text, at, m->method_name);
		at = put(text, at, SLICE(" "));
		at = put(text, at, m->target);
		at += (size_t)sprintf(text + at, " HTTP/1.%d", m->version_minor);
	}
	at = put(text, at, SLICE("\r\n"));
	for (unsigned i = 0; i < m->field_count; i++) {
		at = put(text, at, m->fields[i].name);
		at = put(text, at, SLICE(": "));
		at = put(text, at, m->fields[i].value);
		at = put(text, at, SLICE("\r\n"));
	}
	at = put(text, at, SLICE("\r\n"));
	*r = *whole;
	/* A blank behind each colon may be more than there was. */
	r->limits = (struct http1_limits){ UINT32_MAX, UINT32_MAX / 2, FIELDS };
	assert(parse(r, &scan, text, at) == HTTP1_DONE);
	r->m.head_len = m->head_len;
	check_same(whole, r);
	for (unsigned i = 0; i < m->field_count; i++) {
		assert(slice_eq(m->fields[i].name, r->m.fields[i].name));
		assert(slice_eq(m->fields[i].value, r->m.fields[i].value));
		assert(m->fields[i].flags == r->m.fields[i].flags);
	}
	free(r);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum method methods[] = { METHOD_GET, METHOD_HEAD, METHOD_CONNECT,
		METHOD_POST };
	struct http1_scan scan = { 0 };
	struct run *r;
	char *p;

	if (size < 1 || size > 8192)
		return 0;
	r = calloc(1, sizeof(*r));
	p = malloc(size);
	assert(r != NULL && p != NULL);
	memcpy(p, data + 1, size - 1);
	r->is_response = data[0] & 1;
	r->asked = methods[data[0] >> 1 & 3];
	r->limits = data[0] & 8 ? (struct http1_limits){ 120, 40, 4 }
				: (struct http1_limits){ 4096, 512, 32 };

	enum http1_result result = parse(r, &scan, p, size - 1);

	if (result == HTTP1_BAD) {
		assert(r->err.status >= 400 && r->err.status <= 505 && r->err.reason[0] != '\0');
		assert(!r->is_response || r->err.status == 502);
	}
	if (result == HTTP1_DONE) {
		check_done(r, p, size - 1);
		check_rewritten(r, size);
	}
	check_pieces(r, result, p, size - 1, 1);
	check_pieces(r, result, p, size - 1, 7);
	free(p);
	free(r);
	return 0;
}
